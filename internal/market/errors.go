package market

import "github.com/gr2/gr2/internal/fault"

func errDuplicateItem(id string) error {
	return fault.Inputf("catalog: item %q appears twice; give every item one row", id)
}
