package durable

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// tempMark is part of every temporary name, so that leftovers of a killed
// process can be recognised and removed.
const tempMark = ".gr2tmp-"

// intercept, when set by a test, wraps every artifact writer so that a full
// disk or a crash can be played at any byte.
var intercept func(path string, w io.Writer) io.Writer

// SetIntercept installs a wrapper around every artifact writer and returns a
// function that removes it. It exists for crash and full-disk tests only.
func SetIntercept(f func(path string, w io.Writer) io.Writer) (restore func()) {
	intercept = f
	return func() { intercept = nil }
}

// Write creates or replaces the file at path with what fill writes, all or
// nothing. Missing parent folders are made. A device or a pipe, which must not
// make way for a file, is written as fill goes.
func Write(path string, fill func(w io.Writer) error) (err error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() && !info.IsDir() {
		return stream(path, fill)
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, filepath.Base(path)+tempMark+"*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
			err = fmt.Errorf("%s is not written: %w", path, err)
		}
	}()
	var sink io.Writer = f
	if intercept != nil {
		sink = intercept(path, f)
	}
	w := bufio.NewWriterSize(sink, 1<<18)
	if err := fill(w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return SyncDir(dir)
}

// stream writes to what is there already.
func stream(path string, fill func(w io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	err = fill(w)
	if err == nil {
		err = w.Flush()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// WriteBytes is Write of a whole buffer.
func WriteBytes(path string, data []byte) error {
	return Write(path, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// WriteJSON is Write of v as indented JSON with a final newline.
func WriteJSON(path string, v any) error {
	return Write(path, func(w io.Writer) error {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	})
}

// SyncDir makes renames in dir durable. File systems that cannot sync a
// folder are not an error.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	_ = d.Sync()
	return nil
}

// Sweep removes the temporary files that a killed process left below dir.
func Sweep(dir string) error {
	return filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			if os.IsNotExist(err) {
				return nil
			}
			return err
		}
		if !d.IsDir() && strings.Contains(d.Name(), tempMark) {
			return os.Remove(path)
		}
		return nil
	})
}

// Log is an append-only file of JSON lines whose length is part of a
// checkpoint: on resume it is cut back to that length.
type Log struct {
	f    *os.File
	size int64
}

// OpenLog opens the log at path and cuts it to size bytes; it is made when
// missing. It fails when the file is shorter than size.
func OpenLog(path string, size int64) (*Log, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Size() < size {
		err = fmt.Errorf("%s has %d bytes, the checkpoint expects at least %d: remove the stage folder and run it again", path, info.Size(), size)
	}
	if err == nil {
		err = f.Truncate(size)
	}
	if err == nil {
		_, err = f.Seek(size, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &Log{f: f, size: size}, nil
}

// Append writes v as one JSON line.
func (l *Log) Append(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	n, err := l.f.Write(append(b, '\n'))
	l.size += int64(n)
	return err
}

// Size is the length in bytes, to be stored in a checkpoint after Sync.
func (l *Log) Size() int64 { return l.size }

// Sync makes all appended lines durable.
func (l *Log) Sync() error { return l.f.Sync() }

// Close closes the file.
func (l *Log) Close() error { return l.f.Close() }
