// Package xmlscan reads the tags and texts of XML in the order of the file, tolerantly and in little memory, for those
// who look for single elements in documents of any size. It is not a parser: it checks neither that tags fit together
// nor namespaces, so that nothing is hidden by what one reader forgives and another does not.
package xmlscan

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"html"
	"io"
	"strings"

	"golang.org/x/text/encoding/unicode"
)

// maxTag is the longest tag that is read.
const maxTag = 8 << 20

// Kind is what a Token is.
type Kind byte

// The kinds of tokens.
const (
	Start Kind = iota
	End
	Text
)

// Token is a tag or a piece of text. It is valid until the next one is read.
type Token struct {
	Kind  Kind
	Local []byte // the name of a tag without its prefix
	Empty bool   // of a Start: no End comes
	raw   []byte // the attributes of a tag, or the text
	cdata bool
}

// Text gives the text with references resolved. A reference that is split between pieces is not.
func (t *Token) Text() string {
	if t.cdata {
		return string(t.raw)
	}
	return unescape(t.raw)
}

// Raw gives the text as it stands in the file.
func (t *Token) Raw() []byte { return t.raw }

// Attr gives the value of the attribute with that local name: the one without a prefix, or else the first. It is ""
// where there is none.
func (t *Token) Attr(local string) string {
	value, found := "", false
	t.Attrs(func(prefix, name []byte, v []byte) bool {
		if string(name) != local {
			return true
		}
		if len(prefix) == 0 {
			value = unescape(v)
			return false
		}
		if !found {
			value, found = unescape(v), true
		}
		return true
	})
	return value
}

// All gives the values of all attributes with that local name, whatever their prefixes.
func (t *Token) All(local string) (values []string) {
	t.Attrs(func(_, name []byte, v []byte) bool {
		if string(name) == local {
			values = append(values, unescape(v))
		}
		return true
	})
	return values
}

// Attrs calls each with the attributes, whose values are as they stand in the file, until it returns false.
func (t *Token) Attrs(each func(prefix, local, value []byte) bool) {
	b := t.raw
	for {
		b = bytes.TrimLeft(b, " \t\r\n/")
		i := bytes.IndexByte(b, '=')
		if i < 0 {
			return
		}
		name := bytes.TrimRight(b[:i], " \t\r\n")
		if j := bytes.LastIndexAny(name, " \t\r\n"); j >= 0 {
			name = name[j+1:]
		}
		b = bytes.TrimLeft(b[i+1:], " \t\r\n")
		var value []byte
		if len(b) > 0 && (b[0] == '"' || b[0] == '\'') {
			end := bytes.IndexByte(b[1:], b[0])
			if end < 0 {
				end = len(b) - 1
			}
			value, b = b[1:1+end], b[min(end+2, len(b)):]
		} else {
			end := bytes.IndexAny(b, " \t\r\n")
			if end < 0 {
				end = len(b)
			}
			value, b = b[:end], b[end:]
		}
		prefix, local := split(name)
		if !each(prefix, local, value) {
			return
		}
	}
}

// split parts a name from its prefix.
func split(name []byte) (prefix, local []byte) {
	if i := bytes.IndexByte(name, ':'); i >= 0 {
		return name[:i], name[i+1:]
	}
	return nil, name
}

func unescape(b []byte) string {
	if bytes.IndexByte(b, '&') < 0 {
		return string(b)
	}
	return html.UnescapeString(string(b))
}

// Scanner reads tokens.
type Scanner struct {
	r       *bufio.Reader
	tag     []byte
	inTag   bool // a "<" was read
	problem error
}

// New makes a Scanner of a file in UTF-8, UTF-16 or an encoding of which the ASCII letters are those of ASCII. The
// problem of any other is told by Problem.
func New(in io.Reader) *Scanner {
	r := bufio.NewReaderSize(in, 32<<10)
	head, _ := r.Peek(4)
	wide := unicode.IgnoreBOM
	switch {
	case bytes.HasPrefix(head, []byte("\xff\xfe\x00\x00")), bytes.HasPrefix(head, []byte("\x00\x00\xfe\xff")),
		bytes.HasPrefix(head, []byte("<\x00\x00\x00")), bytes.HasPrefix(head, []byte("\x00\x00\x00<")):
		return &Scanner{r: r, problem: errors.New("xmlscan: it is in UTF-32, which is not read")}
	case bytes.HasPrefix(head, []byte("\xff\xfe")), len(head) > 1 && head[0] != 0 && head[1] == 0:
		in = unicode.UTF16(unicode.LittleEndian, wide).NewDecoder().Reader(r)
		return &Scanner{r: bufio.NewReaderSize(in, 32<<10)}
	case bytes.HasPrefix(head, []byte("\xfe\xff")), len(head) > 1 && head[0] == 0 && head[1] != 0:
		in = unicode.UTF16(unicode.BigEndian, wide).NewDecoder().Reader(r)
		return &Scanner{r: bufio.NewReaderSize(in, 32<<10)}
	}
	return &Scanner{r: r}
}

// Problem gives the first thing that could not be read, nil where all could.
func (s *Scanner) Problem() error { return s.problem }

func (s *Scanner) note(format string, a ...any) {
	if s.problem == nil {
		s.problem = fmt.Errorf("xmlscan: "+format, a...)
	}
}

// Next reads one token. At the end of the file, or of what can be read of it, the error is io.EOF; any other is that
// of reading.
func (s *Scanner) Next() (t Token, err error) {
	for {
		if !s.inTag {
			text, err := s.r.ReadSlice('<')
			if err == nil {
				text = text[:len(text)-1]
				s.inTag = true
			}
			if len(text) > 0 {
				if err != nil && !errors.Is(err, bufio.ErrBufferFull) && err != io.EOF {
					return t, err
				}
				return Token{Kind: Text, raw: text}, nil
			}
			if err != nil {
				return t, err
			}
		}
		t, skip, err := s.markup()
		if err != nil || !skip {
			return t, err
		}
	}
}

// markup reads what follows "<". Some of it is not for the caller.
func (s *Scanner) markup() (t Token, skip bool, err error) {
	s.inTag = false
	head, err := s.r.Peek(8)
	if err != nil && err != io.EOF {
		return t, false, err
	}
	switch {
	case bytes.HasPrefix(head, []byte("!--")):
		return t, true, s.skip("-->")
	case bytes.HasPrefix(head, []byte("![CDATA[")):
		return s.readCDATA()
	case bytes.HasPrefix(head, []byte("?")):
		return t, true, s.instruction()
	case bytes.HasPrefix(head, []byte("!")):
		return t, true, s.declaration()
	}
	if err := s.readTag(); err != nil {
		return t, false, err
	}
	b := s.tag
	if len(b) > 0 && b[0] == '/' {
		_, t.Local = split(bytes.TrimSpace(b[1:]))
		t.Kind = End
		return t, false, nil
	}
	if n := len(b); n > 0 && b[n-1] == '/' {
		t.Empty = true
		b = b[:n-1]
	}
	i := bytes.IndexAny(b, " \t\r\n/")
	if i < 0 {
		i = len(b)
	}
	_, t.Local = split(b[:i])
	t.raw = b[i:]
	return t, false, nil
}

// readTag reads up to the ">" that is not in quotes.
func (s *Scanner) readTag() error {
	s.tag = s.tag[:0]
	var quote byte
	for {
		piece, err := s.r.ReadSlice('>')
		from := len(s.tag)
		s.tag = append(s.tag, piece...)
		for _, c := range s.tag[from:] {
			switch {
			case quote == 0 && (c == '"' || c == '\''):
				quote = c
			case c == quote:
				quote = 0
			}
		}
		if err == nil && quote == 0 {
			s.tag = s.tag[:len(s.tag)-1]
			return nil
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			if err == io.EOF {
				s.note("a tag has no end")
			}
			return err
		}
		if len(s.tag) > maxTag {
			s.note("a tag is longer than %d octets", maxTag)
			return io.EOF
		}
	}
}

// skip reads over everything up to and with end.
func (s *Scanner) skip(end string) error {
	tail := make([]byte, 0, 2*len(end))
	for {
		piece, err := s.r.ReadSlice('>')
		if n := len(piece) - len(end); n > 0 {
			tail = append(tail[:0], piece[n:]...)
		} else {
			tail = append(tail, piece...)
			tail = tail[max(0, len(tail)-len(end)):]
		}
		if string(tail) == end {
			return nil
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			if err == io.EOF {
				s.note("what begins has no %q", end)
			}
			return err
		}
	}
}

// readCDATA reads text in which nothing is markup. It is kept whole up to the length of a tag, and given as it is.
func (s *Scanner) readCDATA() (t Token, skip bool, err error) {
	if _, err := s.r.Discard(len("![CDATA[")); err != nil {
		return t, false, err
	}
	s.tag = s.tag[:0]
	for {
		piece, err := s.r.ReadSlice('>')
		s.tag = append(s.tag, piece...)
		if bytes.HasSuffix(s.tag, []byte("]]>")) {
			return Token{Kind: Text, raw: s.tag[:len(s.tag)-3], cdata: true}, false, nil
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			if err == io.EOF {
				s.note("a section of characters has no end")
			}
			return t, false, err
		}
		if len(s.tag) > maxTag {
			s.note("a section of characters is longer than %d octets", maxTag)
			return t, false, io.EOF
		}
	}
}

// instruction reads over a processing instruction; the one at the start may say the encoding.
func (s *Scanner) instruction() error {
	head, err := s.r.Peek(128)
	if err != nil && err != io.EOF {
		return err
	}
	if rest, ok := bytes.CutPrefix(head, []byte("?xml")); ok {
		if i := bytes.Index(rest, []byte("?>")); i >= 0 {
			rest = rest[:i]
		}
		decl := Token{raw: rest}
		if e := decl.Attr("encoding"); e != "" && !likeASCII(e) {
			s.note("it is in the encoding %.40q, which is not read", e)
		}
	}
	return s.skip("?>")
}

// likeASCII reports whether the ASCII letters are the same in an encoding.
func likeASCII(name string) bool {
	n := strings.ToLower(name)
	for _, p := range []string{"utf-8", "utf8", "utf-16", "utf16", "us-ascii", "ascii", "iso-8859-", "iso8859-", "windows-125", "windows-874", "koi8-", "latin1", "gb2312", "gbk", "gb18030", "big5", "euc-", "shift_jis", "ks_c_5601-1987", "macintosh", "unicode", "ucs-2", "iso-10646-ucs-2", "cp125"} {
		if strings.HasPrefix(n, p) {
			return true
		}
	}
	return false
}

// declaration reads over a document type; one that defines entities could hide anything behind them.
func (s *Scanner) declaration() error {
	depth := 0
	s.tag = s.tag[:0]
	for {
		piece, err := s.r.ReadSlice('>')
		if bytes.IndexByte(piece, '[') >= 0 {
			s.note("it may define entities")
		}
		depth += bytes.Count(piece, []byte("[")) - bytes.Count(piece, []byte("]"))
		if err == nil && depth <= 0 {
			return nil
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			if err == io.EOF {
				s.note("a declaration has no end")
			}
			return err
		}
	}
}
