package edge

import (
	"bytes"

	"github.com/postern-mail/postern/mail"
)

// dotState is where in a line of content the next octet stands.
type dotState uint8

const (
	atLineStart dotState = iota // after CRLF, and at the beginning
	afterDot                    // after a dot at the start of a line, which is not given out
	afterDotCR                  // after that dot and a CR, neither of which is given out
	afterCR                     // after a CR elsewhere
	inLine
)

// copyContent reads content up to its end, which is <CRLF>.<CRLF> and nothing else (RFC 5321 4.1.1.4:
// neither LF.LF, nor CR.CR, nor a mixture), takes the leading dot off each line (RFC 5321 4.5.2) and
// gives everything else to a as it came. What follows the end stays in the buffer.
//
// The content is read to its end whatever becomes of it, else its rest would be read as commands: a never fails. An
// error is the connection's, and ends it for the same reason, or errDoze, after which a knows where to go on.
func (w *wire) copyContent(a *arrival) error {
	for {
		if len(w.placed) > 0 {
			w.hold(a.take(w.placed))
			w.pace.came += int64(len(w.placed) - w.buffered())
			w.placed = nil
			a.ingest.Leave()
		}
		n, next, end := scanDots(w.buf[w.r:w.w], a.state, a.put)
		w.r += n
		w.pace.came += int64(n)
		a.state = next
		w.into = nil
		if end {
			w.lower()
			return nil
		}
		if a.reads() {
			w.into = a.ingest
		}
		if err := w.fill(w.contentDeadline()); err != nil {
			return err
		}
	}
}

var (
	crlf   = []byte("\r\n")
	crOnly = []byte("\r")
)

// scanDots runs over one block in the given state and puts out what is content, in as few pieces as
// there are leading dots. It gives the octets used, the state after them, and whether the content ended;
// everything is used unless it ended.
func scanDots(b []byte, state dotState, put func([]byte)) (used int, next dotState, end bool) {
	for used < len(b) {
		rest := b[used:]
		switch state {
		case atLineStart:
			if rest[0] == '.' {
				used++
				state = afterDot
			} else {
				state = inLine
			}
		case afterDot:
			if rest[0] == '\r' {
				used++
				state = afterDotCR
			} else {
				state = inLine
			}
		case afterDotCR:
			if rest[0] == '\n' {
				return used + 1, atLineStart, true
			}
			put(crOnly)
			state = afterCR
		case afterCR:
			if rest[0] != '\n' {
				state = inLine
				continue
			}
			put(rest[:1])
			used++
			state = atLineStart
		case inLine:
			if i := mail.IndexDot(rest); i >= 0 {
				put(rest[:i+len(crlf)])
				used += i + len("\r\n.")
				state = afterDot
				continue
			}
			put(rest)
			return len(b), stateAfter(rest), false
		}
	}
	return used, state, false
}

func stateAfter(b []byte) dotState {
	switch {
	case bytes.HasSuffix(b, crlf):
		return atLineStart
	case bytes.HasSuffix(b, crOnly):
		return afterCR
	default:
		return inLine
	}
}
