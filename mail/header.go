package mail

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

// Field is one header field (RFC 5322 2.2), octet for octet as it came.
type Field struct {
	Name   string // as written, without the blanks before the colon; "" for a line that is no field
	Raw    string // the exact octets with all folded lines and the final CRLF, where there is one
	Offset int64  // of the first octet of Raw, from the start of the content
}

// Body gives the field's body unfolded (RFC 5322 2.2.3) and without leading and trailing blanks. Of a
// line that is no field it gives the whole line.
func (f Field) Body() string {
	s := f.Raw
	if f.Name != "" {
		s = s[strings.IndexByte(s, ':')+1:]
	}
	s = trimLine(s)
	if strings.IndexByte(s, '\n') >= 0 || strings.IndexByte(s, '\r') >= 0 {
		// RFC 5322 2.2.3: unfolding removes the CRLF and leaves the white space after it.
		if s = strings.ReplaceAll(s, "\r\n", ""); strings.ContainsAny(s, "\r\n") {
			s = unfolder.Replace(s) // of a content that was not made canonical
		}
	}
	return s
}

var unfolder = strings.NewReplacer("\r\n", "", "\r", "", "\n", "")

// trimLine removes blanks and line ends on both sides.
func trimLine(s string) string { return strings.Trim(s, " \t\r\n") }

// Is reports whether the field's name is name, whatever the case of ASCII letters (RFC 5322 1.2.2).
func (f Field) Is(name string) bool { return len(f.Name) == len(name) && equalFold(f.Name, name) }

// equalFold compares ASCII without regard to case; strings.EqualFold would also take the Kelvin sign for
// a k, which no reader of header fields does.
func equalFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := 0; i < len(a); i++ {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// LowerASCII puts ASCII letters in lower case and leaves every other octet: Unicode's folding would make a k of the Kelvin
// sign, and a field of another name one of ours.
func LowerASCII(s string) string {
	for i := 0; i < len(s); i++ {
		if s[i] != lower(s[i]) {
			var b strings.Builder
			b.Grow(len(s))
			b.WriteString(s[:i])
			for ; i < len(s); i++ {
				b.WriteByte(lower(s[i]))
			}
			return b.String()
		}
	}
	return s
}

// Header is the header section of a message or of a part: its fields in order. It is immutable.
type Header struct {
	fields    []Field
	octets    int64
	truncated bool
	blank     bool // a blank line ended it
	own       ownBoundary
	defects   []Defect
}

// Fields lists all fields in order, lines that are no field among them. The slice is not to be changed.
func (h *Header) Fields() []Field {
	if h == nil {
		return nil
	}
	return h.fields
}

// Get gives the unfolded body of the first field of that name, and "" when there is none.
func (h *Header) Get(name string) string {
	for _, f := range h.Fields() {
		if f.Is(name) {
			return f.Body()
		}
	}
	return ""
}

// All lists the fields of that name in order.
func (h *Header) All(name string) []Field {
	var all []Field
	for _, f := range h.Fields() {
		if f.Is(name) {
			all = append(all, f)
		}
	}
	return all
}

// Count gives the number of fields of that name.
func (h *Header) Count(name string) int {
	n := 0
	for _, f := range h.Fields() {
		if f.Is(name) {
			n++
		}
	}
	return n
}

// Octets gives the size of the header section with the blank line that ends it, where there is one.
func (h *Header) Octets() int64 {
	if h == nil {
		return 0
	}
	return h.octets
}

// Truncated reports whether a limit kept some of the fields from being read: what Fields lists is then
// not all that another reader finds.
func (h *Header) Truncated() bool { return h != nil && h.truncated }

// readHeader reads the header section in [off, end) of r, at most maxOctets octets and maxFields fields
// of it, and gives the offset at which the body begins. A header that a limit cuts is marked truncated;
// its body begins behind the next blank line all the same. The error is of r.
func readHeader(r io.ReaderAt, off, end, maxOctets int64, maxFields int) (h *Header, body int64, err error) {
	s := scanners.Get().(*scanner)
	s.open(r, end)
	defer func() {
		if s.close(); cap(s.lines) <= mostLines {
			scanners.Put(s)
		}
	}()
	h, cut, err := s.header(off, end, maxOctets, maxFields, nil)
	if err != nil {
		return h, off, err
	}
	if h.truncated {
		blank, err := s.find([]byte("\r\n\r\n"), max(off, cut-2), end)
		if err != nil {
			return h, off, err
		}
		cut = end
		if blank >= 0 {
			cut, h.blank = blank+4, true
		}
		h.octets = cut - off
	}
	return h, off + h.octets, nil
}

// header reads a header section that begins at off. It ends behind a blank line, at end, before a line
// for which stop says so, or where a limit is reached; at is the offset where it ended.
//
// A part whose header runs into a delimiter line has no blank line, so something in it must be the body,
// if it has one: it begins at the first line that is no field. Everywhere else such a line is kept as a
// field without a name, as most clients skip it.
func (s *scanner) header(off, end, maxOctets int64, maxFields int, stop func([]byte) bool) (h *Header, at int64, err error) {
	h = &Header{}
	stopAt := min(end, off+maxOctets)
	var (
		buf   []byte
		lines = s.fieldLines()
		done  bool
		pos   int // of the line to be read, in buf
	)
	for want := int64(4096); !done; want *= 4 {
		n := min(want, stopAt-off)
		if buf, err = s.peek(off, n); err != nil {
			return h, off, err
		}
		whole := n == stopAt-off
		pos, done = splitFields(buf, pos, whole && stopAt == end, maxFields, &lines, h, stop)
		if whole {
			break
		}
	}
	h.octets = int64(pos)
	if !done && off+h.octets < end {
		h.truncated = true
		h.defect(LimitHeader, off+h.octets, fmt.Sprintf("read %d fields in %d octets", len(lines), pos))
	}
	s.lines = lines
	last := pos
	if h.blank {
		last -= 2
	} else if i := firstMalformed(buf, lines); i < len(lines) && !h.truncated {
		last = lines[i].start
		h.octets = int64(last)
		h.defect(NoBlankLine, off+h.octets, "the body begins at the first line that is no field")
		lines = lines[:i]
	}
	h.take(string(buf[:last]), off, lines)
	return h, off + h.octets, nil
}

// firstMalformed gives the index of the first line that is no field, the mbox line not counted, and the
// number of lines where there is none.
func firstMalformed(buf []byte, lines []fieldLine) int {
	for i, l := range lines {
		if l.name == 0 && (i > 0 || !isMboxFrom(buf)) {
			return i
		}
	}
	return len(lines)
}

// fieldLine is a field before its octets are kept: where it begins, and how long its name is.
type fieldLine struct{ start, name int }

// splitFields finds the fields in buf from pos on, and returns the offset of the first line not dealt
// with, and whether the header has ended. An unfinished line at the end of buf counts only if final.
func splitFields(buf []byte, pos int, final bool, maxFields int, lines *[]fieldLine, h *Header, stop func([]byte) bool) (int, bool) {
	for pos < len(buf) {
		n := bytes.IndexByte(buf[pos:], '\n') + 1
		if n == 0 {
			if !final {
				return pos, false
			}
			n = len(buf) - pos
		}
		line := buf[pos : pos+n]
		if line[0] == '\r' && n == 2 {
			h.blank = true
			return pos + n, true
		}
		if line[0] == '-' && (stop != nil && stop(line) || h.own.begins(line, buf[:pos], *lines)) {
			return pos, true
		}
		if folded := line[0] == ' ' || line[0] == '\t'; !folded || len(*lines) == 0 || isMboxLine(buf, *lines) {
			if len(*lines) >= maxFields {
				return pos, false
			}
			*lines = append(*lines, fieldLine{pos, nameLength(line)})
		}
		pos += n
	}
	return pos, final
}

// isMboxLine reports whether the only line so far is that of an mbox file. It is no field and has no folded lines: one
// behind it is the first line of the header to whoever takes the mbox line away.
func isMboxLine(buf []byte, lines []fieldLine) bool {
	return len(lines) == 1 && lines[0].name == 0 && isMboxFrom(buf[lines[0].start:])
}

// ownBoundary is the boundary that the header being read has declared. Its delimiter line ends the header
// where the blank line is missing, for no reader that looks for the boundary can take the line for
// anything else.
type ownBoundary struct {
	searched  int // how many fields were looked at for a Content-Type; -1: it was found
	delimiter string
}

func (o *ownBoundary) begins(line, before []byte, lines []fieldLine) bool {
	for ; o.searched >= 0 && o.searched < len(lines); o.searched++ {
		l := lines[o.searched]
		name := bytes.TrimRight(before[l.start:l.start+l.name], " \t")
		if len(name) != len("Content-Type") || !equalFold(string(name), "Content-Type") {
			continue
		}
		raw := before[l.start:]
		if o.searched+1 < len(lines) {
			raw = before[l.start:lines[o.searched+1].start]
		}
		var p Part
		f := Field{Name: string(name), Raw: string(raw)}
		p.contentType(f, readValue(f))
		p.settleType()
		o.searched, o.delimiter = -1, p.boundary
		break
	}
	name := bytes.TrimRight(line, " \t\r\n")
	return o.delimiter != "" && len(name) == 2+len(o.delimiter) && line[1] == '-' && string(name[2:]) == o.delimiter
}

// take makes the fields of the lines found in raw.
func (h *Header) take(raw string, off int64, lines []fieldLine) {
	h.fields = make([]Field, 0, len(lines))
	for i, l := range lines {
		next := len(raw)
		if i+1 < len(lines) {
			next = lines[i+1].start
		}
		f := Field{Raw: raw[l.start:next], Offset: off + int64(l.start)}
		f.Name = strings.TrimRight(f.Raw[:l.name], " \t")
		if f.Name == "" {
			if i == 0 && isMboxFrom([]byte(f.Raw)) {
				h.defect(MboxFrom, f.Offset, "")
			} else {
				h.defect(MalformedField, f.Offset, excerpt(f.Raw))
			}
		} else if len(f.Name) != l.name {
			h.defect(BlankBeforeColon, f.Offset, f.Name)
		}
		if hasBlankFold(f.Raw) {
			h.defect(BlankFold, f.Offset, f.Name)
		}
		h.fields = append(h.fields, f)
	}
}

// hasBlankFold reports whether a field is folded into a line of nothing but blanks (RFC 5322 3.2.2: such lines are
// obsolete), which some readers take for the end of the header.
func hasBlankFold(raw string) bool {
	for {
		_, rest, _ := strings.Cut(raw, "\n")
		if rest == "" {
			return false
		}
		line, _, _ := strings.Cut(rest, "\n")
		if trimLine(line) == "" {
			return true
		}
		raw = rest
	}
}

// isMboxFrom reports whether a line is the one that begins each message of an mbox file (RFC 4155).
func isMboxFrom(line []byte) bool { return bytes.HasPrefix(line, []byte("From ")) }

// nameLength gives the number of octets before the colon of a field, blanks included, and 0 where line
// is no field.
func nameLength(line []byte) int {
	colon := bytes.IndexByte(line, ':')
	if colon <= 0 {
		return 0
	}
	name := bytes.TrimRight(line[:colon], " \t")
	for _, c := range name {
		// RFC 5322 3.6.8: ftext is printable US-ASCII but the colon.
		if c <= ' ' || c >= 0x7f {
			return 0
		}
	}
	if len(name) == 0 {
		return 0
	}
	return colon
}

// defect notes a departure, the first of each kind only: a header of 2000 broken lines has one.
func (h *Header) defect(k DefectKind, off int64, detail string) {
	for _, d := range h.defects {
		if d.Kind == k {
			return
		}
	}
	h.defects = append(h.defects, Defect{k, off, detail})
}

// excerpt gives the beginning of s for people, quoted, at most 80 octets of it.
func excerpt(s string) string {
	if len(s) > 80 {
		s = s[:80]
	}
	return fmt.Sprintf("%q", trimLine(s))
}
