package text

import (
	"bytes"
	"strings"
)

// styleSheet is what the style elements of a page say of elements, by their name, class or id. What counts only within other
// elements, or on some screens, is not followed: of that no more is known than that it may put something behind a text.
type styleSheet struct {
	rules map[string]styling // the key is a name, or "." and a class, or "#" and an id
}

// maxRules is how many selectors are remembered.
const maxRules = 2000

// commentMarks are passed over in style sheets (CSS Syntax 3, 4.3: CDO and CDC).
var commentMarks = strings.NewReplacer("<!--", " ", "-->", " ")

// read reads a style element.
func (s *styleSheet) read(b []byte) {
	css := string(b)
	if strings.Contains(css, "/*") {
		css = withoutComments(css)
	}
	s.block(css, true)
}

// block reads rules. Those of a block within an at-rule count only sometimes.
func (s *styleSheet) block(css string, always bool) {
	for {
		open := strings.IndexByte(css, '{')
		if open < 0 {
			return
		}
		selectors := css[:open]
		if n := strings.LastIndexByte(selectors, ';'); n >= 0 {
			selectors = selectors[n+1:]
		}
		selectors = strings.Trim(commentMarks.Replace(selectors), asciiSpace+"}")
		css = css[open+1:]
		if strings.HasPrefix(selectors, "@") {
			inside, rest := cutBlock(css)
			if always && !strings.HasPrefix(selectors, "@font-face") {
				s.block(inside, false)
			}
			css = rest
			continue
		}
		declared, rest, _ := strings.Cut(css, "}")
		css = rest
		own := plainStyling
		own.declarations(declared)
		if own != plainStyling {
			s.add(selectors, own, always)
		}
	}
}

// cutBlock gives what stands before the brace that closes a block, and behind it.
func cutBlock(css string) (inside, rest string) {
	depth := 1
	for i := range len(css) {
		switch css[i] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return css[:i], css[i+1:]
			}
		}
	}
	return css, ""
}

// add adds what is said of some selectors.
func (s *styleSheet) add(selectors string, own styling, always bool) {
	for sel := range strings.SplitSeq(selectors, ",") {
		sel = strings.Trim(sel, asciiSpace)
		last := sel[strings.LastIndexAny(sel, asciiSpace+">+~")+1:]
		simple := always && last == sel
		if n := strings.IndexAny(last, ":["); n >= 0 {
			last, simple = last[:n], false
		}
		// Of "td.wide" the class counts.
		if n := strings.LastIndexAny(last, ".#"); n > 0 {
			last = last[n:]
		}
		if last == "" || last == "*" || len(last) > 100 || len(s.rules) >= maxRules {
			continue
		}
		if last[0] != '.' && last[0] != '#' {
			last = lowerText(last)
		}
		add := own
		if !simple {
			add = plainStyling
			if own.bg != unsetColor || own.fg != unsetColor {
				add.bg = unknownColor
			}
		}
		if s.rules == nil {
			s.rules = make(map[string]styling)
		}
		old, ok := s.rules[last]
		if !ok {
			old = plainStyling
		}
		old.over(&add)
		s.rules[last] = old
	}
}

// apply puts what is said of an element over own.
func (s *styleSheet) apply(own *styling, name []byte, class, id *attribute) {
	if len(s.rules) == 0 {
		return
	}
	if t, ok := s.rules[string(name)]; ok {
		own.over(&t)
	}
	var key [101]byte
	look := func(mark byte, word []byte) {
		if len(word) > 100 {
			return
		}
		key[0] = mark
		if t, ok := s.rules[string(key[:1+copy(key[1:], word)])]; ok {
			own.over(&t)
		}
	}
	if class != nil {
		for word := range bytes.FieldsSeq(class.value) {
			look('.', word)
		}
	}
	if id != nil {
		look('#', id.value)
	}
}

// fontSizes are those of the size attribute, in pixels.
var fontSizes = [...]float32{10, 13, 16, 18, 24, 32, 48}

// applyStyles reads how an element looks: what its attributes say, what the style sheet says, and above all what its style says.
func (p *page) applyStyles(el *openElement, name []byte, has *[attrCount]*attribute) {
	own := &el.own
	if a := has[attrHidden]; a != nil {
		own.gone = true
	}
	if a := has[attrBgcolor]; a != nil {
		own.bg = attributeColor(p.decoded(a))
	}
	if a := has[attrBackground]; a != nil && len(a.value) > 0 {
		own.bg = unknownColor
	}
	if a := has[attrText]; a != nil && el.id == pageBody {
		own.fg = attributeColor(p.decoded(a))
	}
	if el.id == pageFont {
		if a := has[attrFontColor]; a != nil {
			own.fg = attributeColor(p.decoded(a))
		}
		if a := has[attrFontSize]; a != nil {
			if n, sign, ok := leadingNumber(p.decoded(a)); ok {
				if sign != 0 {
					n = 3 + sign*n
				}
				own.size, own.relative = fontSizes[min(max(n, 1), 7)-1], false
			}
		}
	}
	if a := has[attrDir]; a != nil {
		own.direction(lowerText(string(bytes.TrimSpace(p.decoded(a)))))
		own.bidi = bidiIsolates
		if string(name) == "bdo" {
			own.bidi = bidiOverrides
		}
	}
	p.sheet.apply(own, name, has[attrClass], has[attrID])
	if a := has[attrCSS]; a != nil && len(a.value) > 0 {
		t := plainStyling
		t.declarations(string(p.decoded(a)))
		own.over(&t)
	}
}

// attributeColor reads the colour of an attribute, in which the "#" may be left out.
func attributeColor(v []byte) color {
	s := lowerText(string(bytes.TrimSpace(v)))
	if c := cssColorOf(s); c != unknownColor {
		return c
	}
	return hashColor(s)
}
