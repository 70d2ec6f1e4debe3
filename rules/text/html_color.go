package text

import (
	"strconv"
	"strings"
)

// color is 0xRRGGBB, or one of those below.
type color int32

const (
	invalidColor color = -1 - iota
	emptyColor         // "#" and no digit
)

// namedColors are those of CSS Color 3 (W3C, 4.3).
const namedColors = `aliceblue f0f8ff antiquewhite faebd7 aqua 00ffff aquamarine 7fffd4 azure f0ffff beige f5f5dc bisque ffe4c4 black 000000
blanchedalmond ffebcd blue 0000ff blueviolet 8a2be2 brown a52a2a burlywood deb887 cadetblue 5f9ea0 chartreuse 7fff00 chocolate d2691e coral ff7f50
cornflowerblue 6495ed cornsilk fff8dc crimson dc143c cyan 00ffff darkblue 00008b darkcyan 008b8b darkgoldenrod b8860b darkgray a9a9a9
darkgreen 006400 darkgrey a9a9a9 darkkhaki bdb76b darkmagenta 8b008b darkolivegreen 556b2f darkorange ff8c00 darkorchid 9932cc darkred 8b0000
darksalmon e9967a darkseagreen 8fbc8f darkslateblue 483d8b darkslategray 2f4f4f darkslategrey 2f4f4f darkturquoise 00ced1 darkviolet 9400d3
deeppink ff1493 deepskyblue 00bfff dimgray 696969 dimgrey 696969 dodgerblue 1e90ff firebrick b22222 floralwhite fffaf0 forestgreen 228b22
fuchsia ff00ff gainsboro dcdcdc ghostwhite f8f8ff gold ffd700 goldenrod daa520 gray 808080 green 008000 greenyellow adff2f grey 808080
honeydew f0fff0 hotpink ff69b4 indianred cd5c5c indigo 4b0082 ivory fffff0 khaki f0e68c lavender e6e6fa lavenderblush fff0f5 lawngreen 7cfc00
lemonchiffon fffacd lightblue add8e6 lightcoral f08080 lightcyan e0ffff lightgoldenrodyellow fafad2 lightgray d3d3d3 lightgreen 90ee90
lightgrey d3d3d3 lightpink ffb6c1 lightsalmon ffa07a lightseagreen 20b2aa lightskyblue 87cefa lightslategray 778899 lightslategrey 778899
lightsteelblue b0c4de lightyellow ffffe0 lime 00ff00 limegreen 32cd32 linen faf0e6 magenta ff00ff maroon 800000 mediumaquamarine 66cdaa
mediumblue 0000cd mediumorchid ba55d3 mediumpurple 9370db mediumseagreen 3cb371 mediumslateblue 7b68ee mediumspringgreen 00fa9a
mediumturquoise 48d1cc mediumvioletred c71585 midnightblue 191970 mintcream f5fffa mistyrose ffe4e1 moccasin ffe4b5 navajowhite ffdead
navy 000080 oldlace fdf5e6 olive 808000 olivedrab 6b8e23 orange ffa500 orangered ff4500 orchid da70d6 palegoldenrod eee8aa palegreen 98fb98
paleturquoise afeeee palevioletred db7093 papayawhip ffefd5 peachpuff ffdab9 peru cd853f pink ffc0cb plum dda0dd powderblue b0e0e6
purple 800080 red ff0000 rosybrown bc8f8f royalblue 4169e1 saddlebrown 8b4513 salmon fa8072 sandybrown f4a460 seagreen 2e8b57 seashell fff5ee
sienna a0522d silver c0c0c0 skyblue 87ceeb slateblue 6a5acd slategray 708090 slategrey 708090 snow fffafa springgreen 00ff7f steelblue 4682b4
tan d2b48c teal 008080 thistle d8bfd8 tomato ff6347 turquoise 40e0d0 violet ee82ee wheat f5deb3 white ffffff whitesmoke f5f5f5
yellow ffff00 yellowgreen 9acd32`

var colorNames = func() map[string]color {
	f := strings.Fields(namedColors)
	m := make(map[string]color, len(f)/2)
	for i := 0; i < len(f); i += 2 {
		n, _ := strconv.ParseUint(f[i+1], 16, 24)
		m[f[i]] = color(n)
	}
	return m
}()

// readColor reads a colour of an attribute or a style: a name, "#" and digits, or rgb(…). Of digits that are too many or too
// few it makes what SpamAssassin does.
func readColor(s string) color {
	s = strings.ToLower(strings.Trim(s, asciiSpace))
	if c, ok := colorNames[s]; ok {
		return c
	}
	if hex, ok := rgbToHex(s); ok {
		return hexColor(hex)
	}
	if len(s) == 0 || s[0] != '#' {
		return invalidColor
	}
	if !hasRGB(s) {
		for i := range len(s) {
			if s[i] != '#' && digit(s[i]) == 16 {
				return invalidColor
			}
		}
	}
	return hexColor(s)
}

// hexColor makes a colour of the hexadecimal digits in s.
func hexColor(s string) color {
	var digits [7]byte
	n := 0
	for i := 0; i < len(s) && n < 6; i++ {
		if digit(s[i]) < 16 {
			digits[n] = s[i]
			n++
		}
	}
	switch {
	case n == 0:
		return emptyColor
	case n > 3 && n < 6:
		n = 3
	}
	for n%3 != 0 {
		digits[n] = '0'
		n++
	}
	if n == 3 {
		d := digits
		digits = [7]byte{d[0], d[0], d[1], d[1], d[2], d[2]}
	}
	v, _ := strconv.ParseUint(string(digits[:6]), 16, 24)
	return color(v)
}

// hasRGB reports whether rgb(…) stands in s, with nothing but numbers in it.
func hasRGB(s string) bool {
	_, inside, ok := strings.Cut(s, "rgb(")
	inside, _, closed := strings.Cut(inside, ")")
	return ok && closed && strings.Trim(inside, "0123456789%, ") == ""
}

// rgbToHex turns rgb(…) with numbers or percentages into digits.
func rgbToHex(s string) (string, bool) {
	if !hasRGB(s) {
		return "", false
	}
	_, inside, _ := strings.Cut(s, "rgb(")
	inside, _, _ = strings.Cut(inside, ")")
	fields := strings.Split(inside, ",")
	if len(fields) != 3 {
		return "", false
	}
	var hex strings.Builder
	percent := strings.Contains(inside, "%")
	for i, f := range fields {
		if i > 0 {
			f = strings.TrimLeft(f, " ")
		}
		if i == 2 {
			f = strings.TrimRight(f, " ")
		}
		number, cut := strings.CutSuffix(f, "%")
		n, err := strconv.Atoi(number)
		if cut != percent || err != nil {
			return "", false
		}
		if percent {
			n = n * 255 / 100
		}
		if n < 16 {
			hex.WriteByte('0')
		}
		hex.WriteString(strconv.FormatInt(int64(n), 16))
	}
	return hex.String(), true
}

// rgbValue reads the numbers of a colour in a style, whatever else stands in it.
func rgbValue(s string) color {
	var c [3]int
	i := 0
	for _, r := range s {
		switch {
		case r == ',':
			i++
		case '0' <= r && r <= '9' && i < 3:
			c[i] = min(c[i]*10+int(r-'0'), 1000)
		}
	}
	return color(min(c[0], 255)<<16 | min(c[1], 255)<<8 | min(c[2], 255))
}

// contrast is how far two colours lie apart, weighted by brightness; the greatest distance is about 191.
func contrast(a, b color) (squared float64, ok bool) {
	if a < 0 || b < 0 {
		return 0, false
	}
	d := func(shift uint) float64 { return float64(int(a>>shift&255) - int(b>>shift&255)) }
	r, g, bl := 0.2126*d(16), 0.7152*d(8), 0.0722*d(0)
	return r*r + g*g + bl*bl, true
}

// lowContrast is the square of the distance below which text can hardly be read.
const lowContrast = 12 * 12
