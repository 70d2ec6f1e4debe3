//go:build !race

package text

import (
	"strings"
	"testing"
	"time"
)

// TestHostileText: nothing that a sender can write takes time that grows faster than its length. Each text is of the size
// at which quadratic work would take minutes.
func TestHostileText(t *testing.T) {
	const size = 256 << 10
	for _, unit := range []string{
		"<a href=x", "<a href='", "<a ", "<", "</", "<!--", "<!-- -- ", "<![", "<![CDATA[", "<![include[", "]]>", "<title>", "<style>", "<script>", "<textarea>",
		"<title></titl>", "<font color=red>", "<td><font>", "<p></td>", "</p>", "<div style='color:red;'>", "<a>", "<a href=http://a.com/b>c", "<x1>", "&", "&#", "&#x41",
		"&aacut", "a<b>", "\u200c<b>", "<!DOCTYPE ", "<br\n", "<meta http-equiv=refresh content='url", "<base href=http://a.com/><a href=../b>", "<?",
		"<img src=http://a.com/%41%42?http://b.com/http://c.com/>", "a@", "a.com,", "www.a.com/", "http://", "a.b.c.d.e.f.", "mailto:", "@.", "a@b.com ", "\x1b(B",
		"(((", ")))", "\n \n", " ", "\n", "\x00", "=\r\n", "=3D", "é", "<span style='background:url(((((('>", "<o:p>", "<table bgcolor=x><tr>", "<svg></p>", "<p><b><i>", "<b><div></b>", "</x1>",
		"<style>.a{color:red}", "<style>@media{", "<script><!--", "<!--[if a]>-->",
	} {
		text := strings.Repeat(unit, size/len(unit))
		for _, head := range []string{"Content-Type: text/html; charset=utf-8\r\n\r\n", "Content-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"} {
			begun := time.Now()
			m := Of(contentOf(t, "Subject: s\r\n"+head+text), Options{BodyScan: -1})
			m.URITexts()
			m.RawBody()
			m.VisibleText()
			m.Links()
			if took := time.Since(begun); took > 10*time.Second {
				t.Errorf("%q: %v", unit, took)
			} else if testing.Verbose() {
				t.Logf("%q: %v", unit, took)
			}
		}
	}
}

// A field that was made to be dear is given up, in a time that grows with its length only.
func TestReceivedIsBounded(t *testing.T) {
	const n = 8000
	for _, field := range []string{
		"from " + strings.Repeat("(", n), "from a (" + strings.Repeat("b[", n/2) + " by ", "from a (b [1.2.3.4]" + strings.Repeat(") by x", n/6),
		"from a " + strings.Repeat("(HELO b) ", n/9) + "(c@[1.2.3.4]) by d", "from a (b" + strings.Repeat("@[1.2.3.4]", n/10) + ") by ",
		"from " + strings.Repeat("1.2.3.4 ", n/8), "from " + strings.Repeat("::", n/2), "from a ([1.2.3.4]" + strings.Repeat(" helo=b", n/7),
		"from a (b) by c (" + strings.Repeat(") with ", n/7) + "SMT", "from " + strings.Repeat("a@", n/2) + " by b",
		"from a (SquirrelMail authenticated user b) " + strings.Repeat("1.2.3.4 by ", n/11),
	} {
		begin := time.Now()
		told(field)
		if d := time.Since(begin); d > 20*time.Second {
			t.Errorf("%.40s…: %v", field, d)
		}
	}
}
