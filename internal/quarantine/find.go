package quarantine

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// maxRecord bounds what is read of a record.
const maxRecord = 16 << 20

// leftoverAge is the age at which a file that belongs to no entry is a leftover of a crash and not one
// that another process is writing.
const leftoverAge = time.Hour

// Get gives one entry: ErrNotFound if there is none, ErrVersion if a newer Postern wrote it, ErrDamaged if
// it can't be read.
func (r *Reader) Get(id string) (Entry, error) {
	if err := checkID(id); err != nil {
		return Entry{}, err
	}
	data, err := r.read(r.path(id, recordSuffix), maxRecord)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return Entry{}, fmt.Errorf("%w: %s", ErrNotFound, id)
	case err != nil:
		return Entry{}, fmt.Errorf("quarantine: record of %s: %w", id, err)
	}
	var e Entry
	if err := json.Unmarshal(data, &e); err != nil {
		return Entry{}, fmt.Errorf("%w: record of %s: %w", ErrDamaged, id, err)
	}
	switch {
	case e.Version > version:
		return Entry{}, fmt.Errorf("%w: the record of %s has version %d, this one knows %d", ErrVersion, id, e.Version, version)
	case e.Version < 1 || e.ID != id:
		return Entry{}, fmt.Errorf("%w: the record of %s says version %d, id %q", ErrDamaged, id, e.Version, e.ID)
	}
	if _, err := r.fs.Stat(r.path(id, claimSuffix)); err == nil {
		e.InDoubt = e.Released == nil
	} else if !errors.Is(err, os.ErrNotExist) {
		return Entry{}, fmt.Errorf("quarantine: %w", err)
	}
	return e, nil
}

// List gives the entries, oldest first. Records that can't be read are told in the error, all of them, and
// leave the others listed.
func (r *Reader) List() ([]Entry, error) {
	files, err := r.files()
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []Entry
	var errs []error
	for id, f := range files {
		if !f.record {
			continue
		}
		e, err := r.Get(id)
		if err == nil && !f.content {
			err = fmt.Errorf("%w: %s has no content", ErrDamaged, id)
		}
		switch {
		case errors.Is(err, ErrNotFound): // removed since
		case err != nil:
			errs = append(errs, err)
		default:
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b Entry) int { return cmp.Or(a.Time.Compare(b.Time), strings.Compare(a.ID, b.ID)) })
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return all, errors.Join(errs...)
}

// Content opens the message of an entry.
func (r *Reader) Content(id string) (io.ReadCloser, error) {
	if _, err := r.Get(id); err != nil {
		return nil, err
	}
	f, err := r.fs.OpenFile(r.path(id, contentSuffix), os.O_RDONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("%w: content of %s: %w", ErrDamaged, id, err)
	}
	return f, nil
}

// group is what the folder holds under one id.
type group struct {
	record, content bool
	claim           bool
	octets          int64
	kept            time.Time // when the content was written
	strays          []stray
}

// stray is a file that belongs to nothing yet, or no longer.
type stray struct {
	name     string
	modified time.Time
}

// files reads the folder. Files that are not ours are left alone.
func (r *Reader) files() (map[string]*group, error) {
	entries, err := r.fs.ReadDir(r.dir)
	if err != nil {
		return nil, fmt.Errorf("quarantine: %w", err)
	}
	all := map[string]*group{}
	for _, d := range entries {
		name := d.Name()
		base, tmp := strings.CutSuffix(name, tmpSuffix)
		i := strings.LastIndexByte(base, '.')
		id, suffix := base, ""
		if i >= 0 {
			id, suffix = base[:i], base[i:]
		}
		if checkID(id) != nil || d.IsDir() || suffix == "" && !tmp {
			continue
		}
		info, err := d.Info()
		if errors.Is(err, os.ErrNotExist) {
			continue // removed since
		} else if err != nil {
			return nil, fmt.Errorf("quarantine: %w", err)
		}
		g := all[id]
		if g == nil {
			g = &group{}
			all[id] = g
		}
		switch {
		case tmp:
			g.strays = append(g.strays, stray{name, info.ModTime()})
		case suffix == recordSuffix:
			g.record = true
			g.octets += info.Size()
		case suffix == contentSuffix:
			g.content, g.kept = true, info.ModTime()
			g.octets += info.Size()
		case suffix == claimSuffix:
			g.claim = true
		}
	}
	return all, nil
}

// look counts what is there.
func (s *Store) look() (map[string]*group, error) {
	s.folder.Lock()
	defer s.folder.Unlock()
	files, err := s.files()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.usage.Messages, s.usage.Octets, s.usage.Damaged = 0, 0, 0
	for _, g := range files {
		if g.record {
			s.usage.Messages++
			s.usage.Octets += g.octets
			if !g.content {
				s.usage.Damaged++
			}
		}
	}
	return files, nil
}
