package external

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/mail"
)

func build(t testing.TB, options string) (filter.Filter, error) {
	t.Helper()
	env := filter.Env{
		Name: "external", Hostname: "mx.example.org", Postmaster: "p@example.org", Log: slog.New(slog.DiscardHandler),
		Ours: func(d string) bool { return d == "example.org" },
	}
	_, f, err := Factory.New(env, func(v any) error {
		if options == "" {
			return nil
		}
		return yaml.UnmarshalWithOptions([]byte(options), v, yaml.Strict())
	})
	return f, err
}

func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

// marked gives the message with the marks, and the detail of the finding.
func marked(t testing.TB, f filter.Filter, text string, session *filter.Session, facts ...filter.Fact) (out, detail string) {
	t.Helper()
	c := mail.NewContent(mail.NewBlob([]byte(crlf(text))), mail.LineFaults{}, mail.Limits{})
	defer c.Release()
	in := &filter.Input{Session: session, Transaction: &filter.Transaction{}, Content: c}
	in.Transaction.Record(facts...)
	res, err := f.Check(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	m, err := mail.Rewrite(c, res.Edits, false)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Release()
	b, err := io.ReadAll(m.Open())
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Findings) > 0 {
		detail = res.Findings[0].Symbol + ": " + res.Findings[0].Detail
	}
	return strings.ReplaceAll(string(b), "\r\n", "\n"), detail
}

// templates writes banners that are short enough for tables.
func templates(t testing.TB, text, html string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{"b.txt": text, "b.html": html} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return "text: " + filepath.Join(dir, "b.txt") + "\nhtml: " + filepath.Join(dir, "b.html") + "\n"
}

func TestMarks(t *testing.T) {
	const head = "From: A <a@b.example>\nSubject: x\nMIME-Version: 1.0\n"
	const tagged = "From: A <a@b.example>\nSubject: [EXT] x\nMIME-Version: 1.0\n"
	const calendar = "Content-Type: text/calendar; method=REQUEST\n\nBEGIN:VCALENDAR\nMETHOD:REQUEST\nEND:VCALENDAR\n"
	const report = head + "Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\n\nbounced\n--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; b.example\n--b--\n"
	const signed = "Content-Type: multipart/signed; protocol=\"application/pkcs7-signature\"; boundary=b\n\n--b\n\nhello\n--b\nContent-Type: application/pkcs7-signature\nContent-Transfer-Encoding: base64\n\nMIIBSgYJKoZIhvcNAQcCoA==\n--b--\n"
	const encrypted = "Content-Type: application/pkcs7-mime; smime-type=enveloped-data\nContent-Transfer-Encoding: base64\n\nAAAA\n"
	const pgp = "\n-----BEGIN PGP SIGNED MESSAGE-----\n\nhello\n-----BEGIN PGP SIGNATURE-----\n\nAAAA\n-----END PGP SIGNATURE-----\n"
	const plain = "Content-Type: text/plain\nContent-Transfer-Encoding: 7bit\n\n[OUT a@b.example]\n\n"
	tests := []struct{ name, text, want, detail string }{
		{"a bare text", "From: A <a@b.example>\nSubject: x\n\nhello\n", tagged[:strings.Index(tagged, "MIME")] + plain[:strings.Index(plain, "\n\n")+1] + "MIME-Version: 1.0\n\n[OUT a@b.example]\n\nhello\n", "banner in part 0"},
		{
			"alternatives", head + "Content-Type: multipart/alternative; boundary=b\n\n--b\n\nhello\n--b\nContent-Type: text/html\n\n<p>hello</p>\n--b--\n",
			tagged + "Content-Type: multipart/alternative; boundary=b\n\n--b\n" + plain + "hello\n--b\nContent-Type: text/html\nContent-Transfer-Encoding: 7bit\n\n<i>a@b.example</i>\n<p>hello</p>\n--b--\n", "banner in part 1, 2",
		},
		{
			"a file beside the text", head + "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nhello\n--b\nContent-Type: text/html; name=a.html\n\n<p>file\n--b\n\nmore\n--b--\n",
			tagged + "Content-Type: multipart/mixed; boundary=b\n\n--b\n" + plain + "hello\n--b\nContent-Type: text/html; name=a.html\n\n<p>file\n--b\n\nmore\n--b--\n", "banner in part 1",
		},
		{
			"a text behind a file", head + "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\nContent-Disposition: attachment\n\nfile\n--b\n\nhello\n--b--\n",
			tagged + "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\nContent-Disposition: attachment\n\nfile\n--b\n" + plain + "hello\n--b--\n", "banner in part 2",
		},
		{
			"what is said of the text stays", head + "Content-Type: text/plain; format=flowed; charset=\"iso-8859-1\"; x=y\nContent-Language: de\nContent-MD5: AAAA\nContent-Transfer-Encoding: quoted-printable\n\n=E4\n",
			tagged + "Content-Type: text/plain; charset=iso-8859-1; format=flowed\nContent-Transfer-Encoding: quoted-printable\nContent-Language: de\n\n[OUT a@b.example]\n\n=E4\n", "banner in part 0",
		},
		{
			"base64 with bare LF", head + "Content-Transfer-Encoding: base64\n\naGVsbG8K\n",
			tagged + "Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\nW09VVCBhQGIuZXhhbXBsZV0NCg0KaGVsbG8K\n", "banner in part 0",
		},
		{"no text", head + "Content-Type: application/pdf\n\n%PDF\n", tagged + "Content-Type: application/pdf\n\n%PDF\n", "no banner: there is no text to put it in"},
		{"a charset that is not ASCII's", head + "Content-Type: text/plain; charset=utf-16\n\nx\n", tagged + "Content-Type: text/plain; charset=utf-16\n\nx\n", "no banner in part 0 (its charset)"},
		{"an invitation", head + calendar, head + calendar, "not marked: it is an invitation"},
		{"a report", report, report, "not marked: it is a report"},
		{"signed", head + signed, tagged + signed, "no banner in part 0 (it is signed)"},
		{"encrypted", head + encrypted, tagged + encrypted, "no banner: there is no text to put it in"},
		{"signed within the text", head + pgp, tagged + pgp, "no banner in part 0 (it is signed or encrypted)"},
		{"two subjects", "From: a@b.example\nSubject: x\nSubject: y\nContent-Type: image/png\n\nx", "From: a@b.example\nSubject: [EXT] x\nSubject: [EXT] y\nContent-Type: image/png\n\nx", "no banner: there is no text to put it in"},
		{"no subject", "From: a@b.example\nContent-Type: image/png\n\nx", "From: a@b.example\nContent-Type: image/png\n\nx", "no banner: there is no text to put it in"},
	}
	f, err := build(t, "subject: '[EXT]'\n"+templates(t, "[OUT {{.From}}]", "<i>{{.From}}</i>"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, detail := marked(t, f, tt.text, nil)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			if want := symbolExternal + ": " + tt.detail; detail != want {
				t.Errorf("detail is %q, want %q", detail, want)
			}
		})
	}
}

// TestSwitches: what only calls itself signed, a report, an invitation or a file is marked all the same, and so is what stands
// beside something that is.
func TestSwitches(t *testing.T) {
	const head = "From: A <a@b.example>\nSubject: x\n"
	mixed := func(kind string, parts ...string) string {
		return "Content-Type: multipart/" + kind + "; boundary=b\n\n--b\n" + strings.Join(parts, "\n--b\n") + "\n--b--\n"
	}
	const (
		text, html = "\nhello", "Content-Type: text/html\n\n<p>hello"
		calendar   = "Content-Type: text/calendar; method=REQUEST\n\nBEGIN:VCALENDAR\nMETHOD:REQUEST\nEND:VCALENDAR"
		pgp        = "Content-Type: application/pgp-signature\n\n-----BEGIN PGP SIGNATURE-----\n"
		smime      = "Content-Type: application/x-pkcs7-signature\nContent-Transfer-Encoding: base64\n\nMIIBSgYJKoZIhvcNAQcCoA=="
		status     = "Content-Type: message/delivery-status\n\nReporting-MTA: dns; b.example"
		rfc822     = "Content-Type: message/rfc822\n\nSubject: y\n\nz"
		utf16      = "Content-Type: text/plain; charset=utf-16\n\nx"
		armor      = "-----BEGIN PGP MESSAGE-----\n\nAAAA\n-----END PGP MESSAGE-----\n"
	)
	inner := func(s string) string {
		return strings.ReplaceAll(strings.ReplaceAll(s, "--b", "--c"), "boundary=b", "boundary=c")
	}
	for _, tt := range []struct{ name, text, detail string }{
		{"an invitation beside the text", mixed("alternative", text, html, calendar), "banner in part 1, 2"},
		{"a calendar without a method", "Content-Type: text/calendar\n\nBEGIN:VCALENDAR\n", "no banner: there is no text to put it in"},
		{"a calendar of another method", strings.Replace(calendar, "=REQUEST", "=REPLY", 1), "no banner: there is no text to put it in"},
		{"no calendar", "Content-Type: text/calendar; method=REQUEST\n\nhello", "no banner: there is no text to put it in"},
		{"a report that tells nothing", mixed("report", text, "Content-Type: message/delivery-status\n\n"), "banner in part 1"},
		{"a report without its part", mixed("report", text, html), "banner in part 1"},
		{"a report beside the text", mixed("mixed", inner(mixed("report", text, status)), html), "banner in part 2; no banner in part 1 (it is a report)"},
		{"signed by PGP", mixed("signed", text, pgp), "no banner in part 0 (it is signed)"},
		{"signed, and a text behind it", mixed("mixed", inner(mixed("signed", text, smime)), html), "banner in part 2; no banner in part 1 (it is signed)"},
		{"without a signature", mixed("signed", text), "banner in part 1"},
		{"with a signature that is none", mixed("signed", text, strings.Replace(smime, "MIIB", "AAAA", 1)), "banner in part 1"},
		{"with a signature of no length", mixed("signed", text, "Content-Type: application/pgp-signature\n\n"), "banner in part 1"},
		{"with three parts", mixed("signed", text, html, smime), "banner in part 1"},
		{"encrypted in name", mixed("encrypted", text, html), "banner in part 1"},
		{"armored", "\n" + armor, "no banner in part 0 (it is signed or encrypted)"},
		{"something armored", "\nhello\n" + armor, "banner in part 0"},
		{"something behind the armor", "\n" + armor + "hello\n" + armor, "banner in part 0"},
		{"a beginning of an armor", "\n-----BEGIN PGP SIGNED MESSAGE-----\nhello", "banner in part 0"},
		{"a journal", "X-MS-Journal-Report:\n" + mixed("mixed", "\nSender: a@b.example\nMessage-ID: <x>\n", rfc822), "no banner in part 0 (it is a journal's)"},
		{"a journal with a text", "X-MS-Journal-Report:\n" + mixed("mixed", "\nSender: a@b.example\nClick here\n", rfc822), "banner in part 1"},
		{"a journal without a message", "X-MS-Journal-Report:\n" + mixed("mixed", "\nSender: a@b.example\n", html), "banner in part 1"},
		{"a message with a name", "Content-Type: text/html; name=a.html\nContent-Disposition: inline; filename=a.html\n\n<p>hello", "banner in part 0"},
		{"a message that is a file", "Content-Type: text/html\nContent-Disposition: attachment; filename=a.html\n\n<p>hello", "banner in part 0"},
		{"a multipart that is a file", "Content-Disposition: attachment\n" + mixed("mixed", text), "banner in part 1"},
		{"alternatives with names", mixed("alternative", "Content-Type: text/plain; name=a\n\nx", "Content-Type: text/html; name=b\n\nx"), "banner in part 1, 2"},
		{"a text with a name, and no other", mixed("mixed", "Content-Type: text/html; name=b\n\nx"), "banner in part 1"},
		{"a file, and no text", mixed("mixed", "Content-Type: text/html\nContent-Disposition: attachment\n\nx"), "no banner: there is no text to put it in"},
		{"a charset first", mixed("mixed", utf16, html), "banner in part 2; no banner in part 1 (its charset)"},
		{"a page that begins elsewhere", strings.Replace(mixed("related", text, "Content-ID: <x>\n"+html), "related;", "related; start=\"<x>\";", 1), "banner in part 1, 2"},
		{"pages that begin elsewhere, one within the other", related(40), "no banner: there is no text to put it in"},
		{"many alternatives", mixed("alternative", slices.Repeat([]string{text}, 10)...), "banner in part 3, 4, 5, 6, 7, 8, 9, 10; no banner in part 2 (there are too many), 1 (there are too many)"},
		{"alternatives that are large together", mixed("alternative", slices.Repeat([]string{"\n" + strings.Repeat("hello\n", 250000)}, 3)...), "banner in part 2, 3; no banner in part 1 (it is too large)"},
		{"many that are left alone", mixed("mixed", slices.Repeat([]string{utf16}, 12)...), "no banner in part " + nots(10, "its charset") + ", and 2 more"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := build(t, "subject: '[EXT]'")
			if err != nil {
				t.Fatal(err)
			}
			got, detail := marked(t, f, head+tt.text, nil)
			if want := symbolExternal + ": " + tt.detail; detail != want {
				t.Errorf("detail is %q, want %q", detail, want)
			}
			if !strings.Contains(got, "Subject: [EXT] x\n") {
				t.Error("the subject has no word")
			}
			if n, want := strings.Count(got, "This message came from outside"), strings.Count(strings.Split(strings.TrimPrefix(tt.detail, "banner in part "), ";")[0], ",")+1; strings.HasPrefix(tt.detail, "banner") && n != want {
				t.Errorf("%d banners, and %d are told of", n, want)
			}
		})
	}
}

// related gives pages within one another, each of which begins in the one within it. To ask each twice would take for ever.
func related(depth int) string {
	if depth == 0 {
		return "Content-ID: <x>\nContent-Type: image/png\n\nx\n"
	}
	b := fmt.Sprintf("b%dx", depth)
	return fmt.Sprintf("Content-ID: <x>\nContent-Type: multipart/related; start=\"<x>\"; boundary=%s\n\n--%s\nContent-Type: image/png\n\nx\n--%s\n%s--%s--\n", b, b, b, related(depth-1), b)
}

func nots(n int, why string) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("%d (%s)", i+1, why))
	}
	return strings.Join(all, ", ")
}

func TestWhoIsOutside(t *testing.T) {
	const text = "From: a@%\nSubject: x\n\nhello\n"
	dkim := func(result auth.Result, domain string) filter.Fact {
		return auth.DKIM.Of([]auth.DKIMResult{{Result: result, Domain: domain}})
	}
	dmarc := func(result auth.Result, domain string) filter.Fact {
		return auth.DMARC.Of(auth.DMARCResult{Result: result, From: domain})
	}
	tests := []struct {
		name, domain string
		session      *filter.Session
		facts        []filter.Fact
		outside      bool
	}{
		{"a stranger", "b.example", &filter.Session{}, nil, true},
		{"a stranger, proved", "b.example", &filter.Session{}, []filter.Fact{dkim(auth.Pass, "b.example"), dmarc(auth.Pass, "b.example")}, true},
		{"who may relay", "b.example", &filter.Session{Relay: true}, nil, false},
		{"our domain, unproved", "example.org", &filter.Session{}, []filter.Fact{dmarc(auth.Fail, "example.org")}, true},
		{"our domain, signed", "example.org", &filter.Session{}, []filter.Fact{dkim(auth.Pass, "example.org")}, false},
		{"our domain, signed by another", "example.org", &filter.Session{}, []filter.Fact{dkim(auth.Pass, "b.example")}, true},
		{"our domain, badly signed", "example.org", &filter.Session{}, []filter.Fact{dkim(auth.Fail, "example.org")}, true},
		{"our domain by DMARC", "example.org", &filter.Session{}, []filter.Fact{dmarc(auth.Pass, "example.org")}, false},
		{"a partner by DMARC", "partner.example", &filter.Session{}, []filter.Fact{dmarc(auth.Pass, "partner.example")}, false},
		{"a partner, unproved", "partner.example", &filter.Session{}, nil, true},
		{"below a partner", "x.partner.example", &filter.Session{}, []filter.Fact{dmarc(auth.Pass, "x.partner.example")}, true},
		{"below another", "x.group.example", &filter.Session{}, []filter.Fact{dmarc(auth.Pass, "x.group.example")}, false},
		{"that itself", "group.example", &filter.Session{}, []filter.Fact{dmarc(auth.Pass, "group.example")}, true},
	}
	f, err := build(t, "subject: '[EXT]'\nexempt: [partner.example, '*.group.example']")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.ReplaceAll(text, "%", tt.domain)
			got, detail := marked(t, f, text, tt.session, tt.facts...)
			if outside := got != text; outside != tt.outside || outside != (detail != "") {
				t.Errorf("marked: %v, %q", outside, detail)
			}
		})
	}
}

func TestOptions(t *testing.T) {
	for options, want := range map[string]string{
		"subject: \"a\\nb\"":                                "external: subject: must be a word",
		"exempt: ['a b']":                                   "external: exempt: \"a b\" is no domain",
		"banner: false\nhtml: x":                            "external: text and html are of a banner",
		"text: /nowhere":                                    "external: text: open /nowhere",
		templates(t, "", "x"):                               "external: text: a banner has",
		templates(t, "x", "{{.Gone}}"):                      "external: html: template",
		templates(t, "x", "{{"):                             "external: html: template",
		templates(t, "{{range 100000}}xxxxxxx{{end}}", "x"): "external: text: a banner has",
		templates(t, "{{slice .From 0 1}}x", "x"):           "external: text: template",
		templates(t, "x", "{{range 200}}{{$.From}}{{end}}"): "external: html: a banner has",
		templates(t, "\xff", "x"):                           "external: text: ",
		templates(t, strings.Repeat("x", 20<<10), "x"):      "external: text: ",
	} {
		if _, err := build(t, options); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %s", options, err, want)
		}
	}
}

// TestBannerSaysNothingElse: what the sender has a say in stays text.
func TestBannerSaysNothingElse(t *testing.T) {
	f, err := build(t, "")
	if err != nil {
		t.Fatal(err)
	}
	for from, want := range map[string]string{
		"a&b'\u00e4@b.example":                        ", from a&amp;b&#39;&#228;@b.example. Be",
		"\"x\" <\"<b>\u202e\u00e4'\"@b.example>":      ", from &#8230;@b.example. Be",
		"\"It is safe, and checked by IT\"@b.example": ", from &#8230;@b.example. Be",
		"\"safe\u2028@b.example\"@c.example":          ", from &#8230;@c.example. Be",
		"a@[It is safe]":                              "outside</b>. Be careful",
		"a@it is safe":                                ", from a@it. Be",
		"a":                                           "outside</b>. Be careful",
		"":                                            "outside</b>. Be careful",
		"b\u00fccher@b\u00fccher.example":             ", from b&#252;cher@b&#252;cher.example. Be",
	} {
		got, _ := marked(t, f, "From: "+from+"\nContent-Type: text/html\n\nhello\n", nil)
		if _, got, _ = strings.Cut(got, "came from "); !strings.Contains(got, want) {
			t.Errorf("%s: %s", from, got)
		}
	}
	long := "From: " + strings.Repeat("x", 300) + "@b.example\n"
	if got, _ := marked(t, f, long+"\nhello\n", nil); strings.Contains(strings.TrimPrefix(got, long), strings.Repeat("x", wordLimit+1)) {
		t.Error(got)
	}
}

func TestCharsets(t *testing.T) {
	f, err := build(t, templates(t, "\u00e4 \u05d3", "\u00e4"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, head, body, kind, want string }{
		{"none, ASCII", "", "x", "text/plain; charset=utf-8", "\u00e4 \u05d3\r\n\r\nx"},
		{"none, octets", "", "\xff", "text/plain", "? ?\r\n\r\n\xff"},
		{"us-ascii", "Content-Type: text/plain; charset=us-ascii\n", "x", "text/plain; charset=utf-8", "\u00e4 \u05d3\r\n\r\nx"},
		{"utf-8", "Content-Type: text/plain; charset=UTF-8\n", "\u00f6", "text/plain; charset=utf-8", "\u00e4 \u05d3\r\n\r\n\u00f6"},
		{"latin", "Content-Type: text/plain; charset=iso-8859-1\n", "\xf6", "text/plain; charset=iso-8859-1", "\xe4 ?\r\n\r\n\xf6"},
		{"unknown", "Content-Type: text/plain; charset=x-none\n", "\xf6", "text/plain; charset=x-none", "? ?\r\n\r\n\xf6"},
		{"HTML", "Content-Type: text/html; charset=gb2312\n", "<body>\xb0\xa1", "text/html; charset=gb2312", "<body>&#228;\r\n\xb0\xa1"},
		{"HTML with a mark", "Content-Type: text/html; charset=utf-8\n", "\xef\xbb\xbf<p>", "text/html; charset=utf-8", "\xef\xbb\xbf&#228;\r\n<p>"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, detail := marked(t, f, "From: a@b.example\n"+tt.head+"\n"+tt.body+"\n", nil)
			c := mail.NewContent(mail.NewBlob([]byte(crlf(got))), mail.LineFaults{}, mail.Limits{})
			defer c.Release()
			text, err := io.ReadAll(c.Root().Open())
			if kind := c.Header().Get("Content-Type"); err != nil || string(text) != tt.want+"\r\n" || kind != tt.kind {
				t.Errorf("%s: %q, %v; %s", kind, text, err, detail)
			}
		})
	}
}

func TestBodyStart(t *testing.T) {
	for _, tt := range []struct{ name, doc string }{
		{"a body", "<!DOCTYPE html><html><head><title>x</title></head><body class='>'>|hello"},
		{"no body", "<html><head><style>p>b{}</style></head>|<p>hello"},
		{"no head", "<html>|<p>hello</p><body>"},
		{"nothing of a document", "|<p>hello <body>"},
		{"a text", "|hello"},
		{"empty", "|"},
		{"capitals", "<HTML><BODY>|hello"},
		{"a body in a comment", "<html><!-- <body> --><body>|hello"},
		{"a body in a title", "<html><head><title><body></title></head><body>|hello"},
		{"a body in a script", "<html><script>'<body>'</script><body>|hello"},
		{"a body in quotes", "<html lang=\"<body>\"><body>|hello"},
		{"a comment without an end", "<html>|<!-- <body>"},
		{"a style without an end", "<html>|<style> <body>"},
		{"a tag without an end", "<html><body "},
		{"Office", "<html xmlns:o='x'><head><xml><o:p></o:p></xml><meta a><link b></head><body>|hello"},
		{"a declaration", "<?xml version=\"1.0\"?><!DOCTYPE html><html>|<p>"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := strings.IndexByte(tt.doc, '|')
			doc := strings.Replace(tt.doc, "|", "", 1)
			if want < 0 {
				want = len(doc)
			}
			if got := bodyStart([]byte(doc)); got != want {
				t.Errorf("at %d (%q), want %d", got, doc[got:], want)
			}
		})
	}
}

// TestBodyStartIsLinear: neither comments nor elements without an end make it look at the same octets again and again.
func TestBodyStartIsLinear(t *testing.T) {
	for _, piece := range []string{"<!--", "<style>", "<html a=\"", "</", "<", "<html><title></x>", "<script></s"} {
		doc := []byte(strings.Repeat(piece, 4<<20/len(piece)))
		if at := bodyStart(doc); at > len(doc) {
			t.Errorf("%q: %d", piece, at)
		}
	}
}

func FuzzCheck(f *testing.F) {
	c, err := build(f, "subject: '[EXT]'")
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		"Subject: x\n\nhello", "Content-Type: text/html\n\n<body>x", "Content-Type: multipart/alternative; boundary=b\n\n--b\n\nx\n--b\nContent-Type: text/html; charset=x\n\n<p>\n--b--\n",
		"Subject: =?utf-8?Q?=41?=\n \n b\nContent-Transfer-Encoding: base64\n\naGVsbG8K\n", "Content-Type: text/plain; charset=utf-8\nContent-Type: text/html\n\n\xef\xbb\xbfx",
	} {
		f.Add(crlf(seed))
	}
	f.Fuzz(func(t *testing.T, text string) {
		g := mail.NewIngest(mail.IngestOptions{})
		_, _ = g.Write([]byte(text))
		blob, faults, err := g.Blob()
		if err != nil || faults.NUL > 0 {
			return
		}
		content := mail.NewContent(blob, faults, mail.Limits{})
		defer content.Release()
		res, err := c.Check(context.Background(), &filter.Input{Content: content, Transaction: &filter.Transaction{}})
		if err != nil {
			t.Fatal(err)
		}
		m, err := mail.Rewrite(content, res.Edits, false)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		m.Release()
	})
}
