package upstream

import (
	"testing"

	"github.com/postern-mail/postern/mail"
)

func TestNotify(t *testing.T) {
	env := mail.Envelope{
		From: address(t, "a@x.test"), To: []mail.Address{address(t, "b@y.test"), address(t, "c@y.test")},
		DSN: &mail.DSN{Return: "FULL", EnvelopeID: "a+b =ü", Notify: []mail.Notify{
			{When: "SUCCESS,DELAY", OriginalType: "rfc822", Original: "b +@y.test"}, {OriginalType: "utf-8", Original: `grün\+@y.test`},
		}},
	}
	tr := transaction{c: &conn{ext: extensions{dsn: true}}, env: env}
	if got, want := string(tr.mailFrom(nil)), "MAIL FROM:<a@x.test> RET=FULL ENVID=a+2Bb+20+3D+C3+BC\r\n"; got != want {
		t.Errorf("MAIL %q, want %q", got, want)
	}
	for i, want := range []string{
		" NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b+20+2B@y.test", ` ORCPT=utf-8;gr\x{FC}n\x{5C}\x{2B}@y.test`, "",
	} {
		if got := string(tr.notify(nil, i)); got != want {
			t.Errorf("RCPT %d %q, want %q", i, got, want)
		}
	}
	tr.c.ext.dsn = false
	if got, want := string(tr.mailFrom(nil))+string(tr.notify(nil, 0)), "MAIL FROM:<a@x.test>\r\n"; got != want {
		t.Errorf("to a server without DSN: %q", got)
	}
}
