package law

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestEveryReplyIsTested holds the tables of docs/replies.md against the tests that their last column names: `FOLDER NAME`, where NAME is a
// function of the folder's tests, or a file of its testdata/dialog.
func TestEveryReplyIsTested(t *testing.T) {
	rows, tests := 0, 0
	for line := range strings.Lines(read(t, "docs", "replies.md")) {
		cells := strings.Split(strings.TrimSuffix(strings.TrimSpace(line), "|"), "|")
		if len(cells) < 2 || strings.HasPrefix(line, "|---") || strings.HasPrefix(line, "| situation ") {
			continue
		}
		if len(cells) != 5 {
			t.Errorf("a row of %d cells: %s", len(cells)-1, line)
			continue
		}
		rows++
		named := regexp.MustCompile("`([^` ]+) ([^` ]+)`").FindAllStringSubmatch(cells[4], -1)
		if len(named) == 0 {
			t.Errorf("no test is named for:%s", cells[1])
		}
		for _, n := range named {
			tests++
			if !testExists(t, n[1], n[2]) {
				t.Errorf("%s has no %s, which is to test:%s", n[1], n[2], cells[1])
			}
		}
	}
	if rows < 30 || tests < rows {
		t.Errorf("%d rows, %d tests", rows, tests)
	}
	if testExists(t, "internal/edge", "TestNothing") || testExists(t, "internal/edge", "nothing.txtar") {
		t.Error("tests are there that are not")
	}
}

// testExists reports whether a folder of the repository has a test of this name.
func testExists(t *testing.T, folder, name string) bool {
	t.Helper()
	dir := filepath.Join("..", "..", filepath.FromSlash(folder))
	if strings.HasSuffix(name, ".txtar") {
		_, err := os.Stat(filepath.Join(dir, "testdata", "dialog", name))
		return err == nil
	}
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "\nfunc "+name+"(t *testing.T)") {
			return true
		}
	}
	return false
}
