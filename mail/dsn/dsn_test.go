package dsn

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/mail"
)

var update = flag.Bool("update", false, "write the golden files")

func address(t testing.TB, s string) mail.Address {
	t.Helper()
	a, err := mail.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func message(t testing.TB, s string) *mail.Message {
	t.Helper()
	b := mail.NewBlob([]byte(s))
	m := mail.NewMessage(b)
	b.Release()
	t.Cleanup(m.Release)
	return m
}

const honest = "From: Ann <ann@example.com>\r\nTo: bob@example.org\r\nSubject: =?utf-8?q?Sch=C3=B6ne?= things\r\n" +
	"Date: Thu, 26 Nov 2026 09:00:00 +0100\r\nMessage-ID: <1.2@example.com>\r\nMIME-Version: 1.0\r\n" +
	"Content-Type: text/plain\r\n\r\nHello Bob.\r\n"

// failure gives a report of one failure.
func failure(t testing.TB) Report {
	at := time.Date(2026, 11, 26, 9, 30, 0, 0, time.FixedZone("", 3600))
	return Report{
		ReportingMTA: "mx.example.org", From: address(t, "postmaster@example.org"), To: address(t, "ann@example.com"),
		ID: "mx-0000000000000000r1", Time: at, EnvelopeID: "a+2Bb+20c", QueueID: "mx-000000000000000001",
		Arrival: at.Add(-time.Hour), ReceivedFrom: "out.example.com", ReceivedAddr: netip.MustParseAddr("192.0.2.1"),
		Recipients: []Recipient{{
			Address: address(t, "bob@example.org"), Original: "rfc822;Bob+2BMail@example.org", Action: Failed,
			RemoteMTA:  "mail1.corp.example:25",
			Diagnostic: mail.NewReply(550, 5, 1, 1, "No such user here,\nplease ask our postmaster whom you are looking for if you need to"),
			Last:       at.Add(-time.Minute),
		}},
	}
}

// reports has one report of each kind, by the name of its golden file.
func reports(t testing.TB) map[string]func() (Report, string) {
	return map[string]func() (Report, string){
		"failed": func() (Report, string) { return failure(t), honest },
		"full": func() (Report, string) {
			r := failure(t)
			r.Full = true
			return r, honest
		},
		"delayed": func() (Report, string) {
			r := failure(t)
			r.Until = r.Time.Add(4 * 24 * time.Hour)
			r.EnvelopeID, r.ReceivedFrom = "", ""
			r.Recipients = []Recipient{
				{Address: address(t, "bob@example.org"), Action: Delayed, RemoteMTA: "10.1.0.9:25", Why: "no server could be reached: connection refused"},
				{Address: address(t, `"a  b"@example.org`), Action: Delayed, Diagnostic: mail.NewReply(452, 0, 0, 0, "over quota"), Last: r.Time},
			}
			return r, honest
		},
		"mixed": func() (Report, string) {
			r := failure(t)
			r.Recipients = append(r.Recipients,
				Recipient{Address: address(t, "c@example.org"), Action: Delivered, Status: mail.Enhanced{2, 1, 5}},
				Recipient{Address: address(t, "d@example.org"), Action: Relayed, RemoteMTA: "[2001:db8::1]:25"},
				Recipient{Address: address(t, "e@example.org"), Action: Expanded})
			return r, honest
		},
		"relayed": func() (Report, string) { // of success alone no message comes back, whatever was asked
			r := failure(t)
			r.Full = true
			r.Recipients[0].Action, r.Recipients[0].Diagnostic = Relayed, mail.NewReply(250, 2, 6, 0, "Queued mail for delivery")
			return r, honest
		},
		"foreign": func() (Report, string) { // strangers' words that are not ASCII, to somebody who is
			r := failure(t)
			r.Full = true
			r.Recipients[0].Address = address(t, "bjørn@example.org")
			r.Recipients[0].Original = `utf-8;bj\x{F8}rn@example.org`
			r.Recipients[0].Diagnostic.Text = "Bjørn \xff wohnt\x07 hier\u202e nicht"
			return r, strings.Replace(honest, "Ann", "Änn", 1)
		},
		"utf8": func() (Report, string) {
			r := failure(t)
			r.To = address(t, "änn@example.com")
			r.Recipients[0].Address = address(t, "bjørn@example.org")
			r.Recipients[0].Original = `utf-8;bj\x{F8}rn@example.org`
			r.Recipients[0].Diagnostic.Text = "Bjørn wohnt hier nicht"
			return r, strings.Replace(honest, "Ann", "Änn", 1)
		},
	}
}

func write(t testing.TB, r Report, original string) Notification {
	t.Helper()
	n, err := Write(r, message(t, original))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

var boundaries = regexp.MustCompile(`=_[A-Z2-7]{26}`)

// The whole report, as it is sent.
func TestWriteGolden(t *testing.T) {
	for name, make := range reports(t) {
		t.Run(name, func(t *testing.T) {
			n := write(t, func() Report { r, _ := make(); return r }(), func() string { _, o := make(); return o }())
			got := boundaries.ReplaceAll(n.Octets, []byte("=_BOUNDARY"))
			got = bytes.ReplaceAll(got, []byte("\r\n"), []byte("\n"))
			path := filepath.Join("testdata", name+".txt")
			if *update {
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			if utf8 := name == "utf8"; n.SMTPUTF8 != utf8 || n.EightBit != utf8 {
				t.Errorf("SMTPUTF8 %v, EightBit %v", n.SMTPUTF8, n.EightBit)
			}
		})
	}
}

func TestWriteReadsBack(t *testing.T) {
	for name, make := range reports(t) {
		t.Run(name, func(t *testing.T) {
			r, original := make()
			readBack(t, r, original, write(t, r, original))
		})
	}
}

// An incomplete report, and one that must not be.
func TestWriteRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Report)
		want   string
	}{
		{"null sender", func(r *Report) { r.To = mail.Address{} }, "null reverse-path"},
		{"of nobody", func(r *Report) { r.From = mail.Address{} }, "of nobody"},
		{"no recipient", func(r *Report) { r.Recipients = nil }, "no recipient"},
		{"null recipient", func(r *Report) { r.Recipients[0].Address = mail.Address{} }, "no address"},
		{"no time", func(r *Report) { r.Time = time.Time{} }, "time"},
		{"id", func(r *Report) { r.ID = "a b" }, `"a b" is no id`},
		{"host", func(r *Report) { r.ReportingMTA = "a\r\nb" }, "no name of a host"},
		{"action", func(r *Report) { r.Recipients[0].Action = "eaten" }, `unknown action "eaten"`},
	} {
		r := failure(t)
		c.change(&r)
		_, err := Write(r, message(t, honest))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		if errors.Is(err, ErrNullSender) != (c.name == "null sender") {
			t.Errorf("%s: %v is ErrNullSender", c.name, err)
		}
	}
	r := failure(t)
	m := message(t, honest)
	m.Release()
	if _, err := Write(r, m); !errors.Is(err, mail.ErrReleased) {
		t.Errorf("a released message: %v", err)
	}
}

// A report about a message that can't be read any more.
func TestWriteWithoutOriginal(t *testing.T) {
	n, err := Write(failure(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	c := mail.NewContent(mail.NewBlob(n.Octets), mail.LineFaults{}, mail.Limits{})
	defer c.Release()
	if got := len(c.Root().Children); got != 2 {
		t.Errorf("%d parts", got)
	}
	if !bytes.Contains(n.Octets, []byte("can't be shown any more")) {
		t.Errorf("the text does not say that the message is missing:\n%s", n.Octets)
	}
}

// hostile has originals that are no messages, or want to be more than one.
var hostile = map[string]string{
	"empty":                "",
	"blank":                "\r\n",
	"no header":            "\r\nbody\r\n",
	"no body":              "Subject: a\r\n",
	"no line end":          "Subject: a",
	"no blank line":        "Subject: a\r\n--=_BOUNDARY\r\nContent-Type: text/html\r\n\r\n<b>\r\n--=_BOUNDARY--\r\n",
	"a line that is none":  "Subject: a\r\nthis is no field\r\nX: y\r\n\r\nbody\r\n",
	"begins with a blank":  " folded\r\nSubject: a\r\n\r\nbody\r\n",
	"NUL":                  "Subject: a\x00b\r\n\r\nbo\x00dy\r\n",
	"bare line ends":       "Subject: a\rX: y\nZ: z\r\n\r\nbo\ndy\r.\r\n",
	"long line":            "Subject: " + strings.Repeat("a", 5000) + "\r\n\r\nbody\r\n",
	"long body line":       "Subject: a\r\n\r\n" + strings.Repeat("b", 5000) + "\r\n",
	"huge header":          strings.Repeat("X: "+strings.Repeat("y", 70)+"\r\n", 5000) + "\r\nbody\r\n",
	"one huge field":       "X: " + strings.Repeat(strings.Repeat("y", 70)+"\r\n\t", 5000) + "z\r\n\r\nbody\r\n",
	"many fields":          strings.Repeat("A:b\r\n", 3000) + "\r\nbody\r\n",
	"huge":                 "Subject: a\r\n\r\n" + strings.Repeat(strings.Repeat("b", 70)+"\r\n", 20000),
	"Latin-1 header":       "Subject: \xe4\xf6\xfc\r\n\r\nbody\r\n",
	"UTF-8 header":         "Subject: äöü\r\n\r\nbody\r\n",
	"8-bit body":           "Subject: a\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\näöü\r\n",
	"encoded line ends":    "Subject: =?utf-8?q?a=0D=0ABcc:_b=00=E2=80=AE?=\r\n\r\nbody\r\n",
	"Message-ID":           "Message-ID: <a@b>\r\n\tX-Evil: <c@d>\r\nReferences: x\r\n\r\nbody\r\n",
	"two Message-IDs":      "Message-ID: <a@b>\r\nMessage-ID: <c@d>\r\n\r\nbody\r\n",
	"long Message-ID":      "Message-ID: <" + strings.Repeat("a", 2000) + "@b>\r\n\r\nbody\r\n",
	"unclosed multipart":   "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\na\r\n",
	"deep":                 strings.Repeat("Content-Type: message/rfc822\r\n\r\n", 100) + "\r\na\r\n",
	"quoted-printable":     "Content-Transfer-Encoding: quoted-printable\r\nSubject: a=\r\nFrom \r\n\r\nbody=\r\n",
	"dots":                 ".\r\nSubject: a\r\n.\r\n\r\n.\r\n..\r\n",
	"mbox":                 "From ann@example.com Thu Nov 26 09:00:00 2026\r\nSubject: a\r\n\r\nFrom b\r\n",
	"a report of its own":  "Content-Type: multipart/report; report-type=delivery-status; boundary=\"=_\"\r\n\r\n--=_\r\n\r\n--=_--\r\n",
	"trailing blanks":      "Subject: a \t \r\nX: \r\nY:\t\r\n\r\nbody \r\n",
	"a field of no letter": ": a\r\n\r\nbody\r\n",
}

func TestWriteHostile(t *testing.T) {
	for name, original := range hostile {
		for _, full := range []bool{false, true} {
			for _, to := range []string{"ann@example.com", "änn@example.com"} {
				t.Run(fmt.Sprintf("%s/%v/%s", name, full, to), func(t *testing.T) {
					r := failure(t)
					r.Full, r.To = full, address(t, to)
					readBack(t, r, original, write(t, r, original))
				})
			}
		}
	}
}

// The words of strangers stay within their fields.
func TestWriteWords(t *testing.T) {
	evil := "a\r\nAction: delivered\r\n\r\nFinal-Recipient: rfc822; x@y\x00\x1b[2J\u2028 \xff(" + strings.Repeat("w", 3000)
	r := failure(t)
	r.EnvelopeID, r.QueueID, r.ReceivedFrom = evil, evil, evil
	r.Recipients[0].RemoteMTA, r.Recipients[0].Why, r.Recipients[0].Original = evil, evil, "rfc822;"+evil
	r.Recipients[0].Diagnostic = mail.Reply{Code: 550, Enhanced: mail.Enhanced{9, 99999, -1}, Text: evil}
	for _, to := range []string{"ann@example.com", "änn@example.com"} {
		r.To = address(t, to)
		readBack(t, r, honest, write(t, r, honest))
	}
}

func TestFullOnlyOfFailures(t *testing.T) {
	for _, c := range []struct {
		name     string
		action   Action
		original string
		want     string
	}{
		{"failed", Failed, honest, "message/rfc822"},
		{"delayed", Delayed, honest, "text/rfc822-headers"}, // RFC 3461 4.3
		{"too big", Failed, hostile["huge"], "text/rfc822-headers"},
		{"NUL", Failed, hostile["NUL"], "text/rfc822-headers"},
		{"long line", Failed, hostile["long body line"], "text/rfc822-headers"},
		{"8-bit body", Failed, hostile["8-bit body"], "message/rfc822"},
		{"UTF-8 header", Failed, hostile["UTF-8 header"], "text/rfc822-headers"},
	} {
		r := failure(t)
		r.Full, r.Recipients[0].Action = true, c.action
		n := write(t, r, c.original)
		content := mail.NewContent(mail.NewBlob(n.Octets), mail.LineFaults{}, mail.Limits{})
		if got := content.Part("3").Type; got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
		if n.EightBit != (c.name == "8-bit body") {
			t.Errorf("%s: EightBit %v", c.name, n.EightBit)
		}
		content.Release()
	}
}

func TestStatus(t *testing.T) {
	for _, c := range []struct {
		action Action
		status mail.Enhanced
		reply  mail.Reply
		want   string
	}{
		{Failed, mail.Enhanced{4, 4, 7}, mail.NewReply(451, 4, 3, 0, ""), "4.4.7"},
		{Failed, mail.Enhanced{}, mail.NewReply(550, 5, 1, 1, ""), "5.1.1"},
		{Failed, mail.Enhanced{}, mail.NewReply(550, 0, 0, 0, ""), "5.0.0"},
		{Failed, mail.Enhanced{}, mail.NewReply(451, 0, 0, 0, ""), "4.0.0"},
		{Failed, mail.Enhanced{}, mail.NewReply(550, 2, 1, 1, ""), "5.0.0"},
		{Failed, mail.Enhanced{5, 1000, 0}, mail.Reply{}, "5.0.0"},
		{Delayed, mail.Enhanced{}, mail.NewReply(550, 5, 1, 1, ""), "4.0.0"},
		{Delayed, mail.Enhanced{}, mail.Reply{}, "4.0.0"},
		{Delivered, mail.Enhanced{}, mail.NewReply(250, 2, 1, 5, ""), "2.1.5"},
		{Relayed, mail.Enhanced{}, mail.NewReply(250, 0, 0, 0, ""), "2.0.0"},
	} {
		to := Recipient{Action: c.action, Status: c.status, Diagnostic: c.reply}
		if got := to.status().String(); got != c.want {
			t.Errorf("%s %s %s: %s, want %s", c.action, c.status, c.reply, got, c.want)
		}
	}
}

func TestNames(t *testing.T) {
	for in, want := range map[string]string{
		"mail1.corp:25": "mail1.corp", "MAIL1.corp.": "mail1.corp", "10.1.0.9:25": "[10.1.0.9]", "[2001:db8::1]:25": "[IPv6:2001:db8::1]",
		"2001:db8::1": "[IPv6:2001:db8::1]", "fe80::1%eth0": "[IPv6:fe80::1]", "::ffff:192.0.2.1": "[192.0.2.1]",
		"/run/lmtp": "", "": "", "a b": "", "a\r\nb": "",
	} {
		if got := mtaName(in); got != want {
			t.Errorf("mtaName(%q) = %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{
		"out.example.com": "out.example.com", "OUT": "OUT", "[192.0.2.1]": "[192.0.2.1]", "a (b)": "", "a\nb": "", "ä": "",
	} {
		if got := clientName(in); got != want {
			t.Errorf("clientName(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestOriginalRecipient(t *testing.T) {
	long := strings.Repeat("ü", 300)
	for _, c := range []struct{ in, ascii, global string }{
		{"rfc822;a+2Bb@c.example", "rfc822; a+b@c.example", "rfc822; a+b@c.example"},
		{"RFC822;a", "RFC822; a", "RFC822; a"},
		{"rfc822;a+zz+2", "rfc822; a+zz+2", "rfc822; a+zz+2"},
		{"rfc822;a+0D+0Ab+00", "rfc822; a b", "rfc822; a b"},
		{"rfc822;b+C3+B8", `utf-8; b\x{F8}`, "utf-8; bø"},
		{"x400;/S=a+20b/", "x400; /S=a b/", "x400; /S=a b/"},
		{`utf-8;bj\x{F8}rn\x{2B}x@e.example`, `utf-8; bj\x{F8}rn\x{2B}x@e.example`, "utf-8; bjørn+x@e.example"},
		{"utf-8;bjørn@e.example", `utf-8; bj\x{F8}rn@e.example`, "utf-8; bjørn@e.example"},
		{`utf-8;\x{D800}\x{}\x{110000}\x{zz}\x{1`, `utf-8; \x{D800}\x{}\x{110000}\x{zz}\x{1`, `utf-8; \x{D800}\x{}\x{110000}\x{zz}\x{1`},
		{`utf-8;a\x{0A}b`, `utf-8; a\x{0A}b`, "utf-8; a b"},
		{"no type", "unknown; no type", "unknown; no type"},
		{"a b;c", "unknown; a b;c", "unknown; a b;c"},
		{"x-y;" + long, "x-y; " + strings.Repeat("?", 248) + " ...", "x-y; " + strings.Repeat("ü", 248) + " ..."},
	} {
		for want, w := range map[string]statusWriter{c.ascii: {}, c.global: {global: true}} {
			if got := w.original(c.in); got != want {
				t.Errorf("%q (global %v): %q, want %q", c.in, w.global, got, want)
			}
		}
	}
}
