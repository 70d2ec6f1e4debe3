package mail

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
)

// spliceParts goes through the tree from p on, not into parts that go.
func (r *rewriter) spliceParts(p *Part) error {
	if e, ok := r.parts[p]; ok {
		if e == nil {
			e = emptyText(p.Path)
		}
		if p.Parent != nil && p.Parent.IsMultipart() {
			return r.replaceChild(p, e)
		}
		return r.replaceMessage(p, e)
	}
	if all := r.appends[p]; len(all) > 0 {
		if err := r.appendParts(p, all); err != nil {
			return err
		}
	}
	if r.rebuild {
		anew, err := p.needsRebuild()
		if err != nil {
			return err
		}
		if anew {
			return r.rebuildPart(p)
		}
	}
	first, gone := len(r.splices), 0
	if r.outside[p] {
		r.removeOutside(p)
	}
	for _, c := range p.Children {
		if e, ok := r.parts[c]; ok && e == nil {
			gone++
		}
	}
	for _, c := range p.Children {
		e, ok := r.parts[c]
		var err error
		switch {
		case ok && e == nil && p.IsMultipart() && gone < len(p.Children):
			r.removeChild(c)
		case ok && e == nil && p.IsMultipart():
			// RFC 2046 5.1.1: a multipart has at least one part. Its first becomes an empty text.
			err = r.replaceChild(c, emptyText(c.Path))
			gone--
		default:
			err = r.spliceParts(c)
		}
		if err != nil {
			return err
		}
	}
	if len(r.splices) > first && !p.Header.blank && (p.Parent != nil || !r.blank) {
		r.splices = slices.Insert(r.splices, first, missingBlank(p.Header, p.BodyOffset))
	}
	return nil
}

// missingBlank is the blank line that a header lacks, before the body at at. It is put in where something in
// the body changes: the blank line of a new part would else be taken for the one that ends the header.
func missingBlank(h *Header, at int64) splice {
	data := dashLine[:2]
	if n := len(h.fields); n > 0 && !strings.HasSuffix(h.fields[n-1].Raw, "\r\n") {
		data = []byte("\r\n\r\n")
	}
	return splice{off: at, end: at, data: data}
}

// appendParts puts a multipart/mixed around p, with other parts behind it.
func (r *rewriter) appendParts(p *Part, all []AppendPart) error {
	boundary := r.newBoundary(p) + ".m"
	r.splices = append(r.splices, splice{off: p.Offset, end: p.Offset, data: []byte("Content-Type: multipart/mixed;\r\n\tboundary=\"" + boundary + "\"\r\n\r\n--" + boundary + "\r\n")})
	if p.Parent.Type == "multipart/digest" && p.Header.Count("Content-Type") == 0 {
		// RFC 2046 5.1.5: what is a message by default in there is a text elsewhere.
		s := &r.splices[len(r.splices)-1]
		s.data = append(s.data, "Content-Type: message/rfc822\r\n"...)
	}
	var data []byte
	for _, e := range all {
		g, err := guard(p, &ReplacePart{Path: e.Path, Header: e.Header, Body: e.Body})
		if err != nil {
			return err
		}
		data = append(data, "\r\n--"+boundary+"\r\n"...)
		for _, f := range g.Header {
			data = appendField(data, f.Name, f.Body)
		}
		data = append(append(data, '\r', '\n'), g.Body...)
	}
	data = append(data, "\r\n--"+boundary+"--"...)
	if p.tight {
		data = append(data, '\r', '\n')
	}
	r.splices = append(r.splices, splice{off: p.End, end: p.End, data: data})
	return nil
}

// removeOutside removes preamble and epilogue of a multipart.
func (r *rewriter) removeOutside(p *Part) {
	if n := p.Preamble().Size(); n > 0 {
		r.splices = append(r.splices, splice{off: p.BodyOffset, end: p.BodyOffset + n})
	}
	if n := p.Epilogue().Size(); n > 0 {
		r.splices = append(r.splices, splice{off: p.End - n, end: p.End})
	}
}

func emptyText(path string) *ReplacePart {
	return &ReplacePart{Path: path, Header: []AddField{{"Content-Type", "text/plain; charset=us-ascii"}}}
}

// removeChild removes a part of a multipart with the delimiter line before it.
func (r *rewriter) removeChild(p *Part) {
	s := splice{off: p.delim, end: p.next}
	if p.next < 0 {
		s.end = p.End
		s.data = append([]byte("--"+p.Parent.boundary), "--"...)
		if p.tight {
			s.data = append(s.data, '\r', '\n')
		}
	}
	r.splices = append(r.splices, s)
}

// replaceChild puts e in the place of a part of a multipart, between the delimiter lines.
func (r *rewriter) replaceChild(p *Part, e *ReplacePart) error {
	e, err := guard(p, e)
	if err != nil {
		return err
	}
	var data []byte
	if p.unended {
		data = append(data, '\r', '\n')
	}
	for _, f := range e.Header {
		data = appendField(data, f.Name, f.Body)
	}
	r.splices = append(r.splices, splice{off: p.Offset, end: p.End, data: r.ending(p, append(data, '\r', '\n'), e.Body)})
	return nil
}

// replaceMessage puts e in the place of the Content-* fields and the body of the message itself, or of an
// embedded one. An embedded header that was not read to its end goes as a whole.
func (r *rewriter) replaceMessage(p *Part, e *ReplacePart) error {
	e, err := guard(p, e)
	if err != nil {
		return err
	}
	var fields []byte
	for _, f := range e.Header {
		fields = appendField(fields, f.Name, f.Body)
	}
	if len(e.Header) > 0 && p.Header.Count("MIME-Version") == 0 {
		fields = append(fields, "MIME-Version: 1.0\r\n"...) // RFC 2045 4
	}
	if p.Header.Truncated() {
		r.splices = append(r.splices, splice{off: p.Offset, end: p.End, data: r.ending(p, append(fields, '\r', '\n'), e.Body)})
		return nil
	}
	last := p.Offset // where the fields end
	for i, f := range p.Header.Fields() {
		last = f.Offset + int64(len(f.Raw))
		if contentField(f.Name) {
			r.splices = append(r.splices, splice{off: f.Offset, end: last, data: fields})
			fields = nil
		} else if i == len(p.Header.Fields())-1 && !strings.HasSuffix(f.Raw, "\r\n") {
			fields = append([]byte("\r\n"), fields...)
		}
	}
	r.splices = append(r.splices, splice{off: last, end: p.End, data: r.ending(p, append(fields, '\r', '\n'), e.Body)})
	return nil
}

// ending adds a body to a header, and the CRLF that the delimiter line after it needs or the content has
// to end with, where none is left.
func (r *rewriter) ending(p *Part, header, body []byte) []byte {
	data := append(header, body...)
	if p.tight && (p.End < r.c.Blob().Size() || !bytes.HasSuffix(data, dashLine[:2])) {
		data = append(data, '\r', '\n')
	}
	return data
}

// guard sees to it that no line of a new part can be taken for a delimiter line of the multiparts around
// it, not even by readers that compare the beginning only: such a body is put in base64.
func guard(p *Part, e *ReplacePart) (*ReplacePart, error) {
	if !breaksOut(p, e.Body) {
		return e, nil
	}
	g := &ReplacePart{Path: e.Path}
	for _, f := range e.Header {
		if !equalFold(f.Name, "Content-Transfer-Encoding") {
			g.Header = append(g.Header, f)
		} else if !identity(LowerASCII(trimLine(f.Body))) {
			return nil, fmt.Errorf("part %s: a line of the new body is a delimiter line", p.Path)
		}
	}
	g.Header = append(g.Header, AddField{"Content-Transfer-Encoding", "base64"})
	text := base64.StdEncoding.EncodeToString(e.Body)
	for len(text) > 0 {
		n := min(76, len(text)) // RFC 2045 6.8
		g.Body = append(append(g.Body, text[:n]...), '\r', '\n')
		text = text[n:]
	}
	return g, nil
}

func breaksOut(p *Part, body []byte) bool {
	for q := p.Parent; q != nil; q = q.Parent {
		for _, b := range q.boundaries {
			line := append([]byte("\r\n--"), b...)
			if bytes.HasPrefix(body, line[2:]) || bytes.Contains(body, line) {
				return true
			}
		}
	}
	return false
}
