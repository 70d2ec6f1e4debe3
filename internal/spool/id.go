package spool

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxID is the length of the longest id, as the file systems' limit for names wants it.
const maxID = 100

// checkID lets ids be names of files, and nothing else.
func checkID(id string) error {
	ok := id != "" && len(id) <= maxID && id[0] != '-'
	for i := range len(id) {
		c := id[i]
		ok = ok && ('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-')
	}
	if !ok {
		return fmt.Errorf("%w: %q", ErrID, id)
	}
	return nil
}

// timeDigits is how many digits of an id hold its time and what makes it unique (mail.NewID).
const timeDigits = 18

// age gives what ids are ordered by: the digits that hold the time, and all that follows. An id that has none is ordered
// by itself.
func age(id string) string {
	for end := len(id); end > 0; {
		start := strings.LastIndexByte(id[:end], '-') + 1
		if end-start >= timeDigits && isTime(id[start:start+timeDigits]) {
			return id[start:]
		}
		end = start - 1
	}
	return id
}

func isTime(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || '9' < c) && (c < 'a' || 'v' < c) {
			return false
		}
	}
	return true
}

// sortByAge puts the oldest id first.
func sortByAge(ids []string) {
	slices.SortFunc(ids, func(a, b string) int { return cmp.Or(strings.Compare(age(a), age(b)), strings.Compare(a, b)) })
}

// Has reports whether the spool in a folder has an entry. It is for those who do not own it: it looks at a name, and changes nothing.
func Has(dir, id string) (bool, error) {
	if err := checkID(id); err != nil {
		return false, err
	}
	_, err := os.Stat(filepath.Join(dir, id+messageSuffix))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("spool: %w", err)
	}
	return true, nil
}

// IDs gives the ids of the entries, oldest first. It reads names only. One whose Put has not returned is not among them.
func (s *Store) IDs() ([]string, error) {
	all, err := s.fs.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	var ids []string
	for _, d := range all {
		if id, ok := strings.CutSuffix(d.Name(), messageSuffix); ok && checkID(id) == nil && !d.IsDir() && !s.isHidden(id) {
			ids = append(ids, id)
		}
	}
	sortByAge(ids)
	return ids, nil
}
