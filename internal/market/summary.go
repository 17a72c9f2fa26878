package market

// Counts is the size of a data set, as `gr2 data stats` prints it.
type Counts struct {
	Users  int `json:"users"`
	Items  int `json:"items"`
	Events int `json:"events"`
	Slates int `json:"slates"`
}

// Counts returns the size of the data set.
func (ds *Dataset) Counts() Counts {
	return Counts{Users: len(ds.Users), Items: ds.Catalog.Len(), Events: len(ds.Events), Slates: len(ds.Slates)}
}

// FileSummary says what became of the lines (CSV records, Parquet rows) of one
// file: Lines = Kept + the sum of Dropped.
type FileSummary struct {
	Name    string         `json:"name"`
	Layout  string         `json:"layout"`
	Lines   int            `json:"lines"`
	Kept    int            `json:"kept"`
	Dropped map[string]int `json:"dropped,omitempty"` // by reason
}

// Summary says where a data set came from and what was lost on the way.
type Summary struct {
	Source     string        `json:"source"` // importer or generator
	Files      []FileSummary `json:"files,omitempty"`
	Counts     Counts        `json:"counts"`
	Duplicates int           `json:"duplicates"`  // events that repeat user, item, time and kind
	NoText     int           `json:"no_text"`     // items without a title
	NoMetadata int           `json:"no_metadata"` // items known from events or slates only
	Candidates int           `json:"candidates"`  // distinct items shown in slates
	TextShown  int           `json:"text_shown"`  // of these, how many have a title
	FirstTime  int64         `json:"first_time"`  // of the events, or of the slates when there are none
	LastTime   int64         `json:"last_time"`
	Notes      []string      `json:"notes,omitempty"` // one line each, for people
}
