package name_test

import (
	"strings"
	"testing"

	"github.com/miekg/dns"
	"pgregory.net/rapid"

	"github.com/postern-mail/postern/internal/dns/name"
)

func TestCanonical(t *testing.T) {
	long := strings.Repeat("a", 63)
	for what, c := range map[string]struct {
		plain, want string
		ok          bool
	}{
		"plain":              {"example.org", "example.org", true},
		"final dot":          {"Example.ORG.", "example.org", true},
		"octets":             {"a b.\\x.\xc4.example", "a b.\\x.\xc4.example", true},
		"the root":           {".", "", true},
		"nothing":            {"", "", false},
		"empty label":        {"a..b", "", false},
		"empty first label":  {".a", "", false},
		"empty last label":   {"a..", "", false},
		"longest label":      {long + ".b", long + ".b", true},
		"label too long":     {long + "a.b", "", false},
		"longest name":       {strings.Join([]string{long, long, long, long[:61]}, "."), strings.Join([]string{long, long, long, long[:61]}, "."), true},
		"name too long":      {strings.Join([]string{long, long, long, long[:62]}, "."), "", false},
		"name of short ones": {strings.Repeat("a.", 128), "", false},
	} {
		t.Run(what, func(t *testing.T) {
			got, ok := name.Canonical(c.plain)
			if got != c.want || ok != c.ok {
				t.Errorf("got %q, %v; want %q, %v", got, ok, c.want, c.ok)
			}
		})
	}
}

func TestPlain(t *testing.T) {
	for _, c := range []struct {
		escaped, want string
		ok            bool
	}{
		{"example.org.", "example.org.", true},
		{`a\ b.org.`, "a b.org.", true},
		{`a\\.org.`, `a\.org.`, true},
		{`a\.b.org.`, "", false},
		{`a\\\.b.org.`, "", false},
		{`a\046b.org.`, "", false},
		{`\000\255.org.`, "\x00\xff.org.", true},
	} {
		got, ok := name.Plain(c.escaped)
		if ok != c.ok || ok && got != c.want {
			t.Errorf("%s: got %q, %v", c.escaped, got, ok)
		}
	}
}

// TestEscapeIsTheLibrarys: what the library reads off the wire is what Escape writes, so that texts can be compared.
func TestEscapeIsTheLibrarys(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		labels := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 1, 63), 1, 3).Draw(t, "labels")
		var texts []string
		for _, l := range labels {
			texts = append(texts, strings.ReplaceAll(string(l), ".", "-"))
		}
		plain, ok := name.Canonical(strings.Join(texts, "."))
		if !ok {
			t.Fatal("no name")
		}
		wire := make([]byte, 256)
		end, err := dns.PackDomainName(name.Escape(plain), wire, 0, nil, false)
		if err != nil {
			t.Fatal(err)
		}
		back, _, err := dns.UnpackDomainName(wire[:end], 0)
		if err != nil || back != name.Escape(plain) {
			t.Fatalf("%q: wrote %q, read %q, %v", plain, name.Escape(plain), back, err)
		}
		if got, ok := name.Plain(back); !ok || got != plain+"." {
			t.Fatalf("%q came back as %q, %v", plain, got, ok)
		}
	})
}
