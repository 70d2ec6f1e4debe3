package attachments

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/mail"
)

// defectKinds are all constants of mail.DefectKind.
func defectKinds(t *testing.T) (kinds []mail.DefectKind) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "../../mail/defect.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if id, ok := v.Type.(*ast.Ident); ok && id.Name == "DefectKind" {
			for _, value := range v.Values {
				s, err := strconv.Unquote(value.(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				kinds = append(kinds, mail.DefectKind(s))
			}
		}
		return true
	})
	if len(kinds) < 39 {
		t.Fatalf("%d kinds of defects in mail/defect.go", len(kinds))
	}
	return kinds
}

// shows reports whether a part of the message has the defect, or its body has.
func shows(t *testing.T, c *mail.Content, kind mail.DefectKind) bool {
	t.Helper()
	found := false
	c.Root().Walk(func(p *mail.Part) bool {
		found = found || p.Has(kind)
		if p.IsLeaf() {
			d := p.Decode()
			if _, err := io.Copy(io.Discard, d); err != nil {
				t.Fatal(err)
			}
			found = found || d.Malformed() == kind
		}
		return true
	})
	return found
}

// TestEveryDefectHasCases: each kind of defect has two cases that show it and in which something is done, and stands
// in the table of docs/mime-defects.md. Cases of honest mail show it, and are left as they are.
func TestEveryDefectHasCases(t *testing.T) {
	doc, err := os.ReadFile("../../docs/mime-defects.md")
	if err != nil {
		t.Fatal(err)
	}
	paths, err := filepath.Glob("testdata/defect-*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, kind := range defectKinds(t) {
		row := regexp.MustCompile("\n\\| `" + string(kind) + "` \\| [^|]* \\| (yes|no) \\|").FindSubmatch(doc)
		if row == nil {
			t.Errorf("docs/mime-defects.md has no row for `%s`", kind)
		} else if (string(row[1]) == "yes") != kind.Ambiguous() {
			t.Errorf("docs/mime-defects.md is wrong about whether `%s` is ambiguous", kind)
		}
		hiding := 0
		for _, path := range paths {
			what, ok := strings.CutPrefix(filepath.Base(path), "defect-"+string(kind)+"-")
			if !ok {
				continue
			}
			known[path] = true
			honest := strings.HasPrefix(what, "honest")
			if !honest {
				hiding++
			}
			checkDefectCase(t, path, kind, honest)
		}
		if hiding < 2 {
			t.Errorf("%s: %d cases", kind, hiding)
		}
	}
	for _, path := range paths {
		if !known[path] {
			t.Errorf("%s: of no kind", path)
		}
	}
}

func checkDefectCase(t *testing.T, path string, kind mail.DefectKind, honest bool) {
	t.Helper()
	ar, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(ar.Comment), "\n") != 1 {
		t.Errorf("%s: does not say in a line which trick it is", path)
	}
	in := input(t, strings.ReplaceAll(string(ar.Files[0].Data), "\n", "\r\n"))
	if !shows(t, in.Content, kind) {
		t.Errorf("%s: does not show it", path)
	}
	res, err := newChecker(t, "").Check(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	untouched := res.Propose < filter.Quarantine && len(res.Edits) == 0 && !res.Rebuild
	if untouched != honest {
		t.Errorf("%s: untouched is %v:\n%s", path, untouched, describe(res))
	}
}
