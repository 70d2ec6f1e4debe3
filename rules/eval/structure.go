package eval

import (
	"bytes"
	"encoding/base64"
	"iter"
	"mime/quotedprintable"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/postern-mail/postern/mail"
)

// structure is the MIME structure of a message as SpamAssassin reads it. It is not what is delivered or looked for viruses
// by: mail.Part is. Many rules are about the oddities that its reading meets, and their weights were found with it.
type structure struct {
	root *node
	// open counts, for each boundary, openings without an end.
	open map[string]int

	bodyOctets int // of what stands behind the message's header

	missingHeaders     bool // no field stands behind a delimiter line
	missingBlank       bool // no blank line stands between a part's header and body
	manyParts          bool // a multipart has more parts than are read
	epilogue           bool // a text stands behind the last end
	longHeader         bool // a field of the message is longer than is read
	missingHeaderBlank bool // no blank line stands between the message's header and body
}

// node is a part of the structure.
type node struct {
	kind     string // media type
	boundary string
	charset  string
	name     string
	fields   []rawField
	body     []byte // the lines, of a leaf
	children []*node
	parsed   bool // it has children, if only none

	isMessage bool // it is a message, not part of a multipart
}

type rawField struct {
	name  string // lower case
	value string // unfolded, trimmed, encoded words decoded
}

const (
	maxLineOctets  = 2048 // of a line of the body, which is cut there
	maxFieldName   = 256
	maxFieldOctets = 8192
	maxStructure   = 20   // levels
	maxStructured  = 1000 // parts of one multipart
	maxBadFields   = 3    // lines that are no field before a header counts as ended
	maxKeptFields  = 2000 // fields of one part that are kept
	maxNodes       = 5000 // parts of all levels
)

// once computes a value when it is first asked for.
type once[T any] struct {
	sync.Once
	v T
}

func (o *once[T]) get(f func() T) T {
	o.Do(func() { o.v = f() })
	return o.v
}

func (n *node) leaf() bool { return !n.parsed }

// field gives the last field of a name.
func (n *node) field(name string) (string, bool) {
	for _, f := range slices.Backward(n.fields) {
		if f.name == name {
			return f.value, true
		}
	}
	return "", false
}

// all lists the node and the parts below it, in order.
func (n *node) all() iter.Seq[*node] {
	return func(yield func(*node) bool) { n.walk(yield) }
}

func (n *node) walk(yield func(*node) bool) bool {
	if !yield(n) {
		return false
	}
	for _, c := range n.children {
		if !c.walk(yield) {
			return false
		}
	}
	return true
}

// lines gives the lines of a leaf with their line ends. A very long one comes in pieces, each as if it ended in a line end of
// its own, which the length counts.
func (n *node) lines() iter.Seq2[[]byte, int] {
	return func(yield func([]byte, int) bool) {
		for line := range bytes.Lines(n.body) {
			for len(line) > maxLineOctets {
				if !yield(line[:maxLineOctets], maxLineOctets+1) {
					return
				}
				line = line[maxLineOctets:]
			}
			if !yield(line, len(line)) {
				return
			}
		}
	}
}

// task is a node whose body is still to be taken apart.
type task struct {
	n     *node
	body  []byte
	depth int // levels that may still lie below
}

// readStructure reads a message with LF line ends.
func readStructure(full []byte) *structure {
	s := &structure{open: map[string]int{}}
	var body []byte
	s.root, body = s.message(full, true)
	s.bodyOctets = len(body)
	nodes := 1
	for queue := []task{{s.root, body, maxStructure}}; len(queue) > 0; {
		t := queue[0]
		queue = queue[1:]
		n := t.n
		if strings.HasPrefix(n.kind, "multipart/") && n.boundary != "" && t.depth > 0 && nodes < maxNodes {
			parts := s.multipart(n, t.body)
			nodes += len(parts)
			for _, p := range parts {
				queue = append(queue, task{p, p.body, t.depth - 1})
			}
			continue
		}
		s.plain(n, t.body)
		if (n.kind == "message/rfc822" || n.kind == "message/global") && t.depth > 0 && nodes < maxNodes {
			inner := n.decoded()
			if len(inner) == 0 {
				continue
			}
			m, rest := s.message(inner, false)
			n.body, n.parsed, n.children = nil, true, []*node{m}
			nodes++
			queue = append(queue, task{m, rest, t.depth - 1})
		}
	}
	return s
}

var fieldLine = regexp.MustCompile(`^[!-9;-~]+[ \t]*:`)

// isField reports whether a line begins a header field.
func isField(line []byte, blanks bool) bool {
	for i, c := range line {
		switch {
		case c == ':':
			return i > 0
		case blanks && i > 0 && (c == ' ' || c == '\t'):
			return fieldLine.Match(line)
		case c < '!' || c > '~':
			return false
		}
	}
	return false
}

// message reads the header of a message and gives the rest.
func (s *structure) message(full []byte, outer bool) (*node, []byte) {
	n := &node{isMessage: true}
	if bytes.HasPrefix(full, []byte("From ")) { // of a mailbox file
		_, full, _ = bytes.Cut(full, []byte("\n"))
	}
	bad, missing := 0, false
	var current []byte // the field so far
	keep := func() {
		if name, value, ok := bytes.Cut(current, []byte(":")); ok && len(n.fields) < maxKeptFields {
			name = bytes.TrimRight(name, " \t")
			if len(name) > maxFieldName || len(value) > maxFieldOctets {
				s.longHeader = s.longHeader || outer
				name, value = name[:min(len(name), maxFieldName)], value[:min(len(value), maxFieldOctets)]
			}
			n.add(name, value)
		}
		current = nil
	}
	rest := full
header:
	for {
		end := bytes.IndexByte(rest, '\n') + 1
		if end == 0 {
			end = len(rest)
		}
		line := rest[:end]
		switch {
		case len(line) == 0:
			missing = true
			break header
		case line[0] == '\n':
			rest = rest[end:]
			break header
		case line[0] == ' ' || line[0] == '\t':
			if current == nil {
				current = line
			} else {
				current = current[:len(current)+len(line)] // they are neighbours
			}
			rest = rest[end:]
			continue
		case bytes.HasPrefix(line, []byte("--")):
			missing = true
			break header
		case !isField(line, true):
			if bad++; bad > maxBadFields {
				missing = true
				break header
			}
		}
		keep()
		current = line
		rest = rest[end:]
	}
	keep()
	s.missingHeaderBlank = s.missingHeaderBlank || outer && missing
	ct := n.contentType()
	n.kind, n.boundary = ct.kind, ct.boundary
	return n, rest
}

// add keeps a field.
func (n *node) add(name, value []byte) {
	if len(n.fields) >= maxKeptFields {
		return
	}
	v := strings.TrimSpace(unfold(value))
	if strings.Contains(v, "=?") {
		v = mail.DecodeWords(v)
	}
	n.fields = append(n.fields, rawField{strings.ToLower(string(name)), v})
}

// unfold makes one line of a field's body.
func unfold(b []byte) string {
	var out strings.Builder
	out.Grow(len(b))
	for i := 0; i < len(b); i++ {
		if b[i] != '\n' {
			out.WriteByte(b[i])
			continue
		}
		j := i + 1
		for j < len(b) && (b[j] == ' ' || b[j] == '\t') {
			j++
		}
		if j > i+1 {
			out.WriteByte(' ')
			i = j - 1
		}
	}
	return out.String()
}

func (n *node) contentType() contentType {
	v, ok := n.field("content-type")
	return parseContentType(v, ok)
}

// plain settles what a part that is not taken apart is.
func (s *structure) plain(n *node, body []byte) {
	ct := n.contentType()
	if !ct.missing {
		n.kind = ct.kind
		if strings.HasPrefix(ct.kind, "multipart/") && n.boundary == "" {
			n.kind = "text/plain"
		}
	}
	n.charset = ct.charset
	n.name = ct.name
	if d, ok := n.field("content-disposition"); ok {
		if m := dispositionName.FindStringSubmatch(d); m != nil {
			n.name = m[1]
		}
	}
	n.body = body
}

var dispositionName = regexp.MustCompile(`(?is)name=\s*"?([^";]+)"?`)

// delimiter says whether a line is a delimiter line of a boundary, and whether it is the last one.
func delimiter(line []byte, boundary string) (is, last bool) {
	if !bytes.HasPrefix(line, []byte("--")) || len(line) < 2+len(boundary) || string(line[2:2+len(boundary)]) != boundary {
		return false, false
	}
	rest := line[2+len(boundary):]
	if blank(rest) {
		return true, false
	}
	if after, ok := bytes.CutPrefix(rest, []byte("--")); ok && blank(after) {
		return true, true
	}
	return false, false
}

// blank reports whether b is white space.
func blank(b []byte) bool {
	for _, c := range b {
		if !isSpace(c) {
			return false
		}
	}
	return true
}

func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

// decoded gives the body of a leaf decoded.
func (n *node) decoded() []byte {
	enc, _ := n.field("content-transfer-encoding")
	switch strings.ToLower(enc) {
	case "quoted-printable":
		var out bytes.Buffer
		_, _ = out.ReadFrom(quotedprintable.NewReader(bytes.NewReader(n.body))) // as far as it goes
		return bytes.ReplaceAll(out.Bytes(), []byte("\r\n"), []byte("\n"))
	case "base64":
		return bytes.ReplaceAll(decode64(n.body), []byte("\r\n"), []byte("\n"))
	}
	return n.body
}

// decode64 decodes base64, leaving out what is none.
func decode64(b []byte) []byte {
	clean := make([]byte, 0, len(b))
	for _, c := range b {
		switch {
		case c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '+', c == '/':
			clean = append(clean, c)
		}
	}
	if len(clean)%4 == 1 {
		clean = clean[:len(clean)-1] // a lone letter says nothing
	}
	out := make([]byte, base64.RawStdEncoding.DecodedLen(len(clean)))
	k, _ := base64.RawStdEncoding.Decode(out, clean)
	return out[:k]
}
