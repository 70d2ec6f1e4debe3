package accept

import (
	"fmt"
	"io"
	"strings"
	"testing"
)

// missedMark stands in each table of which something was missed.
const missedMark = "**missed**"

// staleNote stands above a table that was left from an earlier run.
const staleNote = "*The last run did not finish this: what follows is of an earlier one.*"

// goals are what the figures of a row should reach: none of them fails the test, and stands in the row.
type goals struct{ missed []string }

// want notes a goal. Where it is missed, the test fails with what the format says, and goes on.
func (g *goals) want(t testing.TB, met bool, goal, format string, args ...any) {
	t.Helper()
	if !met {
		t.Errorf(format, args...)
		g.missed = append(g.missed, goal)
	}
}

// String gives the cell of the row.
func (g *goals) String() string {
	if len(g.missed) == 0 {
		return "met"
	}
	return missedMark + ": goal " + strings.Join(g.missed, "; ")
}

// writeTable writes a section of the document. What failed and is marked in no row is marked above all of them.
func writeTable(w io.Writer, failed bool, title, command string, head []string, rows [][]string) {
	var body strings.Builder
	fmt.Fprintf(&body, "| %s |\n|%s\n", strings.Join(head, " | "), strings.Repeat("---|", len(head)))
	for _, r := range rows {
		fmt.Fprintf(&body, "| %s |\n", strings.Join(r, " | "))
	}
	fmt.Fprintf(w, "## %s\n\n`%s`\n\n", title, command)
	if failed && !strings.Contains(body.String(), missedMark) {
		fmt.Fprintf(w, "%s: the test failed, and says in its output why.\n\n", missedMark)
	}
	io.WriteString(w, body.String())
}

// merge gives the document's tables after a run that did not pass: those of the run in the places of the old ones, and
// the old ones of which the run has none, which say so.
func merge(old string, tables []string) []string {
	fresh := map[string]string{}
	for _, s := range tables {
		fresh[tableKey(s)] = s
	}
	var all []string
	_, rest, _ := strings.Cut(old, "\n## ")
	for s := range strings.SplitSeq(rest, "\n## ") {
		s = strings.TrimRight("## "+s, "\n") + "\n"
		key := tableKey(s)
		if s == "## \n" {
			continue
		}
		if now, ok := fresh[key]; ok {
			s = now
			delete(fresh, key)
		} else if title, body, _ := strings.Cut(s, "\n"); !strings.Contains(s, staleNote) {
			s = title + "\n\n" + staleNote + "\n" + body
		}
		all = append(all, s)
	}
	for _, s := range tables {
		if _, ok := fresh[tableKey(s)]; ok {
			all = append(all, s)
		}
	}
	return all
}

// tableKey gives the title of a table without what stands in parentheses at its end: counts do.
func tableKey(section string) string {
	title, _, _ := strings.Cut(section, "\n")
	title, _, _ = strings.Cut(title, " (")
	return title
}

// recorder is a test that may fail.
type recorder struct {
	testing.TB
	said []string
}

func (r *recorder) Helper() {}

func (r *recorder) Errorf(format string, args ...any) {
	r.said = append(r.said, fmt.Sprintf(format, args...))
}

func TestGoals(t *testing.T) {
	var g goals
	var r recorder
	g.want(&r, true, "1.35", "more than %.2f", 1.35)
	if g.String() != "met" || len(r.said) > 0 {
		t.Errorf("%q, %q", g.String(), r.said)
	}
	g.want(&r, false, "1.35", "more than %.2f", 1.35)
	g.want(&r, false, "all of them", "fewer")
	if want := "**missed**: goal 1.35; all of them"; g.String() != want || strings.Join(r.said, ",") != "more than 1.35,fewer" {
		t.Errorf("%q, %q", g.String(), r.said)
	}
}

func TestDocument(t *testing.T) {
	section := func(failed bool, title, cell string) string {
		var b strings.Builder
		writeTable(&b, failed, title, "cmd", []string{"figure"}, [][]string{{cell}})
		return b.String()
	}
	const failed = "**missed**: the test failed"
	if s := section(true, "A", "1"); !strings.Contains(s, failed) {
		t.Errorf("a failed test is not marked:\n%s", s)
	}
	if s := section(true, "A", missedMark+": goal 2"); strings.Contains(s, failed) {
		t.Errorf("a missed goal is marked twice:\n%s", s)
	}
	if s := section(false, "A", "1"); s != "## A\n\n`cmd`\n\n| figure |\n|---|\n| 1 |\n" {
		t.Errorf("%q", s)
	}

	old := "# Runs\n\nText.\n\n" + strings.Join([]string{section(false, "A", "1"), section(false, "B (1 of 2)", "2"), section(false, "C", "3")}, "\n")
	fresh := []string{section(false, "D", "7"), section(false, "B (5 of 6)", "8")}
	stale := func(s string) string { return strings.Replace(s, "\n\n", "\n\n"+staleNote+"\n\n", 1) }
	want := []string{stale(section(false, "A", "1")), fresh[1], stale(section(false, "C", "3")), fresh[0]}
	got := merge(old, fresh)
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s", strings.Join(got, "\n"))
	}
	if again := merge("# Runs\n\n"+strings.Join(got, "\n"), fresh); strings.Join(again, "\n") != strings.Join(want, "\n") {
		t.Errorf("a second time:\n%s", strings.Join(again, "\n"))
	}
	if all := merge("", fresh); strings.Join(all, "") != strings.Join(fresh, "") {
		t.Errorf("without an old document: %q", all)
	}
}
