package arc

import (
	"strings"
)

// Result is one result of an ARC-Authentication-Results field: what its sealer found with one method.
type Result struct {
	Method     string     // in lower case: spf, dkim, dmarc, arc …
	Value      string     // the result word, in lower case
	Properties []Property // in their order
}

// Property is one property of a Result.
type Property struct {
	Name  string // in lower case, with its type before a dot: header.from
	Value string // without quotes
}

// Property gives the value of the property of that name, which is in lower case. Where it does not stand exactly once,
// ok is false.
func (r Result) Property(name string) (value string, ok bool) {
	n := 0
	for _, p := range r.Properties {
		if p.Name == name {
			value = p.Value
			n++
		}
	}
	return value, n == 1
}

// AuthResults is what an ARC-Authentication-Results field says.
type AuthResults struct {
	Instance   int
	AuthservID string // without quotes
	Results    []Result
}

// The bounds of an ARC-Authentication-Results field. One that is beyond them says nothing.
const (
	maxAuthResults = 32 << 10 // octets
	maxResults     = 100
	maxProperties  = 50 // of one result
	maxNesting     = 20 // of comments
)

// readInstance reads the instance at the start of an ARC-Authentication-Results field's body, and gives what follows
// its semicolon; the instance is 0 where there is none.
func readInstance(body string) (instance int, payload string) {
	// RFC 8617 4.1.1: arc-info = instance [CFWS] ";" authres-payload
	p := parser{s: unfold(body)}
	p.cfws()
	if !p.take('i') {
		return 0, ""
	}
	p.cfws()
	if !p.take('=') {
		return 0, ""
	}
	p.cfws()
	at := p.at
	for p.at < len(p.s) && isDigit(p.s[p.at]) {
		p.at++
	}
	i := number(p.s[at:p.at])
	p.cfws()
	if !p.take(';') || p.bad {
		return 0, ""
	}
	return i, p.s[p.at:]
}

// number gives an instance of RFC 8617 4.2.1, "position = 1*2DIGIT ; 1 - 50", and 0 for anything else.
func number(s string) int {
	if len(s) < 1 || len(s) > 2 {
		return 0
	}
	n := 0
	for i := range len(s) {
		if !isDigit(s[i]) {
			return 0
		}
		n = 10*n + int(s[i]-'0')
	}
	return n
}

// ParseAuthResults reads the body of an ARC-Authentication-Results field (RFC 8617 4.1.1, RFC 8601 2.2). It is strict
// where a text could be read in two ways, as what it says may open a door: of a field with an open comment or quoted
// string, a control character or a result without its word ok is false and nothing counts. It takes what large
// providers write beyond the grammar: a property without a type, a value with special characters that are not quoted,
// a semicolon at the end.
func ParseAuthResults(body string) (r AuthResults, ok bool) {
	if len(body) > maxAuthResults {
		return AuthResults{}, false
	}
	i, payload := readInstance(body)
	if i == 0 {
		return AuthResults{}, false
	}
	p := parser{s: payload}
	r = AuthResults{Instance: i, AuthservID: p.id()}
	for !p.bad && p.take(';') {
		p.cfws()
		if p.end() {
			break
		}
		if len(r.Results) == 0 && p.none() {
			break
		}
		r.Results = append(r.Results, p.result())
		p.bad = p.bad || len(r.Results) > maxResults
	}
	if p.bad || !p.end() {
		return AuthResults{}, false
	}
	return r, true
}

// unfold removes the folds (RFC 5322 2.2.3). What is left of CR and LF is no white space to the parser.
func unfold(s string) string {
	s = strings.TrimSuffix(s, "\r\n")
	s = strings.ReplaceAll(s, "\r\n ", " ")
	return strings.ReplaceAll(s, "\r\n\t", "\t")
}

// parser reads the grammar of RFC 8601 2.2 from left to right, and never back.
type parser struct {
	s   string
	at  int
	bad bool
}

func (p *parser) end() bool { return p.at == len(p.s) }

// take steps over c, if it is next.
func (p *parser) take(c byte) bool {
	if p.at < len(p.s) && p.s[p.at] == c {
		p.at++
		return true
	}
	return false
}

// cfws steps over white space and comments (RFC 5322 3.2.2), and reports whether there were any.
func (p *parser) cfws() bool {
	start, depth := p.at, 0
	for ; p.at < len(p.s); p.at++ {
		switch c := p.s[p.at]; {
		case c == '(':
			depth++
			p.bad = p.bad || depth > maxNesting
		case depth > 0 && c == ')':
			depth--
		case depth > 0 && c == '\\' && p.at+1 < len(p.s):
			p.at++
			p.bad = p.bad || isControl(p.s[p.at])
		case c == ' ' || c == '\t':
		case depth == 0:
			return p.at > start
		default:
			p.bad = p.bad || isControl(c)
		}
	}
	p.bad = p.bad || depth > 0
	return p.at > start
}

// id reads the authserv-id and its version, up to the first semicolon.
func (p *parser) id() string {
	p.cfws()
	id := p.value()
	if p.cfws() && p.at < len(p.s) && isDigit(p.s[p.at]) {
		// RFC 8601 2.2: authres-version = 1*DIGIT [CFWS]
		for p.at < len(p.s) && isDigit(p.s[p.at]) {
			p.at++
		}
		p.cfws()
	}
	return id
}

// none reports whether the word that says that nothing was checked is all that is left, and steps over it.
func (p *parser) none() bool {
	q := *p
	if q.keyword() != "none" {
		return false
	}
	q.cfws()
	if q.bad || !q.end() {
		return false
	}
	*p = q
	return true
}

// result reads a resinfo without the semicolon before it.
func (p *parser) result() Result {
	r := Result{Method: p.keyword()}
	p.cfws()
	if p.take('/') { // RFC 8601 2.2: method-version
		p.cfws()
		at := p.at
		for p.at < len(p.s) && isDigit(p.s[p.at]) {
			p.at++
		}
		p.bad = p.bad || p.at == at
		p.cfws()
	}
	p.need('=')
	p.cfws()
	r.Value = p.keyword()
	for !p.bad {
		blank := p.cfws()
		if p.end() || p.s[p.at] == ';' {
			return r
		}
		p.bad = p.bad || !blank // "pass@example.org" is no result word
		r.Properties = append(r.Properties, p.property())
		p.bad = p.bad || len(r.Properties) > maxProperties
	}
	return r
}

// property reads a propspec, or a reasonspec.
func (p *parser) property() Property {
	var q Property
	q.Name = p.keyword()
	p.cfws()
	if p.take('.') {
		p.cfws()
		q.Name += "." + p.keyword()
		p.cfws()
	}
	p.need('=')
	p.cfws()
	q.Value = p.value()
	return q
}

func (p *parser) need(c byte) {
	if !p.take(c) {
		p.bad = true
	}
}

// keyword reads a Keyword of RFC 8601 2.2 in lower case; there must be one.
func (p *parser) keyword() string {
	at := p.at
	for p.at < len(p.s) && isKeyword(p.s[p.at]) {
		p.at++
	}
	p.bad = p.bad || p.at == at
	return strings.ToLower(p.s[at:p.at])
}

// value reads a token, a quoted string, or a quoted local part with its domain.
func (p *parser) value() string {
	if p.at < len(p.s) && p.s[p.at] == '"' {
		v := p.quoted()
		if p.at < len(p.s) && p.s[p.at] == '@' {
			v += p.plain()
		}
		return v
	}
	v := p.plain()
	p.bad = p.bad || v == ""
	return v
}

// plain reads what is not quoted, up to a blank or a comment or a semicolon.
func (p *parser) plain() string {
	at := p.at
	for ; p.at < len(p.s); p.at++ {
		c := p.s[p.at]
		if c == ' ' || c == '\t' || c == ';' || c == '(' {
			break
		}
		// A quote within a word is read in several ways.
		p.bad = p.bad || isControl(c) || c == '"' || c == ')' || c == '\\'
	}
	return p.s[at:p.at]
}

// quoted reads a quoted string (RFC 5322 3.2.4).
func (p *parser) quoted() string {
	var b strings.Builder
	for p.at++; p.at < len(p.s); p.at++ {
		c := p.s[p.at]
		if c == '"' {
			p.at++
			return b.String()
		}
		if c == '\\' && p.at+1 < len(p.s) {
			p.at++
			c = p.s[p.at]
		}
		p.bad = p.bad || isControl(c) && c != '\t'
		b.WriteByte(c)
	}
	p.bad = true
	return ""
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isControl(c byte) bool { return c < ' ' && c != '\t' || c == 0x7f }

func isKeyword(c byte) bool {
	return isDigit(c) || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '-' || c == '_'
}
