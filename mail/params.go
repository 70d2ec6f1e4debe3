package mail

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/postern-mail/postern/mail/charset"
)

// maxParams is how many parameters of one field are read.
const maxParams = 100

// param is one parameter of a Content-Type or Content-Disposition field as it is written.
type param struct {
	name   string   // lower case, with the asterisks and numbers of RFC 2231
	value  string   // without quotes and escapes
	others []string // what lenient readers make of it, where that differs
}

// fieldValue is a structured field taken apart: the token before the first semicolon, and the parameters.
type fieldValue struct {
	token   string // lower case
	params  []param
	bad     bool // it breaks the syntax of RFC 2045 5.1 somewhere
	limited bool // it has more than maxParams parameters
}

// parseValue takes a structured field apart in one pass over s. Where comments is false, parentheses are
// ordinary octets, as they are to readers that know no comments.
func parseValue(s string, comments bool) fieldValue {
	sc := valueScanner{s: s, comments: comments}
	var v fieldValue
	v.token = sc.mediaToken()
	sc.skip()
	if !sc.done() && sc.s[sc.i] != ';' {
		sc.bad = true // "multipart/mixed boundary=x": what follows is read as a parameter
	}
	for sc.skip(); !sc.done(); sc.skip() {
		if sc.s[sc.i] == ';' {
			sc.i++
			continue
		}
		p, ok := sc.param()
		if !ok {
			sc.bad = true
			continue
		}
		if len(v.params) == maxParams {
			v.limited = true
			break
		}
		v.params = append(v.params, p)
	}
	v.bad = sc.bad
	return v
}

type valueScanner struct {
	s        string
	i        int
	comments bool
	bad      bool
}

func (sc *valueScanner) done() bool { return sc.i >= len(sc.s) }

// skip goes over blanks and comments (RFC 5322 3.2.2). A comment that never ends takes all the rest.
func (sc *valueScanner) skip() {
	for ; sc.i < len(sc.s); sc.i++ {
		switch c := sc.s[sc.i]; {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
		case c >= utf8.RuneSelf || c == '\v' || c == '\f':
			n := foreignBlank(sc.s[sc.i:])
			if n == 0 {
				return
			}
			sc.bad = true
			sc.i += n - 1
		case c == '(' && sc.comments:
			n, ok := commentLength(sc.s[sc.i:])
			sc.bad = sc.bad || !ok
			sc.i += n - 1
		default:
			return
		}
	}
}

// foreignBlank gives the length of a blank at the start of s that is none to RFC 5322, 0 where there is no blank.
func foreignBlank(s string) int {
	r, n := utf8.DecodeRuneInString(s)
	switch {
	case unicode.IsSpace(r), r >= 0x200b && r <= 0x200f, r == 0xfeff:
		return n
	case r == utf8.RuneError && s[0] == 0xa0: // Latin-1
		return 1
	}
	return 0
}

// commentLength gives the length of the comment at the start of s, and whether it ends.
func commentLength(s string) (int, bool) {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i + 1, true
			}
		}
	}
	return len(s), false
}

// mediaToken reads what stands before the parameters: a token, or type and subtype with a slash, around
// which blanks are tolerated.
func (sc *valueScanner) mediaToken() string {
	sc.skip()
	t := sc.upTo(" \t\r\n;(")
	if n := strings.IndexFunc(t, foreign); n >= 0 {
		sc.bad = true
		sc.i -= len(t) - n
		t = t[:n]
	}
	mark := sc.i
	sc.skip()
	if !strings.HasSuffix(t, "/") && (sc.done() || sc.s[sc.i] != '/') {
		sc.i = mark
		return LowerASCII(t)
	}
	sc.bad = true
	if !strings.HasSuffix(t, "/") {
		sc.i++
		t += "/"
		sc.skip()
	}
	return LowerASCII(t + sc.upTo(" \t\r\n;("))
}

// upTo reads up to one of the octets of stop, or the end.
func (sc *valueScanner) upTo(stop string) string {
	if !sc.comments {
		stop = strings.TrimSuffix(stop, "(")
	}
	rest := sc.s[sc.i:]
	if n := strings.IndexAny(rest, stop); n >= 0 {
		rest = rest[:n]
	}
	sc.i += len(rest)
	return rest
}

// param reads one parameter; ok is false where there was none, with at least one octet consumed.
func (sc *valueScanner) param() (p param, ok bool) {
	p.name = LowerASCII(sc.upTo(" \t\r\n;=\"("))
	if !sc.comments {
		p.name = strings.TrimLeft(p.name, "(") // found by readers who search for the name
	}
	if name := strings.TrimFunc(p.name, foreign); name != p.name {
		p.name, sc.bad = name, true
	}
	sc.skip()
	if sc.done() || sc.s[sc.i] != '=' || p.name == "" {
		if p.name == "" && !sc.done() {
			sc.i++ // a stray octet
		}
		return p, false
	}
	sc.i++
	sc.skip()
	if !sc.done() && sc.s[sc.i] == '"' {
		sc.quoted(&p)
	} else {
		sc.unquoted(&p)
	}
	return p, true
}

// quoted reads a quoted string. Readings other than the RFC's: the backslashes stay (file names with
// path parts), and a string that never ends goes up to the next semicolon.
func (sc *valueScanner) quoted(p *param) {
	rest := sc.s[sc.i+1:]
	end, escaped := 0, false
	for end < len(rest) && rest[end] != '"' {
		if rest[end] == '\\' && end+1 < len(rest) {
			escaped = true
			end++
		}
		end++
	}
	raw := rest[:end]
	p.value = raw
	if escaped {
		p.value = unescape(raw)
		p.others = append(p.others, raw)
	}
	if end == len(rest) {
		sc.bad = true
		if n := strings.IndexByte(raw, ';'); n >= 0 {
			p.others = append(p.others, strings.TrimRight(raw[:n], " \t\r\n"))
		}
		sc.i = len(sc.s)
		return
	}
	sc.i += end + 2
	sc.skip()
	if sc.done() || sc.s[sc.i] == ';' {
		return
	}
	// Something between the closing quote and the semicolon: `"a" b`, `"a".exe`.
	mark := sc.i
	if tail := strings.TrimRight(sc.upTo(";"), " \t\r\n"); !strings.Contains(tail, "=") {
		p.others = append(p.others, p.value+tail, `"`+raw+`"`+tail)
	} else {
		sc.i = mark // a parameter without its semicolon
	}
	sc.bad = true
}

func unescape(s string) string {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b = append(b, s[i])
	}
	return string(b)
}

// token reads a value that is a token with nothing behind it but blanks and comments (RFC 2045 5.1; RFC 5322
// 3.2.2: a comment ends a token, also without a blank before it), and reports whether there is one. What those
// make of it who know no comments is what parseValue finds without them.
func (sc *valueScanner) token(p *param) bool {
	start, bad := sc.i, sc.bad
	value := sc.upTo(" \t\r\n" + tspecials)
	sc.bad = false
	sc.skip()
	if value == "" || sc.bad || !sc.done() && sc.s[sc.i] != ';' {
		sc.i, sc.bad = start, bad
		return false
	}
	p.value, sc.bad = value, bad
	return true
}

// unquoted reads a value without quotes. RFC 2045 5.1 allows a token only; many senders write blanks,
// "=", "/" and parentheses, so the value ends at a blank or semicolon, and the other readings go on to the
// semicolon or stop at the first octet that is not of a token.
func (sc *valueScanner) unquoted(p *param) {
	if sc.comments && sc.token(p) {
		return
	}
	rest := sc.s[sc.i:]
	if n := strings.IndexByte(rest, ';'); n >= 0 {
		rest = rest[:n]
	}
	whole := strings.TrimRight(rest, " \t\r\n")
	value, tail := whole, ""
	if n := strings.IndexAny(whole, " \t\r\n"); n >= 0 {
		value, tail = whole[:n], strings.TrimLeft(whole[n:], " \t\r\n")
	}
	p.value = value
	if n := strings.IndexAny(value, tspecials); n >= 0 {
		sc.bad = true
		if n > 0 {
			p.others = append(p.others, value[:n])
		}
	}
	sc.i += len(rest)
	if tail == "" || strings.HasPrefix(tail, "(") && sc.comments {
		return // RFC 2045 5.1: a comment after the value is no part of it
	}
	sc.bad = true
	p.others = append(p.others, whole)
	if strings.Contains(tail, "=") {
		sc.i += len(value) - len(rest) // a parameter without its semicolon
	}
}

// RFC 2045 5.1: what a token must not hold beside blanks and controls.
const tspecials = `()<>@,;:\"/[]?=`

// attribute is a parameter in all its forms: plain, extended and continued (RFC 2231 3 and 4).
type attribute struct {
	name     string
	plain    []param
	extended []param
	segments []segment // in the order of their numbers

	came       []segment // in the order in which they came
	disordered bool      // which is another one
}

type segment struct {
	number   int
	extended bool
	value    string
}

// attributes sorts parameters by name, in the order in which the names came.
func attributes(params []param) []attribute {
	all := make([]attribute, 0, len(params))
	for n, p := range params {
		name, number, extended := splitName(p.name)
		i := slices.IndexFunc(all, func(a attribute) bool { return a.name == name })
		if i < 0 {
			i = len(all)
			all = append(all, attribute{name: name})
		}
		a := &all[i]
		switch {
		case number >= 0:
			a.segments = append(a.segments, segment{number, extended, p.value})
		case extended:
			a.extended = append(a.extended, p)
		case a.plain == nil:
			a.plain = params[n : n+1 : n+1] // the same memory: nobody changes it
		default:
			a.plain = append(a.plain, p)
		}
	}
	for i := range all {
		a := &all[i]
		byNumber := func(x, y segment) int { return x.number - y.number }
		if a.disordered = !slices.IsSortedFunc(a.segments, byNumber); a.disordered {
			a.came = slices.Clone(a.segments)
		}
		slices.SortStableFunc(a.segments, byNumber)
	}
	return all
}

// maxSegment is the highest number of a segment that is told from higher ones.
const maxSegment = 10000

// odd reports whether the segments are not numbered as RFC 2231 3 has it: from 0 on, each once, in decimal without
// leading zeros.
func (a *attribute) odd() bool {
	for i, s := range a.segments {
		if s.number != i {
			return true
		}
	}
	return a.disordered
}

// upToGap gives the segments up to the first that is missing, as readers see them who stop there.
func (a *attribute) upToGap() []segment {
	for i, s := range a.segments {
		if s.number != i {
			return a.segments[:i]
		}
	}
	return a.segments
}

// splitName takes name*0* apart; number is -1 where there is none.
func splitName(s string) (name string, number int, extended bool) {
	name, rest, star := strings.Cut(s, "*")
	if !star || name == "" {
		return s, -1, false
	}
	rest, extended = strings.CutSuffix(rest, "*")
	if rest == "" {
		return name, -1, true
	}
	for _, c := range []byte(rest) {
		if c < '0' || c > '9' {
			return name, -1, true // some find the parameter whatever stands behind the asterisk
		}
		number = min(10*number+int(c-'0'), maxSegment)
	}
	return name, number, extended
}

// forms counts in how many ways the attribute is given.
func (a *attribute) forms() int {
	n := len(a.plain) + len(a.extended)
	if len(a.segments) > 0 {
		n++
	}
	return n
}

// value gives the reading that comes first: the plain form, for that is the one every client knows, then
// the extended and the continued one.
func (a *attribute) value() string {
	switch {
	case len(a.plain) > 0:
		return a.plain[0].value
	case len(a.extended) > 0:
		return decodeExtended(a.extended[0].value)
	default:
		return a.joined()
	}
}

// joined puts the segments together and decodes them (RFC 2231 4.1).
func (a *attribute) joined() string {
	name, octets := a.segmentOctets()
	return charset.Of(name).Decode(octets)
}

// segmentOctets puts the segments together, the charset of which stands in the first.
func (a *attribute) segmentOctets() (name, joined string) {
	var octets []byte
	for i, s := range a.segments {
		v := s.value
		if s.extended && i == 0 {
			name, v = cutCharset(v)
		}
		if s.extended {
			v = percentDecode(v)
		}
		octets = append(octets, v...)
	}
	return name, string(octets)
}

// rawJoined puts the segments together as readers do that know continuations but no encoding.
func (a *attribute) rawJoined() string {
	var b strings.Builder
	for _, s := range a.segments {
		b.WriteString(s.value)
	}
	return b.String()
}

// unquotedJoined puts the segments together as readers do that decode encoded words and take off single quotes in each
// of them, "" where there are none.
func (a *attribute) unquotedJoined() string {
	var b strings.Builder
	other := false
	for _, s := range a.segments {
		v := strings.Trim(DecodeWords(s.value), "'")
		other = other || v != s.value
		b.WriteString(v)
	}
	if !other {
		return ""
	}
	return b.String()
}

// decodeExtended decodes charset'language'percent-encoded (RFC 2231 4).
func decodeExtended(s string) string {
	name, v := cutCharset(s)
	return charset.Of(name).Decode(percentDecode(v))
}

func cutCharset(s string) (name, value string) {
	name, rest, ok := strings.Cut(s, "'")
	if !ok {
		return "", s
	}
	if _, value, ok = strings.Cut(rest, "'"); !ok {
		return "", s
	}
	return name, value
}

// percentDecode decodes %XX and leaves everything else.
func percentDecode(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			hi, lo := unhex(s[i+1]), unhex(s[i+2])
			if hi < 16 && lo < 16 {
				b = append(b, hi<<4|lo)
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}

// unhex gives the value of a hexadecimal digit, and 255 for another octet.
func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	}
	return 255
}
