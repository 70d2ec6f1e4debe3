package text

import (
	"bytes"
	"unicode/utf8"
)

// renderer makes the text and the facts of HTML. It is told of tags and texts by a tokenizer.
type renderer struct {
	h      *HTML
	source text // the HTML
	z      tokenizer

	out   []byte // the rendered text
	chars bool   // it has characters
	piece piece  // what was written last

	hiddenSpans, wideSpans []span

	styles   []style
	open     [tagCount]int // how many styles of an element are open
	basefont int

	scratch []byte // decoded texts, and values
	low     []byte // the name of an element that is not known
	base    string // what the base element says

	anchorText []byte // of all links, one behind the other
	anchorAt   []int  // where each begins
	anchorLink []int  // of which link it is
	links      map[string]int
	linkSize   int // octets of all

	titleText []byte
	titleAt   []int

	backhair map[[2]uint8]struct{}
	face     string // the font's name that was looked at last, and whether it is odd
	faceBad  bool
}

// piece is a piece of rendered text.
type piece struct {
	from      int
	any       bool // there is one
	space     bool // it is what a tag makes
	invisible bool
	chars     bool
}

// Bounds on what one part may bring.
const (
	maxTexts    = 5000 // links, titles, comments and scripts, of each
	maxUnknown  = 1000 // different elements that are not known
	maxURI      = 8192 // characters of a URI
	maxBackhair = 49
)

// renderHTML renders a part.
func (t *TextPart) renderHTML(src text, octets int) *rendering {
	h := &HTML{Length: src.length(), MinSize: 3, MaxSize: 3, chars: src.chars}
	r := &renderer{h: h, basefont: 3, styles: make([]style, 1, 16), links: make(map[string]int)}
	r.styles[0] = style{fg: 0, bg: 0xffffff, size: 3}
	r.source = text{prepareHTML(src.utf8), src.chars}
	r.out = make([]byte, 0, len(r.source.utf8)/2+64)
	r.z = tokenizer{src: r.source.utf8, to: r}
	r.z.run(r.unclosed)
	r.finish()

	out := text{r.out, r.chars}
	h.Rendered = out.length()
	h.NonSpace = h.Rendered - countSpace(out)
	h.Ratio = (float64(octets) - float64(h.Rendered)) / float64(octets)
	return &rendering{text: out, hidden: r.hiddenSpans, wide: r.wideSpans, html: h}
}

// prepareHTML makes a space of "&nbsp;", and "<br>" of "<br />", and plain quotes of double ones that are none. b is not
// changed.
func prepareHTML(b []byte) []byte {
	if !bytes.Contains(b, []byte("&nbsp;")) && !bytes.Contains(b, []byte("/>")) && !bytes.Contains(b, []byte("\xe2\x80\x9c")) &&
		!bytes.Contains(b, []byte("\xe2\x80\x9d")) {
		return b
	}
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); {
		switch c := b[i]; {
		case c == '&' && bytes.HasPrefix(b[i:], []byte("&nbsp;")):
			out = append(out, ' ')
			i += len("&nbsp;")
		case c == 0xe2 && i+2 < len(b) && b[i+1] == 0x80 && (b[i+2] == 0x9c || b[i+2] == 0x9d):
			out = append(out, '"')
			i += 3
		case c == '>' && len(out) > 0 && out[len(out)-1] == '/':
			out = append(dropSlash(out), '>')
			i++
		default:
			from := i
			for i++; i < len(b) && b[i] != '&' && b[i] != 0xe2 && b[i] != '>'; {
				i++
			}
			out = append(out, b[from:i]...)
		}
	}
	return out
}

// dropSlash drops the slash at the end of an empty element's tag that has nothing but a name.
func dropSlash(b []byte) []byte {
	end := len(b) - 1
	for end > 0 && isHTMLSpace(b[end-1]) {
		end--
	}
	from := end
	for from > 0 && isWord(b[from-1]) {
		from--
	}
	if from == end || from == 0 || b[from-1] != '<' {
		return b
	}
	return b[:end]
}

// countSpace counts the characters that are white space.
func countSpace(t text) (n int) {
	for i := 0; i < len(t.utf8); {
		c := t.utf8[i]
		if c < utf8.RuneSelf {
			if spaceClass[c] != noSpace && (t.chars || c != '\f') {
				n++
			}
			i++
			continue
		}
		r, size := utf8.DecodeRune(t.utf8[i:])
		if t.chars && isWideSpace(r) {
			n++
		}
		i += size
	}
	return n
}

// unclosed names an element whose text is not shown and which is not closed at the end.
func (r *renderer) unclosed() string {
	for _, id := range []uint8{tagStyle, tagScript} {
		if r.h.known[id] > 1 {
			return tags[id].name
		}
	}
	return ""
}

// finish hands over what was collected.
func (r *renderer) finish() {
	h := r.h
	h.Anchors = pieces(r.anchorText, r.anchorAt)
	h.Titles = pieces(r.titleText, r.titleAt)
	for i, l := range r.anchorLink {
		h.Links[l].Anchors = append(h.Links[l].Anchors, string(h.Anchors[i]))
	}
	if !r.source.chars {
		toOctets(h.Anchors)
		toOctets(h.Titles)
		toOctets(h.Scripts)
	}
	h.Backhair = len(r.backhair)
}

// toOctets makes octets of texts in which no character is beyond U+00FF, as SpamAssassin has them of HTML without a charset.
func toOctets(texts [][]byte) {
	for i, t := range texts {
		if plainASCII(t) {
			continue
		}
		b := make([]byte, 0, len(t))
		for _, r := range string(t) {
			if r > 0xff {
				b = nil
				break
			}
			b = append(b, byte(r))
		}
		if b != nil {
			texts[i] = b
		}
	}
}

// pieces cuts a text where its pieces begin.
func pieces(b []byte, at []int) [][]byte {
	if len(at) == 0 {
		return nil
	}
	all := make([][]byte, len(at))
	for i, from := range at {
		to := len(b)
		if i+1 < len(at) {
			to = at[i+1]
		}
		all[i] = b[from:to:to]
	}
	return all
}

// count takes note of a tag, and of how many of the element are open.
func (r *renderer) count(id uint8, name []byte, valid, opens bool) {
	h := r.h
	h.Tags++
	if valid {
		h.Elements++
	}
	first := false
	switch {
	case id != 0:
		n := &h.known[id]
		first = *n == 0
		*n = max(*n, 1)
		switch {
		case opens:
			*n++
		case *n > 1:
			*n--
		default:
			h.ExtraClose++
		}
	default:
		first = r.countUnknown(name, opens)
	}
	if first {
		h.seen++
		if valid {
			h.valid++
		}
	}
}

func (r *renderer) countUnknown(name []byte, opens bool) (first bool) {
	h := r.h
	n, known := h.unknown[string(name)]
	if !known && len(h.unknown) >= maxUnknown {
		return false
	}
	if h.unknown == nil {
		h.unknown = make(map[string]int)
	}
	switch {
	case opens:
		n++
	case n > 0:
		n--
	default:
		h.ExtraClose++
	}
	h.unknown[string(name)] = n
	return !known
}

// lower gives a name in lower case.
func (r *renderer) lower(name []byte) []byte {
	r.low = append(r.low[:0], name...)
	for i, c := range r.low {
		if 'A' <= c && c <= 'Z' {
			r.low[i] = c + 'a' - 'A'
		}
	}
	return r.low
}

// tag counts a tag, and reports whether it is one that matters.
func (r *renderer) tag(name []byte, opens bool) (id, is uint8) {
	id = tagOf(name)
	is = tags[id].is
	office := false
	if id == 0 {
		name = r.lower(name)
		office = isNamespace(name)
	}
	r.count(id, name, is&isElement != 0 || office, opens)
	if is&(isElement|isTrick) == 0 {
		return 0, 0
	}
	return id, is
}

// start implements tokens.
func (r *renderer) start(name []byte, attrs []attribute) {
	id, is := r.tag(name, true)
	if id == 0 {
		return
	}
	if is&hasStyle != 0 {
		r.openStyle(id, attrs)
	}
	r.whitespace(is)
	if is&hasURI != 0 {
		r.findURIs(id, attrs)
	}
	r.look(id, attrs)
}

// end implements tokens.
func (r *renderer) end(name []byte) {
	id, is := r.tag(name, false)
	if id == 0 {
		return
	}
	if is&hasStyle != 0 {
		r.closeStyle(id)
	}
	r.whitespace(is)
}

// whitespace writes what a tag makes.
func (r *renderer) whitespace(is uint8) {
	s := ""
	switch {
	case is&breaksLine != 0:
		s = "\n"
	case is&breaksText != 0:
		s = "\n\n"
	case is&breaksWord != 0:
		s = " "
	default:
		return
	}
	if r.piece.any && !r.piece.space && !r.piece.invisible && len(r.out) > r.piece.from && r.out[len(r.out)-1] == ' ' {
		r.out = r.out[:len(r.out)-1]
	}
	r.piece = piece{from: len(r.out), any: true, space: true}
	r.out = append(r.out, s...)
}

// inside reports whether an element is open.
func (r *renderer) inside(id uint8) bool { return r.h.known[id] > 1 }

// decode decodes the character references of a value.
func (r *renderer) decode(v []byte) []byte {
	if bytes.IndexByte(v, '&') < 0 {
		return v
	}
	v, _ = appendEntities(nil, v, false, r.source.chars)
	return v
}

// value gives the decoded value of an attribute.
func (r *renderer) value(attrs []attribute, name string) (v []byte, ok bool) {
	for i := range attrs {
		if equalFold(attrs[i].name, name) {
			return r.decode(attrs[i].value), true
		}
	}
	return nil, false
}

// text implements tokens.
func (r *renderer) text(b []byte, verbatim bool) {
	chars := r.source.chars
	if !verbatim && bytes.IndexByte(b, '&') >= 0 {
		var wide bool
		r.scratch, wide = appendEntities(r.scratch[:0], b, true, chars)
		b, chars = r.scratch, chars || wide
	}
	if r.inside(tagScript) {
		if len(r.h.Scripts) < maxTexts {
			r.h.Scripts = append(r.h.Scripts, bytes.Clone(b))
		}
		return
	}
	if r.inside(tagStyle) {
		return
	}
	if r.inside(tagA) && len(r.anchorAt) > 0 {
		r.anchorText = append(r.anchorText, b...)
	}
	if r.inside(tagTitle) && len(r.titleAt) > 0 {
		r.titleText = append(r.titleText, b...)
	}
	invisible := !blankText(b) && r.invisible()
	if r.piece.any {
		r.compare(b, chars)
	}
	r.display(b, chars, invisible)
}

// blankText reports whether a text has nothing but white space, or the two characters that a space of UTF-8 is in Latin-1.
func blankText(b []byte) bool {
	for i := 0; i < len(b); i++ {
		if spaceClass[b[i]] != noSpace {
			continue
		}
		if !bytes.HasPrefix(b[i:], []byte(latinSpace)) {
			return false
		}
		i += len(latinSpace) - 1
	}
	return true
}

// latinSpace are the octets of U+00A0 in UTF-8, taken for characters of Latin-1.
const latinSpace = "\u00c2\u00a0"

// isShown tells the octets that display writes as they are: all but white space, and what may begin a latinSpace.
var isShown = func() (t [256]bool) {
	for c := range t {
		t[c] = spaceClass[c] == noSpace && byte(c) != latinSpace[0]
	}
	return t
}()

// display writes text. White space in it is folded.
func (r *renderer) display(b []byte, chars, invisible bool) {
	from := len(r.out)
	trim := r.piece.any && r.piece.space && !invisible
	r.piece = piece{from: from, any: true, invisible: invisible, chars: chars}
	r.chars = r.chars || chars
	for i := 0; i < len(b); {
		start := i
		// A single blank between other octets stays as it is.
		for i < len(b) && (isShown[b[i]] || b[i] == ' ' && i > start && i+1 < len(b) && isShown[b[i+1]]) {
			i++
		}
		r.out = append(r.out, b[start:i]...)
		if i == len(b) {
			break
		}
		switch {
		case spaceClass[b[i]] != noSpace:
			for i < len(b) && spaceClass[b[i]] != noSpace {
				i++
			}
			r.out = append(r.out, ' ')
		case bytes.HasPrefix(b[i:], []byte(latinSpace)):
			i += len(latinSpace)
			r.out = append(r.out, ' ')
		default:
			r.out = append(r.out, b[i])
			i++
		}
	}
	if trim && len(r.out) > from && r.out[from] == ' ' {
		r.out = append(r.out[:from], r.out[from+1:]...)
	}
	if chars && !r.source.chars {
		r.wideSpans = appendSpan(r.wideSpans, from, len(r.out))
	}
	if invisible && len(r.out) > from {
		r.hiddenSpans = appendSpan(r.hiddenSpans, from, len(r.out))
	}
}

// appendSpan adds a piece, to the last one where they touch.
func appendSpan(all []span, from, to int) []span {
	if n := len(all); n > 0 && all[n-1].to == from {
		all[n-1].to = to
		return all
	}
	return append(all, span{from, to})
}
