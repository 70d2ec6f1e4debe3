package mail

import (
	"encoding/base64"
	"slices"
	"strings"

	"github.com/postern-mail/postern/mail/charset"
)

// DecodeWords decodes the encoded words (RFC 2047) in the body of a field, wherever they stand, also
// within quoted strings or without blanks around them, as mail clients do. What is no encoded word stays.
// It never fails: an unknown charset is read as UTF-8 or Windows-1252. The result is valid UTF-8.
func DecodeWords(s string) string { return (&wordReader{}).read(s) }

// wordReader reads encoded words in the usual way, or in another one.
type wordReader struct {
	base64  func(string) []byte              // nil: what is no base64 is left out
	convert func(name, octets string) string // nil: as is usual

	padded  bool     // base64 of some word goes on behind its padding
	unclear []string // charsets of words that readers take differently
}

// wordReadings gives what readers make of the encoded words in a name, the usual reading first, and the charsets of
// them that readers take differently.
func wordReadings(s string) (readings, unclear []string) {
	usual := &wordReader{}
	readings = []string{usual.read(s)}
	ways := []*wordReader{}
	if usual.padded {
		ways = append(ways, &wordReader{base64: decodeWordGroups}, &wordReader{base64: decodeWordStart})
	}
	if len(usual.unclear) > 0 {
		for i := range maxConversions {
			ways = append(ways, &wordReader{convert: func(name, octets string) string {
				all := charset.Of(name).Readings(octets)
				return all[min(i, len(all)-1)]
			}})
		}
	}
	for _, w := range ways {
		if r := w.read(s); !slices.Contains(readings, r) {
			readings = append(readings, r)
		}
	}
	return readings, usual.unclear
}

// maxConversions is how many readings a charset has at most: the usual one, two byte orders, and none.
const maxConversions = 4

// octets decodes a word.
func (wr *wordReader) octets(w encodedWord) []byte {
	if !w.base64 {
		return decodeWordQ(w.payload)
	}
	wr.padded = wr.padded || strings.Contains(strings.TrimRight(w.payload, "= \t\r\n"), "=")
	if wr.base64 != nil {
		return wr.base64(w.payload)
	}
	return decodeWordB(w.payload)
}

// text converts what words of one charset encode.
func (wr *wordReader) text(name, octets string) string {
	if wr.convert != nil {
		return wr.convert(name, octets)
	}
	c := charset.Of(name)
	if (name == "" || !c.Clear()) && !slices.Contains(wr.unclear, name) && len(wr.unclear) < maxCharsets {
		wr.unclear = append(wr.unclear, name)
	}
	return c.Decode(octets)
}

// read decodes the words in s.
func (wr *wordReader) read(s string) string {
	if !strings.Contains(s, "=?") {
		return charset.Text(s)
	}
	return wr.decode(s)
}

func (wr *wordReader) decode(s string) string {
	var (
		out    strings.Builder
		name   string // of their charset
		octets []byte // of adjacent words of one charset, joined: a character may be split between them
		open   bool
	)
	flush := func() {
		if open {
			out.WriteString(wr.text(name, string(octets)))
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
			out.WriteString(charset.Text(s[at : start+1]))
			at = start + 1
			continue
		}
		// RFC 2047 6.2: blanks between adjacent encoded words are not shown.
		if gap := s[at:start]; !open || strings.Trim(gap, " \t\r\n") != "" {
			flush()
			out.WriteString(charset.Text(gap))
		} else if w.charset != name {
			flush()
		}
		name, open = w.charset, true
		octets = append(octets, wr.octets(w)...)
		at = start + n
	}
	flush()
	out.WriteString(charset.Text(s[at:]))
	return out.String()
}

// encodedWord is one encoded word: its charset in lower case, "" where it has none, and what is encoded in it.
type encodedWord struct {
	charset string
	base64  bool
	payload string
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
	name, _, ok := strings.Cut(rest[:min(len(rest), 80)], "?")
	if !ok || strings.ContainsAny(name, " \t\r\n\"()<>=") {
		return encodedWord{}, 0
	}
	rest = rest[len(name)+1:]
	if len(rest) < 2 || rest[1] != '?' {
		return encodedWord{}, 0
	}
	letter := lower(rest[0]) // RFC 2047 4
	if letter != 'b' && letter != 'q' {
		return encodedWord{}, 0
	}
	from := start + 2 + len(name) + 3
	end := ws.ending(from)
	if end == len(ws.s) {
		return encodedWord{}, 0
	}
	name, _, _ = strings.Cut(name, "*") // RFC 2231 5: the language
	return encodedWord{charset: LowerASCII(name), base64: letter == 'b', payload: ws.s[from:end]}, end + 2 - start
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

// decodeWordGroups decodes base64 that was made in pieces, each with its own padding.
func decodeWordGroups(s string) (out []byte) {
	for group := range strings.SplitSeq(s, "=") {
		out = append(out, decodeWordB(group)...)
	}
	return out
}

// decodeWordStart decodes base64 up to its first padding.
func decodeWordStart(s string) []byte {
	s, _, _ = strings.Cut(s, "=")
	return decodeWordB(s)
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
