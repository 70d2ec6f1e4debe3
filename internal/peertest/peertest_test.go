package peertest

import (
	"net/smtp"
	"strings"
	"testing"
)

func TestServersStoreMail(t *testing.T) {
	for name, start := range map[string]func(testing.TB, MTAOptions) *MTA{
		"Postfix": StartPostfix, "Exim": StartExim, "OpenSMTPD": StartOpenSMTPD,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := start(t, MTAOptions{})
			if err := smtp.SendMail(m.Addr, nil, "a@client.test", []string{"u@example.org"}, []byte("Subject: x\r\n\r\nhello\r\n..dot\r\n")); err != nil {
				t.Fatal(err)
			}
			if got := string(m.Messages(t, 1)[0]); !strings.HasSuffix(got, "\r\n\r\nhello\r\n..dot\r\n") {
				t.Errorf("stored %q", got)
			}
			if err := smtp.SendMail(m.Addr, nil, "a@client.test", []string{"u@elsewhere.test"}, []byte("\r\n")); err == nil {
				t.Error("mail for a foreign domain was taken")
			}
		})
	}
}
