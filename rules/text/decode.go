package text

import (
	"bytes"
	"io"
)

const (
	maxPart = 2 << 20 // octets of one part that are decoded
	maxText = 8 << 20 // octets of all parts that are rendered
	maxLine = 2048    // octets of a line in a multipart, and of a paragraph; SpamAssassin breaks longer ones
	maxGap  = 20      // blank lines one behind the other
)

// decode gives the decoded octets with LF line ends, prepared as SpamAssassin prepares them: of blank lines in a row it keeps
// some, and in multiparts it breaks lines that are too long, before it decodes.
func (t *TextPart) decode() []byte {
	p := t.Part
	if p.Encoded() && p.Encoding != "quoted-printable" {
		return t.readAll(p.Open())
	}
	raw := t.raw()
	if p.Encoded() {
		if !t.plain(raw) {
			raw = t.prepare(appendLF(make([]byte, 0, len(raw)), raw))
		}
		return decodeQP(raw)
	}
	return t.prepare(appendLF(make([]byte, 0, len(raw)+1), raw))
}

// raw gives the octets of the body, undecoded; of a body that is too big its beginning.
func (t *TextPart) raw() []byte {
	p := t.Part
	size := int(max(0, min(p.End-p.BodyOffset, int64(t.limit))))
	if all, ok := t.msg.content.Blob().Bytes(); ok {
		from := min(int(p.BodyOffset), len(all))
		return all[from:min(from+size, len(all))]
	}
	raw := make([]byte, size)
	n, err := io.ReadFull(p.RawBody(), raw)
	if err != nil {
		t.msg.fail(err)
	}
	return raw[:n]
}

// readAll reads decoded octets, and gives them LF line ends.
func (t *TextPart) readAll(r io.Reader) []byte {
	size := min(t.Part.End-t.Part.BodyOffset, int64(t.limit))
	b := make([]byte, 0, size+512)
	for len(b) < t.limit {
		n, err := r.Read(b[len(b):min(cap(b), t.limit)])
		b = b[:len(b)+n]
		if err == io.EOF {
			break
		}
		if err != nil {
			t.msg.fail(err)
			break
		}
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
	}
	if bytes.IndexByte(b, '\r') >= 0 {
		b = appendLF(b[:0], b)
	}
	return b
}

// decodeQP decodes quoted-printable (RFC 2045 6.7), and gives lines LF for an end whatever they had. What is no escape stays.
func decodeQP(raw []byte) []byte {
	out := make([]byte, 0, len(raw))
	for len(raw) > 0 {
		line := firstLine(raw)
		raw = raw[len(line):]
		soft := true
		if n := len(line) - 1; line[n] == '\n' {
			if line = line[:n]; n > 0 && line[n-1] == '\r' {
				line = line[:n-1]
			}
			line = bytes.TrimRight(line, " \t")
			if n = len(line) - 1; n >= 0 && line[n] == '=' {
				line = line[:n]
			} else {
				soft = false
			}
		}
		for n := bytes.IndexByte(line, '='); n >= 0; n = bytes.IndexByte(line, '=') {
			out = append(out, line[:n]...)
			line = line[n:]
			if len(line) > 2 && digit(line[1]) < 16 && digit(line[2]) < 16 {
				out = append(out, byte(digit(line[1])<<4|digit(line[2])))
				line = line[3:]
				continue
			}
			out = append(out, '=')
			line = line[1:]
		}
		if out = append(out, line...); !soft {
			out = append(out, '\n')
		}
	}
	if bytes.IndexByte(out, '\r') >= 0 {
		out = appendLF(out[:0], out)
	}
	return out
}

// plain reports whether there is nothing to prepare: no line is too long, and no gap.
func (t *TextPart) plain(raw []byte) bool {
	gap := 0
	for len(raw) > 0 {
		line := firstLine(raw)
		raw = raw[len(line):]
		if len(line) > maxLine {
			return false
		}
		if len(line) > 2 && !isBlank(line) {
			gap = 0
		} else if gap++; gap >= maxGap {
			return false
		}
	}
	return true
}

// prepare breaks long lines of a part of a multipart, and drops blank lines from where there are many. It writes into b.
func (t *TextPart) prepare(b []byte) []byte {
	within := t.Part.Parent != nil && t.Part.Parent.IsMultipart()
	long, gap := false, 0
	for rest := b; len(rest) > 0; {
		line := firstLine(rest)
		rest = rest[len(line):]
		long = long || within && len(line) > maxLine
		if !isBlank(line) {
			gap = 0
		} else if gap++; gap >= maxGap {
			b, long = squeeze(b, within), within
			break
		}
	}
	if long {
		b = breakLines(b)
	}
	return b
}

func isBlank(line []byte) bool {
	for _, c := range line {
		if spaceClass[c] == 0 {
			return false
		}
	}
	return true
}

// squeeze keeps the first of the blank lines in a row, and the last ones. Within a multipart the line before the part and the
// line end behind it count. Not within one it writes into b.
func squeeze(b []byte, within bool) []byte {
	if within {
		b = squeeze(append(append(append(make([]byte, 0, len(b)+2), '\n'), b...), '\n'), false)
		return b[1 : len(b)-1]
	}
	out := b[:0]
	for rest := b; len(rest) > 0; {
		blanks, n := blankLines(rest)
		rest = rest[len(blanks):]
		if n > maxGap {
			first := firstLine(blanks)
			out = append(out, first...)
			blanks = blanks[len(first):]
			for ; n > maxGap; n-- {
				blanks = blanks[len(firstLine(blanks)):]
			}
		}
		out = append(out, blanks...)
		line := firstLine(rest)
		out = append(out, line...)
		rest = rest[len(line):]
	}
	return out
}

// blankLines gives the blank lines that b begins with, and how many they are.
func blankLines(b []byte) (lines []byte, n int) {
	for end := 0; ; n++ {
		line := firstLine(b[end:])
		if len(line) == 0 || !isBlank(line) {
			return b[:end], n
		}
		end += len(line)
	}
}

// breakLines puts a line end into lines that are too long.
func breakLines(b []byte) []byte {
	out := make([]byte, 0, len(b)+len(b)/1024)
	for len(b) > 0 {
		line := firstLine(b)
		b = b[len(line):]
		for len(line) > maxLine {
			out = append(append(out, line[:maxLine]...), '\n')
			line = line[maxLine:]
		}
		out = append(out, line...)
	}
	return out
}
