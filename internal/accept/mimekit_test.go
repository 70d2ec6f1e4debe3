//go:build accept

package accept

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/peertest"
)

// cacheDir gives a folder below .cache of the checkout, which git ignores.
func cacheDir(t *testing.T, elem ...string) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join(append([]string{"..", "..", ".cache"}, elem...)...))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// kit gives the folder of the differential kit, with its parsers installed: that of $POSTERN_MIMEKIT, else a copy of
// ../shared/mimekit below .cache. Its installer needs root on Debian, and takes some minutes the first time.
func kit(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("POSTERN_MIMEKIT"); dir != "" {
		return dir
	}
	src, dst := os.DirFS(peertest.Shared(t, "mimekit")), cacheDir(t, "mimekit")
	sum, stamp := treeSum(t, src), filepath.Join(dst, ".installed")
	if have, err := os.ReadFile(stamp); err == nil && string(have) == sum {
		return dst
	}
	if _, err := exec.LookPath("apt-get"); err != nil || os.Geteuid() != 0 {
		peertest.Missing(t, "POSTERN_PEERS", "the parsers of mimekit are not installed, which root does on Debian")
	}
	if err := os.RemoveAll(dst); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dst, src); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("./install.sh")
	cmd.Dir = dst
	if out, err := cmd.CombinedOutput(); err != nil {
		peertest.Missing(t, "POSTERN_PEERS", fmt.Sprintf("mimekit does not install: %v\n%s", err, out[max(0, len(out)-4000):]))
	}
	if err := os.WriteFile(stamp, []byte(sum), 0o644); err != nil {
		t.Fatal(err)
	}
	return dst
}

// treeSum sums up the names and contents of all files of a folder.
func treeSum(t *testing.T, tree fs.FS) string {
	t.Helper()
	sum := sha256.New()
	err := fs.WalkDir(tree, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := fs.ReadFile(tree, path)
		fmt.Fprintf(sum, "%s %d\n%s", path, len(b), b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// scanConfig writes a configuration for scan, with nothing but attachments, and gives its path.
func scanConfig(t *testing.T, more string) string {
	t.Helper()
	return scanConfigOf(t, "filters: [{attachments: {}}]\n"+more)
}

// scanConfigOf writes a configuration for scan without DNS, and gives its path.
func scanConfigOf(t *testing.T, more string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "postern.yaml")
	text := "hostname: mx.bench.test\nlisteners: {public: {address: \":25\"}}\nroutes: [{to: [bench.test], upstream: x}]\n" +
		"upstreams: {x: {maildir: x}}\ndns: {servers: [\"127.0.0.1:9\"]}\n" + more
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// strictPolicy is the overlay of those who let through nothing that nobody has looked into.
const strictPolicy = "policies: {default: {filters: {attachments: {classes: {macro: strip, encrypted: strip, active_pdf: strip, unreadable: reject}}}}}\n"

// TestNotifications has all parsers of the kit read the notifications that we write.
func TestNotifications(t *testing.T) {
	cmd := exec.Command("go", "test", "-count", "1", "-run", "TestWriteReadByParsers", "../../mail/dsn")
	cmd.Env = append(os.Environ(), "POSTERN_MIMEKIT="+kit(t))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// kitResult is what the kit's check says of one case.
type kitResult struct {
	ID      string   `json:"id"`
	Class   string   `json:"class"`
	Tier    string   `json:"tier"`
	RC      int      `json:"rc"`
	Outcome string   `json:"outcome"`
	Verdict string   `json:"verdict"`
	Parsers []string `json:"parsers"`
}

// No parser of the kit gets a payload out of what is delivered, nothing that was wanted is lost, and honest mail
// leaves as it came.
func TestMimekit(t *testing.T) {
	dir := kit(t)
	for _, run := range []struct{ name, config string }{
		{"default", scanConfig(t, "")},
		{"strict", scanConfig(t, strictPolicy)},
	} {
		results := runKit(t, dir, run.config, run.name == "strict")
		classes := map[string]map[string]int{}
		for _, r := range results {
			m := classes[r.Class]
			if m == nil {
				m = map[string]int{}
				classes[r.Class] = m
			}
			m["cases"]++
			switch {
			case r.Verdict != "ok":
				m[r.Verdict]++
				t.Errorf("%s: %s: %s, exit %d: %s", run.name, r.ID, r.Verdict, r.RC, strings.Join(r.Parsers, ","))
			case r.Outcome != "delivered":
				m["refused"]++
			default:
				m["clean"]++
			}
		}
		var rows [][]string
		total := map[string]int{}
		row := func(name string, m map[string]int) []string {
			lost, fp := 0, 0
			for v, n := range m {
				if strings.HasPrefix(v, "lost") {
					lost += n
				}
				if strings.HasPrefix(v, "fp") {
					fp += n
				}
			}
			return []string{name, fmt.Sprint(m["cases"]), fmt.Sprint(m["clean"]), fmt.Sprint(m["refused"]), fmt.Sprint(m["evasion"]), fmt.Sprint(lost), fmt.Sprint(fp), fmt.Sprint(m["error"])}
		}
		for _, c := range slices.Sorted(maps.Keys(classes)) {
			rows = append(rows, row(c, classes[c]))
			for k, n := range classes[c] {
				total[k] += n
			}
		}
		rows = append(rows, row("all", total))
		t.Log(strings.Join(rows[len(rows)-1], " | "))
		table(t, "mimekit, the classes of the filter: "+run.name, "check --cmd 'postern scan --config C --out {out} {in}' --reject-status 10,12 --set shared",
			[]string{"class", "cases", "delivered clean", "held or refused", "evasions", "wanted parts lost", "honest mail changed", "errors"}, rows)
	}
}

// runKit runs the kit's check, and gives what it says of each case.
func runKit(t *testing.T, dir, config string, strict bool) []kitResult {
	t.Helper()
	out := filepath.Join(t.TempDir(), "results.json")
	args := []string{"--cmd", fmt.Sprintf("%s scan --config %s --out {out} {in}", binary(t), config), "--reject-status", "10,12", "--set", "shared", "--json", out}
	if strict {
		args = append(args, "--strict-policy")
	}
	cmd := exec.Command(filepath.Join(dir, "check"), args...)
	text, err := cmd.CombinedOutput()
	b, readErr := os.ReadFile(out)
	if readErr != nil {
		t.Fatalf("check: %v\n%s", err, text)
	}
	var report struct {
		Summary map[string]any `json:"summary"`
		Results []kitResult    `json:"results"`
	}
	if err := json.NewDecoder(bytes.NewReader(b)).Decode(&report); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Errorf("check: %v\n%s", err, text)
	}
	t.Logf("%v", report.Summary)
	for _, k := range []string{"evasions", "policy_evasions", "wanted_parts_lost", "false_positives", "errors"} {
		if n, ok := report.Summary[k].(float64); !ok || n != 0 {
			t.Errorf("%s: %v, not 0", k, report.Summary[k])
		}
	}
	return report.Results
}
