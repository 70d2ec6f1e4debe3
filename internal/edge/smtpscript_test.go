package edge

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/peertest"
)

// smtpscript holds the procedures and cases of a script in the language of OpenSMTPD's tool of that name, so far as
// blocks of call, write, writeln, repeat and expect go.
type smtpscript struct {
	procs map[string][]string
	cases map[string][]string
	words []string
}

var scriptWord = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|[{}]|[^\s{}"]+`)

func parseSMTPScript(t *testing.T, text string) *smtpscript {
	s := &smtpscript{procs: map[string][]string{}, cases: map[string][]string{}}
	text = regexp.MustCompile(`(?m)^\s*#.*$`).ReplaceAllString(text, "")
	s.words = scriptWord.FindAllString(text, -1)
	for len(s.words) > 0 {
		switch word := s.next(t); word {
		case "proc":
			name := s.next(t)
			s.procs[name] = s.block(t)
		case "test-case":
			if w := s.next(t); w != "name" {
				t.Fatalf("test-case %s", w)
			}
			name := s.next(t)
			s.cases[name] = s.block(t)
		default:
			t.Fatalf("%q at the beginning of a statement", word)
		}
	}
	return s
}

// next takes off a word; a string without its quotes.
func (s *smtpscript) next(t *testing.T) string {
	if len(s.words) == 0 {
		t.Fatal("the script ends too soon")
	}
	w := s.words[0]
	s.words = s.words[1:]
	if u, err := strconv.Unquote(w); err == nil {
		return u
	}
	return w
}

// block takes off what stands in braces.
func (s *smtpscript) block(t *testing.T) (words []string) {
	if w := s.next(t); w != "{" {
		t.Fatalf("%q where a block begins", w)
	}
	for depth := 1; ; {
		switch w := s.next(t); w {
		case "{":
			depth++
			words = append(words, w)
		case "}":
			if depth--; depth == 0 {
				return words
			}
			words = append(words, w)
		default:
			words = append(words, w)
		}
	}
}

// run holds the dialog of a block.
func (s *smtpscript) run(t *testing.T, c *client, words []string) {
	b := &smtpscript{procs: s.procs, words: words}
	for len(b.words) > 0 {
		word := b.next(t)
		c.where = word
		switch word {
		case "call":
			name := b.next(t)
			if s.procs[name] == nil {
				t.Fatalf("no proc %s", name)
			}
			s.run(t, c, s.procs[name])
		case "write":
			c.send(b.next(t))
		case "writeln":
			c.send(b.next(t) + "\r\n")
		case "repeat":
			n, err := strconv.Atoi(b.next(t))
			if err != nil {
				t.Fatal(err)
			}
			inner := b.block(t)
			for range n {
				s.run(t, c, inner)
			}
		case "expect":
			if w := b.next(t); w != "smtp" {
				t.Fatalf("expect %s", w)
			}
			want := b.next(t)
			digits := map[string]string{"ok": "23", "helo": "2", "tempfail": "4", "permfail": "5"}[want]
			if got := c.reply(); digits == "" || !strings.ContainsAny(got[:1], digits) {
				c.fatal("expect smtp %s: %q", want, got)
			}
		default:
			t.Fatalf("unknown statement %q", word)
		}
	}
}

// TestSMTPScript runs the script that OpenSMTPD's smtpscript brings along, with each engine.
func TestSMTPScript(t *testing.T) {
	text, err := os.ReadFile(peertest.Shared(t, "suites", "smtp", "opensmtpd-smtpscript", "smtpscript", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "will look like:\n")
	code, _, ok2 := strings.Cut(rest, "\nwhich once executed")
	if !ok || !ok2 {
		t.Fatal("no script where it was")
	}
	s := parseSMTPScript(t, code)
	if len(s.cases) != 2 {
		t.Fatalf("%d cases", len(s.cases))
	}
	for _, engine := range engines {
		d := newDoor(t, nil, func(_ *door, cfg *ListenerConfig) { cfg.Engine = engine })
		for name, words := range s.cases {
			t.Run(engine+"/"+name, func(t *testing.T) {
				c := dialDoor(t, d)
				defer c.close()
				s.run(t, c, words)
			})
		}
	}
}
