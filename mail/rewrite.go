package mail

import (
	"bytes"
	"cmp"
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
	r := rewriter{c: c, rebuild: rebuild}
	if rebuild || slices.ContainsFunc(edits, ofPart) {
		r.parts, r.outside, r.appends = map[*Part]*ReplacePart{}, map[*Part]bool{}, map[*Part][]AppendPart{}
		r.notes = map[*Part]*ReplacePart{}
	}
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
		// Before anything is called unknown: an error of reading is no fault of an edit. Edits of the header alone
		// leave the structure unread.
		if r.rebuild || slices.ContainsFunc(edits, ofPart) {
			c.Root()
		} else {
			c.Header()
		}
		if err := c.Err(); err != nil {
			return nil, err
		}
	}
	for _, e := range edits {
		if err := r.gather(e); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrEdit, e, err)
		}
	}
	for p, e := range r.notes {
		if _, goes := r.parts[p]; !goes && len(r.appends[p]) == 0 {
			r.parts[p] = e
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

// ofPart reports whether an edit speaks of a part.
func ofPart(e Edit) bool {
	switch e.(type) {
	case AddField, RemoveField, ReplaceField:
		return false
	}
	return true
}

// rewriter gathers the edits of one Rewrite.
type rewriter struct {
	c       *Content
	added   []AddField
	fields  map[int]*string        // index of a field: its new body; nil: it goes
	parts   map[*Part]*ReplacePart // nil: it goes
	notes   map[*Part]*ReplacePart // parts that are annotated, where no other edit is about them
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
		r.changeField(e.Index, nil)
	case ReplaceField:
		if e.Index < 0 || e.Index >= len(r.c.Header().Fields()) || r.c.Header().Fields()[e.Index].Name == "" {
			return errors.New("no such field")
		}
		if err := checkBody(e.Body); err != nil {
			return err
		}
		if _, ok := r.fields[e.Index]; !ok {
			r.changeField(e.Index, &e.Body)
		}
	case RemovePart:
		return r.gatherPart(r.parts, e.Path, nil)
	case ReplacePart:
		return r.gatherPart(r.parts, e.Path, &e)
	case AnnotatePart:
		if p := r.c.Part(e.Path); p != nil && !p.IsLeaf() {
			return errors.New("no leaf")
		}
		return r.gatherPart(r.notes, e.Path, &ReplacePart{Path: e.Path, Header: e.Header, Body: e.Body})
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

func (r *rewriter) changeField(index int, body *string) {
	if r.fields == nil {
		r.fields = map[int]*string{}
	}
	r.fields[index] = body
}

func (r *rewriter) gatherPart(parts map[*Part]*ReplacePart, path string, e *ReplacePart) error {
	p := r.c.Part(path)
	if p == nil {
		return errors.New("no such part")
	}
	if e == nil {
		parts[p] = nil
		return nil
	}
	if err := checkPart(e.Header, e.Body); err != nil {
		return err
	}
	if _, ok := parts[p]; !ok {
		parts[p] = e
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
	ok := name != ""
	for i := range len(name) {
		// RFC 5322 3.6.8: ftext is printable US-ASCII but the colon.
		c := name[i]
		ok = ok && c > ' ' && c < 0x7f && c != ':'
	}
	if !ok {
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
	for first := true; ; first = false {
		line, rest, more := strings.Cut(body, "\r\n")
		if strings.IndexByte(line, '\r') >= 0 || strings.IndexByte(line, '\n') >= 0 {
			return errors.New("bare line end in a field body")
		}
		if !first && (line == "" || line[0] != ' ' && line[0] != '\t' || trimLine(line) == "") {
			return errors.New("a line in a field body that continues nothing")
		}
		if !more {
			return nil
		}
		body = rest
	}
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
	n := 0
	for _, f := range r.added {
		n += len(f.Name) + len(f.Body) + len(": \r\n")
	}
	s.data = make([]byte, 0, n)
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
		if _, changed := r.fields[0]; !changed && isMboxFrom([]byte(fields[0].Raw)) && strings.HasSuffix(fields[0].Raw, "\r\n") {
			s.off = int64(len(fields[0].Raw))
			s.end = s.off
		}
		if r.isFragment(0) || r.isFragment(1) { // the latter behind an mbox line
			s.data = append(s.data, "X-Header-Fragment:\r\n"...)
		}
	}
	r.splices = append(r.splices, s)
}

// isFragment reports whether the field at index i stays and begins like a folded line.
func (r *rewriter) isFragment(i int) bool {
	fields := r.c.Header().Fields()
	if i >= len(fields) || fields[i].Raw[0] != ' ' && fields[i].Raw[0] != '\t' {
		return false
	}
	body, changed := r.fields[i]
	return !changed || body != nil
}

// appendField writes a field. A body that begins with a fold follows the colon at once.
func appendField(b []byte, name, body string) []byte {
	b = append(append(b, name...), ':')
	if !strings.HasPrefix(body, "\r\n") {
		b = append(b, ' ')
	}
	return append(append(b, body...), '\r', '\n')
}

// extents sorts the splices and cuts the content along them.
func (r *rewriter) extents() ([]extent, error) {
	slices.SortStableFunc(r.splices, func(a, b splice) int { return cmp.Or(cmp.Compare(a.off, b.off), cmp.Compare(a.end, b.end)) })
	all := make([]extent, 0, 2*len(r.splices)+1)
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
