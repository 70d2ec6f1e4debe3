package detection

import (
	"bytes"
	"regexp"
	"strings"
)

// Recipient is the address to which all messages of all corpora are made to go: who gathered them is the first mark of a corpus.
const Recipient = "user@example.net"

// StripAll strips messages, see Strip, takes the reverse-path from their Return-Path fields, and puts one recipient in the
// place of those that each of them had, wherever their addresses stand.
func StripAll(all []Message) {
	for i := range all {
		m := &all[i]
		b := readdressed(m.Octets)
		m.Sender, m.HasSender = returnPath(b)
		m.Octets = Strip(b)
	}
}

var (
	// mailbox matches an address as it stands in fields and texts.
	mailbox = regexp.MustCompile(`[A-Za-z0-9.!#$&'*+/?^_{|}~-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){0,8}`)
	// goesTo matches the clause of a Received field that names a recipient.
	goesTo = regexp.MustCompile(`(?i)\bfor\s+<?([^\s<>;]{1,64}@[^\s<>;]{1,255})`)
)

// fields gives the header's fields, with their folds.
func fields(octets []byte) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		start, end := 0, 0
		for line := range bytes.Lines(octets) {
			if len(bytes.TrimRight(line, "\r\n")) == 0 {
				break
			}
			if line[0] != ' ' && line[0] != '\t' && end > start {
				if !yield(octets[start:end]) {
					return
				}
				start = end
			}
			end += len(line)
		}
		if end > start {
			yield(octets[start:end])
		}
	}
}

// recipientFields name recipients of the envelope.
var recipientFields = nameSet("Delivered-To", "X-Delivered-To", "X-Original-To", "Envelope-To", "X-Envelope-To", "X-Apparently-To", "Apparently-To")

// recipients gives the addresses to which a message went, in lower case: those that servers named, with those in To and Cc that
// have the same name at another domain, as of a mailbox behind an alias; where no server named one, the first in To.
func recipients(octets []byte) map[string]bool {
	own, names := map[string]bool{}, map[string]bool{}
	take := func(address string) {
		address = strings.ToLower(address)
		own[address] = true
		local, _, _ := strings.Cut(address, "@")
		names[local] = true
	}
	var shown []string
	for field := range fields(octets) {
		name, _, _ := strings.Cut(string(field[:min(len(field), 40)]), ":")
		name = strings.ToLower(strings.TrimSpace(name))
		switch {
		case recipientFields[name]:
			for _, a := range mailbox.FindAll(field, -1) {
				take(string(a))
			}
		case name == "received":
			if m := goesTo.FindSubmatch(field); m != nil {
				for _, a := range mailbox.FindAll(m[1], 1) {
					take(string(a))
				}
			}
		case name == "to" || name == "cc":
			for _, a := range mailbox.FindAll(field, -1) {
				shown = append(shown, strings.ToLower(string(a)))
			}
		}
	}
	for _, a := range shown {
		if local, _, _ := strings.Cut(a, "@"); names[local] || len(own) == 0 {
			take(a)
		}
	}
	return own
}

// pot matches what stands for the recipient in messages of which it was made unreadable.
var pot = regexp.MustCompile(`(?i)\b[a-z]{2,12}@pot\b`)

// readdressed puts Recipient in the place of a message's recipients.
func readdressed(octets []byte) []byte {
	own := recipients(octets)
	octets = pot.ReplaceAll(octets, []byte(Recipient))
	return mailbox.ReplaceAllFunc(octets, func(a []byte) []byte {
		if own[strings.ToLower(string(a))] {
			return []byte(Recipient)
		}
		return a
	})
}
