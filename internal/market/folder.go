package market

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/gzip"

	"github.com/gr2/gr2/internal/durable"
	"github.com/gr2/gr2/internal/fault"
)

// Schema is the version of the dataset folder that this program writes and
// the only one it reads.
const Schema = 1

// Files of a dataset folder. The manifest is written last: a folder without
// one is not a data set.
const (
	manifestFile = "manifest.json"
	itemsFile    = "items.jsonl.gz"
	usersFile    = "users.jsonl.gz"
	eventsFile   = "events.jsonl.gz"
	slatesFile   = "slates.jsonl.gz"
)

type manifest struct {
	Schema int                 `json:"schema"`
	Name   string              `json:"name"`
	Counts Counts              `json:"counts"`
	Files  map[string]fileMark `json:"files"`
	Source *Summary            `json:"source,omitempty"`
}

type fileMark struct {
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

type wireUser struct {
	ID string `json:"id"`
}

type wireEvent struct {
	User  string  `json:"user"`
	Item  string  `json:"item"`
	Time  int64   `json:"time"`
	Kind  string  `json:"kind"`
	Value float32 `json:"value,omitempty"`
}

// Save writes the data set into the folder dir, which is made when missing. A
// data set that stands there is taken out of use first (its manifest goes), so
// a crash leaves the old data set, the new one, or a folder that Open refuses.
func Save(dir string, ds *Dataset) error {
	if err := ds.check(); err != nil {
		return fmt.Errorf("save data set %q: %w", ds.Name, err)
	}
	path := filepath.Join(dir, manifestFile)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	if err := durable.SyncDir(dir); err != nil {
		return err
	}
	m := manifest{Schema: Schema, Name: ds.Name, Counts: ds.Counts(), Files: map[string]fileMark{}, Source: ds.Source}
	for _, f := range []struct {
		name string
		fill func(*json.Encoder) error
	}{
		{itemsFile, ds.writeItems}, {usersFile, ds.writeUsers}, {eventsFile, ds.writeEvents}, {slatesFile, ds.writeSlates},
	} {
		mark, err := saveLines(filepath.Join(dir, f.name), f.fill)
		if err != nil {
			return err
		}
		m.Files[f.name] = mark
	}
	return durable.WriteJSON(path, m)
}

// check finds what Open would refuse, and numbers that point outside the data
// set before they panic.
func (ds *Dataset) check() error {
	items, users := int32(ds.Catalog.Len()), int32(len(ds.Users))
	item := func(i int32) bool { return i >= 0 && i < items }
	for i, e := range ds.Events {
		if !item(e.Item) || e.User < 0 || e.User >= users {
			return fmt.Errorf("event %d: user %d or item %d is not in the data set", i, e.User, e.Item)
		}
	}
	for i := range ds.Slates {
		s := &ds.Slates[i]
		ok := s.User < users
		for _, v := range s.History {
			ok = ok && item(v.Item)
		}
		for _, c := range s.Candidates {
			ok = ok && item(c.Item)
		}
		if !ok {
			return fmt.Errorf("slate %q: a user or item is not in the data set", s.ID)
		}
		if err := s.Validate(ds.Catalog); err != nil {
			return fmt.Errorf("slate %q: %w", s.ID, err)
		}
	}
	return nil
}

func (ds *Dataset) writeItems(enc *json.Encoder) error {
	for i := range ds.Catalog.Items {
		if err := enc.Encode(&ds.Catalog.Items[i]); err != nil {
			return err
		}
	}
	return nil
}

func (ds *Dataset) writeUsers(enc *json.Encoder) error {
	for _, id := range ds.Users {
		if err := enc.Encode(wireUser{id}); err != nil {
			return err
		}
	}
	return nil
}

func (ds *Dataset) writeEvents(enc *json.Encoder) error {
	for _, e := range ds.Events {
		line := wireEvent{ds.Users[e.User], ds.Catalog.Items[e.Item].ID, e.Time, e.Kind.String(), e.Value}
		if err := enc.Encode(line); err != nil {
			return err
		}
	}
	return nil
}

func (ds *Dataset) writeSlates(enc *json.Encoder) error {
	for i := range ds.Slates {
		line, err := EncodeSlate(&ds.Slates[i], ds.Catalog, ds.Users)
		if err != nil {
			return err
		}
		if err := enc.Encode(json.RawMessage(line)); err != nil {
			return err
		}
	}
	return nil
}

// saveLines writes one gzipped file of JSON lines and returns its mark.
func saveLines(path string, fill func(*json.Encoder) error) (fileMark, error) {
	sum, size := sha256.New(), int64(0)
	err := durable.Write(path, func(w io.Writer) error {
		count := writerFunc(func(p []byte) (int, error) {
			size += int64(len(p))
			return len(p), nil
		})
		zip := gzip.NewWriter(io.MultiWriter(w, sum, count))
		enc := json.NewEncoder(zip)
		enc.SetEscapeHTML(false)
		if err := fill(enc); err != nil {
			return err
		}
		return zip.Close()
	})
	return fileMark{Bytes: size, SHA256: hex.EncodeToString(sum.Sum(nil))}, err
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// Open reads a dataset folder and verifies it against its manifest.
func Open(dir string) (*Dataset, error) {
	m, err := readManifest(dir)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{itemsFile, usersFile, eventsFile, slatesFile} {
		if err := verify(filepath.Join(dir, name), m.Files[name]); err != nil {
			return nil, err
		}
	}
	ds := &Dataset{Name: m.Name, Source: m.Source}
	if err := ds.readAll(dir, m.Counts); err != nil {
		return nil, err
	}
	if c := ds.Counts(); c != m.Counts {
		return nil, fault.Corruptf("%s: the files hold %+v, %s says %+v; import the data again", dir, c, manifestFile, m.Counts)
	}
	return ds, nil
}

func readManifest(dir string) (*manifest, error) {
	path := filepath.Join(dir, manifestFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Inputf("%s has no %s: not a dataset folder, or its import did not finish; run gr2 data import", dir, manifestFile)
	}
	if err != nil {
		return nil, err
	}
	var version struct {
		Schema int `json:"schema"`
	}
	if err := json.Unmarshal(data, &version); err != nil {
		return nil, fault.Corruptf("%s: %v; import the data again", path, err)
	}
	if version.Schema != Schema {
		return nil, fault.Inputf("%s: schema %d, this program reads %d; import the data again", path, version.Schema, Schema)
	}
	m := &manifest{}
	if err := json.Unmarshal(data, m); err != nil {
		return nil, fault.Corruptf("%s: %v; import the data again", path, err)
	}
	return m, nil
}

// verify hashes the file before anything of it is parsed.
func verify(path string, want fileMark) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fault.Corruptf("%s is missing; import the data again", path)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	size, err := io.Copy(sum, f)
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	if size != want.Bytes || hex.EncodeToString(sum.Sum(nil)) != want.SHA256 {
		return fault.Corruptf("%s was changed or damaged: it does not match %s; import the data again", path, manifestFile)
	}
	return nil
}

func (ds *Dataset) readAll(dir string, counts Counts) error {
	items, err := readLines[Item](filepath.Join(dir, itemsFile), counts.Items)
	if err != nil {
		return err
	}
	if ds.Catalog, err = NewCatalog(items); err != nil {
		return fault.Corruptf("%s: %v", filepath.Join(dir, itemsFile), err)
	}
	users, err := readLines[wireUser](filepath.Join(dir, usersFile), counts.Users)
	if err != nil {
		return err
	}
	number := make(map[string]int32, len(users))
	for i, u := range users {
		number[u.ID] = int32(i)
		ds.Users = append(ds.Users, u.ID)
	}
	if len(number) < len(users) {
		return fault.Corruptf("%s: a user stands there twice", filepath.Join(dir, usersFile))
	}
	if err := ds.readEvents(filepath.Join(dir, eventsFile), number); err != nil {
		return err
	}
	return ds.readSlates(filepath.Join(dir, slatesFile), number)
}

func (ds *Dataset) readEvents(path string, number map[string]int32) error {
	return eachLine(path, func(w *wireEvent) error {
		item, okItem := ds.Catalog.Lookup(w.Item)
		user, okUser := number[w.User]
		kind, okKind := ParseKind(w.Kind)
		if !okItem || !okUser || !okKind {
			return fmt.Errorf("unknown user %q, item %q or kind %q", w.User, w.Item, w.Kind)
		}
		ds.Events = append(ds.Events, Event{User: user, Item: item, Time: w.Time, Kind: kind, Value: w.Value})
		return nil
	})
}

func (ds *Dataset) readSlates(path string, number map[string]int32) error {
	const noLimit = 1<<31 - 1
	return eachLine(path, func(line *json.RawMessage) error {
		s, unknown, err := decodeSlate(*line, ds.Catalog, number, noLimit)
		if err == nil && unknown > 0 {
			err = fmt.Errorf("slate %q: unknown item in the history", s.ID)
		}
		ds.Slates = append(ds.Slates, s)
		return err
	})
}

func readLines[T any](path string, expect int) ([]T, error) {
	rows := make([]T, 0, min(max(expect, 0), 1<<20))
	err := eachLine(path, func(row *T) error {
		rows = append(rows, *row)
		return nil
	})
	return rows, err
}

// eachLine visits the JSON values of a gzipped file that was verified.
func eachLine[T any](path string, visit func(*T) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	zip, err := gzip.NewReader(f)
	if err != nil {
		return fault.Corruptf("%s: %v", path, err)
	}
	dec := json.NewDecoder(zip)
	for line := 1; ; line++ {
		var row T
		err := dec.Decode(&row)
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = visit(&row)
		}
		if err != nil {
			return fault.Corruptf("%s:%d: %v", path, line, err)
		}
	}
}
