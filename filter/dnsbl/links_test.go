package dnsbl

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/mail/mailtest"
)

const linkSettings = `
names: 6
skip: [good.example]
lists:
  links:
    zone: links.example
    of: links
    codes:
      127.0.0.&2: {symbol: URIBL_BLACK, weight: 4}
      127.0.0.&8: {symbol: URIBL_RED, weight: 1}
      127.0.0.&128: error
  both: {zone: both.example, of: [links, link_addresses, sender], weight: 2}
  numbers: {zone: numbers.example, of: link_addresses, weight: 3}
`

func (l *lab) content(t *testing.T, text string) string {
	t.Helper()
	c := mail.NewContent(mail.NewBlob([]byte(strings.ReplaceAll(text, "\n", "\r\n"))), mail.LineFaults{}, mail.Limits{})
	defer c.Release()
	r, err := l.f.Check(t.Context(), &filter.Input{Phase: filter.Data, Session: &filter.Session{}, Transaction: &filter.Transaction{}, Content: c})
	if err != nil {
		t.Fatal(err)
	}
	return shown(r)
}

func TestLinks(t *testing.T) {
	const html = "Subject: x\nContent-Type: text/html\n\n"
	for _, c := range []struct{ name, text, want string }{
		{"no links", "Subject: x\n\nhello\n", ""},
		{"not listed", "Subject: x\n\nsee http://www.fine.example.com/a\n", ""},
		{"one of its names below", "Subject: x\n\nsee http://www.bad.com/a\n", "DNSBL_BOTH*1 bad.com: both 127.0.0.2\nURIBL_BLACK*1 bad.com: links 127.0.0.2"},
		{"in HTML", html + "<a href='https://a.b.red.com/?x'>click</a>\n", "URIBL_RED*1 red.com: links 127.0.0.8"},
		{"an image", html + "<img src='https://red.com/x'>\n", "URIBL_RED*1 red.com: links 127.0.0.8"},
		{"a mail address", "Subject: x\n\nwrite to someone@red.com now\n", "URIBL_RED*1 red.com: links 127.0.0.8"},
		{"several bits", "Subject: x\n\nhttp://two.com/\n", "URIBL_BLACK*1 two.com: links 127.0.0.10\nURIBL_RED*1 two.com: links 127.0.0.10"},
		{"a bit that is not named", "Subject: x\n\nhttp://grey.com/\n", "*0 grey.com: links 127.0.0.4: no code that counts"},
		{"a bit that is an error", "Subject: x\n\nhttp://wrong.com/\n", "DNSBL_UNKNOWN?*1 links 127.0.0.130: it answers with an error"},
		{"a symbol counts once", "Subject: x\n\nhttp://red.com/ http://red2.com/ http://www.red.com/\n", "URIBL_RED*1 red.com: links 127.0.0.8; red2.com: links 127.0.0.8"},
		{"an address", "Subject: x\n\nhttp://198.51.100.7/\n", "URIBL_NUMBERS*1 198.51.100.7: numbers 127.0.0.2"},
		{"an address that is no one's", "Subject: x\n\nhttp://127.0.0.2/ http://10.0.0.1/\n", ""},
		{"ours, and what is skipped", "Subject: x\n\nhttp://example.org/ http://www.good.example/\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t, linkSettings, slices.Concat(honest("links.example"), honest("both.example"), honest("numbers.example"), []string{
				"bad.com.links.example=127.0.0.2", "bad.com.both.example=127.0.0.2", "red.com.links.example=127.0.0.8", "red2.com.links.example=127.0.0.8",
				"two.com.links.example=127.0.0.10", "grey.com.links.example=127.0.0.4", "wrong.com.links.example=127.0.0.130",
				"7.100.51.198.numbers.example=127.0.0.2", "2.0.0.127.both.example=127.0.0.2", "example.org.links.example=127.0.0.2",
				"good.example.links.example=127.0.0.2",
			})...)
			if got := l.content(t, c.text); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

// TestLinksInAHeap: of many names those are asked about that can be clicked on, and of these the first and the last.
func TestLinksInAHeap(t *testing.T) {
	l := newLab(t, linkSettings, slices.Concat(honest("links.example"), honest("both.example"), honest("numbers.example"))...)
	var b strings.Builder
	b.WriteString("Subject: x\nContent-Type: text/html\n\n")
	for i := range 300 {
		fmt.Fprintf(&b, "<img src='http://image%d.com/'><a href='http://link%d.com/'>x</a>\n", i, i)
	}
	l.content(t, b.String())
	var asked []string
	for _, q := range l.dns.questions() {
		if name, ok := strings.CutSuffix(q, ".links.example"); ok && strings.HasSuffix(name, ".com") {
			asked = append(asked, name)
		}
	}
	want := []string{"link0.com", "link1.com", "link2.com", "link297.com", "link298.com", "link299.com"}
	if !slices.Equal(asked, want) {
		t.Errorf("asked about %q, want %q", asked, want)
	}
}

// TestContentThatBreaksIsUnknown: what can't be read after the structure was is not found clean.
func TestContentThatBreaksIsUnknown(t *testing.T) {
	c := mailtest.BreakingContent(t, "Subject: x\r\nContent-Type: text/html\r\n\r\n<a href='http://a.com/'>x</a>\r\n")
	l := newLab(t, linkSettings)
	if r, err := l.f.Check(t.Context(), &filter.Input{Phase: filter.Data, Session: &filter.Session{}, Content: c}); err == nil {
		t.Errorf("found %v", r.Findings)
	}
}

// counted is a filter.Holder that counts what is held now, and at the most.
type counted struct{ now, peak int64 }

func (c *counted) Hold(_ context.Context, octets int64) error {
	c.now, c.peak = octets, max(c.peak, octets)
	return nil
}

func (c *counted) Aside(do func()) { do() }

// TestListsAreAwaitedWithoutMemory: what it took to find the names in a large text is given back before lists are asked.
func TestListsAreAwaitedWithoutMemory(t *testing.T) {
	l := newLab(t, linkSettings, slices.Concat(honest("links.example"), honest("both.example"), honest("numbers.example"), []string{
		"slow.com.links.example=SILENT",
	})...)
	text := "Subject: x\r\n\r\nhttp://slow.com/\r\n" + strings.Repeat("one line of many\r\n", 20_000)
	content := mail.NewContent(mail.NewBlob([]byte(text)), mail.LineFaults{}, mail.Limits{})
	defer content.Release()
	var h counted
	atEnd := int64(-1)
	ctx, cancel := context.WithCancel(filter.WithHolder(t.Context(), &h))
	defer cancel()
	l.dns.silent = func() { atEnd = h.now; cancel() }
	in := &filter.Input{Phase: filter.Data, Session: &filter.Session{}, Transaction: &filter.Transaction{}, Content: content}
	_, err := l.f.Check(ctx, in)
	if !errors.Is(err, context.Canceled) || h.peak < 1<<20 || atEnd != 0 {
		t.Errorf("%d octets at the most, %d while a list is waited for; %v", h.peak, atEnd, err)
	}
}
