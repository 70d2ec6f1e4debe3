package text

import (
	"bytes"
	"math"
	"strconv"
	"strings"
)

// look is how text looks: what all styles around it say together.
type look struct {
	gone   bool    // it is not there, whatever is said within
	veiled bool    // it is hidden, unless something within is said to be visible
	size   float32 // of the font, in pixels
	fg, bg color   // unknownColor where that can't be told

	rtl      bool // its direction is from right to left,
	backward bool // and that of letters that have another is, too
}

const (
	unknownColor     color = -100 - iota // a picture
	unsetColor                           // nothing is said of it
	transparentColor                     // what is behind it shows
)

// plainLook is that of a page of which nothing is said.
var plainLook = look{size: 16, fg: 0, bg: 0xffffff}

// least is the size of a font that can be read, in pixels.
const leastSize = 2.5

// shown reports whether people see a text. One in a colour near its background's they do not.
func (l *look) shown() bool {
	if l.gone || l.veiled || l.size < leastSize {
		return false
	}
	d, ok := contrast(l.fg, l.bg)
	return !ok || d >= lowContrast
}

// styling is what is said of one element.
type styling struct {
	gone, back bool // display: none, or another; of several the last counts
	inline     bool // no line begins with it: display: inline,
	piece      bool // or inline-block and the like, of which columns are made, too
	veil       int8 // visibility: 1 hidden, -1 visible
	relative   bool // size is a factor
	small      bool // the box has no width or no height
	clipped    bool // and what does not fit in is cut off
	away       bool // no opacity, or text that lies outside
	size       float32
	fg, bg     color
	rtl        int8 // direction: 1 from right to left, -1 not
	bidi       int8 // unicode-bidi
}

// What unicode-bidi says of the letters in an element.
const (
	bidiNormal    = iota + 1
	bidiIsolates  // they are shown as if they stood alone
	bidiOverrides // all have the direction of the element, whatever they are
)

var plainStyling = styling{size: -1, fg: unsetColor, bg: unsetColor}

// on gives how text looks with a styling, within what looks so.
func (s *styling) on(l look) look {
	l.gone = l.gone || s.gone || s.away || s.small && s.clipped
	if s.veil != 0 {
		l.veiled = s.veil > 0
	}
	switch {
	case s.size < 0:
	case s.relative:
		l.size *= s.size
	default:
		l.size = s.size
	}
	if s.rtl != 0 {
		l.rtl = s.rtl > 0
	}
	if s.bidi > bidiNormal {
		l.backward = s.bidi == bidiOverrides && l.rtl
	}
	switch s.bg {
	case unsetColor, transparentColor:
	default:
		l.bg = s.bg
	}
	switch s.fg {
	case unsetColor:
	case transparentColor:
		l.fg = l.bg
	default:
		l.fg = s.fg
	}
	return l
}

// over puts what is said more closely over what is said.
func (s *styling) over(t *styling) {
	if t.gone || t.back {
		s.gone, s.back, s.inline = t.gone, t.back, t.inline
	}
	if t.veil != 0 {
		s.veil = t.veil
	}
	if t.size >= 0 {
		s.size, s.relative = t.size, t.relative
	}
	if t.fg != unsetColor {
		s.fg = t.fg
	}
	if t.bg != unsetColor {
		s.bg = t.bg
	}
	if t.rtl != 0 {
		s.rtl = t.rtl
	}
	if t.bidi != 0 {
		s.bidi = t.bidi
	}
	s.piece = s.piece || t.piece
	s.small, s.clipped, s.away = s.small || t.small, s.clipped || t.clipped, s.away || t.away
}

// declarations reads the declarations of a style (CSS Syntax 3, 5.4.5).
func (s *styling) declarations(css string) {
	if strings.Contains(css, "/*") {
		css = withoutComments(css)
	}
	for len(css) > 0 {
		decl := css
		if n := strings.IndexByte(css, ';'); n >= 0 {
			decl, css = css[:n], css[n+1:]
		} else {
			css = ""
		}
		name, value, ok := strings.Cut(decl, ":")
		if !ok {
			continue
		}
		name = strings.Trim(name, asciiSpace)
		if strings.IndexByte(name, '\\') >= 0 {
			name = cssUnescape(name)
		}
		if known, ok := styleNames[lowerText(name)]; ok {
			if strings.IndexByte(value, '\\') >= 0 {
				value = cssUnescape(value)
			}
			value, _, _ = strings.Cut(value, "!")
			s.declare(known, lowerText(strings.Trim(value, asciiSpace)))
		}
	}
}

// Properties that matter to what is seen.
const (
	cssDisplay = iota + 1
	cssVisibility
	cssOpacity
	cssSize
	cssFont
	cssBox
	cssOverflow
	cssIndent
	cssColor
	cssBackgroundColor
	cssBackground
	cssImage
	cssFloat
	cssDirection
	cssBidi
)

var styleNames = map[string]int{
	"display": cssDisplay, "visibility": cssVisibility, "opacity": cssOpacity, "font-size": cssSize, "font": cssFont,
	"height": cssBox, "max-height": cssBox, "width": cssBox, "max-width": cssBox, "overflow": cssOverflow, "overflow-x": cssOverflow,
	"overflow-y": cssOverflow, "text-indent": cssIndent, "color": cssColor, "background-color": cssBackgroundColor,
	"background": cssBackground, "background-image": cssImage, "float": cssFloat,
	"direction": cssDirection, "unicode-bidi": cssBidi,
}

func (s *styling) declare(property int, v string) {
	switch property {
	case cssDisplay:
		s.gone, s.back, s.inline = v == "none", v != "none", v == "inline"
		s.piece = s.piece || strings.HasPrefix(v, "inline-")
	case cssFloat:
		s.piece = s.piece || v == "left" || v == "right"
	case cssVisibility:
		s.veil = -1
		if v == "hidden" || v == "collapse" {
			s.veil = 1
		}
	case cssOpacity:
		if n, unit, ok := cssNumber(v); ok && (unit == "" && n < 0.05 || unit == "%" && n < 5) {
			s.away = true
		}
	case cssSize:
		s.fontSize(v)
	case cssFont:
		s.font(v)
	case cssDirection:
		s.direction(v)
	case cssBidi:
		switch v {
		case "normal", "initial", "unset":
			s.bidi = bidiNormal
		case "bidi-override", "isolate-override":
			s.bidi = bidiOverrides
		default:
			s.bidi = bidiIsolates
		}
	case cssBox:
		if n, _, ok := cssNumber(v); ok && n == 0 {
			s.small = true
		}
	case cssOverflow:
		s.clipped = v == "hidden" || v == "clip"
	case cssIndent:
		if n, _, ok := cssNumber(v); ok && n <= -300 {
			s.away = true
		}
	case cssColor:
		if c := cssColorOf(v); c != unknownColor {
			s.fg = c
		}
	case cssBackgroundColor:
		s.bg = cssColorOf(v)
	case cssBackground:
		s.bg = backgroundOf(v)
	case cssImage:
		if v != "none" && v != "" {
			s.bg = unknownColor
		}
	}
}

// direction reads a direction.
func (s *styling) direction(v string) {
	switch v {
	case "rtl":
		s.rtl = 1
	case "ltr", "auto", "initial":
		s.rtl = -1
	}
}

// fontSize reads a font-size.
func (s *styling) fontSize(v string) {
	n, unit, ok := cssNumber(v)
	if !ok {
		if strings.HasSuffix(v, "small") || v == "medium" || strings.HasSuffix(v, "large") {
			s.size, s.relative = 16, false
		}
		return
	}
	s.relative = false
	switch unit {
	case "px", "":
	case "pt":
		n *= 4.0 / 3
	case "em", "ex", "ch":
		s.relative = true
	case "%":
		s.relative, n = true, n/100
	case "rem", "vw", "vh", "pc":
		n *= 16
	case "in", "cm", "mm":
		n *= 38
	default:
		return
	}
	if unit == "" && n != 0 {
		return // it has no unit, and does not count
	}
	s.size = float32(min(max(n, 0), 1000))
}

// font reads the size in a font, which stands before the slash, if there is one, and the name.
func (s *styling) font(v string) {
	for word := range strings.FieldsSeq(v) {
		word, _, _ = strings.Cut(word, "/")
		if n, unit, ok := cssNumber(word); ok && (unit != "" || n == 0) {
			s.fontSize(word)
			return
		}
	}
}

// cssNumber reads a number and its unit.
func cssNumber(v string) (n float64, unit string, ok bool) {
	i := 0
	for i < len(v) && i < 30 && ('0' <= v[i] && v[i] <= '9' || v[i] == '.' || i == 0 && (v[i] == '-' || v[i] == '+')) {
		i++
	}
	n, err := strconv.ParseFloat(v[:i], 64)
	if i == 0 || err != nil || math.IsNaN(n) {
		return 0, "", false
	}
	return n, strings.TrimSpace(v[i:]), true
}

// cssColorOf reads a colour (CSS Color 4); unsetColor stands for one that is inherited, unknownColor for what is not understood.
func cssColorOf(v string) color {
	switch v {
	case "inherit", "initial", "unset", "currentcolor", "":
		return unsetColor
	case "transparent":
		return transparentColor
	}
	if v[0] == '#' {
		return hashColor(v[1:])
	}
	if rest, ok := strings.CutPrefix(v, "rgb"); ok {
		return rgbOf(strings.TrimPrefix(rest, "a"))
	}
	if c, ok := colorNames[v]; ok {
		return c
	}
	return unknownColor
}

// hashColor reads the digits of a colour.
func hashColor(s string) color {
	for i := range len(s) {
		if digit(s[i]) == 16 {
			return unknownColor
		}
	}
	at := func(i int) color { return color(digit(s[i])) }
	switch len(s) {
	case 3, 4:
		if len(s) == 4 && s[3] == '0' {
			return transparentColor
		}
		return at(0)*0x110000 + at(1)*0x1100 + at(2)*0x11
	case 6, 8:
		if strings.HasSuffix(s[6:], "00") && len(s) == 8 {
			return transparentColor
		}
		return at(0)<<20 | at(1)<<16 | at(2)<<12 | at(3)<<8 | at(4)<<4 | at(5)
	}
	return unknownColor
}

// rgbOf reads what stands behind "rgb".
func rgbOf(s string) color {
	s = strings.Trim(s, "() \t\n")
	if len(s) > 100 {
		return unknownColor
	}
	fields := strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' || r == '/' })
	if len(fields) < 3 {
		return unknownColor
	}
	var c color
	for _, f := range fields[:3] {
		n, unit, ok := cssNumber(f)
		if !ok {
			return unknownColor
		}
		if unit == "%" {
			n *= 2.55
		}
		c = c<<8 | color(min(max(n, 0), 255))
	}
	if len(fields) > 3 {
		if a, unit, ok := cssNumber(fields[3]); ok && (a < 0.05 || unit == "%" && a < 5) {
			return transparentColor
		}
	}
	return c
}

// backgroundOf reads the colour of a background, which a picture may cover.
func backgroundOf(v string) color {
	if strings.Contains(v, "url(") || strings.Contains(v, "gradient") {
		return unknownColor
	}
	if c := cssColorOf(v); c != unknownColor {
		return c
	}
	for word := range strings.FieldsSeq(v) {
		if c := cssColorOf(word); c >= 0 {
			return c
		}
	}
	return unsetColor
}

// withoutComments drops the comments of a style.
func withoutComments(css string) string {
	var out strings.Builder
	for {
		before, rest, ok := strings.Cut(css, "/*")
		out.WriteString(before)
		if !ok {
			return out.String()
		}
		if _, css, ok = strings.Cut(rest, "*/"); !ok {
			return out.String()
		}
	}
}

// cssUnescape decodes the escapes of a style (CSS Syntax 3, 4.3.7).
func cssUnescape(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			out.WriteByte(s[i])
			continue
		}
		r, k := rune(0), i+1
		for k < len(s) && k < i+7 && digit(s[k]) < 16 {
			r = r<<4 | digit(s[k])
			k++
		}
		if k == i+1 {
			continue // the next one stands for itself
		}
		out.WriteRune(r)
		if k < len(s) && bytes.IndexByte([]byte(asciiSpace), s[k]) >= 0 {
			k++
		}
		i = k - 1
	}
	return out.String()
}
