//go:build accept

package accept

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/peertest"
)

// tallies counts what became of the messages of one corpus.
type tallies struct {
	fates   map[string]int
	symbols map[string]int
	changed [][]string // the messages that were serialised anew or held, and why
	total   int
}

// judgeAll runs the filter on messages. What changes or is held without a reason is an error.
func judgeAll(t *testing.T, f filter.Filter, all []message) tallies {
	t.Helper()
	n := tallies{fates: map[string]int{}, symbols: map[string]int{}}
	for _, m := range all {
		raw, err := m.read()
		if err != nil {
			t.Fatal(err)
		}
		res, err := judge(t, f, raw)
		if err != nil {
			t.Errorf("%s: %v", m.name, err)
			continue
		}
		n.total++
		n.fates[fate(res)]++
		var why, defects []string
		for _, x := range res.Findings {
			n.symbols[x.Symbol]++
			if x.Symbol == "MIME_AMBIGUOUS" {
				defects = append(defects, x.Detail)
			} else {
				why = append(why, x.Symbol+" "+x.Detail)
			}
		}
		if (res.changed || res.Propose >= filter.Quarantine) && len(defects) == 0 && !classFound(res.Result) {
			t.Errorf("%s: %s, and nothing was found: %v", m.name, fate(res), res.Findings)
		}
		if res.Rebuild || res.Propose >= filter.Quarantine {
			n.changed = append(n.changed, []string{m.name, fate(res), cell(strings.Join(append(defects, why...), "; "))})
		}
	}
	return n
}

// row gives the counts for a table.
func (n tallies) row(name string) []string {
	var symbols []string
	for _, k := range slices.Sorted(maps.Keys(n.symbols)) {
		symbols = append(symbols, fmt.Sprintf("%s %d", k, n.symbols[k]))
	}
	r := []string{name, fmt.Sprint(n.total)}
	for _, f := range []string{"untouched", "rebuilt", "stripped", "held"} {
		r = append(r, fmt.Sprint(n.fates[f]))
	}
	return append(r, strings.Join(symbols, ", "))
}

var fateHead = []string{"messages", "untouched", "serialised anew", "a part removed", "held or refused", "findings"}

// cell makes a text fit for a table.
func cell(s string) string {
	if len(s) > 200 {
		s = s[:200] + "…"
	}
	return strings.NewReplacer("|", "\\|", "\n", " ", "\r", " ").Replace(strings.ToValidUTF8(s, "?"))
}

// The suites of other parsers: what is well-formed and harmless leaves as it came.
func TestMIMESuites(t *testing.T) {
	f := attachmentsFilter(t, "")
	dirs, err := os.ReadDir(peertest.Shared(t, "suites", "mime"))
	if err != nil {
		t.Fatal(err)
	}
	var rows, changed [][]string
	for _, d := range dirs {
		n := judgeAll(t, f, slices.DeleteFunc(folder(t, "mime/"+d.Name()), noMail))
		rows = append(rows, n.row(d.Name()))
		changed = append(changed, n.changed...)
	}
	command := "go test -tags accept -run TestMIMESuites ./internal/accept"
	table(t, "The suites of MIME parsers", command, append([]string{"suite"}, fateHead...), rows)
	const most = 150
	title := "Messages of the suites that were serialised anew or held, and why"
	if len(changed) > most {
		title = fmt.Sprintf("%s (%d of %d)", title, most, len(changed))
	}
	for _, r := range slices.Concat(rows, changed) {
		t.Log(strings.Join(r, " | "))
	}
	table(t, title, command, []string{"message", "", "defects and findings"}, changed[:min(most, len(changed))])
}

// noMail tells the files of a suite that say what a parser should make of its messages, licences and the like.
func noMail(m message) bool {
	return regexp.MustCompile(`(\.(xml|out|ref|conf|md|pem)|/(LICENSE|MIT-LICENSE|NOTICE|COPYING|COMMANDS|SOURCE))$`).MatchString(m.name)
}

// Spam and phishing: no more than what becomes of it.
func TestUnwantedMail(t *testing.T) {
	f := attachmentsFilter(t, "")
	all := archives(t)
	var rows [][]string
	for _, c := range []struct{ name, pattern string }{
		{"SpamAssassin, spam", "^spam/spamassassin/spam-"},
		{"CSDMC2010, spam", "^spam/csdmc2010/spam/"},
		{"Nazario, phishing", "^spam/nazario"},
		{"phishing_pot", "^spam/phishing_pot"},
	} {
		var some []message
		for _, m := range all {
			if regexp.MustCompile(c.pattern).MatchString(m.name) {
				some = append(some, m)
			}
		}
		if len(some) == 0 {
			t.Errorf("%s: no messages", c.name)
		}
		n := judgeAll(t, f, some)
		for _, r := range n.changed {
			t.Log(strings.Join(r, " | "))
		}
		rows = append(rows, n.row(c.name))
	}
	for _, r := range rows {
		t.Log(strings.Join(r, " | "))
	}
	table(t, "Spam and phishing", "go test -tags accept -run TestUnwantedMail ./internal/accept", append([]string{"corpus"}, fateHead...), rows)
}
