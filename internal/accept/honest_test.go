//go:build accept

package accept

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/attachments"
	"github.com/postern-mail/postern/mail"
)

// attachmentsFilter makes the filter with its defaults, but for what a YAML document says; none is "".
func attachmentsFilter(t *testing.T, options string) filter.Filter {
	t.Helper()
	_, f, err := attachments.Factory.New(filter.Env{Name: "attachments", Hostname: "mx.example.org"}, func(cfg any) error {
		if options == "" {
			return nil
		}
		return yaml.NewDecoder(strings.NewReader(options), yaml.Strict()).Decode(cfg)
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// judged is what the filter made of one message.
type judged struct {
	filter.Result
	out     []byte // what is delivered, if it is
	changed bool   // that are other octets than those that came
}

// judge runs the filter on a message as scan does: LF line ends are made CRLF.
func judge(t *testing.T, f filter.Filter, raw []byte) (judged, error) {
	t.Helper()
	g := mail.NewIngest(mail.IngestOptions{})
	if _, err := g.Write(raw); err != nil {
		t.Fatal(err)
	}
	blob, faults, err := g.Blob()
	if err != nil {
		t.Fatal(err)
	}
	c := mail.NewContent(blob, faults, mail.Limits{})
	defer c.Release()
	res, err := f.Check(context.Background(), &filter.Input{Session: &filter.Session{}, Transaction: &filter.Transaction{ID: "id"}, Content: c})
	if err != nil {
		return judged{}, err
	}
	m, err := mail.Rewrite(c, res.Edits, res.Rebuild)
	if err != nil {
		return judged{}, err
	}
	defer m.Release()
	var before, after bytes.Buffer
	if _, err := io.Copy(&before, io.NewSectionReader(c.Blob(), 0, c.Blob().Size())); err != nil {
		return judged{}, err
	}
	if _, err := m.WriteTo(&after); err != nil {
		return judged{}, err
	}
	return judged{res, after.Bytes(), !bytes.Equal(before.Bytes(), after.Bytes())}, nil
}

// classFound reports whether a result names something in a part that the configuration acts on.
func classFound(res filter.Result) bool {
	return slices.ContainsFunc(res.Findings, func(f filter.Finding) bool {
		return strings.HasPrefix(f.Symbol, "ATTACHMENT_") || f.Symbol == "MIME_OUTSIDE"
	})
}

// Honest mail leaves as it came, but for what belongs to a class, and for what is malformed.
func TestHonestMail(t *testing.T) {
	f := attachmentsFilter(t, "")
	var rows, rebuilt [][]string
	for _, corpus := range []string{"spam/spamassassin/.*-ham-", "spam/csdmc2010/ham/"} {
		kinds := map[string]int{}
		var total, untouched, rebuilds, stripped, held int
		for _, m := range archives(t) {
			if !regexp.MustCompile(corpus).MatchString(m.name) {
				continue
			}
			raw, err := m.read()
			if err != nil {
				t.Fatal(err)
			}
			res, err := judge(t, f, raw)
			if err != nil {
				t.Errorf("%s: %v", m.name, err)
				continue
			}
			total++
			switch {
			case !res.changed && res.Propose < filter.Quarantine:
				untouched++
			case res.changed && !res.Rebuild && !classFound(res.Result):
				t.Errorf("%s: changed, and nothing was found: %v", m.name, res.Findings)
			}
			if res.Propose >= filter.Quarantine {
				held++
			}
			if len(res.Edits) > 0 {
				stripped++
			}
			if res.Rebuild {
				rebuilds++
			}
			for _, x := range res.Findings {
				kinds[x.Symbol]++
				if x.Symbol == "MIME_AMBIGUOUS" {
					rebuilt = append(rebuilt, []string{m.name, x.Detail})
				} else if res.changed || res.Propose > 0 {
					t.Logf("%s: %s %s", m.name, x.Symbol, x.Detail)
				}
			}
		}
		var symbols []string
		for _, k := range slices.Sorted(maps.Keys(kinds)) {
			symbols = append(symbols, fmt.Sprintf("%s %d", k, kinds[k]))
		}
		rows = append(rows, []string{corpus, fmt.Sprint(total), fmt.Sprint(untouched), fmt.Sprint(rebuilds), fmt.Sprint(stripped), fmt.Sprint(held), strings.Join(symbols, ", ")})
	}
	table(t, "Honest mail", "go test -tags accept -run TestHonestMail ./internal/accept",
		[]string{"corpus", "messages", "left octet for octet", "rebuilt", "a part removed", "quarantined or refused", "findings"}, rows)
	table(t, "Honest mail that was rebuilt, and why", "go test -tags accept -run TestHonestMail ./internal/accept", []string{"message", "defect"}, rebuilt)
	for _, r := range slices.Concat(rows, rebuilt) {
		t.Log(strings.Join(r, " | "))
	}
}

// Bounces return mail as far as a server kept it: its header alone, or with a body that is cut anywhere. They arrive
// as they are, but for a file that is cut and can't be read, and for what is found in them.
func TestBounces(t *testing.T) {
	f := attachmentsFilter(t, "")
	const header = "From: a@client.test\r\nTo: b@bench.test\r\nSubject: hello\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"inner\"\r\n"
	var archive bytes.Buffer
	w := zip.NewWriter(&archive)
	for _, name := range []string{"[Content_Types].xml", "word/document.xml"} {
		z, err := w.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(z, "<x>%s</x>", strings.Repeat(name, 40))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	part := func(name string, content []byte) string {
		return header + "\r\n--inner\r\nContent-Type: application/octet-stream; name=\"" + name + "\"\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
			base64.StdEncoding.EncodeToString(content)
	}
	for _, c := range []struct {
		name, mediaType, returned, want string
	}{
		{"a header", "text/rfc822-headers", header, "untouched"},
		{"a header and the line behind it", "text/rfc822-headers", header + "\r\n", "untouched"},
		{"a header with UTF-8", "message/global-headers", header, "untouched"},
		{"a header as a message", "message/rfc822", header, "untouched"},
		{"a message without a body", "message/rfc822", header + "\r\n", "untouched"},
		{"a message cut in its text", "message/rfc822", header + "\r\n--inner\r\nContent-Type: text/plain\r\n\r\nHello, and", "untouched"},
		{"a message cut in a field", "message/rfc822", header + "\r\n--inner\r\nContent-Ty", "rebuilt"},
		{"a message cut in a picture", "message/rfc822", part("a.bmp", bytes.Repeat([]byte("BM0123"), 99))[:700], "untouched"},
		{"a message cut in a document", "message/rfc822", part("a.docx", archive.Bytes())[:500], "stripped"},
		{"a program", "message/rfc822", part("a.exe", []byte("MZ\x90\x00 a program")), "stripped"},
	} {
		raw := "From: <>\r\nTo: a@client.test\r\nSubject: Undelivered Mail Returned to Sender\r\nMIME-Version: 1.0\r\n" +
			"Content-Type: multipart/report; report-type=delivery-status; boundary=\"report\"\r\n\r\n" +
			"--report\r\nContent-Type: text/plain\r\n\r\nIt was not delivered.\r\n" +
			"--report\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.bench.test\r\n\r\nFinal-Recipient: rfc822; b@bench.test\r\nAction: failed\r\nStatus: 5.1.1\r\n" +
			"\r\n--report\r\nContent-Type: " + c.mediaType + "\r\n\r\n" + c.returned + "\r\n--report--\r\n"
		res, err := judge(t, f, []byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		if got := fate(res); got != c.want {
			t.Errorf("%s is returned: %s, not %s: %v", c.name, got, c.want, res.Findings)
		}
	}
}
