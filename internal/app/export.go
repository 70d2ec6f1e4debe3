package app

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/postern-mail/postern/internal/control"
)

// QueueExport writes messages as they came, ID.eml, and what is known of them, ID.json, to a folder. They stay in the queue.
func (a *App) QueueExport(ctx context.Context, dir string, s QueueSelection) error {
	f, err := s.filter()
	if err != nil {
		return err
	}
	q, err := a.operator(ctx)
	if err != nil {
		return err
	}
	defer q.close()
	t := a.newTally("exported", s.All)
	ids, err := s.ids(ctx, q, f, t)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return exit(ExitCannotWrite, "%v", err)
	}
	err = exportAll(ctx, q, dir, ids, t)
	if t.done > 0 { // also where something has ended it
		if fault := syncFolder(dir); fault != nil && err == nil {
			err = &writeError{err: fault}
		}
	}
	var write *writeError
	if errors.As(err, &write) {
		fmt.Fprintf(a.o.Stderr, "postern: %s\n", visible(err.Error()))
		_ = t.end(nil)
		return &Exit{Code: ExitCannotWrite}
	}
	return t.end(err)
}

// exportAll writes messages. A fault of one message stops no other; one of the folder, or of the gateway, would be the same for the next.
func exportAll(ctx context.Context, q operator, dir string, ids []string, t *tally) error {
	for _, id := range ids {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		err := export(ctx, q, dir, id)
		var fault *control.Error
		var write *writeError
		switch {
		case errors.As(err, &write) && write.one:
			t.add(id, fmt.Errorf("%s: %w", id, err))
		case err != nil && !errors.As(err, &fault):
			return fmt.Errorf("%s: %w", id, err)
		default:
			t.add(id, err)
		}
	}
	return nil
}

// writeError is a fault of the place that is written to.
type writeError struct {
	err error
	one bool // it is about one file
}

// Error gives the text of the fault.
func (e *writeError) Error() string { return e.err.Error() }

// Unwrap gives the fault.
func (e *writeError) Unwrap() error { return e.err }

// export writes one message, and its record last: where that is, both are whole. Its files take no other's place; where they are there
// already, since an export before this one was cut short, it is done.
func export(ctx context.Context, q operator, dir, id string) error {
	m, err := q.get(ctx, id)
	if err != nil {
		return err
	}
	if m.ID != id || !isID(id) {
		return control.Errorf(control.Missing, "%s: not in the queue", id)
	}
	content, err := q.content(ctx, id)
	if err != nil {
		return err
	}
	defer content.Close()
	path := filepath.Join(dir, id+".eml")
	if err := writeNew(path, content); errors.Is(err, os.ErrExist) {
		switch same, err := sameContent(ctx, q, path, id); {
		case err != nil:
			return err
		case !same:
			return &writeError{fmt.Errorf("%s exists, and is something else", path), true}
		}
	} else if err != nil {
		return err
	}
	record, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	err = writeNew(filepath.Join(dir, id+".json"), strings.NewReader(string(record)+"\n"))
	if errors.Is(err, os.ErrExist) {
		return nil // what was known then
	}
	return err
}

// sameContent reports whether a file has the octets of a message.
func sameContent(ctx context.Context, q operator, path, id string) (bool, error) {
	content, err := q.content(ctx, id)
	if err != nil {
		return false, err
	}
	defer content.Close()
	f, err := os.Open(path)
	if err != nil {
		return false, &writeError{err: err}
	}
	defer f.Close()
	want, got := sha256.New(), sha256.New()
	if _, err := io.Copy(want, content); err != nil {
		return false, err
	}
	if _, err := io.Copy(got, f); err != nil {
		return false, &writeError{err: err}
	}
	return bytes.Equal(want.Sum(nil), got.Sum(nil)), nil
}

// writeNew makes a file of what r gives: whole and synced, or not at all. The error is os.ErrExist where one of this name is there, a
// writeError, or that of r.
func writeNew(path string, r io.Reader) error {
	if _, err := os.Lstat(path); err == nil {
		return os.ErrExist
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.part") // mode 0600
	if err != nil {
		return &writeError{err: err}
	}
	part := f.Name()
	defer os.Remove(part)
	w := &faultyWriter{w: f}
	_, err = io.Copy(w, r)
	if w.err != nil {
		err = &writeError{err: w.err}
	}
	if err != nil {
		return errors.Join(err, wrapWrite(f.Close()))
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return &writeError{err: err}
	}
	switch err := os.Link(part, path); {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrExist):
		return os.ErrExist
	}
	// A file system where files have one name only. Nobody else writes here, as far as can be told.
	if _, err := os.Lstat(path); err == nil {
		return os.ErrExist
	}
	return wrapWrite(os.Rename(part, path))
}

func wrapWrite(err error) error {
	if err == nil {
		return nil
	}
	return &writeError{err: err}
}

// faultyWriter keeps the fault of what it writes to: io.Copy does not say whose it was.
type faultyWriter struct {
	w   io.Writer
	err error
}

func (w *faultyWriter) Write(p []byte) (n int, err error) {
	n, err = w.w.Write(p)
	w.err = err
	return n, err
}

// syncFolder makes the names in a folder durable.
func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// exportedIn gives the ids of the messages that lie whole in a folder: the record is written last.
func exportedIn(dir string) (ids []string, err error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, exit(ExitData, "--exported: %v", err)
	}
	for _, f := range files {
		id, isRecord := strings.CutSuffix(f.Name(), ".json")
		if !isRecord || !isID(id) {
			continue
		}
		var known struct {
			ID   string `json:"id"`
			Size int64  `json:"size"`
		}
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			return nil, exit(ExitData, "--exported: %v", err)
		}
		info, err := os.Stat(filepath.Join(dir, id+".eml"))
		if json.Unmarshal(b, &known) != nil || known.ID != id || err != nil || info.Size() != known.Size {
			return nil, exit(ExitData, "--exported: %s: there is no whole export of this message: nothing is removed; export it anew, or take its files away",
				visible(filepath.Join(dir, id)))
		}
		ids = append(ids, id)
	}
	return ids, nil
}
