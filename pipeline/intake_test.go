package pipeline

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/mail"
)

func TestIntake(t *testing.T) {
	hops := func(n int) string {
		return strings.Repeat("Received: from a by b\r\n", n) + "Subject: x\r\n\r\nbody\r\n"
	}
	reported := map[string]bool{}
	for _, c := range []struct {
		name     string
		text     string
		faults   mail.LineFaults
		limits   mail.Limits
		options  IntakeOptions
		outcome  Outcome
		reply    string
		findings string
	}{
		{name: "clean", text: hops(3), outcome: Pass},
		{name: "NUL", text: hops(0), faults: mail.LineFaults{NUL: 2}, outcome: Match, reply: "554 5.6.0 message contains NUL octets", findings: "NUL"},
		{name: "bare ends made harmless", text: hops(0), faults: mail.LineFaults{BareLF: 3, BareCR: 1}, outcome: Match, findings: "BARE_LF BARE_CR"},
		{
			name: "bare LF refused", text: hops(0), faults: mail.LineFaults{BareLF: 3}, options: IntakeOptions{RejectBare: true}, outcome: Match,
			reply: "554 5.6.0 message contains bare CR or LF", findings: "BARE_LF",
		},
		{
			name: "bare CR refused", text: hops(0), faults: mail.LineFaults{BareCR: 3}, options: IntakeOptions{RejectBare: true}, outcome: Match,
			reply: "554 5.6.0 message contains bare CR or LF", findings: "BARE_CR",
		},
		{name: "as many hops as may be", text: hops(MaxReceived), outcome: Pass},
		{name: "loop", text: hops(MaxReceived + 1), outcome: Match, reply: "554 5.4.6 too many hops: this message is in a loop", findings: "HOPS"},
		{name: "own bound of hops", text: hops(4), options: IntakeOptions{MaxReceived: 3}, outcome: Match, reply: "554 5.4.6 too many hops: this message is in a loop", findings: "HOPS"},
		{name: "header too large", text: hops(40), options: IntakeOptions{HeaderLimit: 800}, outcome: Match, reply: "554 5.6.0 message header too large", findings: "HEADER_SIZE"},
		{name: "header of just that size", text: hops(1), options: IntakeOptions{HeaderLimit: int64(len(hops(1)) - len("body\r\n"))}, outcome: Pass},
		{name: "header beyond the index", text: hops(40), limits: mail.Limits{HeaderOctets: 500}, outcome: Match, reply: "554 5.6.0 message header too large", findings: "HEADER_SIZE"},
		{name: "more fields than the index", text: hops(40), limits: mail.Limits{Fields: 10}, outcome: Match, reply: "554 5.6.0 message header too large", findings: "HEADER_SIZE"},
		{name: "the first refusal answers, and comes first", text: hops(60), faults: mail.LineFaults{BareLF: 1, NUL: 1}, outcome: Match, reply: "554 5.6.0 message contains NUL octets", findings: "NUL BARE_LF HOPS"},
		{name: "the refusal comes before mentions", text: hops(60), faults: mail.LineFaults{BareLF: 1}, outcome: Match, reply: "554 5.4.6 too many hops: this message is in a loop", findings: "HOPS BARE_LF"},
		{
			name: "sent as somebody else", text: "From: a@b.example\r\n\r\n", options: IntakeOptions{MaySend: func(mail.Address) bool { return false }}, outcome: Match,
			reply: senderReply.String(), findings: "SENDER",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			content := mail.NewContent(mail.NewBlob([]byte(c.text)), c.faults, c.limits)
			defer content.Release()
			r := Intake(content, c.options)
			var names []string
			for _, f := range r.Result.Findings {
				names = append(names, f.Symbol)
				reported[f.Symbol] = true
				if f.Strength != 0 {
					t.Errorf("finding %+v", f)
				}
			}
			said := ""
			v := (&Policy{}).Decide(Reports{r})
			if v.Action == filter.Reject {
				said = v.Reply.String()
			}
			if r.Stage != "intake" || r.Phase != filter.Data || r.Outcome != c.outcome || said != c.reply || strings.Join(names, " ") != c.findings {
				t.Errorf("got %v %v, %q, %v; want %v, %q, %s", r.Stage, r.Outcome, said, names, c.outcome, c.reply, c.findings)
			}
			if c.reply != "" && !strings.HasPrefix(v.Because, "intake: "+names[0]+" ") {
				t.Errorf("because %q", v.Because)
			}
		})
	}
	documented := intakeRows(t)
	for name := range reported {
		if !isSymbolName(name) || !documented[name] {
			t.Errorf("%s is reported and not documented", name)
		}
	}
	for name := range documented {
		if !reported[name] {
			t.Errorf("%s is documented and in none of the cases", name)
		}
	}
}

// intakeRows gives the symbols that docs/filters/intake.md lists with the score 0.
func intakeRows(t *testing.T) map[string]bool {
	t.Helper()
	doc, err := os.ReadFile("../docs/filters/intake.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Z_]+)` \\| 0 \\| ").FindAllStringSubmatch(string(doc), -1) {
		rows[m[1]] = true
	}
	return rows
}

func TestIntakeOfUnreadableContent(t *testing.T) {
	content := mail.NewContent(mail.NewBlob([]byte("Subject: x\r\n\r\n")), mail.LineFaults{NUL: 1}, mail.Limits{})
	content.Release() // now nothing can be read
	v := (&Policy{}).Decide(Reports{Intake(content, IntakeOptions{})})
	if v.Action != filter.Defer || v.Reply.Code != 451 {
		t.Errorf("got %v %v", v.Action, v.Reply)
	}
}
