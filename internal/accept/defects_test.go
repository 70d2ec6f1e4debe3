//go:build accept

package accept

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/postern-mail/postern/filter"
)

var updateDefects = flag.Bool("update-defects", false, "write what was measured into docs/mime-defects.md")

// defectCase is a message of the attachments' cases that hides a program or the name of a script by one defect.
type defectCase struct {
	kind, what string
	raw        []byte
}

// defectCases gives the cases of each kind that docs/mime-defects.md has a row for, but for the honest ones.
func defectCases(t *testing.T, kinds []string) (all []defectCase) {
	t.Helper()
	for _, kind := range kinds {
		paths, err := filepath.Glob("../../filter/attachments/testdata/defect-" + kind + "-*.txtar")
		if err != nil || len(paths) == 0 {
			t.Fatalf("no cases of %s: %v", kind, err)
		}
		for _, path := range paths {
			what := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(path), "defect-"+kind+"-"), ".txtar")
			if strings.HasPrefix(what, "honest") {
				continue
			}
			ar, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, defectCase{kind, what, bytes.ReplaceAll(ar.Files[0].Data, []byte("\n"), []byte("\r\n"))})
		}
	}
	return all
}

// seen gives, for each message, the parsers of the kit that get a program or the name of a script out of it, and
// those that do not.
func seen(t *testing.T, dir string, messages [][]byte) (with, without [][]string) {
	t.Helper()
	tmp := t.TempDir()
	args := []string{"--json", "-", "--timeout", "20", "--cache", filepath.Join(dir, ".cache", "defects")}
	var paths []string
	for i, m := range messages {
		path := filepath.Join(tmp, fmt.Sprintf("%d.eml", i))
		if err := os.WriteFile(path, m, 0o600); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	cmd := exec.Command(filepath.Join(dir, "oracle"), append(args, paths...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("oracle: %v\n%s", err, stderr.Bytes())
	}
	var said map[string]map[string]struct {
		Parts []struct {
			Flags []string `json:"flags"` // "magic": it begins like a program; "name": it is named like one
		} `json:"parts"`
	}
	if err := json.Unmarshal(out, &said); err != nil {
		t.Fatal(err)
	}
	with, without = make([][]string, len(messages)), make([][]string, len(messages))
	for i := range messages {
		for parser, r := range said[paths[i]] {
			gets := false
			for _, p := range r.Parts {
				gets = gets || slices.Contains(p.Flags, "magic") || slices.Contains(p.Flags, "name")
			}
			if gets {
				with[i] = append(with[i], parser)
			} else {
				without[i] = append(without[i], parser)
			}
		}
	}
	if n := len(with[0]) + len(without[0]); n < 40 {
		t.Errorf("%d parsers, of 40", n)
	}
	return with, without
}

// wellKnown are the parsers that are named first, by the names under which people know them.
var wellKnown = [][2]string{
	{"node-jsmime-proton", "jsmime (Thunderbird)"},
	{"dovecot-imap", "Dovecot"},
	{"gmime", "GMime"},
	{"camel", "Camel (Evolution)"},
	{"kmime", "KMime (KMail)"},
	{"py-default", "Python"},
	{"java-jakarta", "Jakarta Mail"},
	{"go-stdlib", "Go"},
	{"php-horde", "Horde"},
	{"ruby-mail", "Ruby mail"},
	{"node-mailparser", "mailparser"},
	{"perl-mimetools", "MIME::Tools"},
	{"clamav", "ClamAV"},
	{"rspamd", "rspamd"},
	{"spamassassin", "SpamAssassin"},
	{"java-mime4j", "mime4j"},
	{"ripmime", "ripMIME"},
	{"munpack", "munpack"},
	{"uudeview", "uudeview"},
}

// named names at most three of the parsers.
func named(parsers []string) string {
	var names []string
	for _, k := range wellKnown {
		if slices.Contains(parsers, k[0]) && len(names) < 3 {
			names = append(names, k[1])
		}
	}
	switch {
	case len(parsers) == 0:
		return "none"
	case len(names) == 0:
		return "less known ones"
	}
	return strings.Join(names, ", ")
}

// measured gives two cells of a row: how many parsers get the payload of each case, and who those are in the most
// divided one.
func measured(cases []defectCase, with, without [][]string) (counts, who string) {
	var parts []string
	best := 0
	for i, c := range cases {
		parts = append(parts, fmt.Sprintf("`%s` %d", c.what, len(with[i])))
		if min(len(with[i]), len(without[i])) > min(len(with[best]), len(without[best])) {
			best = i
		}
	}
	return strings.Join(parts, ", "), fmt.Sprintf("`%s`: %s; not: %s", cases[best].what, named(with[best]), named(without[best]))
}

var defectRow = regexp.MustCompile("(?m)^\\| `([a-z0-9-]+)` \\| ([^|]*) \\| (yes|no) \\| ([^|]*) \\| ([^|]*) \\| ([^|]*) \\|$")

// TestDefectTable measures what the parsers of the kit make of the cases, and holds the table of docs/mime-defects.md
// against it.
func TestDefectTable(t *testing.T) {
	dir := kit(t)
	path := filepath.Join("..", "..", "docs", "mime-defects.md")
	doc, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rows := defectRow.FindAllSubmatch(doc, -1)
	var kinds []string
	for _, r := range rows {
		kinds = append(kinds, string(r[1]))
	}
	all := defectCases(t, kinds)
	var messages [][]byte
	for _, c := range all {
		messages = append(messages, c.raw)
	}
	with, without := seen(t, dir, messages)
	for _, r := range rows {
		kind := string(r[1])
		first := slices.IndexFunc(all, func(c defectCase) bool { return c.kind == kind })
		n := 0
		for first+n < len(all) && all[first+n].kind == kind {
			n++
		}
		counts, who := measured(all[first:first+n], with[first:first+n], without[first:first+n])
		row := fmt.Sprintf("| `%s` | %s | %s | %s | %s | %s |", kind, r[2], r[3], counts, who, r[6])
		if *updateDefects {
			doc = bytes.Replace(doc, r[0], []byte(row), 1)
		} else if row != string(r[0]) {
			t.Errorf("%s: measured: %s | %s", kind, counts, who)
		}
	}
	if *updateDefects {
		if err := os.WriteFile(path, doc, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDefectOutputs: what is delivered of a case holds its payload for no parser of the kit.
func TestDefectOutputs(t *testing.T) {
	dir := kit(t)
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "mime-defects.md"))
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, r := range defectRow.FindAllSubmatch(doc, -1) {
		kinds = append(kinds, string(r[1]))
	}
	f := attachmentsFilter(t, "")
	var delivered []defectCase
	var messages [][]byte
	held := 0
	for _, c := range defectCases(t, kinds) {
		res, err := judge(t, f, c.raw)
		switch {
		case err != nil:
			t.Errorf("%s-%s: %v", c.kind, c.what, err)
		case res.Propose >= filter.Quarantine:
			held++
		default:
			delivered = append(delivered, c)
			messages = append(messages, res.out)
		}
	}
	with, _ := seen(t, dir, messages)
	leaks := 0
	for i, c := range delivered {
		if len(with[i]) > 0 {
			leaks++
			t.Errorf("%s-%s: delivered, and %s get the payload", c.kind, c.what, strings.Join(with[i], ", "))
		}
	}
	table(t, "The cases of docs/mime-defects.md", "go test -tags accept -run TestDefectOutputs ./internal/accept",
		[]string{"messages", "held or refused", "delivered", "some parser gets the payload out of what is delivered"},
		[][]string{{fmt.Sprint(held + len(delivered)), fmt.Sprint(held), fmt.Sprint(len(delivered)), fmt.Sprint(leaks)}})
}
