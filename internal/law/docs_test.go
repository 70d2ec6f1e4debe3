package law

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/app"
	"github.com/postern-mail/postern/internal/config"
	"github.com/postern-mail/postern/internal/edge"
	"github.com/postern-mail/postern/internal/ledger"
)

// read gives a file of the repository.
func read(t *testing.T, elem ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(append([]string{"..", ".."}, elem...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// noDNS answers nothing.
type noDNS struct{}

func (noDNS) LookupTXT(context.Context, string) ([]string, error)        { return nil, nil }
func (noDNS) LookupMX(context.Context, string) ([]*net.MX, error)        { return nil, nil }
func (noDNS) LookupIPAddr(context.Context, string) ([]net.IPAddr, error) { return nil, nil }
func (noDNS) LookupAddr(context.Context, string) ([]string, error)       { return nil, nil }

// options are of the filters that can't do without.
var options = map[string]string{"http": `{servers: ["127.0.0.1:1"]}`, "milter": `{servers: ["127.0.0.1:1"]}`}

// optionsOf gives the function that decodes the least options that a filter needs.
func optionsOf(t *testing.T, kind string) func(any) error {
	t.Helper()
	text, needs := options[kind]
	if !needs {
		return func(any) error { return nil }
	}
	cfg, err := config.Parse("c", []byte("hostname: mx.example.org\nlisteners: {public: {address: \":25\"}}\nroutes: [{to: [example.org], upstream: x}]\n"+
		"upstreams: {x: {maildir: m}}\nfilters: [{"+kind+": "+text+"}]\n"), []string{kind})
	if err != nil {
		t.Fatal(err)
	}
	return cfg.Filters[0].Decode
}

// TestEverySymbolIsDocumented holds the tables in docs/filters against what the filters declare: each symbol with its
// weight, and no other.
func TestEverySymbolIsDocumented(t *testing.T) {
	name := regexp.MustCompile(`^[A-Z][A-Z0-9_]*$`)
	row := regexp.MustCompile("(?m)^\\| `([A-Z][A-Z0-9_]*)` \\| ([^ |]*) \\| ")
	for _, f := range app.BuiltIn() {
		env := filter.Env{
			Name: f.Kind, Hostname: "mx.example.org", Postmaster: "postmaster@example.org",
			Ours: func(string) bool { return false }, DNS: noDNS{}, State: ledger.New(), Log: slog.New(slog.DiscardHandler),
		}
		spec, _, err := f.New(env, optionsOf(t, f.Kind))
		if err != nil {
			t.Errorf("%s: %v", f.Kind, err)
			continue
		}
		if len(spec.Symbols) == 0 {
			t.Errorf("%s declares no symbol", f.Kind)
		}
		weights := map[string]string{}
		for _, r := range row.FindAllStringSubmatch(read(t, "docs", "filters", f.Kind+".md"), -1) {
			weights[r[1]] = r[2]
		}
		for _, s := range spec.Symbols {
			weight, documented := weights[s.Name]
			delete(weights, s.Name)
			switch want := strconv.FormatFloat(s.Weight, 'g', -1, 64); {
			case !name.MatchString(s.Name):
				t.Errorf("%s: symbol %q is not UPPER_SNAKE", f.Kind, s.Name)
			case !documented:
				t.Errorf("docs/filters/%s.md has no row for `%s`", f.Kind, s.Name)
			case weight != want:
				t.Errorf("docs/filters/%s.md gives `%s` the weight %s, not %s", f.Kind, s.Name, weight, want)
			case s.Description == "":
				t.Errorf("%s: symbol %s has no description", f.Kind, s.Name)
			}
		}
		for s := range weights {
			t.Errorf("docs/filters/%s.md has a row for `%s`, which the filter does not declare", f.Kind, s)
		}
	}
}

func TestEveryLogKeyIsDocumented(t *testing.T) {
	doc := read(t, "docs", "log.md")
	for _, k := range edge.Keys() {
		if !strings.Contains(doc, "`"+k+"`") {
			t.Errorf("docs/log.md does not name `%s`", k)
		}
	}
}

// TestReadmeSamples parses every whole configuration of the README.
func TestReadmeSamples(t *testing.T) {
	kinds := []string{}
	for _, f := range app.BuiltIn() {
		kinds = append(kinds, f.Kind)
	}
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(read(t, "README.md"), -1)
	whole := 0
	for _, b := range blocks {
		if !strings.Contains(b[1], "hostname:") {
			continue
		}
		whole++
		if _, err := config.Parse("README.md", []byte(b[1]), kinds); err != nil {
			t.Errorf("%v\nin\n%s", err, b[1])
		}
	}
	if whole < 2 {
		t.Errorf("%d whole configurations in the README", whole)
	}
}

// TestReadmeLinks follows every link to a file of the repository.
func TestReadmeLinks(t *testing.T) {
	for _, doc := range []string{"README.md", "docs/flow.md"} {
		for _, m := range regexp.MustCompile(`\]\(([^)#:]+)\)`).FindAllStringSubmatch(read(t, doc), -1) {
			path := filepath.Join("..", "..", filepath.Dir(doc), m[1])
			if _, err := os.Stat(path); err != nil {
				t.Errorf("%s links to %s, which is not there", doc, m[1])
			}
		}
	}
}
