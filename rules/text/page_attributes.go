package text

import (
	"bytes"
	"strings"
)

// The attributes that matter to a page, by name. Of several of one name the first counts (WHATWG HTML, 13.2.5.33).
const (
	attrHref = iota
	attrXlink
	attrAction
	attrFormAction
	attrSrc
	attrBackground
	attrData
	attrCSS
	attrClass
	attrID
	attrHidden
	attrFontColor
	attrFontSize
	attrBgcolor
	attrText
	attrEquiv
	attrContent
	attrSafe
	attrDir
	attrCount
)

var pageAttributes = map[string]int{
	"href": attrHref, "xlink:href": attrXlink, "action": attrAction, "formaction": attrFormAction, "src": attrSrc,
	"background": attrBackground, "data": attrData, "style": attrCSS, "class": attrClass, "id": attrID, "hidden": attrHidden,
	"color": attrFontColor, "size": attrFontSize, "bgcolor": attrBgcolor, "text": attrText, "http-equiv": attrEquiv,
	"content": attrContent, "data-saferedirecturl": attrSafe, "dir": attrDir,
}

// attributes reads the attributes of a start tag: where they lead, and how what stands in the element looks.
func (p *page) attributes(el *openElement, name []byte, attrs []attribute) {
	el.own = plainStyling
	if el.id == pageA {
		p.link = -1
	}
	if len(attrs) == 0 && len(p.sheet.rules) == 0 {
		return
	}
	var has [attrCount]*attribute
	for i := range attrs {
		n := attrs[i].name
		if len(n) > 20 {
			continue
		}
		var low [20]byte
		for k, c := range n {
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			low[k] = c
		}
		if which, ok := pageAttributes[string(low[:len(n)])]; ok && has[which] == nil {
			has[which] = &attrs[i]
		}
	}
	p.applyStyles(el, name, &has)
	p.findLinks(el.id, string(name), &has)
}

// decoded gives the value of an attribute with its references decoded, valid until the next.
func (p *page) decoded(a *attribute) []byte {
	if bytes.IndexByte(a.value, '&') < 0 {
		return a.value
	}
	p.value = appendReferences(p.value[:0], a.value, true)
	return p.value
}

// findLinks finds where the attributes of an element lead.
func (p *page) findLinks(id uint8, name string, has *[attrCount]*attribute) {
	if id == pageBase && has[attrHref] != nil && p.base == "" {
		if b := bytes.TrimSpace(p.decoded(has[attrHref])); len(b) <= maxURI {
			p.base = string(b)
		} else { // each link would be as long
			p.cut = true
		}
	}
	for _, which := range [...]int{attrHref, attrXlink} {
		if a := has[which]; a != nil && p.add(name, p.decoded(a)) && id == pageA {
			p.link = len(p.links) - 1
		}
	}
	if a := has[attrAction]; a != nil {
		p.add(name, p.decoded(a))
	}
	if a := has[attrFormAction]; a != nil {
		p.add("form", p.decoded(a))
	}
	for _, which := range [...]int{attrSrc, attrBackground, attrData, attrSafe} {
		if a := has[which]; a != nil {
			kind := name
			if which == attrBackground || which == attrSrc && strings.Contains(name, ":") { // a picture, of VML perhaps
				kind = "img"
			}
			p.add(kind, p.decoded(a))
		}
	}
	if id == pageMeta && has[attrEquiv] != nil && has[attrContent] != nil && equalFold(bytes.TrimSpace(p.decoded(has[attrEquiv])), "refresh") {
		p.add("meta", refreshTarget(p.decoded(has[attrContent])))
	}
}

// add adds a link.
func (p *page) add(kind string, v []byte) bool {
	v = bytes.TrimSpace(v)
	if len(v) == 0 || v[0] == '#' || hasFold(v, "data:") || hasFold(v, "cid:") {
		return false
	}
	if len(p.links) >= maxTexts || p.size > maxURIOctets/2 {
		p.cut = true
		return false
	}
	if len(v) > 4*maxURI {
		v, p.cut = v[:4*maxURI], true
	}
	p.size += len(v)
	p.links = append(p.links, pageLink{raw: string(v), kind: kind, inner: p.nested})
	return true
}

// refreshTarget gives where a page leads on by itself (WHATWG HTML, 4.2.5.3, "shared declarative refresh steps").
func refreshTarget(v []byte) []byte {
	v = bytes.TrimLeft(bytes.TrimLeft(v, asciiSpace), "0123456789.")
	v = bytes.TrimLeft(v, asciiSpace)
	if len(v) > 0 && (v[0] == ';' || v[0] == ',') {
		v = bytes.TrimLeft(v[1:], asciiSpace)
	}
	if hasFold(v, "url") {
		if rest := bytes.TrimLeft(v[3:], asciiSpace); len(rest) > 0 && rest[0] == '=' {
			v = bytes.TrimLeft(rest[1:], asciiSpace)
		}
	}
	if len(v) > 0 && (v[0] == '"' || v[0] == '\'') {
		quote := v[0]
		v = v[1:]
		if n := bytes.IndexByte(v, quote); n >= 0 {
			v = v[:n]
		}
	}
	return v
}
