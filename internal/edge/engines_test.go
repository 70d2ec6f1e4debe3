package edge

import (
	"net"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// What TestEnginesAgree makes commands of.
var (
	someVerbs = []string{
		"MAIL FROM:", "RCPT TO:", "mail from:", "rcpt to:", "MAIL FROM: ", "RCPT TO: ", "MAIL", "RCPT", "DATA", "EHLO ", "HELO ", "NOOP",
		"VRFY ", "EXPN ", "HELP ", "QUIT", "RSET", "AUTH ", "STARTTLS", "XFOO", "", " MAIL FROM:", "MAIL  FROM:", "MAIL FROM", "RCPT TO", "ETRN", "SEND FROM:",
	}
	somePaths = []string{
		"", "<a@sender.example>", "<>", "<b@ours.example>", "<known@file.example>", "<x@elsewhere.example>", "<postmaster>", "a@sender.example", `<"a b"@sender.example>`,
		`<""@sender.example>`, "<@x.example:b@ours.example>", "<@x.example,@y.example:b@ours.example>", "<a@[127.0.0.1]>", "<a@[IPv6:::1]>", "<ü@ours.example>",
		"<a@ü.example>", "<a>", "<a@>", "<@a>", "a", " ", "<a@b@c>", "<a..b@sender.example>", `<a\@b@sender.example>`, "<b@ours.example", "b@ours.example>",
		"<b@ours.example.>", "<a b@sender.example>", `<"b"@ours.example>`, "<b%x@ours.example>", "client.example", "[127.0.0.1]", "now",
	}
	someParameters = []string{
		"", "", "", " ", " SIZE=10", " SIZE=", " SIZE=99999999999", " BODY=8BITMIME", " BODY=7BIT", " BODY=X", " SMTPUTF8", " SMTPUTF8=1", " AUTH=<>", " FOO", " FOO=1",
		" =", " SIZE=1 SIZE=2", " BODY=7BIT BODY=7BIT", " RET=HDRS", " NOTIFY=NEVER", "  SIZE=10", " size=10 body=8bitmime", " X==", " BODY", " SIZE",
	}
)

// knownDifferences are replies of our engine and of go-smtp to a line, and the dialog that says why.
var knownDifferences = []struct{ ours, theirs, line, dialog string }{
	{"50[03]", "50[12]", `^(STARTTLS|AUTH)`, "rfc3207-4-word, rfc4954-4-not-offered"},
	{"501", "(250|221)", `^(RSET|QUIT)`, "rfc5321-4.1.1-rset-parameter, rfc5321-4.1.1-quit-parameter"},
	{"501", "252", `^VRFY`, "rfc5321-4.1.1.6-vrfy-no-argument"},
	{"214", "502", `^HELP`, "rfc5321-4.1.1.8-help"},
	{"501", ".*", `^(EHLO|HELO) .*ü`, "rfc6531-3.7.1-ehlo"},
	{"501", ".*", `^MAIL  FROM`, "rfc5321-4.1.1.2-one-blank"},
	{"501", ".*", ` SMTPUTF8=1`, "rfc6531-3.1-parameter"},
	{"501", ".*", ` (SIZE=1 SIZE=2|BODY=7BIT BODY=7BIT)`, "rfc1870-6-twice, rfc6152-3-body-twice"},
	{"501", "(250|55[25]|503)", `>[^ ]|[^<]b@ours.example>`, "rfc5321-4.1.2-behind-the-path"},
	{"555", ".*", ` (AUTH=|RET=|NOTIFY=)`, "rfc5321-4.1.1.11-not-offered, rfc4954-5-not-offered"},
	{".*", "501", `""@`, "rfc5321-4.1.2-quoted-string-empty"},
	{"50[13]", "552", ` SIZE=99999999999`, "rfc5321-4.1.4-before-its-arguments"},
	{"50[13]|555", "50[13]|555", `(?i)^(MAIL|RCPT) `, ""}, // of two reasons to refuse either may come first
}

// TestEnginesAgree holds dialogs at random with both engines: they answer alike, up to the first known difference, and
// deliver alike.
func TestEnginesAgree(t *testing.T) {
	doors := map[string]*door{}
	for _, e := range engines {
		doors[e] = newDoor(t, nil, func(_ *door, cfg *ListenerConfig) { cfg.Engine, cfg.TLS, cfg.Limits.Errors = e, nil, 1000 })
	}
	var known []*regexp.Regexp
	for _, k := range knownDifferences {
		known = append(known, regexp.MustCompile(`^(`+k.ours+`) (`+k.theirs+`) `), regexp.MustCompile(k.line))
	}
	rapid.Check(t, func(rt *rapid.T) {
		lines := rapid.SliceOfN(rapid.Custom(someLine), 1, 12).Draw(rt, "lines")
		if rapid.IntRange(0, 5).Draw(rt, "hello") > 0 {
			lines = append([]string{"EHLO client.example"}, lines...)
		}
		ours, theirs := converseWith(t, doors[EnginePostern], lines), converseWith(t, doors[EngineGoSMTP], lines)
		for i := range min(len(ours), len(theirs)) {
			if ours[i].code == theirs[i].code {
				continue
			}
			pair := ours[i].code + " " + theirs[i].code + " "
			for k := 0; k < len(known); k += 2 {
				if known[k].MatchString(pair) && known[k+1].MatchString(ours[i].line) {
					return
				}
			}
			rt.Fatalf("%q: %s and %s, in %q", ours[i].line, ours[i].code, theirs[i].code, lines)
		}
		if len(ours) != len(theirs) {
			rt.Fatalf("%d replies and %d, to %q", len(ours), len(theirs), lines)
		}
		a, b := doors[EnginePostern].relay.all(), doors[EngineGoSMTP].relay.all()
		if n := len(ours); n > 0 && ours[n-1].line == "." && ours[n-1].code == "250" { // else their last messages may be of other dialogs
			x, y := a[len(a)-1], b[len(b)-1]
			x.env.ID, y.env.ID = "", ""
			if x.env.From != y.env.From || len(x.env.To) != len(y.env.To) || x.env.To[0] != y.env.To[0] || x.env.SMTPUTF8 != y.env.SMTPUTF8 || x.env.Body8Bit != y.env.Body8Bit {
				rt.Fatalf("delivered %+v and %+v, of %q", x.env, y.env, lines)
			}
		}
	})
}

func someLine(t *rapid.T) string {
	switch rapid.IntRange(0, 4).Draw(t, "kind") {
	case 0:
		return "MAIL FROM:<a@sender.example>"
	case 1:
		return "RCPT TO:<b@ours.example>"
	case 2:
		return "DATA"
	}
	return rapid.SampledFrom(someVerbs).Draw(t, "verb") + rapid.SampledFrom(somePaths).Draw(t, "path") + rapid.SampledFrom(someParameters).Draw(t, "parameters")
}

// exchange is a command and the code of its reply.
type exchange struct{ line, code string }

// converseWith says the lines one by one, content where it is asked for, and gives what was answered.
func converseWith(t *testing.T, d *door, lines []string) (all []exchange) {
	ours, theirs := net.Pipe()
	d.srv.take(theirs)
	c := newClient(t, d, ours)
	defer c.close()
	c.reply()
	for _, l := range lines {
		c.where = l
		c.send(l + "\r\n")
		code := c.reply()[:3]
		all = append(all, exchange{l, code})
		if code == "354" {
			c.send("A: b\r\n\r\n..x\r\n.\r\n")
			all = append(all, exchange{".", c.reply()[:3]})
		}
		if strings.HasPrefix(code, "221") {
			break
		}
	}
	return all
}
