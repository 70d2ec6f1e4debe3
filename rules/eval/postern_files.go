package eval

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/postern-mail/postern/mail"
)

// posternFiles looks at what is attached.
var posternFiles = []Function{{"postern_file_name", compileFileName}}

// Bounds of the names that are looked at in one message.
const (
	maxFileNames   = 200
	maxNameOctets  = 500
	maxExpressions = 1000 // octets of one expression
)

// compileFileName finds a file by its name: that of any reading of the part's fields, decoded, in lower case and without the
// dots and blanks at its end, which some systems leave off. The expression is Go's: RE2, linear in time. With "attached"
// the text itself and what it shows are passed over.
func compileFileName(_ *Settings, args []string) (Check, error) {
	const name = "postern_file_name"
	if err := atMost(name, args, 2); err != nil {
		return nil, err
	}
	if len(args) == 0 || len(args) == 2 && args[1] != "attached" || len(args[0]) > maxExpressions {
		return nil, fmt.Errorf("eval: %s needs an expression, and after it attached or nothing, not %q", name, args)
	}
	expr, err := regexp.Compile(args[0])
	if err != nil {
		return nil, fmt.Errorf("eval: %s: %w", name, err)
	}
	attached := len(args) == 2
	return func(m *Mail) (int, string) {
		for _, f := range m.files() {
			if (!f.inline || !attached) && expr.MatchString(f.name) {
				return 1, f.name
			}
		}
		return 0, ""
	}, nil
}

// file is a name that a part of the message goes by.
type file struct {
	name   string
	inline bool // shown within the text, or the text itself
}

// files lists them once for each message.
func (m *Mail) files() []file {
	return m.attached.get(func() []file { return mail.Memo(m.Text.Content(), "eval: files", m.readFiles) })
}

func (m *Mail) readFiles() (all []file) {
	m.Text.Content().Root().Walk(func(p *mail.Part) bool {
		inline := p.Disposition == "inline" || p.Disposition == "" && strings.HasPrefix(p.Type, "text/") && len(p.Names) == 0
		for _, n := range p.Names {
			n = strings.TrimRight(strings.ToLower(atMostOctets(n, maxNameOctets)), ". \t")
			if n != "" && len(all) < maxFileNames && !p.IsMultipart() && !strings.HasPrefix(p.Type, "message/") {
				all = append(all, file{n, inline})
			}
		}
		return len(all) < maxFileNames
	})
	return all
}
