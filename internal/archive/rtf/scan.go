package rtf

import (
	"bufio"
	"bytes"
	"context"
	"io"

	"github.com/postern-mail/postern/internal/archive"
)

// kind is what a token is.
type kind int

const (
	end kind = iota
	groupStart
	groupEnd
	word   // a control word
	symbol // a control symbol
	char   // a character written as \'hh
	text   // some plain text
)

// token is a piece of RTF.
type token struct {
	kind   kind
	word   string // in lower case
	number int64  // the parameter, 0 without one
	char   byte
	text   []byte // valid until the next token
}

// wordLimit is how many letters of a control word are kept, and numberLimit bounds what a parameter counts to.
const (
	wordLimit   = 64
	numberLimit = 1 << 40
)

// scanner reads tokens.
type scanner struct {
	ctx context.Context //nolint:containedctx // it lives as long as one Walk
	r   *bufio.Reader
	pos int64
	n   uint
}

func newScanner(ctx context.Context, f *archive.File, pos int64) *scanner {
	return &scanner{ctx: ctx, r: bufio.NewReaderSize(source{f.Section(pos, f.Size()).Reader()}, 16<<10), pos: pos}
}

// readError is an error of the file that is read, which says nothing about its content.
type readError struct{ err error }

// Error gives the text of the error within.
func (e *readError) Error() string { return "rtf: " + e.err.Error() }

// Unwrap gives the error within.
func (e *readError) Unwrap() error { return e.err }

// source reads a file, and marks what fails in it.
type source struct{ r io.Reader }

func (s source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		err = &readError{err}
	}
	return n, err
}

// peek gives the next octet, and ok false at the end.
func (s *scanner) peek() (c byte, ok bool, err error) {
	p, err := s.r.Peek(1)
	if len(p) == 0 {
		if err == io.EOF {
			err = nil
		}
		return 0, false, err
	}
	return p[0], true, nil
}

// take passes over n octets that were peeked at.
func (s *scanner) take(n int) {
	n, _ = s.r.Discard(n)
	s.pos += int64(n)
}

func (s *scanner) next() (token, error) { return s.nextUpTo(s.r.Size()) }

// nextUpTo gives the next token; a text has at most limit octets.
func (s *scanner) nextUpTo(limit int) (token, error) {
	if s.n++; s.n%256 == 0 && s.ctx.Err() != nil {
		return token{}, s.ctx.Err()
	}
	c, ok, err := s.peek()
	if err != nil || !ok {
		return token{kind: end}, err
	}
	switch c {
	case '{':
		s.take(1)
		return token{kind: groupStart}, nil
	case '}':
		s.take(1)
		return token{kind: groupEnd}, nil
	case '\\':
		s.take(1)
		return s.control()
	}
	p, _ := s.r.Peek(min(limit, s.r.Buffered()))
	if i := bytes.IndexAny(p, `{}\`); i >= 0 {
		p = p[:i]
	}
	s.take(len(p))
	return token{kind: text, text: p}, nil
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
func isDigit(c byte) bool  { return '0' <= c && c <= '9' }

// control reads what follows a backslash.
func (s *scanner) control() (token, error) {
	c, ok, err := s.peek()
	switch {
	case err != nil || !ok:
		return token{kind: end}, err
	case c == '\'':
		s.take(1)
		return s.escaped()
	case !isLetter(c):
		s.take(1)
		return token{kind: symbol, char: c}, nil
	}
	var name []byte
	for ; ok && isLetter(c); c, ok, err = s.peek() {
		s.take(1)
		if len(name) < wordLimit {
			name = append(name, c|0x20)
		}
	}
	t := token{kind: word, word: string(name)}
	if p, _ := s.r.Peek(2); len(p) == 2 && p[0] == '-' && isDigit(p[1]) {
		s.take(1)
		t.number, err = s.digits()
		t.number = -t.number
	} else if err == nil {
		t.number, err = s.digits()
	}
	if err != nil {
		return t, err
	}
	if c, ok, err = s.peek(); ok && c == ' ' {
		s.take(1)
	}
	return t, err
}

func (s *scanner) digits() (n int64, err error) {
	c, ok, err := s.peek()
	for ; ok && isDigit(c); c, ok, err = s.peek() {
		s.take(1)
		n = min(n*10+int64(c-'0'), numberLimit)
	}
	return n, err
}

// escaped reads the two digits behind \'. Whatever is no digit stands for something, unless it is of the structure.
func (s *scanner) escaped() (token, error) {
	t := token{kind: char}
	for range 2 {
		c, ok, err := s.peek()
		if err != nil {
			return t, err
		}
		if !ok || c == '{' || c == '}' || c == '\\' {
			break
		}
		s.take(1)
		if d := digit(c); d >= 0 {
			t.char = t.char<<4 | byte(d)
		}
	}
	return t, nil
}

// digit gives the value of a hexadecimal digit, -1 for another octet.
func digit(c byte) int {
	switch {
	case isDigit(c):
		return int(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

// pass passes over n octets, and reports whether what stands among them.
func (s *scanner) pass(n int64, what []byte) (found bool, err error) {
	for n > 0 {
		if err := s.ctx.Err(); err != nil {
			return found, err
		}
		p, err := s.r.Peek(int(min(n, int64(s.r.Size()))))
		if len(p) == 0 {
			if err == io.EOF {
				err = nil
			}
			return found, err
		}
		found = found || bytes.Contains(p, what)
		// The end of it is looked at again, lest what we look for be cut in two.
		took := len(p)
		if int64(took) < n && took > len(what) {
			took -= len(what) - 1
		}
		s.take(took)
		n -= int64(took)
	}
	return found, nil
}
