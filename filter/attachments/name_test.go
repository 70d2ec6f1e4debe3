package attachments

import (
	"slices"
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
		{"macros by name", "report.docm", macro, false, ""},
		{"macros by name, double", "report.docm.exe", executable, false, ".docm.exe"},
		{"macros are no double extension", "data.csv.xlsm", macro, false, ""},
		{"add-in", "tool.xlam", macro, false, ""},
		{"disk image", "scan.pdf.iso", diskImage, false, ".pdf.iso"},
		{"virtual disk", "a.VHDX", diskImage, false, ""},
		{"web archive", "page.mht", activeHTML, false, ""},
		{"web page", "page.html", "", false, ""},
		{"vector picture", "logo.svg", "", false, ""},
		{"drawing", "poster.cdr", "", false, ""},
		{"data of MATLAB", "results.mat", "", false, ""},
		{"full-width percent sign", "evil\uff052eexe", executable, false, ""},
		{"percent of a percent", "evil%252ejs", script, false, ""},
		{"percent of a percent of a percent", "evil%25252ejs", script, false, ""},
		{"number with a dot", "evil\u2488js", script, false, ""},
		{"half-width full stop", "evil\uff61js", script, false, ""},
		{"long s", "evil.j\u017f", script, false, ""},
		{"dotted I", "evil.P\u0130F", executable, false, ""},
		{"blank behind the dot", "evil. js", script, false, ""},
		{"blanks around the dot", "evil  .  js", script, false, ""},
		{"braille blank at the end", "evil.js\u2800", script, false, ""},
		{"braille blanks that hide", "picture.jpg" + strings.Repeat("\u2800", 60) + ".scr", executable, true, ".jpg.scr"},
		{"Hangul filler at the end", "evil.exe\u3164", executable, false, ""},
		{"what no name may have", "evil.e|x?e", executable, false, ""},
		{"quote behind", `evil.js"x`, script, false, ""},
		{"apostrophes", "'evil.js'", script, false, ""},
		{"apostrophes and more", "'evil.js' x", script, false, ""},
		{"parameter behind", "evil.js;size=5", script, false, ""},
		{"comment in front", "(c)evil.js", script, false, ""},
		{"comment behind", "evil.js(c)", script, false, ""},
		{"comment behind a blank", "evil.js (a (b) c)", script, false, ""},
		{"comment within", "evil(c).js", script, false, ""},
		{"query", "evil.js?v=1.2", script, false, ""},
		{"fragment", "evil.js#top", script, false, ""},
		{"version on a disc", "EVIL.EXE;1", executable, false, ""},
		{"many pieces", strings.Repeat("a.docm;", 30) + "evil.exe;x", macro, false, ""},
		{"brace", "evil.js}", script, false, ""},
		{"brackets", "[evil.js]", script, false, ""},
		{"angle brackets", "<evil.js>", script, false, ""},
		{"host", "www.example.com", executable, false, ""},
		{"host with more", "www.example.com?x=1", "", false, ""},
		{"host in parentheses", "Re: (www.example.com)", "", false, ""},
		{"host of a report", "report.com.pdf", "", false, ""},
		{"numbered copy", "report (1).pdf", "", false, ""},
		{"comment without an end", "notes (about main.js", script, false, ""},
		{"sharp", "Sonata in C#.pdf", "", false, ""},
		{"numbers", "1.2.3", "", false, ""},
		{"apostrophe", "Bob's notes.txt", "", false, ""},
		{"sentence", "Re: the meeting. Thanks", "", false, ""},
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

// TestNoClassIsCrowdedOut: the worst of many pieces of a name is among its forms.
func TestNoClassIsCrowdedOut(t *testing.T) {
	for _, raw := range []string{
		strings.Repeat("a.docm;", 30) + "evil.exe;x", strings.Repeat("%25", 40) + "a.docm;evil%2eexe?x", strings.Repeat("a.iso#", 20) + "evil.exe#",
	} {
		n := readName(raw)
		if !slices.ContainsFunc(n.forms, func(f string) bool { c, _ := classOfForm(f); return c == executable }) {
			t.Errorf("%q: %q", raw, n.forms)
		}
	}
}

func TestExtensionListsAreDisjoint(t *testing.T) {
	seen := map[string]string{}
	lists := []string{innocentExtensions}
	for _, l := range extensionLists {
		lists = append(lists, l.extensions)
	}
	for _, l := range lists {
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

// TestTypeClasses: media types are in the form in which they are compared.
func TestTypeClasses(t *testing.T) {
	for ty, c := range typeClasses {
		if ty != strings.ToLower(ty) || strings.Count(ty, "/") != 1 || c == "" {
			t.Errorf("%q: %q", ty, c)
		}
	}
	for ty, want := range map[string]class{
		"application/x-iso9660-image": diskImage, "application/vnd.ms-word.document.macroenabled.12": macro, "application/hta": script,
		"application/zip": "", "text/html": "", "application/msword": "",
	} {
		if typeClasses[ty] != want {
			t.Errorf("%s: %q, want %q", ty, typeClasses[ty], want)
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
	for _, s := range []string{
		"a.exe", "a%2eexe", "a\u202efdp.exe", "a.exe::$DATA", "../a.js ", "\xff.lnk", "x\x00.pdf", "a%25252ejs", "'a.js'x", "a.js(b(c))",
		"(((", "a . js", `a.js"b;c?d#e{f}g|h<i>*`, "\u2488js", "\u3164.\u2800", "a\uff05%2",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		n := readName(raw)
		if len(n.forms) > 100 {
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
