package dkimpeers

import (
	"fmt"
	mathrand "math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/dkim"
)

// Agreement says what a peer and we have made of signed messages that were changed in one place.
type Agreement struct {
	Peer, Change string
	Changed      int // messages
	Pass, Fail   int // of those: what both take, and what neither does
	Explained    int // the word was another, and an entry of the list below says why
}

// explanations are the known reasons for which a peer's word is another than ours. The first that fits is taken.
var explanations = []struct {
	peer string // "" for both
	ours bool   // we pass it, and the peer does not; else the other way round
	fits func(message, reason, fault string) bool
}{
	// Neither takes what RFC 5322 4.5 has between a name and its colon in all forms, nor a line that is no field.
	{"python3-dkim", true, func(_, _, fault string) bool {
		return strings.Contains(fault, "Unexpected characters in RFC822 header")
	}},
	{"opendkim", true, func(_, _, fault string) bool { return strings.HasSuffix(fault, ": 5") }},
	{"python3-dkim", true, func(message, _, _ string) bool { return spacedName.MatchString(message) }},
	// RFC 6376 3.4.4: white space at the end of a line counts for nothing, also where the last has no CRLF.
	{"", true, func(message, _, _ string) bool { return !strings.HasSuffix(message, "\r\n") }},
	// RFC 6376 2.10: white space may stand before the padding; and we need none.
	{"python3-dkim", true, func(_, _, fault string) bool { return strings.Contains(fault, "is not valid base64") }},
	// opendkim's library 2.11.0 goes ways of its own over simple headers, with Ed25519 and where blanks stand within b=.
	{"opendkim", true, func(message, _, _ string) bool {
		return strings.Contains(message, "c=simple/") && (strings.Contains(message, "a=ed25519") || blankInB.MatchString(message))
	}},
	// It also reads base64 that is none, up to the fault.
	{"opendkim", false, func(_, reason, _ string) bool { return strings.HasSuffix(reason, "is no base64") }},
}

// blankInB tells blanks within b= that are no fold with one blank.
var blankInB = regexp.MustCompile(`[ \t]b=[0-9A-Za-z+/=\s]*?(?:[0-9A-Za-z+/=][ \t]+[0-9A-Za-z+/=]|[ \t]\r\n[ \t])`)

var startOfB = regexp.MustCompile(`[ \t]b=`)

var spacedName = regexp.MustCompile(`(?i)(?:^|\n)(?:from|dkim-signature)[ \t]+:`)

// Changed signs n random messages, changes each in one place, and compares what the peers and we say to it. It
// complains to t where that is not the same and no explanation fits.
func Changed(t *testing.T, n int) []Agreement {
	s := start(t)
	r := mathrand.New(mathrand.NewPCG(6376, 8601))
	var all []Agreement
	at := map[string]int{}
	for i := range n {
		j := job{
			Canons:    []string{"simple/simple", "simple/relaxed", "relaxed/simple", "relaxed/relaxed"}[i%4],
			Algorithm: "rsa-sha256", Selector: "rsa",
		}
		if i/4%3 == 0 {
			j.Algorithm, j.Selector = "ed25519-sha256", "ed25519"
		}
		change := changes[i%len(changes)]
		message := change.do(r, s.sign(t, j, odd(r)))
		got := s.check(t, message)
		for _, peer := range Peers {
			if _, ok := at[peer+change.name]; !ok {
				at[peer+change.name] = len(all)
				all = append(all, Agreement{Peer: peer, Change: change.name})
			}
			j.Peer = peer
			all[at[peer+change.name]].count(t, j, message, got, s.verify(t, j, message))
		}
	}
	return all
}

// count compares one word of ours and one of a peer's.
func (a *Agreement) count(t *testing.T, j job, message string, got *dkim.Check, theirs answer) {
	t.Helper()
	a.Changed++
	ours := got.Result == dkim.Pass
	switch {
	case ours && theirs.Pass:
		a.Pass++
		return
	case !ours && !theirs.Pass:
		a.Fail++
		return
	}
	for _, e := range explanations {
		if (e.peer == "" || e.peer == j.Peer) && e.ours == ours && e.fits(message, got.Reason, theirs.Error) {
			a.Explained++
			return
		}
	}
	t.Errorf("%s, %s, %s, %s: %s (%s) here, %v there (%s)\n%q", j.Peer, j.Algorithm, j.Canons, a.Change, got.Result, got.Reason, theirs.Pass, theirs.Error, message)
}

// odd is a Message, of which some have no body, or a long line in it.
func odd(r *mathrand.Rand) string {
	m := Message(r)
	switch r.IntN(10) {
	case 0:
		return m[:strings.Index(m, "\r\n\r\n")+len("\r\n\r\n")]
	case 1:
		return m + strings.Repeat("lo ng\t", 300) + "\r\n"
	}
	return m
}

// changes are made at one random place of a message each.
var changes = []struct {
	name string
	do   func(r *mathrand.Rand, m string) string
}{
	{"an octet replaced", func(r *mathrand.Rand, m string) string {
		i := inLine(r, m)
		by := pick(r, " ", "\t", "x", ":", ";", "=", "A", "\u00fc")
		if by == m[i:i+1] {
			by = "y"
		}
		return m[:i] + by + m[i+1:]
	}},
	{"an octet taken out", func(r *mathrand.Rand, m string) string {
		i := inLine(r, m)
		return m[:i] + m[i+1:]
	}},
	{"something put in", func(r *mathrand.Rand, m string) string {
		i := inLine(r, m)
		return m[:i] + pick(r, " ", "\t", "\r\n ", "\r\n\t", "\r\n", "\r\n\r\n", "a") + m[i:]
	}},
	{"something put at the end of a line", func(r *mathrand.Rand, m string) string {
		i := r.IntN(len(m) - 1)
		i += strings.Index(m[i:], "\n") - 1
		return m[:i] + pick(r, " ", "\t", "\r\n", "\r\n ") + m[i:]
	}},
	{"something put before a colon", func(r *mathrand.Rand, m string) string {
		i := r.IntN(strings.LastIndexByte(m, ':'))
		i += strings.IndexByte(m[i:], ':')
		return m[:i] + pick(r, " ", "\t", "\r\n ") + m[i:]
	}},
	{"something put at the end", func(r *mathrand.Rand, m string) string {
		return m + pick(r, "\r\n", " \r\n", "x", " ", "\t\r\n\r\n")
	}},
	{"a letter in the other case", func(r *mathrand.Rand, m string) string {
		signature := startOfB.FindStringIndex(m)[1] // in which another run has other letters
		for {
			if i := r.IntN(len(m)); m[i]|0x20 >= 'a' && m[i]|0x20 <= 'z' && (i < signature || i > signature+400) {
				return m[:i] + string(m[i]^0x20) + m[i+1:]
			}
		}
	}},
}

func pick(r *mathrand.Rand, from ...string) string { return from[r.IntN(len(from))] }

// inLine gives the place of an octet that is no part of a line's end.
func inLine(r *mathrand.Rand, m string) int {
	for {
		if i := r.IntN(len(m)); m[i] != '\r' && m[i] != '\n' {
			return i
		}
	}
}

// check gives our word on the topmost signature; a Check of nothing where there is none any more.
func (s *session) check(t *testing.T, message string) *dkim.Check {
	t.Helper()
	fields, body := split(message)
	checks, err := dkim.Verify(t.Context(), fields, body, dkim.Options{Resolver: s.records})
	if err != nil {
		t.Fatal(err)
	}
	if len(checks) == 0 {
		return &dkim.Check{Reason: fmt.Sprintf("no signature among %d fields", len(fields.All()))}
	}
	return checks[0]
}
