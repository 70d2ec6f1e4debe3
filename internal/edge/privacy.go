package edge

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/pipeline"
)

// Privacy is how much of an address the log shows.
type Privacy uint8

// The degrees.
const (
	PrivacyFull   Privacy = iota // user@example.org
	PrivacyDomain                // *@example.org
	PrivacyHash                  // the first 16 hex digits of the mailbox's SHA-256, "@", the domain
)

// Show writes an address as the log may show it. The postmaster without a domain is nobody in particular.
func (p Privacy) Show(a mail.Address) string {
	if p == PrivacyFull || a.Domain() == "" {
		return a.String()
	}
	return p.form(a.Mailbox(), a.Domain())
}

// name writes the name of a user as the log may show it.
func (p Privacy) name(s string) string {
	if a, err := mail.ParseAddress(s); err == nil && a.Domain() != "" {
		return p.Show(a)
	}
	if p == PrivacyFull || s == "?" {
		return s
	}
	return strings.TrimSuffix(p.form(s, ""), "@")
}

// form is what stands in the place of a mailbox at a domain.
func (p Privacy) form(mailbox, domain string) string {
	if p == PrivacyHash {
		sum := sha256.Sum256([]byte(mailbox))
		return hex.EncodeToString(sum[:8]) + "@" + domain
	}
	return "*@" + domain
}

// words gives what the log may show of a next server's reply, which often repeats the recipient: its codes
// only, where addresses are not shown.
func (p Privacy) words(reply string) string {
	if p == PrivacyFull || reply == "" {
		return reply
	}
	words := strings.SplitN(reply, " ", 3)
	if len(words) > 1 && strings.Count(words[1], ".") == 2 && strings.Trim(words[1], "0123456789.") == "" {
		return words[0] + " " + words[1]
	}
	return words[0]
}

// findings gives what the log may show of findings: their details quote the message and its envelope.
func (p Privacy) findings(all []pipeline.StageFinding) []pipeline.StageFinding {
	if all == nil {
		all = []pipeline.StageFinding{} // a list in the log, also of nothing
	}
	if p == PrivacyFull {
		return all
	}
	all = slices.Clone(all)
	for i := range all {
		all[i].Detail = ""
	}
	return all
}

// summaries gives what the log may show of the filters' runs.
func (p Privacy) summaries(rs pipeline.Reports) []pipeline.Summary {
	all := rs.Summaries()
	for i := range all {
		all[i].Error = p.Mask(all[i].Error)
	}
	return all
}

// What is taken for the sign in an address, also by mail programs, and what stands where a text was cut.
const (
	atSigns  = "@\uff20\ufe6b"
	ellipsis = "\u2026"
)

// Mask puts the form of the privacy in the place of all that looks like an address in a text for people.
// In doubt it takes too much: before the sign goes everything up to what can't stand in a local part (RFC
// 5322 3.2.3), or the quoted string (RFC 5321 4.1.2) that ends there, from the beginning of the text if need
// be. A word that was cut may be the beginning of an address: it goes, too.
//
// It goes from the end to the beginning and never over the same octets more than twice, so that the time it
// takes is linear.
func (p Privacy) Mask(s string) string {
	if p == PrivacyFull || !strings.ContainsAny(s, atSigns+ellipsis) {
		return s
	}
	var parts []string // of the result, the last first
	end := len(s)      // what is behind it is in parts
	for {
		at := strings.LastIndexAny(s[:end], atSigns+ellipsis)
		if at < 0 {
			break
		}
		_, size := utf8.DecodeRuneInString(s[at:])
		word := wordStart(s[:at])
		if s[at:at+size] == ellipsis {
			parts, end = append(parts, s[at:end]), at
			if !strings.ContainsAny(s[word:at], atSigns) { // else it is a domain that was cut
				end = word
			}
			continue
		}
		start := localStart(s[:at], word)
		if start == at { // nobody is before the sign
			parts, end = append(parts, s[at:end]), at
			continue
		}
		domain := leadingDomain(s[at+size : end])
		parts = append(parts, s[at+size+len(domain):end], p.formOf(s[start:at], domain))
		end = start
	}
	parts = append(parts, s[:end])
	slices.Reverse(parts)
	return strings.Join(parts, "")
}

// formOf is form for what was found in a text.
func (p Privacy) formOf(local, domain string) string {
	if a, err := mail.ParseAddress(local + "@" + domain); err == nil {
		return p.form(a.Mailbox(), a.Domain())
	}
	return p.form(local+"@"+domain, domain)
}

// wordStart finds where the word at the end of s begins.
func wordStart(s string) int {
	i := strings.LastIndexAny(s, " \t\r\n()<>[]:;,\\\"\x00"+ellipsis)
	if i < 0 {
		return 0
	}
	_, size := utf8.DecodeRuneInString(s[i:])
	return i + size
}

// localStart finds where the local part at the end of s begins: with its word, or with its quotes.
func localStart(s string, word int) int {
	if !strings.HasSuffix(s, `"`) {
		return word
	}
	for i := len(s) - 2; i >= 0; i-- {
		if s[i] != '"' {
			continue
		}
		text := strings.TrimRight(s[:i], `\`)
		escapes := i - len(text)
		if escapes%2 == 0 {
			return i
		}
		i = len(text)
	}
	return 0
}

// leadingDomain gives the domain or address literal that s begins with.
func leadingDomain(s string) string {
	if strings.HasPrefix(s, "[") {
		return s[:strings.IndexByte(s, ']')+1]
	}
	n := strings.IndexFunc(s, func(r rune) bool {
		return r < utf8.RuneSelf && r != '.' && r != '-' && r != '_' &&
			(r < '0' || '9' < r) && (r < 'A' || 'Z' < r) && (r < 'a' || 'z' < r)
	})
	if n < 0 {
		n = len(s)
	}
	return strings.TrimRight(s[:n], ".")
}
