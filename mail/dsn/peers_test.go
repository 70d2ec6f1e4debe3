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

// builtParsers are those of it that need building.
var builtParsers = []string{
	"kmime", "libetpan", "mailutils", "mimetic", "vmime", "node-postal-mime", "node-emailjs", "go-stdlib", "go-message", "go-enmime",
	"java-jakarta", "java-jakarta-lenient", "java-mime4j",
}

// kitOf gives the folder of the kit, and the parsers to ask: all of them where $POSTERN_MIMEKIT is one in which they have been built, as
// `make accept` does.
func kitOf(t *testing.T) (dir string, parsers []string) {
	t.Helper()
	if dir := os.Getenv("POSTERN_MIMEKIT"); dir != "" {
		return dir, slices.Concat(kitParsers, builtParsers)
	}
	dir, err := filepath.Abs(peertest.Shared(t, "mimekit"))
	if err != nil {
		t.Fatal(err)
	}
	return dir, kitParsers
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

// oracle has the parsers of a kit read files.
func oracle(t *testing.T, kit string, parsers, files []string) map[string]map[string]kitAnswer {
	t.Helper()
	python, err := exec.LookPath("python3")
	if err != nil {
		peertest.Missing(t, "POSTERN_PEERS", "no program python3")
	}
	cmd := exec.Command(python, append([]string{filepath.Join(kit, "oracle"), "--json", "-", "--parsers", strings.Join(parsers, ",")}, files...)...)
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
	kit, parsers := kitOf(t)
	found := oracle(t, kit, parsers, append(slices.Clone(files), control))
	for i, p := range parsers {
		if a := found[control][p]; a.Err != "" || !slices.Equal(a.types(), []string{"text/plain"}) {
			if i == 0 || slices.Contains(builtParsers, p) {
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
// comes back whole, Python takes each group of fields for a part, whose type is text/plain, and postal-mime does not know the types of
// RFC 6533.
func agrees(parser string, want, got []string, groups int) error {
	if n := len(got); n == 3 && want[2] == "message/rfc822" && got[2] == "text/plain" {
		got = append(slices.Clone(got[:2]), want[2])
	}
	if parser == "node-postal-mime" && want[1] == "message/global-delivery-status" {
		return nil
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
