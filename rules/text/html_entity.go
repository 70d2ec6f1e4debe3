package text

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// The named characters of HTML 4 (W3C, section 24). Those of Latin-1 are known without the semicolon behind them, too.
const latin1Entities = `nbsp iexcl cent pound curren yen brvbar sect uml copy ordf laquo not shy reg macr deg plusmn sup2 sup3 acute micro para middot
cedil sup1 ordm raquo frac14 frac12 frac34 iquest Agrave Aacute Acirc Atilde Auml Aring AElig Ccedil Egrave Eacute Ecirc Euml Igrave Iacute
Icirc Iuml ETH Ntilde Ograve Oacute Ocirc Otilde Ouml times Oslash Ugrave Uacute Ucirc Uuml Yacute THORN szlig agrave aacute acirc atilde
auml aring aelig ccedil egrave eacute ecirc euml igrave iacute icirc iuml eth ntilde ograve oacute ocirc otilde ouml divide oslash ugrave
uacute ucirc uuml yacute thorn yuml`

const otherEntities = `Alpha 391 Beta 392 Chi 3a7 Dagger 2021 Delta 394 Epsilon 395 Eta 397 Gamma 393 Iota 399 Kappa 39a Lambda 39b Mu 39c Nu 39d
OElig 152 Omega 3a9 Omicron 39f Phi 3a6 Pi 3a0 Prime 2033 Psi 3a8 Rho 3a1 Scaron 160 Sigma 3a3 Tau 3a4 Theta 398 Upsilon 3a5 Xi 39e
Yuml 178 Zeta 396 alefsym 2135 alpha 3b1 and 2227 ang 2220 asymp 2248 bdquo 201e beta 3b2 bull 2022 cap 2229 chi 3c7 circ 2c6 clubs 2663
cong 2245 crarr 21b5 cup 222a dArr 21d3 dagger 2020 darr 2193 delta 3b4 diams 2666 empty 2205 emsp 2003 ensp 2002 epsilon 3b5 equiv 2261
eta 3b7 euro 20ac exist 2203 fnof 192 forall 2200 frasl 2044 gamma 3b3 ge 2265 hArr 21d4 harr 2194 hearts 2665 hellip 2026 image 2111
infin 221e int 222b iota 3b9 isin 2208 kappa 3ba lArr 21d0 lambda 3bb lang 2329 larr 2190 lceil 2308 ldquo 201c le 2264 lfloor 230a
lowast 2217 loz 25ca lrm 200e lsaquo 2039 lsquo 2018 mdash 2014 minus 2212 mu 3bc nabla 2207 ndash 2013 ne 2260 ni 220b notin 2209
nsub 2284 nu 3bd oelig 153 oline 203e omega 3c9 omicron 3bf oplus 2295 or 2228 otimes 2297 part 2202 permil 2030 perp 22a5 phi 3c6 pi 3c0
piv 3d6 prime 2032 prod 220f prop 221d psi 3c8 rArr 21d2 radic 221a rang 232a rarr 2192 rceil 2309 rdquo 201d real 211c rfloor 230b
rho 3c1 rlm 200f rsaquo 203a rsquo 2019 sbquo 201a scaron 161 sdot 22c5 sigma 3c3 sigmaf 3c2 sim 223c spades 2660 sub 2282 sube 2286
sum 2211 sup 2283 supe 2287 tau 3c4 there4 2234 theta 3b8 thetasym 3d1 thinsp 2009 tilde 2dc trade 2122 uArr 21d1 uarr 2191 upsih 3d2
upsilon 3c5 weierp 2118 xi 3be zeta 3b6 zwj 200d zwnj 200c`

// loose are the named characters that need no semicolon, strict those that do.
var loose, strict = entities()

func entities() (loose, strict map[string]rune) {
	loose = map[string]rune{"amp": '&', "lt": '<', "gt": '>', "quot": '"', "apos": '\''}
	for i, name := range strings.Fields(latin1Entities) {
		loose[name] = rune(0xa0 + i)
	}
	strict = make(map[string]rune)
	f := strings.Fields(otherEntities)
	for i := 0; i+1 < len(f); i += 2 {
		n, _ := strconv.ParseUint(f[i+1], 16, 32)
		strict[f[i]] = rune(n)
	}
	return loose, strict
}

// longestEntity is the length of the longest name.
const longestEntity = 8

// appendEntities appends s with its character references decoded as HTML::Parser decodes them, and reports whether there
// was a character beyond U+00FF among them. With prefixes a name counts that has other letters behind it, as in a text.
func appendEntities(dst, s []byte, prefixes, chars bool) (out []byte, wide bool) {
	high := rune(0) // half of a character, for which U+FFFD was written
	for i := 0; i < len(s); {
		if s[i] != '&' {
			dst = append(dst, s[i])
			i++
			continue
		}
		r, n, numeric := reference(s[i:], prefixes, chars || wide)
		if n == 0 {
			if !numeric {
				high = 0
			}
			dst = append(dst, '&')
			i++
			continue
		}
		if numeric {
			dst, r, high = surrogates(dst, r, high)
		} else {
			high = 0
		}
		if i += n; i >= len(s) || s[i] != '&' {
			high = 0
		}
		wide = wide || r > 0xff
		dst = utf8.AppendRune(dst, r)
	}
	return dst, wide
}

// surrogates puts the halves of a character together, and replaces what is none.
func surrogates(dst []byte, r, high rune) (out []byte, char, half rune) {
	switch {
	case r&^0x3ff == 0xdc00 && high != 0:
		return dst[:len(dst)-3], (high-0xd800)<<10 + (r - 0xdc00) + 0x10000, 0
	case r&^0x3ff == 0xdc00:
		return dst, utf8.RuneError, high
	case r&^0x3ff == 0xd800:
		return dst, utf8.RuneError, r
	case r >= 0xfdd0 && r <= 0xfdef || r&0xfffe == 0xfffe:
		return dst, utf8.RuneError, 0
	}
	return dst, r, 0
}

// reference reads the character reference at the start of s, and gives its length, 0 if there is none.
func reference(s []byte, prefixes, chars bool) (r rune, n int, numeric bool) {
	if len(s) > 1 && s[1] == '#' {
		r, n = numericReference(s)
		if n > 0 && (r == 0xfffe || r == 0xffff) {
			n = 0
		}
		return r, n, true
	}
	end := 1
	for end < len(s) && (isWord(s[end]) && s[end] != '_') {
		end++
	}
	if end == 1 {
		return 0, 0, false
	}
	name := s[1:end]
	closed := end < len(s) && s[end] == ';'
	if len(name) <= longestEntity {
		c, ok := loose[string(name)]
		if !ok && closed {
			c, ok = strict[string(name)]
		}
		if ok {
			if closed {
				end++
			}
			return c, end, false
		}
	}
	if prefixes {
		for k := min(len(name)-1, longestEntity); k > 0; k-- {
			if c, ok := loose[string(name[:k])]; ok {
				return c, 1 + k, false
			}
		}
	}
	return 0, 0, false
}

// numericReference reads "&#65;" or "&#x41;", with or without the semicolon.
func numericReference(s []byte) (r rune, n int) {
	i, base := 2, rune(10)
	if i < len(s) && (s[i] == 'x' || s[i] == 'X') {
		i, base = 3, 16
	}
	start := i
	for ; i < len(s); i++ {
		d := digit(s[i])
		if d >= base {
			break
		}
		if r = r*base + d; r > 0x10ffff {
			return 0, 0
		}
	}
	if i == start || r == 0 {
		return 0, 0
	}
	if i < len(s) && s[i] == ';' {
		i++
	}
	return r, i
}

// digit gives the value of a hexadecimal digit, 16 for what is none.
func digit(c byte) rune {
	switch {
	case '0' <= c && c <= '9':
		return rune(c - '0')
	case 'a' <= c && c <= 'f':
		return rune(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return rune(c-'A') + 10
	}
	return 16
}
