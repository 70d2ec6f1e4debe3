package edge

import (
	"bytes"
)

// inspect looks at each reply line of the go-smtp engine once, when it is whole, before it is sent: it takes CHUNKING out of the
// answer to EHLO, gives MAIL and RCPT their own enhanced codes (RFC 3463 3.2) without repeating the
// address, puts codes of the engine right, softens what soft_bounce softens, and counts.
func (w *wire) inspect() {
	for {
		i := bytes.IndexByte(w.out[w.seen:], '\n')
		if i < 0 {
			return
		}
		start, end := w.seen, w.seen+i+1
		line, changed := w.reply(w.out[start:end])
		if changed {
			rest := append([]byte(nil), w.out[end:]...)
			w.out = append(append(w.out[:start], line...), rest...)
			end = start + len(line)
		}
		w.seen = end // it is sent, whatever breaks
		if end-start >= 4 {
			w.settle(w.out[start:end])
		}
	}
}

// reply looks at one reply line and gives what is to stand in its place, if that is another.
func (w *wire) reply(line []byte) (_ []byte, changed bool) {
	if len(line) < 4 {
		return line, false
	}
	final := line[3] != '-'
	if !final && w.verb == "EHLO" && bytes.Equal(bytes.TrimSpace(line[4:]), []byte("CHUNKING")) {
		return nil, true
	}
	if right, ok := w.corrected(line); ok {
		return []byte(right), true
	}
	return line, false
}

// corrections holds replies of the engine whose codes are not those of the RFC.
var corrections = []struct{ engine, right string }{
	// RFC 5321 4.1.4: commands out of order get 503.
	{"502 5.5.1 Please introduce yourself first", "503 5.5.1 EHLO first\r\n"},
	{"502 5.5.1 Missing MAIL FROM", "503 5.5.1 MAIL first\r\n"},
	{"502 5.5.1 Missing RCPT TO", "503 5.5.1 No valid recipients\r\n"},
	// RFC 5321 4.1.1.11: unknown parameters get 555.
	{"500 5.5.4 Unknown MAIL FROM argument", "555 5.5.4 Unknown MAIL parameter\r\n"},
	{"500 5.5.4 Unknown RCPT TO argument", "555 5.5.4 Unknown RCPT parameter\r\n"},
	// RFC 4954 4.
	{"502 5.5.4 Missing parameter", "501 5.5.4 AUTH wants a mechanism\r\n"},
	{"501 5.0.0 Negotiation cancelled", "501 5.7.0 Authentication cancelled\r\n"},
}

// corrected gives the line that is to be sent in place of one of the engine's own.
func (w *wire) corrected(line []byte) (string, bool) {
	switch {
	// RFC 5321 4.1.1.1: the answer to EHLO and HELO begins with our own name.
	case w.verb == "EHLO" && bytes.HasPrefix(line, []byte("250-Hello ")):
		return "250-" + w.gateway().Hostname + "\r\n", true
	case w.verb == "HELO" && line[0] == '2':
		return "250 " + w.gateway().Hostname + "\r\n", true
	case bytes.HasPrefix(line, []byte("421 4.0.0 Internal server error")): // it has recovered from a panic, and ends
		w.broken = true
		return replyPanicEnd.String() + "\r\n", true
	case line[0] == '2' && w.verb == "MAIL":
		return "250 2.1.0 Sender ok\r\n", true
	case line[0] == '2' && w.verb == "RCPT":
		return recipientOk + "\r\n", true
	case w.verb == "AUTH" && line[0] == '2':
		return "235 2.7.0 Authentication succeeded\r\n", true
	case w.verb == "AUTH" && bytes.HasPrefix(line, []byte("454 4.7.0 Invalid base64")): // RFC 4954 4
		return "501 5.5.2 Malformed base64\r\n", true
	case line[0] == '5' && line[1] <= '5':
		for _, c := range corrections {
			if bytes.HasPrefix(line, []byte(c.engine)) {
				return c.right, true
			}
		}
	}
	return "", false
}
