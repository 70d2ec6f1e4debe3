package pdf

import "math"

// kind is the kind of a value (ISO 32000-1 7.3).
type kind uint8

const (
	null kind = iota // null, true, false, and words without a meaning
	integer
	real
	name
	text // literal or hexadecimal string
	array
	dictionary
	reference
	word // a keyword: R, obj, stream, a closing bracket
	end  // of the file
)

// value is a parsed value. The keys and values of a dictionary follow one another in kids.
type value struct {
	kind kind
	gen  uint16 // of a reference
	n    int64  // of an integer; the number of the object of a reference
	s    string // of a name, decoded; the octets of a string; the keyword
	kids []value
}

// Bounds of one object. Honest ones stay far below.
const (
	maxValues  = 300_000
	maxLevels  = 200
	maxString  = 64 << 10 // what is kept of a string
	maxStrings = 4 << 20  // of all strings of an object
	maxName    = 512
)

// lexer reads tokens from a window, starting at pos.
type lexer struct {
	w       *window
	pos     int64
	values  int  // that the object holds so far
	strings int  // octets of strings and names that the object holds so far
	cut     bool // the object is larger than the bounds
	matters bool // a name was read that matters
	buf     []byte
}

func isSpace(c int) bool {
	return c == ' ' || c == '\n' || c == '\r' || c == '\t' || c == '\f' || c == 0
}

func isDelimiter(c int) bool {
	switch c {
	case '(', ')', '<', '>', '[', ']', '{', '}', '/', '%':
		return true
	}
	return false
}

func isRegular(c int) bool { return c >= 0 && !isSpace(c) && !isDelimiter(c) }

// skip goes past white space and comments (ISO 32000-1 7.2.3, 7.2.4).
func (l *lexer) skip() {
	for {
		c := l.w.at(l.pos)
		switch {
		case isSpace(c):
			l.pos++
		case c == '%':
			for c >= 0 && c != '\n' && c != '\r' {
				l.pos++
				c = l.w.at(l.pos)
			}
		default:
			return
		}
	}
}

// token reads the next token. Opening brackets are words too.
func (l *lexer) token() value {
	l.skip()
	c := l.w.at(l.pos)
	switch {
	case c < 0:
		return value{kind: end}
	case c == '/':
		l.pos++
		return l.name()
	case c == '(':
		l.pos++
		return l.literal()
	case c == '<' && l.w.at(l.pos+1) == '<':
		l.pos += 2
		return value{kind: word, s: "<<"}
	case c == '>' && l.w.at(l.pos+1) == '>':
		l.pos += 2
		return value{kind: word, s: ">>"}
	case c == '<':
		l.pos++
		return l.hex()
	case isDelimiter(c):
		l.pos++
		return value{kind: word, s: string(rune(c))}
	case c >= '0' && c <= '9', c == '+', c == '-', c == '.':
		return l.number()
	}
	l.buf = l.buf[:0]
	for isRegular(l.w.at(l.pos)) {
		if len(l.buf) < maxName {
			l.buf = append(l.buf, byte(l.w.at(l.pos)))
		}
		l.pos++
	}
	switch string(l.buf) {
	case "true":
		return value{kind: null, n: 1}
	case "false", "null":
		return value{kind: null}
	}
	return value{kind: word, s: string(l.buf)}
}

// number reads a number. What follows its digits without a space is a token of its own, as readers take it.
func (l *lexer) number() value {
	v := value{kind: integer}
	negative, digits := false, false
	for {
		c := l.w.at(l.pos)
		switch {
		case c >= '0' && c <= '9':
			digits = true
			if v.kind == integer && v.n < math.MaxInt64/10-10 {
				v.n = v.n*10 + int64(c-'0')
			}
		case c == '.':
			v.kind = real
		case c == '-':
			negative = negative || !digits
		case c == '+':
		default:
			if negative {
				v.n = -v.n
			}
			return v
		}
		l.pos++
	}
}

func hexDigit(c int) int {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return -1
}

// name reads a name past its solidus, with its escapes (ISO 32000-1 7.3.5).
func (l *lexer) name() value {
	l.buf = l.buf[:0]
	for {
		c := l.w.at(l.pos)
		if !isRegular(c) {
			break
		}
		l.pos++
		if c == '#' {
			if h, o := hexDigit(l.w.at(l.pos)), hexDigit(l.w.at(l.pos+1)); h >= 0 && o >= 0 {
				c = h<<4 | o
				l.pos += 2
			}
		}
		if len(l.buf) < maxName {
			l.buf = append(l.buf, byte(c))
		}
	}
	l.strings += len(l.buf)
	if known, ok := words[string(l.buf)]; ok {
		l.matters = l.matters || known.matters
		return value{kind: name, s: known.word}
	}
	return value{kind: name, s: string(l.buf)}
}

// literal reads a string past its parenthesis (ISO 32000-1 7.3.4.2).
func (l *lexer) literal() value {
	l.buf = l.buf[:0]
	for depth := 1; ; {
		c := l.w.at(l.pos)
		if c < 0 {
			break
		}
		l.pos++
		switch c {
		case '(':
			depth++
		case ')':
			depth--
		case '\\':
			if c = l.escape(); c < 0 {
				continue
			}
		}
		if depth == 0 {
			break
		}
		if len(l.buf) < maxString {
			l.buf = append(l.buf, byte(c))
		}
	}
	return l.string()
}

// escape reads what follows a backslash; -1 stands for nothing.
func (l *lexer) escape() int {
	c := l.w.at(l.pos)
	l.pos++
	switch c {
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case '\n':
		return -1
	case '\r':
		if l.w.at(l.pos) == '\n' {
			l.pos++
		}
		return -1
	case '0', '1', '2', '3', '4', '5', '6', '7':
		v := c - '0'
		for range 2 {
			d := l.w.at(l.pos)
			if d < '0' || d > '7' {
				break
			}
			v = v<<3 | (d - '0')
			l.pos++
		}
		return v & 255
	}
	return c
}

// hex reads a string past its angle bracket (ISO 32000-1 7.3.4.3).
func (l *lexer) hex() value {
	l.buf = l.buf[:0]
	high := -1
	for {
		c := l.w.at(l.pos)
		if c >= 0 {
			l.pos++
		}
		if c < 0 || c == '>' {
			break
		}
		d := hexDigit(c)
		switch {
		case d < 0:
		case high < 0:
			high = d
		default:
			if len(l.buf) < maxString {
				l.buf = append(l.buf, byte(high<<4|d))
			}
			high = -1
		}
	}
	if high >= 0 {
		l.buf = append(l.buf, byte(high<<4))
	}
	return l.string()
}

func (l *lexer) string() value {
	if l.strings += len(l.buf); l.strings > maxStrings {
		l.cut = true
		return value{kind: text}
	}
	return value{kind: text, s: string(l.buf)}
}
