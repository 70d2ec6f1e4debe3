package markup

import (
	"bytes"
	"io"
	"regexp"
	"slices"
	"unicode/utf8"
)

// Bounds of the literals that are decoded.
const (
	minLiteral = 100 // characters of base64 or hexadecimal digits
	minNumbers = 32  // numbers of an array of octets
	minEscapes = 16  // escapes of a string
)

// literals looks for encoded contents in a text; in script, also for strings full of escapes and for arrays of octets.
func (w *walker) literals(text []byte, script bool) error {
	if len(text) < minNumbers {
		return nil
	}
	backwards := script && bytes.Contains(text, []byte("reverse("))
	round := 0
	for i := 0; i < len(text); {
		if base64Value[text[i]] > 63 {
			i++
			continue
		}
		if round++; round%4096 == 0 {
			if err := w.ctx.Err(); err != nil {
				return err
			}
		}
		start := i
		pieces, next := joined(text, i)
		i = next
		total := 0
		for _, p := range pieces {
			total += len(p)
		}
		if total < minLiteral || !beginsLiteral(text, start) || w.contents+len(w.pending) > maxContents {
			continue
		}
		if w.seen(pieces...) {
			continue
		}
		w.literal(bytes.Join(pieces, nil), backwards || start > 0 && text[start-1] == '=')
	}
	if script {
		w.numbers(text)
		w.escapes(text)
	}
	if len(w.pending) > maxContents {
		w.pending = w.pending[:maxContents+1] // the one too many gives the sign
	}
	return nil
}

// beginsLiteral reports whether a literal may begin here: in a URL or a name none does.
func beginsLiteral(text []byte, at int) bool {
	if at == 0 {
		return true
	}
	switch text[at-1] {
	case '"', '\'', '`', '>', ' ', '\t', '\r', '\n', '(', ',', ';', '|', '~', '[', ']':
		return true
	case '=':
		// Padding that stands before, where the whole is written backwards.
		return at == 1 || bytes.IndexByte([]byte("\"'`="), text[at-2]) >= 0
	}
	return false
}

// joiner joins two parts of a string of a script, from the quote that ends one to that which begins the next.
var joiner = regexp.MustCompile("^[\"'`]\\s*(?:\\)?\\s*\\+\\s*\\(?\\s*|\\)?\\s*\\.concat\\(\\s*|,\\s*|" +
	"\\)?;?\\s*[\\w.$]{1,64}\\s*(?:\\+=|=\\s*[\\w.$]{1,64}\\s*\\+)\\s*)[\"'`]")

// joined gives the parts of a literal that begins at i, and where it ends.
func joined(text []byte, i int) (pieces [][]byte, next int) {
	for {
		j := i
		for j < len(text) && base64Value[text[j]] < 64 {
			j++
		}
		for j < len(text) && j > i && text[j] == '=' {
			j++
		}
		pieces = append(pieces, text[i:j])
		k := joint(text, j, j-i)
		if k < 0 || k >= len(text) || base64Value[text[k]] > 63 {
			return pieces, max(j, i+1)
		}
		i = k
	}
}

// joint gives where a literal goes on that is interrupted at j, -1 where it does not. Its last part had n characters.
func joint(text []byte, j, n int) int {
	if j >= len(text) {
		return -1
	}
	switch c := text[j]; c {
	case '\\':
		if j+1 < len(text) && bytes.IndexByte([]byte("nrt\r\n"), text[j+1]) >= 0 {
			for j+1 < len(text) && text[j] == '\\' && bytes.IndexByte([]byte("nrt\r\n"), text[j+1]) >= 0 {
				j += 2
			}
			if text[j-1] == '\r' && j < len(text) && text[j] == '\n' {
				j++
			}
			return j
		}
	case '\r', '\n':
		if n >= 40 {
			for j < len(text) && (text[j] == ' ' || text[j] == '\t' || text[j] == '\r' || text[j] == '\n') {
				j++
			}
			return j
		}
	case '"', '\'', '`':
		p := j + 1
		for p < len(text) && p < j+64 && (text[p] == ' ' || text[p] == '\t' || text[p] == '\r' || text[p] == '\n') {
			p++
		}
		if p == len(text) || text[p] == ',' && n < 16 || bytes.IndexByte([]byte("\"'`:?]}&|=<>/"), text[p]) >= 0 {
			return -1
		}
		if m := joiner.Find(text[j:min(len(text), j+256)]); m != nil {
			return j + len(m)
		}
	}
	return -1
}

// literal remembers the content of a literal.
func (w *walker) literal(data []byte, backwards bool) {
	trimmed := bytes.TrimRight(data, "=")
	hex, letters := true, [256]bool{}
	distinct := 0
	for i, c := range trimmed {
		if hex = hex && hexDigit(c) >= 0; !hex && i > 4096 {
			break
		}
		if !letters[c] {
			letters[c] = true
			distinct++
		}
	}
	switch {
	case distinct < 4:
		return
	case hex:
		if backwards {
			w.pending = append(w.pending, content{open: octetsOf(fromHex(reversed(trimmed)))})
		}
		w.pending = append(w.pending, content{open: octetsOf(fromHex(trimmed))})
		return
	case distinct < 8:
		return
	}
	w.nested(base64Of(data))
	if backwards {
		w.nested(base64Of(reversed(data)))
	}
}

// nested remembers a content, and what it encodes in turn.
func (w *walker) nested(open func() io.Reader) {
	for range 3 {
		w.pending = append(w.pending, content{open: open})
		head := make([]byte, 512)
		n, _ := io.ReadFull(open(), head)
		if n < 64 {
			return
		}
		for _, c := range head[:n] {
			if base64Value[c] > 63 && c != '=' && c != '\r' && c != '\n' {
				return
			}
		}
		outer := open
		open = func() io.Reader { return newBase64(outer()) }
	}
}

// numbers looks for arrays of octets: [77, 90, 0x90, …].
func (w *walker) numbers(text []byte) {
	var octets []byte
	flush := func() {
		if len(octets) >= minNumbers && !w.seen([]byte("numbers"), octets) && len(w.pending) <= maxContents {
			w.pending = append(w.pending, content{open: octetsOf(slices.Clone(octets))})
		}
		octets = octets[:0]
	}
	for i := 0; i < len(text); {
		c := text[i]
		if c < '0' || c > '9' || i > 0 && isWord(text[i-1]) {
			if bytes.IndexByte([]byte(", \t\r\n-\"'+"), c) < 0 {
				flush()
			}
			i++
			continue
		}
		n, next := number(text, i)
		negative := i > 0 && text[i-1] == '-'
		switch {
		case negative && n <= 128:
			octets = append(octets, byte(-n))
		case !negative && n <= 255:
			octets = append(octets, byte(n))
		default:
			flush()
		}
		i = next
	}
	flush()
}

func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '$' || c == '.'
}

// number reads a number; one that is none of an octet is 256 or more.
func number(text []byte, i int) (n, next int) {
	if text[i] == '0' && i+1 < len(text) && text[i+1]|0x20 == 'x' {
		i += 2
		for i < len(text) && hexDigit(text[i]) >= 0 {
			n = min(n<<4|hexDigit(text[i]), 4096)
			i++
		}
	} else {
		for i < len(text) && text[i] >= '0' && text[i] <= '9' {
			n = min(n*10+int(text[i]-'0'), 4096)
			i++
		}
	}
	if i < len(text) && isWord(text[i]) {
		n = 4096
	}
	return n, i
}

// escapes looks for strings that are full of escapes.
func (w *walker) escapes(text []byte) {
	var never [256]int // up to where a quote is known not to close
	for i := 0; i < len(text); i++ {
		q := text[i]
		if q != '"' && q != '\'' && q != '`' || i < never[q] {
			continue
		}
		j := i + 1
		for j < len(text) && text[j] != q && (q == '`' || text[j] != '\n') {
			if text[j] == '\\' {
				j++
			}
			j++
		}
		if j >= len(text) || text[j] != q {
			never[q] = j
			continue
		}
		s := text[i+1 : j]
		i = j
		if bytes.IndexByte(s, '\\') < 0 && bytes.IndexByte(s, '%') < 0 || len(w.pending) > maxContents {
			continue
		}
		if u := unescapeScript(string(s)); u.escapes >= minEscapes && !w.seen([]byte("escapes"), s) {
			w.pending = append(w.pending, content{open: octetsOf([]byte(u.text))})
		}
	}
}

// unescaped is a string without its escapes, and how many there were.
type unescaped struct {
	text    string
	escapes int
}

// unescapeScript decodes the escapes of strings and those of the function unescape (ECMAScript 12.9.4, B.2.1).
func unescapeScript(s string) unescaped {
	var u unescaped
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); {
		digits := 0
		skip := 2
		switch {
		case i+1 >= len(s):
		case s[i] == '\\' && s[i+1] == 'x':
			digits = 2
		case s[i] == '\\' && s[i+1] == 'u', s[i] == '%' && s[i+1] == 'u':
			digits = 4
		case s[i] == '%':
			digits, skip = 2, 1
		}
		if v, ok := hexNumber(s, i+skip, digits); ok {
			u.escapes++
			i += skip + digits
			if v < 256 {
				out = append(out, byte(v))
			} else {
				out = utf8.AppendRune(out, rune(v))
			}
			continue
		}
		if s[i] == '\\' && i+1 < len(s) {
			i++
			if n := octal(s[i:]); n > 0 {
				v := 0
				for _, c := range []byte(s[i : i+n]) {
					v = v<<3 | int(c-'0')
				}
				out = append(out, byte(v))
				u.escapes++
				i += n
				continue
			}
			if c := bytes.IndexByte([]byte("nrtbfv"), s[i]); c >= 0 {
				out = append(out, "\n\r\t\b\f\v"[c])
				i++
				continue
			}
		}
		out = append(out, s[i])
		i++
	}
	u.text = string(out)
	return u
}

func hexNumber(s string, at, digits int) (v int, ok bool) {
	if digits == 0 || at+digits > len(s) {
		return 0, false
	}
	for i := at; i < at+digits; i++ {
		d := hexDigit(s[i])
		if d < 0 {
			return 0, false
		}
		v = v<<4 | d
	}
	return v, true
}

// octal gives how many digits an octal escape has that s begins with.
func octal(s string) int {
	n := 0
	for n < len(s) && n < 3 && s[n] >= '0' && s[n] <= '7' {
		n++
	}
	if n == 3 && s[0] > '3' {
		return 2
	}
	return n
}
