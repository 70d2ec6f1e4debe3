package authres

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/postern-mail/postern/internal/peertest"
)

// authresScript reads a field from each line of JSON, and writes what Debian's python3-authres makes of it.
const authresScript = `
import json, sys
import authres
context = authres.all_features()
for line in sys.stdin:
    header = context.parse("Authentication-Results: " + json.loads(line))
    print(json.dumps({"ID": header.authserv_id, "Results": [{
        "Method": r.method, "Result": r.result, "Reason": r.reason or "",
        "Properties": [{"Name": p.type + "." + p.name, "Value": p.value} for p in r.properties],
    } for r in header.results if r.method != "none"]}))
`

// TestPythonReadsTheSame: another reader finds in our fields what the strict one of these tests does.
func TestPythonReadsTheSame(t *testing.T) {
	peertest.File(t, "usr/lib/python3/dist-packages/authres")
	type reading struct {
		ID      string
		Results []arResult
	}
	var lines bytes.Buffer
	var want []reading
	drawn := rapid.Custom(drawFacts)
	for seed := range 1000 {
		d := drawn.Example(seed)
		body := bodyOf(false, d.facts...) // it knows nothing of internationalized messages
		id, results, err := readAR(body)
		if err != nil {
			t.Fatal(err)
		}
		line, err := json.Marshal(strings.ReplaceAll(body, "\r\n", "")) // it leaves unfolding to its caller
		if err != nil {
			t.Fatal(err)
		}
		lines.Write(append(line, '\n'))
		want = append(want, reading{id, results})
	}
	cmd := peertest.Command(t, "python3", "-c", authresScript)
	var failure bytes.Buffer
	cmd.Stdin, cmd.Stderr = &lines, &failure
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, failure.String())
	}
	answers := json.NewDecoder(bytes.NewReader(out))
	differ := 0
	for i := range want {
		var got reading
		if err := answers.Decode(&got); err != nil {
			t.Fatal(err)
		}
		if got.ID != want[i].ID || !equalResults(got.Results, want[i].Results) {
			if differ++; differ < 5 {
				t.Errorf("seed %d, -strict +python\n%s", i, cmp.Diff(want[i], got))
			}
		}
	}
	t.Logf("%d fields, %d are read in another way", len(want), differ)
}

// TestSuiteFields: each field that the tests of authres-python read is ours by the id that they say it has, and no one
// else's.
func TestSuiteFields(t *testing.T) {
	text, err := os.ReadFile(peertest.Shared(t, "suites", "authres", "authres-python", "tests"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, m := range regexp.MustCompile(`parse\('Authentication-Results:(.*)'\)`).FindAllStringSubmatch(string(text), -1) {
		body := strings.ReplaceAll(m[1], `\n`, "\r\n")
		id, _, err := readAR(body)
		if err != nil {
			t.Logf("not by the grammar: %v: %q", err, body)
			continue
		}
		n++
		if !bearing(id)(body) || bearing("mx.elsewhere.example")(body) || claims(testID, []string{id})(body) || !claims(testID, []string{})(body) {
			t.Errorf("%s: %q", id, body)
		}
	}
	if n < 19 {
		t.Errorf("only %d fields were found", n)
	}
	t.Logf("%d fields", n)
}

func equalResults(a, b []arResult) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Method != b[i].Method || a[i].Result != b[i].Result || a[i].Reason != b[i].Reason || len(a[i].Properties) != len(b[i].Properties) {
			return false
		}
		for j := range a[i].Properties {
			if a[i].Properties[j] != b[i].Properties[j] {
				return false
			}
		}
	}
	return true
}
