package mail

import (
	"bytes"
	"io"
)

// lineDecoder decodes an encoding that goes by lines. A line that is longer than a block is given to line
// in pieces; whole is then false for all but the last. line appends to out, and gives how many octets of
// the piece it used: all of them for a whole line.
type lineDecoder struct {
	line  func(out, line []byte, whole bool) ([]byte, int)
	fault *bool // what is decoded breaks the encoding's rules; nil where nobody looks
	early *bool // a fault is near the start
}

func (d *lineDecoder) malformed() DefectKind {
	if d.fault != nil && *d.fault {
		return BadQuotedPrintable
	}
	return ""
}

func (d *lineDecoder) decode(out, in []byte, last bool) (decoded, rest []byte) {
	for len(in) > 0 {
		n := bytes.IndexByte(in, '\n') + 1
		switch {
		case n > 0:
			out, _ = d.line(out, in[:n], true)
		case last:
			out, _ = d.line(out, in, true)
			return out, nil
		case len(in) < decodeBlock:
			return out, in
		default:
			out, n = d.line(out, in, false)
		}
		in = in[n:]
	}
	return out, nil
}

// quotedPrintable decodes quoted-printable (RFC 2045 6.7). The body is malformed where a "=" stands for nothing, or
// has blanks between itself and the end of the line.
type quotedPrintable struct {
	fault bool
	early bool // nothing but blanks comes before it, so that the content may begin with anything
	seen  bool // there was something else
}

// decode decodes a line.
func (q *quotedPrintable) decode(out, line []byte, whole bool) ([]byte, int) {
	before := len(out)
	out, used := q.decodeLine(out, line, whole)
	q.seen = q.seen || len(bytes.TrimSpace(out[before:])) > 0
	return out, used
}

func (q *quotedPrintable) decodeLine(out, line []byte, whole bool) ([]byte, int) {
	before := len(out)
	used := len(line)
	text, end := line, []byte(nil)
	if whole {
		text = bytes.TrimRight(line, "\r\n")
		end = line[len(text):]
		// RFC 2045 6.7 (3): blanks at the end of a line were added on the way.
		trimmed := bytes.TrimRight(text, " \t")
		if n := len(trimmed); n > 0 && trimmed[n-1] == '=' {
			if n != len(text) {
				q.wrong(trimmed[:n-1])
			}
		}
		text = trimmed
		if n := len(text); n > 0 && text[n-1] == '=' {
			text, end = text[:n-1], nil // RFC 2045 6.7 (5): a soft line break
		}
	} else {
		// What may belong to the end of the line, or to an escape, waits for the next piece.
		text = bytes.TrimRight(line, " \t")
		if n := bytes.LastIndexByte(text, '='); n >= 0 && n+3 > len(text) {
			text = text[:n]
		}
		if used = len(text); used == 0 {
			used = len(line) - 3 // a block of blanks
			text = line[:used]
		}
	}
	for {
		n := bytes.IndexByte(text, '=')
		if n < 0 {
			break
		}
		out = append(out, text[:n]...)
		text = text[n:]
		if len(text) >= 3 && unhex(text[1]) < 16 && unhex(text[2]) < 16 {
			out = append(out, unhex(text[1])<<4|unhex(text[2]))
			text = text[3:]
			continue
		}
		q.wrong(out[before:])
		out = append(out, '=') // a broken escape stays as it is
		text = text[1:]
	}
	out = append(out, text...)
	return append(out, end...), used
}

// wrong notes a fault behind these octets of the line.
func (q *quotedPrintable) wrong(before []byte) {
	q.fault = true
	q.early = q.early || !q.seen && len(bytes.TrimSpace(before)) == 0
}

var uuBegin = []byte("begin ")

// uuBegins reports whether a body holds the line with which uuencode begins. An error of the body shows
// when it is read.
func uuBegins(body *io.SectionReader) bool {
	s := newScanner(body, body.Size())
	defer s.close()
	if b, err := s.peek(0, int64(len(uuBegin))); err != nil || bytes.Equal(b, uuBegin) {
		return true
	}
	at, err := s.find([]byte("\nbegin "), 0, s.size)
	return err != nil || at >= 0
}

// uuDecoder decodes the files of a uuencoded body, one after the other; the text around them is left out.
type uuDecoder struct{ inside bool }

func (d *uuDecoder) decode(out, line []byte, whole bool) ([]byte, int) {
	text := bytes.TrimRight(line, "\r\n")
	switch {
	case !whole: // no uuencoded line is as long as a block
	case !d.inside:
		d.inside = bytes.HasPrefix(text, uuBegin)
	case bytes.HasPrefix(text, uuBegin):
		// A file that had no end.
	case string(bytes.TrimRight(text, " \t")) == "end":
		d.inside = false
	case len(text) > 0:
		out = uuLine(out, text)
	}
	return out, len(line)
}

// uuLine decodes one line: its length, and groups of four characters of six bits each. Blanks that were
// lost at its end count as zeros; nothing is made up beyond one group.
func uuLine(out, line []byte) []byte {
	length := int(line[0]-' ') & 63
	line = line[1:]
	for ; length > 0 && len(line) > 0; length -= 3 {
		var group uint32
		for i := range 4 {
			v := uint32(0)
			if i < len(line) {
				v = uint32(line[i]-' ') & 63
			}
			group = group<<6 | v
		}
		line = line[min(4, len(line)):]
		octets := [3]byte{byte(group >> 16), byte(group >> 8), byte(group)}
		out = append(out, octets[:min(3, length)]...)
	}
	return out
}
