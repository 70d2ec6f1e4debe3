package pipeline

import (
	"strings"
	"testing"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/mail"
)

// A user sends as himself only, whichever way the fields are read.
func TestSenderIsTheUsers(t *testing.T) {
	may := func(a mail.Address) bool {
		return a.Mailbox() == "ann@ours.example" || a.Domain() == "lists.example"
	}
	for _, tt := range []struct {
		header string
		own    bool
	}{
		{"From: ann@ours.example", true},
		{"From: Ann <ANN@Ours.example>", true},
		{`From: "Ann, of ours" <ann@ours.example> (home)`, true},
		{"From: =?utf-8?q?Ann?= <ann@ours.example>", true},
		{"From: Ann <ann@ours.example>, news@lists.example", true},
		{"From: ann@ours.example\r\nSender: x@lists.example", true},
		{"From: ann@ours.example\r\nReply-To: anybody@elsewhere.example", true},
		{"from : ann@ours.example", false},
		{"Subject: nobody", false},
		{"From: bob@ours.example", false},
		{"From: bob@elsewhere.example", false},
		{"From: ann+x@ours.example", false},
		{"From: Ann", false},
		{"From: ", false},
		{"From: <>", false},
		{"From: ann@ours.example, bob@ours.example", false},
		{"From: ann@ours.example\r\nFrom: bob@ours.example", false},
		{"From: ann@ours.example\r\nFrom: ann@ours.example", false},
		{"From: bob@ours.example <ann@ours.example>", true}, // of one domain by every reading
		{"From: boss@elsewhere.example <ann@ours.example>", false},
		{`From: "boss@elsewhere.example" <ann@ours.example>`, true},
		{"From: <ann@ours.example> <bob@ours.example>", false},
		{"From: ann@ours.example bob@ours.example", false},
		{"From: <@elsewhere.example:ann@ours.example>", false},
		{"From: friends: ann@ours.example, bob@ours.example;", false},
		{`From: "ann@ours.example"@elsewhere.example`, false},
		{"From: =?utf-8?q?boss=40elsewhere.example=00?= <ann@ours.example>", false},
		{"From: ann@ours.example\r\nSender: boss@ours.example", false},
		{"From: ann@ours.example\r\nSender:", false},
		{"From: ann@ours.example\r\nSender: ann@ours.example\r\nSender: boss@ours.example", false},
		{"From: ann@ours.example\r\nX: y\r\n From: boss@elsewhere.example", false},
		{"\x01From: boss@elsewhere.example\r\nFrom: ann@ours.example", false},
		{"From: " + strings.Repeat("ann@ours.example,", maxSenders) + "ann@ours.example", false},
	} {
		c := mail.NewContent(mail.NewBlob([]byte(tt.header+"\r\n\r\nbody\r\n")), mail.LineFaults{}, mail.Limits{})
		r := Intake(c, IntakeOptions{MaySend: may})
		if own := r.Result.Propose == filter.Continue; own != tt.own {
			t.Errorf("%q: own %v, want %v: %+v", tt.header, own, tt.own, r.Result.Findings)
		}
		if !tt.own && (len(r.Result.Findings) == 0 || r.Result.Findings[0].Symbol != "SENDER" || r.Result.Reply.String() != senderReply.String()) {
			t.Errorf("%q: %+v", tt.header, r.Result)
		}
		if r := Intake(c, IntakeOptions{}); r.Result.Propose != filter.Continue {
			t.Errorf("%q: refused for who has no user", tt.header)
		}
		c.Release()
	}
}

func FuzzNotOwn(f *testing.F) {
	for _, s := range []string{
		"From: ann@ours.example", "From: Ann <ann@ours.example>, b@x.example\r\nSender: c@d.example", "From: =?utf-8?b?QUBC?= <ann@ours.example>",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		c := mail.NewContent(mail.NewBlob([]byte(header+"\r\n\r\nbody\r\n")), mail.LineFaults{}, mail.Limits{})
		defer c.Release()
		h := c.Header()
		if why := notOwn(h, func(a mail.Address) bool { return a.Domain() == "ours.example" }); why != "" {
			return
		}
		// Whoever is let through is of the domain, by the reading that DMARC and signatures go by.
		if d := mail.ReadAuthors(h).Domain(); d != "ours.example" {
			t.Errorf("%q is of %q", header, d)
		}
	})
}
