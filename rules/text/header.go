package text

import (
	"bytes"
	"io"
	"strings"
	"sync"

	"github.com/postern-mail/postern/mail"
)

// heads is what was computed of the header fields and relays: each thing once, on need.
type heads struct {
	parsed  sync.Once
	header  *header
	neared  sync.Once
	nearest *chain // up to the first relay that is not believed
	chained sync.Once
	relays  *Relays
	mu      sync.Mutex
	got     []uint16 // by the id of the selector: 0 where nobody has asked, gotNothing, and above it a place in found
	found   []got
}

// got is what a selector gave.
type got struct {
	values [][]byte // none where it is not there
	joined []byte
}

// The bounds of a header. Those of a name and a value are SpamAssassin's, and so is that of ALL; it has no others.
const (
	maxHeader     = 1 << 20 // octets that are read of a message to find its header
	maxFields     = 20000   // fields that are kept
	maxNameLength = 256
	maxValue      = 8192
	maxAll        = 65536 // octets in ALL
	maxBadLines   = 3     // lines that are no field before the header is taken to be over
)

// header is the header section of a message as SpamAssassin reads it, which is not quite as other programs do: lines that
// are no field are passed over up to a number, and names and values are cut.
type header struct {
	raw    []byte // all lines with LF line ends, the blank line behind them included
	fields []headField
	text   []byte // all fields decoded and unfolded, as Name: value LF

	unclosed bool // no blank line stands between header and body
	mbox     bool // an mbox line stands before it
}

// headField is one field.
type headField struct {
	hash  uint32    // of the name in lower case
	name  []byte    // as written, without blanks before the colon
	raw   [1][]byte // what stands behind the colon, folded as it came, with its line end: the one value of a list
	value [1][]byte // unfolded and decoded, with a line end; name, colon and blank stand before it
	own   bool      // it is no field of the message, but stands for one of ours
}

// readHeader reads the header at the beginning of b, which may have CRLF or LF line ends. What of b is body is not looked at.
func readHeader(b []byte, whole bool, own []byte) *header {
	h := &header{}
	b = h.skipMbox(b)
	bad := 0
	h.unclosed = true
	size := min(len(b), 4096)
	if n := bytes.Index(b[:min(len(b), 1<<14)], []byte("\n\r\n")); n >= 0 {
		size = n + 3
	}
	h.raw = make([]byte, 0, size)
	starts := make([]int, 0, 32) // in h.raw, of the fields
	for len(b) > 0 {
		line, rest, complete := cutLine(b)
		if !complete && !whole {
			break
		}
		if len(line) == 0 && complete {
			h.raw = append(h.raw, '\n')
			h.unclosed = false
			break
		}
		if len(line) > 0 && (line[0] == ' ' || line[0] == '\t') {
			if len(starts) == 0 {
				starts = append(starts, len(h.raw))
			}
		} else {
			if bytes.HasPrefix(line, []byte("--")) {
				break
			}
			if !beginsField(line) {
				if bad++; bad > maxBadLines {
					break
				}
			}
			if len(starts) == maxFields {
				break
			}
			starts = append(starts, len(h.raw))
		}
		h.raw = append(h.raw, line...)
		if complete {
			h.raw = append(h.raw, '\n')
		}
		b = rest
	}
	h.readFields(starts, own)
	return h
}

// skipMbox passes over the line that an mbox file has before a message.
func (h *header) skipMbox(b []byte) []byte {
	rest, ok := bytes.CutPrefix(b, []byte("From"))
	if !ok {
		return b
	}
	n := 0
	for n < len(rest) && isSpace(rest[n]) {
		n++
	}
	if n == 0 || n == 1 && len(rest) > 1 && rest[1] == ':' {
		return b
	}
	h.mbox = true
	_, b, _ = cutLine(b)
	return b
}

// cutLine takes a line off b, without its LF or CRLF; complete tells whether it had one.
func cutLine(b []byte) (line, rest []byte, complete bool) {
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		return b, nil, false
	}
	line, rest = b[:i], b[i+1:]
	if i > 0 && line[i-1] == '\r' {
		line = line[:i-1]
	}
	return line, rest, true
}

// beginsField reports whether a line begins with a field name and a colon, blanks between them allowed.
func beginsField(line []byte) bool {
	i := 0
	for i < len(line) && line[i] > ' ' && line[i] < 0x7f && line[i] != ':' {
		i++
	}
	if i == 0 {
		return false
	}
	for i < len(line) && (line[i] == ' ' || line[i] == '\t') {
		i++
	}
	return i < len(line) && line[i] == ':'
}

// readFields takes the fields apart that begin at starts, and decodes them. Own is a Received field before them.
func (h *header) readFields(starts []int, own []byte) {
	end := len(h.raw)
	if !h.unclosed {
		end-- // the blank line
	}
	h.fields = make([]headField, 0, len(starts))
	h.text = make([]byte, 0, len(h.raw)+len(h.raw)/8+16)
	// In most headers nothing is encoded, nor would be once it is unfolded.
	coded := !plainASCII(h.raw) || bytes.Contains(h.raw, []byte("=?")) || bytes.Contains(h.raw, []byte("=\n?"))
	keep := func(name, raw []byte, own bool) {
		h.text = append(append(h.text, name...), ':', ' ')
		from := len(h.text)
		if coded || own {
			h.text = appendDecoded(h.text, name, raw)
		} else {
			h.text = appendUnfolded(h.text, raw)
		}
		h.text = append(h.text, '\n')
		// Where the text grows beyond its room, the value stays in the old one, in which it is the same.
		value := h.text[from:len(h.text):len(h.text)]
		h.fields = append(h.fields, headField{hash: nameHash(name), name: name, raw: [1][]byte{raw}, value: [1][]byte{value}, own: own})
	}
	if own != nil {
		keep([]byte("Received"), own, true)
	}
	for i, at := range starts {
		to := end
		if i+1 < len(starts) {
			to = starts[i+1]
		}
		name, raw, ok := bytes.Cut(h.raw[at:to], []byte(":"))
		if !ok {
			continue
		}
		name = bytes.TrimRight(name, " \t")
		if len(name) > maxNameLength {
			name = name[:maxNameLength]
		}
		if len(raw) > maxValue {
			raw = raw[:maxValue]
		}
		if Forgeable(string(name)) {
			continue
		}
		keep(name, raw, false)
	}
}

// Forgeable reports whether a field of that name is one of those in which filters tell what they have found. They are not for a message
// to set: no rule sees them but those that look at the header as it came (ALL:raw, full), as in SpamAssassin.
func Forgeable(name string) bool {
	const prefix = "X-Spam-"
	return len(name) >= len(prefix) && strings.EqualFold(name[:len(prefix)], prefix)
}

// is reports whether the field has that name, given in lower case with its hash.
func (f *headField) is(low string, hash uint32) bool {
	if f.hash != hash || len(f.name) != len(low) {
		return false
	}
	for i, c := range f.name {
		if lower(c) != low[i] {
			return false
		}
	}
	return true
}

// all gives ALL: every field decoded and unfolded, as far as its bound goes. Beyond that SpamAssassin takes the fields name
// by name, in the order of their first.
func (h *header) all() []byte {
	if len(h.text) <= maxAll {
		return h.text
	}
	var (
		size  int
		taken = make([]bool, len(h.fields))
		done  = make(map[string]bool)
	)
pick:
	for i := range h.fields {
		low := string(bytes.ToLower(h.fields[i].name))
		if done[low] {
			continue
		}
		done[low] = true
		for j := i; j < len(h.fields); j++ {
			f := &h.fields[j]
			if !f.is(low, h.fields[i].hash) {
				continue
			}
			if size += len(f.name) + len(": ") + len(f.value[0]); size > maxAll {
				break pick
			}
			taken[j] = true
		}
	}
	out := make([]byte, 0, maxAll)
	for i := range h.fields {
		if taken[i] {
			f := &h.fields[i]
			out = append(append(append(out, f.name...), ": "...), f.value[0]...)
		}
	}
	return out
}

// readHead gives the header, which is read on the first call.
func (m *Message) readHead() *header {
	m.heads.parsed.Do(func() {
		m.heads.header = m.findHeader(m.content)
	})
	return m.heads.header
}

func (m *Message) findHeader(c *mail.Content) *header {
	blob := c.Blob()
	if b, ok := blob.Bytes(); ok {
		return readHeader(b[:min(len(b), maxHeader)], len(b) <= maxHeader, m.opt.receivedField())
	}
	b := make([]byte, min(blob.Size(), maxHeader))
	n, err := blob.ReadAt(b, 0)
	if err != nil && err != io.EOF { //nolint:errorlint // of an io.ReaderAt
		m.fail(err)
	}
	return readHeader(b[:n], int64(n) == blob.Size(), m.opt.receivedField())
}

// isSpace reports whether c is white space to Perl's \s.
func isSpace(c byte) bool {
	return c == ' ' || '\t' <= c && c <= '\r'
}
