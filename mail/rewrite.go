package mail

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// How edits are carried out. Every edit becomes splices: a range of the content that goes, and octets
// that come in its place. The splices, sorted, cut the content into extents; what lies between them is
// never copied or looked at, so that octets which no edit names stay as they are, and no edits at all
// leave the content itself.
//
// A part goes together with the delimiter line before it, up to the next one: the line ends around the
// neighbours stay theirs. Where a multipart was cut short and has no next delimiter line, a close
// delimiter takes the part's place, for else the part before it would grow by a line end.
//
// A part that two readers may read differently is serialised anew where this is asked for; see rebuild.go.
//
// Removal wins: first the parts that go or are replaced are gathered, then those inside of another one
// that goes fall away, for they go with it. Nothing else is ever left out: an edit that can't be carried
// out is an error.

// Rewrite gives the content with the edits carried out, in one pass and without a copy. The edits speak of
// the content as it is, not of what other edits made of it. Removal of a part, or its replacement, beats
// every other edit of it or within it; removal of a field beats its replacement. The error is ErrEdit for
// an edit that can't be carried out, or the content's read error.
//
// With rebuild set every part that stays and that two readers may read differently (see Part.Ambiguity) is serialised
// anew. It is the tree after the edits that is serialised: what goes is not rebuilt, and takes nothing along.
func Rewrite(c *Content, edits []Edit, rebuild bool) (*Message, error) {
	r := rewriter{c: c, rebuild: rebuild, fields: map[int]*string{}, parts: map[*Part]*ReplacePart{}, outside: map[*Part]bool{}, appends: map[*Part][]AppendPart{}}
	m, err := r.rewrite(edits)
	if err != nil {
		for _, b := range r.blobs {
			b.Release()
		}
		return nil, err
	}
	m.others = r.blobs
	return m, nil
}

func (r *rewriter) rewrite(edits []Edit) (*Message, error) {
	c := r.c
	if len(edits) > 0 || r.rebuild {
		// Before anything is called unknown: an error of reading is no fault of an edit.
		c.Root()
		if err := c.Err(); err != nil {
			return nil, err
		}
	}
	for _, e := range edits {
		if err := r.gather(e); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrEdit, e, err)
		}
	}
	if err := r.splice(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEdit, err)
	}
	extents, err := r.extents()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEdit, err)
	}
	return newMessage(c.Blob().Retain(), extents), nil
}

// rewriter gathers the edits of one Rewrite.
type rewriter struct {
	c       *Content
	added   []AddField
	fields  map[int]*string        // index of a field: its new body; nil: it goes
	parts   map[*Part]*ReplacePart // nil: it goes
	outside map[*Part]bool         // multiparts that lose preamble and epilogue
	appends map[*Part][]AppendPart // parts that get another one behind them
	rebuild bool                   // ambiguous parts are serialised anew
	blobs   []*Blob                // that hold new bodies
	secret  string                 // what no sender can know of the new boundaries
	splices []splice
	blank   bool // the blank line that the message's own header lacks is among them
}

// splice replaces the octets [off, end) of the content by data.
type splice struct {
	off, end int64
	data     []byte
	blob     *Blob  // all of it in place of data, when not nil
	encoding string // of what it replaces a body by
}

// gather checks one edit by itself, and notes it.
func (r *rewriter) gather(e Edit) error {
	switch e := e.(type) {
	case AddField:
		if err := checkField(e.Name, e.Body); err != nil {
			return err
		}
		r.added = append(r.added, e)
	case RemoveField:
		if e.Index < 0 || e.Index >= len(r.c.Header().Fields()) {
			return errors.New("no such field")
		}
		r.fields[e.Index] = nil
	case ReplaceField:
		if e.Index < 0 || e.Index >= len(r.c.Header().Fields()) || r.c.Header().Fields()[e.Index].Name == "" {
			return errors.New("no such field")
		}
		if err := checkBody(e.Body); err != nil {
			return err
		}
		if _, ok := r.fields[e.Index]; !ok {
			r.fields[e.Index] = &e.Body
		}
	case RemovePart:
		return r.gatherPart(e.Path, nil)
	case ReplacePart:
		return r.gatherPart(e.Path, &e)
	case AppendPart:
		return r.gatherAppend(e)
	case RemoveOutside:
		p := r.c.Part(e.Path)
		if p == nil || !p.IsMultipart() {
			return errors.New("no such multipart")
		}
		r.outside[p] = true
	default:
		return errors.New("unknown edit")
	}
	return nil
}

func (r *rewriter) gatherPart(path string, e *ReplacePart) error {
	p := r.c.Part(path)
	if p == nil {
		return errors.New("no such part")
	}
	if e == nil {
		r.parts[p] = nil
		return nil
	}
	if err := checkPart(e.Header, e.Body); err != nil {
		return err
	}
	if _, ok := r.parts[p]; !ok {
		r.parts[p] = e
	}
	return nil
}

func (r *rewriter) gatherAppend(e AppendPart) error {
	p := r.c.Part(e.Path)
	if p == nil || p.Parent == nil || !p.Parent.IsMultipart() || p.unended {
		return errors.New("no such part of a multipart")
	}
	if err := checkPart(e.Header, e.Body); err != nil {
		return err
	}
	r.appends[p] = append(r.appends[p], e)
	return nil
}

// checkPart refuses what is no part.
func checkPart(header []AddField, body []byte) error {
	for _, f := range header {
		if err := checkField(f.Name, f.Body); err != nil {
			return err
		}
		if !contentField(f.Name) {
			return fmt.Errorf("field %q is none of a part", f.Name)
		}
	}
	return checkLines(body)
}

func contentField(name string) bool { return len(name) > 8 && equalFold(name[:8], "Content-") }

// checkField refuses names and bodies that would be read as anything but the one field.
func checkField(name, body string) error {
	if strings.ContainsAny(name, " \t") || name == "" || nameLength([]byte(name+":")) != len(name) {
		return fmt.Errorf("bad field name %q", name)
	}
	return checkBody(body)
}

// checkBody refuses the body of a field that holds a line end before anything but a blank (RFC 5322
// 2.2.3), a NUL, or a folded line of blanks only, which some readers take for the end of the header
// (RFC 5322 3.2.2: such lines are obsolete).
func checkBody(body string) error {
	if strings.IndexByte(body, 0) >= 0 {
		return errors.New("NUL in a field body")
	}
	if !strings.ContainsAny(body, "\r\n") {
		return nil
	}
	for i, line := range strings.Split(body, "\r\n") {
		if strings.ContainsAny(line, "\r\n") {
			return errors.New("bare line end in a field body")
		}
		if i > 0 && (line == "" || line[0] != ' ' && line[0] != '\t' || trimLine(line) == "") {
			return errors.New("a line in a field body that continues nothing")
		}
	}
	return nil
}

// checkLines refuses a body that is not canonical: a line end that is no CRLF, or a NUL.
func checkLines(body []byte) error {
	crlf := bytes.Count(body, dashLine[:2])
	if crlf != bytes.Count(body, dashLine[:1]) || crlf != bytes.Count(body, dashLine[1:2]) {
		return errors.New("bare line end in a body")
	}
	if bytes.IndexByte(body, 0) >= 0 {
		return errors.New("NUL in a body")
	}
	return nil
}

// splice turns what was gathered into splices.
func (r *rewriter) splice() error {
	root, whole := (*Part)(nil), false
	if len(r.parts) > 0 || len(r.outside) > 0 || len(r.appends) > 0 || r.rebuild {
		root = r.c.Root()
		_, whole = r.parts[root]
	}
	anew := false
	if r.rebuild && !whole {
		var err error
		if anew, err = root.needsRebuild(); err != nil {
			return err
		}
		for i, f := range r.c.Header().Fields() {
			if anew && contentType(f.Name) {
				delete(r.fields, i) // it is written anew
			}
		}
	}
	r.addFields(whole)
	if whole {
		if r.c.Header().Truncated() {
			return fmt.Errorf("part %s: its header was not read to its end", root.Path)
		}
		for i, f := range r.c.Header().Fields() {
			if contentField(f.Name) {
				delete(r.fields, i) // it goes with the body
			}
		}
	}
	fields := r.c.Header().Fields()
	for i, body := range r.fields {
		f := fields[i]
		s := splice{off: f.Offset, end: f.Offset + int64(len(f.Raw))}
		if body != nil {
			s.data = appendField(nil, f.Name, *body)
		}
		r.splices = append(r.splices, s)
	}
	if len(r.splices) > 0 && !whole && !anew {
		r.endHeader()
	}
	if root == nil {
		return nil
	}
	return r.spliceParts(root)
}

// endHeader puts in the blank line that the message's own header lacks where the body follows it all the same:
// the header ends at a line that is no field then, and readers that skip such a line would take what stands
// behind it for fields beside those of ours.
func (r *rewriter) endHeader() {
	h, at := r.c.Header(), r.c.bodyOffset()
	if h.blank || at == r.c.Blob().Size() {
		return
	}
	r.splices, r.blank = append(r.splices, missingBlank(h, at)), true
}

// addFields puts the added fields on top, behind an mbox "From " line, which is none of the header. Where
// the content begins with a continuation of no field, that line would become part of the last of them; it
// gets a field of its own.
func (r *rewriter) addFields(whole bool) {
	var s splice
	for _, f := range r.added {
		if whole && contentField(f.Name) {
			continue // an edit of the part that goes
		}
		s.data = appendField(s.data, f.Name, f.Body)
	}
	if len(s.data) == 0 {
		return
	}
	if fields := r.c.Header().Fields(); len(fields) > 0 && fields[0].Name == "" {
		switch body, changed := r.fields[0]; {
		case changed && body == nil:
		case fields[0].Raw[0] == ' ' || fields[0].Raw[0] == '\t':
			s.data = append(s.data, "X-Header-Fragment:\r\n"...)
		case isMboxFrom([]byte(fields[0].Raw)) && strings.HasSuffix(fields[0].Raw, "\r\n"):
			s.off = int64(len(fields[0].Raw))
			s.end = s.off
		}
	}
	r.splices = append(r.splices, s)
}

// appendField writes a field. A body that begins with a fold follows the colon at once.
func appendField(b []byte, name, body string) []byte {
	b = append(append(b, name...), ':')
	if !strings.HasPrefix(body, "\r\n") {
		b = append(b, ' ')
	}
	return append(append(b, body...), '\r', '\n')
}

// spliceParts goes through the tree from p on, not into parts that go.
func (r *rewriter) spliceParts(p *Part) error {
	if e, ok := r.parts[p]; ok {
		if e == nil {
			e = emptyText(p.Path)
		}
		if p.Parent != nil && p.Parent.IsMultipart() {
			return r.replaceChild(p, e)
		}
		return r.replaceMessage(p, e)
	}
	if all := r.appends[p]; len(all) > 0 {
		if err := r.appendParts(p, all); err != nil {
			return err
		}
	}
	if r.rebuild {
		anew, err := p.needsRebuild()
		if err != nil {
			return err
		}
		if anew {
			return r.rebuildPart(p)
		}
	}
	first, gone := len(r.splices), 0
	if r.outside[p] {
		r.removeOutside(p)
	}
	for _, c := range p.Children {
		if e, ok := r.parts[c]; ok && e == nil {
			gone++
		}
	}
	for _, c := range p.Children {
		e, ok := r.parts[c]
		var err error
		switch {
		case ok && e == nil && p.IsMultipart() && gone < len(p.Children):
			r.removeChild(c)
		case ok && e == nil && p.IsMultipart():
			// RFC 2046 5.1.1: a multipart has at least one part. Its first becomes an empty text.
			err = r.replaceChild(c, emptyText(c.Path))
			gone--
		default:
			err = r.spliceParts(c)
		}
		if err != nil {
			return err
		}
	}
	if len(r.splices) > first && !p.Header.blank && (p.Parent != nil || !r.blank) {
		r.splices = slices.Insert(r.splices, first, missingBlank(p.Header, p.BodyOffset))
	}
	return nil
}

// missingBlank is the blank line that a header lacks, before the body at at. It is put in where something in
// the body changes: the blank line of a new part would else be taken for the one that ends the header.
func missingBlank(h *Header, at int64) splice {
	data := dashLine[:2]
	if n := len(h.fields); n > 0 && !strings.HasSuffix(h.fields[n-1].Raw, "\r\n") {
		data = []byte("\r\n\r\n")
	}
	return splice{off: at, end: at, data: data}
}

// appendParts puts a multipart/mixed around p, with other parts behind it.
func (r *rewriter) appendParts(p *Part, all []AppendPart) error {
	boundary := r.newBoundary(p) + ".m"
	r.splices = append(r.splices, splice{off: p.Offset, end: p.Offset, data: []byte("Content-Type: multipart/mixed;\r\n\tboundary=\"" + boundary + "\"\r\n\r\n--" + boundary + "\r\n")})
	if p.Parent.Type == "multipart/digest" && p.Header.Count("Content-Type") == 0 {
		// RFC 2046 5.1.5: what is a message by default in there is a text elsewhere.
		s := &r.splices[len(r.splices)-1]
		s.data = append(s.data, "Content-Type: message/rfc822\r\n"...)
	}
	var data []byte
	for _, e := range all {
		g, err := guard(p, &ReplacePart{Path: e.Path, Header: e.Header, Body: e.Body})
		if err != nil {
			return err
		}
		data = append(data, "\r\n--"+boundary+"\r\n"...)
		for _, f := range g.Header {
			data = appendField(data, f.Name, f.Body)
		}
		data = append(append(data, '\r', '\n'), g.Body...)
	}
	data = append(data, "\r\n--"+boundary+"--"...)
	if p.tight {
		data = append(data, '\r', '\n')
	}
	r.splices = append(r.splices, splice{off: p.End, end: p.End, data: data})
	return nil
}

// removeOutside removes preamble and epilogue of a multipart.
func (r *rewriter) removeOutside(p *Part) {
	if n := p.Preamble().Size(); n > 0 {
		r.splices = append(r.splices, splice{off: p.BodyOffset, end: p.BodyOffset + n})
	}
	if n := p.Epilogue().Size(); n > 0 {
		r.splices = append(r.splices, splice{off: p.End - n, end: p.End})
	}
}

func emptyText(path string) *ReplacePart {
	return &ReplacePart{Path: path, Header: []AddField{{"Content-Type", "text/plain; charset=us-ascii"}}}
}

// removeChild removes a part of a multipart with the delimiter line before it.
func (r *rewriter) removeChild(p *Part) {
	s := splice{off: p.delim, end: p.next}
	if p.next < 0 {
		s.end = p.End
		s.data = append([]byte("--"+p.Parent.boundary), "--"...)
		if p.tight {
			s.data = append(s.data, '\r', '\n')
		}
	}
	r.splices = append(r.splices, s)
}

// replaceChild puts e in the place of a part of a multipart, between the delimiter lines.
func (r *rewriter) replaceChild(p *Part, e *ReplacePart) error {
	e, err := guard(p, e)
	if err != nil {
		return err
	}
	var data []byte
	if p.unended {
		data = append(data, '\r', '\n')
	}
	for _, f := range e.Header {
		data = appendField(data, f.Name, f.Body)
	}
	r.splices = append(r.splices, splice{off: p.Offset, end: p.End, data: r.ending(p, append(data, '\r', '\n'), e.Body)})
	return nil
}

// replaceMessage puts e in the place of the Content-* fields and the body of the message itself, or of an
// embedded one. An embedded header that was not read to its end goes as a whole.
func (r *rewriter) replaceMessage(p *Part, e *ReplacePart) error {
	e, err := guard(p, e)
	if err != nil {
		return err
	}
	var fields []byte
	for _, f := range e.Header {
		fields = appendField(fields, f.Name, f.Body)
	}
	if len(e.Header) > 0 && p.Header.Count("MIME-Version") == 0 {
		fields = append(fields, "MIME-Version: 1.0\r\n"...) // RFC 2045 4
	}
	if p.Header.Truncated() {
		r.splices = append(r.splices, splice{off: p.Offset, end: p.End, data: r.ending(p, append(fields, '\r', '\n'), e.Body)})
		return nil
	}
	last := p.Offset // where the fields end
	for i, f := range p.Header.Fields() {
		last = f.Offset + int64(len(f.Raw))
		if contentField(f.Name) {
			r.splices = append(r.splices, splice{off: f.Offset, end: last, data: fields})
			fields = nil
		} else if i == len(p.Header.Fields())-1 && !strings.HasSuffix(f.Raw, "\r\n") {
			fields = append([]byte("\r\n"), fields...)
		}
	}
	r.splices = append(r.splices, splice{off: last, end: p.End, data: r.ending(p, append(fields, '\r', '\n'), e.Body)})
	return nil
}

// ending adds a body to a header, and the CRLF that the delimiter line after it needs or the content has
// to end with, where none is left.
func (r *rewriter) ending(p *Part, header, body []byte) []byte {
	data := append(header, body...)
	if p.tight && (p.End < r.c.Blob().Size() || !bytes.HasSuffix(data, dashLine[:2])) {
		data = append(data, '\r', '\n')
	}
	return data
}

// guard sees to it that no line of a new part can be taken for a delimiter line of the multiparts around
// it, not even by readers that compare the beginning only: such a body is put in base64.
func guard(p *Part, e *ReplacePart) (*ReplacePart, error) {
	if !breaksOut(p, e.Body) {
		return e, nil
	}
	g := &ReplacePart{Path: e.Path}
	for _, f := range e.Header {
		if !equalFold(f.Name, "Content-Transfer-Encoding") {
			g.Header = append(g.Header, f)
		} else if !identity(lowerASCII(trimLine(f.Body))) {
			return nil, fmt.Errorf("part %s: a line of the new body is a delimiter line", p.Path)
		}
	}
	g.Header = append(g.Header, AddField{"Content-Transfer-Encoding", "base64"})
	text := base64.StdEncoding.EncodeToString(e.Body)
	for len(text) > 0 {
		n := min(76, len(text)) // RFC 2045 6.8
		g.Body = append(append(g.Body, text[:n]...), '\r', '\n')
		text = text[n:]
	}
	return g, nil
}

func breaksOut(p *Part, body []byte) bool {
	for q := p.Parent; q != nil; q = q.Parent {
		for _, b := range q.boundaries {
			line := append([]byte("\r\n--"), b...)
			if bytes.HasPrefix(body, line[2:]) || bytes.Contains(body, line) {
				return true
			}
		}
	}
	return false
}

// extents sorts the splices and cuts the content along them.
func (r *rewriter) extents() ([]extent, error) {
	slices.SortStableFunc(r.splices, func(a, b splice) int { return cmp.Or(cmp.Compare(a.off, b.off), cmp.Compare(a.end, b.end)) })
	var all []extent
	var at int64
	for _, s := range r.splices {
		if s.off < at {
			return nil, fmt.Errorf("edits overlap at %d", s.off)
		}
		if s.off > at {
			all = append(all, extent{off: at, n: s.off - at})
		}
		switch {
		case s.blob != nil:
			all = append(all, extent{n: s.blob.Size(), blob: s.blob})
		case len(s.data) > 0:
			all = append(all, extent{n: int64(len(s.data)), data: s.data})
		}
		at = s.end
	}
	if size := r.c.Blob().Size(); at < size {
		all = append(all, extent{off: at, n: size - at})
	}
	return all, nil
}
