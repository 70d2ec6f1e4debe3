package dkim

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/internal/peertest"
)

// TestSuites compares what the filter says of the messages of the DKIM suites with what the library said of them when
// they were gathered, signature by signature: domain and result.
func TestSuites(t *testing.T) {
	folder := peertest.Shared(t, "suites/dkim")
	table, err := os.ReadFile(filepath.Join(folder, "observed.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]map[string]string{}
	compared, signatures := 0, 0
	for line := range strings.Lines(string(table)) {
		col := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if len(col) < 4 || strings.HasPrefix(line, "#") {
			continue
		}
		suite, file, want := col[0], col[1], col[3]
		message, err := os.ReadFile(filepath.Join(folder, filepath.FromSlash(file)))
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		if texts[suite] == nil {
			texts[suite] = readKeys(t, folder, suite)
		}
		_, f := build(t, fakeDNS{texts: texts[suite]})
		got, err := f.Check(t.Context(), input(t, canonical(message)))
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		fact, _ := auth.DKIM.Among(got.Facts)
		compared++
		signatures += len(fact)
		if strings.HasPrefix(want, "ERR failed to read header: EOF") {
			// A message without the blank line, which the library does not take as it is.
			if len(fact) == 0 {
				t.Errorf("%s: no signature was found", file)
			}
			continue
		}
		if g, w := said(fact), observed(want, fact); g != w {
			t.Errorf("%s: got %s, want %s", file, g, w)
		}
	}
	t.Logf("%d messages with %d signatures compared", compared, signatures)
	if compared < 90 {
		t.Errorf("only %d messages were compared", compared)
	}
}

func said(results []auth.DKIMResult) string {
	var all []string
	for _, r := range results {
		all = append(all, strings.ToLower(r.Domain)+"="+string(r.Result))
	}
	return strings.Join(all, " ")
}

// observed puts the table's words, `domain=permfail:why; …`, into ours. The library does not say the domain of a
// signature that it stops reading early; there ours is taken.
func observed(s string, ours []auth.DKIMResult) string {
	if s == "none" {
		return ""
	}
	var all []string
	for i, one := range strings.Split(s, "; ") {
		domain, rest, _ := strings.Cut(one, "=")
		word, why, _ := strings.Cut(rest, ":")
		result := map[string]auth.Result{
			"pass": auth.Pass, "permfail": auth.PermError, "fail": auth.Fail, "tempfail": auth.TempError,
		}[word]
		if strings.Contains(why, "insecure body length") {
			result = auth.Policy
		}
		if domain == "" && i < len(ours) {
			domain = ours[i].Domain
		}
		all = append(all, strings.ToLower(domain)+"="+string(result))
	}
	return strings.Join(all, " ")
}

func readKeys(t *testing.T, folder, suite string) map[string]string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(folder, "keys-"+suite+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var lists map[string][]string
	if err := json.Unmarshal(b, &lists); err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for name, list := range lists {
		texts[name] = strings.Join(list, "")
	}
	return texts
}

// canonical gives a message the line ends that it has on the wire.
func canonical(b []byte) string {
	b = bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n"))
	return string(bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n")))
}
