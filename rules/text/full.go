package text

import (
	"bytes"
	"io"
	"slices"
	"strings"
)

// maxFull is how many octets of a message Full gives at most, as they lie in the content.
const maxFull = 4 << 20

// readFull reads the message. The line with which a mailbox file separates messages is none of it. Of one that is larger than
// may be, the ends of those parts are left out that nobody is shown as text, the longest ones first: whoever sends a large picture has
// hidden nothing.
func (m *Message) readFull() []byte {
	b := m.content.Blob()
	raw, ok := b.Bytes()
	if !ok || b.Size() > maxFull {
		raw = m.readPieces(m.pieces(int(b.Size())))
	}
	if isMailboxLine(raw) {
		raw = raw[len(firstLine(raw)):]
	}
	if len(raw) == 0 {
		return []byte{'\n'} // as SpamAssassin has it of nothing
	}
	return appendLF(make([]byte, 0, len(raw)), raw)
}

// pieces gives which octets of the content Full has, in their order.
func (m *Message) pieces(size int) (all []span) {
	if size <= maxFull {
		return []span{{0, size}}
	}
	var bodies []span // that may be shortened
	var lengths []int
	rest := maxFull - size // what is left for them
	for _, p := range m.Parts() {
		if b := (span{int(p.Part.BodyOffset), int(p.Part.End)}); p.attached() && b.to > b.from {
			bodies, lengths, rest = append(bodies, b), append(lengths, b.to-b.from), rest+b.to-b.from
		}
	}
	if rest < 0 {
		m.known.cut(CutFull)
	}
	most := share(lengths, max(rest, 0))
	from, left := 0, maxFull
	for _, b := range append(bodies, span{size, size}) {
		to := min(b.from+most, b.to, from+left)
		all, left, from = append(all, span{from, to}), left-(to-from), b.to
	}
	return all
}

// attached reports whether the part is shown to nobody as text, nor anything in it.
func (p *TextPart) attached() bool {
	return !p.reads() && !slices.ContainsFunc(append(p.Part.Types, p.Part.Type), func(t string) bool {
		return strings.HasPrefix(t, "multipart/") || strings.HasPrefix(t, "message/")
	})
}

// share gives how many octets of each body may stay, so that together they have no more than there are for them. They have more
// now.
func share(lengths []int, octets int) int {
	slices.Sort(lengths)
	for i, n := range lengths {
		each := octets / (len(lengths) - i)
		if n > each {
			return each
		}
		octets -= n
	}
	return 0
}

// readPieces reads pieces of the content, as one.
func (m *Message) readPieces(all []span) []byte {
	size := 0
	for _, p := range all {
		size += p.to - p.from
	}
	raw := make([]byte, 0, size)
	for _, p := range all {
		n, err := m.content.Blob().ReadAt(raw[len(raw):len(raw)+p.to-p.from], int64(p.from))
		raw = raw[:len(raw)+n]
		if err != nil && err != io.EOF {
			m.fail(err)
			break
		}
	}
	return raw
}

// isMailboxLine reports whether a message begins with the line that separates messages in a mailbox file (RFC 4155), as
// SpamAssassin knows it: "From", white space, and anything but a colon.
func isMailboxLine(raw []byte) bool {
	line := string(firstLine(raw[:min(len(raw), 256)]))
	rest, ok := strings.CutPrefix(line, "From")
	after := strings.TrimLeft(rest, asciiSpace)
	return ok && len(after) < len(rest) && !(len(after) > 0 && after[0] == ':' && len(rest)-len(after) == 1)
}

// asciiSpace is white space in texts of octets.
const asciiSpace = " \t\n\v\f\r"

// firstLine gives the first line with its end.
func firstLine(b []byte) []byte {
	if n := bytes.IndexByte(b, '\n'); n >= 0 {
		return b[:n+1]
	}
	return b
}

// appendLF appends src to dst with LF in place of each CRLF.
func appendLF(dst, src []byte) []byte {
	for {
		n := bytes.IndexByte(src, '\r')
		if n < 0 || n+1 == len(src) {
			return append(dst, src...)
		}
		dst = append(dst, src[:n]...)
		if src[n+1] != '\n' {
			dst = append(dst, '\r')
		}
		src = src[n+1:]
	}
}
