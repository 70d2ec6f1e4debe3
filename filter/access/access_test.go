package access

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/mail"
)

var update = flag.Bool("update", false, "write the results into testdata")

// today is when the cases happen.
var today = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// stages are those of the configuration.
func environment() filter.Env {
	return filter.Env{
		Name: "access", Log: slog.New(slog.DiscardHandler),
		Stages: []string{"spf", "dkim", "dmarc", "rules", "access", "files"},
		Kinds:  []string{"spf", "dkim", "dmarc", "rules", "access", "attachments"},
	}
}

func build(t testing.TB, cfg config) *checker {
	t.Helper()
	_, f, err := Factory.New(environment(), func(v any) error { *v.(*config) = cfg; return nil })
	if err != nil {
		t.Fatal(err)
	}
	c := f.(*checker)
	c.now = func() time.Time { return today }
	return c
}

// TestCases runs testdata/*.txtar. In each, "allow" and "block" are the lists. A case NAME is what is known of the
// session in NAME.env (see situation), a message NAME.eml unless there is only a mail phase, and what is found in each
// phase in NAME.out.
func TestCases(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(paths) < 4 {
		t.Fatalf("%d files of cases, %v", len(paths), err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			files := map[string]*txtar.File{}
			for i := range ar.Files {
				files[ar.Files[i].Name] = &ar.Files[i]
			}
			dir := t.TempDir()
			var cfg config
			for name, list := range map[string]*listFiles{"allow": (*listFiles)(&cfg.Allow), "block": (*listFiles)(&cfg.Block)} {
				if f := files[name]; f != nil {
					list.write(t, filepath.Join(dir, name), f.Data)
				}
			}
			c := build(t, cfg)
			for _, f := range ar.Files {
				name, is := strings.CutSuffix(f.Name, ".env")
				if !is {
					continue
				}
				out := files[name+".out"]
				if out == nil {
					t.Fatalf("%s has no .out", name)
				}
				t.Run(name, func(t *testing.T) {
					got := strings.ReplaceAll(run(t, c, string(f.Data), files[name+".eml"]), dir+string(filepath.Separator), "")
					if got != string(out.Data) && !*update {
						t.Errorf("got\n%swant\n%s", got, out.Data)
					}
					out.Data = []byte(got)
				})
			}
			if *update {
				if err := os.WriteFile(path, txtar.Format(ar), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

type listFiles []string

func (p *listFiles) write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	*p = append(*p, path)
}

// run runs the phases, and writes what came out.
func run(t *testing.T, c *checker, env string, message *txtar.File) string {
	t.Helper()
	in := situation(t, env)
	var b strings.Builder
	phase := func(name string) {
		res, err := c.Check(context.Background(), in)
		if err != nil {
			t.Fatal(err)
		}
		in.Transaction.Record(res.Facts...)
		for _, f := range res.Findings {
			fmt.Fprintf(&b, "%s: %s %g %s\n", name, f.Symbol, f.Strength, f.Detail)
		}
		let, _ := auth.Waivers.From(in)
		for _, w := range let {
			fmt.Fprintf(&b, "%s: %s waives %s\n", name, w, strings.Join(w.Waives, ", "))
		}
		if res.Propose != filter.Continue {
			fmt.Fprintf(&b, "%s: %s, held %v", name, res.Propose, res.Hold)
			if res.Reply != nil {
				fmt.Fprintf(&b, ": %s", res.Reply)
			}
			b.WriteString("\n")
		}
	}
	phase("mail")
	if message != nil {
		raw := strings.ReplaceAll(string(message.Data), "\n", "\r\n")
		in.Content = mail.NewContent(mail.NewBlob([]byte(raw)), mail.LineFaults{}, mail.Limits{})
		defer in.Content.Release()
		phase("data")
	}
	return b.String()
}

// situation reads what is known of a session, one thing a line:
//
//	client ADDRESS
//	helo NAME
//	from ADDRESS
//	spf RESULT DOMAIN [IDENTITY [TERM]]
//	dkim RESULT DOMAIN [testing|limited|added]
//	certificate NAME [verified]
//	relay, exempt
func situation(t testing.TB, text string) *filter.Input {
	t.Helper()
	s := &filter.Session{Helo: "client.example.net", Client: netip.MustParseAddrPort("192.0.2.1:2525")}
	tx := &filter.Transaction{ID: "t"}
	var signatures []auth.DKIMResult
	for line := range strings.Lines(text) {
		w := append(strings.Fields(line), "", "", "", "", "")
		switch w[0] {
		case "client":
			s.Client = netip.AddrPortFrom(netip.MustParseAddr(w[1]), 2525)
		case "helo":
			s.Helo = w[1]
		case "from":
			a, err := mail.ParseAddress(w[1])
			if err != nil {
				t.Fatal(err)
			}
			tx.From = a
		case "spf":
			identity := w[3]
			if identity == "" {
				identity = "mailfrom"
			}
			tx.Record(auth.SPF.Of(auth.SPFResult{Result: auth.Result(w[1]), Domain: w[2], Identity: identity, Mechanism: w[4]}))
		case "dkim":
			signatures = append(signatures, auth.DKIMResult{Result: auth.Result(w[1]), Domain: w[2], Testing: w[3] == "testing", Limited: w[3] == "limited"})
			if w[3] == "added" {
				signatures[len(signatures)-1].Added = []string{"subject"}
			}
			tx.Record(auth.DKIM.Of(signatures))
		case "certificate":
			cert := &x509.Certificate{Raw: []byte("certificate of " + w[1]), DNSNames: []string{w[1]}}
			s.TLS = &tls.ConnectionState{HandshakeComplete: true, PeerCertificates: []*x509.Certificate{cert}}
			if w[2] == "verified" {
				s.TLS.VerifiedChains = [][]*x509.Certificate{{cert}}
			}
		case "relay":
			s.Relay = true
		case "exempt":
			s.Exempt = true
		default:
			t.Fatalf("%q is unknown", line)
		}
	}
	return &filter.Input{Session: s, Transaction: tx}
}

// TestFingerprint: a certificate that no authority vouches for is as good as any, where it is named itself.
func TestFingerprint(t *testing.T) {
	sum := fmt.Sprintf("%x", sha256.Sum256([]byte("certificate of mx.partner.example")))
	entry := "partner.example proof=certificate:sha256:" + sum + " waive=score until=never"
	for _, c := range []struct {
		name, env string
		want      int
	}{
		{"this one", "from a@partner.example\ncertificate mx.partner.example", 1},
		{"another", "from a@partner.example\ncertificate mx.other.example verified", 0},
		{"none", "from a@partner.example", 0},
		{"another domain", "from a@other.example\ncertificate mx.partner.example", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			res, err := build(t, config{AllowEntries: []string{entry}}).Check(t.Context(), situation(t, c.env))
			if err != nil {
				t.Fatal(err)
			}
			if let, _ := auth.Waivers.Among(res.Facts); len(let) != c.want {
				t.Errorf("%v", let)
			}
		})
	}
	in := situation(t, "from a@partner.example\ncertificate mx.partner.example")
	in.Session.TLS.HandshakeComplete = false
	res, _ := build(t, config{AllowEntries: []string{entry}}).Check(t.Context(), in)
	if let, _ := auth.Waivers.Among(res.Facts); len(let) != 0 {
		t.Error("before the handshake was finished")
	}
}

// TestEveryListCounts: several files and the entries of the configuration count together.
func TestEveryListCounts(t *testing.T) {
	dir := t.TempDir()
	var cfg config
	for _, name := range []string{"one", "two"} {
		(*listFiles)(&cfg.Allow).write(t, filepath.Join(dir, name), []byte(name+".example proof=spf waive=score until=never\n"))
		(*listFiles)(&cfg.Block).write(t, filepath.Join(dir, name+".block"), []byte(name+".example score=1\n"))
	}
	cfg.AllowEntries = []string{"# why", "", "three.example proof=spf waive=score until=never"}
	cfg.BlockEntries = []string{"three.example score=1"}
	c := build(t, cfg)
	for domain, want := range map[string]string{
		"one.example": filepath.Join(dir, "one") + ":1", "two.example": filepath.Join(dir, "two") + ":1",
		"three.example": "allow_entries:3", "four.example": "",
	} {
		res, err := c.Check(t.Context(), situation(t, "from a@"+domain+"\nspf pass "+domain))
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if let, _ := auth.Waivers.Among(res.Facts); len(let) == 1 {
			got = let[0].Entry
		}
		if got != want || (len(res.Findings) == 1) != (want != "") {
			t.Errorf("%s: %q, %v", domain, got, res.Findings)
		}
	}
}

func TestNoTransaction(t *testing.T) {
	if _, err := build(t, config{}).Check(t.Context(), &filter.Input{Session: &filter.Session{}}); err == nil {
		t.Error("no error")
	}
}

// TestBlockedInEachPhase: what the mail phase has reported the data phase does not say again; what it has not, since its
// list was another one, the data phase blocks, be it the client.
func TestBlockedInEachPhase(t *testing.T) {
	list := func(entries ...string) *checker { return build(t, config{BlockEntries: entries}) }
	for _, c := range []struct {
		name     string
		mail     *checker // nil: the filter was not there, or could not tell
		data     *checker
		want     filter.Action
		findings int
	}{
		{"the same list", list("192.0.2.0/24"), list("192.0.2.0/24"), filter.Continue, 0},
		{"another list", list("198.51.100.0/24"), list("192.0.2.0/24"), filter.Reject, 1},
		{"an entry more", list("192.0.2.0/24"), list("192.0.2.0/24", "bad.example"), filter.Reject, 1},
		{"no list in the mail phase", nil, list("bad.example"), filter.Reject, 1},
		{"nothing fits", nil, list("good.example"), filter.Continue, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			from, err := mail.ParseAddress("x@bad.example")
			if err != nil {
				t.Fatal(err)
			}
			in := &filter.Input{
				Session:     &filter.Session{Client: netip.MustParseAddrPort("192.0.2.1:25")},
				Transaction: &filter.Transaction{From: from},
			}
			if c.mail != nil {
				got, err := c.mail.Check(t.Context(), in)
				if err != nil {
					t.Fatal(err)
				}
				in.Transaction.Record(got.Facts...)
			}
			in.Content = mail.NewContent(mail.NewBlob([]byte("From: y@other.example\r\n\r\nx\r\n")), mail.LineFaults{}, mail.Limits{})
			defer in.Content.Release()
			got, err := c.data.Check(t.Context(), in)
			if err != nil || got.Propose != c.want || len(got.Findings) != c.findings {
				t.Errorf("got %s, %+v, %v; want %s", got.Propose, got.Findings, err, c.want)
			}
		})
	}
}
