package rules

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// ReadFiles reads the files that some patterns mean: paths, with * and ? as shells have them. The files of a pattern come in lexical
// order, those of the first pattern first, and none comes twice. A folder means the .cf files in it. The error is of a pattern that
// means no file, and of reading.
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
	if info, err := os.Stat(pattern); err == nil && info.IsDir() {
		pattern = filepath.Join(pattern, "*.cf")
	}
	names, err := filepath.Glob(pattern)
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
	slices.Sort(names)
	return names, nil
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
