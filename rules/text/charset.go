package text

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"regexp"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/encoding/unicode"

	"github.com/postern-mail/postern/mail/charset"
)

// text is a text in UTF-8. SpamAssassin's texts are either of characters or of octets, and white space is another thing in
// the ones than in the others: chars tells which. In one of octets no character is beyond U+00FF.
type text struct {
	utf8  []byte
	chars bool
}

// asciiNames are the charsets in which SpamAssassin takes octets without the high bit for what they are; in others it
// decodes them, and has characters then.
var asciiNames = regexp.MustCompile(`^(?i:(?:us-)?ascii|ansi[_ ]? ?x3\.4-(?:1986|1968)|iso646-us|iso[ -]?8859(?:-[0-9]{1,2})?|windows-[0-9]{4}|` +
	`utf-?8|(?:koi8|euc)-[a-z]{1,2}|big5|gbk|gb[ -]?18030(?:-20[0-9]{2})?)$`)

// normalize decodes octets of a declared charset as SpamAssassin does: as UTF-8 where they are, else as declared where they
// are that, else as Windows-1252. Octets are not changed, and may be what is given back.
func normalize(octets []byte, declared string) text {
	ascii := plainASCII(octets)
	switch {
	case ascii && (declared == "us-ascii" || declared == "utf-8" || asciiNames.MatchString(declared)):
		return text{octets, false}
	case !ascii && isStrictUTF8(octets):
		return text{octets, true}
	}
	if out, ok := decodeDeclared(octets, declared); ok {
		return text{out, true}
	}
	if ascii {
		return text{octets, false}
	}
	return text{fromWindows1252(octets), true}
}

// plainASCII reports whether no octet has the high bit.
func plainASCII(b []byte) bool {
	return asciiRun(b) == len(b)
}

// asciiRun gives how many octets without the high bit b begins with.
func asciiRun(b []byte) (n int) {
	for ; len(b)-n >= 8; n += 8 {
		if x := binary.LittleEndian.Uint64(b[n:]) & highest; x != 0 {
			return n + bits.TrailingZeros64(x)>>3
		}
	}
	for n < len(b) && b[n] < utf8.RuneSelf {
		n++
	}
	return n
}

// isStrictUTF8 reports whether octets are UTF-8 without characters that nobody may interchange (Unicode 23.7).
func isStrictUTF8(b []byte) bool {
	if plainASCII(b) {
		return true
	}
	if !utf8.Valid(b) {
		return false
	}
	if bytes.Contains(b, []byte{0xef, 0xb7}) || bytes.Contains(b, []byte{0xbf, 0xbe}) || bytes.Contains(b, []byte{0xbf, 0xbf}) {
		for i := 0; i < len(b); {
			r, n := utf8.DecodeRune(b[i:])
			if r >= 0xfdd0 && r <= 0xfdef || r&0xfffe == 0xfffe {
				return false
			}
			i += n
		}
	}
	return true
}

// decodeDeclared decodes octets by the charset that is declared; ok is false where it is not known, or not theirs.
func decodeDeclared(octets []byte, declared string) (out []byte, ok bool) {
	name := strings.ToLower(strings.TrimSpace(declared))
	if strings.Contains(name, "gb2312") || strings.Contains(name, "gb_2312") || strings.Contains(name, "gb-2312") {
		name = "gb2312"
	}
	switch name {
	case "us-ascii", "ascii", "utf-8", "utf8":
		return nil, false // what is not of ASCII was looked at before
	case "iso-8859-1", "iso8859-1", "windows-1252", "cp1252":
		out = fromWindows1252(octets)
		return out, !bytes.Contains(out, []byte("\uFFFD"))
	case "gb2312", "euc-cn", "cn-gb":
		if !within94(octets) {
			return nil, false
		}
	}
	if strings.HasPrefix(name, "utf-16") || strings.HasPrefix(name, "utf16") || strings.HasPrefix(name, "utf 16") {
		return decodeUTF16(octets)
	}
	enc := encodingOf(name)
	if enc == nil {
		for _, c := range charset.Of(name).Conversions() {
			var b bytes.Buffer
			if _, err := b.ReadFrom(c.Reader(bytes.NewReader(octets))); err == nil {
				return b.Bytes(), true
			}
		}
		return nil, false
	}
	b, err := enc.NewDecoder().Bytes(octets)
	if err != nil || bytes.Contains(b, []byte("\uFFFD")) {
		return nil, false
	}
	return b, true
}

// encodingOf finds a charset in which ASCII is ASCII.
func encodingOf(name string) encoding.Encoding {
	for _, n := range []string{name, strings.TrimPrefix(name, "x-"), strings.ReplaceAll(name, "_", "-")} {
		if e, err := htmlindex.Get(n); err == nil {
			if label, _ := htmlindex.Name(e); label != "replacement" && !strings.HasPrefix(label, "utf-16") {
				return e
			}
		}
		if e, err := ianaindex.MIME.Encoding(n); err == nil && e != nil {
			return e
		}
		if e, err := ianaindex.IANA.Encoding(n); err == nil && e != nil {
			return e
		}
	}
	return nil
}

// within94 reports whether all octets with the high bit stand in pairs of GB 2312.
func within94(b []byte) bool {
	for i := 0; i < len(b); i++ {
		if b[i] < 0x80 {
			continue
		}
		if b[i] < 0xa1 || b[i] > 0xf7 || i+1 == len(b) || b[i+1] < 0xa1 || b[i+1] == 0xff {
			return false
		}
		i++
	}
	return true
}

// decodeUTF16 guesses the order of octets, as senders of spam leave it out. With a byte order mark nothing is decoded.
func decodeUTF16(b []byte) ([]byte, bool) {
	if len(b) >= 2 && (b[0] == 0xff && b[1] == 0xfe || b[0] == 0xfe && b[1] == 0xff) {
		return nil, false
	}
	le, be, even, odd := 0, 0, 0, 0
	for i := 0; i+1 < len(b); i += 2 {
		even += int(b[i]>>4) + int(b[i]&15)
		odd += int(b[i+1]>>4) + int(b[i+1]&15)
		if b[i] == ' ' && b[i+1] == 0 {
			le++
		}
		if b[i] == 0 && b[i+1] == ' ' {
			be++
		}
	}
	if even > odd*4 {
		le++
	}
	if odd*4 > even {
		be++
	}
	order := unicode.LittleEndian
	switch {
	case le == be || len(b)%2 != 0:
		return nil, false
	case be > le:
		order = unicode.BigEndian
	}
	out, err := unicode.UTF16(order, unicode.IgnoreBOM).NewDecoder().Bytes(b)
	if err != nil || bytes.Contains(out, []byte("\uFFFD")) {
		return nil, false
	}
	return out, true
}

// fromWindows1252 decodes octets of Windows-1252; those that nobody has defined become U+FFFD.
func fromWindows1252(b []byte) []byte {
	size := 0
	for i := 0; i < len(b); i++ {
		n := asciiRun(b[i:])
		if size, i = size+n, i+n; i < len(b) {
			size += len(windows1252[b[i]])
		}
	}
	out := make([]byte, 0, size)
	for i := 0; i < len(b); i++ {
		n := asciiRun(b[i:])
		out = append(out, b[i:i+n]...)
		if i += n; i < len(b) {
			out = append(out, windows1252[b[i]]...)
		}
	}
	return out
}

// windows1252 has each octet's character in UTF-8.
var windows1252 = func() (t [256]string) {
	for i := range t {
		t[i] = string(charmap.Windows1252.DecodeByte(byte(i)))
	}
	for _, c := range []byte("\x81\x8d\x8f\x90\x9d") {
		t[c] = "\uFFFD"
	}
	return t
}()
