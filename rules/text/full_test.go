package text

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// encoded is so many octets of a body in base64.
func encoded(octets int) string { return strings.Repeat(strings.Repeat("QUJD", 19)+"\r\n", octets/78) }

// TestFullOfLargeMessages: of a large message the ends of attachments are left out, and nothing that is shown as text. Only where that
// is not enough it is cut.
func TestFullOfLargeMessages(t *testing.T) {
	const mib = 1 << 20
	part := func(kind, encoding, body string) string {
		return fmt.Sprintf("--b\r\nContent-Type: %s\r\nContent-Transfer-Encoding: %s\r\n\r\n%s\r\n", kind, encoding, body)
	}
	head := "From: a@b.example\r\nSubject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
	text := part("text/plain", "7bit", "first words")
	last := part("text/plain", "7bit", "last words") + "--b--\r\n"
	for _, c := range []struct {
		name, message string
		has           []string
		cut           Cut
	}{
		{"small", head + text + last, []string{"first words", "last words"}, 0},
		{
			"a large attachment, and a footer", head + text + part("application/pdf", "base64", encoded(9*mib)) + last,
			[]string{"first words", "application/pdf", "QUJDQUJD", "\nlast words"},
			0,
		},
		{
			"two large ones and a small one",
			head + part("image/png", "base64", encoded(9*mib)) + part("image/gif", "base64", encoded(mib)+"UkVTVA==") + part("image/jpeg", "base64", encoded(7*mib)) + last,
			[]string{"image/png", "UkVTVA==\n", "image/jpeg", "last words"},
			0,
		},
		{"text alone", "Subject: x\r\n\r\n" + strings.Repeat("many words\r\n", 5*mib/12), []string{"many words"}, CutFull},
		{
			"much text beside an attachment", head + part("application/pdf", "base64", encoded(mib)) + part("text/plain", "7bit", strings.Repeat("many words\r\n", 5*mib/12)) + last,
			[]string{"application/pdf", "many words"},
			CutFull,
		},
		{"a file that is shown", head + part(`application/octet-stream; name="x.html"`, "base64", encoded(9*mib)) + last, []string{"x.html"}, CutFull},
		{
			"what was not looked into", head + part("message/external-body", "7bit", strings.Repeat("many words\r\n", 5*mib/12)) + last,
			[]string{"many words"},
			CutFull,
		},
		{"behind the last part", head + text + last + strings.Repeat("many words\r\n", 5*mib/12), []string{"last words\n--b--\nmany words"}, CutFull},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, content := range []*Message{Of(contentOf(t, c.message), Options{}), Of(fileContent(t, c.message), Options{})} {
				full := content.Full()
				if most := len(c.message); len(full) > min(most, maxFull) || most > maxFull && len(full) < maxFull*9/10 {
					t.Errorf("%d octets of %d", len(full), most)
				}
				for _, want := range c.has {
					if !bytes.Contains(full, []byte(want)) {
						t.Errorf("%q is not there", want)
					}
				}
				if got := content.Cut() & CutFull; got != c.cut || content.Err() != nil {
					t.Errorf("cut: %q, %v", got, content.Err())
				}
			}
		})
	}
}
