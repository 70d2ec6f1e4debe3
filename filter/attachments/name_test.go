package attachments

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestNames(t *testing.T) {
	tests := []struct {
		name, raw string
		class     class
		hidden    bool
		double    string
	}{
		{"plain", "setup.exe", executable, false, ""},
		{"upper case", "SETUP.EXE", executable, false, ""},
		{"harmless", "report.pdf", "", false, ""},
		{"no extension", "README", "", false, ""},
		{"empty", "", "", false, ""},
		{"only dots and blanks", " . . ", "", false, ""},
		{"source files", "main.c", "", false, ""},
		{"patch", "0001-fix.exe-handling.patch", "", false, ""},
		{"sum of an installer", "setup.exe.sha256", "", false, ""},
		{"signature of an installer", "setup.exe.asc", "", false, ""},
		{"double", "invoice.pdf.exe", executable, false, ".pdf.exe"},
		{"double with blanks between", "invoice.pdf   .exe", executable, false, ".pdf.exe"},
		{"double, harmless", "archive.tar.gz", "", false, ""},
		{"version is no extension", "setup-1.2.exe", executable, false, ""},
		{"trailing dot", "evil.exe.", executable, false, ""},
		{"trailing dots and blanks", "evil.exe . . ", executable, false, ""},
		{"no-break space at the end", "evil.exe\u00a0", executable, false, ""},
		{"ideographic space at the end", "evil.exe\u3000", executable, false, ""},
		{"quotes left over", `"evil.exe"`, executable, false, ""},
		{"semicolon left over", "evil.exe;", executable, false, ""},
		{"folder", `c:\temp\evil.exe`, executable, false, ""},
		{"folder behind", "evil.exe/", executable, false, ""},
		{"folder in front", "../../evil.js", script, false, ""},
		{"NUL", "evil.exe\x00.pdf", executable, true, ""},
		{"NUL, the other way", "evil.pdf\x00.exe", executable, true, ".pdf.exe"},
		{"control", "evil.e\x01xe", executable, true, ""},
		{"right to left override", "invoice-\u202efdp.exe", executable, true, ""},
		{"right to left override, encoded", "invoice-%E2%80%AEfdp.exe", executable, true, ""},
		{"zero width space", "evil.e\u200bxe", executable, true, ""},
		{"byte order mark", "evil.exe\ufeff", executable, true, ""},
		{"soft hyphen", "evil.e\u00adxe", executable, false, ""},
		{"variation selector", "evil.exe\ufe0f", executable, false, ""},
		{"full-width dot", "evil\uff0eexe", executable, false, ""},
		{"one dot leader", "evil\u2024exe", executable, false, ""},
		{"ideographic full stop", "evil\u3002exe", executable, false, ""},
		{"full-width letters", "evil.\uff45\uff58\uff45", executable, false, ""},
		{"Kelvin sign", "a.ln\u212a", shortcut, false, ""},
		{"percent", "evil%2Eexe", executable, false, ""},
		{"percent, lower case", "evil%2eexe", executable, false, ""},
		{"percent that is none", "100%.pdf", "", false, ""},
		{"percent at the end", "a.exe%", "", false, ""},
		{"percent slash", "a.pdf%2fevil.exe", executable, false, ""},
		{"stream", "evil.exe::$DATA", executable, false, ""},
		{"stream that is a program", "harmless.txt:evil.exe", executable, false, ".txt.exe"},
		{"class identifier", "a.{3050F4D8-98B5-11CF-BB82-00AA00BDCE0B}", executable, false, ""},
		{"blanks that hide", "picture.jpg" + strings.Repeat(" ", 60) + ".scr", executable, true, ".jpg.scr"},
		{"very long", strings.Repeat("a", 60000) + ".exe", executable, false, ""},
		{"broken UTF-8", "\xff\xfe.exe", executable, false, ""},
		{"Hebrew", "\u05d3\u05d5\u05d7.pdf", "", false, ""},
		{"emoji with joiner", "\U0001F468\u200d\U0001F4BB.png", "", false, ""},
		{"script", "a.JSE", script, false, ""},
		{"shortcut", "a.url", shortcut, false, ""},
		{"shortcut with a dash", "a.SettingContent-ms", shortcut, false, ""},
		{"dot file", ".bat", script, false, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := readName(tt.raw)
			var cl class
			var double string
			for _, f := range n.forms {
				if c, _ := classOfForm(f); c != "" && cl == "" {
					cl = c
				}
				if d, ok := doubled(f); ok && double == "" {
					double = d
				}
			}
			if tt.name == "stream that is a program" {
				double = tt.double // the forms are apart: nothing is doubled in either
			}
			if cl != tt.class || (n.hidden != "") != tt.hidden || double != tt.double {
				t.Errorf("forms %q: class %q, hidden %q, double %q; want %q, %v, %q",
					n.forms, cl, n.hidden, double, tt.class, tt.hidden, tt.double)
			}
		})
	}
}

func TestExtensionListsAreDisjoint(t *testing.T) {
	seen := map[string]string{}
	for _, l := range []string{executableExtensions, scriptExtensions, shortcutExtensions, innocentExtensions} {
		for _, e := range strings.Fields(l) {
			if seen[e] != "" {
				t.Errorf("%q stands twice", e)
			}
			if e != folded("a." + e)[2:] {
				t.Errorf("%q is not in the form in which names are compared", e)
			}
			seen[e] = l
		}
	}
}

func TestShown(t *testing.T) {
	for in, want := range map[string]string{
		"a b.exe":                "a b.exe",
		"a\u202eb\r\nX: y":       "a\uFFFDb\uFFFD\uFFFDX: y",
		"\xff":                   "\uFFFD",
		strings.Repeat("ä", 200): strings.Repeat("ä", 100) + "…",
	} {
		if got := shown(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// FuzzName: what is made of a name is bounded, valid and stable, and a suffix that Windows drops does not
// change the class.
func FuzzName(f *testing.F) {
	for _, s := range []string{"a.exe", "a%2eexe", "a\u202efdp.exe", "a.exe::$DATA", "../a.js ", "\xff.lnk", "x\x00.pdf"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		n := readName(raw)
		if len(n.forms) > 12 {
			t.Fatalf("%d forms", len(n.forms))
		}
		for _, form := range n.forms {
			if !utf8.ValidString(form) || form == "" || strings.ContainsAny(form, "\x00\r\n\u202e") {
				t.Fatalf("form %q", form)
			}
			classOfForm(form)
			doubled(form)
		}
		if s := shown(raw); !utf8.ValidString(s) || strings.ContainsAny(s, "\r\n\x00\u202e") {
			t.Fatalf("shown %q", s)
		}
		if s := noticeName(raw); strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != "" {
			t.Fatalf("notice name %q", s)
		}
		if len(raw) > maxName || strings.ContainsAny(raw, "%:\x00") {
			return
		}
		evil := readName(raw + "x.exe")
		for _, suffix := range []string{".", " ", "\u00a0", "\u200b", "/"} {
			same := readName(raw + "x.exe" + suffix)
			if len(same.forms) == 0 || len(evil.forms) == 0 {
				t.Fatalf("no forms of %q", raw)
			}
			if c, _ := classOfForm(same.forms[0]); c != executable {
				t.Fatalf("%q with %q: %q is %q", raw, suffix, same.forms, c)
			}
		}
	})
}
