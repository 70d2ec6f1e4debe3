package markup

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"unicode/utf16"
	"unicode/utf8"
)

// readings gives each text that some reader makes of the octets of a document. The octets as they are come last, and
// only where another reading does not say that they can't be meant.
func readings(b []byte) [][]byte {
	switch {
	case bytes.HasPrefix(b, []byte("\xef\xbb\xbf")):
		b = b[3:]
	case bytes.HasPrefix(b, []byte("\xff\xfe\x00\x00")), bytes.HasPrefix(b, []byte("\x00\x00\xfe\xff")):
		b = without(b)
		return [][]byte{b[min(2, len(b)):]}
	case bytes.HasPrefix(b, []byte("\xff\xfe")):
		return [][]byte{fromUTF16(b[2:], binary.LittleEndian)}
	case bytes.HasPrefix(b, []byte("\xfe\xff")):
		return [][]byte{fromUTF16(b[2:], binary.BigEndian)}
	}
	all := [][]byte{}
	if head := b[:min(len(b), 4096)]; bytes.IndexByte(head, 0) >= 0 || bytes.IndexByte(b, 0) >= 0 {
		even, odd := 0, 0
		for i, c := range head {
			if c == 0 && i%2 == 0 {
				even++
			} else if c == 0 {
				odd++
			}
		}
		switch n := len(head) / 2; {
		case odd > n/2 && even < n/8:
			all = append(all, fromUTF16(b, binary.LittleEndian))
		case even > n/2 && odd < n/8:
			all = append(all, fromUTF16(b, binary.BigEndian))
		}
		// Some readers pass over the octet zero, wherever it stands; and it is three of four in UTF-32.
		all = append(all, without(b))
	}
	if text, ok := fromUTF7(b); ok {
		all = append(all, text)
	}
	return append(all, b)
}

// without gives the text without the octet zero.
func without(b []byte) []byte { return bytes.ReplaceAll(b, []byte{0}, nil) }

func fromUTF16(b []byte, order binary.ByteOrder) []byte {
	out := make([]byte, 0, len(b)/2+len(b)/8)
	for i := 0; i+1 < len(b); i += 2 {
		r := rune(order.Uint16(b[i:]))
		if utf16.IsSurrogate(r) && i+3 < len(b) {
			if pair := utf16.DecodeRune(r, rune(order.Uint16(b[i+2:]))); pair != utf8.RuneError {
				r = pair
				i += 2
			}
		}
		out = utf8.AppendRune(out, r)
	}
	return out
}

// utf7Alphabet is that of RFC 2152, without padding.
var utf7Alphabet = base64.RawStdEncoding

// fromUTF7 decodes UTF-7 (RFC 2152) where the document says that it is, or hides an angle bracket in it; ok says
// that this made a difference.
func fromUTF7(b []byte) (text []byte, ok bool) {
	if !bytes.Contains(b, []byte("+ADw")) && !bytes.Contains(bytes.ToLower(b[:min(len(b), 4096)]), []byte("utf-7")) {
		return nil, false
	}
	out := make([]byte, 0, len(b))
	for {
		at := bytes.IndexByte(b, '+')
		if at < 0 {
			break
		}
		out = append(out, b[:at]...)
		b = b[at+1:]
		n := 0
		for n < len(b) && base64Value[b[n]] < 64 && b[n] != '-' && b[n] != '_' {
			n++
		}
		run := b[:n]
		b = bytes.TrimPrefix(b[n:], []byte("-"))
		if n == 0 {
			out = append(out, '+')
			continue
		}
		octets := make([]byte, utf7Alphabet.DecodedLen(n))
		m, err := utf7Alphabet.Decode(octets, run)
		if err != nil && m < 2 {
			out = append(append(out, '+'), run...)
			continue
		}
		decoded := fromUTF16(octets[:m], binary.BigEndian)
		ok = ok || bytes.ContainsAny(decoded, "<>\"'")
		out = append(out, decoded...)
	}
	return append(out, b...), ok
}
