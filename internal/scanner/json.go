package scanner

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
)

// errDepth says that an answer is nested deeper than any that makes sense.
var errDepth = errors.New("nested too deep")

// maxDepth bounds the nesting of an answer.
const maxDepth = 32

// CheckJSON is the error of a text that is not one value of JSON, and of one that has a key twice in an object: encoding/json takes the last
// of them, in whichever case, and another reader the first. folded says of an object, by the keys that lead to it ("" for a place in a
// list), whether keys of it that differ in case only are one: they are where it is read into a struct, and not where into a map.
func CheckJSON(b []byte, folded func(path []string) bool) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := checkValue(d, nil, folded); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more behind it")
	}
	return nil
}

func checkValue(d *json.Decoder, path []string, folded func([]string) bool) error {
	t, err := next(d)
	if err != nil {
		return err
	}
	open, ok := t.(json.Delim)
	if !ok {
		return nil
	}
	if len(path) >= maxDepth {
		return errDepth
	}
	seen := map[string]bool{}
	folds := open == '{' && folded(path)
	for d.More() {
		at := ""
		if open == '{' {
			t, err := next(d)
			if err != nil {
				return err
			}
			at, _ = t.(string)
			key := at
			if folds {
				key = foldKey(key)
			}
			if seen[key] {
				return fmt.Errorf("key %.60q twice", at)
			}
			seen[key] = true
		}
		if err := checkValue(d, append(path, at), folded); err != nil {
			return err
		}
	}
	_, err = next(d)
	return err
}

// foldKey gives one text for all that encoding/json takes for the same key: of each rune the least that differs from it in case only.
// The sign of Kelvin is a k so, and the long s an s, which they are not for strings.ToLower.
func foldKey(key string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
			least = min(least, next)
		}
		return least
	}, key)
}

// next gives a token that must be there.
func next(d *json.Decoder) (json.Token, error) {
	t, err := d.Token()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return t, err
}
