package upstream

import "github.com/postern-mail/postern/mail"

// lineState is where in a line the octets so far have ended.
type lineState uint8

const (
	atStart lineState = iota // at the beginning of a line: nothing yet, or after CRLF
	inLine
	afterCR
)

// stuffer makes content transparent for DATA, block by block: RFC 5321 4.5.2 puts a dot before each line
// that begins with one. A line begins after CRLF and nowhere else; what else looks like a line end was
// made canonical before the message came here. The zero value is ready for the first block.
type stuffer struct{ state lineState }

// stuff gives p made transparent: p itself if there is nothing to do, else out[:0] with the result
// appended. p and out must not overlap.
func (s *stuffer) stuff(out, p []byte) []byte {
	if len(p) == 0 {
		return p
	}
	lead := s.lead(p)
	s.advance(p)
	next := mail.IndexDot(p)
	if lead < 0 && next < 0 {
		return p
	}
	out = out[:0]
	if lead >= 0 {
		out = append(out, p[:lead]...)
		out = append(out, '.')
		p = p[lead:]
		next -= lead // the CR of next comes after lead: a dot is no CR
	}
	for next >= 0 {
		out = append(out, p[:next+2]...)
		out = append(out, '.')
		p = p[next+2:]
		next = mail.IndexDot(p)
	}
	return append(out, p...)
}

// lead finds the one dot in p, which is not empty, that may begin a line of which the CRLF is not in p, or not whole; -1 if
// there is none.
func (s *stuffer) lead(p []byte) int {
	switch {
	case s.state == atStart && p[0] == '.':
		return 0
	case s.state == afterCR && len(p) > 1 && p[0] == '\n' && p[1] == '.':
		return 1
	}
	return -1
}

// advance moves the state over p, which is not empty.
func (s *stuffer) advance(p []byte) {
	switch last := p[len(p)-1]; {
	case last == '\r':
		s.state = afterCR
	case last != '\n':
		s.state = inLine
	case len(p) > 1 && p[len(p)-2] == '\r', len(p) == 1 && s.state == afterCR:
		s.state = atStart
	default:
		s.state = inLine
	}
}

// end gives what ends the content: the final dot, on a line of its own.
func (s *stuffer) end() []byte {
	if s.state == atStart {
		return finalDot[len("\r\n"):]
	}
	return finalDot
}

var finalDot = []byte("\r\n.\r\n")
