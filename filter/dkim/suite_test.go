package dkim

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/internal/peertest"
)

var update = flag.Bool("update", false, "write docs/dkim-suite.md anew")

// suiteClock is later than all signatures of the suites, and earlier than any x= but one that is meant to be over.
var suiteClock = time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC)

const suitePage = "../../docs/dkim-suite.md"

// TestSuites holds what the filter says of the messages of the DKIM suites against the table of docs/dkim-suite.md, in
// which each departure from the word of another implementation names what decides it.
func TestSuites(t *testing.T) {
	folder := peertest.Shared(t, "suites/dkim")
	table, err := os.ReadFile(filepath.Join(folder, "observed.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(suitePage)
	if err != nil {
		t.Fatal(err)
	}
	var rows strings.Builder
	messages, departures := 0, 0
	for line := range strings.Lines(string(table)) {
		col := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if len(col) < 4 || strings.HasPrefix(line, "#") {
			continue
		}
		row, departs := suiteRow(t, folder, col[0], col[1], col[2], col[3])
		rows.WriteString(row)
		messages++
		if departs {
			departures++
		}
	}
	if messages < 99 {
		t.Errorf("only %d messages were looked at", messages)
	}
	head, _, _ := strings.Cut(string(page), suiteMark)
	want := head + suiteMark + "\n" + fmt.Sprintf("\n%d messages, %d of which others have judged differently.\n\n", messages, departures) +
		"| message | Mail::DKIM | go-msgauth | here | what decides it |\n|---|---|---|---|---|\n" + rows.String()
	if *update {
		if err := os.WriteFile(suitePage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(page), want); diff != "" {
		t.Errorf("%s (-page +now):\n%s", suitePage, diff)
	}
}

const suiteMark = "<!-- The rest is written by: go test ./filter/dkim -run TestSuites -update -->"

// suiteRow gives a message's row in the table, and whether our word is another than somebody else's.
func suiteRow(t *testing.T, folder, suite, file, perl, library string) (row string, departs bool) {
	t.Helper()
	message, err := os.ReadFile(filepath.Join(folder, filepath.FromSlash(file)))
	if err != nil {
		t.Fatal(err)
	}
	_, f := build(t, fakeDNS{texts: readKeys(t, folder, suite)})
	f.(*check).now = func() time.Time { return suiteClock }
	got, err := f.Check(t.Context(), input(t, canonical(message)))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	fact, _ := auth.DKIM.Among(got.Facts)
	var words, decided []string
	for _, r := range fact {
		word := string(r.Result)
		if r.Reason != "" {
			word += ": " + r.Reason
		}
		if len(r.Added) > 0 {
			word += "; added: " + strings.Join(r.Added, ", ")
		}
		words = appendOnce(words, word)
		decided = appendOnce(decided, decider(t, file, r))
	}
	if len(fact) == 0 {
		words, decided = []string{"no DKIM-Signature"}, []string{"RFC 6376 3.5: DomainKeys (RFC 4870, Historic) is another field"}
	}
	theirs := observed(library)
	departs = perl != "" && perl != inTheirWords(fact) || theirs != said(fact)
	if !departs {
		decided = nil
	}
	cell := func(s string) string { return strings.ReplaceAll(s, "|", "\\|") }
	return fmt.Sprintf("| %s | %s | %s | %s | %s |\n", strings.TrimPrefix(file, suite+"/"), perl, cell(theirs), cell(strings.Join(words, "; ")), cell(strings.Join(decided, "; "))), departs
}

func appendOnce(all []string, s string) []string {
	for _, a := range all {
		if a == s {
			return all
		}
	}
	return append(all, s)
}

// decider names the paragraph that a result which is no pass rests on.
func decider(t *testing.T, file string, r auth.DKIMResult) string {
	t.Helper()
	for reason, paragraph := range map[string]string{
		"rsa-sha1":                 "RFC 8301 3.1: rsa-sha1 must not be used for verifying",
		"less than 1024":           "RFC 8301 3.2: less than 1024 bits are not valid",
		"version":                  "RFC 6376 3.5, 6.1.1: v= must be there and be 1; drafts are no standard",
		"not for SHA-256":          "RFC 6376 3.6.1: h= of the key; RFC 8301 3.1 leaves SHA-256",
		"no Ed25519 key":           "RFC 8463 4.1: 32 octets without ASN.1",
		"there is no key":          "RFC 6376 6.1.2: no key for signature",
		"the key record:":          "RFC 6376 6.1.2: key syntax error",
		"a tag without":            "RFC 6376 3.2",
		"another type":             "RFC 6376 6.1.2: inappropriate key algorithm",
		"body does not match":      "RFC 6376 6.1.3: body hash did not verify",
		"signature does not match": "RFC 6376 6.1.3: signature did not verify",
	} {
		if strings.Contains(r.Reason, reason) {
			return paragraph
		}
	}
	if r.Result != auth.Pass {
		t.Errorf("%s: no paragraph decides %q", file, r.Reason)
	}
	return ""
}

// inTheirWords gives the one word that Mail::DKIM has for a message.
func inTheirWords(results []auth.DKIMResult) string {
	word := "invalid"
	for _, r := range results {
		switch {
		case r.Result == auth.Pass:
			return "pass"
		case r.Result == auth.Fail:
			word = "fail"
		}
	}
	return word
}

func said(results []auth.DKIMResult) string {
	var all []string
	for _, r := range results {
		all = append(all, string(r.Result))
	}
	return strings.Join(all, " ")
}

// observed puts the table's words, `domain=permfail:why; …`, into ours.
func observed(s string) string {
	var all []string
	for one := range strings.SplitSeq(s, "; ") {
		_, rest, ok := strings.Cut(one, "=")
		word, _, _ := strings.Cut(rest, ":")
		result, known := map[string]auth.Result{
			"pass": auth.Pass, "permfail": auth.PermError, "fail": auth.Fail, "tempfail": auth.TempError,
		}[word]
		if ok && known {
			all = append(all, string(result))
		} else if one != "none" {
			all = append(all, "not read")
		}
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
		if list[0] != "NXDOMAIN" {
			texts[name] = strings.Join(list, "")
		}
	}
	return texts
}

// canonical gives a message the line ends that it has on the wire.
func canonical(b []byte) string {
	b = bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n"))
	return string(bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n")))
}
