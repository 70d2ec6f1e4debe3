package charset

import (
	"strconv"
	"strings"
	"sync"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/transform"
)

// utf7 decodes UTF-7 (RFC 2152) and its variant for the names of IMAP mailboxes (RFC 3501 5.1.3). What breaks their
// rules is read as far as it goes.
type utf7 struct {
	shift byte // what begins a run of base64: '+', or '&'

	inside bool   // of a run
	empty  bool   // which has no octet yet
	bits   uint32 // of the run that are not given yet
	n      uint   // how many
	high   rune   // the first half of a surrogate pair, 0 for none
}

// Reset implements transform.Transformer.
func (u *utf7) Reset() { *u = utf7{shift: u.shift} }

// Transform implements transform.Transformer.
func (u *utf7) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	var out [3 * utf8.UTFMax]byte
	for nSrc < len(src) {
		was := *u
		b := u.next(out[:0], src[nSrc])
		if nDst+len(b) > len(dst) {
			*u = was
			return nDst, nSrc, transform.ErrShortDst
		}
		nDst += copy(dst[nDst:], b)
		nSrc++
	}
	if atEOF && u.high != 0 {
		if nDst+utf8.UTFMax > len(dst) {
			return nDst, nSrc, transform.ErrShortDst
		}
		u.high = 0
		nDst += utf8.EncodeRune(dst[nDst:], utf8.RuneError)
	}
	return nDst, nSrc, nil
}

// next appends what one more octet gives.
func (u *utf7) next(out []byte, c byte) []byte {
	if !u.inside {
		switch {
		case c == u.shift:
			*u = utf7{shift: u.shift, inside: true, empty: true}
		case c < utf8.RuneSelf:
			out = append(out, c)
		default:
			out = utf8.AppendRune(out, utf8.RuneError)
		}
		return out
	}
	if v, ok := u.sextet(c); ok {
		u.empty = false
		u.bits = u.bits<<6 | v
		if u.n += 6; u.n >= 16 {
			u.n -= 16
			unit := rune(u.bits >> u.n & 0xffff)
			u.bits &= 1<<u.n - 1
			out = u.unit(out, unit)
		}
		return out
	}
	empty := u.empty
	if u.high != 0 {
		out = utf8.AppendRune(out, utf8.RuneError)
	}
	*u = utf7{shift: u.shift}
	switch {
	case c == '-' && empty:
		return append(out, u.shift)
	case c == '-':
		return out
	}
	return u.next(out, c)
}

// sextet gives the value of an octet of base64.
func (u *utf7) sextet(c byte) (uint32, bool) {
	if u.shift == '&' && c == ',' {
		return 63, true
	}
	v := strings.IndexByte(base64Digits, c)
	return uint32(v), v >= 0
}

const base64Digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/" // RFC 2045 6.8

// unit appends a code unit of UTF-16, with the first half of its pair where there is one.
func (u *utf7) unit(out []byte, unit rune) []byte {
	if u.high != 0 {
		high := u.high
		u.high = 0
		if r := utf16.DecodeRune(high, unit); r != utf8.RuneError {
			return utf8.AppendRune(out, r)
		}
		out = utf8.AppendRune(out, utf8.RuneError)
	}
	if utf16.IsSurrogate(unit) && unit < 0xdc00 {
		u.high = unit
		return out
	}
	return utf8.AppendRune(out, unit)
}

// shifts makes 8-bit octets of ISO-2022-KR (RFC 1557) and ISO-2022-CN (RFC 1922): it drops the escape sequences, and
// sets the high bit of what stands between SO and SI.
type shifts struct{ out bool }

// Reset implements transform.Transformer.
func (s *shifts) Reset() { s.out = false }

// Transform implements transform.Transformer.
func (s *shifts) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	for nSrc < len(src) {
		switch c := src[nSrc]; {
		case c == 0x1b:
			n := EscapeLength(src[nSrc:])
			if n == 0 && !atEOF && len(src)-nSrc < maxEscape {
				return nDst, nSrc, transform.ErrShortSrc
			}
			nSrc += max(1, n)
			continue
		case c == 0x0e || c == 0x0f:
			s.out = c == 0x0e
			nSrc++
			continue
		case nDst == len(dst):
			return nDst, nSrc, transform.ErrShortDst
		case c == '\n':
			s.out = false // RFC 1922 3.1, and what readers of the Korean one do
			dst[nDst] = c
		case s.out && c > ' ' && c < 0x7f:
			dst[nDst] = c | 0x80
		default:
			dst[nDst] = c
		}
		nDst++
		nSrc++
	}
	return nDst, nSrc, nil
}

const maxEscape = 4

// EscapeLength gives the length of the escape sequence at the start of b that designates a set of characters
// (ISO/IEC 2022 6.4: ESC, one or two octets of 02/00 to 02/15, a final one), 0 for none.
func EscapeLength(b []byte) int {
	if len(b) < 3 || b[0] != 0x1b {
		return 0
	}
	i := 1
	for i < len(b) && i < maxEscape-1 && b[i] >= 0x20 && b[i] <= 0x2f {
		i++
	}
	if i == 1 || i == len(b) || b[i] < 0x30 || b[i] > 0x7e {
		return 0
	}
	return i + 1
}

// hzShifts makes 8-bit octets of HZ (RFC 1843) as those do who take the end of a line for the end of Chinese, too.
type hzShifts struct{ out bool }

// Reset implements transform.Transformer.
func (s *hzShifts) Reset() { s.out = false }

// Transform implements transform.Transformer.
func (s *hzShifts) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	for nSrc < len(src) {
		c, size := src[nSrc], 1
		if c == '~' && nSrc+1 == len(src) && !atEOF {
			return nDst, nSrc, transform.ErrShortSrc
		}
		if c == '~' && nSrc+1 < len(src) {
			switch next := src[nSrc+1]; next {
			case '{', '}', '\n':
				s.out = next == '{'
				nSrc += 2
				continue
			case '~':
				size = 2
			}
		}
		if nDst == len(dst) {
			return nDst, nSrc, transform.ErrShortDst
		}
		switch {
		case c == '\n':
			s.out = false
		case s.out && c > ' ' && c < 0x7f:
			c |= 0x80
		}
		dst[nDst] = c
		nDst++
		nSrc += size
	}
	return nDst, nSrc, nil
}

// byteDecoder decodes a charset of single octets.
type byteDecoder struct {
	transform.NopResetter
	table *[256]rune
}

// Transform implements transform.Transformer.
func (d byteDecoder) Transform(dst, src []byte, _ bool) (nDst, nSrc int, err error) {
	for _, c := range src {
		r := d.table[c]
		if nDst+utf8.RuneLen(r) > len(dst) {
			return nDst, nSrc, transform.ErrShortDst
		}
		nDst += utf8.EncodeRune(dst[nDst:], r)
		nSrc++
	}
	return nDst, nSrc, nil
}

// ebcdicChanges are the EBCDIC code pages that are like 037 but for some octets, as two hexadecimal digits and the
// character.
var ebcdicChanges = map[string]string{
	"037":  "",
	"273":  "43{ 4aÄ 4f! 59~ 5aÜ 5f^ 63[ 6aö 7c§ a1ß b0¢ b5@ ba¬ bb| bc‾ c0ä cc¦ d0ü dc} e0Ö ec\\ fc]",
	"277":  "47} 4a# 4f! 5a¤ 5bÅ 5f^ 67$ 6aø 70¦ 7bÆ 7cØ 80@ 9c{ 9e[ 9f] a1ü b0¢ ba¬ bb| c0æ d0å dc~",
	"278":  "43{ 47} 4a§ 4f! 51` 5a¤ 5bÅ 5f^ 63# 67$ 6aö 79é 7bÄ 7cÖ 9f] a1ü b0¢ b5[ ba¬ bb| c0ä cc¦ d0å dc~ ec@",
	"280":  "44{ 48\\ 4a° 4f! 51] 54} 58~ 5aé 5f^ 6aò 79ù 7b£ 7c§ 90[ a1ì b0¢ b1# b5@ ba¬ bb| c0à cd¦ d0è dd` e0ç",
	"284":  "49¦ 4a[ 5a] 69# 6añ 7bÑ a1¨ b0¢ ba^ bb! bd~",
	"285":  "4a$ 5b£ a1‾ b0¢ b1[ ba^ bc~",
	"297":  "44@ 48\\ 4a° 4f! 51{ 54} 5a§ 5f^ 6aù 79µ 7b£ 7cà 90[ a0` a1¨ b0¢ b1# b5] ba¬ bb| bd~ c0é d0è dd¦ e0ç",
	"500":  "4a[ 4f! 5a] 5f^ b0¢ ba¬ bb|",
	"871":  "4aþ 4f! 5aÆ 5fÖ 79ð 7cÐ 8c` 8e{ 9c} 9e] a1ö ac@ ae[ b0¢ ba¬ bb| be\\ c0Þ cc~ d0æ e0´ ec^",
	"1026": "48{ 4aÇ 4f! 5aĞ 5bİ 5f^ 68[ 6aş 79ı 7bÖ 7cŞ 7fÜ 8c} 8d` 8e¦ a1ö ac] ad$ ae@ b0¢ ba¬ bb| c0ç cc~ d0ğ dc\\ e0ü ec# fc\"",
	"1047": "5f^ ad[ b0¬ baÝ bb¨ bd]",
}

// ebcdicEuro are the pages that are others with a euro sign for the currency sign.
var ebcdicEuro = map[string]string{
	"1140": "037", "1141": "273", "1142": "277", "1143": "278", "1144": "280", "1145": "284", "1146": "285", "1147": "297", "1148": "500", "1149": "871", "924": "1047",
}

// ebcdicOthers are EBCDIC code pages whose letters, digits, full stop and hyphen are those of 037, and that are not
// known beyond.
const ebcdicOthers = " 038 256 274 275 281 290 300 420 423 424 803 833 836 838 870 875 880 905 918 930 931 933 935 937 939 1025 " +
	"1027 1069 1097 1112 1122 1123 1130 1132 1137 1153 1154 1155 1156 1157 1158 1160 1164 1303 1364 1371 1388 1390 1399 " +
	"4517 4899 4971 5123 8482 8612 9030 12712 16804 "

// ebcdicNames are the names of some pages, in letters and digits.
var ebcdicNames = map[string]string{
	"ebcdic": "037", "ebcdicus": "037", "ebcdiccpus": "037", "ebcdiccpca": "037", "ebcdiccpnl": "037", "ebcdiccpwt": "037",
	"ebcdiccpbe": "500", "ebcdiccpch": "500", "utfebcdic": "1047", "ebcdicint": "500", "ebcdiccpgb": "285", "ebcdiccpfr": "297",
	"ebcdiccpes": "284", "ebcdiccpit": "280", "ebcdiccpfi": "278", "ebcdiccpse": "278", "ebcdiccpdk": "277", "ebcdiccpno": "277",
	"ebcdiccpis": "871",
}

// ebcdicPage tells the number of an EBCDIC code page by its name in letters and digits, "" for another charset; exact
// is false where only what all of them share is known.
func ebcdicPage(key string) (page string, exact bool) {
	if page = ebcdicNames[key]; page != "" {
		return page, key != "utfebcdic"
	}
	if strings.HasPrefix(key, "ebcdic") || strings.HasPrefix(key, "csebcdic") {
		return "037", false
	}
	digits := key
	for _, prefix := range []string{"cs", "x", "ibm", "cp", "ccsid", "0"} {
		digits = strings.TrimPrefix(digits, prefix)
	}
	if digits == "37" {
		digits = "037"
	}
	if _, ok := ebcdicChanges[digits]; ok {
		return digits, true
	}
	if _, ok := ebcdicEuro[digits]; ok {
		return digits, digits != "924"
	}
	if digits != "" && strings.Contains(ebcdicOthers, " "+digits+" ") {
		return digits, false
	}
	return "", false
}

// ebcdicDecoder makes the decoders of a code page that ebcdicPage tells.
func ebcdicDecoder(page string) func() transform.Transformer {
	table, ok := ebcdicTables()[page]
	if !ok {
		table = ebcdicTables()["037"]
	}
	return func() transform.Transformer { return byteDecoder{table: table} }
}

// ebcdicTables are the code pages that are known.
var ebcdicTables = sync.OnceValue(func() map[string]*[256]rune {
	tables := map[string]*[256]rune{}
	for page, changes := range ebcdicChanges {
		table := new([256]rune)
		for i := range table {
			table[i] = charmap.CodePage037.DecodeByte(byte(i))
		}
		for change := range strings.FieldsSeq(changes) {
			r, _ := utf8.DecodeRuneInString(change[2:])
			at, _ := strconv.ParseUint(change[:2], 16, 8)
			table[at] = r
		}
		tables[page] = table
	}
	for page, like := range ebcdicEuro {
		table := *tables[like]
		table[0x9f] = '€'
		tables[page] = &table
	}
	return tables
})
