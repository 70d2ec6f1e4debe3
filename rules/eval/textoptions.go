package eval

import (
	"errors"
	"strings"

	"github.com/postern-mail/postern/rules/pattern"
	"github.com/postern-mail/postern/rules/text"
)

var _ = keys("clear_util_rb", "util_rb_tld", "util_rb_2tld", "util_rb_3tld", "redirector_pattern", "clear_originating_ip_headers",
	"originating_ip_headers") && checked("redirector_pattern", func(args string) error {
	_, err := compileRedirector(args)
	return err
})

// Text gives what the settings say of how a message is to be read: the top-level domains, the fields in which services name their
// users' addresses, and redirectors. Every call gives the same, so that the texts of a message are made once. Networks, the client
// and the envelope are for the caller to add.
func (s *Settings) Text() text.Options {
	return Built(s, "text options", func() text.Options {
		return text.Options{TLDs: s.domains(), Redirector: s.redirectors(), Originating: s.originating()}
	})
}

func (s *Settings) domains() *text.TLDs {
	var top, second, third []string
	for _, l := range s.Lines("clear_util_rb", "util_rb_tld", "util_rb_2tld", "util_rb_3tld") {
		words := strings.Fields(l.Args)
		switch l.Key {
		case "clear_util_rb":
			top, second, third = nil, nil, nil
		case "util_rb_tld":
			top = append(top, words...)
		case "util_rb_2tld":
			second = append(second, words...)
		case "util_rb_3tld":
			third = append(third, words...)
		}
	}
	if top == nil {
		return text.DefaultTLDs
	}
	return text.NewTLDs(top, second, third)
}

func (s *Settings) originating() []string {
	var fields []string
	for _, l := range s.Lines("clear_originating_ip_headers", "originating_ip_headers") {
		if l.Key == "clear_originating_ip_headers" {
			fields = []string{}
			continue
		}
		fields = append(fields, strings.Fields(l.Args)...)
	}
	return fields
}

// redirectors are patterns whose first group is where a URI leads to.
type redirectors []*pattern.Pattern

func (s *Settings) redirectors() text.Redirector {
	r := &redirectors{}
	for _, l := range s.Lines("redirector_pattern") {
		if p, err := compileRedirector(l.Args); err == nil {
			*r = append(*r, p)
		}
	}
	if len(*r) == 0 {
		return nil
	}
	return r
}

func compileRedirector(args string) (*pattern.Pattern, error) {
	expr, o, err := delimited(args)
	if err != nil {
		return nil, err
	}
	return pattern.Compile(expr, o)
}

// Target gives where a URI leads to by the first pattern that knows it.
func (r *redirectors) Target(uri string) (string, bool) {
	b := []byte(uri)
	for _, p := range *r {
		if loc, ok, err := p.FindSubmatch(b, 0); err == nil && ok && len(loc) >= 4 && loc[2] >= 0 {
			if target := uri[loc[2]:loc[3]]; strings.Contains(target, ".") {
				return target, true
			}
		}
	}
	return "", false
}

// delimited takes a pattern out of what stands around it: /…/, or m and any sign, or a pair of brackets, and the flags behind.
func delimited(s string) (expr string, o pattern.Options, err error) {
	bare := errors.New("eval: a pattern stands as /…/ or m{…}")
	end := byte('/')
	if !strings.HasPrefix(s, "/") {
		if len(s) < 3 || s[0] != 'm' || isWord(s[1]) || isSpace(s[1]) {
			return "", o, bare
		}
		s = s[1:]
		end = s[0]
		if i := strings.IndexByte("({[<", end); i >= 0 {
			end = ")}]>"[i]
		}
	}
	i := strings.LastIndexByte(s, end)
	if i < 1 {
		return "", o, bare
	}
	for _, c := range s[i+1:] {
		switch c {
		case 'i':
			o.IgnoreCase = true
		case 'm':
			o.MultiLine = true
		case 's':
			o.DotAll = true
		case 'x':
			o.Extended = true
		case 'a', 'g', 'o':
		default:
			return "", o, bare
		}
	}
	expr = s[1:i]
	if end == '/' || end == '\'' || end == '!' || end == '#' || end == ',' {
		expr = strings.ReplaceAll(expr, `\`+string(end), string(end))
	}
	return expr, o, nil
}
