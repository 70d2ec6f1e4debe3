// Package charset makes UTF-8 of octets in a charset, in each of the ways in which readers of mail do; it knows nothing of
// messages, and does not guess the charset of a text.
package charset

import (
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/encoding/unicode/utf32"
	"golang.org/x/text/transform"
)

// Readers know different charsets, and give what they do not know as it stands. In most charsets that does not matter
// to what is looked for here: ASCII is ASCII in them. In the others a name or a text is one thing to who converts it,
// and another to who does not.

// Conversion is one way in which readers make UTF-8 of the octets of a charset in which ASCII is not written as ASCII.
type Conversion struct {
	Name string // of the charset, as it is usually written

	decoder func() transform.Transformer
}

// Reader converts what r gives. It fails only as r does.
func (c Conversion) Reader(r io.Reader) io.Reader { return transform.NewReader(r, c.decoder()) }

// string converts octets; ok is false where the decoder gives up.
func (c Conversion) string(octets string) (s string, ok bool) {
	s, _, err := transform.String(c.decoder(), octets)
	return strings.TrimLeft(s, byteOrderMarks), err == nil
}

// byteOrderMarks are the mark, and what it is in the other byte order.
const byteOrderMarks = "\ufeff\ufffe"

// Charset is what is known of one.
type Charset struct {
	conversions []Conversion      // where ASCII is not ASCII in it
	ascii       encoding.Encoding // where it is, and it is not UTF-8
	known       bool              // the above is all there is to it
}

// Conversions gives the ways in which readers convert a charset in which ASCII is not written as ASCII, the usual one
// first; none for the charsets in which it is, and for those that are not known. The slice is not to be changed.
func (c Charset) Conversions() []Conversion { return c.conversions }

// Clear reports whether all readers take a name in the charset for the same. Those who do not know the Japanese
// encoding of mail are not in use where it is.
func (c Charset) Clear() bool {
	return c.known && (len(c.conversions) == 0 || c.conversions[0].Name == "iso-2022-jp")
}

// Decode gives the usual reading as UTF-8. It never fails: what is in no charset that is known, or not of the one it is
// said to be in, is read as UTF-8 or Windows-1252.
func (c Charset) Decode(octets string) string {
	if len(c.conversions) > 0 {
		if s, ok := c.preferred(octets).string(octets); ok {
			return Text(s)
		}
	}
	if c.ascii != nil {
		if s, err := c.ascii.NewDecoder().String(octets); err == nil {
			return s
		}
	}
	return Text(octets)
}

// preferred gives the conversion that the octets' byte order mark asks for, else the usual one.
func (c Charset) preferred(octets string) Conversion {
	for _, o := range c.conversions {
		if marked(octets, o.Name) {
			return o
		}
	}
	return c.conversions[0]
}

// marked reports whether octets begin with the byte order mark of an encoding of Unicode.
func marked(octets, name string) bool {
	for _, m := range unicodeMarks {
		if m.name == name && strings.HasPrefix(octets, m.mark) {
			return true
		}
	}
	return false
}

// unicodeMarks are the byte order marks (Unicode 2.13) of what is no superset of ASCII, longer ones first.
var unicodeMarks = []struct{ mark, name string }{
	{"\xff\xfe\x00\x00", "utf-32le"},
	{"\x00\x00\xfe\xff", "utf-32be"},
	{"\xff\xfe", "utf-16le"},
	{"\xfe\xff", "utf-16be"},
	{"+/v8", "utf-7"},
	{"+/v9", "utf-7"},
	{"+/v+", "utf-7"},
	{"+/v/", "utf-7"},
}

// Marked gives the charsets whose byte order mark stands at the beginning of a text.
func Marked(head []byte) (names []string) {
	for _, m := range unicodeMarks {
		if len(head) >= len(m.mark) && string(head[:len(m.mark)]) == m.mark {
			names = append(names, m.name)
		}
	}
	return names
}

// Readings gives what readers make of octets in the charset, the usual reading first.
func (c Charset) Readings(octets string) []string {
	all := []string{c.Decode(octets)}
	if c.Clear() {
		return all
	}
	for _, o := range c.conversions {
		if s, ok := o.string(octets); ok {
			all = append(all, Text(s))
		}
	}
	return append(all, Text(octets))
}

// Of finds a charset by its name, in any of the spellings that readers take for it.
func Of(name string) Charset {
	name = strings.Trim(name, " \t\r\n")
	if len(name) > maxName {
		return Charset{}
	}
	name = lowerASCII(name)
	switch name {
	case "", "utf-8", "utf8", "us-ascii", "ascii":
		return Charset{known: true}
	}
	if c, ok := foreignCharset(name); ok {
		return c
	}
	spelled := strings.ReplaceAll(name, "_", "-")
	for _, n := range []string{name, spelled, vendorNames[strings.TrimPrefix(spelled, "x-")]} {
		if enc := supersetOf(n); enc != nil {
			return Charset{ascii: enc, known: true}
		}
	}
	return Charset{}
}

// maxName is how long the name of a charset is that is looked for.
const maxName = 60

// lowerASCII puts ASCII letters in lower case and leaves every other octet.
func lowerASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// supersetOf finds a charset in which ASCII is ASCII by one of its names in the HTML standard or with IANA, nil for none.
func supersetOf(name string) encoding.Encoding {
	if enc, err := htmlindex.Get(name); err == nil {
		if label, _ := htmlindex.Name(enc); label != "replacement" {
			return enc
		}
	}
	for _, index := range []*ianaindex.Index{ianaindex.MIME, ianaindex.IANA} {
		if enc, err := index.Encoding(name); err == nil && enc != nil {
			return enc
		}
	}
	return nil
}

// vendorNames are names of well-known charsets that have not been registered.
var vendorNames = map[string]string{
	"utf-8": "utf-8", "cp65001": "utf-8", "utf-8-mac": "utf-8", "cp932": "shift_jis", "ms932": "shift_jis", "windows-932": "shift_jis", "sjis-win": "shift_jis",
	"cp936": "gbk", "ms936": "gbk", "windows-936": "gbk", "cp949": "euc-kr", "ms949": "euc-kr", "windows-949": "euc-kr", "uhc": "euc-kr",
	"cp950": "big5", "ms950": "big5", "windows-950": "big5", "ks-c-5601-1987": "euc-kr", "shift-jis": "shift_jis", "gb-2312-80": "gbk", "cp-1252": "windows-1252", "dos-437": "ibm437",
}

// Text gives s if it is valid UTF-8, and else its octets read as Windows-1252, in which each octet is
// something.
func Text(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	if d, err := charmap.Windows1252.NewDecoder().String(s); err == nil {
		return d
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// foreignCharset finds those in which ASCII is not ASCII. ok is false for all others.
func foreignCharset(name string) (c Charset, ok bool) {
	key := strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' {
			return r
		}
		return -1
	}, name)
	c.known = true
	for _, k := range []string{key, strings.TrimPrefix(key, "cs"), strings.TrimPrefix(key, "x")} {
		if usual, ok := foreignNames[k]; ok {
			for _, n := range strings.Fields(usual) {
				c.conversions = append(c.conversions, Conversion{n, foreignDecoders[n]})
			}
			return c, true
		}
	}
	switch {
	case strings.Contains(key, "iso2022jp"): // the additions of iso-2022-jp-2 and others are not known
		return Charset{conversions: []Conversion{{"iso-2022-jp", foreignDecoders["iso-2022-jp"]}}}, true
	case strings.Contains(key, "iso2022cn"):
		return Charset{conversions: []Conversion{{"iso-2022-cn", foreignDecoders["iso-2022-cn"]}}}, true
	}
	if page, exact := ebcdicPage(key); page != "" {
		return Charset{conversions: []Conversion{{"ibm" + page, ebcdicDecoder(page)}}, known: exact}, true
	}
	return Charset{}, false
}

// foreignNames are spellings, in letters and digits only, and in which ways, the usual one first, readers convert what
// is declared so. UTF-16 without an order is big-endian (RFC 2781 4.3) but to Windows, and to who wrote the reader.
var foreignNames = map[string]string{
	"utf16": "utf-16be utf-16le", "utf16be": "utf-16be utf-16le", "utf16le": "utf-16le utf-16be",
	"u16": "utf-16be utf-16le", "ucs2": "utf-16be utf-16le", "ucs2be": "utf-16be utf-16le", "ucs2le": "utf-16le utf-16be",
	"iso10646ucs2": "utf-16be utf-16le", "iso10646": "utf-16be utf-16le", "unicode": "utf-16le utf-16be",
	"unicodefffe": "utf-16be utf-16le", "unicodefeff": "utf-16le utf-16be", "unicodebig": "utf-16be utf-16le",
	"unicodelittle": "utf-16le utf-16be", "unicode11": "utf-16be utf-16le", "unicodebigunmarked": "utf-16be utf-16le",
	"unicodelittleunmarked": "utf-16le utf-16be", "utf16bebom": "utf-16be utf-16le", "utf16lebom": "utf-16le utf-16be",
	"utf32": "utf-32be utf-32le", "utf32be": "utf-32be utf-32le", "utf32le": "utf-32le utf-32be", "u32": "utf-32be utf-32le",
	"ucs4": "utf-32be utf-32le", "ucs4be": "utf-32be utf-32le", "ucs4le": "utf-32le utf-32be", "iso10646ucs4": "utf-32be utf-32le",
	"utf7": "utf-7", "u7": "utf-7", "unicode11utf7": "utf-7", "unicode20utf7": "utf-7", "cp65000": "utf-7",
	"utf7imap": "utf-7-imap", "imaputf7": "utf-7-imap", "imap4utf7": "utf-7-imap", "utfimap7": "utf-7-imap",
	"hz": "hz-gb-2312 hz", "hzgb": "hz-gb-2312 hz", "hzgb2312": "hz-gb-2312 hz", "chinesehz": "hz-gb-2312 hz",
	"iso2022jp": "iso-2022-jp", "cp50220": "iso-2022-jp", "cp50221": "iso-2022-jp", "cp50222": "iso-2022-jp", "jis": "iso-2022-jp",
	"iso2022kr": "iso-2022-kr", "cp50225": "iso-2022-kr", "iso2022": "iso-2022-kr",
}

// foreignDecoders make the decoders of these. A byte order mark in front is left to be seen.
var foreignDecoders = map[string]func() transform.Transformer{
	"utf-16be":    decoderOf(unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM)),
	"utf-16le":    decoderOf(unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM)),
	"utf-32be":    decoderOf(utf32.UTF32(utf32.BigEndian, utf32.IgnoreBOM)),
	"utf-32le":    decoderOf(utf32.UTF32(utf32.LittleEndian, utf32.IgnoreBOM)),
	"iso-2022-jp": decoderOf(japanese.ISO2022JP),
	"hz-gb-2312":  decoderOf(simplifiedchinese.HZGB2312),
	"hz":          func() transform.Transformer { return transform.Chain(&hzShifts{}, simplifiedchinese.GBK.NewDecoder()) },
	"utf-7":       func() transform.Transformer { return &utf7{shift: '+'} },
	"utf-7-imap":  func() transform.Transformer { return &utf7{shift: '&'} },
	"iso-2022-kr": func() transform.Transformer { return transform.Chain(&shifts{}, korean.EUCKR.NewDecoder()) },
	"iso-2022-cn": func() transform.Transformer { return transform.Chain(&shifts{}, simplifiedchinese.GBK.NewDecoder()) },
}

func decoderOf(e encoding.Encoding) func() transform.Transformer {
	return func() transform.Transformer { return e.NewDecoder() }
}
