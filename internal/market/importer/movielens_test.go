package importer

import (
	"reflect"
	"testing"

	"github.com/gr2/gr2/internal/market"
)

func TestMovieLensLayouts(t *testing.T) {
	for name, in := range map[string]struct{ ratings, movies string }{
		"csv": {"userId,movieId,rating,timestamp\r\n7,1,4.5,100\r\n7,2,3.0,50\r\n8,3,1,60\r\n",
			"movieId,title,genres\n1,\"Caf\u00e9, The (1995)\",Animation|Comedy\n2,Two,(no genres listed)\n"},
		"1M": {"7::1::4.5::100\n7::2::3::50\n8::3::1::60\n",
			"1::Caf\xe9, The (1995)::Animation|Comedy\n2::Two::(no genres listed)\n"},
		"100K": {"7\t1\t4.5\t100\n7\t2\t3\t50\n8\t3\t1\t60\n",
			"1|Caf\xe9, The (1995)|01-Jan-1995||http://x|0|0|0|1|0|1|0|0|0|0|0|0|0|0|0|0|0|0|0\n2|Two||||1|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0\n"},
	} {
		ds, s, err := MovieLens(MovieLensOptions{Ratings: []string{file(t, "r", in.ratings)}, Movies: []string{file(t, "m", in.movies)}})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		wantCounts(t, s, market.Counts{Users: 2, Items: 3, Events: 3})
		if s.NoMetadata != 1 || s.Files[0].Lines != 2 || s.Files[1].Kept != 3 {
			t.Errorf("%s: summary %+v", name, s)
		}
		if it := itemOf(t, ds, "1"); it.Title != "Café, The (1995)" || !reflect.DeepEqual(it.Categories, []string{"Animation", "Comedy"}) {
			t.Errorf("%s: %+v", name, it)
		}
		if it := itemOf(t, ds, "2"); it.Categories != nil {
			t.Errorf("%s: %+v", name, it)
		}
		last := ds.Events[0]
		for _, e := range ds.Events {
			if e.Time > last.Time {
				last = e
			}
		}
		if ds.Users[last.User] != "7" || last.Kind != market.Rating || last.Value != 4.5 {
			t.Errorf("%s: last event %+v", name, last)
		}
	}
}

func TestMovieLensErrors(t *testing.T) {
	const movies, ratings = "movieId,title,genres\n1,x,\n", "userId,movieId,rating,timestamp\n7,1,4.5,100\n"
	for name, c := range map[string]struct {
		ratings, movies string
		want            []string
	}{
		"wrong header":    {"user,movie,stars\n1,2,3\n", movies, []string{"r:1:", "not a MovieLens ratings file"}},
		"wrong movies":    {ratings, "id,name\n1,x\n", []string{"m:1:", "not a MovieLens movies file"}},
		"missing column":  {ratings + "7,1,4\n", movies, []string{"r:3:", "3 columns, want 4"}},
		"missing field":   {"7::1::4::5\n7::1::4\n", movies, []string{"r:2:", "3 columns, want 4"}},
		"more columns":    {"userId,movieId,rating,timestamp,x\n", movies, []string{"r:1:", "5 columns, want 4"}},
		"rating":          {ratings + "7,1,good,9\n", movies, []string{"r:3:", `rating "good"`}},
		"rating NaN":      {ratings + "7,1,NaN,9\n", movies, []string{"r:3:", `rating "NaN"`}},
		"timestamp":       {ratings + "7,1,3,soon\n", movies, []string{"r:3:", `timestamp "soon"`}},
		"negative time":   {"7\t1\t3\t-4\n", movies, []string{"r:1:", "before 1970"}},
		"milliseconds":    {ratings + "7,1,3,1700000000000\n", movies, []string{"r:3:", "not milliseconds"}},
		"no user":         {ratings + ",1,3,9\n", movies, []string{"r:3:", "empty"}},
		"not UTF-8 (CSV)": {ratings, movies + "2,ok,\n3,Caf\xe9,\n", []string{"m:4:", "not UTF-8"}},
		"open quote":      {ratings, movies + "2,\"open,\n3,x,\n", []string{"m:3:", "malformed CSV"}},
		"empty":           {ratings, "", []string{"m is empty"}},
	} {
		_, _, err := MovieLens(MovieLensOptions{Ratings: []string{file(t, "r", c.ratings)}, Movies: []string{file(t, "m", c.movies)}})
		wantInputError(t, name, err, c.want...)
	}
}
