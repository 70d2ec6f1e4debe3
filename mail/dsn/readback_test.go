package dsn

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	netmail "net/mail"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/postern-mail/postern/mail"
)

// readBack reads a report as we read mail, and as Go does, and holds it against RFC 3464 and RFC 6522.
func readBack(t testing.TB, r Report, original string, n Notification) {
	t.Helper()
	checkLines(t, n)
	blob := mail.NewBlob(bytes.Clone(n.Octets))
	c := mail.NewContent(blob, mail.LineFaults{}, mail.Limits{})
	defer c.Release()
	root := c.Root()
	if err := c.Err(); err != nil {
		t.Fatal(err)
	}
	checkHeader(t, r, c.Header())
	if root.Type != "multipart/report" || root.Params["report-type"] != "delivery-status" || len(root.Children) != 3 {
		t.Fatalf("%s of %d parts\n%s", root.Type, len(root.Children), n.Octets)
	}
	for _, p := range append([]*mail.Part{root}, root.Children...) {
		if len(p.Defects) > 0 && p.Type != "message/rfc822" && p.Type != "message/global" {
			t.Errorf("part %s: %v\n%s", p.Path, p.Defects, n.Octets)
		}
	}
	text, _ := io.ReadAll(root.Children[0].Open())
	if root.Children[0].Type != "text/plain" || !utf8.Valid(text) || !bytes.Contains(text, []byte(r.Recipients[0].Address.String())) {
		t.Errorf("the text: %s\n%s", root.Children[0].Type, text)
	}
	status, _ := io.ReadAll(root.Children[1].RawBody())
	checkStatus(t, root.Children[1], string(status), len(r.Recipients), !r.To.IsASCII())
	checkOriginal(t, root.Children[2], original)
	checkGo(t, n, root)
}

// checkLines holds the octets against RFC 5321 and RFC 5322.
func checkLines(t testing.TB, n Notification) {
	t.Helper()
	if bytes.IndexByte(n.Octets, 0) >= 0 {
		t.Error("a NUL")
	}
	for line := range bytes.SplitSeq(n.Octets, []byte("\r\n")) {
		if len(line) > 998 || bytes.ContainsAny(line, "\r\n") {
			t.Fatalf("a line of %d octets: %.100q", len(line), line)
		}
	}
	if eight := slices.ContainsFunc(n.Octets, func(c byte) bool { return c >= 0x80 }); eight != n.EightBit {
		t.Errorf("EightBit %v", n.EightBit)
	}
}

// checkHeader: the fields that a report has, each once, and no other.
func checkHeader(t testing.TB, r Report, h *mail.Header) {
	t.Helper()
	want := []string{"Date", "From", "To", "Subject", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"}
	also := []string{"In-Reply-To", "References", "Content-Transfer-Encoding"}
	for _, f := range h.Fields() {
		if !slices.Contains(want, f.Name) && !slices.Contains(also, f.Name) || h.Count(f.Name) != 1 {
			t.Errorf("a field %q", f.Raw)
		}
	}
	for _, name := range want {
		if h.Count(name) != 1 {
			t.Errorf("%d fields %s", h.Count(name), name)
		}
	}
	if h.Get("To") != "<"+r.To.String()+">" || h.Get("Auto-Submitted") != "auto-replied" {
		t.Errorf("To: %s, Auto-Submitted: %s", h.Get("To"), h.Get("Auto-Submitted"))
	}
	if d, err := netmail.ParseDate(h.Get("Date")); err != nil || d.Unix() != r.Time.Unix() {
		t.Errorf("Date: %s", h.Get("Date"))
	}
	if a := mail.ReadAuthors(h); a.Flaw != "" || a.Domain() != r.From.Domain() {
		t.Errorf("From: %+v", a)
	}
}

const (
	atom     = `[!#$%&'*+/0-9=?A-Z^_\x60a-z{|}~-]+`
	dateTime = `(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z][a-z] \d{4} \d\d:\d\d:\d\d [+-]\d{4}`
)

// The fields of RFC 3464 2.2 and 2.3 in their order; those that must be there have an exclamation mark.
var (
	perMessage = []struct{ name, body string }{
		{"Original-Envelope-Id", `.*`},
		{"!Reporting-MTA", `dns; ([a-z0-9._-]+|\[[0-9A-Za-z:.]+\])`},
		{"Received-From-MTA", `dns; [^ ()]+( \(\[[0-9A-Za-z:.]+\]\))?`},
		{"Arrival-Date", dateTime},
		{"X-Postern-ID", `.*`},
	}
	perRecipient = []struct{ name, body string }{
		{"Original-Recipient", atom + `;( .*)?`},
		{"!Final-Recipient", `(rfc822|utf-8); .+`},
		{"!Action", `failed|delayed|delivered|relayed|expanded`},
		{"!Status", `[245]\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})`},
		{"Remote-MTA", `dns; ([a-z0-9._-]+|\[[0-9A-Za-z:.]+\])`},
		{"Diagnostic-Code", `smtp; \d+.*`},
		{"Last-Attempt-Date", dateTime},
		{"Will-Retry-Until", dateTime},
	}
)

// checkStatus holds the second part against the grammar.
func checkStatus(t testing.TB, p *mail.Part, body string, recipients int, global bool) {
	t.Helper()
	want := "message/delivery-status"
	if global {
		want = "message/global-delivery-status"
	}
	if p.Type != want {
		t.Errorf("the status is %s", p.Type)
	}
	if !global && !isASCII(body) || !utf8.ValidString(body) {
		t.Errorf("the status has foreign octets:\n%s", body)
	}
	groups := strings.Split(strings.TrimSuffix(body, "\r\n"), "\r\n\r\n")
	if len(groups) != 1+recipients {
		t.Fatalf("%d groups of fields\n%s", len(groups), body)
	}
	for i, g := range groups {
		grammar := perRecipient
		if i == 0 {
			grammar = perMessage
		}
		lines := strings.Split(strings.ReplaceAll(g, "\r\n\t", " "), "\r\n")
		for _, f := range grammar {
			name, must := strings.CutPrefix(f.name, "!")
			if len(lines) == 0 || !strings.HasPrefix(lines[0], name+": ") && lines[0] != name+":" {
				if must {
					t.Errorf("no %s in\n%s", name, g)
				}
				continue
			}
			if body := lines[0][len(name)+2:]; !regexp.MustCompile(`^(` + f.body + `)$`).MatchString(body) {
				t.Errorf("%s: %q", name, body)
			}
			lines = lines[1:]
		}
		if len(lines) > 0 {
			t.Errorf("%q: none of these fields, or not in its place, in\n%s", lines[0], g)
		}
	}
}

// checkOriginal: what comes back is of the original and of nothing else, and no body comes with a header.
func checkOriginal(t testing.TB, p *mail.Part, original string) {
	t.Helper()
	switch p.Type {
	case "message/rfc822", "message/global":
		if got, _ := io.ReadAll(p.RawBody()); string(got) != original {
			t.Errorf("of %d octets %d came back", len(original), len(got))
		}
		return
	case "text/rfc822-headers", "message/global-headers":
	default:
		t.Errorf("the original is %s", p.Type)
	}
	got, _ := io.ReadAll(p.Open())
	if len(got) > maxHeader+2 {
		t.Errorf("a header of %d octets", len(got))
	}
	c := mail.NewContent(mail.NewBlob([]byte(original)), mail.LineFaults{}, mail.Limits{HeaderOctets: maxHeader, Fields: maxFields})
	defer c.Release()
	var want strings.Builder
	for _, f := range c.Header().Fields() {
		if f.Name != "" {
			want.WriteString(strings.TrimSuffix(f.Raw, "\r\n") + "\r\n")
		}
	}
	if string(got) != want.String() {
		t.Errorf("the header came back as\n%.2000q\nand was\n%.2000q", got, want.String())
	}
}

// checkGo: Go's own readers find the same three parts.
func checkGo(t testing.TB, n Notification, root *mail.Part) {
	t.Helper()
	m, err := netmail.ReadMessage(bytes.NewReader(n.Octets))
	if err != nil {
		t.Fatal(err)
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/report" {
		t.Fatalf("%s, %v", kind, err)
	}
	parts := multipart.NewReader(m.Body, params["boundary"])
	for _, p := range root.Children {
		q, err := parts.NextRawPart()
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(q)
		want, _ := io.ReadAll(p.RawBody())
		if kind, _, _ := mime.ParseMediaType(q.Header.Get("Content-Type")); err != nil || kind != p.Type || !bytes.Equal(got, want) {
			t.Errorf("Go reads part %s as %s of %d octets, we %s of %d: %v", p.Path, kind, len(got), p.Type, len(want), err)
		}
	}
	if _, err := parts.NextRawPart(); err != io.EOF {
		t.Errorf("Go finds a fourth part: %v", err)
	}
}

// FuzzWrite: whatever strangers say and send, the report is a valid one, of three parts.
func FuzzWrite(f *testing.F) {
	for _, o := range hostile {
		if len(o) < 10000 {
			f.Add(o, "out.example.com", "a+2Bb", "rfc822;bob@example.org", "No such\nuser", 550, byte(3))
		}
	}
	f.Add(honest, "a (b)\r\nX: y", "+0D+0A+00", `utf-8;\x{F8}\x{0A}`, "\xff\u202e\r\n\r\nAction: delivered", 99999, byte(0xff))
	actions := []Action{Failed, Delayed, Delivered, Relayed, Expanded}
	f.Fuzz(func(t *testing.T, original, helo, envid, orcpt, words string, code int, flags byte) {
		if len(words) > 5000 {
			return
		}
		r := failure(t)
		r.ReceivedFrom, r.EnvelopeID, r.QueueID = helo, envid, words
		if r.Full = flags&1 != 0; flags&2 != 0 {
			r.To = address(t, "änn@example.com")
		}
		to := Recipient{
			Address: r.Recipients[0].Address, Original: orcpt, Action: actions[int(flags>>2)%len(actions)], RemoteMTA: helo, Why: words,
			Diagnostic: mail.Reply{Code: max(code, 0), Enhanced: mail.Enhanced{code, code / 7, code / 11}, Text: words},
		}
		r.Recipients = append(r.Recipients, to)
		readBack(t, r, original, write(t, r, original))
	})
}
