package edge

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/pipeline"
	"github.com/postern-mail/postern/upstream"
)

func TestMask(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"score 15.2 reaches reject 15 (A 10, …)", "score 15.2 reaches reject 15 (A 10, …)"},
		{"spf: SPF_FAIL mailfrom secret@corp.example: ip4", "spf: SPF_FAIL mailfrom *@corp.example: ip4"},
		{"secret@corp.example.", "*@corp.example."},
		{"<secret@corp.example>,<other@b.example>", "<*@corp.example>,<*@b.example>"},
		{"mailto:secret+tag=x@corp.example", "mailto:*@corp.example"},
		{"smtp.mailfrom=secret@corp.example", "*@corp.example"},
		{"secret%far@corp.example far!secret@corp.example", "*@corp.example *@corp.example"},
		{"secret@near@corp.example", "*@corp.example"},
		{"@a.example,@b.example:secret@corp.example", "@a.example,@b.example:*@corp.example"},
		{`to "a secret"@corp.example!`, `to *@corp.example!`},
		{`to "a \"very\" secret\\"@corp.example`, `to *@corp.example`},
		{`to "a secret@near> x"@corp.example`, `to *@corp.example`},
		{`got "secret@corp.example" and "x"`, `got "*@corp.example" and "x"`},
		{`got "\"a secret\"@corp.example"`, `got *@corp.example"`},
		{`a secret"@corp.example`, `*@corp.example`},
		{"sécret@corp.example", "*@corp.example"},
		{"secret＠corp.example secret﹫corp.example", "*@corp.example *@corp.example"},
		{"secret@[192.0.2.1] secret@[IPv6:::1]", "*@[192.0.2.1] *@[IPv6:::1]"},
		{"secret@", "*@"},
		{"secret@[", "*@["},
		{"a @ b", "a @ b"},
		{"mailfrom secretse…", "mailfrom …"},
		{"mailfrom secret@corp.exam…", "mailfrom *@corp.exam…"},
		{"secret@a…b…secret…", "*@a………"},
		{"secret\x00secret@corp.example", "secret\x00*@corp.example"},
		{"\xffsecret@corp.example", "*@corp.example"},
	} {
		if got := PrivacyDomain.Mask(c.in); got != c.want {
			t.Errorf("%q: got %q, want %q", c.in, got, c.want)
		}
		if got := PrivacyFull.Mask(c.in); got != c.in {
			t.Errorf("%q: changed to %q", c.in, got)
		}
	}
}

// In a text and in a field of its own a mailbox has the same form.
func TestMaskTellsMailboxes(t *testing.T) {
	for _, s := range []string{"Secret@corp.example", `"a secret"@corp.example`, `"secret"@CORP.example`, "secret@[192.0.2.1]"} {
		a, err := mail.ParseAddress(s)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := PrivacyHash.Mask("for <"+s+">: no"), "for <"+PrivacyHash.Show(a)+">: no"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestMaskIsLinear(t *testing.T) {
	for _, piece := range []string{"@", `"@`, `\"@`, `"…`, `@\"…`, "a…", "a@…", "a@b ", `"a@b`, "@[", `\`, `\"`, "…"} {
		began := time.Now()
		PrivacyDomain.Mask(strings.Repeat(piece, 1<<17))
		if d := time.Since(began); d > 10*time.Second {
			t.Errorf("%q: took %s", piece, d)
		}
	}
}

func FuzzMask(f *testing.F) {
	f.Add("mailfrom ", ": no")
	f.Add(`"`, `"@x`)
	f.Add("…", "@")
	f.Fuzz(func(t *testing.T, before, after string) {
		got := PrivacyDomain.Mask(before + "Zsecret@corp.example" + after)
		if strings.Contains(got, "Zsecret") {
			t.Errorf("got %q", got)
		}
		if !strings.ContainsAny(before+after, "@＠﹫…") && !strings.HasSuffix(got, "@corp.example"+after) &&
			!strings.Contains(got, "*@") {
			t.Errorf("lost what is no address: %q", got)
		}
	})
}

// indiscreet makes a filter that names the sender wherever it can, and does what.
func indiscreet(phase filter.Phase, what string) pipeline.Stage {
	check := func(context.Context, *filter.Input) (filter.Result, error) {
		const words = `mailfrom secret@corp.example, "a secret"@corp.example`
		reply := mail.NewReply(550, 5, 7, 1, "not from "+words)
		r := filter.Result{Findings: []filter.Finding{{Symbol: "ACCUSED", Strength: 1, Detail: words}}, Reply: &reply}
		switch what {
		case "error":
			return filter.Result{}, errors.New(words)
		case "panic":
			panic(words)
		case "hold":
			r.Propose, r.Hold = filter.Reject, true
		case "reject":
			r.Propose = filter.Reject
		case "quarantine":
			r.Propose = filter.Quarantine
		}
		return r, nil
	}
	return pipeline.Stage{
		Spec: filter.Spec{
			Name: "accuser", Phases: filter.In(phase),
			Symbols: []filter.Symbol{{Name: "ACCUSED", Weight: 1, Description: "test"}},
		},
		Filter: filter.Func(check),
	}
}

// TestNoLocalPartInTheLog holds dialogs of many ends, and looks through every line of the log.
func TestNoLocalPartInTheLog(t *testing.T) {
	for _, privacy := range []Privacy{PrivacyDomain, PrivacyHash} {
		for _, phase := range []filter.Phase{filter.Helo, filter.Mail, filter.Rcpt, filter.Data} {
			for _, what := range []string{"find", "error", "panic", "hold", "reject", "quarantine"} {
				t.Run(fmt.Sprintf("%d/%s/%s", privacy, phase, what), func(t *testing.T) {
					tell(t, privacy, phase, what)
				})
			}
		}
	}
}

// tell holds one of these dialogs.
func tell(t *testing.T, privacy Privacy, phase filter.Phase, what string) {
	d := newDoor(t, nil, func(d *door, _ *ListenerConfig) {
		plan, err := pipeline.Compile([]pipeline.Stage{indiscreet(phase, what)})
		if err != nil {
			t.Fatal(err)
		}
		d.gw.Privacy, d.gw.Plan, d.gw.Policies["default"].Plan = privacy, plan, plan
		broken := errors.New("no room for secret@corp.example")
		d.quarantine.err = broken
		d.gw.Recipients["file"] = fakeRecipients{err: broken}
		d.relay.answer = func(mail.Envelope) upstream.Outcome {
			return upstream.Outcome{
				Kind: upstream.Refused, Stage: upstream.StageDot, Err: broken, Verbatim: true,
				Reply: mail.NewReply(550, 5, 1, 1, "<secret@corp.example> is not known"),
			}
		}
	})
	c := dialDoor(t, d)
	defer c.close()
	c.reply()
	for _, line := range []string{
		"EHLO client.example", "MAIL FROM:<secret..x@corp.example>", "MAIL FROM:<secret@corp.example>",
		"RCPT TO:<secret@ours.example>", "RCPT TO:<secret@file.example>", `RCPT TO:<"a secret"@ours.example>`,
		"RCPT TO:<secret%far@ours.example>", "RCPT TO:<secret@elsewhere.example>", "RCPT TO:<secret x@ours.example>", "DATA",
	} {
		c.send(line + "\r\n")
		if c.reply(); strings.HasPrefix(c.last, "354") {
			c.send("Subject: secret\r\nFrom: secret@corp.example\r\n\r\nx\r\n.\r\n")
			c.reply()
		}
	}
	verdicts := 0
	for _, line := range d.log.lines() {
		if strings.Contains(line, "secret") {
			t.Errorf("names the mailbox: %s", line)
		}
		if strings.Contains(line, `"msg":"verdict"`) {
			verdicts++
			if what != "error" && what != "panic" && !strings.Contains(line, `"symbol":"ACCUSED","strength":1`) {
				t.Errorf("does not name the finding: %s", line)
			}
		}
	}
	if verdicts == 0 {
		t.Error("no verdict was explained")
	}
}
