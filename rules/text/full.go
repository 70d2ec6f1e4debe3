package text

import (
	"bytes"
	"io"
	"strings"
)

// maxFull is how many octets of a message Full gives at most, as they lie in the content.
const maxFull = 4 << 20

// readFull reads the message. The line with which a mailbox file separates messages is none of it.
func (m *Message) readFull() []byte {
	b := m.content.Blob()
	raw, ok := b.Bytes()
	if !ok {
		raw = make([]byte, min(b.Size(), maxFull))
		n, err := b.ReadAt(raw, 0)
		if err != nil && err != io.EOF {
			m.fail(err)
		}
		raw = raw[:n]
	}
	if b.Size() > maxFull {
		m.known.cut(CutFull)
	}
	raw = raw[:min(len(raw), maxFull)]
	if isMailboxLine(raw) {
		raw = raw[len(firstLine(raw)):]
	}
	if len(raw) == 0 {
		return []byte{'\n'} // as SpamAssassin has it of nothing
	}
	return appendLF(make([]byte, 0, len(raw)), raw)
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
