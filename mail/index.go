package mail

import (
	"bytes"
	"io"
	"slices"
	"strconv"
	"strings"
)

// How the index is made. The content is read once from its start to its end. At the start of a part its
// header is read; then the octets are searched, block by block, for the next line that begins with "--"
// and is a delimiter of one of the multiparts that are open at that point. Such a line ends all that lies
// deeper than its multipart (RFC 2046 5.1.2: a boundary of an outer multipart ends the inner ones), and
// begins a part or closes the multipart. No body is copied or decoded, and no octet is looked at more than
// three times, however deep the nesting: lines are compared with the set of open boundaries, not with
// each level's.
//
// A boundary parameter may have several readings. The delimiter lines of each of them count, so that the tree has
// every part that some reader finds; so do lines that merely begin like a delimiter and are none of another
// multipart. Such a multipart has a defect that is Ambiguous.
//
// A closed multipart stays on the stack until something outside of it begins. Delimiter lines in its
// epilogue are for no strict reader, but lenient ones go on reading parts there; so these are in the tree
// too, and the multipart has a defect.

// maxBoundary is the length of a boundary that is still matched. RFC 2046 5.1.1 allows 70 octets.
const maxBoundary = 1000

// headersFactor bounds what the headers of all parts take together, in full headers of one part, beside one full
// header of an embedded message: they are kept in memory, and 1000 parts of 64 KiB header each would be 64 MiB.
const headersFactor = 16

// indexer is the state of one run over a content.
type indexer struct {
	s      *scanner
	lim    Limits
	open   []*Part        // from the root to the part that the scanner is in
	bounds map[string]int // boundaries of open: by how many multiparts each is used
	delims []int64        // offsets of the delimiter lines that were found, ascending
	parts  int
	octets int64 // of the headers of parts that may still be kept
	fields int   // and how many fields

	firstOpen   [8]*Part // room for open and delims in most messages
	firstDelims [16]int64
}

// index finds the MIME structure of a content. It always gives a tree; after an I/O error this is one
// opaque part, and the error.
func index(c *Content) (*Part, error) {
	s := newScanner(c.Blob(), c.Blob().Size())
	defer s.close()
	return indexWith(s, c)
}

func indexWith(s *scanner, c *Content) (*Part, error) {
	size := s.size
	header := c.Header()
	opaque := func() *Part {
		return &Part{
			Path: "0", Header: header, BodyOffset: c.bodyOffset(), End: size, Type: "application/octet-stream",
			Encoding: "binary", blob: c.Blob(), delim: -1, next: -1, tight: true,
		}
	}
	if err := c.Err(); err != nil {
		return opaque(), err
	}
	x := &indexer{s: s, lim: c.limits, bounds: map[string]int{}}
	x.open, x.delims = x.firstOpen[:0], x.firstDelims[:0]
	x.octets, x.fields = headersFactor*x.lim.PartHeaderOctets+x.lim.HeaderOctets, headersFactor*x.lim.Fields
	root := &Part{Path: "0", Header: header, BodyOffset: c.bodyOffset(), blob: c.Blob(), delim: -1, next: -1}
	if err := x.run(root); err != nil {
		return opaque(), err
	}
	return root, nil
}

func (x *indexer) run(root *Part) error {
	pos, err := x.enter(root)
	for err == nil && len(x.bounds) > 0 {
		var at int64
		var line []byte
		if at, line, err = x.s.dash(pos); err != nil || at < 0 {
			break
		}
		pos = at + 2
		level, closes := x.match(line, at)
		if level < 0 {
			continue
		}
		pos, err = x.delimiter(level, closes, at, line)
	}
	if err != nil {
		return err
	}
	if err := x.leave(0, x.s.size, -1); err != nil {
		return err
	}
	return x.survey(root)
}

// delimiter deals with a delimiter line of the multipart at that level, and gives the offset from which
// to look for the next one.
func (x *indexer) delimiter(level int, closes bool, at int64, line []byte) (int64, error) {
	p := x.open[level]
	start, unended, err := x.lineEnd(at, line)
	if err != nil {
		return 0, err
	}
	if err := x.leave(level+1, at-2, at); err != nil {
		return 0, err
	}
	x.delims = append(x.delims, at)
	if closes {
		if p.closed {
			p.defect(PartsAfterClose, at, "")
		} else if p.epilogue == 0 {
			p.epilogue = start
		}
		p.closed = true
		return at + 2, nil
	}
	if p.closed {
		p.defect(PartsAfterClose, at, "")
		p.closed = false
	}
	if x.full(p, at) {
		return at + 2, nil
	}
	child := &Part{
		Path: childPath(p, len(p.Children)+1), Parent: p, Offset: start, blob: p.blob,
		delim: at, next: -1, unended: unended,
	}
	p.Children = append(p.Children, child)
	return x.enter(child)
}

// lineEnd gives the offset behind the delimiter line at at, and whether the content ends in the line.
func (x *indexer) lineEnd(at int64, line []byte) (end int64, unended bool, err error) {
	if line[len(line)-1] == '\n' {
		return at + int64(len(line)), false, nil
	}
	end, err = x.s.find(dashLine[:2], at, x.s.size)
	if end < 0 {
		return x.s.size, true, err
	}
	return end + 2, false, err
}

// full notes a part of p that is one too many.
func (x *indexer) full(p *Part, at int64) bool {
	if x.parts < x.lim.Parts {
		return false
	}
	if !p.Has(LimitParts) {
		p.defect(LimitParts, at, "more than "+strconv.Itoa(x.lim.Parts)+" parts")
	}
	return true
}

// childPath gives the path of the nth child of a multipart; see Part.
func childPath(p *Part, n int) string {
	prefix := strings.TrimSuffix(p.Path, ".0") + "."
	if p.Path == "0" {
		prefix = ""
	}
	return prefix + strconv.Itoa(n)
}

// enter reads the header of a part that begins, and of the messages embedded at its start; it puts them
// on the stack, and gives the offset from which to look for delimiter lines.
func (x *indexer) enter(p *Part) (int64, error) {
	for {
		x.parts++
		if p.Parent != nil {
			octets := x.lim.PartHeaderOctets
			if isEmbedded(p.Parent.Type) {
				octets = max(octets, x.lim.HeaderOctets)
			}
			h, at, err := x.s.header(p.Offset, x.s.size, min(octets, x.octets), min(x.lim.Fields, x.fields), x.isDelimiter)
			if err != nil {
				return 0, err
			}
			p.Header, p.BodyOffset = h, at
			x.octets -= h.octets
			x.fields -= len(h.fields)
		}
		p.describe()
		if !isMultipart(p.Type) {
			// A boundary parameter where there should be none: one that encloses the part stays the multipart's.
			p.boundaries = slices.DeleteFunc(p.boundaries, func(b string) bool { return x.bounds[b] > 0 })
		}
		depth := len(x.open)
		x.open = append(x.open, p)
		container := isMultipart(p.Type) || isEmbedded(p.Type)
		switch {
		case p.Header.Truncated() || !container && len(p.boundaries) == 0:
			p.boundary, p.boundaries = "", nil
			return p.BodyOffset, nil
		case depth >= x.lim.Depth:
			p.defect(LimitDepth, p.Offset, "more than "+strconv.Itoa(x.lim.Depth)+" levels")
			p.boundary, p.boundaries = "", nil
			return p.BodyOffset, nil
		case isMultipart(p.Type) || !isEmbedded(p.Type):
			x.openMultipart(p)
			return p.BodyOffset, nil
		case !identity(p.Encoding):
			p.defect(EncodedMessage, p.Offset, p.Encoding)
			return p.BodyOffset, nil
		case x.full(p, p.Offset):
			return p.BodyOffset, nil
		}
		child := &Part{
			Path: p.Path + ".0", Parent: p, Offset: p.BodyOffset, blob: p.blob, delim: -1, next: -1,
		}
		p.Children = []*Part{child}
		p = child
	}
}

// openMultipart makes the boundaries of p ones that are looked for.
func (x *indexer) openMultipart(p *Part) {
	for _, b := range p.boundaries {
		if x.bounds[b] > 0 && isMultipart(p.Type) {
			p.defect(BoundaryReused, p.Offset, excerpt(b))
		}
		x.bounds[b]++
	}
}

// leave ends the parts of the stack from a level on: they end at end, before the delimiter line at line,
// or with the content where line is -1.
func (x *indexer) leave(level int, end, line int64) error {
	for i := len(x.open) - 1; i >= level; i-- {
		p := x.open[i]
		if err := x.finish(p, end); err != nil {
			return err
		}
		p.tight = line < 0 || p.End == line
		if i == level {
			p.next = line
		}
		if len(p.boundaries) > 0 {
			x.closeMultipart(p)
		}
	}
	x.open = x.open[:level]
	return nil
}

// finish sets the end of a part. A part that begins where its delimiter ends has no CRLF to give to it.
func (x *indexer) finish(p *Part, end int64) error {
	p.End = max(end, p.BodyOffset)
	if n := len(p.Children); n > 0 {
		p.End = max(p.End, p.Children[n-1].End)
	}
	if !identity(p.Encoding) && strings.Contains(p.Encoding, "uu") {
		if !uuBegins(io.NewSectionReader(p.blob, p.BodyOffset, p.End-p.BodyOffset)) {
			p.defect(BadEncoding, p.BodyOffset, "uuencode without its first line")
		}
		if err := x.uuName(p); err != nil {
			return err
		}
	}
	if p.Header.Truncated() && p.Parent != nil {
		// The header was not read to its end: the blank line is somewhere behind, or missing.
		cut := p.BodyOffset
		blank, err := x.s.find([]byte("\r\n\r\n"), max(p.Offset, cut-2), p.End)
		if err != nil {
			return err
		}
		p.BodyOffset = p.End
		if blank >= 0 {
			p.BodyOffset = blank + 4
		}
		p.Header.octets = p.BodyOffset - p.Offset
	}
	return nil
}

// uuName adds the file name that stands in the first lines of a uuencoded body.
func (x *indexer) uuName(p *Part) error {
	b, err := x.s.peek(p.BodyOffset, min(p.End-p.BodyOffset, maxLine))
	if err != nil {
		return err
	}
	for len(b) > 0 {
		line := cutLine(b)
		b = b[len(line):]
		if rest, ok := bytes.CutPrefix(line, uuBegin); ok {
			_, name, _ := bytes.Cut(rest, []byte(" "))
			p.addName(string(name))
			break
		}
	}
	return nil
}

func (x *indexer) closeMultipart(p *Part) {
	for _, b := range p.boundaries {
		if x.bounds[b]--; x.bounds[b] == 0 {
			delete(x.bounds, b)
		}
	}
	switch {
	case !isMultipart(p.Type) && len(p.Children) == 0:
	case len(p.Children) == 0 && p.End-p.BodyOffset <= 2:
		// A header only, as bounces return it: there is nothing in which parts could be found.
	case len(p.Children) == 0 && !p.Has(LimitParts):
		p.defect(NoParts, p.BodyOffset, excerpt(p.boundary))
	case !p.closed:
		p.defect(NoClosingBoundary, p.End, excerpt(p.boundary))
	}
	if !isMultipart(p.Type) && len(p.Children) > 0 {
		p.defect(UnexpectedMultipart, p.Offset, p.Type)
	}
}

// isDelimiter reports whether a line of a header is a delimiter line of an open multipart.
func (x *indexer) isDelimiter(line []byte) bool { return x.lookup(line).level >= 0 }

// match finds the multipart that a line is a delimiter of: its level in the stack, or -1. It notes what
// is odd about the line.
func (x *indexer) match(line []byte, at int64) (level int, closes bool) {
	d := x.lookup(line)
	if d.level < 0 {
		return -1, false
	}
	p := x.open[d.level]
	if d.blanks {
		p.defect(BlanksAfterBoundary, at, "")
	}
	if d.junk && !p.Has(BoundaryPrefix) {
		p.defect(BoundaryPrefix, at, excerpt(string(line)))
	}
	if len(p.Children) == 0 {
		p.boundary = d.boundary
	}
	return d.level, d.closes
}

// delimiterLine is what a line is a delimiter of.
type delimiterLine struct {
	level    int    // of the multipart in the stack, -1 for none
	boundary string // the reading of its boundary
	closes   bool
	blanks   bool // blanks follow
	junk     bool // something else follows
}

// lookup compares a line with the open boundaries. RFC 2046 5.1.1: the delimiter is "--", the boundary
// and blanks; the close delimiter has "--" before the blanks. A line that begins with these and goes on is one to
// readers who compare no more; where it is a delimiter of its own, for a boundary may be the beginning of another,
// it is that.
func (x *indexer) lookup(line []byte) delimiterLine {
	none := delimiterLine{level: -1}
	if len(line) < 3 || line[0] != '-' || line[1] != '-' {
		return none
	}
	name, blanks := line[2:], false
	for n := len(name); n > 0 && name[n-1] <= ' '; n = len(name) {
		blanks = blanks || name[n-1] != '\r' && name[n-1] != '\n'
		name = name[:n-1]
	}
	if len(name) == 0 {
		return none
	}
	if len(name) <= maxBoundary+2 {
		if x.bounds[string(name)] > 0 {
			level, boundary := x.level(name)
			return delimiterLine{level: level, boundary: boundary, blanks: blanks}
		}
		if name, ok := bytes.CutSuffix(name, dashLine[2:]); ok && x.bounds[string(name)] > 0 {
			level, boundary := x.level(name)
			return delimiterLine{level: level, boundary: boundary, closes: true, blanks: blanks}
		}
	}
	longest := ""
	for _, p := range x.open {
		for _, b := range p.boundaries {
			if len(b) > len(longest) && len(b) <= len(name) && string(name[:len(b)]) == b && strings.Trim(b, "-") != "" {
				longest = b
			}
		}
	}
	if longest == "" {
		return none
	}
	rest := name[len(longest):]
	level, _ := x.level([]byte(longest))
	return delimiterLine{level: level, boundary: longest, closes: bytes.HasPrefix(rest, dashLine[2:]), junk: true}
}

// level finds the innermost multipart with a boundary, of those not yet closed if there is one, and its own copy of
// the boundary.
func (x *indexer) level(boundary []byte) (found int, own string) {
	found = -1
	for i := len(x.open) - 1; i >= 0; i-- {
		k := slices.IndexFunc(x.open[i].boundaries, func(b string) bool { return b == string(boundary) })
		if k < 0 {
			continue
		}
		if found < 0 || !x.open[i].closed {
			found, own = i, x.open[i].boundaries[k]
		}
		if !x.open[i].closed {
			break
		}
	}
	return found, own
}

func isMultipart(mediaType string) bool { return strings.HasPrefix(mediaType, "multipart/") }

// isEmbedded reports whether parts of a type hold a message: RFC 2046 5.2.1, RFC 6532 3.7, RFC 5537 4.1.
func isEmbedded(mediaType string) bool {
	return mediaType == "message/rfc822" || mediaType == "message/global" || mediaType == "message/news"
}

// identity reports whether a body with that encoding is its own octets.
func identity(encoding string) bool {
	switch encoding {
	case "base64", "quoted-printable", "x-uuencode", "uuencode", "x-uue":
		return false
	}
	return true
}
