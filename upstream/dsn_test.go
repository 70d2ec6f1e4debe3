package upstream

import (
	"testing"

	"github.com/postern-mail/postern/mail"
)

func TestNotify(t *testing.T) {
	env := mail.Envelope{
		From: address(t, "a@x.test"), To: []mail.Address{address(t, "b@y.test"), address(t, "c@y.test")},
		DSN: &mail.DSN{Return: "FULL", EnvelopeID: "a+2B+62", Notify: []mail.Notify{
			{When: "SUCCESS,DELAY", Original: "RFC822;+62+20+2B@Y.test"}, {Original: `utf-8;grün\x{2b}@y.test`},
		}},
	}
	tr := transaction{c: &conn{ext: extensions{dsn: true}}, env: env}
	if got, want := string(tr.mailFrom(nil)), "MAIL FROM:<a@x.test> RET=FULL ENVID=a+2B+62\r\n"; got != want {
		t.Errorf("MAIL %q, want %q", got, want)
	}
	for i, want := range []string{
		" NOTIFY=SUCCESS,DELAY ORCPT=RFC822;+62+20+2B@Y.test", ` ORCPT=utf-8;gr\x{FC}n\x{2b}@y.test`, "",
	} {
		if got := string(tr.notify(nil, i)); got != want {
			t.Errorf("RCPT %d %q, want %q", i, got, want)
		}
	}
	tr.c.ext.utf8, tr.env.SMTPUTF8 = true, true
	if got, want := string(tr.notify(nil, 1)), ` ORCPT=utf-8;grün\x{2b}@y.test`; got != want {
		t.Errorf("RCPT with SMTPUTF8 %q, want %q", got, want)
	}
	tr.c.ext.utf8, tr.env.SMTPUTF8 = false, false
	tr.c.ext.dsn = false
	if got, want := string(tr.mailFrom(nil))+string(tr.notify(nil, 0)), "MAIL FROM:<a@x.test>\r\n"; got != want {
		t.Errorf("to a server without DSN: %q", got)
	}
}

// TestWhoNotifies: an outcome says whose it is to tell the sender, and whether the message is where it should be.
func TestWhoNotifies(t *testing.T) {
	for _, dsn := range []bool{true, false} {
		for _, lmtp := range []bool{true, false} {
			tr := transaction{c: &conn{lmtp: lmtp, ext: extensions{dsn: dsn}}}
			tr.verdict(mail.NewReply(250, 2, 0, 0, "Ok"), nil)
			if o := &tr.out; o.Kind != Delivered || o.DSN != dsn || o.Final != lmtp {
				t.Errorf("DSN %t, LMTP %t: %+v", dsn, lmtp, o)
			}
		}
	}
}
