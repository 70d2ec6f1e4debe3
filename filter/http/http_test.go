package http

import (
	"bufio"
	"context"
	"encoding/json"
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

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/mail"
)

const message = "Subject: x\r\nX-A: 1\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\na\r\n--b\r\n\r\nb\r\n--b--\r\n"

func content() *mail.Content {
	return mail.NewContent(mail.NewBlob([]byte(message)), mail.LineFaults{}, mail.Limits{})
}

func input(t *testing.T) *filter.Input {
	t.Helper()
	from, err := mail.ParseAddress("ä@b.example")
	if err != nil {
		t.Fatal(err)
	}
	in := &filter.Input{
		Phase: filter.Data, Session: &filter.Session{Client: netip.MustParseAddrPort("192.0.2.1:25"), Helo: "a\nb"},
		Transaction: &filter.Transaction{ID: "mx-1", From: from, Recipients: []mail.Address{from}}, Content: content(),
	}
	in.Transaction.Record(auth.SPF.Of(auth.SPFResult{Result: auth.Pass}), auth.DKIM.Of([]auth.DKIMResult{{Domain: "b.example", Result: auth.Fail}}), auth.DMARC.Of(auth.DMARCResult{Result: auth.None}))
	return in
}

func newCheck(t *testing.T, change func(*config)) *check {
	t.Helper()
	_, f, err := NewFactory().New(filter.Env{Name: "http", Hostname: "mx.example.org", Log: slog.New(slog.DiscardHandler)}, func(v any) error {
		c := v.(*config)
		c.Servers, c.Symbols = []string{"127.0.0.1:1"}, map[string]float64{"OWN": 2}
		if change != nil {
			change(c)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return f.(*check)
}

// shown writes a result for comparison.
func shown(r filter.Result) string {
	var b strings.Builder
	b.WriteString(r.Propose.String())
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "; %s %g %.20s", f.Symbol, f.Strength, f.Detail)
	}
	for _, e := range r.Edits {
		j, _ := json.Marshal(e)
		fmt.Fprintf(&b, "; %s", j)
	}
	if r.Reply != nil {
		fmt.Fprintf(&b, "; %s", r.Reply)
	}
	if r.Rebuild {
		b.WriteString("; rebuild")
	}
	return b.String()
}

func TestAnswers(t *testing.T) {
	for _, c := range []struct{ name, edits, answer, want string }{ // want "": an error
		{"nothing", "", `{}`, "continue"},
		{"findings", "", `{"findings":[{"symbol":"OWN","strength":1.5,"detail":"x"},{"symbol":"HTTP_FILTER","strength":-1},{"detail":"a mention"}]}`, "continue; OWN 1.5 x; HTTP_FILTER -1 ;  0 a mention"},
		{"a finding without a strength", "", `{"findings":[{"symbol":"OWN","detail":"x"},{"symbol":"HTTP_FILTER"},{"symbol":"OWN","strength":null},{"symbol":"OWN","strength":0},{"strength":7}]}`, "continue; OWN 1 x; HTTP_FILTER 1 ; OWN 1 ; OWN 0 ;  0 "},
		{"reject", "", `{"propose":"reject"}`, "reject"},
		{"reject with a reply", "", `{"propose":"reject","reply":{"code":554,"text":"no\r\n250 ok"}}`, "reject; 554 5.7.1 no 250 ok"},
		{"defer with a reply", "", `{"propose":"defer","reply":{"code":451,"enhanced":"4.3.0","text":"later"}}`, "defer; 451 4.3.0 later"},
		{"quarantine", "", `{"propose":"quarantine"}`, "quarantine"},
		{
			"fields", "", `{"edits":[{"op":"add_field","name":"X-B","body":"c\n d"},{"op":"remove_field","index":1},{"op":"replace_field","index":0,"body":"y"}]}`,
			`continue; {"op":"add_field","name":"X-B","body":"c\r\n d"}; {"op":"remove_field","index":1}; {"op":"replace_field","index":0,"body":"y"}`,
		},
		{
			"parts", "all", `{"edits":[{"op":"remove_part","path":"2"},{"op":"remove_outside","path":"0"},{"op":"replace_part","path":"1","body":"ä\n"}],"rebuild":true}`,
			`continue; {"op":"remove_part","path":"2"}; {"op":"remove_outside","path":"0"}; {"op":"replace_part","path":"1","header":[{"name":"Content-Type","body":"text/plain; charset=utf-8"},{"name":"Content-Transfer-Encoding","body":"quoted-printable"}],"body":"=C3=A4\r\n"}; rebuild`,
		},
		{
			"a part with a header", "all", `{"edits":[{"op":"append_part","path":"1","header":[{"name":"Content-Type","body":"text/csv"},{"name":"Content-Transfer-Encoding","body":"base64"}],"body":"YQ=="}]}`,
			`continue; {"op":"append_part","path":"1","header":[{"name":"Content-Type","body":"text/csv"},{"name":"Content-Transfer-Encoding","body":"base64"}],"body":"YQ=="}`,
		},

		{"empty", "", ``, ""},
		{"null", "", `null`, ""},
		{"a list", "", `[]`, ""},
		{"a text", "", `"reject"`, ""},
		{"half", "", `{"propose":"reject"`, ""},
		{"two", "", `{} {"propose":"reject"}`, ""},
		{"unknown key", "", `{"proposes":"reject"}`, ""},
		{"facts", "", `{"facts":[]}`, ""},
		{"a key twice", "", `{"propose":"reject","propose":"continue"}`, ""},
		{"a key twice, in another case", "", `{"propose":"reject","PROPOSE":"continue"}`, ""},
		{"a key twice, within", "", `{"findings":[{"symbol":"OWN","strength":5,"Strength":0}]}`, ""},
		{"no number", "", `{"findings":[{"symbol":"OWN","strength":NaN}]}`, ""},
		{"a strength that no float holds", "", `{"findings":[{"symbol":"OWN","strength":1e400}]}`, ""},
		{"a great strength", "", `{"findings":[{"symbol":"OWN","strength":-1e308}]}`, ""},
		{"a strength that is a text", "", `{"findings":[{"symbol":"OWN","strength":"1"}]}`, ""},
		{"findings that are an object", "", `{"findings":{"symbol":"OWN"}}`, ""},
		{"a symbol with control characters", "", `{"findings":[{"symbol":"OWN\r\nX: y"}]}`, ""},
		{"many findings", "", `{"findings":[` + strings.Repeat(`{"detail":"x"},`, 100_000) + `{}]}`, ""},
		{"many edits", "", `{"edits":[` + strings.Repeat(`{"op":"add_field","name":"X","body":"y"},`, 50_000) + `{}]}`, ""},
		{"a negative index", "", `{"edits":[{"op":"remove_field","index":-1}]}`, ""},
		{"an index that is a fraction", "", `{"edits":[{"op":"remove_field","index":0.5}]}`, ""},
		{"deep", "", `{"findings":` + strings.Repeat("[", 1_000_000) + strings.Repeat("]", 1_000_000) + `}`, ""},
		{"unknown symbol", "", `{"findings":[{"symbol":"OTHER","strength":1}]}`, ""},
		{"strength", "", `{"findings":[{"symbol":"OWN","strength":1e9}]}`, ""},
		{"unknown action", "", `{"propose":"drop"}`, ""},
		{"reply of another class", "", `{"propose":"reject","reply":{"code":451,"text":"x"}}`, ""},
		{"positive reply", "", `{"propose":"continue","reply":{"code":250,"text":"x"}}`, ""},
		{"no such code", "", `{"propose":"reject","reply":{"code":599,"text":"x"}}`, ""},
		{"enhanced of another class", "", `{"propose":"reject","reply":{"code":550,"enhanced":"4.7.1","text":"x"}}`, ""},
		{"enhanced and more", "", `{"propose":"reject","reply":{"code":550,"enhanced":"5.7.1 x","text":"x"}}`, ""},
		{"no text", "", `{"propose":"reject","reply":{"code":550}}`, ""},
		{"unknown edit", "", `{"edits":[{"op":"delete_all"}]}`, ""},
		{"edits where there are none", "none", `{"edits":[{"op":"remove_field","index":1}]}`, ""},
		{"parts where there are fields", "fields", `{"edits":[{"op":"remove_part","path":"2"}]}`, ""},
		{"rebuild where there are fields", "fields", `{"rebuild":true}`, ""},
		{"no such field", "", `{"edits":[{"op":"remove_field","index":4}]}`, ""},
		{"no index", "", `{"edits":[{"op":"remove_field"}]}`, ""},
		{"structure", "", `{"edits":[{"op":"remove_field","index":3}]}`, ""},
		{"structure added", "", `{"edits":[{"op":"add_field","name":"content-type","body":"text/html"}]}`, ""},
		{"a field of its own", "", `{"edits":[{"op":"add_field","name":"X","body":"a\nBcc: b"}]}`, ""},
		{"no such part", "all", `{"edits":[{"op":"remove_part","path":"7"}]}`, ""},
		{"a delimiter", "all", `{"edits":[{"op":"replace_part","path":"1","header":[{"name":"Content-Transfer-Encoding","body":"7bit"}],"body":"a\n--b--\n"}]}`, ""},
		{"a field of a part", "all", `{"edits":[{"op":"replace_part","path":"1","header":[{"name":"Subject","body":"x"}],"body":"a"}]}`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newCheck(t, func(cfg *config) {
				if c.edits != "" {
					cfg.Edits = c.edits
				}
			})
			r, err := k.parse([]byte(c.answer), content())
			if c.want == "" && err == nil || c.want != "" && (err != nil || shown(r) != c.want) {
				t.Errorf("got  %s, %v\nwant %s", shown(r), err, c.want)
			}
		})
	}
}

// TestQuestion: the program gets a line of JSON, the message as it is, and the token.
func TestQuestion(t *testing.T) {
	var line, rest, bearer, path string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b := bufio.NewReader(r.Body)
		line, _ = b.ReadString('\n')
		all, _ := io.ReadAll(b)
		rest, bearer, path = string(all), r.Header.Get("Authorization"), r.URL.String()
		_, _ = io.WriteString(w, `{"propose":"tag"}`)
	}))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "t")
	if err := os.WriteFile(file, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	k := newCheck(t, func(c *config) { c.Servers, c.TokenFile = []string{server.URL + "/own?x=y"}, file })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := k.Check(ctx, input(t))
	if err != nil || r.Propose != filter.Tag {
		t.Fatalf("%v, %v", r, err)
	}
	want := `{"version":1,"gateway":"mx.example.org","id":"mx-1","listener":"","client":"192.0.2.1","ptr":"","helo":"a\nb","tls":"","user":"","relay":false,"from":"ä@b.example","to":["ä@b.example"],"size":` +
		fmt.Sprint(len(message)) + `,"spf":"pass","dkim":[{"domain":"b.example","result":"fail"}],"dmarc":"none"}` + "\n"
	if line != want {
		t.Errorf("got  %s\nwant %s", line, want)
	}
	if rest != message || bearer != "Bearer secret" || path != "/own?x=y" {
		t.Errorf("got %q, %q, %q", rest, bearer, path)
	}
}

func TestConfig(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*config)
		want   string
	}{
		{"no servers", func(*config) {}, "at least one"},
		{"symbol", func(c *config) { c.Symbols = map[string]float64{"own": 1} }, "can't be a symbol"},
		{"taken", func(c *config) { c.Symbols = map[string]float64{"HTTP_FILTER": 1} }, "is taken"},
		{"weight", func(c *config) { c.Symbols = map[string]float64{"OWN": 1e9} }, "a weight from"},
		{"token", func(c *config) { c.TokenFile = "/nonexistent" }, "token_file"},
		{"ca", func(c *config) { c.CAFile = "/nonexistent" }, "ca_file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := NewFactory().New(filter.Env{Log: slog.New(slog.DiscardHandler)}, func(v any) error { c.change(v.(*config)); return nil })
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// FuzzAnswer reads answers: what is taken holds to the symbols, its reply fits its action, and its edits can be carried out.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{
		`{}`, `null`, `{"findings":[{"symbol":"OWN","strength":1.5,"detail":"x"}],"propose":"reject","reply":{"code":550,"enhanced":"5.7.1","text":"x"}}`,
		`{"edits":[{"op":"add_field","name":"X-B","body":"c\n d"},{"op":"remove_field","index":1},{"op":"replace_part","path":"1","body":"a"},{"op":"append_part","path":"0","header":[{"name":"Content-Type","body":"text/html"}],"body":"b"}],"rebuild":true}`,
	} {
		f.Add([]byte(s))
	}
	k := &check{config: config{Edits: editsAll}, symbols: []filter.Symbol{{Name: "OWN"}}}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := k.parse(b, content())
		if err != nil {
			return
		}
		if r.Reply != nil && (r.Propose == filter.Reject) != r.Reply.Permanent() {
			t.Errorf("%s: %v", r.Propose, r.Reply)
		}
		for _, x := range r.Findings {
			if x.Symbol != "" && x.Symbol != "OWN" {
				t.Errorf("symbol %q", x.Symbol)
			}
		}
		if _, err := mail.Rewrite(content(), r.Edits, r.Rebuild); err != nil {
			t.Errorf("%v", err)
		}
	})
}
