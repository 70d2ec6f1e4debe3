package peertest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// MTA is a running mail server of another make, with a configuration of its own. It takes mail on a loopback port,
// stores that for one domain, one file a message, and hands on that for the domains of its paths.
type MTA struct {
	Name string // Postfix, Exim, OpenSMTPD
	Addr string // of its SMTP server

	box   string   // a maildir, with LF line ends
	queue []string // patterns of files; one is there for each message that is not done with
	retry func()   // lets it try again what was put off; nil where it does so by itself
	log   func() string
}

// MTAOptions are what tests vary.
type MTAOptions struct {
	Domain     string // mail for it is stored; example.org if empty
	CertFile   string // with KeyFile: STARTTLS is offered
	KeyFile    string
	RequireTLS bool
	Lenient    bool     // takes bare line ends for line ends, and commands out of turn, as far as its make can be brought to
	Mailboxes  []string // local parts that there are; none: all. Postfix only
	XForward   bool     // Postfix: XFORWARD is offered
	XClient    bool     // Postfix: XCLIENT is offered, also LOGIN, and it takes no mail from 127.0.0.8
	Proxy      bool     // Postfix: it wants a PROXY header, and takes no mail from 127.0.0.8
	NoDSN      bool     // Exim: DSN is not offered, as by default
	Login      Login    // Exim: only whoever logs in so gets mail taken
	Paths      []Path   // with one, the server relays for clients on loopback, and for their addresses as senders
}

// Login is what a server wants of its clients. The zero value: nothing.
type Login struct{ Mechanism, User, Password string }

// Path is the way of mail for one domain.
type Path struct {
	Domain   string
	Addr     string
	TLS      string // none, starttls, implicit: just this is used
	User     string // "": without AUTH
	Password string
}

func (o MTAOptions) withDefaults() MTAOptions {
	if o.Domain == "" {
		o.Domain = "example.org"
	}
	return o
}

// Log gives the server's log so far.
func (m *MTA) Log() string { return m.log() }

// Stored gives the messages that are stored at the moment, with CRLF line ends.
func (m *MTA) Stored(t testing.TB) [][]byte {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(m.box, "new", "*"))
	var all [][]byte
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n")))
	}
	return all
}

// Messages waits until at least n messages are stored, for at most a minute, and gives all of them
// with CRLF line ends.
func (m *MTA) Messages(t testing.TB, n int) [][]byte {
	t.Helper()
	end := time.Now().Add(patience)
	for {
		if files, _ := filepath.Glob(filepath.Join(m.box, "new", "*")); len(files) >= n {
			return m.Stored(t)
		}
		if time.Now().After(end) {
			t.Fatalf("%s stored %d messages, not %d\n%s", m.Name, len(m.Stored(t)), n, tail(m.Log()))
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// Settle waits until the server has nothing left to do: each message was delivered or given back. What was put off
// is tried again meanwhile, without the pauses that it would make.
func (m *MTA) Settle(t testing.TB, limit time.Duration) {
	t.Helper()
	empty := 0 // how often in a row: between a message and what tells its sender of it, there may be neither for a moment
	for end := time.Now().Add(limit); ; time.Sleep(200 * time.Millisecond) {
		left := m.queued()
		if len(left) == 0 {
			if empty++; empty == 4 {
				return
			}
			continue
		}
		empty = 0
		if time.Now().After(end) {
			t.Fatalf("%s is not done with %s\n%s", m.Name, strings.Join(left, " "), tail(m.Log()))
		}
		if m.retry != nil {
			m.retry()
		}
	}
}

func (m *MTA) queued() (all []string) {
	for _, pattern := range m.queue {
		files, _ := filepath.Glob(pattern)
		all = append(all, files...)
	}
	return all
}

// tail gives the end of a log that may be long.
func tail(s string) string {
	const most = 8 << 10
	if len(s) > most {
		s = "…" + s[len(s)-most:]
	}
	return s
}

// must ends the test at the first error.
func must(t testing.TB, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// fill puts words into a text in which {name} stands for them.
func fill(text string, words ...string) string {
	for i := 0; i < len(words); i += 2 {
		words[i] = "{" + words[i] + "}"
	}
	return strings.NewReplacer(words...).Replace(text)
}

func modeError(p Path) string { return fmt.Sprintf("peertest: no such TLS mode: %q", p.TLS) }
