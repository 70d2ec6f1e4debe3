package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/postern-mail/postern/internal/peertest"
	"github.com/postern-mail/postern/mail"
)

var update = flag.Bool("update", false, "write the expected texts anew")

// kinds are the filters of the program that these tests pretend to be.
var kinds = []string{"spf", "dkim", "dmarc", "attachments", "heuristics"}

func load(t *testing.T, name string) *Config {
	t.Helper()
	c, err := Load(filepath.Join("testdata", "good", name), kinds)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// asData gives what a configuration says, without where it says it.
func asData(c *Config) string { return string(c.Show()) }

func TestGood(t *testing.T) {
	files, err := filepath.Glob("testdata/good/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no files", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			c := load(t, filepath.Base(file))
			if c.State.Directory == "postern-state" {
				c.State.Directory = "/var/lib/postern" // the default depends on who runs the test
			}
			shown := c.Show()
			golden := strings.TrimSuffix(file, ".yaml") + ".shown"
			if *update {
				if err := os.WriteFile(golden, shown, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(shown)); diff != "" {
				t.Errorf("Show (-want +got):\n%s", diff)
			}
			again, err := Parse("shown", shown, kinds)
			if err != nil {
				t.Fatalf("what Show gives doesn't load: %v\n%s", err, shown)
			}
			if diff := cmp.Diff(asData(c), asData(again)); diff != "" {
				t.Errorf("what Show gives loads as something else (-first +second):\n%s", diff)
			}
		})
	}
}

func TestFourKeys(t *testing.T) {
	c := load(t, "four-keys.yaml")
	limits := Limits{1000, 20, 100, 60, 6000, 50 << 20, 100, 256 << 10, 5 * time.Minute, 10 * time.Minute, 10}
	if diff := cmp.Diff([]Listener{{Name: "public", Address: ":25", BareNewlines: "normalize", Engine: "postern", Limits: limits, EarlyTalkers: EarlyTalkers{3 * time.Second, 7 * day, true}}}, c.Listeners); diff != "" {
		t.Error(diff)
	}
	if c.Hostname != "mx.example.org" || c.Node != mail.NodeName("mx.example.org") || c.Postmaster != "postmaster@example.org" {
		t.Errorf("hostname %q, node %q, postmaster %q", c.Hostname, c.Node, c.Postmaster)
	}
	var names []string
	for _, f := range c.Filters {
		names = append(names, f.Name)
	}
	if diff := cmp.Diff(kinds, names); diff != "" {
		t.Error(diff)
	}
	p := c.Policy("default")
	if p == nil || *p.Tag != 5 || *p.Reject != 15 || p.Quarantine != nil || p.QuarantineReply != "reject" {
		t.Errorf("default policy %+v", p)
	}
	if c.AuthRes.ID != c.Hostname || c.AuthRes.Keep != nil {
		t.Errorf("authres %+v", c.AuthRes)
	}
	if r := c.Routes[0]; r.Policy != "default" || r.Recipients.Verify != "none" {
		t.Errorf("route %+v", r)
	}
	if c.Quarantine.Keep != 30*day || c.Quarantine.Size != 10<<30 || c.Log != (Log{"json", "info", "full"}) {
		t.Errorf("quarantine %+v, log %+v", c.Quarantine, c.Log)
	}
}

func TestContract(t *testing.T) {
	c := load(t, "contract.yaml")
	var nets []netip.Prefix
	for _, s := range []string{"127.0.0.0/8", "::1/128", "192.0.2.7/32", "198.51.100.0/24"} {
		nets = append(nets, netip.MustParsePrefix(s))
	}
	if diff := cmp.Diff(nets, c.ExemptNetworks, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"example.org", "*.example.org", "xn--bcher-kva.example"}, c.Routes[0].To); diff != "" {
		t.Error(diff)
	}
	if c.Quarantine.Keep != 9*day {
		t.Errorf("keep is %v", c.Quarantine.Keep)
	}
	if diff := cmp.Diff(AuthRes{ID: "example.org", Keep: Keep{"mail.partner.example", "xn--bcher-kva.example"}}, c.AuthRes); diff != "" {
		t.Error(diff)
	}
	if p := c.Policy("never"); p.Tag != nil || p.Reject != nil {
		t.Errorf("a policy that writes a threshold has no others: %+v", p)
	}
	if p := c.Policy("strict"); *p.Tag != 5 || *p.Reject != 15 {
		t.Errorf("a policy that writes no threshold has the standard ones: %+v", p)
	}
	f := c.Filter("attachments")
	if f.OnError != "reject" || f.Timeout != 90*time.Second || f.Observe {
		t.Errorf("filter %+v", f)
	}
	if off, has := c.Policy("strict").Overlays("dkim"); !off || has {
		t.Error("dkim is not off")
	}
	if off, has := c.Policy("strict").Overlays("attachments"); off || !has {
		t.Error("attachments has no overlay")
	}
	if off, has := c.Policy("default").Overlays("dkim"); off || has {
		t.Error("default has an overlay")
	}
	for address, want := range map[string]bool{
		"abuse@example.com": true, "ABUSE@example.org": true, "hostmaster@example.org": true, "x@a.lists.example.org": true,
		"x@lists.example.org": false, "hostmaster@example.com": false, "xabuse@example.org": false,
	} {
		a, err := mail.ParseAddress(address)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Exempt(a); got != want {
			t.Errorf("Exempt(%s) is %v", address, got)
		}
	}
}

// options are like a filter's: defaults in a map, a nested struct, a type that reads itself.
type options struct {
	Classes  map[string]verb `yaml:"classes"`
	Names    map[string]verb `yaml:"names"`
	Archives struct {
		Depth  int   `yaml:"depth"`
		Octets int64 `yaml:"octets"`
		Ratio  int   `yaml:"ratio"`
	} `yaml:"archives"`
	Notice string `yaml:"notice"`
}

type verb string

type verbError string

func (e verbError) Error() string     { return "unknown action " + string(e) }
func (e verbError) Allowed() []string { return []string{"pass", "tag", "strip", "reject"} }

func (v *verb) UnmarshalText(b []byte) error {
	switch *v = verb(b); *v {
	case "pass", "tag", "strip", "reject":
		return nil
	}
	return verbError(b)
}

func defaultOptions() options {
	o := options{Classes: map[string]verb{"executable": "reject", "bomb": "reject"}}
	o.Archives.Depth, o.Archives.Ratio = 3, 200
	return o
}

func TestDecodeFor(t *testing.T) {
	c := load(t, "contract.yaml")
	base, strict := defaultOptions(), defaultOptions()
	if err := c.Filter("attachments").Decode(&base); err != nil {
		t.Fatal(err)
	}
	if err := c.Filter("attachments").DecodeFor("strict", &strict); err != nil {
		t.Fatal(err)
	}
	want := options{
		Classes: map[string]verb{"executable": "strip", "bomb": "reject", "macro": "tag"},
		Names:   map[string]verb{"*.reg": "strip"},
	}
	want.Archives.Depth, want.Archives.Octets, want.Archives.Ratio = 5, 256<<20, 200
	if diff := cmp.Diff(want, base); diff != "" {
		t.Errorf("base (-want +got):\n%s", diff)
	}
	want.Classes["macro"] = "strip"
	if diff := cmp.Diff(want, strict); diff != "" {
		t.Errorf("strict (-want +got):\n%s", diff)
	}
	second := defaultOptions()
	if err := c.Filter("second").Decode(&second); err != nil {
		t.Fatal(err)
	}
	if second.Classes["macro"] != "reject" || second.Classes["executable"] != "strip" {
		t.Errorf("a merged mapping: %v", second.Classes)
	}
}

// TestSameFor: policies have the same options where the file says the same.
func TestSameFor(t *testing.T) {
	c, err := Parse("test", []byte(`
hostname: mx.example.org
listeners: {public: {address: ":25"}}
routes: [{to: [example.org], upstream: inside}]
upstreams: {inside: {maildir: /m}}
filters: [attachments, spf]
policies:
  default: {}
  none: {filters: {attachments: {}}}
  off: {filters: {attachments: off}}
  one: {filters: {attachments: &one {classes: {macro: strip}, names: {"*.a": tag}}, spf: {fail: reject}}}
  alias: {reject: 3, filters: {attachments: *one}}
  block:
    filters:
      attachments:
        classes:
          "macro": strip
        names: {"*.a": tag}
  less: {filters: {attachments: {classes: {macro: strip}}}}
  other: {filters: {attachments: {classes: {macro: tag}, names: {"*.a": tag}}}}
  name: {filters: {attachments: {classes: {macro: strip}, names: {"*.b": tag}}}}
  text: {filters: {attachments: {archives: {depth: "3"}}}}
  number: {filters: {attachments: {archives: {depth: 3}}}}
`), []string{"attachments", "spf"})
	if err != nil {
		t.Fatal(err)
	}
	same := [][]string{{"default", "none", "off", "nobody"}, {"one", "alias", "block"}, {"less"}, {"other"}, {"name"}, {"text"}, {"number"}}
	for i, group := range same {
		for _, a := range group {
			for j, others := range same {
				for _, b := range others {
					if got := c.Filter("attachments").SameFor(a, b); got != (i == j) {
						t.Errorf("%s, %s: %v", a, b, got)
					}
				}
			}
		}
	}
	if c.Filter("spf").SameFor("one", "alias") || !c.Filter("spf").SameFor("alias", "less") {
		t.Error("the options of another filter count")
	}
}

func TestDecodeKeepsDefaultsOfOthers(t *testing.T) {
	c := load(t, "contract.yaml")
	shared := map[string]verb{"executable": "reject"}
	o := options{Classes: shared}
	if err := c.Filter("attachments").Decode(&o); err != nil {
		t.Fatal(err)
	}
	if shared["executable"] != "reject" || len(shared) != 1 {
		t.Errorf("the defaults were changed: %v", shared)
	}
}

const overlayFaults = `hostname: mx.example.org
listeners: {public: {address: ":25"}}
routes: [{to: [example.org], upstream: inside}]
upstreams: {inside: {maildir: /m}}
filters:
  - attachments:
      notice: /nowhere
      archives: {deep: 3}
policies:
  strict:
    weights: {NO_DATE: 1}
    filters:
      attachments:
        classes: {macro: stripp}
`

// A key that is nobody's is told with those that every filter takes, but in a policy, which has no say in them.
func TestUnknownOption(t *testing.T) {
	text := strings.Replace(overlayFaults, "archives: {deep: 3}", "on_eror: defer", 1)
	text = strings.Replace(text, "classes: {macro: stripp}", "timeot: 5s", 1)
	c, err := Parse("p.yaml", []byte(text), kinds)
	if err != nil {
		t.Fatal(err)
	}
	o := defaultOptions()
	if err = c.Filter("attachments").DecodeFor("strict", &o); err == nil {
		t.Fatal("taken")
	}
	for _, want := range []string{
		`8:7: unknown key "on_eror"; did you mean on_error?; allowed: `, ", name, on_error, timeout, observe\n", `14:9: unknown key "timeot"; allowed: `,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in\n%v", want, err)
		}
	}
	if n := strings.Count(err.Error(), "observe\n"); n != 1 {
		t.Errorf("the common keys are named %d times in\n%v", n, err)
	}
}

func TestDecodeErrors(t *testing.T) {
	c, err := Parse("p.yaml", []byte(overlayFaults), kinds)
	if err != nil {
		t.Fatal(err)
	}
	o := defaultOptions()
	err = c.Filter("attachments").DecodeFor("strict", &o)
	want := `p.yaml:8:18: unknown key "deep"; allowed: depth, octets, ratio
    8 |       archives: {deep: 3}
      |                  ^
p.yaml:14:26: unknown action stripp; allowed: pass, tag, strip, reject
   14 |         classes: {macro: stripp}
      |                          ^`
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
	for _, tt := range []struct {
		err  *Error
		line int
		col  int
	}{
		{c.Errorf("filters.attachments", "x"), 6, 5},
		{c.Errorf("filters.attachments.notice", "x"), 7, 15},
		{c.Errorf("filters.attachments.absent", "x"), 6, 5},
		{c.Filter("attachments").ErrorAt("default", []string{"notice"}, "x"), 7, 15},
		{c.Filter("attachments").ErrorAt("strict", []string{"notice"}, "x"), 7, 15},
		{c.Filter("attachments").ErrorAt("default", []string{"archives", "absent"}, "x"), 8, 7},
		{c.Filter("attachments").ErrorAt("default", nil, "x"), 6, 5},
		{c.Filter("attachments").ErrorAt("strict", nil, "x"), 13, 7},
		{c.Filter("attachments").ErrorAt("default", []string{"classes", "macro"}, "x"), 6, 5},
		{c.Filter("attachments").ErrorAt("strict", []string{"classes", "macro"}, "x"), 14, 26},
		{c.Filter("attachments").ErrorAt("strict", []string{"classes", "0"}, "x"), 14, 9},
		{c.Errorf("routes[0].upstream", "x"), 3, 40},
		{c.Errorf("routes[0].to[0]", "x"), 3, 16},
		{c.Errorf("policies.strict.weights.NO_DATE", "x"), 11, 24},
		{c.Errorf("policies.strict.tag", "x"), 10, 3},
		{c.Errorf("nothing.at.all", "x"), 1, 1},
	} {
		if tt.err.Line != tt.line || tt.err.Col != tt.col {
			t.Errorf("%v: want %d:%d", tt.err, tt.line, tt.col)
		}
	}
}

// TestBad runs the cases of testdata/bad: each a txtar whose in.yaml is read, and whose want is every
// error. -update writes want anew.
func TestBad(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no files", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			c, err := Parse("in.yaml", ar.Files[0].Data, kinds)
			if err == nil {
				err = c.CheckFiles()
			}
			var errs Errors
			if !errors.As(err, &errs) {
				t.Fatalf("got %v, want Errors", err)
			}
			got := []byte(errs.Error() + "\n")
			if *update {
				ar.Files = append(ar.Files[:1], txtar.File{Name: "want", Data: got})
				if err := os.WriteFile(file, txtar.Format(ar), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if len(ar.Files) != 2 {
				t.Fatal("no want in the file")
			}
			if diff := cmp.Diff(string(ar.Files[1].Data), string(got)); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
		})
	}
}

// TestDesign reads the configuration of the design: whatever it refuses is refused as not yet built.
func TestDesign(t *testing.T) {
	text, err := os.ReadFile(peertest.Shared(t, "DESIGN.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ = bytes.Cut(text, []byte("## The configuration (contract)"))
	_, text, _ = bytes.Cut(text, []byte("```yaml\n"))
	text, _, _ = bytes.Cut(text, []byte("```"))
	_, err = Parse("DESIGN.md", text, append(slices.Clone(kinds), "rules"))
	var errs Errors
	if !errors.As(err, &errs) {
		t.Fatal(err)
	}
	for _, e := range errs {
		if !strings.Contains(e.Msg, "not in this version of Postern") {
			t.Errorf("refused: %v", e)
		}
	}
	if len(errs) == 0 {
		t.Error("nothing is refused: is that the configuration?")
	}
}

// TestKeep: all is not the empty list, in the file and when it is shown.
func TestKeep(t *testing.T) {
	const rest = "hostname: mx.example.org\nlisteners: {public: {address: \":25\"}}\nroutes: [{to: [example.org], upstream: x}]\nupstreams: {x: {maildir: /m}}\n"
	for text, want := range map[string]Keep{"": nil, "authres: {keep: all}": nil, "authres: {keep: []}": {}, "authres: {keep: [B.example]}": {"b.example"}} {
		c, err := Parse("keep", []byte(rest+text), kinds)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse("shown", c.Show(), kinds)
		if err != nil {
			t.Fatalf("%v\n%s", err, c.Show())
		}
		for _, got := range []Keep{c.AuthRes.Keep, again.AuthRes.Keep} {
			if (got == nil) != (want == nil) || !slices.Equal(got, want) {
				t.Errorf("%s: got %#v, want %#v", text, got, want)
			}
		}
	}
}

// TestHostPortInBraces: a colon within a text is part of it, in whatever brackets the text lies, and
// whatever stands before it on the line.
func TestHostPortInBraces(t *testing.T) {
	c, err := Parse("p", []byte(`hostname: mx.example.org
listeners: {public: {address: 127.0.0.1:25}}
routes: [{to: [bücher.example], upstream: inside}]
upstreams: {inside: {servers: [bücher.example:25, mail2.corp:26, 10.0.0.9:27,
  a.example:28]}}
dns: {servers: [127.0.0.1:53, 10.0.0.1:5353]}
filters: []
`), kinds)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"bücher.example:25", "mail2.corp:26", "10.0.0.9:27", "a.example:28"}
	if diff := cmp.Diff(want, c.Upstreams[0].Servers.Addresses()); diff != "" {
		t.Error(diff)
	}
	if len(c.DNS.Servers) != 2 || c.DNS.Servers[1].Port() != 5353 {
		t.Error(c.DNS.Servers)
	}
}

func TestNames(t *testing.T) {
	for _, tt := range []struct {
		name, hostname, to string
		ok                 bool
	}{
		{"plain", "mx.example.org", "example.org", true},
		{"final dot", "mx.example.org.", "example.org.", true},
		{"underscore in a domain", "mx.example.org", "ex_ample.org", true},
		{"one label of ours", "mx.example.org", "localdomain", true},
		{"address literal of ours", "mx.example.org", "\"user@[192.0.2.1]\"", true},
		{"U-label", "mx.bücher.example", "bücher.example", true},
		{"one label", "mx", "example.org", false},
		{"address", "192.0.2.1", "example.org", false},
		{"literal", "\"[192.0.2.1]\"", "example.org", false},
		{"empty", "\"\"", "example.org", false},
		{"empty label", "mx..example", "example.org", false},
		{"hyphen", "-mx.example", "example.org", false},
		{"underscore", "mx_1.example.org", "example.org", false},
		{"route to an address", "mx.example.org", "192.0.2.1", false},
		{"route to a dot", "mx.example.org", ".", false},
		{"route below nothing", "mx.example.org", "\"*.\"", false},
		{"star inside", "mx.example.org", "\"a.*.example\"", false},
		{"long", "mx.example.org", "a" + strings.Repeat(".b", 130), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := "hostname: " + tt.hostname + "\nlisteners: {public: {address: \":25\"}}\nroutes: [{to: [" + tt.to + "], upstream: inside}]\nupstreams: {inside: {maildir: /m}}\n"
			if _, err := Parse("p", []byte(text), kinds); (err == nil) != tt.ok {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestShowHidesSecrets(t *testing.T) {
	text := strings.Replace(overlayFaults, "notice: /nowhere", "password: tiger\n      password_file: /run/p\n      deep: {api_token: lion}", 1)
	c, err := Parse("p.yaml", []byte(text), kinds)
	if err != nil {
		t.Fatal(err)
	}
	shown := c.Show()
	if bytes.Contains(shown, []byte("tiger")) || bytes.Contains(shown, []byte("lion")) || !bytes.Contains(shown, []byte("/run/p")) {
		t.Errorf("%s", shown)
	}
	if _, err := Parse("shown", shown, kinds); err != nil {
		t.Error(err)
	}
}

func TestLoadAbsent(t *testing.T) {
	var errs Errors
	if _, err := Load("testdata/nothing.yaml", kinds); !errors.Is(err, os.ErrNotExist) || errors.As(err, &errs) {
		t.Errorf("got %v", err)
	}
	if _, err := Load("testdata", kinds); err == nil || !strings.Contains(err.Error(), "folder") {
		t.Errorf("got %v", err)
	}
}

// TestHash: the hash is that of the file, as sha256sum gives it.
func TestHash(t *testing.T) {
	const text = "hostname: mx.example.org\r\nlisteners: {public: {address: \":25\"}}\nroutes: [{to: [example.org], upstream: x}]\nupstreams: {x: {maildir: /m}}\n"
	sum := sha256.Sum256([]byte(text))
	for more, same := range map[string]bool{"": true, "# not a word is another\n": false} {
		c, err := Parse("in.yaml", []byte(text+more), nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Hash(); (got == hex.EncodeToString(sum[:])[:12]) != same {
			t.Errorf("%q: %s", more, got)
		}
	}
}
