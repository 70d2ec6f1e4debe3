package external

import (
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/mail"
)

// said gives what a message says: its subject and the octets of its parts.
func said(t testing.TB, c *mail.Content) (all []string) {
	t.Helper()
	all = append(all, mail.DecodeWords(c.Header().Get("Subject")))
	c.Root().Walk(func(p *mail.Part) bool {
		if p.IsLeaf() {
			b, err := io.ReadAll(p.Open())
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, p.Path+" "+p.Type+": "+string(b))
		}
		return true
	})
	return all
}

// TestMarksComeOff: what was marked says the same again without the marks, whatever it is.
func TestMarksComeOff(t *testing.T) {
	const head = "From: A <a@b.example>\nSubject: =?utf-8?q?=C3=A4?= x\n"
	alternatives := "Content-Type: multipart/alternative; boundary=b\n\n--b\n\nhello\n--b\nContent-Type: text/html\n\n<html><head><title>x</title></head><body bgcolor=white><p>hello</body></html>\n--b--\n"
	for name, text := range map[string]string{
		"a bare text":         head + "\nhello\n",
		"no subject":          "From: a@b.example\n\nhello\n",
		"an empty subject":    "From: a@b.example\nSubject:\n\nhello\n",
		"alternatives":        head + alternatives,
		"quoted-printable":    head + "Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\n=E4\n",
		"base64":              head + "Content-Transfer-Encoding: base64\n\naGVsbG8K\n",
		"octets in ASCII":     head + "Content-Type: text/plain; charset=us-ascii\nContent-Transfer-Encoding: 8bit\n\n\xe4\n",
		"a mark of UTF-8":     head + "Content-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n\xef\xbb\xbf<p>hello\n",
		"HTML that is cut":    head + "Content-Type: text/html\n\n<html><!-- hello\n",
		"a mark of its own":   head + "\n[OUT \u00e4 a@b.example]\n\nhello\n",
		"signed, and no mark": head + "Content-Type: multipart/signed; boundary=b\n\n--b\n\nhello\n--b\nContent-Type: application/pgp-signature\n\n-----BEGIN PGP SIGNATURE-----\n\n--b--\n",
		"a message in it":     head + "Content-Type: multipart/mixed; boundary=c\n\n--c\n\nhello\n--c\nContent-Type: message/rfc822\n\nSubject: [EXT] x\n\n[OUT \u00e4 a@b.example]\n\nhello\n--c--\n",
		"no text":             head + "Content-Type: image/png\n\nx\n",
	} {
		t.Run(name, func(t *testing.T) {
			f, err := build(t, "subject: '[EXT]'\n"+templates(t, "[OUT \u00e4 {{.From}}]", "<i>\u00e4 {{.From}}</i>"))
			if err != nil {
				t.Fatal(err)
			}
			parse := func(text string) *mail.Content {
				c := mail.NewContent(mail.NewBlob([]byte(crlf(text))), mail.LineFaults{}, mail.Limits{})
				t.Cleanup(c.Release)
				return c
			}
			out, detail := marked(t, f, text, nil)
			delivered := parse(out)
			edits, err := f.(filter.Unmarker).Unmark(delivered)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(detail, "banner in part") && !strings.Contains(detail, "no banner") && len(edits) == 0 {
				t.Errorf("nothing comes off: %s", detail)
			}
			m, err := mail.Rewrite(delivered, edits, false)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Release()
			bare, err := io.ReadAll(m.Open())
			if err != nil {
				t.Fatal(err)
			}
			want, got := parse(text), parse(strings.ReplaceAll(string(bare), "\r\n", "\n"))
			if diff := cmp.Diff(said(t, want), said(t, got)); diff != "" {
				t.Errorf("%s: -want +got\n%s", detail, diff)
			}
		})
	}
}

// TestMarksOfOthersStay: what stands where Check puts no mark is the sender's own.
func TestMarksOfOthersStay(t *testing.T) {
	const head = "From: A <a@b.example>\nSubject: x\n"
	const signature = "Content-Type: application/pgp-signature\n\n-----BEGIN PGP SIGNATURE-----\n"
	for name, c := range map[string]struct {
		text string
		want []string // parts that lose one
	}{
		"signed":            {head + "Content-Type: multipart/signed; boundary=b\n\n--b\n\n[OUT a@b.example]\n\nhello\n--b\n" + signature + "\n--b--\n", nil},
		"a second text":     {head + "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nhello\n--b\n\n[OUT a@b.example]\n\nhello\n--b--\n", nil},
		"both texts":        {head + "Content-Type: multipart/mixed; boundary=b\n\n--b\n\n[OUT a@b.example]\n\nx\n--b\n\n[OUT a@b.example]\n\nhello\n--b--\n", []string{"1"}},
		"a file":            {head + "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nhello\n--b\nContent-Disposition: attachment\n\n[OUT a@b.example]\n\nhello\n--b--\n", nil},
		"both alternatives": {head + "Content-Type: multipart/alternative; boundary=b\n\n--b\n\n[OUT a@b.example]\n\nx\n--b\n\n[OUT a@b.example]\n\nhello\n--b--\n", []string{"2", "1"}},
		"armored":           {head + "\n[OUT a@b.example]\n\n-----BEGIN PGP MESSAGE-----\n\nx\n-----END PGP MESSAGE-----\n", nil},
		"an invitation":     {head + "Subject: [EXT] x\nContent-Type: text/calendar; method=REQUEST\n\nBEGIN:VCALENDAR\nMETHOD:REQUEST\nEND:VCALENDAR\n", nil},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := build(t, "subject: '[EXT]'\n"+templates(t, "[OUT {{.From}}]", "<i>{{.From}}</i>"))
			if err != nil {
				t.Fatal(err)
			}
			content := mail.NewContent(mail.NewBlob([]byte(crlf(c.text))), mail.LineFaults{}, mail.Limits{})
			defer content.Release()
			edits, err := f.(filter.Unmarker).Unmark(content)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, e := range edits {
				if a, ok := e.(mail.AnnotatePart); ok {
					got = append(got, a.Path)
				} else {
					t.Errorf("%+v", e)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}
