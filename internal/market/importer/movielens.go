package importer

import (
	"bytes"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/gr2/gr2/internal/market"
)

// MovieLensOptions name the files of a MovieLens set: latest, 20M, 25M or 32M
// (CSV), 1M or 10M (::), 100K (u.data, u.item).
type MovieLensOptions struct {
	Name    string
	Ratings []string
	Movies  []string
}

// Layouts of MovieLens files.
const (
	movielensCSV  = "movielens-csv"
	movielensDat  = "movielens-dat"  // fields between ::
	movielensTab  = "movielens-tab"  // u.data
	movielensPipe = "movielens-pipe" // u.item
)

// MovieLens imports ratings as Rating events and movies with their genres as
// categories. Movies that nobody rated stay in the catalog.
func MovieLens(opt MovieLensOptions) (*market.Dataset, market.Summary, error) {
	b := newBuilder("movielens")
	if err := b.readAll(opt.Movies, b.movies); err != nil {
		return nil, b.summary, err
	}
	if err := b.readAll(opt.Ratings, b.ratings); err != nil {
		return nil, b.summary, err
	}
	return b.finish(opt.Name)
}

// genres100K are the flags of u.item in their order; the first means unknown.
var genres100K = [...]string{"", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary",
	"Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"}

// fieldReader returns the fields of the next record, or io.EOF.
type fieldReader func() ([]string, error)

func (b *builder) ratings(s *source) error {
	line, err := s.first(s.next)
	if err != nil {
		return err
	}
	var read fieldReader
	switch {
	case bytes.HasPrefix(line, []byte("userId,movieId,rating,timestamp")):
		s.Layout = movielensCSV
		if read, err = s.csvFields(4); err != nil {
			return err
		}
	case bytes.Contains(line, []byte("::")):
		s.Layout = movielensDat
		read = s.split("::", 4)
	case bytes.Count(line, []byte("\t")) == 3:
		s.Layout = movielensTab
		read = s.split("\t", 4)
	default:
		return s.errorf("not a MovieLens ratings file: want the header userId,movieId,rating,timestamp, or user::movie::rating::time, or four columns with tabs")
	}
	return s.each(read, func(f []string) error {
		stars, err := strconv.ParseFloat(f[2], 32)
		if err != nil || math.IsNaN(stars) || math.IsInf(stars, 0) {
			return s.errorf("rating %q is no number", f[2])
		}
		t, err := strconv.ParseInt(f[3], 10, 64)
		if err != nil {
			return s.errorf("timestamp %q is no integer", f[3])
		}
		if err := market.CheckTime(t); err != nil {
			return s.errorf("%w", err)
		}
		if f[0] == "" || f[1] == "" {
			return s.errorf("the user or the movie is empty")
		}
		b.events = append(b.events, market.Event{User: b.user(f[0]), Item: b.item(f[1]), Time: t, Kind: market.Rating, Value: float32(stars)})
		s.Kept++
		return nil
	})
}

func (b *builder) movies(s *source) error {
	line, err := s.first(s.next)
	if err != nil {
		return err
	}
	var read fieldReader
	genres := func(f []string) []string { return strings.Split(f[2], "|") }
	switch {
	case bytes.HasPrefix(line, []byte("movieId,title,genres")):
		s.Layout = movielensCSV
		if read, err = s.csvFields(3); err != nil {
			return err
		}
	case bytes.Contains(line, []byte("::")):
		s.Layout = movielensDat
		read = s.split("::", 3)
	case bytes.Count(line, []byte("|")) == 4+len(genres100K):
		s.Layout = movielensPipe
		read = s.split("|", 5+len(genres100K))
		genres = func(f []string) []string { return flaggedGenres(f[5:]) }
	default:
		return s.errorf("not a MovieLens movies file: want the header movieId,title,genres, or movie::title::genres, or the 24 columns of u.item")
	}
	return s.each(read, func(f []string) error {
		if f[0] == "" {
			return s.errorf("the movie id is empty")
		}
		it := market.Item{ID: f[0], Title: clean(f[1]), Categories: cleanAll(genres(f))}
		if len(it.Categories) == 1 && it.Categories[0] == "(no genres listed)" {
			it.Categories = nil
		}
		if b.describe(it) {
			s.Kept++
		} else {
			s.drop("repeated item")
		}
		return nil
	})
}

func flaggedGenres(flags []string) []string {
	var out []string
	for i, flag := range flags {
		if flag == "1" {
			out = append(out, genres100K[i])
		}
	}
	return out
}

// each visits the records until the end.
func (s *source) each(read fieldReader, visit func([]string) error) error {
	for {
		fields, err := read()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := visit(fields); err != nil {
			return err
		}
	}
}

// split reads lines of n fields between separators, UTF-8 or ISO 8859-1.
func (s *source) split(separator string, n int) fieldReader {
	return func() ([]string, error) {
		for {
			line, err := s.next()
			if err != nil {
				return nil, err
			}
			if len(bytes.TrimSpace(line)) == 0 {
				s.drop("blank line")
				continue
			}
			fields := strings.Split(latin1(line), separator)
			if len(fields) != n {
				return nil, s.errorf("%d columns, want %d", len(fields), n)
			}
			return fields, nil
		}
	}
}
