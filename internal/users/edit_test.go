package users

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestEdit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	if err := Add(path, New{Name: "ann@example.org", Password: "one", Send: []string{"ann@example.org", "*.example.org"}, Rates: []string{"10/1h"}}); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	const before, after = "# who may send\n\n  bob\t" + cheap + "  send=*   # Bob, since 2024\n", "# the end, without one"
	if err := os.WriteFile(path, []byte(before+content(t, path)+after), 0o640); err != nil { //nolint:gosec // its mode is what is tested
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o644); err != nil { //nolint:gosec // as above
		t.Fatal(err)
	}
	if err := Add(path, New{Name: "carol", Password: "three", Send: []string{"*"}}); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v: what others may goes, and no more", info.Mode(), err)
	}
	if err := SetPassword(path, "BOB", "two"); err != nil {
		t.Fatal(err)
	}
	text := content(t, path)
	rest, ok := strings.CutPrefix(text, "# who may send\n\n  bob\t$argon2id$v=19$m=19456,t=2,p=1$")
	if !ok || !strings.Contains(rest, "  send=*   # Bob, since 2024\nann@example.org $argon2id$") ||
		!strings.Contains(rest, " send=ann@example.org,*.example.org rate=10/1h\n# the end, without one\ncarol $argon2id$") {
		t.Errorf("order, blanks or comments are gone:\n%s", text)
	}
	l := list(t, text)
	for name, password := range map[string]string{"ann@example.org": "one", "bob": "two", "carol": "three"} {
		if !SamePassword(l.Find(name), password) || SamePassword(l.Find(name), "other") || SamePassword(l.Find(name), "") {
			t.Errorf("%s: the password is not the one that was given", name)
		}
	}
	if err := Remove(path, "ann@example.org"); err != nil {
		t.Fatal(err)
	}
	if got := content(t, path); strings.Contains(got, "ann@") || !strings.HasPrefix(got, "# who may send\n\n  bob") || len(list(t, got).All()) != 2 {
		t.Errorf("after rm:\n%s", got)
	}
}

func TestEditErrors(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "users")
	const before = "bob " + cheap + " send=*\n"
	if err := os.WriteFile(path, []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	add := func(path, name, password string, send ...string) error {
		return Add(path, New{Name: name, Password: password, Send: send})
	}
	for name, got := range map[string]error{
		"is there already":       add(path, "Bob", "x", "*"),
		"a password has 1 to":    add(path, "ann", "", "*"),
		"a name is of letters":   add(path, "a b", "x", "*"),
		"is no domain":           add(path, "ann", "x"),
		"is no address":          add(path, "ann", "x", "a@"),
		"is unknown":             add(path, "ann", "x", "a.example b=c"),
		"no # at the beginning":  add(path, "#ann", "x", "*"),
		"no such file":           SetPassword(path+"2", "ann", "x"),
		"there is no such user":  SetPassword(path, "ann", "x"),
		"there is no such user ": Remove(path, "ann"),
		"users: ":                Remove(filepath.Join(dir, "none", "users"), "ann"),
	} {
		if got == nil || !strings.Contains(got.Error(), strings.TrimSpace(name)) {
			t.Errorf("%v; want %s", got, name)
		}
	}
	if err := Remove(path, "ann"); !errors.Is(err, ErrNoUser) {
		t.Errorf("%v is no ErrNoUser", err)
	}
	// A line with an injected one.
	if err := add(path, "ann", "x", "*\neve "+cheap+" send=*"); err == nil {
		t.Error("two lines were added")
	}
	// Whoever is at work is not disturbed, and a broken file is not written over.
	if err := os.WriteFile(path+".new", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := add(path, "ann", "x", "*"); err == nil || !strings.Contains(err.Error(), "somebody else is changing the file") {
		t.Errorf("%v", err)
	}
	_ = os.Remove(path + ".new")
	if got := content(t, path); got != before {
		t.Errorf("the file has changed: %s", got)
	}
	if err := os.WriteFile(path, []byte("nonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := add(path, "ann", "x", "*"); err == nil || !strings.Contains(err.Error(), path+":1: ") {
		t.Errorf("%v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.new")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A link stays one: what it points to is changed.
func TestEditLink(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "users"), filepath.Join(dir, "link")
	if err := os.WriteFile(path, []byte("bob "+cheap+" send=*\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if err := Add(link, New{Name: "ann", Password: "x", Send: []string{"*"}}); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 || !strings.Contains(content(t, path), "ann ") {
		t.Errorf("%v, %v\n%s", info.Mode(), err, content(t, path))
	}
}

func TestWeaknesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	text := "ann " + cheap + " send=a.example\n\nbob " + cheap + " send=*\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o644); err != nil { //nolint:gosec // what is tested
		t.Fatal(err)
	}
	all := strings.Join(Weaknesses(path, list(t, text)), "\n")
	for _, want := range []string{path + ": everybody", path + ":1: ann: m=8,t=1 takes", path + ":3: bob: m=8", path + ":3: bob may send as anybody"} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is missing in\n%s", want, all)
		}
	}
}
