package dkim

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/postern-mail/postern/filter"
)

// TestDocs holds the table in docs/filters against what the filter declares: each symbol with its weight, and no other.
func TestDocs(t *testing.T) {
	doc, err := os.ReadFile("../../docs/filters/dkim.md")
	if err != nil {
		t.Fatal(err)
	}
	spec, _, err := Factory.New(filter.Env{Name: "dkim"}, func(any) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range spec.Symbols {
		row := "| `" + s.Name + "` | " + strconv.FormatFloat(s.Weight, 'g', -1, 64) + " | "
		if !strings.Contains(string(doc), "\n"+row) {
			t.Errorf("the table lacks the row %s", row)
		}
		if s.Description == "" {
			t.Errorf("%s has no description", s.Name)
		}
	}
	if rows := strings.Count(string(doc), "\n| `"); rows != len(spec.Symbols) {
		t.Errorf("%d rows of symbols for %d symbols", rows, len(spec.Symbols))
	}
}
