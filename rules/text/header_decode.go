package text

import (
	"bytes"
	"encoding/base64"
)

// appendDecoded appends a field's value unfolded, trimmed and decoded: encoded words (RFC 2047) of all fields but those
// that hold no text, and octets that are no UTF-8 read as Windows-1252.
func appendDecoded(dst, name, raw []byte) []byte {
	at := len(dst)
	dst = appendUnfolded(dst, raw)
	return decodeText(dst, at, !isVerbatim(name))
}

// appendUnfolded appends a value on one line: each fold becomes a blank, and white space goes at both ends.
func appendUnfolded(dst, raw []byte) []byte {
	for len(raw) > 0 && isSpace(raw[0]) {
		raw = raw[1:]
	}
	for len(raw) > 0 && isSpace(raw[len(raw)-1]) {
		raw = raw[:len(raw)-1]
	}
	for {
		i := bytes.IndexByte(raw, '\n')
		if i < 0 {
			return append(dst, raw...)
		}
		dst = append(dst, raw[:i]...)
		if dst, raw = append(dst, ' '), raw[i+1:]; len(raw) > 0 && raw[0] != ' ' && raw[0] != '\t' {
			dst = dst[:len(dst)-1] // a line end within the value that is no fold
		}
		for len(raw) > 0 && (raw[0] == ' ' || raw[0] == '\t') {
			raw = raw[1:]
		}
	}
}

// decodeText decodes dst from at on: to UTF-8, and with words also encoded words.
func decodeText(dst []byte, at int, words bool) []byte {
	text := dst[at:]
	if !isStrictUTF8(text) {
		dst = append(dst[:at], decodeOctets(bytes.Clone(text), "utf-8", false)...)
		text = dst[at:]
	}
	if !words || !bytes.Contains(text, []byte("=?")) {
		return dst
	}
	return append(dst[:at], decodeWords(bytes.Clone(text))...)
}

// isVerbatim reports whether a field holds no encoded words.
func isVerbatim(name []byte) bool {
	if len(name) < 4 || len(name) > 64 {
		return false
	}
	var buf [64]byte
	for i, c := range name {
		buf[i] = lower(c)
	}
	switch string(buf[:len(name)]) {
	case "received", "message-id", "date", "resent-message-id", "resent-date", "mime-version", "references", "in-reply-to":
		return true
	}
	return bytes.HasPrefix(buf[:len(name)], []byte("list-"))
}

// word is an encoded word.
type word struct {
	charset  []byte
	encoding byte // 'b' or 'q'
	text     []byte
}

// cutWord takes an encoded word off the beginning of b; n is its length, 0 where there is none.
func cutWord(b []byte) (w word, n int) {
	if len(b) < 7 || b[0] != '=' || b[1] != '?' {
		return w, 0
	}
	i := 2
	for i < len(b) && (isAlnum(b[i]) || b[i] == '*' || b[i] == '_' || b[i] == '-') {
		i++
	}
	if i == 2 || i+3 > len(b) || b[i] != '?' || b[i+2] != '?' {
		return w, 0
	}
	e := lower(b[i+1])
	if e != 'b' && e != 'q' {
		return w, 0
	}
	end := bytes.IndexByte(b[i+3:], '?')
	if end < 0 || i+3+end+1 >= len(b) || b[i+3+end+1] != '=' {
		return w, 0
	}
	return word{charset: b[2:i], encoding: e, text: b[i+3 : i+3+end]}, i + 3 + end + 2
}

func isAlnum(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// decodeWords decodes the encoded words in a text. Words of one charset that stand side by side are put together before
// their octets are read, since senders cut characters in two.
func decodeWords(b []byte) []byte {
	out := make([]byte, 0, len(b))
	var (
		octets  []byte // of the words that are put together
		charset []byte // theirs; nil: none are
	)
	flush := func() {
		if charset != nil {
			name, _, _ := bytes.Cut(charset, []byte("*")) // RFC 2231 5: the language
			out = append(out, decodeOctets(octets, string(name), true)...)
			octets, charset = nil, nil
		}
	}
	for len(b) > 0 {
		w, n := cutWord(b)
		if n == 0 {
			flush()
			n = 1
			if i := bytes.IndexByte(b[1:], '='); b[0] == '=' {
			} else if i < 0 {
				n = len(b)
			} else {
				n = i + 1
			}
			out = append(out, b[:n]...)
			b = b[n:]
			continue
		}
		if charset != nil && !bytes.EqualFold(charset, w.charset) {
			flush()
		}
		charset = w.charset
		if w.encoding == 'b' {
			octets = append(octets, decodeBase64(w.text)...)
		} else {
			octets = appendQ(octets, w.text)
		}
		b = b[n:]
		// RFC 2047 6.2: blanks between encoded words do not show.
		rest := bytes.TrimLeft(b, " \t\n\v\f\r")
		if len(rest) < len(b) {
			if _, n := cutWord(rest); n > 0 {
				b = rest
			}
		}
	}
	flush()
	return out
}

// appendQ appends the octets of a word in the encoding Q (RFC 2047 4.2).
func appendQ(dst, text []byte) []byte {
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '_':
			dst = append(dst, ' ')
		case c == '=' && i+2 < len(text) && hexValue(text[i+1]) >= 0 && hexValue(text[i+2]) >= 0:
			dst = append(dst, byte(hexValue(text[i+1])<<4|hexValue(text[i+2])))
			i += 2
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

func hexValue(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// decodeBase64 decodes what is base64 in a text: other octets are passed over, and padding in the middle stands for zeros.
func decodeBase64(text []byte) []byte {
	clean := make([]byte, 0, len(text)+3)
	for _, c := range text {
		if isAlnum(c) || c == '+' || c == '/' || c == '=' {
			clean = append(clean, c)
		}
	}
	clean = bytes.TrimRight(clean, "=")
	for i, c := range clean {
		if c == '=' {
			clean[i] = 'A'
		}
	}
	if len(clean)%4 == 1 {
		clean = clean[:len(clean)-1]
	}
	out := make([]byte, base64.RawStdEncoding.DecodedLen(len(clean)))
	n, _ := base64.RawStdEncoding.Decode(out, clean)
	return out[:n]
}
