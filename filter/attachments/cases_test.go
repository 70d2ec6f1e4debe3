package attachments

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/mail"
)

var update = flag.Bool("update", false, "write the results into testdata")

// TestCases runs testdata/*.txtar. A case has a message (its line ends become CRLF), may have the
// filter's configuration, and has what must come of it: the report,
// and the content after the edits where there are any.
func TestCases(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			ar := txtar.Parse(raw)
			section := map[string]string{}
			for _, f := range ar.Files {
				section[f.Name] = string(f.Data)
			}
			f := newChecker(t, section["config"])
			in := input(t, strings.ReplaceAll(section["message"], "\n", "\r\n"))
			res, err := f.Check(context.Background(), in)
			if err != nil {
				t.Fatal(err)
			}
			got := []txtar.File{{Name: "want", Data: []byte(describe(res))}}
			if len(res.Edits) > 0 || res.Rebuild {
				out := rewritten(t, in.Content, res.Edits, res.Rebuild)
				got = append(got, txtar.File{Name: "out", Data: []byte(strings.ReplaceAll(out, "\r\n", "\n"))})
			}
			if *update {
				kept := ar.Files[:0]
				for _, f := range ar.Files {
					if f.Name != "want" && f.Name != "out" {
						kept = append(kept, f)
					}
				}
				ar.Files = append(kept, got...)
				if err := os.WriteFile(path, txtar.Format(ar), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			for _, g := range got {
				if d := cmp.Diff(section[g.Name], string(g.Data)); d != "" {
					t.Errorf("%s: -want +got\n%s", g.Name, d)
				}
			}
			if section["out"] != "" && len(got) == 1 {
				t.Error("no edits")
			}
		})
	}
}

func newChecker(t testing.TB, yaml string) filter.Filter {
	t.Helper()
	env := filter.Env{Name: "attachments", Hostname: "mx.example.org", Postmaster: "postmaster@example.org"}
	_, f, err := Factory.New(env, decoder(yaml))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func input(t testing.TB, message string) *filter.Input {
	t.Helper()
	c := mail.NewContent(mail.NewBlob([]byte(message)), mail.LineFaults{}, mail.Limits{})
	t.Cleanup(c.Release)
	return &filter.Input{
		Session:     &filter.Session{},
		Transaction: &filter.Transaction{ID: "mx-0123456789"},
		Content:     c,
	}
}

func rewritten(t testing.TB, c *mail.Content, edits []mail.Edit, rebuild bool) string {
	t.Helper()
	m, err := mail.Rewrite(c, edits, rebuild)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Release()
	var b bytes.Buffer
	if _, err := io.Copy(&b, m.Open()); err != nil {
		t.Fatal(err)
	}
	return newBoundaries.ReplaceAllString(b.String(), "=_NEW")
}

// newBoundaries are those that a rebuild draws.
var newBoundaries = regexp.MustCompile(`=_[A-Z2-7]{26}\.[0-9a-f]{8}`)

// describe gives a result as lines.
func describe(res filter.Result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "propose %s\n", res.Propose)
	if res.Reply != nil {
		fmt.Fprintf(&b, "reply %s\n", res.Reply)
	}
	for _, f := range res.Findings {
		fmt.Fprintf(&b, "finding %s %g %s\n", f.Symbol, f.Strength, f.Detail)
	}
	if res.Rebuild {
		fmt.Fprintf(&b, "rebuild\n")
	}
	for _, e := range res.Edits {
		fmt.Fprintf(&b, "edit %s\n", e)
	}
	parts, _ := auth.Parts.Among(res.Facts)
	for _, p := range parts {
		fmt.Fprintf(&b, "part %s %s %q %d %.8s %s %q\n", p.Path, p.Type, p.Names, p.Size, p.SHA256, p.Action, p.Class)
		if p.By != "" && !slices.Contains(auth.PartReasons(), p.By) || p.By == "" && p.Class != "" {
			fmt.Fprintf(&b, "decided by %q\n", p.By)
		}
	}
	return b.String()
}
