package external

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"io"
	"mime"
	"os"
	"strconv"
	"strings"
	"text/template"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/scanner"
	"github.com/postern-mail/postern/mail"
)

const (
	bannerLimit = 16 << 10 // octets of a banner, and of the template of one
	wordLimit   = 100      // octets of what the sender has a say in
)

//go:embed banner.txt
var builtinText string

//go:embed banner.html
var builtinHTML string

// words are what a template is given.
type words struct {
	From       string // the author's address; may be empty
	Gateway    string // the gateway's name
	Postmaster string // whom to ask; may be empty
}

type banner struct {
	text *template.Template
	html *htmltemplate.Template
}

// loadBanner reads the templates, the built-in one for "", and tries them on all that they may be given, so that a mistake in
// one shows at start and not in a message.
func loadBanner(textFile, htmlFile string, base words) (*banner, error) {
	var b banner
	text, err := source(textFile, builtinText)
	if err == nil {
		b.text, err = template.New("text").Option("missingkey=error").Parse(text)
	}
	if err == nil {
		err = try(b.plain, base)
	}
	if err != nil {
		return nil, filter.At(fmt.Errorf("external: text: %w", err), "text")
	}
	html, err := source(htmlFile, builtinHTML)
	if err == nil {
		b.html, err = htmltemplate.New("html").Option("missingkey=error").Parse(html)
	}
	if err == nil {
		err = try(b.marked, base)
	}
	if err != nil {
		return nil, filter.At(fmt.Errorf("external: html: %w", err), "html")
	}
	return &b, nil
}

// try makes a banner for an author, for one whose address takes as much room as any does, and for none.
func try(made func(words) (string, error), w words) error {
	longest := scanner.Clipped(strings.Repeat("'", wordLimit)+"@", wordLimit)
	for _, from := range []string{"a@example.com", longest, ""} {
		w.From = from
		if _, err := made(w); err != nil {
			return err
		}
	}
	return nil
}

func source(file, builtin string) (string, error) {
	if file == "" {
		return builtin, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, bannerLimit+1))
	switch {
	case err != nil:
		return "", err
	case len(b) > bannerLimit:
		return "", fmt.Errorf("%s has more than %d octets", file, bannerLimit)
	case !utf8.Valid(b):
		return "", fmt.Errorf("%s is not UTF-8", file)
	}
	return string(b), nil
}

var errTooBig = errors.New("a banner has more than 16 KiB, or no text")

// limited takes what a template writes: a loop in one is not to fill the memory.
type limited struct{ bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	if l.Len()+len(p) > bannerLimit {
		return 0, errTooBig
	}
	return l.Buffer.Write(p)
}

// plain gives the banner for plain text: lines that end in CRLF, with an empty one behind them.
func (b *banner) plain(w words) (string, error) {
	var out limited
	if err := b.text.Execute(&out, w); err != nil {
		return "", err
	}
	text := strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r == 0x7f {
			return -1
		}
		return r
	}, out.String())
	text = strings.Trim(text, "\n ")
	if text == "" {
		return "", errTooBig
	}
	return strings.ReplaceAll(text, "\n", "\r\n") + "\r\n\r\n", nil
}

// marked gives the banner for HTML, in ASCII, which stands for itself in each of the charsets that it is put in.
func (b *banner) marked(w words) (string, error) {
	var out limited
	if err := b.html.Execute(&out, w); err != nil {
		return "", err
	}
	var s strings.Builder
	for _, r := range strings.Trim(out.String(), "\n ") {
		switch {
		case r >= 0x7f:
			s.WriteString("&#" + strconv.Itoa(int(r)) + ";")
		case r >= ' ' || r == '\t':
			s.WriteRune(r)
		case r == '\n':
			s.WriteString("\r\n")
		}
	}
	if s.Len() == 0 {
		return "", errTooBig
	}
	return s.String() + "\r\n", nil
}

// author gives an address as it may stand in a banner: what the sender has a say in is not to speak to its readers. Of a
// local part that has room for a sentence only the domain is shown, and nothing of what is no domain.
func author(address string) string {
	local, domain, ok := cutLast(address, "@")
	if _, err := mail.Domain(domain); !ok || err != nil || strings.ContainsFunc(domain, func(r rune) bool { return !inWord(r) }) {
		return ""
	}
	if local == "" || strings.ContainsFunc(local, func(r rune) bool { return !inWord(r) && !strings.ContainsRune("!#$%&'*+/=?^`{|}~", r) }) {
		return scanner.Clipped("…@"+domain, wordLimit)
	}
	return scanner.Clipped(local+"@"+domain, wordLimit)
}

// inWord reports whether a character stands in the names of people and hosts.
func inWord(r rune) bool {
	return r == '.' || r == '-' || r == '_' || unicode.In(r, unicode.L, unicode.Mn, unicode.Mc, unicode.Nd)
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

var utf8Mark = []byte("\xef\xbb\xbf")

// inCharset gives words in the charset of a text, and the charset that the text is in with them: where it was ASCII and
// they are not, UTF-8. What a charset has no code for becomes a question mark.
func inCharset(words, name string, text []byte) (octets, charset string) {
	high := func(r rune) bool { return r >= 0x80 }
	switch lower := strings.ToLower(name); {
	case !strings.ContainsFunc(words, high), lower == "utf-8", lower == "utf8":
		return words, name
	case (lower == "" || lower == "us-ascii") && !bytes.ContainsFunc(text, high):
		return words, "utf-8"
	}
	if e, err := htmlindex.Get(name); err == nil {
		if out, err := encoding.ReplaceUnsupported(e.NewEncoder()).String(words); err == nil {
			return strings.ReplaceAll(out, "\x1a", "?"), name
		}
	}
	return strings.Map(func(r rune) rune {
		if r >= 0x80 {
			return '?'
		}
		return r
	}, words), name
}

// header gives the fields of the part that takes the place of p: its type with the parameters of a text, the new
// encoding, and what else there is about the content but for digests of it.
func header(p *mail.Part, name, transfer string) []mail.AddField {
	value := p.Type
	if name != "" {
		value += "; charset=" + quoted(name)
	}
	for _, param := range []string{"format", "delsp"} { // RFC 3676
		if v := p.Params[param]; v != "" && p.Type == "text/plain" {
			value += "; " + param + "=" + quoted(v)
		}
	}
	fields := []mail.AddField{{Name: "Content-Type", Body: value}, {Name: "Content-Transfer-Encoding", Body: transfer}}
	for _, kept := range []string{"Content-ID", "Content-Language", "Content-Location", "Content-Base", "Content-Description"} {
		if v := p.Header.Get(kept); v != "" && len(v) < 900 {
			fields = append(fields, mail.AddField{Name: kept, Body: v})
		}
	}
	if p.Disposition == "inline" || p.Disposition == "attachment" {
		params := map[string]string{}
		if len(p.Names) > 0 && len(p.Names[0]) < 200 {
			params["filename"] = p.Names[0]
		}
		if body := mime.FormatMediaType(p.Disposition, params); body != "" {
			fields = append(fields, mail.AddField{Name: "Content-Disposition", Body: body})
		}
	}
	return fields
}

// quoted writes the value of a parameter (RFC 2045 5.1): what is no octet of a token is left out, since no charset or
// format has any.
func quoted(v string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.:+", r) {
			return r
		}
		return -1
	}, v)
}
