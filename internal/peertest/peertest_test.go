package peertest

import (
	"net/smtp"
	"strings"
	"testing"
)

func TestPostfixStoresMail(t *testing.T) {
	p := StartPostfix(t, PostfixOptions{})
	if err := smtp.SendMail(p.Addr, nil, "a@client.test", []string{"u@example.org"}, []byte("Subject: x\r\n\r\nhello\r\n")); err != nil {
		t.Fatal(err)
	}
	if m := string(p.Messages(t, 1)[0]); !strings.HasSuffix(m, "\r\n\r\nhello\r\n") {
		t.Errorf("stored %q", m)
	}
	if err := smtp.SendMail(p.Addr, nil, "a@client.test", []string{"u@elsewhere.test"}, []byte("\r\n")); err == nil {
		t.Error("mail for a foreign domain was taken")
	}
}
