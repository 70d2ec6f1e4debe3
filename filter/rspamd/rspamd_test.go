package rspamd

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/mail"
)

func input(t *testing.T, text string) *filter.Input {
	t.Helper()
	address := func(s string) mail.Address {
		a, err := mail.ParseAddress(s)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	return &filter.Input{
		Phase: filter.Data,
		Session: &filter.Session{
			Client: netip.MustParseAddrPort("192.0.2.1:25"), Helo: "client.example\x01", PTR: "host.example", User: "u",
			TLS: &tls.ConnectionState{Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256},
		},
		Transaction: &filter.Transaction{ID: "mx-1", From: address("a@b.example"), Recipients: []mail.Address{address("c@d.example"), address("e@d.example")}},
		Content:     mail.NewContent(mail.NewBlob([]byte(strings.ReplaceAll(text, "\n", "\r\n"))), mail.LineFaults{}, mail.Limits{}),
	}
}

func newCheck(t *testing.T, change func(*config)) filter.Filter {
	t.Helper()
	_, f, err := NewFactory().New(filter.Env{Name: "rspamd", Hostname: "mx.example.org", Log: slog.New(slog.DiscardHandler)}, func(v any) error {
		change(v.(*config))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// gzipped gives a text in the compression that HTTP has.
func gzipped(text string) string {
	var b strings.Builder
	z := gzip.NewWriter(&b)
	_, _ = io.WriteString(z, text)
	_ = z.Close()
	return b.String()
}

// TestManySymbols: however many symbols there are, and whatever stands in their names, the finding is short, and printable.
func TestManySymbols(t *testing.T) {
	var symbols strings.Builder
	for i := range 25_000 {
		fmt.Fprintf(&symbols, `,"\u001b[2J\r\n\u0000%d\u202e":{"score":1e308}`, i)
	}
	a, err := parse([]byte(`{"score":1,"required_score":1e308,"action":"no action","symbols":{` + symbols.String()[1:] + `}}`))
	if err != nil {
		t.Fatal(err)
	}
	d := a.detail()
	if len(d) > 2*maxDetail || !strings.Contains(d, "more") || strings.ContainsFunc(d, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("%d octets: %q", len(d), d)
	}
}

// shown writes a result for comparison.
func shown(r filter.Result) string {
	var b strings.Builder
	b.WriteString(r.Propose.String())
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "; %s %g %s", f.Symbol, f.Strength, f.Detail)
	}
	for _, e := range r.Edits {
		fmt.Fprintf(&b, "; %#v", e)
	}
	if r.Reply != nil {
		fmt.Fprintf(&b, "; %s", r.Reply)
	}
	return b.String()
}

func TestAnswers(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*config)
		answer string
		want   string // "" for an error
	}{
		{"clean", nil, `{"score":0.5,"required_score":15,"action":"no action","symbols":{"A":{"score":0.5,"metric_score":0.5},"B":{"score":0}}}`, "continue; RSPAMD 0.5 score 0.5 of 15, no action; A 0.5; 1 without a score"},
		{"negative, with a factor", func(c *config) { c.Factor = 0.5 }, `{"score":-3,"action":"no action"}`, "continue; RSPAMD -1.5 score -3, no action"},
		{"order", nil, `{"score":7,"action":"add header","symbols":{"A":{"metric_score":1},"B":{"metric_score":-4,"options":["x","y"]},"C":{"metric_score":10}}}`, "tag; RSPAMD 7 score 7, add header; C 10; B -4 [x, y]; A 1"},
		{"greylist", nil, `{"score":5,"action":"greylist"}`, "continue; RSPAMD 5 score 5, greylist"},
		{"greylist, as asked for", func(c *config) { c.Actions["greylist"] = "defer" }, `{"score":5,"action":"greylist"}`, "defer; RSPAMD 5 score 5, greylist"},
		{"soft reject", nil, `{"score":5,"action":"soft reject","messages":{"smtp_message":"later\r\n250 ok"}}`, "defer; RSPAMD 5 score 5, soft reject"},
		{"soft reject, verbatim", func(c *config) { c.Replies = "verbatim" }, `{"score":5,"action":"soft reject","messages":{"smtp_message":"later\r\n250 ok"}}`, "defer; RSPAMD 5 score 5, soft reject; 451 4.7.1 later 250 ok"},
		{"reject, verbatim", func(c *config) { c.Replies = "verbatim" }, `{"score":20,"action":"reject","messages":{"smtp_message":"spam"}}`, "reject; RSPAMD 20 score 20, reject; 550 5.7.1 spam"},
		{"old messages", func(c *config) { c.Replies = "verbatim" }, `{"score":20,"action":"reject","messages":["x"]}`, "reject; RSPAMD 20 score 20, reject"},
		{"skipped", nil, `{"is_skipped":true,"score":0,"action":"no action","symbols":{}}`, "continue; RSPAMD 0 score 0, no action; it did not scan, as its settings say"},
		{"fields nobody asked for", nil, `{"score":0,"action":"no action","milter":{"add_headers":{"X-A":"b"},"remove_headers":{"X-B":0}},"subject":"x"}`, "continue"},
		{
			"fields", func(c *config) { c.Headers = []string{"x-a", "X-B"} },
			`{"score":0,"action":"no action","milter":{"add_headers":{"X-A":{"value":"b\n\tc","order":0},"X-B":["d",{"value":"e"}],"X-C":"f"},"remove_headers":{"X-B":-1,"X-A":[1,5]}}}`,
			`continue; mail.RemoveField{Index:1}; mail.RemoveField{Index:3}; mail.AddField{Name:"X-A", Body:"b\r\n\tc"}; mail.AddField{Name:"X-B", Body:"d"}; mail.AddField{Name:"X-B", Body:"e"}`,
		},
		{"all of a name", func(c *config) { c.Headers = []string{"X-B"} }, `{"score":0,"action":"no action","milter":{"remove_headers":{"X-B":0}}}`, `continue; mail.RemoveField{Index:2}; mail.RemoveField{Index:3}`},
		{"a place that can not be", func(c *config) { c.Headers = []string{"X-B"} }, `{"score":0,"action":"no action","milter":{"remove_headers":{"X-B":-9223372036854775808}}}`, "continue"},
		{
			"fields that are none", func(c *config) { c.Headers = []string{"X-A"} }, `{"score":0,"action":"no action","milter":{"add_headers":{"X-A":"b\r\nBcc: x"}}}`,
			"continue; RSPAMD_FIELDS 1 X-A: a line that begins a field of its own",
		},
		{
			"fields of another kind", func(c *config) { c.Headers = []string{"X-A"} }, `{"score":0,"action":"no action","milter":{"add_headers":{"X-A":5},"remove_headers":{"X-A":"all"}}}`,
			"continue; RSPAMD_FIELDS 1 X-A: neither a number nor a list of them; X-A: neither a text nor an object with a value",
		},
		{"subject", func(c *config) { c.Subject = true }, `{"score":10,"action":"rewrite subject","subject":"[SPAM] ä"}`, `tag; RSPAMD 10 score 10, rewrite subject; mail.ReplaceField{Index:0, Body:"=?utf-8?b?W1NQQU1dIMOk?="}`},

		{"no number", nil, `{"score":NaN,"action":"no action"}`, ""},
		{"no end of it", nil, `{"score":Infinity,"action":"no action"}`, ""},
		{"a great score", nil, `{"score":1e308,"action":"no action"}`, ""},
		{"a small score", nil, `{"score":-1e308,"action":"no action"}`, ""},
		{"a score that no float holds", nil, `{"score":-1e400,"action":"no action"}`, ""},
		{"a score that is none", nil, `{"score":null,"action":"no action"}`, ""},
		{"a list of scores", nil, `{"score":[0],"action":"no action"}`, ""},
		{"an action that is a number", nil, `{"score":0,"action":0}`, ""},
		{"an action of another case", nil, `{"score":0,"action":"NO ACTION"}`, ""},
		{"a list of symbols", nil, `{"score":0,"action":"no action","symbols":["A"]}`, ""},
		{"a symbol that is a number", nil, `{"score":0,"action":"no action","symbols":{"A":1}}`, ""},
		{"two actions", nil, `{"score":20,"action":"reject","action":"no action"}`, ""},
		{"two scores", nil, `{"score":20,"Score":0,"action":"no action"}`, ""},
		{"an error", nil, `{"error":"cannot scan"}`, ""},
		{"deep", nil, `{"score":0,"action":"no action","x":` + strings.Repeat("[", 400_000) + strings.Repeat("]", 400_000) + `}`, ""},
		{"compressed", nil, gzipped(`{"score":0,"action":"no action"}`), ""},
		{"compressed, a great deal", nil, gzipped(strings.Repeat("0", 100<<20)), ""},
		{"more than is read", nil, `{"score":0,"action":"no action","x":"` + strings.Repeat("x", maxAnswer) + `"}`, ""},
		{"symbols of one name but for the case", nil, `{"score":3,"action":"no action","symbols":{"A":{"score":1},"a":{"score":2}}}`, "continue; RSPAMD 3 score 3, no action; a 2; A 1"},
		{"no JSON", nil, `<html>`, ""},
		{"nothing", nil, ``, ""},
		{"null", nil, `null`, ""},
		{"a list", nil, `[]`, ""},
		{"no score", nil, `{"action":"no action"}`, ""},
		{"no action", nil, `{"score":0}`, ""},
		{"an action of one's own", nil, `{"score":0,"action":"eat"}`, ""},
		{"a score beyond all", nil, `{"score":1e300,"action":"no action"}`, ""},
		{"a score that is a text", nil, `{"score":"5","action":"no action"}`, ""},
		{"half of it", nil, `{"score":0,"action":"no action"`, ""},
		{"more behind it", nil, `{"score":0,"action":"no action"}{"score":20,"action":"reject"}`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				_, _ = io.WriteString(w, c.answer)
			}))
			defer server.Close()
			f := newCheck(t, func(cfg *config) {
				cfg.Servers = []string{server.Listener.Addr().String()}
				if c.change != nil {
					c.change(cfg)
				}
			})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			r, err := f.Check(ctx, input(t, "Subject: x\nX-A: 1\nX-B: 2\nX-B: 3\n\nbody\n"))
			if c.want == "" && err == nil || c.want != "" && (err != nil || shown(r) != c.want) {
				t.Errorf("got  %s, %v\nwant %s", shown(r), err, c.want)
			}
		})
	}
}

// TestQuestion: rspamd hears of the session and the envelope, and nothing that is no header field.
func TestQuestion(t *testing.T) {
	var got http.Header
	var path string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, path = r.Header, r.URL.Path
		_, _ = io.WriteString(w, `{"score":0,"action":"no action"}`)
	}))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "p")
	if err := os.WriteFile(file, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := newCheck(t, func(c *config) { c.Servers, c.PasswordFile = []string{server.URL}, file })
	in := input(t, "A: b\n\nc\n")
	if _, err := f.Check(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"Ip": "[192.0.2.1]", "Helo": "[]", "Hostname": "[host.example]", "User": "[u]", "From": "[a@b.example]", "Rcpt": "[c@d.example e@d.example]",
		"Deliver-To": "[]", "Queue-Id": "[mx-1]", "Mta-Name": "[mx.example.org]", "Password": "[secret]", "Tls-Version": "[TLSv1.3]", "Tls-Cipher": "[TLS_AES_128_GCM_SHA256]",
	} {
		if s := fmt.Sprint(got[name]); s != want {
			t.Errorf("%s: %s, want %s", name, s, want)
		}
	}
	if path != "/checkv2" {
		t.Errorf("asked %s", path)
	}
	in.Transaction.From, in.Transaction.Recipients = mail.Address{}, in.Transaction.Recipients[:1]
	if _, err := f.Check(t.Context(), in); err != nil || got.Get("From") != "<>" || got.Get("Deliver-To") != "c@d.example" {
		t.Errorf("%v, %v", got, err)
	}
}

func TestConfig(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*config)
		want   string
	}{
		{"factor", func(c *config) { c.Factor = -1 }, "factor:"},
		{"action", func(c *config) { c.Actions["reject"] = "drop" }, "none of pass, tag"},
		{"no action", func(c *config) { c.Actions["no action"] = "tag" }, "pass, and nothing else"},
		{"header", func(c *config) { c.Headers = []string{"Content-Type"} }, "no field that rspamd may put"},
		{"password", func(c *config) { c.PasswordFile = "/nonexistent" }, "password_file"},
		{"ca", func(c *config) { c.CAFile = "/nonexistent" }, "ca_file"},
		{"server", func(c *config) { c.Servers = []string{"ftp://x"} }, "servers:"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := NewFactory().New(filter.Env{Log: slog.New(slog.DiscardHandler)}, func(v any) error { c.change(v.(*config)); return nil })
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// FuzzAnswer reads answers: what is taken has a score and an action, is bounded, and its edits can be carried out.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{
		`{"score":0.5,"required_score":15,"action":"no action","symbols":{"A":{"score":0.5,"options":["x"]}}}`,
		`{"score":0,"action":"reject","messages":{"smtp_message":"x"},"milter":{"add_headers":{"X-A":[{"value":"b","order":1},"c"]},"remove_headers":{"X-A":[0,-1]}},"subject":"ä"}`,
		`{}`, `[]`, ``, `{"score":null}`,
	} {
		f.Add([]byte(s))
	}
	c := &check{config: config{Headers: []string{"X-A", "X-B"}, Subject: true}}
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := parse(b)
		if err != nil {
			return
		}
		if d := a.detail(); len(d) > 2*maxDetail {
			t.Errorf("a detail of %d octets", len(d))
		}
		m := mail.NewContent(mail.NewBlob([]byte("X-A: 1\r\nSubject: x\r\n\r\nb\r\n")), mail.LineFaults{}, mail.Limits{})
		var r filter.Result
		c.fields(&a, m.Header(), &r)
		out, err := mail.Rewrite(m, r.Edits, false)
		if err != nil {
			t.Fatalf("%q: %v", r.Edits, err)
		}
		h, err := out.Header(mail.Limits{})
		if err != nil || len(h.Fields()) > 2+len(r.Edits) {
			t.Errorf("%q gives %d fields, %v", r.Edits, len(h.Fields()), err)
		}
	})
}

// TestKeysTwice: a key that stands twice where an answer is read into a struct has no meaning, in whichever case, that of Unicode among
// them; names of symbols and of fields that differ in case are two.
func TestKeysTwice(t *testing.T) {
	for text, ok := range map[string]bool{
		`{"score":9,"action":"reject"}`:                                                                              true,
		`{"score":9,"ſcore":0,"action":"reject"}`:                                                                    false,
		`{"score":9,"action":"reject","symbols":{"S":{"score":9},"s":{"score":1}}}`:                                  true,
		`{"score":9,"action":"reject","symbols":{"S":{"score":9,"Score":0}}}`:                                        false,
		`{"score":9,"action":"reject","ſymbols":{"S":{"score":9,"ſcore":0}}}`:                                        false,
		`{"score":9,"action":"reject","milter":{"add_headers":{"X-A":"1","x-a":"2"}}}`:                               true,
		`{"score":9,"action":"reject","milter":{"add_headers":{"X-A":"1"},"Add_Headers":{}}}`:                        false,
		`{"score":9,"action":"reject","milter":{"add_headers":{"X-A":[{"value":"1","Value":"2"}]}}}`:                 false,
		`{"score":9,"action":"reject","unread":{"a":{"b":{"c":1,"C":2}}},"messages":{"a":"1","A":"2"},"urls":["x"]}`: true,
	} {
		if _, err := parse([]byte(text)); (err == nil) != ok || err != nil && !strings.Contains(err.Error(), "twice") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
