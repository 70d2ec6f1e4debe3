package dsn

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/peertest"
	"github.com/postern-mail/postern/mail"
)

// kitParsers are parsers of the differential kit that need no building. Python's are on every machine that has Python.
var kitParsers = []string{
	"py-default", "py-compat32", "gmime", "camel", "perl-mimetools", "perl-emailmime", "perl-mailbox", "ruby-mail", "php-mailparse",
	"php-horde", "reformime", "dovecot-imap",
}

type kitAnswer struct {
	Err   string
	Parts []struct {
		CType string
		Size  int
	}
}

func (a kitAnswer) types() (all []string) {
	for _, p := range a.Parts {
		all = append(all, p.CType)
	}
	return all
}

// oracle has the parsers read files.
func oracle(t *testing.T, files []string) map[string]map[string]kitAnswer {
	t.Helper()
	kit, err := filepath.Abs(peertest.Shared(t, "mimekit"))
	if err != nil {
		t.Fatal(err)
	}
	python, err := exec.LookPath("python3")
	if err != nil {
		peertest.Missing(t, "POSTERN_PEERS", "no program python3")
	}
	cmd := exec.Command(python, append([]string{filepath.Join(kit, "oracle"), "--json", "-", "--parsers", strings.Join(kitParsers, ",")}, files...)...)
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var found map[string]map[string]kitAnswer
	if err := json.Unmarshal(out, &found); err != nil {
		t.Fatal(err)
	}
	return found
}

// Other people's parsers find the text, the status and the original, and no more.
func TestWriteReadByParsers(t *testing.T) {
	dir := t.TempDir()
	var files []string
	want := map[string][]string{}
	groups := map[string]int{} // of fields in the second part
	put := func(name string, r Report, original string) {
		path := filepath.Join(dir, name+".eml")
		n := write(t, r, original)
		if err := os.WriteFile(path, n.Octets, 0o600); err != nil {
			t.Fatal(err)
		}
		c := mail.NewContent(mail.NewBlob(n.Octets), mail.LineFaults{}, mail.Limits{})
		defer c.Release()
		for _, p := range c.Root().Children {
			want[path] = append(want[path], p.Type)
		}
		files, groups[path] = append(files, path), 1+len(r.Recipients)
	}
	control := filepath.Join(dir, "control.eml")
	if err := os.WriteFile(control, []byte(honest), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, make := range reports(t) {
		r, original := make()
		put(name, r, original)
	}
	for name, original := range hostile {
		put("hostile "+name, failure(t), original)
	}
	found := oracle(t, append(slices.Clone(files), control))
	for i, p := range kitParsers {
		if a := found[control][p]; a.Err != "" || !slices.Equal(a.types(), []string{"text/plain"}) {
			if i == 0 {
				t.Fatalf("%s does not work here: %s", p, a.Err)
			}
			t.Logf("%s does not work here: %s", p, a.Err)
			continue
		}
		for _, path := range files {
			got := found[path][p]
			if err := agrees(p, want[path], got.types(), groups[path]); err != nil || got.Err != "" {
				t.Errorf("%s: %s: %s %v", filepath.Base(path), p, got.Err, err)
			}
		}
	}
}

// agrees compares the types of the leaves that a parser finds with those of the three parts. Some look into a message that
// comes back whole, and Python takes each group of fields for a part, whose type is text/plain.
func agrees(parser string, want, got []string, groups int) error {
	if n := len(got); n == 3 && want[2] == "message/rfc822" && got[2] == "text/plain" {
		got = append(slices.Clone(got[:2]), want[2])
	}
	if strings.HasPrefix(parser, "py-") {
		if want[1] == "message/delivery-status" {
			want = slices.Concat(want[:1], slices.Repeat([]string{"text/plain"}, groups), want[2:])
		}
		want = slices.Clone(want)
		for i, kind := range want {
			if strings.HasPrefix(kind, "message/") {
				want[i] = "text/plain" // it looks into each
			}
		}
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("%v, want %v", got, want)
	}
	return nil
}
