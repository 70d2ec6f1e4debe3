package text

import (
	"bytes"
	"maps"
)

// page is a part of HTML as browsers, and the mail clients that are built on them, show it: where its links lead, and the text
// that people see. It is the other view beside rendering, which is SpamAssassin's, and is made only where somebody asks.
type page struct {
	links  []pageLink // in their order
	seen   []byte     // what is shown, in UTF-8, white space as it comes
	hidden []byte     // what is text, and not shown
	early  int        // octets of hidden before what is shown, but for previewLead
	cut    bool       // there was more than is looked at
	broken int        // words that are broken in the text as it stands, and whole to readers
	turned int        // letters of ASCII that stand backwards in seen, and are shown forwards

	z      pageScanner
	stack  []openElement
	begun  bool        // the head has ended
	over   int         // elements that are open beyond the stack
	opened [160]uint16 // how many of each known element are on the stack
	sheet  styleSheet  // what style elements say
	base   string      // the first base
	link   int         // the link whose text is read, -1 for none
	name   []byte      // of an element, in lower case
	value  []byte      // decoded
	again  []openElement
	inner  *page // what conditional comments hold
	nested bool  // this is one
	size   int   // octets of links
	shown  int   // letters of seen, counted up to previewLead
	within int   // the length of seen where something is hidden behind a letter, else 0
}

// pageLink is a link as it stands in a page.
type pageLink struct {
	raw    string
	kind   string // the name of the element; see Followed
	anchor []byte // its text
	inner  bool   // it stands in a conditional comment
}

// openElement is an element that is open.
type openElement struct {
	id      uint8
	hash    uint32 // of the name of one that is not known, or not of HTML
	lang    uint8  // the number of svg or math, if it is an element of those
	foreign bool   // what is within is one of those, too
	own     styling
	look    look
	from    int // octets of the text before it
}

// point reports whether an element of another language holds HTML, or may, so that end tags within do not close what lies around it.
func (e *openElement) point() bool {
	return e.lang != 0 && (!e.foreign || e.lang == pageMath && e.hash == annotation)
}

// Bounds of a page.
const (
	maxOpen     = 256 // elements within one another; those within are taken for what is around them
	maxLooked   = 64  // elements among which the end tag of one that is not known looks for its own
	maxReopened = 16  // formatting elements that go on behind the end of what they were opened in
	maxAnchor   = 400 // octets of a link's text
)

// previewLead is how many letters may be shown before the line that a page hides for lists of mail: where to see the page on the web.
const previewLead = 80

// readPage reads HTML in UTF-8; with foreign set it is a drawing. src is not changed.
func readPage(src []byte) *page {
	p := &page{seen: make([]byte, 0, len(src)/4+64)}
	p.read(src)
	// What it was read with goes, and src.
	return &page{links: p.links, seen: p.seen, hidden: p.hidden, early: p.early, cut: p.cut, base: p.base, broken: p.broken, turned: p.turned}
}

func (p *page) read(src []byte) {
	p.stack = append(p.stack[:0], openElement{look: plainLook})
	p.over, p.opened, p.link = 0, [160]uint16{}, -1
	p.z.src, p.z.to = src, p
	p.z.run()
}

func (p *page) top() *openElement { return &p.stack[len(p.stack)-1] }

// foreign implements pageTokens.
func (p *page) foreign() bool { return p.top().lang != 0 }

// lower gives a name in lower case, valid until the next.
func (p *page) lower(name []byte) []byte {
	p.name = append(p.name[:0], name...)
	for i, c := range p.name {
		if 'A' <= c && c <= 'Z' {
			p.name[i] = c + 'a' - 'A'
		}
	}
	return p.name
}

// annotation is the element of MathML that may hold a drawing.
var annotation = hashOf([]byte("annotation-xml"))

func hashOf(name []byte) uint32 {
	h := uint32(2166136261)
	for _, c := range name {
		h = (h ^ uint32(c)) * 16777619
	}
	return h
}

// open implements pageTokens.
func (p *page) open(tag []byte, attrs []attribute, closed bool) content {
	name := p.lower(tag)
	id := pageNames[string(name)]
	e := pageElements[id]
	foreign, before := p.top().foreign, -1
	if foreign && (e.is&pageBreaks != 0 || id == pageFont && styled(attrs)) {
		p.leaveForeign()
		foreign = false
	}
	el := openElement{id: id}
	if id == 0 {
		el.hash = hashOf(name)
	}
	if foreign {
		if el.lang = p.top().lang; id == pageSVG && p.top().hash == annotation {
			el.lang = id
		}
		el.foreign = !integrates(&el, attrs)
	} else {
		p.implyEnds(id, e.is)
		before = len(p.seen)
		p.space(e.is)
		if el.foreign = e.is&pageForeign != 0; el.foreign {
			el.lang = id
		}
	}
	p.attributes(&el, name, attrs)
	p.join(&el, before)
	switch {
	case foreign:
	case e.is&pageInTable != 0 && p.opened[pageTable] == 0:
		return markup
	case id == pageNoscript && !p.begun:
		return markup // the first that the head does not allow ends it
	case e.is&pageHead == 0:
		p.begun = true
	}
	if !foreign && e.is&pageVoid != 0 || (foreign || el.foreign) && closed {
		return markup
	}
	if el.lang != 0 {
		el.id, el.hash = 0, hashOf(p.lower(tag))
		e.content = markup
	}
	p.push(el)
	return e.content
}

// integrates reports whether what stands in an element of SVG or MathML is HTML (WHATWG HTML, 13.2.6.1).
func integrates(el *openElement, attrs []attribute) bool {
	switch is := pageElements[el.id].is; {
	case el.lang == pageSVG:
		return is&pageDrawing != 0
	case is&pageFormula == 0:
		return false
	case el.id != pageAnnotation:
		return true
	}
	for i := range attrs {
		if equalFold(attrs[i].name, "encoding") {
			return equalFold(attrs[i].value, "text/html") || equalFold(attrs[i].value, "application/xhtml+xml")
		}
	}
	return false
}

// styled reports whether one of the attributes stands there for which a font element is of HTML.
func styled(attrs []attribute) bool {
	for i := range attrs {
		if n := attrs[i].name; equalFold(n, "color") || equalFold(n, "face") || equalFold(n, "size") {
			return true
		}
	}
	return false
}

func (p *page) push(el openElement) {
	if len(p.stack) >= maxOpen {
		p.over++
		return
	}
	p.over = 0 // those beyond the stack were within what has ended
	el.look = el.own.on(p.top().look)
	p.stack = append(p.stack, el)
	p.opened[el.id]++
}

func (p *page) pop() {
	last := len(p.stack) - 1
	p.opened[p.stack[last].id]--
	p.stack = p.stack[:last]
}

func (p *page) leaveForeign() {
	for p.top().foreign {
		p.pop()
	}
}

// implyEnds closes what a start tag closes (WHATWG HTML, 13.2.6.4.7).
func (p *page) implyEnds(id uint8, is uint32) {
	if is&pageClosesP != 0 && p.opened[pageP] > 0 {
		p.closeIn(pageP, 0)
	}
	switch id {
	case pageLI:
		p.closeItem(pageLI, pageLI)
	case pageDD, pageDT:
		p.closeItem(pageDD, pageDT)
	case pageTD, pageTH:
		p.closeItem(pageTD, pageTH)
	case pageTR:
		p.closeItem(pageTR, pageTR)
	case pageOption:
		p.closeItem(pageOption, pageOption)
	case pageA:
		if p.link = -1; p.opened[pageA] > 0 {
			p.closeFormat(pageA)
		}
	}
}

// closeItem closes an item of a list or a table where the next one begins.
func (p *page) closeItem(a, b uint8) {
	if p.opened[a] == 0 && p.opened[b] == 0 {
		return
	}
	for i := len(p.stack) - 1; i > 0; i-- {
		switch id := p.stack[i].id; {
		case id == a || id == b:
			p.closeFrom(i)
			return
		case id == pageTable, a == pageLI && pageElements[id].is&pageScope != 0, p.stack[i].point():
			return
		}
	}
}

// closeIn closes the innermost element of a kind, if it is in scope.
func (p *page) closeIn(id uint8, hash uint32) bool {
	special, heading := pageElements[id].is&pageSpecial, pageElements[id].is&pageHeading
	for i := len(p.stack) - 1; i > 0; i-- {
		el := &p.stack[i]
		if el.id == id && el.hash == hash && el.lang == 0 {
			p.closeFrom(i)
			return true
		}
		is := pageElements[el.id].is
		if is&heading != 0 {
			p.closeFrom(i)
			return true
		}
		if id == pageTemplate {
			continue
		}
		if el.point() || is&pageScope != 0 && id != pageTable || special == 0 && is&pageSpecial != 0 && id != 0 {
			return false
		}
		if id == 0 && (is&pageSpecial != 0 || len(p.stack)-i > maxLooked) {
			return false
		}
	}
	return false
}

// closeFrom closes the element at i of the stack and what is open in it. Formatting goes on behind it, but not that of a cell.
func (p *page) closeFrom(i int) {
	if pageElements[p.stack[i].id].is&pageScope == 0 {
		p.closeBut(i, i+1)
		return
	}
	for len(p.stack) > i {
		p.pop()
	}
}

// closeBut closes what is open from i on, and opens formatting from k on again.
func (p *page) closeBut(i, k int) {
	p.again = p.again[:0]
	for ; k < len(p.stack); k++ {
		if pageElements[p.stack[k].id].is&pageFormat != 0 {
			p.again = append(p.again, p.stack[k])
		}
	}
	for len(p.stack) > i {
		p.pop()
	}
	for _, el := range p.again[max(0, len(p.again)-maxReopened):] {
		p.push(el)
	}
}

// closeFormat closes a formatting element; boxes that are open in it stay open.
func (p *page) closeFormat(id uint8) {
	boxes := false
	for i := len(p.stack) - 1; i > 0; i-- {
		if p.stack[i].id != id {
			is := pageElements[p.stack[i].id].is
			if p.stack[i].point() || is&pageScope != 0 {
				return
			}
			boxes = boxes || is&pageSpecial != 0
			continue
		}
		if !boxes {
			p.closeFrom(i)
			return
		}
		p.opened[id]--
		p.stack = append(p.stack[:i], p.stack[i+1:]...)
		last := i // behind the innermost box
		for ; i < len(p.stack); i++ {
			p.stack[i].look = p.stack[i].own.on(p.stack[i-1].look)
			if pageElements[p.stack[i].id].is&pageSpecial != 0 {
				last = i + 1
			}
		}
		if last < len(p.stack) {
			p.closeBut(last, last)
		}
		return
	}
}

// close implements pageTokens.
func (p *page) close(tag []byte) {
	name := p.lower(tag)
	id := pageNames[string(name)]
	is := pageElements[id].is
	if id == pageA {
		p.link = -1
	}
	if len(p.stack) < maxOpen {
		p.over = 0
	}
	if p.over > 0 && is&pageVoid == 0 {
		p.over--
		return
	}
	if p.top().lang != 0 {
		switch {
		case id == pageP || id == pageBR:
			p.leaveForeign()
		case p.closeForeign(hashOf(name)):
			return
		}
	}
	if !p.goesOn(id) {
		p.space(is)
	}
	switch {
	case id == 0:
		p.closeIn(0, hashOf(name))
	case p.opened[id] == 0 && is&pageHeading == 0:
	case is&pageFormat != 0:
		p.closeFormat(id)
	default:
		p.closeIn(id, 0)
	}
}

// closeForeign closes an element of SVG or MathML.
func (p *page) closeForeign(hash uint32) bool {
	for i := len(p.stack) - 1; i > 0 && p.stack[i].lang != 0; i-- {
		if p.stack[i].hash == hash {
			for len(p.stack) > i {
				p.pop()
			}
			return true
		}
	}
	return false
}

// text implements pageTokens.
func (p *page) text(b []byte, references bool) {
	el := p.top()
	p.begun = p.begun || len(p.stack) == 1 && len(bytes.TrimSpace(b)) > 0
	if is := pageElements[el.id].is; is&pageSilent != 0 && el.lang == 0 {
		if el.id == pageStyle {
			p.sheet.read(b)
		}
		if pageElements[el.id].content != markup {
			return
		}
	}
	if p.opened[pageTemplate] > 0 {
		return
	}
	if references && bytes.IndexByte(b, '&') >= 0 {
		p.value = appendReferences(p.value[:0], b, false)
		b = p.value
	}
	if p.link >= 0 {
		if l := &p.links[p.link]; len(l.anchor) < maxAnchor {
			l.anchor = append(l.anchor, b[:min(len(b), maxAnchor-len(l.anchor))]...)
		}
	}
	if el.look.shown() {
		if p.within > 0 && p.within == len(p.seen) && len(b) > 0 && isASCIILetter(b[0]) {
			p.broken++
		}
		if p.within = 0; len(b) == 0 {
			return
		}
		if el.look.backward {
			p.turned += turnedLetters(b)
		}
		if p.seen = appendFlat(p.seen, b); p.shown <= previewLead {
			p.shown += Letters(b)
		}
		return
	}
	if n := len(p.seen); n > 0 && isASCIILetter(p.seen[n-1]) {
		p.within = n
	}
	if p.hidden = appendFlat(p.hidden, b); p.shown <= previewLead {
		p.early = len(p.hidden)
	}
}

// appendFlat appends a text with blanks in place of line ends, and without what is NUL.
func appendFlat(dst, b []byte) []byte {
	for len(b) > 0 {
		n := 0
		for n < len(b) && b[n] != '\n' && b[n] != '\r' && b[n] != 0 {
			n++
		}
		if dst = append(dst, b[:n]...); n == len(b) {
			break
		}
		if b[n] != 0 {
			dst = append(dst, ' ')
		}
		b = b[n+1:]
	}
	return dst
}

// comment implements pageTokens. What stands in a conditional comment is shown by the mail clients that are asked for (Microsoft,
// "Downlevel-hidden").
func (p *page) comment(b []byte) {
	if p.nested || !bytes.HasPrefix(bytes.TrimLeft(b[:min(len(b), 16)], asciiSpace), []byte("[if")) {
		return
	}
	n := bytes.Index(b, []byte("]>"))
	if n < 0 {
		return
	}
	b = b[n+2:]
	if end := bytes.LastIndex(b, []byte("<![endif")); end >= 0 {
		b = b[:end]
	}
	if p.inner == nil {
		p.inner = &page{nested: true}
	}
	in := p.inner
	in.links, in.seen, in.hidden, in.size, in.early, in.shown, in.broken, in.turned = p.links, p.seen, p.hidden, p.size, p.early, p.shown, p.broken, p.turned
	in.sheet = styleSheet{rules: maps.Clone(p.sheet.rules)} // what only some readers read says nothing of the rest
	in.read(b)
	p.links, p.seen, p.hidden, p.size, p.early, p.shown, p.broken, p.turned = in.links, in.seen, in.hidden, in.size, in.early, in.shown, in.broken, in.turned
	if p.base == "" {
		p.base = in.base
	}
	p.cut = p.cut || in.cut
}
