package rules

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/mail/mailtest"
	"github.com/postern-mail/postern/rules"
)

// build makes the filter of a configuration, and of a file of rules where one is given.
func build(t *testing.T, cfg Config, file string) (filter.Spec, filter.Filter, *strings.Builder, error) {
	t.Helper()
	if file != "" {
		path := filepath.Join(t.TempDir(), "a.cf")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg.Files = append(cfg.Files, path)
	}
	var log strings.Builder
	env := filter.Env{Name: "rules", Hostname: "mx.example.org", Log: slog.New(slog.NewTextHandler(&log, nil))}
	spec, f, err := Factory.New(env, func(v any) error {
		*v.(*Config) = cfg
		return nil
	})
	return spec, f, &log, err
}

func run(t *testing.T, f filter.Filter, message string) filter.Result {
	t.Helper()
	c := mail.NewContent(mail.NewBlob([]byte(strings.ReplaceAll(message, "\n", "\r\n"))), mail.LineFaults{}, mail.Limits{})
	defer c.Release()
	in := &filter.Input{
		Phase: filter.Data, Content: c, Transaction: &filter.Transaction{ID: "mx-1"},
		Session: &filter.Session{Client: netip.MustParseAddrPort("192.0.2.1:25"), Helo: "a.example"},
	}
	r, err := f.Check(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestFindings(t *testing.T) {
	spec, f, _, err := build(t, Config{Scores: "local"}, "body A /b+c/\ndescribe A Some letters\nscore A 2.5\nbody __B /a/\nmeta C A && __B\nscore C -1\nbody mixed /b/\nbody MISSING_DATE /c/\nbody OFF /a/\nscore OFF 0\ntflags A multiple\nheader LONG Subject =~ /"+strings.Repeat("x?", 60)+"/\n")
	if err != nil {
		t.Fatal(err)
	}
	r := run(t, f, "Subject: x\n\nabbbc bc\n")
	var got []string
	for _, x := range r.Findings {
		i := slices.IndexFunc(spec.Symbols, func(s filter.Symbol) bool { return s.Name == x.Symbol })
		if i < 0 {
			t.Fatalf("%s is not declared", x.Symbol)
		}
		got = append(got, fmt.Sprintf("%s %g*%g %s", x.Symbol, spec.Symbols[i].Weight, x.Strength, x.Detail))
	}
	want := []string{"A 2.5*2 Some letters: bbbc (2 times, each counts)", "C -1*1 A && __B: bbbc ... a", "MIXED 1*1 /b/: b", "SA_MISSING_DATE 1*1 /c/: c", "LONG 1*1 Subject =~ /" + strings.Repeat("x?", 34) + "…: x"}
	if !slices.Equal(got, want) {
		t.Errorf("findings %q", got)
	}
	hits, _ := auth.RuleHits.Among(r.Facts)
	if want := []auth.RuleHit{{Name: "A", Score: 5, Count: 2}, {Name: "__B", Count: 1}, {Name: "C", Score: -1, Count: 1}, {Name: "mixed", Score: 1, Count: 1}, {Name: "MISSING_DATE", Score: 1, Count: 1}, {Name: "LONG", Score: 1, Count: 1}}; !slices.Equal(hits, want) {
		t.Errorf("facts %v", hits)
	}
	sum := auth.Tally{Points: 7, Header: 1, Body: 6, Score: 7}
	if said, _ := auth.RulesTeach.Among(r.Facts); said != (auth.Teaching{Stage: "rules", Least: sum, Most: sum}) {
		t.Errorf("facts %+v", said)
	}
}

func TestWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		name string
		cfg  Config
		file string
		why  string
	}{
		{"no such file", Config{Scores: "local", Files: []string{"/nowhere/a.cf"}}, "", "no such file"},
		{"no such files", Config{Scores: "local", Files: []string{"/nowhere/*.cf"}}, "", "means no file"},
		{"no set of scores", Config{Scores: "all"}, "", "allowed: local"},
		{"no network", Config{Scores: "local", Trusted: []string{"a"}}, "", "trusted"},
		{"bits beyond", Config{Scores: "local", Internal: []string{"10.0.0.1/8"}}, "", "10.0.0.0/8"},
		{"an executive without an address", Config{Scores: "local"}, "body A /a/\npostern_executive Jane Doe\n", "a.cf:2: postern_executive: "},
		{"an executive without a name", Config{Scores: "local"}, "postern_executive <jane@example.org>\n", "it needs a name and an address"},
		{"a domain that is none", Config{Scores: "local"}, "postern_domains example.org exa..mple\n", "a.cf:1: postern_domains: "},
		{"a protected domain that is none", Config{Scores: "local"}, "postern_protected *\n", "is no domain"},
		{"an executive with half an address", Config{Scores: "local"}, "postern_executive Jane Doe <jane>\n", `a.cf:1: postern_executive: "jane" is no address`},
		{"one of two addresses", Config{Scores: "local"}, "postern_executive Jane Doe <jane@example.org>, <jane@>\n", "a.cf:1: postern_executive: "},
		{"a domain in two words", Config{Scores: "local"}, "postern_domains ex ample.org\n", `a.cf:1: postern_domains: "ex" is no domain`},
		{"a label alone", Config{Scores: "local"}, "postern_protected example\n", "a.cf:1: postern_protected: "},
		{"an address for a domain", Config{Scores: "local"}, "postern_domains 192.0.2.1\n", "a.cf:1: postern_domains: "},
		{"a hyphen before a label", Config{Scores: "local"}, "postern_domains example.org -bad-.org\n", "a.cf:1: postern_domains: "},
		{"a label with an underscore", Config{Scores: "local"}, "postern_domains not_a.example.org\n", "a.cf:1: postern_domains: "},
		{"no domain", Config{Scores: "local"}, "postern_domains\n", "a.cf:1: postern_domains: no domain is named"},
		{"no protected domain", Config{Scores: "local"}, "postern_protected   # none yet\n", "no domain is named"},
		{"executives misspelled", Config{Scores: "local"}, "postern_executives Jane Doe <jane@example.org>\n", "a.cf:1: "},
		{"an executive behind many other faults", Config{Scores: "local"}, strings.Repeat("wombat\n", 10_100) + "postern_executive x\n", "a.cf:10101: "},
	} {
		if _, _, _, err := build(t, c.cfg, c.file); err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestOffOfFiles: a rule that off names, or who asks for a plugin, may go from files, as with an update of theirs; the gateway is to start
// then, and say so.
func TestOffOfFiles(t *testing.T) {
	_, f, log, err := build(t, Config{Scores: "local", Off: []string{"A", "GONE_AWAI"}, Plugins: []string{"Mine"}}, "body A /a/\nbody GONE_AWAY /a/\n")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), `no rule is called \"GONE_AWAI\"; did you mean GONE_AWAY?`) || strings.Count(log.String(), "no rule is called") != 1 ||
		!strings.Contains(log.String(), `\"Mine\" is no plugin`) {
		t.Errorf("log: %s", log)
	}
	if r := run(t, f, "Subject: x\n\na\n"); len(r.Findings) != 1 || r.Findings[0].Symbol != "GONE_AWAY" {
		t.Errorf("findings %v", r.Findings)
	}
}

// TestBrokenLines: a line that is wrong is told in the log, and the rest runs.
func TestBrokenLines(t *testing.T) {
	_, f, log, err := build(t, Config{Scores: "local"}, "body A /a/\nbody B /(/\nwombat\n")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(log.String(), "was not taken"); n != 2 || !strings.Contains(log.String(), "a.cf:2") || strings.Count(log.String(), "rule=B") != 1 {
		t.Errorf("log: %s", log)
	}
	if r := run(t, f, "Subject: x\n\na\n"); len(r.Findings) != 1 {
		t.Errorf("findings %v", r.Findings)
	}
}

func TestTheSameRulesAreLoadedOnce(t *testing.T) {
	cfg := Defaults()
	a, err := cfg.Load()
	if err != nil {
		t.Fatal(err)
	}
	b, err := cfg.Load()
	if err != nil || a != b {
		t.Errorf("loaded twice: %v", err)
	}
	cfg.Off = []string{"A*"}
	if b, err = cfg.Load(); err != nil || a == b {
		t.Errorf("other options, the same set: %v", err)
	}
}

// TestNewestHop: the client is the newest relay, and one that may relay is ours.
func TestNewestHop(t *testing.T) {
	_, f, _, err := build(t, Config{Scores: "local"}, "header A X-Spam-Relays-External =~ /^\\[ ip=192\\.0\\.2\\.1 .* helo=a\\.example /\nheader B X-Spam-Relays-Trusted =~ /ip=192\\.0\\.2\\.1 /\n")
	if err != nil {
		t.Fatal(err)
	}
	for relay, want := range map[bool]string{false: "A", true: "B"} {
		c := mail.NewContent(mail.NewBlob([]byte("Subject: x\r\n\r\nx\r\n")), mail.LineFaults{}, mail.Limits{})
		r, err := f.Check(t.Context(), &filter.Input{
			Phase: filter.Data, Content: c, Transaction: &filter.Transaction{},
			Session: &filter.Session{Client: netip.MustParseAddrPort("192.0.2.1:25"), Helo: "a.example", Relay: relay},
		})
		c.Release()
		if err != nil || len(r.Findings) != 1 || r.Findings[0].Symbol != want {
			t.Errorf("relay %v: %v, %v", relay, r.Findings, err)
		}
	}
}

// TestNetworksOfFiles: files say whose Received fields are believed where the configuration does not, and the log tells what they say in vain.
func TestNetworksOfFiles(t *testing.T) {
	const file = "trusted_networks 192.0.2.0/24\ninternal_networks 192.0.2.9\nrequired_score 8\n" +
		"header A X-Spam-Relays-Trusted =~ /^\\[ ip=192\\.0\\.2\\.1 .* intl=0/\nheader B X-Spam-Relays-Untrusted =~ /./\n"
	for _, c := range []struct {
		cfg  Config
		want string
		told int
	}{
		{Config{Scores: "local"}, "A", 1},
		{Config{Scores: "local", Trusted: []string{"10.0.0.0/8"}}, "B", 3},
		{Config{Scores: "local", Internal: []string{"10.0.0.0/8"}}, "B", 3},
	} {
		_, f, log, err := build(t, c.cfg, file)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(log.String(), "does not act as in SpamAssassin"); n != c.told || !strings.Contains(log.String(), "required_score does nothing here") {
			t.Errorf("%+v: log: %s", c.cfg, log)
		}
		if r := run(t, f, "Subject: x\n\nx\n"); len(r.Findings) != 1 || r.Findings[0].Symbol != c.want {
			t.Errorf("%+v: %v", c.cfg, r.Findings)
		}
	}
}

// TestContentThatBreaksIsUnknown: what can't be read after the structure was is not found clean.
func TestContentThatBreaksIsUnknown(t *testing.T) {
	c := mailtest.BreakingContent(t, "Subject: x\r\nContent-Type: text/html\r\n\r\n<a href='http://a.com/'>x</a>\r\n")
	_, f, _, err := build(t, Config{Scores: "local"}, "body A /b/\n")
	if err != nil {
		t.Fatal(err)
	}
	if r, err := f.Check(t.Context(), &filter.Input{Phase: filter.Data, Content: c}); err == nil {
		t.Errorf("found %v", r.Findings)
	}
}

// TestWhatGaveUpCounts: a rule that could not tell counts as much as it may, within a bound, and a message on which the rules spend
// all that one may cost is not judged.
func TestWhatGaveUpCounts(t *testing.T) {
	const endless = `^(?:(\w+)\1?)+(?!;);`
	message := "Subject: x\n\n" + strings.Repeat("ab", 30) + ";\n"
	for _, c := range []struct {
		name, rules string
		want        float64
		detail      string
		least, most float64 // what it teaches
	}{
		{"one", "rawbody A /" + endless + "/\nscore A 2.5\n", 2.5, "not known whether these hit, which may count up to 2.5: A", 0, 2.5},
		{"more than may be", "rawbody A /" + endless + "/\nscore A 50\n", 5, "not known whether these hit, which may count up to 50: A", 0, 50},
		{"one that speaks for the message", "rawbody A /" + endless + "/\nscore A -2\n", 0, "not known whether these hit, which may count up to 0: A", -2, 0},
	} {
		_, f, _, err := build(t, Config{Scores: "local"}, c.rules)
		if err != nil {
			t.Fatal(err)
		}
		r := run(t, f, message)
		if len(r.Findings) != 1 || r.Findings[0] != (filter.Finding{Symbol: gaveUp, Strength: c.want, Detail: c.detail, Unknown: true}) {
			t.Errorf("%s: %v", c.name, r.Findings)
		}
		if n, _ := auth.RulesGaveUp.Among(r.Facts); n != 1 {
			t.Errorf("%s: %d gave up", c.name, n)
		}
		if said, _ := auth.RulesTeach.Among(r.Facts); said.Partial || said.Least.Points != c.least || said.Most.Points != c.most {
			t.Errorf("%s: it teaches %+v", c.name, said)
		}
	}
	var many strings.Builder
	for i := range 60 {
		fmt.Fprintf(&many, "rawbody R%d /^(?!x{%d})%s/\n", i, i+1, endless[1:])
	}
	_, f, _, err := build(t, Config{Scores: "local"}, many.String())
	if err != nil {
		t.Fatal(err)
	}
	c := mail.NewContent(mail.NewBlob([]byte(strings.ReplaceAll(message, "\n", "\r\n"))), mail.LineFaults{}, mail.Limits{})
	defer c.Release()
	if r, err := f.Check(t.Context(), &filter.Input{Phase: filter.Data, Content: c}); !errors.Is(err, ErrTooMuch) {
		t.Errorf("many: %v, %v", r.Findings, err)
	}
}

// mute is a resolver that knows nothing, for a reason.
type mute struct {
	filter.Resolver
	notFound bool
}

func (m mute) LookupIPAddr(context.Context, string) ([]net.IPAddr, error) {
	return nil, &net.DNSError{Err: "nothing", IsNotFound: m.notFound, IsTemporary: !m.notFound}
}

// TestListsThatDoNotAnswer: what a list would have said is not known, and is told.
func TestListsThatDoNotAnswer(t *testing.T) {
	_, f, _, err := build(t, Config{Scores: "network"}, "header A eval:check_rbl('s', 'bl.example')\nscore A 2\n")
	if err != nil {
		t.Fatal(err)
	}
	for _, there := range []bool{true, false} {
		f.(*check).dns = mute{notFound: there}
		r := run(t, f, "Subject: x\n\na\n")
		var want []filter.Finding
		most := 0.0
		if !there {
			most = 2
			want = []filter.Finding{{Symbol: listsUnknown, Strength: 1, Unknown: true, Detail: "not known whether these hit: A"}}
		}
		said, ok := auth.RulesTeach.Among(r.Facts)
		if !slices.Equal(r.Findings, want) || !ok || said.Partial || said.Least.Points != 0 || said.Most.Points != most {
			t.Errorf("%v: %v, teaches %+v", there, r.Findings, said)
		}
	}
}

// TestTextThatIsCut: what no rule has seen is told of.
func TestTextThatIsCut(t *testing.T) {
	_, f, _, err := build(t, Config{Scores: "local"}, "body A /here/\nrawbody B /here/\nscore A 1\n")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		words  int
		detail string
	}{{1000, ""}, {11_000, "not looked at whole: body"}, {110_000, "not looked at whole: body rawbody"}} {
		got := ""
		r := run(t, f, "Subject: x\n\n"+strings.Repeat("words\n", c.words))
		for _, x := range r.Findings {
			if x.Symbol == textCut && x.Unknown {
				got = x.Detail
			}
		}
		if got != c.detail {
			t.Errorf("%d words: %q", c.words, got)
		}
		if said, ok := auth.RulesTeach.Among(r.Facts); !ok || said.Partial == (got == "") {
			t.Errorf("%d words: it teaches %+v", c.words, said)
		}
	}
}

// TestLargeAttachments: a message that is large since it has a large attachment has hidden nothing from rules of the kind full, and they see
// what stands behind it.
func TestLargeAttachments(t *testing.T) {
	_, f, _, err := build(t, Config{Scores: "local"}, "full A /last words/\nscore A 1\n")
	if err != nil {
		t.Fatal(err)
	}
	r := run(t, f, "Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nfirst words\n--b\nContent-Type: application/pdf\n"+
		"Content-Transfer-Encoding: base64\n\n"+strings.Repeat(strings.Repeat("QUJD", 19)+"\n", 80_000)+"--b\n\nlast words\n--b--\n")
	if len(r.Findings) != 1 || r.Findings[0].Symbol != "A" {
		t.Errorf("found %v", r.Findings)
	}
}

// TestSymbolsGiveWay: rules of one symbol, and rules whose symbol another filter has, get one of their own and are told.
func TestSymbolsGiveWay(t *testing.T) {
	long := strings.Repeat("A", 70)
	path := filepath.Join(t.TempDir(), "a.cf")
	text := "body Ab /a/\nbody AB /b/\nbody aB /c/\nbody OTHER /d/\nbody SAME /e/\nbody " + long + "1 /f/\nbody " + long + "2 /g/\nbody rules_gave_up /h/\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	env := filter.Env{
		Name: "rules", Log: slog.New(slog.NewTextHandler(&log, nil)),
		Symbols: map[string]filter.Symbol{"OTHER": {Name: "OTHER", Weight: 2}, "SAME": {Name: "SAME", Weight: 1}},
	}
	cfg := Config{Scores: "local", Files: []string{path}}
	spec, f, err := Factory.New(env, func(v any) error {
		*v.(*Config) = cfg
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, x := range run(t, f, "Subject: x\n\nabcdefgh\n").Findings {
		got = append(got, x.Symbol)
	}
	want := []string{"AB", "SA_AB", "SA_AB_2", "SA_OTHER", "SAME", long[:64], "SA_" + long[:61], "SA_RULES_GAVE_UP"}
	if !slices.Equal(got, want) {
		t.Errorf("symbols %q", got)
	}
	seen := map[string]bool{}
	for _, s := range spec.Symbols {
		if seen[s.Name] {
			t.Errorf("%s is declared twice", s.Name)
		}
		seen[s.Name] = true
	}
	if n := strings.Count(log.String(), "is reported by another name"); n != 1 || !strings.Contains(log.String(), "symbol=SA_OTHER") {
		t.Errorf("log: %s", log.String())
	}
	l, err := cfg.Load()
	if err != nil || len(l.Problems) != 3 || l.Problems[0].Severity != rules.Inexact || !strings.Contains(l.Problems[0].What, "its symbol is SA_AB: the rule Ab at ") {
		t.Errorf("problems %v, %v", l.Problems, err)
	}
}

// TestOurOwnRelayIsTrusted: a client that may relay is one of ours, though the files exclude it.
func TestOurOwnRelayIsTrusted(t *testing.T) {
	_, f, _, err := build(t, Config{Scores: "local"}, "trusted_networks !192.0.2.1 192.0.2.0/24\n")
	if err != nil {
		t.Fatal(err)
	}
	in := &filter.Input{Session: &filter.Session{Client: netip.MustParseAddrPort("192.0.2.1:25"), Relay: true}}
	own, next := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	if o := f.(*check).options(in); !o.Trusted.Has(own) || !o.Internal.Has(own) || !o.Trusted.Has(next) {
		t.Errorf("%v, %v", o.Trusted, o.Internal)
	}
	if o := f.(*check).options(&filter.Input{}); o.Trusted.Has(own) {
		t.Errorf("%v", o.Trusted)
	}
}
