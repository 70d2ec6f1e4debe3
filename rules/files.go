package rules

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// channel is the file in which sa-update puts the rules of SpamAssassin itself, by way of which those of other channels come behind:
// they are there to change these.
const channel = "updates_spamassassin_org.cf"

// ReadFiles reads the files that some patterns mean: paths, with * and ? as shells have them. The files of a pattern come in lexical
// order, but for SpamAssassin's own channel, which comes first; those of the first pattern first, and none comes twice. A folder means
// the .cf files in it. The error is of a pattern that means no file, and of reading.
func ReadFiles(patterns []string) ([]Source, error) {
	var all []Source
	seen := map[string]bool{}
	left := maxOctets
	for _, p := range patterns {
		names, err := filesOf(p)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if seen[name] {
				continue
			}
			seen[name] = true
			octets, err := readFile(name, left)
			if err != nil {
				return nil, err
			}
			left -= len(octets)
			all = append(all, Source{Name: name, Octets: octets})
		}
	}
	return all, nil
}

func filesOf(pattern string) ([]string, error) {
	var names []string
	var err error
	if info, gone := os.Stat(pattern); gone == nil && info.IsDir() {
		names, err = inFolder(pattern)
		pattern = filepath.Join(pattern, "*.cf")
	} else {
		names, err = filepath.Glob(pattern)
	}
	if err != nil {
		return nil, fmt.Errorf("rules: %s: %w", pattern, err)
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		info, err := os.Stat(name)
		return err == nil && info.IsDir()
	})
	if len(names) == 0 {
		if !strings.ContainsAny(pattern, "*?[") {
			_, err := os.Stat(pattern)
			return nil, fmt.Errorf("rules: %w", err)
		}
		return nil, fmt.Errorf("rules: %s means no file", pattern)
	}
	slices.SortFunc(names, func(a, b string) int {
		switch x, y := filepath.Base(a) == channel, filepath.Base(b) == channel; {
		case x && !y:
			return -1
		case y && !x:
			return 1
		}
		return strings.Compare(a, b)
	})
	return names, nil
}

// inFolder gives the paths of the files of rules in a folder.
func inFolder(dir string) (paths []string, err error) {
	all, err := os.ReadDir(dir)
	for _, e := range all {
		if strings.EqualFold(filepath.Ext(e.Name()), ".cf") {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return paths, err
}

func readFile(name string, most int) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("rules: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > int64(most) {
		return nil, fmt.Errorf("rules: %s is no file of at most %d octets", name, most)
	}
	octets, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("rules: %w", err)
	}
	return octets, nil
}

// OpenFile reads a file that another one includes, for Options.Open.
func OpenFile(name string) ([]byte, error) { return readFile(name, maxOctets) }
