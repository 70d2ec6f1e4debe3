package scanner

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// errDepth says that an answer is nested deeper than any that makes sense.
var errDepth = errors.New("nested too deep")

// maxDepth bounds the nesting of an answer.
const maxDepth = 32

// CheckJSON is the error of a text that is not one value of JSON, and of one that has a key twice in an object: encoding/json takes the last
// of them, in whichever case, and another reader the first. Within so many levels keys that differ in case only are one.
func CheckJSON(b []byte, folded int) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := checkValue(d, 0, folded); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more behind it")
	}
	return nil
}

func checkValue(d *json.Decoder, depth, folded int) error {
	t, err := next(d)
	if err != nil {
		return err
	}
	open, ok := t.(json.Delim)
	if !ok {
		return nil
	}
	if depth >= maxDepth {
		return errDepth
	}
	seen := map[string]bool{}
	for d.More() {
		if open == '{' {
			t, err := next(d)
			if err != nil {
				return err
			}
			key, _ := t.(string)
			if depth < folded {
				key = strings.ToLower(key)
			}
			if seen[key] {
				return fmt.Errorf("key %.60q twice", key)
			}
			seen[key] = true
		}
		if err := checkValue(d, depth+1, folded); err != nil {
			return err
		}
	}
	_, err = next(d)
	return err
}

// next gives a token that must be there.
func next(d *json.Decoder) (json.Token, error) {
	t, err := d.Token()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return t, err
}
