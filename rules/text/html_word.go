package text

import (
	"unicode"
	"unicode/utf8"
)

// compare looks for a tag in the midst of a word: between what was written last and what comes now.
func (r *renderer) compare(b []byte, chars bool) {
	last := r.out[r.piece.from:]
	if len(last) == 0 || len(b) == 0 {
		return
	}
	before, _ := utf8.DecodeLastRune(last)
	after, _ := utf8.DecodeRune(b)
	if !inWord(before, r.piece.chars) || !inWord(after, chars) {
		return
	}
	r.h.Obfuscations++
	if len(r.backhair) >= maxBackhair {
		return
	}
	left, right := wordEnd(last, r.piece.chars), wordStart(b, chars)
	if left > 0 && right > 0 {
		if r.backhair == nil {
			r.backhair = make(map[[2]uint8]struct{})
		}
		r.backhair[[2]uint8{left, right}] = struct{}{}
	}
}

// inWord reports whether a character is neither white space nor punctuation of ASCII.
func inWord(c rune, chars bool) bool {
	if c < utf8.RuneSelf {
		return spaceClass[c] == noSpace && (c < '!' || c > '~' || isWord(byte(c)) && c != '_')
	}
	return !chars || !isWideSpace(c)
}

// wordChar reports whether a character is one of a word in a pattern.
func wordChar(c rune, chars bool) bool {
	if c < utf8.RuneSelf {
		return isWord(byte(c))
	}
	return chars && unicode.In(c, unicode.L, unicode.M, unicode.Nd, unicode.Nl, unicode.Pc, unicode.Other_Alphabetic, unicode.Join_Control)
}

// longestPart is how long a part of a word is at most that is looked at.
const longestPart = 7

// wordEnd gives the length of the part of a word at the end, 0 if it is too long.
func wordEnd(b []byte, chars bool) (n uint8) {
	after := false // the character behind is one of a word
	for k := uint8(0); ; k++ {
		c, size := utf8.DecodeLastRune(b)
		if size == 0 {
			c = ' '
		}
		if k > 0 && after != wordChar(c, chars) {
			n = k // the beginning of what follows is a boundary
		}
		if size == 0 || k == longestPart || !inWord(c, chars) {
			return n
		}
		after = wordChar(c, chars)
		b = b[:len(b)-size]
	}
}

// wordStart gives the length of the part of a word at the start, 0 if it is too long.
func wordStart(b []byte, chars bool) (n uint8) {
	before := false
	for k := uint8(0); ; k++ {
		c, size := utf8.DecodeRune(b)
		if size == 0 {
			c = ' '
		}
		if k > 0 && before != wordChar(c, chars) {
			n = k
		}
		if size == 0 || k == longestPart || !inWord(c, chars) {
			return n
		}
		before = wordChar(c, chars)
		b = b[size:]
	}
}
