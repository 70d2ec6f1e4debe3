package mail

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
)

// DecodeWords decodes the encoded words (RFC 2047) in the body of a field, wherever they stand, also
// within quoted strings or without blanks around them, as mail clients do. What is no encoded word stays.
// It never fails: an unknown charset is read as UTF-8 or Windows-1252. The result is valid UTF-8.
func DecodeWords(s string) string {
	if !strings.Contains(s, "=?") {
		return text(s)
	}
	var (
		out     strings.Builder
		charset string
		octets  []byte // of adjacent words of one charset, joined: a character may be split between them
		open    bool
	)
	flush := func() {
		if open {
			out.WriteString(decodeCharset(charset, string(octets)))
		}
		octets, open = octets[:0], false
	}
	words := wordScanner{s: s}
	at := 0 // what lies before it is dealt with
	for {
		start := strings.Index(s[at:], "=?")
		if start < 0 {
			break
		}
		start += at
		w, n := words.word(start)
		if n == 0 {
			// Not a word: "=?" is plain text, but the "?" may be the one of a word to come.
			flush()
			out.WriteString(text(s[at : start+1]))
			at = start + 1
			continue
		}
		// RFC 2047 6.2: blanks between adjacent encoded words are not shown.
		if gap := s[at:start]; !open || strings.Trim(gap, " \t\r\n") != "" {
			flush()
			out.WriteString(text(gap))
		} else if w.charset != charset {
			flush()
		}
		charset, open = w.charset, true
		octets = append(octets, w.octets...)
		at = start + n
	}
	flush()
	out.WriteString(text(s[at:]))
	return out.String()
}

// encodedWord is one encoded word: its charset in lower case and the octets it encodes.
type encodedWord struct {
	charset string
	octets  []byte
}

// wordScanner reads the encoded words of s. One "?=" may be the end of many words that begin before it, so
// the one found last is kept: as long as the places asked for ascend, no octet is searched twice.
type wordScanner struct {
	s     string
	end   int // of the "?=" found last, len(s) where there was none; 0 before the first search
	steps int // how many octets were searched
}

// ending gives the offset of the first "?=" at or behind from, which is not 0, and len(s) where there is none.
func (ws *wordScanner) ending(from int) int {
	if from <= ws.end {
		return ws.end
	}
	ws.end = len(ws.s)
	if n := strings.Index(ws.s[from:], "?="); n >= 0 {
		ws.end = from + n
	}
	ws.steps += ws.end - from
	return ws.end
}

// word reads the encoded word at start, where "=?" stands, and gives its length, 0 if there is none.
// RFC 2047 2 allows 75 octets. Any length is read, since clients do: a bound would be a place to hide in.
func (ws *wordScanner) word(start int) (encodedWord, int) {
	rest := ws.s[start+2:]
	charset, _, ok := strings.Cut(rest[:min(len(rest), 80)], "?")
	if !ok || charset == "" || strings.ContainsAny(charset, " \t\r\n\"()<>=") {
		return encodedWord{}, 0
	}
	rest = rest[len(charset)+1:]
	if len(rest) < 2 || rest[1] != '?' {
		return encodedWord{}, 0
	}
	decode := wordDecoder(rest[0])
	if decode == nil {
		return encodedWord{}, 0
	}
	from := start + 2 + len(charset) + 3
	end := ws.ending(from)
	if end == len(ws.s) {
		return encodedWord{}, 0
	}
	charset, _, _ = strings.Cut(charset, "*") // RFC 2231 5: the language
	return encodedWord{charset: lowerASCII(charset), octets: decode(ws.s[from:end])}, end + 2 - start
}

// wordDecoder gives the decoder for the letter of an encoding (RFC 2047 4), nil for any other letter.
func wordDecoder(letter byte) func(string) []byte {
	switch letter {
	case 'B', 'b':
		return decodeWordB
	case 'Q', 'q':
		return decodeWordQ
	}
	return nil
}

// decodeWordB decodes base64 and leaves out what is none.
func decodeWordB(s string) []byte {
	clean := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if base64Value[s[i]] < 64 {
			clean = append(clean, s[i])
		}
	}
	if len(clean)%4 == 1 {
		clean = clean[:len(clean)-1]
	}
	out := make([]byte, base64.RawStdEncoding.DecodedLen(len(clean)))
	n, _ := base64.RawStdEncoding.Decode(out, clean)
	return out[:n]
}

func decodeWordQ(s string) []byte {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '_':
			b = append(b, ' ')
		case c == '=' && i+2 < len(s) && unhex(s[i+1]) < 16 && unhex(s[i+2]) < 16:
			b = append(b, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 2
		default:
			b = append(b, c)
		}
	}
	return b
}

// decodeCharset gives octets in a charset as UTF-8. An unknown charset, or UTF-8 that is none, is read as
// text does.
func decodeCharset(charset, octets string) string {
	switch lowerASCII(charset) {
	case "", "utf-8", "utf8", "us-ascii", "ascii":
		return text(octets)
	}
	enc, err := htmlindex.Get(charset)
	if err != nil {
		return text(octets)
	}
	if name, _ := htmlindex.Name(enc); name == "replacement" {
		// The HTML standard refuses these charsets: their octets are to be seen all the same.
		return text(octets)
	}
	s, err := enc.NewDecoder().String(octets)
	if err != nil {
		return text(octets)
	}
	return s
}

// text gives s if it is valid UTF-8, and else its octets read as Windows-1252, in which each octet is
// something.
func text(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	if d, err := charmap.Windows1252.NewDecoder().String(s); err == nil {
		return d
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
