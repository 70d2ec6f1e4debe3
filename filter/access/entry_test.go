package access

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/internal/lines"
)

// TestBadEntries: what is wrong is told with the place and with what may stand there.
func TestBadEntries(t *testing.T) {
	const proofs = "allowed: proof=dkim, spf, network:NETWORK, certificate:NAME, certificate:sha256:HEX"
	const what = "allowed: score, spf, dkim, dmarc, rules, access, attachments/executable, attachments/script"
	tail := " waive=score until=never"
	for _, c := range []struct{ name, allow, block, want string }{
		{"no proof", "example.com waive=score until=never", "", "allow:2: example.com has no proof, and anybody can claim to be it; " + proofs},
		{"empty proof", "example.com proof= waive=score until=never", "", "proof= has no value"},
		{"unknown proof", "example.com proof=arc" + tail, "", "proof=arc is unknown; " + proofs},
		{"one of them unknown", "example.com proof=dkim,iprev" + tail, "", "proof=iprev is unknown; " + proofs},
		{"the bare word", "example.com proof=network" + tail, "", "proof=network is unknown; " + proofs},
		{"dkim of something", "example.com proof=dkim:evil.example" + tail, "", "proof=dkim:evil.example is unknown; " + proofs},
		{"no network", "example.com proof=network:example.com" + tail, "", `"example.com" is no network; allowed: 192.0.2.0/24, `},
		{"everybody", "example.com proof=network:0.0.0.0/0" + tail, "", "0.0.0.0/0 is every address"},
		{"half of everybody", "example.com proof=network:128.0.0.0/1" + tail, "", "the network 128.0.0.0/1 is too wide"},
		{"half of everybody, v6", "example.com proof=network:8000::/1" + tail, "", "the network 8000::/1 is too wide"},
		{"stray bits", "example.com proof=network:192.0.2.1/24" + tail, "", "192.0.2.1/24 has bits beyond the network 192.0.2.0/24"},
		{"mapped network", "example.com proof=network:::ffff:192.0.2.0/120" + tail, "", "is no network"},
		{"short fingerprint", "example.com proof=certificate:sha256:abcd" + tail, "", "a SHA-256 has 64 hex digits"},
		{"odd certificate name", "example.com proof=certificate:*.example.com" + tail, "", "proof=certificate:*.example.com: mail: domain"},
		{"no domain", "* proof=dkim" + tail, "", "* is every domain, which dkim and spf prove nothing of"},
		{"no domain, by one of them", "* proof=network:192.0.2.1,spf" + tail, "", "* is every domain"},
		{"address", "ann@example.com proof=dkim" + tail, "", `"ann@example.com": an allow entry names a domain`},
		{"top level", "com proof=dkim" + tail, "", `"com" is a top-level domain`},
		{"below top level", "*.com proof=dkim" + tail, "", `"*.com" is a top-level domain`},
		{"wildcard within", "mail.*.example proof=dkim" + tail, "", `only "*." at the beginning`},
		{"malformed domain", "exa..mple.com proof=dkim" + tail, "", `"exa..mple.com": mail: domain`},
		{"empty name", "example.com,, proof=dkim" + tail, "", `"": mail: domain`},
		{"waives nothing", "example.com proof=dkim until=never", "", "example.com waives nothing; allowed: waive=score, spf, "},
		{"waives all", "example.com proof=dkim waive=* until=never", "", "waive=* is unknown; " + what},
		{"waives attachments", "example.com proof=dkim waive=attachments until=never", "", "waive=attachments is unknown; " + what},
		{"waives attachments by their name", "example.com proof=dkim waive=files until=never", "", "waive=files is unknown; " + what},
		{"waives all classes", "example.com proof=dkim waive=attachments/* until=never", "", "waive=attachments/* is unknown; " + what},
		{"waives no class", "example.com proof=dkim waive=attachments/malware until=never", "", "waive=attachments/malware is unknown; " + what},
		{"waives in capitals", "example.com proof=dkim waive=SCORE until=never", "", "waive=SCORE is unknown; " + what},
		{"no end", "example.com proof=dkim waive=score", "", "example.com has no end; allowed: until=YYYY-MM-DD, the last day, or until=never"},
		{"odd end", "example.com proof=dkim waive=score until=31.1.2027", "", "until=31.1.2027 is no day"},
		{"no such day", "example.com proof=dkim waive=score until=2027-02-29", "", "until=2027-02-29 is no day"},
		{"unknown key", "example.com proof=dkim waive=score until=never note=x", "", `"note=x" is unknown here; allowed: proof=, waive=, until=`},
		{"no key", "example.com dkim", "", `"dkim" is unknown here`},
		{"blanks in a list", "example.com proof=dkim, spf waive=score until=never", "", `"spf" is unknown here`},
		{"twice", "example.com proof=dkim proof=spf waive=score until=never", "", "proof= stands twice"},

		{"unknown action", "", "example.com action=defer", "block:2: action=defer is unknown; allowed: reject, quarantine, or score=N in its place"},
		{"both", "", "example.com action=reject score=3", "action= and score= exclude each other"},
		{"no score", "", "example.com score=many", "score=many is no score; allowed: above 0, up to 1000"},
		{"no number", "", "example.com score=NaN", "score=NaN is no score"},
		{"score below", "", "example.com score=-3", "score=-3 is no score"},
		{"no such network", "", "192.0.2.300", `"192.0.2.300" is no network`},
		{"every client", "", "::/0", "::/0 is every address"},
		{"no such domain", "", "exa mple.com", `"mple.com" is unknown here; allowed: action=, score=, until=`},
		{"a proof", "", "example.com proof=dkim", `"proof=dkim" is unknown here`},
		{"no address", "", "a b@c", `"b@c" is unknown here`},
		{"two @", "", "a@b@c", `"a@b@c": mail: domain`},
		{"no subject", "", "ex|ample", "allowed: a domain, *.domain, an address, a network, helo:NAME, helo:*.NAME"},
		{"no name", "", "helo:", "mail: domain"},
		{"long line", "", strings.Repeat("x", lines.MaxLine+1), "block:2: line longer than 4096 octets"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			var cfg config
			if c.allow != "" {
				(*listFiles)(&cfg.Allow).write(t, filepath.Join(dir, "allow"), []byte("# one\n"+c.allow+"\n"))
			} else {
				(*listFiles)(&cfg.Block).write(t, filepath.Join(dir, "block"), []byte("# one\n"+c.block+"\n"))
			}
			_, _, err := Factory.New(environment(), func(v any) error { *v.(*config) = cfg; return nil })
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "access: "+dir) || !strings.Contains(err.Error(), ":2: ") {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

// TestGoodEntries: what may stand in a list.
func TestGoodEntries(t *testing.T) {
	for _, text := range []string{
		"example.com proof=dkim waive=score until=never",
		"Example.COM.,*.example.com,bücher.example proof=dkim,spf waive=score,dmarc until=2027-06-30 # ann",
		"* proof=network:192.0.2.1,network:10.0.0.0/8,network:2001:db8::/32,certificate:mx.example.com waive=access until=never",
		"example.com\tproof=certificate:sha256:" + strings.Repeat("AB:", 31) + "AB waive=attachments/executable until=2020-01-01",
	} {
		if _, err := parseAllow("allow", strings.NewReader(text), waivable(environment())); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, text := range []string{
		"example.com", "*.com", "a@example.com,192.0.2.0/24,2001:db8::1,::ffff:192.0.2.1,helo:friend,helo:*.x.example action=quarantine until=2027-01-01",
		"example.com score=0.5", "192.0.2.1 until=never",
	} {
		if _, err := parseBlock("block", strings.NewReader(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestConfiguration(t *testing.T) {
	for _, c := range []struct {
		name string
		cfg  config
		want string
	}{
		{"nothing", config{}, ""},
		{"missing file", config{Allow: paths{"/nonexistent/allow"}}, "access: open /nonexistent/allow: no such file"},
		{"bad entry", config{AllowEntries: []string{"# x", "example.com"}}, "access: allow_entries:2: example.com has no proof"},
		{"bad block entry", config{BlockEntries: []string{"@"}}, "access: block_entries:1: "},
		{"two lines", config{BlockEntries: []string{"a.example\nb.example"}}, "access: block_entries: an entry is one line"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := Factory.New(environment(), func(v any) error { *v.(*config) = c.cfg; return nil })
			if (err == nil) != (c.want == "") || err != nil && !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
		})
	}
	var p paths
	for _, c := range []struct {
		given any
		want  string
	}{
		{"a", "[a]"},
		{[]any{"a", "b"}, "[a b]"},
		{[]any{}, "[]"},
		{nil, "error"},
		{"", "error"},
		{5, "error"},
		{[]any{"a", 5}, "error"},
		{map[string]any{}, "error"},
	} {
		got := "error"
		if p.UnmarshalYAML(func(v any) error { *v.(*any) = c.given; return nil }) == nil {
			got = fmt.Sprint([]string(p))
		}
		if got != c.want {
			t.Errorf("%v: %s", c.given, got)
		}
	}
}

// TestSpec: the filter does not wait for what may wait for it, and nobody may waive attachments as a whole.
func TestSpec(t *testing.T) {
	spec, _, err := Factory.New(environment(), func(any) error { return nil })
	if err != nil || !slices.Equal(spec.Provides, []string{"waivers", "access_blocked"}) || !slices.Equal(spec.Wants, []string{"spf", "dkim"}) || spec.Needs != nil {
		t.Errorf("%+v, %v", spec, err)
	}
	names := waivable(filter.Env{Stages: []string{"attachments", "files", "spf"}, Kinds: []string{"attachments", "attachments", "spf"}})
	if slices.Contains(names, "attachments") || slices.Contains(names, "files") || !slices.Contains(names, "spf") {
		t.Error(names)
	}
}

// TestListChanges: a list is read again when it changed, and one that can't be used changes nothing. It runs in a
// bubble, whose clock stands at the year 2000.
func TestListChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "allow")
	synctest.Test(t, func(t *testing.T) {
		var told strings.Builder
		env := environment()
		env.Log = slog.New(slog.NewTextHandler(&told, nil))
		at := time.Now().Add(-time.Hour)
		write := func(text string) {
			t.Helper()
			at = at.Add(time.Minute)
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(path, at, at); err != nil {
				t.Fatal(err)
			}
		}
		entry := func(domain string) string { return domain + " proof=spf waive=score until=never\n" }
		write(entry("one.example"))
		_, f, err := Factory.New(env, func(v any) error { v.(*config).Allow = paths{path}; return nil })
		if err != nil {
			t.Fatal(err)
		}
		check := func(what, domain, log string) {
			t.Helper()
			time.Sleep(lines.CheckEvery)
			for _, d := range []string{"one.example", "two.example"} {
				res, err := f.Check(t.Context(), situation(t, "from a@"+d+"\nspf pass "+d))
				if err != nil {
					t.Fatal(err)
				}
				if let, _ := auth.Waivers.Among(res.Facts); (len(let) == 1) != (d == domain) {
					t.Errorf("%s: %s: %v", what, d, let)
				}
			}
			if !strings.Contains(told.String(), log) || log == "" && told.Len() > 0 {
				t.Errorf("%s: told %q", what, told.String())
			}
			told.Reset()
		}
		check("at first", "one.example", "")
		write(entry("two.example"))
		check("changed", "two.example", "")
		write("one.example proof=hearsay waive=score until=never\n")
		check("broken", "two.example", path+":1: proof=hearsay is unknown")
		check("still broken", "two.example", "")
		write("# all gone\n")
		check("empty", "two.example", "no entry in it, 1 are in force")
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		check("missing", "two.example", "no such file")
		write(entry("one.example"))
		check("mended", "one.example", "access list taken anew")
		write(entry("one.example") + "two.example proof=spf waive=score until=1999-12-31\n")
		check("with one that has expired", "one.example", "access entries have expired and do not count")
		write("one.example proof=spf waive=score until=never") // without an end, long ago
		check("no end", "one.example", "")
	})
}

func FuzzAllow(f *testing.F) {
	f.Add("example.com  proof=dkim,spf  waive=score,dmarc  until=2027-06-30  # ticket 4711, ann\n")
	f.Add("*.a.example,b.example proof=network:2001:db8::/32,certificate:sha256:" + strings.Repeat("ab", 32) + " waive=attachments/executable until=never\r\n")
	f.Add("\ufeff* proof=certificate:mx.bücher.example waive=score until=never")
	known := waivable(environment())
	f.Fuzz(func(t *testing.T, text string) {
		l, err := parseAllow("allow", strings.NewReader(text), known)
		if (l == nil) == (err == nil) {
			t.Fatalf("%v, %v", l, err)
		}
		if l == nil {
			return
		}
		for _, e := range l.entries {
			if len(e.names) == 0 || len(e.proofs) == 0 || len(e.waives) == 0 {
				t.Errorf("an entry without domain, proof or waiver: %+v", e)
			}
			for _, p := range e.names {
				if p.domain == "" && slices.ContainsFunc(e.proofs, func(p proof) bool { return p.kind == proofDKIM || p.kind == proofSPF }) {
					t.Errorf("everybody may sign: %+v", e)
				}
				if p.domain != "" && !strings.Contains(p.domain, ".") {
					t.Errorf("a top-level domain: %+v", e)
				}
			}
			for _, w := range e.waives {
				if w == "attachments" || w == "files" {
					t.Errorf("waives %s", w)
				}
			}
			for _, p := range e.proofs {
				if p.kind == proofNetwork && !p.network.IsValid() || p.kind == proofCertificate && p.name == "" && len(p.fingerprint) != 32 {
					t.Errorf("a proof of nothing: %+v", p)
				}
			}
		}
	})
}

func FuzzBlock(f *testing.F) {
	f.Add("a@b.example,*.c.example,192.0.2.0/24,::1,helo:friend,helo:[::1] action=quarantine until=2027-01-01 # why\n")
	f.Add("\ufeff*.zip score=3.5\r\n\"a b\"@x.example\n")
	f.Fuzz(func(t *testing.T, text string) {
		l, err := parseBlock("block", strings.NewReader(text))
		if (l == nil) == (err == nil) {
			t.Fatalf("%v, %v", l, err)
		}
		if l == nil {
			return
		}
		for _, e := range l.entries {
			if len(e.subjects)+len(e.networks) == 0 || (e.action == actionScore) != (e.score > 0) {
				t.Errorf("%+v", e)
			}
			for _, p := range e.networks {
				if !slices.Contains(l.ofClient(p.Addr()), e) {
					t.Errorf("%s is not found", p)
				}
			}
			for _, s := range e.subjects {
				if s == "" || strings.ContainsAny(s, " \t\r\n") && !strings.Contains(s, `"`) {
					t.Errorf("subject %q", s)
				}
			}
		}
	})
}

// BenchmarkBlock: one message against a hundred thousand entries.
func BenchmarkBlock(b *testing.B) {
	var text strings.Builder
	for i := range 50_000 {
		fmt.Fprintf(&text, "d%d.example\n10.%d.%d.0/24\n", i, i/250, i%250)
	}
	l, err := parseBlock("block", strings.NewReader(text.String()))
	if err != nil {
		b.Fatal(err)
	}
	c := &checker{now: time.Now, block: []func() *blockList{func() *blockList { return l }}}
	in := situation(b, "client 10.7.7.7\nfrom a@x.example\n")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Check(b.Context(), in); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkBlockList reads a list of a hundred thousand entries: networks, domains and mailboxes.
func BenchmarkBlockList(b *testing.B) {
	var text strings.Builder
	for i := range 100_000 {
		switch i % 3 {
		case 0:
			fmt.Fprintf(&text, "%d.%d.%d.%d\n", 1+i>>24, i>>16&255, i>>8&255, i&255)
		case 1:
			fmt.Fprintf(&text, "d%d.example.com action=reject\n", i)
		case 2:
			fmt.Fprintf(&text, "user%d@example.com score=3 until=2030-01-01 # note %d\n", i, i)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseBlock("block", strings.NewReader(text.String())); err != nil {
			b.Fatal(err)
		}
	}
}
