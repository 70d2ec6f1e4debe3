package attachments

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/template"
	"unicode/utf8"
)

// noticeLimit is how many octets a notice, and the template of one, may have. What a notice is given is bounded so
// that the built-in one always has room: the sender chooses how many files there are, and what they are called.
const (
	noticeLimit = 64 << 10
	noticeFiles = 50  // files that a notice lists
	noticeField = 255 // octets of any other field of it
)

//go:embed notice.txt
var noticeText string

// builtinNotice is the notice that is used where none is configured, or the configured one fails.
var builtinNotice = template.Must(parseNotice(noticeText))

// notice is what a template is given: what was removed, and whom to ask.
type notice struct {
	Files      []removed // at most noticeFiles
	More       int       // how many were removed beside them
	Signed     bool      // a signature covers what was removed, and so is broken
	Kept       bool      // the gateway has kept the original
	Gateway    string    // the gateway's name
	Postmaster string    // whom to ask; may be empty
	ID         string    // id of the transaction; may be empty
}

// removed is one file that was removed.
type removed struct {
	Name   string // fit for one line; may be empty
	Type   string // declared media type
	Size   string // "12.3 KB (12345 octets)"
	SHA256 string // of the decoded octets, hex
	Class  string // executable, script, shortcut; "" when a rule for names or types decided
	Reason string // "a Windows program"
}

// loadNotice reads the template file, or takes the built-in template where file is "", and tries it once,
// so that a mistake in it shows at start and not in a message.
func loadNotice(file string) (*template.Template, error) {
	if file == "" {
		return builtinNotice, nil
	}
	b, err := readLimited(file)
	if err != nil {
		return nil, fmt.Errorf("attachments: notice: %w", err)
	}
	if !utf8.Valid(b) {
		return nil, fmt.Errorf("attachments: notice: %s is not UTF-8", file)
	}
	t, err := parseNotice(string(b))
	if err != nil {
		return nil, fmt.Errorf("attachments: notice: %w", err)
	}
	sample := notice{Files: []removed{{
		Name: "a.exe", Type: "application/octet-stream", Size: sizeText(1), Class: "executable",
		SHA256: strings.Repeat("0", 64), Reason: "a sample",
	}}, Gateway: "mx.example", Postmaster: "p@example", ID: "id"}
	out, err := render(t, sample)
	if err != nil {
		return nil, fmt.Errorf("attachments: notice: %w", err)
	}
	if len(bytes.TrimSpace(out)) == 0 {
		return nil, fmt.Errorf("attachments: notice: %s gives an empty text", file)
	}
	return t, nil
}

func parseNotice(text string) (*template.Template, error) {
	return template.New("notice").Option("missingkey=error").Parse(text)
}

func readLimited(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, noticeLimit+1))
	if err != nil {
		return nil, err
	}
	if len(b) > noticeLimit {
		return nil, fmt.Errorf("%s has more than %d octets", file, noticeLimit)
	}
	return b, nil
}

var errNoticeTooBig = errors.New("the text has more than 64 KiB")

// limited takes what a template writes, up to noticeLimit: a loop in a template is not to fill the memory.
type limited struct{ bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	if l.Len()+len(p) > noticeLimit {
		return 0, errNoticeTooBig
	}
	return l.Buffer.Write(p)
}

// render gives the text of a notice: canonical CRLF line ends, no control characters, valid UTF-8.
func render(t *template.Template, n notice) ([]byte, error) {
	var out limited
	if err := t.Execute(&out, n); err != nil {
		return nil, err
	}
	text := strings.ToValidUTF8(out.String(), "\uFFFD")
	text = strings.ReplaceAll(text, "\r\n", "\n")
	text = strings.Map(func(r rune) rune {
		if (r < 0x20 && r != '\n' && r != '\t') || r == 0x7f {
			return -1
		}
		return r
	}, text)
	text = strings.TrimRight(text, "\n") + "\n"
	return []byte(strings.ReplaceAll(text, "\n", "\r\n")), nil
}

// write gives the text of a notice by the template t, or by the built-in one where t fails with what was removed
// from this message, for a message is not to choose whether the filter works.
func write(t *template.Template, n notice) ([]byte, error) {
	text, err := render(t, n)
	if err != nil && t != builtinNotice {
		text, err = render(builtinNotice, n)
	}
	return text, err
}

// sizeText gives a size for people, with the exact number.
func sizeText(n int64) string {
	unit := "octets"
	if n == 1 {
		unit = "octet"
	}
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB (%d octets)", float64(n)/(1<<20), n)
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB (%d octets)", float64(n)/(1<<10), n)
	}
	return fmt.Sprintf("%d %s", n, unit)
}

// noticeName is the file name of the notice that stands for a part of that name: plain letters only,
// so that it can't do what the name that it is made of did.
func noticeName(name string) string {
	const limit = 60
	safe := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '-', r == '_':
			return r
		}
		return '_'
	}, name)
	if len(safe) > limit {
		safe = safe[:limit/2] + "_" + safe[len(safe)-limit/2:]
	}
	if safe = strings.Trim(safe, "._-"); safe == "" {
		safe = "attachment"
	}
	return "removed-" + safe + ".txt"
}
