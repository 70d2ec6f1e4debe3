package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/postern-mail/postern/internal/store"
)

// SetAside puts the files of an entry that can't be read where nobody stumbles over them, and a file beside them that says
// why. They are kept, and count, until somebody removes them. What has been set aside before under the same id stays as it is.
func (s *Store) SetAside(id string, why error) error {
	letGo, err := s.hold(id)
	if err != nil {
		return err
	}
	defer letGo()
	if _, _, err = s.sizes(id); err == nil {
		err = s.setAside(id, why)
	}
	if err != nil {
		return fmt.Errorf("spool: set aside %s: %w", id, err)
	}
	return nil
}

func (s *Store) setAside(id string, why error) error {
	folder := filepath.Join(s.dir, damagedName)
	if err := s.fs.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	name, err := s.nameAside(folder, id)
	if err != nil {
		return err
	}
	aside := func(suffix string) string { return filepath.Join(folder, name+suffix) }
	// Each file has its second name durably before the first one goes, the commit point last: a crash makes no leftover of it.
	err = s.moveAside(s.fs.Link, id, aside, originalSuffix, logSuffix, messageSuffix)
	links := !noLinks(err)
	if !links {
		err = s.moveAside(s.fs.Rename, id, aside, originalSuffix, logSuffix)
	}
	if err == nil {
		err = s.explain(aside(".txt"), why)
	}
	if err == nil {
		err = s.names.wait() // the folder itself may be new
	}
	if err == nil && links {
		err = s.remove(s.path(id, messageSuffix))
	} else if err == nil {
		err = s.moveAside(s.fs.Rename, id, aside, messageSuffix)
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	delete(s.logs, id)
	delete(s.torn, id)
	s.usage.Entries--
	s.usage.Damaged++
	s.mu.Unlock()
	if links {
		err = s.removeRest(id, originalSuffix, logSuffix)
	} else {
		err = s.fs.SyncDir(folder)
	}
	return errors.Join(err, s.names.wait())
}

// nameAside gives a name under which no files are that are not those of the entry: some may have been repaired and put back, and what was
// kept then is not to be taken for them.
func (s *Store) nameAside(folder, id string) (string, error) {
	const most = 1000
next:
	for n := range most {
		name := id
		if n > 0 {
			name = fmt.Sprintf("%s.%d", id, n)
		}
		for _, suffix := range []string{messageSuffix, originalSuffix, logSuffix} {
			there, err := s.fs.Stat(filepath.Join(folder, name+suffix))
			if errors.Is(err, os.ErrNotExist) {
				continue
			}
			if err != nil {
				return "", err
			}
			here, err := s.fs.Stat(s.path(id, suffix))
			switch {
			case err == nil && !store.SameFile(here, there):
				continue next
			case err != nil && !errors.Is(err, os.ErrNotExist):
				return "", err
			}
		}
		return name, nil
	}
	return "", fmt.Errorf("%w: %d entries with this id have been set aside", os.ErrExist, most)
}

// moveAside gives files of an entry their names in the other folder, which they may have already.
func (s *Store) moveAside(move func(string, string) error, id string, aside func(suffix string) string, suffixes ...string) error {
	for _, suffix := range suffixes {
		err := move(s.path(id, suffix), aside(suffix))
		if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return nil
}

// explain writes the file that says why an entry was set aside.
func (s *Store) explain(path string, why error) error {
	if err := s.remove(path + tmpSuffix); err != nil {
		return err
	}
	return store.WriteFile(s.fs, path+tmpSuffix, path, 0o600, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s %v\n", s.now().UTC().Format(time.RFC3339), why)
		return err
	})
}
