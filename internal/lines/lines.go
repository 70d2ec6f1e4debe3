// Package lines reads the text files that hold one entry a line, and reads them again when they changed. It knows
// no kind of entry.
package lines

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// MaxLine is how many octets a line may have, without its end.
const MaxLine = 4096

// mark is a byte order mark, which some editors write at the beginning of a file.
const mark = "\ufeff"

func tooLong(name string, n int) error {
	return fmt.Errorf("%s:%d: line longer than %d octets", name, n, MaxLine)
}

// Each calls f for every line of r that holds an entry, with the line's number, the entry without blanks around it,
// and the text of the comment behind it. A comment goes from a '#' at the line's beginning or after a blank to its
// end. Errors are of the form name:line: what; that of f ends it.
func Each(name string, r io.Reader, f func(n int, entry, comment string) error) error {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, MaxLine+len(mark)+len("\r\n")), MaxLine+len(mark)+len("\r\n"))
	n := 0
	for s.Scan() {
		n++
		line := s.Bytes()
		if n == 1 {
			line = bytes.TrimPrefix(line, []byte(mark))
		}
		if len(line) > MaxLine {
			return tooLong(name, n)
		}
		at := commentAt(line)
		entry := bytes.TrimSpace(line[:at])
		if len(entry) == 0 {
			continue
		}
		comment := bytes.TrimSpace(bytes.TrimPrefix(line[at:], []byte("#")))
		if err := f(n, string(entry), string(comment)); err != nil {
			return fmt.Errorf("%s:%d: %w", name, n, err)
		}
	}
	if err := s.Err(); errors.Is(err, bufio.ErrTooLong) {
		return tooLong(name, n+1)
	} else if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// commentAt gives where the '#' stands that begins a comment, or the length of the line. Within a local part '#' is
// an ordinary character (RFC 5322 3.2.3), so that only one at the beginning or after a blank counts.
func commentAt(line []byte) int {
	for from := 0; ; {
		i := bytes.IndexByte(line[from:], '#')
		if i < 0 {
			return len(line)
		}
		i += from
		if i == 0 || line[i-1] == ' ' || line[i-1] == '\t' {
			return i
		}
		from = i + 1
	}
}
