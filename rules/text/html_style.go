package text

import (
	"bytes"
	"strings"
)

// style is how text looks within an element. That of SpamAssassin leaves out a good deal of what hides text (bgcolor is
// read and not used, a font size in a style is not looked at); look is the other view, of what a reader gets to see.
type style struct {
	tag    uint8
	gone   bool // display: none
	veiled bool // visibility: hidden
	fg, bg color
	size   int
}

// maxDepth is how many elements with a style may be open; those within are taken for text without one.
const maxDepth = 2000

// openStyle takes note of a start tag that may change the style.
func (r *renderer) openStyle(id uint8, attrs []attribute) {
	if id == tagTH {
		id = tagTD
	}
	if id == tagBasefont {
		if v, ok := r.value(attrs, "size"); ok {
			if n, sign, ok := leadingNumber(v); ok && sign == 0 {
				r.basefont = n
				return
			}
		}
	}
	if id == tagTD || id == tagTR {
		r.closeCell(id)
	}
	s := r.styles[len(r.styles)-1]
	s.tag = id
	switch id {
	case tagBig:
		s.size++
	case tagSmall:
		s.size--
	default:
		for i := range attrs {
			r.applyAttribute(&s, attrs, i)
		}
	}
	if len(r.styles) < maxDepth {
		r.styles = append(r.styles, s)
		r.open[id]++
	}
}

// applyAttribute changes a style as an attribute says.
func (r *renderer) applyAttribute(s *style, attrs []attribute, i int) {
	name := attrs[i].name
	kind := styleAttribute(s.tag, name)
	if kind == attrOther || repeated(attrs, i) {
		return
	}
	value := string(r.decode(attrs[i].value))
	switch {
	case kind == attrColor:
		s.fg = readColor(value)
	case kind == attrSize:
		if n, sign, ok := leadingNumber([]byte(value)); ok && sign != 0 {
			s.size = r.basefont + sign*n
		} else if ok {
			s.size = n
		}
	case kind == attrStyle:
		r.applyStyle(s, value)
	}
	if s.size > r.h.MaxSize {
		r.h.MaxSize = s.size
	} else if s.size < r.h.MinSize {
		r.h.MinSize = s.size
	}
}

// Attributes that change a style.
const (
	attrOther = iota
	attrPlain // it is looked at, and changes nothing
	attrColor
	attrSize
	attrStyle
)

// styleAttribute says what an attribute is to the style of an element.
func styleAttribute(id uint8, name []byte) int {
	switch id {
	case tagFont, tagBasefont:
		switch {
		case equalFold(name, "color"):
			return attrColor
		case equalFold(name, "size"):
			return attrSize
		case equalFold(name, "face"):
			return attrPlain
		}
	case tagBody:
		switch {
		case equalFold(name, "text"):
			return attrColor
		case equalFold(name, "bgcolor"), equalFold(name, "link"), equalFold(name, "alink"), equalFold(name, "vlink"), equalFold(name, "background"):
			return attrPlain
		}
	default:
		switch {
		case equalFold(name, "style"):
			return attrStyle
		case equalFold(name, "bgcolor") && (id == tagTable || id == tagTD || id == tagTR):
			return attrPlain
		}
	}
	return attrOther
}

// repeated reports whether an attribute stood before, so that it does not count.
func repeated(attrs []attribute, i int) bool {
	for k := range attrs[:i] {
		if bytes.EqualFold(attrs[k].name, attrs[i].name) {
			return true
		}
	}
	return false
}

// applyStyle changes a style as the declarations of a style attribute say (CSS 2.1, 4.1.8).
func (r *renderer) applyStyle(s *style, css string) {
	const transparent color = -10
	parent := &r.styles[len(r.styles)-1]
	for decl := range strings.SplitSeq(css, ";") {
		name, given, ok := strings.Cut(strings.TrimLeft(decl, asciiSpace), ":")
		value := strings.Trim(given, asciiSpace)
		if !ok || given == "" || strings.Contains(value, "\n") {
			continue
		}
		switch low := strings.ToLower(name); {
		case low == "color" || low == "background-color":
			c, known := declaredColor(strings.ToLower(value), transparent)
			if !known {
				continue
			}
			if low == "color" {
				s.fg = c
			} else {
				s.bg = c
			}
		case name == "background":
			if c, ok := backgroundColor(strings.ToLower(value)); ok {
				s.bg = c
			}
		case value != "":
			s.declare(strings.Trim(name, asciiSpace), value)
		}
	}
	if s.bg == transparent {
		s.bg = parent.bg
	}
	if s.fg == transparent {
		s.fg = s.bg
	}
}

// declaredColor reads the value of a colour property; it is not known where it is inherited.
func declaredColor(v string, transparent color) (c color, known bool) {
	if rest, ok := strings.CutSuffix(v, "important"); ok {
		if rest = strings.TrimRight(rest, asciiSpace); strings.HasSuffix(rest, "!") {
			v = strings.TrimRight(rest[:len(rest)-1], asciiSpace)
		}
	}
	switch {
	case strings.Contains(v, "rgb"):
		return rgbValue(v), true
	case v == "inherit":
		return 0, false
	case v == "transparent":
		return transparent, true
	}
	return readColor(v), true
}

// declare takes note of a property that may hide text.
func (s *style) declare(name, value string) {
	low := strings.ToLower(value)
	switch name {
	case "display":
		s.gone = low == "none"
	case "visibility":
		s.veiled = low == "hidden"
	}
}

// backgroundColor finds the colour in the value of a background property: the first in its last layer (CSS Backgrounds 3, 2.10).
func backgroundColor(v string) (color, bool) {
	layers := [][]string{nil}
	token, state := 0, []byte{0} // where the word begins; open parentheses and quotes
	flush := func(end int) {
		if end > token {
			layers[len(layers)-1] = append(layers[len(layers)-1], v[token:end])
		}
		token = end
	}
	for i := 0; i < len(v); i++ {
		c, top := v[i], state[len(state)-1]
		switch {
		case top == '"' || top == '\'':
			if c == top {
				state = state[:len(state)-1]
			}
		case c == '"' || c == '\'':
			state = append(state, c)
		case top == '(':
			if c == ')' {
				flush(i + 1)
				state = state[:len(state)-1]
			}
		case c == '(':
			state = append(state, '(')
		case c == ' ' || c == ',':
			flush(i)
			token = i + 1
			if c == ',' {
				layers = append(layers, nil)
			}
		}
	}
	flush(len(v))
	last := layers[len(layers)-1]
	if len(last) == 0 && len(layers) > 1 {
		last = layers[len(layers)-2]
	}
	for _, word := range last {
		if c := readColor(word); c != invalidColor {
			return c, true
		}
	}
	return 0, false
}

// leadingNumber reads the number at the start of a value, and its sign, 0 for none.
func leadingNumber(b []byte) (n, sign int, ok bool) {
	b = bytes.TrimLeft(b, asciiSpace)
	if len(b) > 0 && (b[0] == '+' || b[0] == '-') {
		sign = 44 - int(b[0]) // '+' is 43, '-' 45
		b = b[1:]
	}
	for len(b) > 0 && '0' <= b[0] && b[0] <= '9' {
		n, ok = min(n*10+int(b[0]-'0'), 1<<30), true
		b = b[1:]
	}
	return n, sign, ok
}

// closeCell closes the cells of a table that end where a new one begins.
func (r *renderer) closeCell(id uint8) {
	if r.open[id] == 0 {
		return
	}
	for len(r.styles) > 1 {
		top := r.styles[len(r.styles)-1].tag
		if top != tagFont && top != tagTD && (id != tagTR || top != tagTR) {
			return
		}
		r.popStyle()
	}
}

// closeStyle closes everything up to and with an element, if it is open.
func (r *renderer) closeStyle(id uint8) {
	if id == tagTH {
		id = tagTD
	}
	if id == tagBody || r.open[id] == 0 {
		return // text behind the body's end looks as it did before
	}
	for {
		top := r.styles[len(r.styles)-1].tag
		r.popStyle()
		if top == id {
			return
		}
	}
}

func (r *renderer) popStyle() {
	last := len(r.styles) - 1
	r.open[r.styles[last].tag]--
	r.styles = r.styles[:last]
}

// invisible reports whether text in the present style is hidden by SpamAssassin's rules, and takes note of why.
func (r *renderer) invisible() bool {
	s := &r.styles[len(r.styles)-1]
	if d, ok := contrast(s.fg, s.bg); s.fg == s.bg || ok && d < lowContrast {
		r.h.LowContrast = true
		return true
	}
	if s.fg == invalidColor || s.bg == invalidColor {
		r.h.InvalidColor = true
		return true
	}
	return s.size <= 1 || s.gone || s.veiled
}
