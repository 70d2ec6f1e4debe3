package heuristics

import (
	"context"
	"errors"
	"log/slog"
	"net"
	netmail "net/mail"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/internal/dns"
	"github.com/postern-mail/postern/internal/dns/zone"
	"github.com/postern-mail/postern/mail"
)

func build(t testing.TB, env filter.Env, cfg config) (filter.Spec, filter.Filter) {
	t.Helper()
	env.Name, env.Log = "heuristics", slog.New(slog.DiscardHandler)
	spec, f, err := Factory.New(env, func(v any) error { *v.(*config) = cfg; return nil })
	if err != nil {
		t.Fatal(err)
	}
	return spec, f
}

func TestConfiguration(t *testing.T) {
	decodeError := errors.New("unknown key")
	for name, c := range map[string]struct {
		decode func(*config) error
		want   string // in the error; "" for none
	}{
		"defaults":       {func(c *config) error { return nil }, ""},
		"score":          {func(c *config) error { c.SenderDomain = "score"; return nil }, ""},
		"known symbol":   {func(c *config) error { c.Off = []string{"HTML_ONLY"}; return nil }, ""},
		"unknown mode":   {func(c *config) error { c.SenderDomain = "maybe"; return nil }, "none of reject, score, off"},
		"unknown symbol": {func(c *config) error { c.Off = []string{"HTML"}; return nil }, `"HTML" is none of DATE_IN_FUTURE, `},
		"bad YAML":       {func(c *config) error { return decodeError }, "unknown key"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := Factory.New(filter.Env{}, func(v any) error { return c.decode(v.(*config)) })
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// TestBesideRules leaves to the rules what they look for, unless the configuration says what is off.
func TestBesideRules(t *testing.T) {
	content := mail.NewContent(mail.NewBlob([]byte("From: \"a@other.example\" <a@example.com>\r\nFrom: b@example.com\r\n\r\nx\r\n")), mail.LineFaults{}, mail.Limits{})
	defer content.Release()
	for name, c := range map[string]struct {
		kinds  []string
		change func(*config)
		want   string
	}{
		"without rules":            {[]string{"spf", "heuristics"}, func(*config) {}, "FROM_DISPLAY_ADDRESS MISSING_DATE MISSING_MESSAGE_ID MISSING_SUBJECT MULTIPLE_FROM NO_RECIPIENT_FIELD"},
		"with rules":               {[]string{"heuristics", "rules"}, func(*config) {}, "MULTIPLE_FROM"},
		"with rules, off: []":      {[]string{"heuristics", "rules"}, func(c *config) { c.Off = []string{} }, "FROM_DISPLAY_ADDRESS MISSING_DATE MISSING_MESSAGE_ID MISSING_SUBJECT MULTIPLE_FROM NO_RECIPIENT_FIELD"},
		"with rules, another list": {[]string{"heuristics", "rules"}, func(c *config) { c.Off = []string{multipleFrom} }, "FROM_DISPLAY_ADDRESS MISSING_DATE MISSING_MESSAGE_ID MISSING_SUBJECT NO_RECIPIENT_FIELD"},
	} {
		t.Run(name, func(t *testing.T) {
			_, f, err := Factory.New(filter.Env{Kinds: c.kinds}, func(v any) error { c.change(v.(*config)); return nil })
			if err != nil {
				t.Fatal(err)
			}
			res, err := f.Check(context.Background(), &filter.Input{Content: content, Session: &filter.Session{}, Transaction: &filter.Transaction{}})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, found := range res.Findings {
				got = append(got, found.Symbol)
			}
			slices.Sort(got)
			if strings.Join(got, " ") != c.want {
				t.Errorf("%s", got)
			}
		})
	}
}

// TestSymbols runs testdata/SYMBOL.txtar. In each, a case NAME is a message NAME.eml, or a mail phase without one, and
// its circumstances NAME.env (see circumstances; "env" is for those that have none of their own); "dns" is what is
// published. NAME begins with "hit" where the symbol must be found and with "miss" where it must not.
func TestSymbols(t *testing.T) {
	for _, s := range symbols {
		t.Run(s.Name, func(t *testing.T) {
			ar, err := txtar.ParseFile(filepath.Join("testdata", s.Name+".txtar"))
			if err != nil {
				t.Fatal(err)
			}
			files := map[string]string{}
			var cases []string
			for _, f := range ar.Files {
				files[f.Name] = string(f.Data)
				name := strings.TrimSuffix(strings.TrimSuffix(f.Name, ".eml"), ".env")
				if name != f.Name && !slices.Contains(cases, name) {
					cases = append(cases, name)
				}
			}
			hits, misses := 0, 0
			for _, name := range cases {
				hit := strings.HasPrefix(name, "hit")
				if hit {
					hits++
				} else {
					misses++
				}
				t.Run(name, func(t *testing.T) { runCase(t, files, name, s.Name, hit) })
			}
			if hits == 0 || misses == 0 {
				t.Errorf("%d cases that hit, %d that miss: want both", hits, misses)
			}
		})
	}
}

func runCase(t *testing.T, files map[string]string, name, symbol string, hit bool) {
	t.Helper()
	text, ok := files[name+".env"]
	if !ok {
		text = files["env"]
	}
	set := circumstances(t, text)
	env := filter.Env{Ours: func(d string) bool { return slices.Contains(strings.Fields(set["ours"]), d) }}
	if zones, ok := files["dns"]; ok {
		env.DNS = resolver(t, zones)
	}
	cfg := config{SenderDomain: senderReject, Off: strings.Fields(set["off"])}
	if set["sender_domain"] != "" {
		cfg.SenderDomain = set["sender_domain"]
	}
	spec, f := build(t, env, cfg)
	in := input(t, set)
	if message, ok := files[name+".eml"]; ok {
		in.Content = mail.NewContent(mail.NewBlob(canonical([]byte(message))), mail.LineFaults{}, mail.Limits{})
		defer in.Content.Release()
	}
	got, err := f.Check(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(got.Findings, func(x filter.Finding) bool { return x.Symbol == symbol })
	if (i >= 0) != hit {
		t.Fatalf("findings: %+v", got.Findings)
	}
	subject := ""
	if in.Content != nil {
		subject = mail.DecodeWords(in.Content.Header().Get("Subject"))
	}
	for _, x := range got.Findings {
		if x.Unknown != strings.HasSuffix(x.Symbol, "_TEMPERROR") {
			t.Errorf("%s: unknown %t", x.Symbol, x.Unknown)
		}
		weight(t, spec, x.Symbol)
		if subject != "" && strings.Contains(x.Detail, subject) {
			t.Errorf("%s shows the subject: %q", x.Symbol, x.Detail)
		}
	}
	if want := set["detail"]; hit && !strings.Contains(got.Findings[i].Detail, want) {
		t.Errorf("detail %q, want one with %q", got.Findings[i].Detail, want)
	}
	if want := set["strength"]; want != "" && want != fmtFloat(got.Findings[i].Strength) {
		t.Errorf("strength %v, want %s", got.Findings[i].Strength, want)
	}
	checkProposal(t, got, set["reply"])
}

func checkProposal(t *testing.T, got filter.Result, reply string) {
	t.Helper()
	switch {
	case reply == "" && (got.Propose != filter.Continue || got.Reply != nil || got.Hold):
		t.Errorf("proposes %s with %v", got.Propose, got.Reply)
	case reply != "" && (got.Propose != filter.Reject || got.Reply == nil || !got.Hold || !strings.HasPrefix(got.Reply.String(), reply)):
		t.Errorf("proposes %s with %v, held: %v; want %s, held", got.Propose, got.Reply, got.Hold, reply)
	}
}

// circumstances reads lines of `key: value`. Keys: from (reverse-path), relay, exempt, now (RFC 3339), ours (domains), spf and
// dkim (`result domain`, or none), sender_domain and off (the configuration), and what is expected of a hit: detail,
// strength, reply.
func circumstances(t *testing.T, text string) map[string]string {
	t.Helper()
	known := strings.Fields("from relay exempt now ours spf dkim sender_domain off detail strength reply")
	set := map[string]string{"now": "2026-11-02T12:00:00Z"}
	for line := range strings.Lines(text) {
		k, v, ok := strings.Cut(line, ":")
		if !ok || !slices.Contains(known, k) {
			t.Fatalf("circumstances: %q", line)
		}
		set[k] = strings.TrimSpace(v)
	}
	return set
}

func input(t *testing.T, set map[string]string) *filter.Input {
	t.Helper()
	now, err := time.Parse(time.RFC3339, set["now"])
	if err != nil {
		t.Fatal(err)
	}
	in := &filter.Input{
		Session:     &filter.Session{Relay: set["relay"] == "true", Exempt: set["exempt"] == "true"},
		Transaction: &filter.Transaction{Began: now},
	}
	if set["from"] != "" {
		if in.Transaction.From, err = mail.ParseAddress(set["from"]); err != nil {
			t.Fatal(err)
		}
	}
	if result, domain, _ := strings.Cut(set["spf"], " "); result != "" {
		in.Transaction.Record(auth.SPF.Of(auth.SPFResult{Result: auth.Result(result), Domain: domain}))
	}
	if result, domain, _ := strings.Cut(set["dkim"], " "); result == "none" {
		in.Transaction.Record(auth.DKIM.Of([]auth.DKIMResult{}))
	} else if result != "" {
		in.Transaction.Record(auth.DKIM.Of([]auth.DKIMResult{{Result: auth.Result(result), Domain: domain}}))
	}
	return in
}

func resolver(t *testing.T, zones string) filter.Resolver {
	t.Helper()
	s, err := zone.Serve(zones)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	r, err := dns.New([]netip.AddrPort{netip.MustParseAddrPort(s.Addr())})
	if err != nil {
		t.Fatal(err)
	}
	r.SetTimeout(time.Minute)
	if strings.Contains(zones, "SILENT") {
		r.SetTimeout(2 * time.Second) // also for those that answer
	}
	return r
}

func fmtFloat(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

// deafDNS answers nothing before the context ends.
type deafDNS struct{ filter.Resolver }

func (deafDNS) LookupMX(ctx context.Context, _ string) ([]*net.MX, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestSilentDomainIsItsOwnFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, f := build(t, filter.Env{DNS: deafDNS{}}, config{SenderDomain: senderReject})
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // as a stage has
		defer cancel()
		got, err := f.Check(ctx, input(t, circumstances(t, "from: a@mute.example")))
		if err != nil || len(got.Findings) != 1 || got.Findings[0].Symbol != senderTempError || !got.Findings[0].Unknown || got.Propose != filter.Continue {
			t.Errorf("got %+v, %v; want only %s", got, err, senderTempError)
		}
	})
}

func TestDeadContextIsAnError(t *testing.T) {
	_, f := build(t, filter.Env{DNS: deafDNS{}}, config{SenderDomain: senderReject})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	got, err := f.Check(ctx, input(t, circumstances(t, "from: a@mute.example")))
	if !errors.Is(err, context.Canceled) || len(got.Findings) > 0 || got.Propose != filter.Continue {
		t.Errorf("got %+v, %v; want only an error", got, err)
	}
}

func TestUnreadableContentIsAnError(t *testing.T) {
	g := mail.NewIngest(mail.IngestOptions{Memory: -1, Dir: t.TempDir()})
	if _, err := g.Write([]byte("From: a@example.org\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	blob, faults, err := g.Blob()
	if err != nil {
		t.Fatal(err)
	}
	in := input(t, circumstances(t, ""))
	in.Content = mail.NewContent(blob, faults, mail.Limits{})
	in.Content.Release()
	_, f := build(t, filter.Env{}, config{SenderDomain: senderReject})
	if got, err := f.Check(t.Context(), in); err == nil || len(got.Findings) > 0 {
		t.Errorf("got %+v, %v; want only an error", got, err)
	}
}

func TestCutHeaderLacksNothing(t *testing.T) {
	long := "Subject: x\r\n" + strings.Repeat("X-A: b\r\n", 3000) + "From: a@example.org\r\n\r\n"
	in := input(t, circumstances(t, ""))
	in.Content = mail.NewContent(mail.NewBlob([]byte(long)), mail.LineFaults{}, mail.Limits{})
	defer in.Content.Release()
	_, f := build(t, filter.Env{}, config{SenderDomain: senderReject})
	got, err := f.Check(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range got.Findings {
		if strings.HasPrefix(x.Symbol, "MISSING_") || x.Symbol == noRecipientField {
			t.Errorf("%s of a header that was not read to its end", x.Symbol)
		}
	}
}

// TestUsualDate: what the usual form reads, the parser of all forms reads alike.
func TestUsualDate(t *testing.T) {
	for _, s := range []string{
		"Sun, 01 Nov 2026 10:00:00 +0000", "Sun, 1 Nov 2026 10:00:00 -0730", "Mon, 01 Nov 2026 10:00:00 +0000", "sun, 01 nov 2026 10:00:00 +0000",
		"Sun, 01 Nov 2026 10:00:00 GMT", "Sun, 01 Nov 2026 10:00:00 +0000 (UTC)", "Sun, 01 Nov 26 10:00:00 +0000", "Sun, 01 Nov 2026 10:00:00.5 +0000",
		"Sun,  01  Nov 2026 10:00:00 +0000", "Sun, 31 Feb 2026 10:00:00 +0000", "Sun, 01 Nov 2026 10:00:60 +0000", "Sun, 01 Nov 2026 10:00:00 +9999",
		"Sun, 01 Nov 0000 10:00:00 +0000", "Sun, 01 Nov 2026 1:00:00 +0000", "",
	} {
		usual, err := time.Parse(usualDate, s)
		if err != nil {
			continue
		}
		if all, err := netmail.ParseDate(s); err != nil || !all.Equal(usual) {
			t.Errorf("%q: %s, of all forms %s, %v", s, usual, all, err)
		}
	}
}
