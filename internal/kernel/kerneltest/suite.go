package kerneltest

import (
	"testing"

	"github.com/gr2/gr2/internal/kernel"
)

// Conform runs the suite on the named variant and restores the active one.
func Conform(t *testing.T, variant string) {
	before := kernel.Active()
	if err := kernel.Use(variant); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := kernel.Use(before); err != nil {
			t.Fatal(err)
		}
	}()
	t.Run("gemm", conformGemm)
	t.Run("gemm blocks", conformBlocks)
	t.Run("gemm aliased", conformAliased)
	t.Run("gemm specials", conformSpecials)
	t.Run("gemm threads", conformThreads)
	t.Run("int8", conformInt8)
	t.Run("int8 company", conformInt8Company)
	t.Run("int8 specials", conformInt8Specials)
	t.Run("rows", conformRows)
	t.Run("reductions", conformReductions)
	t.Run("rope", conformRoPE)
	t.Run("exp", conformExp)
	t.Run("halves", conformHalves)
	t.Run("row specials", conformRowSpecials)
}
