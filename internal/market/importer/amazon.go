package importer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/gr2/gr2/internal/market"
)

// AmazonOptions name the files of an Amazon review set in any of its three
// published layouts (2014, 2018, 2023).
type AmazonOptions struct {
	Name    string
	Reviews []string
	Meta    []string
	// KeepUnused keeps items that no review names. The published metadata
	// covers whole departments, many times the items of a 5-core.
	KeepUnused bool
}

// Layouts of Amazon files.
const (
	amazon2014 = "amazon-2014" // metadata as Python literals
	amazon2018 = "amazon-2018" // JSON lines: asin, reviewerID; the reviews of 2014 look the same
	amazon2023 = "amazon-2023" // JSON lines: parent_asin, user_id, times in ms
)

// Amazon imports reviews as Rating events, and the metadata of their items.
func Amazon(opt AmazonOptions) (*market.Dataset, market.Summary, error) {
	b := newBuilder("amazon")
	if err := b.readAll(opt.Reviews, b.amazonReviews); err != nil {
		return nil, b.summary, err
	}
	meta := func(s *source) error { return b.amazonMeta(s, opt.KeepUnused) }
	if err := b.readAll(opt.Meta, meta); err != nil {
		return nil, b.summary, err
	}
	return b.finish(opt.Name)
}

type amazonReview struct {
	ReviewerID string   `json:"reviewerID"`
	ASIN       string   `json:"asin"`
	UnixTime   *int64   `json:"unixReviewTime"`
	Overall    *float32 `json:"overall"`

	UserID     string   `json:"user_id"`
	ParentASIN string   `json:"parent_asin"`
	Timestamp  *int64   `json:"timestamp"`
	Rating     *float32 `json:"rating"`
}

func (b *builder) amazonReviews(s *source) error {
	layout, err := s.amazonLayout("user_id")
	if err != nil {
		return err
	}
	s.Layout = layout
	for {
		line, err := s.amazonLine()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		var r amazonReview
		if err := json.Unmarshal(line, &r); err != nil {
			return s.badJSON(err)
		}
		if err := b.amazonEvent(s, &r); err != nil {
			return err
		}
	}
}

func (b *builder) amazonEvent(s *source, r *amazonReview) error {
	user, item, when, stars := r.ReviewerID, r.ASIN, r.UnixTime, r.Overall
	fields := [3]string{"reviewerID", "asin", "unixReviewTime"}
	if s.Layout == amazon2023 {
		user, item, when, stars = r.UserID, r.ParentASIN, r.Timestamp, r.Rating
		fields = [3]string{"user_id", "parent_asin", "timestamp"}
	}
	switch {
	case user == "":
		return s.missing(fields[0])
	case item == "":
		return s.missing(fields[1])
	case when == nil:
		return s.missing(fields[2])
	}
	t := *when
	if s.Layout == amazon2023 && t >= 0 {
		t /= 1000
	}
	if market.CheckTime(t) != nil {
		s.drop("impossible time")
		return nil
	}
	e := market.Event{User: b.user(user), Item: b.item(item), Time: t, Kind: market.Rating}
	if stars != nil {
		e.Value = *stars
	}
	b.events = append(b.events, e)
	s.Kept++
	return nil
}

// amazonLayout tells the layout by the first line: a Python literal, or JSON
// with or without the field that only the 2023 layout has.
func (s *source) amazonLayout(field2023 string) (string, error) {
	line, err := s.first(s.text)
	if err != nil {
		return "", err
	}
	if isPython(line) {
		return amazon2014, nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(line, &fields); err != nil {
		return "", s.badJSON(err)
	}
	_, is2023 := fields[field2023]
	_, is2018 := fields["asin"]
	switch {
	case is2023:
		return amazon2023, nil
	case is2018:
		return amazon2018, nil
	}
	return "", s.errorf("not an Amazon file: no field asin (2014, 2018) and no field %s (2023)", field2023)
}

// isPython tells {'a': 1} from {"a": 1}.
func isPython(line []byte) bool {
	line = bytes.TrimSpace(line)
	if len(line) == 0 || line[0] != '{' {
		return false
	}
	line = bytes.TrimSpace(line[1:])
	return len(line) > 0 && (line[0] == '\'' || line[0] == 'u')
}

// amazonLine returns the next line as JSON, whatever it was.
func (s *source) amazonLine() ([]byte, error) {
	line, err := s.text()
	if err != nil || s.Layout != amazon2014 {
		return line, err
	}
	v, err := parsePython(string(line))
	if err != nil {
		return nil, s.errorf("%w", err)
	}
	return json.Marshal(v)
}

func (s *source) missing(field string) error {
	return s.errorf("field %q is missing or empty", field)
}

// badJSON explains an error of encoding/json at the line last read.
func (s *source) badJSON(err error) error {
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) && kind.Field != "" {
		return s.errorf("field %q cannot be %s", kind.Field, kind.Value)
	}
	return s.errorf("malformed JSON line: %v", err)
}

type amazonItem struct {
	ASIN        string    `json:"asin"`
	ParentASIN  string    `json:"parent_asin"`
	Title       looseText `json:"title"`
	Brand       looseText `json:"brand"`
	Store       looseText `json:"store"`
	Price       looseText `json:"price"`
	Description looseText `json:"description"`

	Category     loosePaths `json:"category"`      // 2018: one path
	Categories   loosePaths `json:"categories"`    // 2014: several paths; 2023: one
	MainCat      looseText  `json:"main_cat"`      // 2018
	MainCategory looseText  `json:"main_category"` // 2023

	Details json.RawMessage `json:"details"` // 2023
}

func (b *builder) amazonMeta(s *source, keepUnused bool) error {
	layout, err := s.amazonLayout("parent_asin")
	if err != nil {
		return err
	}
	s.Layout = layout
	for {
		line, err := s.amazonLine()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		var it amazonItem
		if err := json.Unmarshal(line, &it); err != nil {
			return s.badJSON(err)
		}
		id, field := it.ASIN, "asin"
		if layout == amazon2023 {
			id, field = it.ParentASIN, "parent_asin"
		}
		if id == "" {
			return s.missing(field)
		}
		if _, used := b.itemOf[id]; !used && !keepUnused {
			s.drop("no review names the item")
			continue
		}
		if b.describe(it.item(id)) {
			s.Kept++
		} else {
			s.drop("repeated item")
		}
	}
}

func (a *amazonItem) item(id string) market.Item {
	it := market.Item{ID: id, Title: clean(string(a.Title)), Description: clean(string(a.Description))}
	if strings.Contains(it.Title, "getTime()") { // a script of the page instead of the title, known in the 2018 set
		it.Title = ""
	}
	it.Price, _ = parsePrice(string(a.Price))
	for _, brand := range []string{string(a.Brand), string(a.Store), a.detail("Brand")} {
		if brand = clean(brand); brand != "" && !strings.EqualFold(brand, "unknown") {
			it.Brand = brand
			break
		}
	}
	it.Categories = longestPath(a.Category, a.Categories)
	if it.Categories == nil {
		it.Categories = longestPath(loosePaths{{string(a.MainCategory)}}, loosePaths{{string(a.MainCat)}})
	}
	return it
}

// detail looks up a text in the 2023 details, which are an object or, in some
// copies, its JSON in a string.
func (a *amazonItem) detail(key string) string {
	raw := []byte(a.Details)
	var inner string
	if json.Unmarshal(raw, &inner) == nil {
		raw = []byte(inner)
	}
	var fields map[string]json.RawMessage
	var value string
	if json.Unmarshal(raw, &fields) != nil || json.Unmarshal(fields[key], &value) != nil {
		return ""
	}
	return value
}

// longestPath picks the most specific category path, the first among equals.
// Parts that are markup (known in the 2018 set) are left out.
func longestPath(fields ...loosePaths) []string {
	var best []string
	for _, paths := range fields {
		for _, path := range paths {
			var parts []string
			for _, part := range path {
				if !strings.Contains(part, "</") && !strings.HasPrefix(part, "<") {
					parts = append(parts, part)
				}
			}
			if parts = cleanAll(parts); len(parts) > len(best) {
				best = parts
			}
		}
	}
	return best
}

// looseText is text given as a string, a number, null or a list of strings,
// which are joined.
type looseText string

func (t *looseText) UnmarshalJSON(data []byte) error {
	switch data[0] {
	case '"':
		return json.Unmarshal(data, (*string)(t))
	case '[':
		var parts []looseText
		if err := json.Unmarshal(data, &parts); err != nil {
			return err
		}
		words := make([]string, len(parts))
		for i, p := range parts {
			words[i] = string(p)
		}
		*t = looseText(strings.Join(words, " "))
	case '{', 't', 'f':
		return fmt.Errorf("want text, have %.20s", data)
	case 'n':
		*t = ""
	default:
		*t = looseText(data)
	}
	return nil
}

// loosePaths is a list of category paths, given as such or as one path.
type loosePaths [][]string

func (p *loosePaths) UnmarshalJSON(data []byte) error {
	*p = nil
	if bytes.Equal(data, []byte("null")) || bytes.Equal(data, []byte(`""`)) {
		return nil
	}
	var one []string
	if json.Unmarshal(data, &one) == nil {
		*p = loosePaths{one}
		return nil
	}
	var several [][]string
	if err := json.Unmarshal(data, &several); err != nil {
		return errors.New("a category must be a list of names or a list of such lists")
	}
	*p = several
	return nil
}
