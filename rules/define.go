package rules

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/postern-mail/postern/rules/pattern"
	"github.com/postern-mail/postern/rules/text"
)

// headerForm is "FIELD =~ /…/", where FIELD may have modifiers.
var headerForm = regexp.MustCompile(`^([\w.-]+(?::|(?::[a-z]+){1,2})?)\s*([=!]~)\s*(.+)$`)

var (
	existsForm = regexp.MustCompile(`^exists:([\w.-]+):?$`)
	unsetForm  = regexp.MustCompile(`\s+\[if-unset:\s+(.+)\]$`)
	mimeForm   = regexp.MustCompile(`^([^:\s]+(?::(?:raw)?)?)\s*([=!]~)\s*(.+)$`)
	callForm   = regexp.MustCompile(`^(\w+)\((.*?)\)$`)
)

// compared is a test of a field as written.
type compared struct {
	field   string
	exists  bool // it is only asked for
	negated bool
	unset   string // stands for the field where it is missing
	hasElse bool
	pattern written
}

// readHeader takes the text of a header or mimeheader rule apart.
func readHeader(s string, form *regexp.Regexp) (compared, error) {
	if m := existsForm.FindStringSubmatch(s); m != nil && form == headerForm {
		return compared{field: m[1], exists: true}, nil
	}
	m := form.FindStringSubmatch(s)
	if m == nil && form == mimeForm {
		if strings.HasPrefix(s, "exists:") {
			return compared{}, errors.New("a mimeheader asks for no field's being there, as in SpamAssassin: FIELD =~ /./ does")
		}
		return compared{}, errors.New("neither FIELD =~ /…/ nor FIELD !~ /…/")
	}
	if m == nil {
		return compared{}, errors.New("neither FIELD =~ /…/, FIELD !~ /…/, exists:FIELD nor eval:function()")
	}
	c := compared{field: strings.TrimSuffix(m[1], ":"), negated: m[2] == "!~"}
	expr := m[3]
	if u := unsetForm.FindStringSubmatchIndex(expr); u != nil {
		c.unset, c.hasElse = expr[u[2]:u[3]], true
		expr = expr[:u[0]]
	}
	var err error
	c.pattern, err = readPattern(expr)
	return c, err
}

// readCall takes "function('a', 2)" apart.
func readCall(s string) (name string, args []string, err error) {
	m := callForm.FindStringSubmatch(strings.TrimRight(s, space))
	if m == nil {
		return "", nil, errors.New("a function stands as eval:name('argument', …)")
	}
	args, err = readArguments(m[2])
	return m[1], args, err
}

// maxArguments bounds the arguments of one call.
const maxArguments = 1000

// readArguments reads a list of arguments: quoted, or made of letters, digits, dots, colons and hyphens.
func readArguments(s string) ([]string, error) {
	var args []string
	for s = strings.TrimLeft(s, space); s != ""; {
		if len(args) >= maxArguments {
			return nil, fmt.Errorf("more than %d arguments", maxArguments)
		}
		var arg string
		if q := s[0]; q == '\'' || q == '"' {
			n := strings.IndexByte(s[1:], q)
			if n < 0 {
				return nil, errors.New("an argument has no quote at its end")
			}
			arg, s = s[1:1+n], s[n+2:]
		} else {
			n := strings.IndexFunc(s, func(r rune) bool {
				return r > 0x7f || !isNumeric(byte(r)) && !isWord(byte(r)) && r != ':' || r == '+' || r == '_'
			})
			if n < 0 {
				n = len(s)
			}
			arg, s = s[:n], s[n:]
		}
		args = append(args, arg)
		s = strings.TrimLeft(s, space)
		switch {
		case s == "":
		case s[0] == ',':
			s = strings.TrimLeft(s[1:], space)
		default:
			return nil, fmt.Errorf("an argument needs quotes, or a comma is missing: %q", cut(s, 40))
		}
	}
	return args, nil
}

// valid says what is wrong with the form of a definition; patterns and metas are compiled when all files are read.
func (r *reader) valid(d *definition) error {
	switch d.class {
	case Header:
		c, err := readHeader(d.text, headerForm)
		if err == nil {
			_, err = text.ParseSelector(c.field)
		}
		return err
	case MIMEHeader:
		c, err := readHeader(d.text, mimeForm)
		if err == nil && len(c.pattern.uses) > 0 {
			err = fmt.Errorf("a mimeheader takes no %%{%s}, as in SpamAssassin", c.pattern.uses[0])
		}
		return err
	case Body, URI, RawBody, Full:
		if d.links {
			_, _, err := readLinks(d.text)
			return err
		}
		_, err := readPattern(d.text)
		return err
	case Eval:
		_, _, err := readCall(d.text)
		return err
	case Meta:
		if strings.ContainsAny(d.text, "$@%;{}") || strings.Contains(d.text, "::") || strings.Contains(d.text, "->") {
			return errors.New("a meta is made of names, numbers, operators and parentheses")
		}
	}
	return nil
}

// takes says why SpamAssassin does not take a definition: there an earlier one of the same name stays. What it takes and this package does
// not support, is no reason.
func (r *reader) takes(d *definition) error {
	switch d.class {
	case Header:
		if c, err := readHeader(d.text, headerForm); err != nil || !c.exists {
			return taken(&c.pattern, err)
		}
	case MIMEHeader:
		c, err := readHeader(d.text, mimeForm)
		return taken(&c.pattern, err)
	case Body, URI, RawBody, Full:
		if !d.links {
			w, err := readPattern(d.text)
			return taken(&w, err)
		}
		t, _, err := readLinks(d.text)
		for i := range t.conditions {
			w := &t.conditions[i].written
			w.uses = nil
			err = taken(w, err)
		}
		return err
	case Meta:
		return metaForm(d.text)
	}
	return nil
}

// taken says why a pattern is not taken.
func taken(w *written, err error) error {
	if err != nil {
		return err
	}
	var e *pattern.Error
	if _, err = pattern.Compile(w.plain(), w.options); errors.As(err, &e) && e.Lacks {
		return nil
	}
	_, err = compileWritten(w)
	return err
}

// hitsFlag gives how many hits of a rule count: those of tflags multiple, up to maxhits.
func (r *Rule) hitsFlag() (multiple bool, most int) {
	most = maxHits
	for _, f := range r.Flags {
		switch n, ok := strings.CutPrefix(f, "maxhits="); {
		case f == "multiple":
			multiple = true
		case ok:
			v, err := strconv.Atoi(n)
			switch pieces := r.Class == Body || r.Class == RawBody || r.Class == URI; {
			case err != nil, v == 0 && pieces: // 0 is no bound there, and for all else it is 1
			default:
				most = min(max(v, 1), maxHits)
			}
		}
	}
	if !multiple {
		most = 1
	}
	return multiple, most
}

// maxHits bounds what one rule counts.
const maxHits = 1 << 20
