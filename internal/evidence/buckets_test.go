package evidence

import (
	"cmp"
	"encoding/json"
	"reflect"
	"slices"
	"testing"

	"github.com/gr2/gr2/internal/fault"
	"pgregory.net/rapid"
)

func rowsOf(feature int, values ...float32) [][]float32 {
	rows := make([][]float32, len(values))
	for i, v := range values {
		rows[i] = make([]float32, featureCount)
		rows[i][feature] = v
	}
	return rows
}

func TestBucketsAreQuantiles(t *testing.T) {
	rows := rowsOf(pop, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8)
	b, err := FitBuckets(rows, []string{"age", "pop"}, 4)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(b.Features[1].Cuts, []float32{3, 5, 7}) || len(b.Features[0].Cuts) != 0 {
		t.Errorf("%+v", b.Features)
	}
	for i, want := range []uint8{0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4} {
		if got := b.Code(rows[i]); got[0] != 0 || got[1] != want {
			t.Errorf("pop %v has codes %v, want [0 %d]", rows[i][pop], got, want)
		}
	}
	if got := b.Code(rowsOf(pop, 1e30)[0]); got[1] != 4 {
		t.Errorf("a value above all others has code %d", got[1])
	}
}

func TestRepeatedValuesShareABucket(t *testing.T) {
	rows := rowsOf(brand, 1, 1, 1, 1, 1, 1, 2, 3)
	b, err := FitBuckets(rows, []string{"brand"}, 8)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(b.Features[0].Cuts, []float32{2, 3}) {
		t.Errorf("cuts %v", b.Features[0].Cuts)
	}
}

// Codes stay within 0..n, are 0 exactly for 0, grow with the value, and survive
// JSON; fitting does not depend on the order of rows.
func TestBucketProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Float32Range(0, 5), 1, 60).Draw(t, "values")
		n := rapid.IntRange(1, 12).Draw(t, "n")
		rows := rowsOf(co, values...)
		b, err := FitBuckets(rows, []string{"co", "since"}, n)
		if err != nil {
			t.Fatal(err)
		}
		shuffled, err := FitBuckets(rapid.Permutation(rows).Draw(t, "order"), []string{"co", "since"}, n)
		if err != nil || !reflect.DeepEqual(b, shuffled) {
			t.Fatalf("%v: %+v, from another order %+v", err, b, shuffled)
		}
		data, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		var back Buckets
		if err := json.Unmarshal(data, &back); err != nil || back.Validate() != nil || !reflect.DeepEqual(&back, b) {
			t.Fatalf("%v: %+v became %+v", err, b, back)
		}
		slices.SortFunc(rows, func(x, y []float32) int { return cmp.Compare(x[co], y[co]) })
		last := uint8(0)
		for i, code := range b.CodeAll(rows) {
			if (code[0] == 0) != (rows[i][co] == 0) || int(code[0]) > n || code[0] < last || code[1] != 0 {
				t.Fatalf("value %v has codes %v after %d", rows[i][co], code, last)
			}
			last = code[0]
		}
	})
}

func TestBucketsRefuse(t *testing.T) {
	for name, err := range map[string]error{
		"unknown": fitError([]string{"colour"}, 8),
		"none":    fitError([]string{"co"}, 0),
		"many":    fitError([]string{"co"}, 256),
	} {
		if fault.KindOf(err) != fault.Usage {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, b := range map[string]Buckets{
		"descending": {8, []Bucket{{"co", []float32{2, 1}}}},
		"too many":   {2, []Bucket{{"co", []float32{1, 2}}}},
		"unknown":    {8, []Bucket{{"colour", nil}}},
	} {
		if b.Validate() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func fitError(names []string, n int) error {
	_, err := FitBuckets(nil, names, n)
	return err
}

func TestPromptNamesExist(t *testing.T) {
	if _, err := FitBuckets(nil, PromptNames(), 8); err != nil {
		t.Error(err)
	}
	if len(names) != featureCount || slices.Contains(names[:], "") {
		t.Errorf("names %v", names)
	}
}
