package law

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestEveryKeyOfEveryLineIsDocumented finds the keys of all log lines in the source, and each of them in docs/log.md.
func TestEveryKeyOfEveryLineIsDocumented(t *testing.T) {
	doc := read(t, "docs", "log.md")
	s := parseSource(t, filepath.Join("..", "..", "internal"), filepath.Join("..", "..", "filter"))
	s.collect()
	for _, where := range s.odd {
		t.Errorf("%s: a key of the log that is not a constant", where)
	}
	for key, where := range s.keys {
		if !strings.Contains(doc, "\n| `"+key+"` |") {
			t.Errorf("docs/log.md has no row for `%s` (%s)", key, where)
		}
	}
	for _, key := range []string{"id", "client", "config", "filter"} { // of a call, an Attr, and With
		if s.keys[key] == "" {
			t.Errorf("%s was not found: the search is broken", key)
		}
	}
}

// TestLogKeysAreFound: keys are found however they are written.
func TestLogKeysAreFound(t *testing.T) {
	const text = `package p

import "log/slog"

const keyA, other = "a", 5

func f(log *slog.Logger, x string, all []any) {
	log.Info("m", keyA, 1, "b", x)
	log.With("c", 1).With(slog.Int("d", 2), "e", 3).Warn("m", slog.Group("f", "g", 1))
	log.ErrorContext(nil, x, "h", 1)
	s.gateway().Log.Log(nil, 0, "m", "i", 1)
	l.Debug("m", "j", 1)
	log.Info("m", q.Key, 1)
	log.Info("m", s.fault(x), "l", 1)
	log.Info("m", x, 1)
	log.Info("m", all...)
	http.Error(w, "no key", 5)
	d.Info()
	ctx.With("no key")
}

func (s s) fault(err error) slog.Attr { return slog.Any("m", err) }
`
	fset := token.NewFileSet()
	p, err := parser.ParseFile(fset, "p.go", text, 0)
	if err != nil {
		t.Fatal(err)
	}
	q, err := parser.ParseFile(fset, "q.go", "package q\nconst Key = `k`\n", 0)
	if err != nil {
		t.Fatal(err)
	}
	s := source{fset: fset, files: []*ast.File{p, q}}
	s.collect()
	var keys []string
	for k := range s.keys {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	if got := strings.Join(keys, ""); got != "abcdefghijklm" || !slices.Equal(s.odd, []string{"p.go:15", "p.go:16"}) {
		t.Errorf("found %s, odd %v", got, s.odd)
	}
}

// source is parsed Go, and the keys of its log lines.
type source struct {
	fset  *token.FileSet
	files []*ast.File
	texts map[string]string // constants, as package.Name
	attrs map[string]bool   // functions and methods that give an Attr
	keys  map[string]string // and where one stands
	odd   []string          // where a key is no constant
}

// parseSource parses all Go files below some folders but tests.
func parseSource(t *testing.T, folders ...string) *source {
	t.Helper()
	s := &source{fset: token.NewFileSet()}
	for _, folder := range folders {
		err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			f, err := parser.ParseFile(s.fset, path, nil, parser.SkipObjectResolution)
			s.files = append(s.files, f)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// collect finds the keys.
func (s *source) collect() {
	s.texts, s.attrs, s.keys = map[string]string{}, map[string]bool{}, map[string]string{}
	for _, f := range s.files {
		for _, d := range f.Decls {
			s.declare(f.Name.Name, d)
		}
	}
	for _, f := range s.files {
		ast.Inspect(f, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				s.call(f.Name.Name, call)
			}
			return true
		})
	}
}

// declare takes down the constants and the functions of a declaration that keys may come from.
func (s *source) declare(pkg string, d ast.Decl) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if r := d.Type.Results; r != nil && len(r.List) == 1 {
			if t, ok := r.List[0].Type.(*ast.SelectorExpr); ok && isSlog(t.X) && t.Sel.Name == "Attr" {
				s.attrs[d.Name.Name] = true
			}
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			v, ok := spec.(*ast.ValueSpec)
			if !ok || d.Tok != token.CONST || len(v.Names) != len(v.Values) {
				continue
			}
			for i, name := range v.Names {
				if text, ok := literal(v.Values[i]); ok {
					s.texts[pkg+"."+name.Name] = text
				}
			}
		}
	}
}

// before is how many arguments stand before the keys, of the methods of a slog.Logger and the functions of slog.
var before = map[string]int{
	"With": 0, "Debug": 1, "Info": 1, "Warn": 1, "Error": 1,
	"DebugContext": 2, "InfoContext": 2, "WarnContext": 2, "ErrorContext": 2, "Log": 3,
}

// attr matches the functions that make an Attr.
var attr = regexp.MustCompile(`^(String|Int|Int64|Uint64|Float64|Bool|Time|Duration|Any|Group)$`)

// call takes the keys out of a call, if it is one of slog.
func (s *source) call(pkg string, call *ast.CallExpr) {
	f, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return
	}
	switch n, logs := before[f.Sel.Name]; {
	case isSlog(f.X) && attr.MatchString(f.Sel.Name):
		s.key(pkg, call.Args[0])
		if f.Sel.Name == "Group" {
			s.pairs(pkg, call, 1)
		}
	case logs && len(call.Args) >= n && (isLogger(f.X) || n == 1 && s.isText(pkg, call.Args)):
		s.pairs(pkg, call, n)
	}
}

// isText reports whether the first argument is a constant text: whatever its receiver is called, it is a logger.
func (s *source) isText(pkg string, args []ast.Expr) bool {
	if len(args) == 0 {
		return false
	}
	_, ok := s.text(pkg, args[0])
	return ok
}

// pairs takes the keys of a list of keys, values and Attrs.
func (s *source) pairs(pkg string, call *ast.CallExpr, from int) {
	if call.Ellipsis.IsValid() {
		s.odd = append(s.odd, s.where(call))
		return
	}
	for i := from; i < len(call.Args); i++ {
		if c, ok := call.Args[i].(*ast.CallExpr); ok {
			if f, ok := c.Fun.(*ast.SelectorExpr); ok && (isSlog(f.X) || s.attrs[f.Sel.Name]) {
				continue // an Attr, which is met where it is made
			}
		}
		s.key(pkg, call.Args[i])
		i++
	}
}

func (s *source) key(pkg string, e ast.Expr) {
	if text, ok := s.text(pkg, e); ok {
		s.keys[text] = s.where(e)
	} else {
		s.odd = append(s.odd, s.where(e))
	}
}

func (s *source) where(n ast.Node) string {
	p := s.fset.Position(n.Pos())
	return p.Filename + ":" + strconv.Itoa(p.Line)
}

// text gives the text of a literal, or of a constant of this or another package.
func (s *source) text(pkg string, e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.Ident:
		text, ok := s.texts[pkg+"."+e.Name]
		return text, ok
	case *ast.SelectorExpr:
		if x, ok := e.X.(*ast.Ident); ok {
			text, ok := s.texts[x.Name+"."+e.Sel.Name]
			return text, ok
		}
	}
	return literal(e)
}

func literal(e ast.Expr) (string, bool) {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(lit.Value)
	return text, err == nil
}

func isSlog(e ast.Expr) bool {
	x, ok := e.(*ast.Ident)
	return ok && x.Name == "slog"
}

// isLogger reports whether an expression is called what loggers are called here, or is what With gives.
func isLogger(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return strings.EqualFold(e.Name, "log") || isSlog(e)
	case *ast.SelectorExpr:
		return strings.EqualFold(e.Sel.Name, "log")
	case *ast.CallExpr:
		f, ok := e.Fun.(*ast.SelectorExpr)
		return ok && f.Sel.Name == "With" && isLogger(f.X)
	}
	return false
}
