package mail

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNames(t *testing.T) {
	tests := []struct {
		name, header string
		want         []string
		defects      []DefectKind
	}{
		{"none", "Content-Disposition: attachment", nil, nil},
		{"quoted", `Content-Disposition: attachment; filename="a b.exe"`, []string{"a b.exe"}, nil},
		{"token", `Content-Disposition: attachment; FileName=a.exe; size=3`, []string{"a.exe"}, nil},
		{"in the type", `Content-Type: a/b; name=a.exe`, []string{"a.exe"}, nil},
		{"filename in the type", `Content-Type: a/b; filename=a.exe`, []string{"a.exe"}, nil},
		{"type and disposition", "Content-Type: a/b; name=a.txt\nContent-Disposition: inline; filename=a.exe", []string{"a.txt", "a.exe"}, []DefectKind{ConflictingNames}},
		{
			"duplicate fields", "Content-Disposition: inline; filename=a.txt\nContent-Disposition: inline; filename=a.exe",
			[]string{"a.txt", "a.exe"},
			[]DefectKind{ConflictingNames},
		},
		{
			"duplicate parameters", `Content-Disposition: inline; filename=a.txt; filename="a.exe"`,
			[]string{"a.txt", "a.exe"},
			[]DefectKind{DuplicateParameter, ConflictingNames},
		},
		{"encoded word", `Content-Disposition: inline; filename="=?utf-8?q?a=2Eexe?="`, []string{"a.exe", "=?utf-8?q?a=2Eexe?="}, []DefectKind{EncodedParameter, ConflictingNames}},
		{
			"encoded words folded", "Content-Disposition: inline; filename=\"=?utf-8?b?YS4=?=\n =?utf-8?b?ZXhl?=\"",
			[]string{"a.exe", "=?utf-8?b?YS4=?= =?utf-8?b?ZXhl?="},
			[]DefectKind{EncodedParameter, ConflictingNames},
		},
		{"extended", `Content-Disposition: inline; filename*=iso-8859-1'de'%e4.exe`, []string{"ä.exe", "iso-8859-1'de'%e4.exe"}, []DefectKind{ConflictingNames}},
		{
			"continued", `Content-Disposition: inline; filename*1=xe; filename*0="a.e"`, []string{"a.exe", "xea.e"}, []DefectKind{BadParameter, ConflictingNames},
		},
		{
			"continued and extended", `Content-Disposition: inline; filename*0*=utf-8''%C3%A4; filename*1=".e%20"; filename*2*=%78e`,
			[]string{"ä.e%20xe", "utf-8''%C3%A4.e%20%78e"},
			[]DefectKind{ConflictingNames},
		},
		{"more than ten segments", `Content-Disposition: inline; filename*0=a; filename*1=b; filename*10=k; filename*2=c; filename*9=j`, []string{"abcjk", "abkcj", "abc"}, []DefectKind{BadParameter, ConflictingNames}},
		{"plain and extended", `Content-Disposition: inline; filename=a.txt; filename*=''a.exe`, []string{"a.txt", "a.exe", "''a.exe"}, []DefectKind{DuplicateParameter, ConflictingNames}},
		{"escapes", `Content-Disposition: inline; filename="C:\tmp\"a\".exe"`, []string{`C:tmp"a".exe`, `C:\tmp\"a\".exe`}, []DefectKind{ConflictingNames}},
		{"unquoted with blanks", `Content-Disposition: inline; filename=a b.exe; x=y`, []string{"a", "a b.exe"}, []DefectKind{BadParameter, ConflictingNames}},
		{"unquoted with parentheses", `Content-Disposition: inline; filename=a(1).exe`, []string{"a(1).exe", "a"}, []DefectKind{BadParameter, ConflictingNames}},
		{"never closed quote", `Content-Disposition: inline; filename="a.exe; x=y`, []string{"a.exe; x=y", "a.exe"}, []DefectKind{BadParameter, ConflictingNames}},
		{"text behind the quote", `Content-Disposition: inline; filename="a.txt".exe`, []string{"a.txt", "a.txt.exe", `"a.txt".exe`}, []DefectKind{BadParameter, ConflictingNames}},
		{"no semicolon", `Content-Disposition: inline filename=a.exe`, []string{"a.exe"}, []DefectKind{BadParameter}},
		{"no semicolon behind a quote", `Content-Disposition: inline; x="y" filename=a.exe`, []string{"a.exe"}, []DefectKind{BadParameter}},
		{"comment", `Content-Disposition: (x;) inline; (filename=a.txt) filename (y) = (z) a.exe (end)`, []string{"a.exe", "a.txt)", "a.txt", "a.txt) filename (y) = (z) a.exe (end)"}, []DefectKind{ConflictingNames}},
		{"comment behind a token", `Content-Disposition: inline; filename=a.exe(.txt;) (x); x=y`, []string{"a.exe", "a.exe(.txt"}, []DefectKind{ConflictingNames}},
		{"comment behind a token that never ends", `Content-Disposition: inline; x=a(y; filename=a.exe`, []string{"a.exe"}, []DefectKind{BadParameter}},
		{"comment that never ends", `Content-Disposition: inline; (filename="a.exe`, []string{"a.exe"}, []DefectKind{BadParameter}},
		{"8-bit", "Content-Disposition: inline; filename=\"\xe4.exe\"", []string{"ä.exe"}, nil},
		{"empty", `Content-Disposition: inline; filename=""; name=`, nil, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := contentOf(t, lines("MIME-Version: 1.0\n"+test.header+"\n\n"), Limits{})
			var kinds []DefectKind
			for _, d := range c.Root().Defects {
				kinds = append(kinds, d.Kind)
			}
			slices.Sort(kinds)
			slices.Sort(test.defects)
			if diff := cmp.Diff(test.want, c.Root().Names) + cmp.Diff(test.defects, kinds); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

func TestNamesLimits(t *testing.T) {
	var b strings.Builder
	b.WriteString("MIME-Version: 1.0\r\nContent-Disposition: attachment")
	for i := range 50 {
		fmt.Fprintf(&b, ";\r\n filename=\"%sä%d.exe\"", strings.Repeat("ä", 1000), i)
	}
	c := contentOf(t, b.String()+"\r\n\r\n", Limits{})
	p := c.Root()
	if len(p.Names) != maxNames || !p.Has(LimitParameters) {
		t.Errorf("%d names, defects %v", len(p.Names), p.Defects)
	}
	for _, n := range p.Names {
		if len(n) > maxNameSize || !strings.HasSuffix(n, ".exe") || strings.ToValidUTF8(n, "") != n {
			t.Errorf("name of %d octets: %q", len(n), n)
		}
	}
}

func TestDescribe(t *testing.T) {
	tests := []struct {
		header, mediaType, encoding, disposition string
		params                                   map[string]string
	}{
		{"", "text/plain", "7bit", "", nil},
		{"Content-Type: TEXT/Html (really); Charset=\"UTF-8\"; x*=utf-8''%41", "text/html", "7bit", "", map[string]string{"charset": "UTF-8", "x": "A"}},
		{"Content-Type: text / html", "text/html", "7bit", "", nil},
		{"Content-Type: text/html;;; a=b;", "text/html", "7bit", "", map[string]string{"a": "b"}},
		{"Content-Type: ; a=b", "text/plain", "7bit", "", map[string]string{"a": "b"}},
		{"Content-Type: te xt/html", "text/plain", "7bit", "", nil},
		{"Content-Type: a/b/c", "text/plain", "7bit", "", nil},
		{"Content-Transfer-Encoding: (x) BASE64 (y)", "text/plain", "base64", "", nil},
		{"Content-Transfer-Encoding: \"base64\"", "text/plain", "base64", "", nil},
		{"Content-Transfer-Encoding: base64; x", "text/plain", "base64", "", nil},
		{"Content-Transfer-Encoding: X-None", "text/plain", "x-none", "", nil},
		{"Content-Transfer-Encoding:", "text/plain", "7bit", "", nil},
		{"Content-Disposition: ATTACHMENT", "text/plain", "7bit", "attachment", nil},
	}
	for _, test := range tests {
		t.Run(test.header, func(t *testing.T) {
			p := contentOf(t, lines(test.header+"\n\n"), Limits{}).Root()
			if p.Type != test.mediaType || p.Encoding != test.encoding || p.Disposition != test.disposition {
				t.Errorf("got %q %q %q", p.Type, p.Encoding, p.Disposition)
			}
			if diff := cmp.Diff(test.params, p.Params); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

func TestDecodeWords(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"plain", "hello", "hello"},
		{"q", "=?utf-8?Q?a_b=C3=A4?=", "a bä"},
		{"b", "x =?ISO-8859-1?b?5A==?= y", "x ä y"},
		{"blanks between words", "=?utf-8?q?a?= \t =?utf-8?q?b?= c", "ab c"},
		{"a character over two words", "=?utf-8?b?w6Q?= =?utf-8?q?=C3?==?utf-8?q?=A4?=", "ää"},
		{"words of two charsets", "=?utf-8?q?=C3?= =?iso-8859-1?q?=e4?=", "Ãä"},
		{"without blanks around", "a=?utf-8?q?b?=c", "abc"},
		{"language", "=?utf-8*en?q?b?=", "b"},
		{"unknown charset", "=?x-what?q?=e4b?=", "äb"},
		{"refused charset", "=?iso-2022-kr?q?ab?=", "ab"},
		{"charset of east Asia", "=?iso-2022-jp?b?GyRCJUYlOSVIGyhC?=", "テスト"},
		{"bad encoding letter", "=?utf-8?x?b?=", "=?utf-8?x?b?="},
		{"no end", "=?utf-8?q?b", "=?utf-8?q?b"},
		{"a bad letter before a word", "=?utf-8?x?=?utf-8?q?b?=", "=?utf-8?x?b"},
		{"far longer than allowed", "=?utf-8?q?" + strings.Repeat("=41", 5000) + "?= =?utf-8?q?b?=", strings.Repeat("A", 5000) + "b"},
		{"blanks in a word", "=?utf-8?q?a b?=", "a b"},
		{"bad escapes", "=?utf-8?q?=zz=4?=", "=zz=4"},
		{"dirty base64", "=?utf-8?b?QU*JD=RA?=", "ABCD"},
		{"8-bit", "\xe4 =?utf-8?q?a?=", "ä a"},
		{"a question mark of a word to come", "=?=?utf-8?q?a?=", "=?a"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := DecodeWords(test.in); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestParseMailboxes(t *testing.T) {
	tests := []struct {
		name, in string
		want     []Mailbox
	}{
		{"empty", "  ", nil},
		{"bare", "a@b", []Mailbox{{"", "a@b"}}},
		{"name", "A B <a@b>", []Mailbox{{"A B", "a@b"}}},
		{"quoted name", `"B, A \"x\"" <a@b>`, []Mailbox{{`B, A "x"`, "a@b"}}},
		{"comment for a name", "a@b (A (nested) B)", []Mailbox{{"A (nested) B", "a@b"}}},
		{"comments everywhere", "(x) A (y) <a@b> (z)", []Mailbox{{"A", "a@b"}}},
		{"several", "a@b, C <c@d>,e@f", []Mailbox{{"", "a@b"}, {"C", "c@d"}, {"", "e@f"}}},
		{"group", "G: a@b, C <c@d>; e@f", []Mailbox{{"", "a@b"}, {"C", "c@d"}, {"", "e@f"}}},
		{"empty group", "undisclosed recipients:;", nil},
		{"encoded word", "=?utf-8?q?A=2C_B?= <a@b>", []Mailbox{{"A, B", "a@b"}}},
		{"encoded word with a comma", "=?utf-8?q?A,<x@y>?= <a@b>", []Mailbox{{"A,<x@y>", "a@b"}}},
		{"encoded word in quotes", `"=?utf-8?b?YmFua0BleGFtcGxlLm9yZw==?=" <a@b>`, []Mailbox{{"bank@example.org", "a@b"}}},
		{"quoted local part", `"a b"@c`, []Mailbox{{"", `"a b"@c`}}},
		{"quoted local part in brackets", `X <"a>b"@c>`, []Mailbox{{"X", `"a>b"@c`}}},
		{"address as a name", `"bank@example.org" <a@b>`, []Mailbox{{"bank@example.org", "a@b"}}},
		{"address as a name without quotes", `bank@example.org <a@b>`, []Mailbox{{"bank@example.org", "a@b"}}},
		{"two in brackets", "<a@b> <c@d>", []Mailbox{{"", "a@b"}, {"", "c@d"}}},
		{"missing bracket", "A <a@b, c@d", []Mailbox{{"A", "a@b"}, {"", "c@d"}}},
		{"no brackets around the address", "A B a@b", []Mailbox{{"A B", "a@b"}}},
		{"no address", "A B", []Mailbox{{"A B", ""}}},
		{"empty brackets", "A <>", []Mailbox{{"A", ""}}},
		{"source route", "A <@x,@y:a@b>", []Mailbox{{"A", "@x,@y:a@b"}}},
		{"never closed quote", `"A <a@b>`, []Mailbox{{"A", "a@b"}}},
		{"semicolons", "a@b; c@d", []Mailbox{{"", "a@b"}, {"", "c@d"}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, ParseMailboxes(test.in)); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
	if n := len(ParseMailboxes(strings.Repeat("a@b,", 1000))); n != maxMailboxes {
		t.Errorf("%d mailboxes", n)
	}
}
