package text

import (
	"testing"

	"github.com/postern-mail/postern/mail"
)

func contentOf(t testing.TB, s string) *mail.Content {
	t.Helper()
	c := mail.NewContent(mail.NewBlob([]byte(s)), mail.LineFaults{}, mail.Limits{})
	t.Cleanup(c.Release)
	return c
}

func TestMessagesAreRemembered(t *testing.T) {
	c := contentOf(t, "Subject: a\r\n\r\nb\r\n")
	m := Of(c, Options{})
	if Of(c, Options{}) != m {
		t.Error("the same options made another Message")
	}
	if Of(c, Options{HasEnvelope: true}) == m {
		t.Error("other options made the same Message")
	}
	if body := Of(c, Options{HasEnvelope: true}).Body(); &body[0][0] != &m.Body()[0][0] {
		t.Error("a body was rendered twice")
	}
	if body := Of(c, Options{BodyScan: 1}).Body(); &body[0][0] == &m.Body()[0][0] {
		t.Error("a body of other bounds is the same")
	}
}
