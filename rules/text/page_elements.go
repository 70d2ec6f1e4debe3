package text

import "strings"

// What an element is to a page.
const (
	pageVoid    = 1 << iota // it has no content
	pageLine                // a line begins and ends with it
	pageGap                 // the same, with a space between paragraphs
	pageCell                // a word begins and ends with it
	pageSpecial             // it is not closed by the end tag of what lies around it (WHATWG HTML, 13.2.4.2)
	pageFormat              // it goes on in what comes behind the element in which it was opened (13.2.4.3)
	pageClosesP             // a paragraph ends where it begins
	pageSilent              // what stands in it is not shown
	pageScope               // end tags within do not close what lies around it
	pageForeign             // what is within is of another language
	pageDrawing             // within SVG, what is within is HTML again
	pageFormula             // within MathML, what is within is HTML again
	pageBreaks              // it ends that language
	pageInTable             // it is nothing outside of a table
	pageHead                // it does not end the head of the page
	pageHeading             // the end tag of any other heading ends it
)

// pageElement is what is known of an element.
type pageElement struct {
	is      uint32
	content content
}

// pageElements are the elements by name; pageNames gives their numbers, 0 for what is none of them.
var pageElements, pageNames = readPageElements()

func readPageElements() (all []pageElement, numbers map[string]uint8) {
	all, numbers = []pageElement{{}}, make(map[string]uint8)
	at := func(name string) *pageElement {
		id, ok := numbers[name]
		if !ok {
			id = uint8(len(all))
			numbers[name] = id
			all = append(all, pageElement{})
		}
		return &all[id]
	}
	add := func(is uint32, names string) {
		for name := range strings.FieldsSeq(names) {
			at(name).is |= is
		}
	}
	add(pageVoid|pageSpecial, `area base basefont bgsound br col embed frame hr img image input keygen link meta param source track wbr`)
	add(pageLine|pageSpecial|pageClosesP, `address article aside center details dialog dir div dl fieldset figcaption figure footer form header
		hgroup main menu nav ol search section summary ul li dd dt`)
	add(pageGap|pageSpecial|pageClosesP, "p blockquote h1 h2 h3 h4 h5 h6 pre listing hr xmp plaintext")
	add(pageLine, "br tr caption option legend")
	add(pageCell, "td th")
	add(pageSpecial|pageScope, "applet caption html table td th marquee object template button")
	add(pageSpecial, `body colgroup frameset head iframe noembed noframes noscript script select style tbody textarea tfoot thead title tr`)
	add(pageFormat, "a b big code em font i nobr s small strike strong tt u")
	add(pageSilent, "title style script template noembed noframes iframe")
	add(pageInTable, "caption colgroup tbody td tfoot th thead tr")
	add(pageHead, "html head base basefont bgsound link meta noframes noscript script style template title")
	add(pageHeading, "h1 h2 h3 h4 h5 h6")
	add(pageForeign, "svg math")
	add(pageDrawing, "foreignobject desc title")
	add(pageFormula, "mi mo mn ms mtext annotation-xml")
	add(pageBreaks, `b big blockquote body br center code dd div dl dt em embed h1 h2 h3 h4 h5 h6 head hr i img li listing menu meta nobr ol p
		pre ruby s small span strong strike sub sup table tt u ul var`)
	for name, c := range map[string]content{
		"title": rcdata, "textarea": rcdata, "style": rawText, "xmp": rawText, "iframe": rawText, "noembed": rawText, "noframes": rawText,
		"script": scriptText, "plaintext": plainText,
	} {
		at(name).content = c
	}
	return all, numbers
}

// Elements that a page knows by name.
var (
	pageA, pageBase, pageBody, pageBR, pageFont       = pageNames["a"], pageNames["base"], pageNames["body"], pageNames["br"], pageNames["font"]
	pageLI, pageMeta, pageP, pageStyle                = pageNames["li"], pageNames["meta"], pageNames["p"], pageNames["style"]
	pageTable, pageTD, pageTH, pageTR, pageDD, pageDT = pageNames["table"], pageNames["td"], pageNames["th"], pageNames["tr"], pageNames["dd"], pageNames["dt"]
	pageNoscript, pageMath                            = pageNames["noscript"], pageNames["math"]
	pageOption, pageTemplate, pageSVG, pageAnnotation = pageNames["option"], pageNames["template"], pageNames["svg"], pageNames["annotation-xml"]
)

// pieceOctets is how long a piece of a word is at most that stands in a box of its own.
const pieceOctets = 8

// join takes the line back that began at octets of the text with an element of which no line begins.
func (p *page) join(el *openElement, before int) {
	el.from = len(p.seen)
	if before < 0 || !el.own.inline && !el.own.piece {
		return
	}
	within := before > 0 && isASCIILetter(p.seen[before-1])
	if el.own.piece && !within {
		return
	}
	if p.seen = p.seen[:before]; within {
		p.broken++
	}
	el.from = before
}

// goesOn reports whether the line goes on behind the innermost element, which is of a kind.
func (p *page) goesOn(id uint8) bool {
	t := p.top()
	return t.id == id && (t.own.inline || t.own.piece && len(p.seen)-t.from <= pieceOctets)
}

// turnedLetters counts the letters of a text of ASCII that is shown backwards, but not those of words amid a text that is to be read so.
func turnedLetters(b []byte) int {
	letters, others := 0, 0
	for _, c := range b {
		switch {
		case isASCIILetter(c):
			letters++
		case c >= 0xC0: // a sign of UTF-8 begins
			others++
		}
	}
	if others >= letters {
		return 0
	}
	return letters
}

// space writes what an element puts between words.
func (p *page) space(is uint32) {
	switch {
	case is&pageGap != 0:
		p.seen = append(p.seen, "\n\n"...)
	case is&pageLine != 0:
		p.seen = append(p.seen, '\n')
	case is&pageCell != 0:
		p.seen = append(p.seen, ' ')
	}
}
