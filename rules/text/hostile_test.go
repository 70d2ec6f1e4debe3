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
			m.Disguises()
			if took := time.Since(begun); took > 10*time.Second {
				t.Errorf("%q: %v", unit, took)
			} else if testing.Verbose() {
				t.Logf("%q: %v", unit, took)
			}
		}
	}
}
