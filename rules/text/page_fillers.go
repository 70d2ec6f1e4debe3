package text

import "unicode/utf8"

// Letters counts the letters and digits of a text, roughly: all that is no white space, sign or filler.
func Letters(b []byte) (n int) {
	for i := 0; i < len(b); {
		c := b[i]
		if c < utf8.RuneSelf {
			n += int(alnum[c])
			i++
			continue
		}
		r, size := utf8.DecodeRune(b[i:])
		if !isFiller(r) {
			n++
		}
		i += size
	}
	return n
}

// alnum has 1 for letters and digits of ASCII.
var alnum = func() (t [utf8.RuneSelf]uint8) {
	for c := range t {
		if isAlnum(byte(c)) {
			t[c] = 1
		}
	}
	return t
}()

// appendUnfilled appends a text with a blank in place of each run of fillers.
func appendUnfilled(dst, b []byte) []byte {
	if plainASCII(b) {
		return append(dst, b...)
	}
	for i := 0; i < len(b); {
		r, size := utf8.DecodeRune(b[i:])
		switch {
		case r < utf8.RuneSelf || !isFiller(r):
			dst = append(dst, b[i:i+size]...)
		case len(dst) > 0 && dst[len(dst)-1] != ' ':
			dst = append(dst, ' ')
		}
		i += size
	}
	return dst
}

// isFiller reports whether a character beyond ASCII is white space, or none that is seen.
func isFiller(r rune) bool {
	switch r {
	case 0xad, 0x34f, 0x61c, 0x115f, 0x1160, 0x17b4, 0x17b5, 0x180e, 0x2800, 0x3164, 0xfeff, 0xffa0, utf8.RuneError:
		return true
	}
	return isWideSpace(r) || r >= 0x200b && r <= 0x200f || r >= 0x202a && r <= 0x202e || r >= 0x2060 && r <= 0x206f
}
