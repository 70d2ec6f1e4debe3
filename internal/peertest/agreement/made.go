package agreement

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"regexp"
	"strings"

	"github.com/postern-mail/postern/internal/peertest/spamassassin"
	"github.com/postern-mail/postern/rules"
)

// samples is how many texts are made of a pattern. Of each there are two more, with a fault that a match may or may not bear.
const samples = 4

// random gives the same numbers for the same rule each time.
func random(rule string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(rule))
	return rand.New(rand.NewPCG(h.Sum64(), 1))
}

// Texts makes texts from the pattern of a rule: some that it matches, and some that are nearly so.
func Texts(s *rules.Set, r *rules.Rule) (all [][]byte) {
	p := s.Pattern(r)
	if p == nil {
		return nil
	}
	rnd := random(r.Name)
	for range samples {
		text, ok := p.Sample(rnd)
		if !ok {
			continue
		}
		all = append(all, text)
		for range 2 {
			if n := len(text); n > 0 {
				at := rnd.IntN(n)
				worse := append(bytes.Clone(text[:at]), text[at+1:]...)
				if rnd.IntN(2) == 0 {
					worse = bytes.Clone(text)
					worse[at] = byte(' ' + rnd.IntN(95))
				}
				all = append(all, append([]byte("a "), worse...))
			}
		}
	}
	return all
}

var plainField = regexp.MustCompile(`^([A-Za-z][A-Za-z-]*)(?::raw|:addr|:name)? =~`)

// notFields are selectors that name no field.
var notFields = regexp.MustCompile(`^(?:ALL|ToCc|EnvelopeFrom|MESSAGEID|X-Spam-Relays-.*|ALL-.*)$`)

// Made makes a message around a text that matches a rule's pattern, where it can look at such a text at all. Whether it hits there
// depends on what becomes of the text on its way.
func Made(s *rules.Set, r *rules.Rule) (spamassassin.Message, bool) {
	p := s.Pattern(r)
	if p == nil {
		return spamassassin.Message{}, false
	}
	text, ok := p.Sample(random(r.Name))
	if !ok || len(text) > 20_000 {
		return spamassassin.Message{}, false
	}
	fields := []string{
		"From: Ann Example <ann@client.example.com>", "To: bob@bench.example.org", "Subject: a letter", "Date: Mon, 23 Nov 2026 09:00:00 +0000",
		"Message-ID: <1@client.example.com>", "MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit",
	}
	body := "A line of text.\n"
	switch r.Class {
	case rules.Header:
		m := plainField.FindStringSubmatch(r.Text)
		if m == nil || notFields.MatchString(m[1]) {
			return spamassassin.Message{}, false
		}
		line := m[1] + ": " + strings.Map(func(r rune) rune {
			if r == '\n' || r == '\r' {
				return ' '
			}
			return r
		}, string(text))
		fields = append(without(fields, m[1]), line)
	case rules.Body, rules.URI:
		body = "Look:\n\n" + string(text) + "\n\nThat is all.\n"
	case rules.RawBody:
		body = string(text) + "\n"
	default:
		return spamassassin.Message{}, false
	}
	m, ok := spamassassin.Prepare("made/"+r.Name, fmt.Appendf(nil, "%s\n\n%s", strings.Join(fields, "\n"), body))
	return m, ok
}

func without(fields []string, name string) (kept []string) {
	for _, f := range fields {
		if n, _, _ := strings.Cut(f, ":"); !strings.EqualFold(n, name) {
			kept = append(kept, f)
		}
	}
	return kept
}
