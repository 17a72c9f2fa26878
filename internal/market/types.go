package market

// Item is one entry of the catalog. Text is valid UTF-8 with HTML entities
// decoded; unknown parts are empty.
type Item struct {
	ID          string            `json:"id"`
	Title       string            `json:"title,omitempty"`
	Categories  []string          `json:"categories,omitempty"` // path from the root to the leaf
	Brand       string            `json:"brand,omitempty"`
	Description string            `json:"description,omitempty"`
	Price       float64           `json:"price,omitempty"` // 0 when unknown
	Attributes  map[string]string `json:"attributes,omitempty"`
}

// EventKind says what a user did.
type EventKind uint8

const (
	View EventKind = iota
	Click
	Purchase
	Rating
)

// Event is one thing a user did with one item.
type Event struct {
	User  int32 // number in Dataset.Users
	Item  int32 // number in Catalog.Items
	Time  int64 // Unix seconds
	Kind  EventKind
	Value float32 // stars of a rating, quantity of a purchase; 0 when unknown
}

// Visit is one event of a history: what and when.
type Visit struct {
	Item int32
	Time int64
}

// Candidate is one item of a slate with the legacy ranker's score.
type Candidate struct {
	Item  int32
	Score float32
}

// Grades of a candidate: what the user did with it after it was shown.
const (
	GradeNone    = 0
	GradeClick   = 1
	GradeConvert = 2
)

// Slate is one re-ranking request: a user's history and K candidates in the
// order of the legacy ranker. Grades stand beside Candidates; nil when unknown.
type Slate struct {
	ID         string
	User       int32   // number in Dataset.Users, -1 when unknown
	Time       int64   // of the request; histories hold strictly earlier events only
	History    []Visit // oldest first
	Candidates []Candidate
	Grades     []uint8
}

// Scored reports whether any candidate has a score; one candidate needs none.
func (s *Slate) Scored() bool {
	for _, c := range s.Candidates {
		if c.Score != 0 {
			return true
		}
	}
	return len(s.Candidates) < 2
}

// Positive reports whether any candidate has a grade above GradeNone.
func (s *Slate) Positive() bool {
	for _, g := range s.Grades {
		if g > GradeNone {
			return true
		}
	}
	return false
}

// Catalog is the set of items, numbered 0..len-1, with lookup by id.
type Catalog struct {
	Items []Item
	index map[string]int32
}

// NewCatalog numbers the items in the order given and indexes their ids. A
// repeated id is an error.
func NewCatalog(items []Item) (*Catalog, error) {
	c := newCatalog(items)
	if len(c.index) < len(items) {
		for i := range items {
			if c.index[items[i].ID] != int32(i) {
				return nil, errDuplicateItem(items[i].ID)
			}
		}
	}
	return c, nil
}

// newCatalog is NewCatalog of items whose ids are known to be distinct.
func newCatalog(items []Item) *Catalog {
	index := make(map[string]int32, len(items))
	for i := range items {
		index[items[i].ID] = int32(i)
	}
	return &Catalog{Items: items, index: index}
}

// Len is the number of items.
func (c *Catalog) Len() int { return len(c.Items) }

// Lookup returns the number of the item with this id.
func (c *Catalog) Lookup(id string) (int32, bool) {
	n, ok := c.index[id]
	return n, ok
}

// Dataset is a catalog, its users, what they did, and (where the logs have
// them) the slates they were shown.
type Dataset struct {
	Name    string
	Catalog *Catalog
	Users   []string // ids; the number of a user is the index here
	Events  []Event  // see Sort
	Slates  []Slate  // logged impressions in the order shown; empty when the logs have none
	Source  *Summary // where the data came from; nil when unknown
}
