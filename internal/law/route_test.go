package law

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/app"
)

// TestRouteSample runs the sample of `postern route` in docs/config.md, and compares what it prints.
func TestRouteSample(t *testing.T) {
	m := regexp.MustCompile("(?s)`postern route ADDRESS…`[^`]*```yaml\n(.*?)```\n\n```console\n\\$ postern route -v ([^\n]*)\n(.*?)```").
		FindStringSubmatch(read(t, "docs", "config.md"))
	if m == nil {
		t.Fatal("docs/config.md has no sample of postern route -v")
	}
	t.Chdir(t.TempDir())
	if err := os.WriteFile(filepath.Join(".", "postern.yaml"), []byte(m[1]), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	a, err := app.New(app.Options{Config: "postern.yaml", ConfigGiven: true, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Route(t.Context(), app.RouteOptions{Addresses: strings.Fields(m[2]), Verbose: true}); err != nil {
		t.Fatalf("%v\n%s", err, errs.String())
	}
	if out.String() != m[3] {
		t.Errorf("docs/config.md has\n%s\nand it prints\n%s", m[3], out.String())
	}
}
