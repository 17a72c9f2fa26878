//go:build !noasm

package kernel

//go:generate sh -c "cd _gen && go run . -isa avxvnni -out ../avxvnni_amd64.s -stubs ../avxvnni_amd64.go -pkg kernel"

// avxVNNI is avx2 with an instruction for products of bytes.
var avxVNNI = func() variant {
	v := avx2
	v.name = "avxvnni"
	v.byteRows, v.dotBytes = len(bytesAVXVNNI), bytesAVXVNNI.dotBytes
	return v
}()

var bytesAVXVNNI = byteKernels{
	dotBytes1AVXVNNI, dotBytes2AVXVNNI, dotBytes3AVXVNNI,
	dotBytes4AVXVNNI, dotBytes5AVXVNNI, dotBytes6AVXVNNI,
}
