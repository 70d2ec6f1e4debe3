package doctor

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what the program says into docs/doctor.md")

const (
	document = "../../docs/doctor.md"
	marker   = "## Why it hurts, and how to mend it\n"
)

// TestDocumented: docs/doctor.md has a row for each finding that there can be, and no other; and below it what the command
// says of each.
func TestDocumented(t *testing.T) {
	b, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	doc, _, ok := strings.Cut(string(b), marker)
	if !ok {
		t.Fatalf("%s has no %q", document, marker)
	}
	var rows []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z0-9-]+)` \\|").FindAllStringSubmatch(doc, -1) {
		rows = append(rows, m[1])
	}
	want := doc + marker + advised(rows)
	slices.Sort(rows)
	if !slices.Equal(rows, Codes()) {
		t.Errorf("%s has the rows %q, and the findings are %q", document, rows, Codes())
	}
	if *update {
		if err := os.WriteFile(document, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if want != string(b) {
		t.Errorf("%s does not say what the command does: go test ./internal/doctor -run Documented -update", document)
	}
}

// advised writes down what the command says of findings, in the order of the document's rows.
func advised(codes []string) string {
	var b strings.Builder
	for _, code := range codes {
		why, mend := Advice(code)
		fmt.Fprintf(&b, "\n### %s\n\n%s\n", code, why)
		first := "\n"
		for _, of := range [][2]string{{"Here", mend.Here}, {"Exchange", mend.Exchange}, {"Postfix", mend.Postfix}, {"Dovecot", mend.Dovecot}} {
			if of[1] != "" {
				fmt.Fprintf(&b, "%s- %s: %s\n", first, of[0], of[1])
				first = ""
			}
		}
	}
	return b.String()
}

// TestAdvice: of each finding there is something to say, and something to do.
func TestAdvice(t *testing.T) {
	for code, a := range advices {
		if a.why == "" || a.mend == (Mend{}) {
			t.Errorf("%s: %+v", code, a)
		}
	}
}
