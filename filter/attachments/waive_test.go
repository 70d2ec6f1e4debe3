package attachments

import (
	"slices"
	"strings"
	"testing"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
)

// TestWaivedClasses: a class passes where it is waived by name, and nothing else does.
func TestWaivedClasses(t *testing.T) {
	program := []byte("MZ harmless " + strings.Repeat("x", 100))
	plain := []byte("nothing")
	const by = ", waived by allow:17 (dkim example.com)"
	for _, c := range []struct {
		name, config, file string
		content            []byte
		waives             string
		action, reason     string // of the part
	}{
		{"waived", "", "a.bin", program, "attachments/executable", "pass", "it is a DOS or Windows program" + by},
		{"by content and by name", "", "a.exe", program, "attachments/executable", "pass", "it is a DOS or Windows program" + by + "; the file name ends in .exe" + by},
		{"among others", "", "a.js", plain, "score dmarc attachments/macro attachments/script", "pass", "the file name ends in .js" + by},
		{"rejected elsewhere", "classes: {executable: reject}", "a.exe", plain, "attachments/executable", "pass", "the file name ends in .exe" + by},
		{"another class", "", "a.exe", program, "attachments/script attachments/macro", "strip", "it is a DOS or Windows program; the file name ends in .exe"},
		{"a class of two", "", "a.js", program, "attachments/executable", "strip", "the file name ends in .js; it is a DOS or Windows program" + by},
		{"the other of two", "", "a.js", program, "attachments/script", "strip", "it is a DOS or Windows program; the file name ends in .js" + by},
		{"nothing", "", "a.exe", program, "", "strip", "it is a DOS or Windows program; the file name ends in .exe"},
		{"the bare word", "", "a.exe", program, "attachments", "strip", "it is a DOS or Windows program; the file name ends in .exe"},
		{"the class alone", "", "a.exe", program, "executable", "strip", "it is a DOS or Windows program; the file name ends in .exe"},
		{"a pattern", "", "a.exe", program, "attachments/*", "strip", "it is a DOS or Windows program; the file name ends in .exe"},
		{"score", "", "a.exe", program, "score", "strip", "it is a DOS or Windows program; the file name ends in .exe"},
		{"a rule for names", `names: {"*.exe": strip}`, "a.exe", plain, "attachments/executable", "strip", `the file name matches "*.exe"; the file name ends in .exe` + by},
		{"a rule for types", `types: {"application/octet-stream": quarantine}`, "a.exe", plain, "attachments/executable", "quarantine", `the media type application/octet-stream matches "application/octet-stream"; the file name ends in .exe` + by},
		{"a rule for what is found", `types: {"application/vnd.microsoft.portable-executable": quarantine}`, "a.bin", program, "attachments/executable", "quarantine", ""},
		{"passes anyhow", "classes: {executable: pass}", "a.exe", plain, "attachments/executable", "pass", "the file name ends in .exe"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newChecker(t, c.config)
			in := input(t, wrapped(c.file, c.content))
			in.Transaction.Record(auth.Waivers.Of([]auth.Waiver{
				{Domain: "example.com", Proof: "dkim", Waives: strings.Fields(c.waives), Entry: "allow:17"},
			}))
			res, err := f.Check(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			parts, _ := auth.Parts.Among(res.Facts)
			if p := parts[2]; p.Action != c.action || c.reason != "" && p.Reason != c.reason || strings.Contains(p.Reason, "waived") && c.reason == "" {
				t.Errorf("%s: %s", p.Action, p.Reason)
			}
			if passes := len(res.Edits) == 0 && res.Propose == filter.Continue; passes != (c.action == "pass") {
				t.Errorf("proposes %s, edits %v", res.Propose, res.Edits)
			}
			// The next message has its own waivers, or none.
			if again, _ := check(t, f, wrapped("a.exe", program)); (len(again.Edits) == 0 && again.Propose == filter.Continue) != (c.name == "passes anyhow") {
				t.Errorf("a waiver outlives its message: %v", again)
			}
		})
	}
}

// TestAmbiguousIsNotWaived: a message with several readings is written anew, whatever is waived.
func TestAmbiguousIsNotWaived(t *testing.T) {
	const message = "MIME-Version: 1.0\r\nContent-Type: text/plain\r\nContent-Type: text/html\r\n\r\nx\r\n"
	in := input(t, message)
	w := auth.Waiver{Domain: "example.com", Proof: "dkim", Waives: []string{"score", "attachments"}, Entry: "allow:17"}
	for _, cl := range auth.PartClasses() {
		w.Waives = append(w.Waives, auth.WaiveClass(cl))
	}
	in.Transaction.Record(auth.Waivers.Of([]auth.Waiver{w}))
	res, err := newChecker(t, "").Check(t.Context(), in)
	if err != nil || !res.Rebuild || !symbolsOf(res)[symbolAmbiguous] {
		t.Errorf("%+v, %v", res, err)
	}
}

// TestClassesAreKnown: the classes that an entry may waive are those that there are.
func TestClassesAreKnown(t *testing.T) {
	var names []string
	for _, c := range classes {
		names = append(names, string(c))
	}
	if !slices.Equal(names, auth.PartClasses()) {
		t.Errorf("%v, and others are told of %v", names, auth.PartClasses())
	}
}
