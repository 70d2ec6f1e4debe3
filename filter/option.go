package filter

import (
	"errors"
	"slices"
)

// OptionError is an error about one of a filter's options. Factory.New gives it, so that its place in the file can be told.
type OptionError struct {
	Path []string // the keys that lead to the option, from outside; in a list the number of the element, from 0
	Err  error
}

// Error gives what is wrong, without the path.
func (e *OptionError) Error() string { return e.Err.Error() }

// Unwrap gives what is wrong.
func (e *OptionError) Unwrap() error { return e.Err }

// At says of an error that it is about the option to which the path leads. Where the error is, or wraps, one about an option, that
// one lies below the path. Of nil it makes nil.
func At(err error, path ...string) error {
	if err == nil {
		return nil
	}
	var inner *OptionError
	if errors.As(err, &inner) {
		path = slices.Concat(path, inner.Path)
	}
	return &OptionError{Path: path, Err: err}
}
