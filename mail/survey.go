package mail

import (
	"bytes"
	"slices"
)

// What is looked for once the tree is known: text in which other readers find parts.

const (
	outsideLimit  = 1 << 20 // octets of a preamble or epilogue that are looked at
	maxSuspicions = 1000    // places of one boundary that are looked at
)

// survey notes the defects that lie outside of the parts, or in the text of them.
func (x *indexer) survey(root *Part) error {
	var err error
	root.Walk(func(p *Part) bool {
		switch {
		case err != nil:
			return false
		case p.IsMultipart():
			if err = x.boundariesInText(p); err == nil {
				err = x.fieldsOutside(p)
			}
		case p.IsLeaf() && len(p.Header.fields) == 0:
			err = x.headerInBody(p)
		}
		return err == nil
	})
	return err
}

// boundariesInText looks for a boundary of p behind a hyphen, at the beginning of a line or behind another hyphen,
// where no delimiter line was found: readers that search for it rather than for lines, or that pass over blanks,
// would end a part there.
func (x *indexer) boundariesInText(p *Part) error {
	for _, b := range p.boundaries {
		if len(bytes.Trim([]byte(b), "-")) < 3 {
			continue // such as "=": text is full of them
		}
		pattern := append([]byte("-"), b...)
		suspicions := 0
		for at := p.BodyOffset; ; {
			found, err := x.s.find(pattern, at, p.End)
			if err != nil {
				return err
			}
			if found < 0 {
				break
			}
			at = found + int64(len(pattern))
			if x.isDelim(found - 1) {
				continue
			}
			suspicions++
			like, err := x.likeDelimiter(p, found)
			if err != nil {
				return err
			}
			if like || suspicions > maxSuspicions {
				p.defect(BoundaryInText, found, excerpt(b))
				break
			}
		}
	}
	return nil
}

// isDelim reports whether a delimiter line was found at that offset.
func (x *indexer) isDelim(at int64) bool {
	_, ok := slices.BinarySearch(x.delims, at)
	return ok
}

// likeDelimiter reports whether the hyphen at that offset, with a boundary behind it, could be part of a delimiter
// line to some reader. One within a delimiter line of another multipart, or within a header, is none.
func (x *indexer) likeDelimiter(p *Part, at int64) (bool, error) {
	from := max(p.BodyOffset, at-maxBoundary)
	b, err := x.s.peek(from, at-from)
	if err != nil {
		return false, err
	}
	line := b[bytes.LastIndexByte(b, '\n')+1:]
	if x.isDelim(at - int64(len(line))) {
		return false, nil
	}
	if !bytes.HasSuffix(line, dashLine[2:3]) && len(bytes.TrimLeft(line, " \t")) > 0 {
		return false, nil
	}
	return !inHeader(p, at), nil
}

// inHeader reports whether an offset lies in the header of p or of a part below it.
func inHeader(p *Part, at int64) bool {
	for {
		if at < p.BodyOffset {
			return true
		}
		i := slices.IndexFunc(p.Children, func(c *Part) bool { return c.Offset <= at && at < c.End })
		if i < 0 {
			return false
		}
		p = p.Children[i]
	}
}

// fieldsOutside looks for fields of parts in what is no part.
func (x *indexer) fieldsOutside(p *Part) error {
	for _, r := range [][2]int64{{p.BodyOffset, p.Children[0].delim}, {p.outsideFrom(), p.End}} {
		if r[0] >= r[1] || !p.closed && r[1] == p.End {
			continue
		}
		b, err := x.s.peek(r[0], min(r[1]-r[0], outsideLimit))
		if err != nil {
			return err
		}
		for at := r[0]; len(b) > 0; {
			line := cutLine(b)
			if isContentField(line) {
				p.defect(FieldsOutside, at, excerpt(string(line)))
				break
			}
			b, at = b[len(line):], at+int64(len(line))
		}
	}
	return nil
}

// isContentField reports whether a line begins a Content-* field.
func isContentField(line []byte) bool {
	line = bytes.TrimLeft(line, " \t")
	return len(line) > 8 && line[0]|0x20 == 'c' && equalFold(string(line[:8]), "Content-") && bytes.IndexByte(line, ':') > 0
}

// headerInBody looks for a header behind the blank line with which a message or part begins: some readers pass
// over blank lines before a header.
func (x *indexer) headerInBody(p *Part) error {
	b, err := x.s.peek(p.BodyOffset, min(p.End-p.BodyOffset, maxLine))
	if err != nil {
		return err
	}
	b = bytes.TrimLeft(b, "\r\n")
	line := cutLine(b)
	if isContentField(line) || (p.Parent == nil || isEmbedded(p.Parent.Type)) && nameLength(line) > 0 {
		p.defect(HeaderInBody, p.BodyOffset, excerpt(string(line)))
	}
	return nil
}
