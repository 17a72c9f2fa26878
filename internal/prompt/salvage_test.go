package prompt

import (
	"slices"
	"testing"
)

func TestSalvage(t *testing.T) {
	for _, c := range []struct {
		text string
		want []int
	}{
		{`{"ranking":[3,1,2]}<|im_end|>`, []int{2, 0, 1}},
		{`{"ranking":[3,3,11,0,1`, []int{2, 0}},
		{`12 is not 1 and 2, 5 is`, []int{0, 1, 4}},
		{`<think>4 then 5</think>{"ranking":[2`, []int{1}},
		{`99999999999999999999,2`, []int{1}},
		{`none`, nil},
		{``, nil},
	} {
		if have := Salvage(c.text, 5); !slices.Equal(have, c.want) {
			t.Errorf("%q: %v, want %v", c.text, have, c.want)
		}
	}
}
