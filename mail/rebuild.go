package mail

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// How a part is serialised anew. What was understood of it is written in the one form that every reader takes
// alike: a header with one Content-Type, encoding and disposition of plain tokens and one file name, delimiter lines
// of a boundary that stands nowhere in the content, nothing before the first part or behind the last, and a body in
// base64 wherever its encoding was in doubt. Fields that say nothing about content stay as they came, but for what
// is wrong with their form: a line that is no field goes, for it has no meaning that all readers share.
//
// Only parts that are ambiguous themselves are serialised anew. Those around and inside them keep their octets.

// needsRebuild reports whether the part itself, not what is inside, has more than one reading.
func (p *Part) needsRebuild() (bool, error) {
	if p.unended {
		return false, nil // there is nothing of it
	}
	if p.Ambiguity() != "" {
		return true, nil
	}
	if !p.IsLeaf() || identity(p.Encoding) {
		return false, nil
	}
	d := p.Decode()
	if _, err := io.Copy(io.Discard, d); err != nil {
		return false, err
	}
	return p.BodyAmbiguity(d) != "", nil
}

// rebuildPart serialises a part anew, and goes on with what is in it.
func (r *rewriter) rebuildPart(p *Part) error {
	var body splice
	if p.IsLeaf() {
		var err error
		if body, err = r.rebuildBody(p); err != nil {
			return err
		}
	}
	r.rebuildHeader(p, body.encoding)
	switch {
	case p.IsMultipart():
		return r.rebuildMultipart(p)
	case p.IsLeaf():
		if body.encoding == "" {
			return nil // it stays
		}
		r.splices = append(r.splices, body)
		return nil
	}
	for _, c := range p.Children {
		if err := r.spliceParts(c); err != nil {
			return err
		}
	}
	return nil
}

// rebuildHeader writes the header anew; encoding is that of the new body, "" where the body stays.
func (r *rewriter) rebuildHeader(p *Part, encoding string) {
	fields := r.contentFields(p, encoding)
	if p.Parent == nil || isEmbedded(p.Parent.Type) {
		fields = "MIME-Version: 1.0\r\n" + fields // RFC 2045 4
	}
	last, ended := p.Offset, true
	for i, f := range p.Header.fields {
		end := f.Offset + int64(len(f.Raw))
		last = end
		replaced := contentType(f.Name)
		if _, edited := r.fields[i]; edited && p.Parent == nil && !replaced {
			continue
		}
		data := mendField(f, i)
		if replaced {
			data, fields = fields, ""
		}
		ended = data == "" && ended || strings.HasSuffix(data, "\r\n")
		if data != f.Raw {
			r.splices = append(r.splices, splice{off: f.Offset, end: end, data: []byte(data)})
		}
	}
	if !ended {
		fields = "\r\n" + fields
	}
	r.splices = append(r.splices, splice{off: last, end: p.BodyOffset, data: []byte(fields + "\r\n")})
}

// contentType reports whether a field is one of those that say how a part is to be read.
func contentType(name string) bool {
	return equalFold(name, "Content-Type") || equalFold(name, "Content-Transfer-Encoding") ||
		equalFold(name, "Content-Disposition") || equalFold(name, "MIME-Version")
}

// mendField gives a field in a form that all readers take for a field, and "" for a line that is none. An mbox line
// at the top stays.
func mendField(f Field, i int) string {
	if f.Name == "" {
		if i == 0 && isMboxFrom([]byte(f.Raw)) {
			return f.Raw
		}
		return ""
	}
	_, body, _ := strings.Cut(f.Raw, ":")
	if len(f.Raw) == len(f.Name)+1+len(body) && !hasBlankFold(f.Raw) && !hidesField(f.Raw) {
		return f.Raw
	}
	var b strings.Builder
	b.WriteString(f.Name + ":")
	for i, line := range strings.SplitAfter(body, "\n") {
		switch _, hidden := hiddenField(line); {
		case i > 0 && trimLine(line) == "":
		case i > 0 && hidden:
			// Unfolded, it is text of the field to every reader.
			unfolded := strings.TrimSuffix(b.String(), "\r\n")
			b.Reset()
			b.WriteString(unfolded + " " + strings.TrimLeft(line, " \t"))
		default:
			b.WriteString(line)
		}
	}
	return b.String()
}

// hidesField reports whether a folded line of a field looks like a field about content.
func hidesField(raw string) bool {
	_, rest, _ := strings.Cut(raw, "\n")
	for line := range strings.Lines(rest) {
		if _, ok := hiddenField(line); ok {
			return true
		}
	}
	return false
}

// contentFields gives the fields that say how the part is to be read, as what it was understood to be.
func (r *rewriter) contentFields(p *Part, encoding string) string {
	var b strings.Builder
	b.WriteString("Content-Type: ")
	b.WriteString(p.rebuiltType())
	if p.IsMultipart() {
		fmt.Fprintf(&b, ";\r\n\tboundary=\"%s\"", r.newBoundary(p))
	}
	for _, name := range keptParams {
		if v, ok := p.Params[name]; ok && keptValue(v) {
			fmt.Fprintf(&b, ";\r\n\t%s=\"%s\"", name, v)
		}
	}
	b.WriteString("\r\n")
	if encoding == "" && p.IsLeaf() && len(p.encodings) > 0 {
		encoding = p.Encoding
	}
	if encoding != "" {
		b.WriteString("Content-Transfer-Encoding: " + encoding + "\r\n")
	}
	name := ""
	if len(p.Names) > 0 {
		name = p.Names[0]
	}
	if p.Disposition == "" && name == "" || p.IsMultipart() {
		return b.String()
	}
	disposition := "attachment"
	if p.Disposition == "inline" {
		disposition = "inline"
	}
	b.WriteString("Content-Disposition: " + disposition)
	if name != "" {
		b.WriteString(";\r\n\t" + nameParameter(name))
	}
	b.WriteString("\r\n")
	return b.String()
}

// keptParams are the parameters of a Content-Type that are carried over, in this order.
var keptParams = []string{"charset", "format", "delsp", "type", "start", "report-type", "protocol", "micalg", "method", "component", "smime-type"}

// keptValue reports whether a value can stand in a quoted string that no reader takes apart.
func keptValue(v string) bool {
	return v != "" && len(v) <= 200 && !strings.ContainsAny(v, "\"\\()<>;,=?*'%") && !strings.ContainsFunc(v, foreign)
}

// rebuiltType gives the type of the part. What is no container in any reading that was followed is written as none.
func (p *Part) rebuiltType() string {
	switch {
	case p.IsMultipart() && !isMultipart(p.Type):
		return "multipart/mixed"
	case p.IsMultipart():
		return p.Type
	case isMultipart(p.Type):
		return "text/plain"
	case isEmbedded(p.Type) && p.IsLeaf():
		return "application/octet-stream"
	}
	return p.Type
}

// nameParameter gives a filename parameter in the one form that is needed: plain, or RFC 2231 for what is not ASCII.
func nameParameter(name string) string {
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || strings.ContainsRune(`"\/:*?<>|`, r) {
			return '_'
		}
		return r
	}, name)
	if len(name) > 200 {
		name = name[len(name)-200:]
		for len(name) > 0 && !utf8.RuneStart(name[0]) {
			name = name[1:]
		}
	}
	if !strings.ContainsFunc(name, foreign) && !strings.Contains(name, "=?") && !strings.ContainsAny(name, "%'") {
		return `filename="` + name + `"`
	}
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	b.WriteString("filename*=utf-8''")
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '-', c == '_':
			b.WriteByte(c)
		default:
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}

// newBoundary gives the boundary that a part gets. "=_" stands in no base64 and no quoted-printable (RFC 2045 6.7), and
// nobody can guess the rest.
func (r *rewriter) newBoundary(p *Part) string {
	if r.secret == "" {
		r.secret = rand.Text()
	}
	return fmt.Sprintf("=_%s.%08x", r.secret, p.Offset)
}

// rebuildMultipart writes the delimiter lines anew, and drops what lies outside of the parts.
func (r *rewriter) rebuildMultipart(p *Part) error {
	line := "--" + r.newBoundary(p)
	at, kept := p.BodyOffset, 0
	for i, c := range p.Children {
		e, edited := r.parts[c]
		if edited && e == nil && (kept > 0 || i < len(p.Children)-1) {
			continue // it goes, with all up to the next one
		}
		data := line + "\r\n"
		if kept > 0 {
			data = "\r\n" + data
		}
		kept++
		r.splices = append(r.splices, splice{off: at, end: c.Offset, data: []byte(data)})
		var err error
		switch {
		case edited && e == nil:
			err = r.replaceChild(c, emptyText(c.Path))
		case edited:
			err = r.replaceChild(c, e)
		default:
			err = r.spliceParts(c)
		}
		if err != nil {
			return err
		}
		at = c.End
	}
	data := "\r\n" + line + "--"
	if p.tight {
		data += "\r\n"
	}
	r.splices = append(r.splices, splice{off: at, end: p.End, data: []byte(data)})
	return nil
}

// rebuildBody gives the body of a leaf in base64, where it can't stay as it is.
func (r *rewriter) rebuildBody(p *Part) (splice, error) {
	d := p.Decode()
	stays := true
	for _, k := range p.Defects {
		switch k.Kind {
		case HeaderInBody, NoBlankLine, UnknownEncoding, NoParts, NoBoundary, EncodedMessage, EncodedMultipart:
			stays = false
		}
	}
	if stays && identity(p.Encoding) {
		return splice{}, nil
	}
	g := NewIngest(IngestOptions{})
	w := &base64Lines{w: g}
	if _, err := io.Copy(w, d); err != nil {
		g.Abort()
		return splice{}, err
	}
	if stays && d.Malformed() == "" && (p.Encoding == "base64" || p.Encoding == "quoted-printable") {
		g.Abort()
		return splice{}, nil
	}
	w.Close()
	blob, _, err := g.Blob()
	if err != nil {
		return splice{}, err
	}
	r.blobs = append(r.blobs, blob)
	return splice{off: p.BodyOffset, end: p.End, blob: blob, encoding: "base64"}, nil
}

// base64Lines writes base64 in lines of 76 characters (RFC 2045 6.8), with CRLF between them.
type base64Lines struct {
	w    io.Writer
	left []byte // fewer octets than a line takes
	out  []byte
	err  error
}

// lineOctets is how many octets a line of base64 holds.
const lineOctets = 57

// Write implements io.Writer.
func (b *base64Lines) Write(p []byte) (int, error) {
	n := len(p)
	if len(b.left) > 0 {
		k := min(len(p), lineOctets-len(b.left))
		b.left = append(b.left, p[:k]...)
		if p = p[k:]; len(b.left) < lineOctets {
			return n, b.err
		}
		b.lines(b.left)
		b.left = b.left[:0]
	}
	whole := len(p) / lineOctets * lineOctets
	b.lines(p[:whole])
	b.left = append(b.left, p[whole:]...)
	return n, b.err
}

func (b *base64Lines) lines(p []byte) {
	b.out = b.out[:0]
	for line := range slices.Chunk(p, lineOctets) {
		b.out = append(base64.StdEncoding.AppendEncode(b.out, line), '\r', '\n')
	}
	if b.err == nil && len(b.out) > 0 {
		_, b.err = b.w.Write(b.out)
	}
}

// Close writes what is left. The error of writing is that of the writer, which keeps it.
func (b *base64Lines) Close() {
	b.lines(b.left)
	b.left = nil
}
