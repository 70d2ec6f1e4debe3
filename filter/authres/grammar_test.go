package authres

import (
	"fmt"
	"strings"
)

// arReader reads an Authentication-Results field's body strictly by RFC 8601 2.2, and shares nothing with what writes
// it.
type arReader struct {
	s string
	i int
}

type arResult struct {
	Method, Result, Reason string
	Properties             []arProperty
}

type arProperty struct{ Name, Value string }

// arSyntax is what a reader panics with; readAR recovers from it.
type arSyntax struct{ error }

func readAR(body string) (id string, results []arResult, err error) {
	defer func() {
		if v := recover(); v != nil {
			syntax, ok := v.(arSyntax)
			if !ok {
				panic(v)
			}
			err = syntax.error
		}
	}()
	r := &arReader{s: body}
	r.cfws()
	id = r.value()
	r.cfws()
	if d := r.run(isDigit); d != "" {
		r.cfws()
	}
	for r.i < len(r.s) {
		r.expect(';')
		r.cfws()
		method := r.keyword()
		r.cfws()
		if method == "none" && r.i == len(r.s) && results == nil {
			return id, nil, nil
		}
		results = append(results, r.result(method))
	}
	if results == nil {
		r.fail("no result")
	}
	return id, results, nil
}

func (r *arReader) fail(format string, args ...any) {
	panic(arSyntax{fmt.Errorf("at %d: %s", r.i, fmt.Sprintf(format, args...))})
}

func (r *arReader) result(method string) arResult {
	out := arResult{Method: method}
	r.expect('=')
	r.cfws()
	out.Result = r.keyword()
	blank := r.cfws()
	for r.i < len(r.s) && r.s[r.i] != ';' {
		if !blank {
			r.fail("no blank before a property")
		}
		name := r.keyword()
		r.cfws()
		if name == "reason" && r.peek() == '=' {
			if out.Reason != "" || out.Properties != nil {
				r.fail("a reason out of its place")
			}
			r.i++
			r.cfws()
			out.Reason = r.value()
			blank = r.cfws()
			continue
		}
		r.expect('.')
		r.cfws()
		name += "." + r.keyword()
		r.cfws()
		r.expect('=')
		r.cfws()
		out.Properties = append(out.Properties, arProperty{name, r.pvalue()})
		blank = r.cfws()
	}
	return out
}

func (r *arReader) peek() byte {
	if r.i < len(r.s) {
		return r.s[r.i]
	}
	return 0
}

func (r *arReader) expect(c byte) {
	if r.peek() != c {
		r.fail("want %q, have %q", c, r.s[r.i:])
	}
	r.i++
}

func (r *arReader) run(in func(byte) bool) string {
	start := r.i
	for r.i < len(r.s) && in(r.s[r.i]) {
		r.i++
	}
	return r.s[start:r.i]
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isLetDig(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || isDigit(c) }

// keyword: RFC 5321 4.1.2: Ldh-str.
func (r *arReader) keyword() string {
	w := r.run(func(c byte) bool { return isLetDig(c) || c == '-' })
	if w == "" || strings.HasSuffix(w, "-") {
		r.fail("want a keyword, have %q", r.s[r.i:])
	}
	return w
}

// fws reads blanks and folds; of two folds one after another the first would be a line of blanks.
func (r *arReader) fws() bool {
	start := r.i
	for folds := 0; ; {
		switch {
		case r.peek() == ' ' || r.peek() == '\t':
			r.i++
		case strings.HasPrefix(r.s[r.i:], "\r\n ") || strings.HasPrefix(r.s[r.i:], "\r\n\t"):
			if folds++; folds > 1 {
				r.fail("a line of blanks")
			}
			r.i += 3
		default:
			return r.i > start
		}
	}
}

func (r *arReader) cfws() bool {
	start := r.i
	for {
		r.fws()
		if r.peek() != '(' {
			return r.i > start
		}
		r.comment()
	}
}

func (r *arReader) comment() {
	r.expect('(')
	for {
		r.fws()
		switch c := r.peek(); {
		case c == ')':
			r.i++
			return
		case c == '(':
			r.comment()
		case c == '\\' && r.i+1 < len(r.s):
			r.i += 2
		case c > ' ' && c != 0x7f:
			r.i++
		default:
			r.fail("unclosed comment")
		}
	}
}

// value: RFC 2045 5.1: token or quoted-string.
func (r *arReader) value() string {
	if r.peek() == '"' {
		return r.quoted()
	}
	w := r.run(func(c byte) bool { return c > ' ' && c < 0x7f && !strings.ContainsRune("()<>@,;:\\\"/[]?=", rune(c)) })
	if w == "" {
		r.fail("want a value, have %q", r.s[r.i:])
	}
	return w
}

func (r *arReader) quoted() string {
	r.expect('"')
	var b strings.Builder
	for {
		c := r.peek()
		switch {
		case c == '"':
			r.i++
			return b.String()
		case c == '\\' && r.i+1 < len(r.s) && (r.s[r.i+1] == ' ' || r.s[r.i+1] > ' ' && r.s[r.i+1] < 0x7f):
			b.WriteByte(r.s[r.i+1])
			r.i += 2
		case c == '\r': // unfolded (RFC 5322 2.2.3), the fold goes and its blank stays
			if !strings.HasPrefix(r.s[r.i:], "\r\n ") {
				r.fail("a bare CR, or a fold with another blank than there was")
			}
			r.i += 2
		case c >= ' ' && c != 0x7f:
			b.WriteByte(c)
			r.i++
		default:
			r.fail("%q in a quoted string", c)
		}
	}
}

// pvalue: value, or [[local-part] "@"] domain-name, of which the local part may be a quoted string or a dot-atom
// (RFC 5322 3.2.3, RFC 6532 3.2).
func (r *arReader) pvalue() string {
	start := r.i
	local := r.run(func(c byte) bool {
		return isLetDig(c) || c >= 0x80 || strings.IndexByte("!#$%&'*+-/=?^_`{|}~.", c) >= 0
	})
	if r.peek() != '@' {
		r.i = start
		local = r.value()
	}
	if r.peek() != '@' {
		return local
	}
	r.i++
	domain := r.run(func(c byte) bool { return isLetDig(c) || c == '-' || c == '.' || c == '_' })
	if domain == "" {
		r.fail("want a domain, have %q", r.s[r.i:])
	}
	return local + "@" + domain
}
