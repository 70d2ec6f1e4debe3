package eval

import (
	"bytes"
	"regexp"
	"strings"
)

var _ = keys("welcomelist_bounce_relays") && aliases("whitelist_bounce_relays", "welcomelist_bounce_relays")

var bounceFunctions = []Function{
	{"have_any_bounce_relays", func(s *Settings, args []string) (Check, error) {
		any := len(s.Words("welcomelist_bounce_relays")) > 0
		return func(*Mail) (int, string) { return yes(any, "") }, atMost("have_any_bounce_relays", args, 0)
	}},
	{"check_welcomelist_bounce_relays", compileBounceRelays},
	{"check_whitelist_bounce_relays", compileBounceRelays},
}

// glob makes a pattern of a name in which * stands for any octets and ? for one.
func glob(s string) *regexp.Regexp {
	p := regexp.QuoteMeta(strings.ToLower(s))
	return regexp.MustCompile(`(?s)^` + strings.NewReplacer(`\*`, `.*`, `\?`, `.`).Replace(p) + `$`)
}

// compileBounceRelays makes the check of whether one of our own relays stands in a Received field of what a message quotes or has
// attached: a notification about mail that we did send.
func compileBounceRelays(s *Settings, args []string) (Check, error) {
	relays := Built(s, "bounce relays", func() (all []*regexp.Regexp) {
		for _, w := range s.Words("welcomelist_bounce_relays") {
			all = append(all, glob(w))
		}
		return all
	})
	ours := func(b []byte) bool {
		for _, r := range relays {
			if r.Match(bytes.ToLower(b)) {
				return true
			}
		}
		return false
	}
	return func(m *Mail) (int, string) {
		if len(relays) == 0 {
			return 0, ""
		}
		for _, p := range m.Text.Body() {
			if !quotedReceived.Match(p) {
				continue
			}
			if name := relayIn(p, ours); name != "" {
				return 1, name
			}
		}
		inside := false
		full := m.Text.Full()
		for line := range bytes.Lines(full[len(full)-min(len(full), m.structure().bodyOctets):]) {
			if line[0] != ' ' && line[0] != '\t' {
				inside = quotedReceived.Match(line)
			}
			if !inside {
				continue
			}
			if name := relayIn(line, ours); name != "" {
				return 1, name
			}
		}
		return 0, ""
	}, atMost("check_welcomelist_bounce_relays", args, 0)
}

var quotedReceived = regexp.MustCompile(`(?i)^[> ]*Received:`)

// relayIn gives the first word with a dot that is one of ours, "" for none.
func relayIn(line []byte, ours func([]byte) bool) string {
	for w := range bytes.FieldsSeq(line) {
		if i := bytes.IndexByte(w, '.'); i > 0 && i < len(w)-1 && ours(w) {
			return string(w)
		}
	}
	return ""
}
