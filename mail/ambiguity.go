package mail

import "strings"

// Ambiguity gives the first defect of the part for which two readers may find different things in it, "" for none.
// It speaks of header and structure; BodyAmbiguity speaks of the encoding of the body. Of the parts inside it says
// nothing.
//
// A defect that no reader could be misled by is passed over: in a text of which no reading says that it is encoded
// or holds parts, a broken header line can at worst make text of fields.
func (p *Part) Ambiguity() DefectKind {
	plain := p.plainText()
	for _, d := range p.Defects {
		switch {
		case !d.Kind.Ambiguous():
		case plain && headerSyntax(d.Kind) && (p.Parent == nil || d.Kind != NoBlankLine):
		default:
			return d.Kind
		}
	}
	return ""
}

// BodyAmbiguity gives the defect that d has found in the part's body, which was read to its end, where two decoders
// may make different octets of it; "" for none. A broken escape in a text that is shown, and not saved, stays
// visible in any reading.
func (p *Part) BodyAmbiguity(d *Decoder) DefectKind {
	kind := d.Malformed()
	if kind == BadQuotedPrintable && (p.Type == "text/plain" || p.Type == "text/html") && len(p.Names) == 0 &&
		(p.Disposition == "" || p.Disposition == "inline") && !d.early() {
		return ""
	}
	return kind
}

// headerSyntax reports whether a defect is about the lines of a header.
func headerSyntax(k DefectKind) bool {
	switch k {
	case MalformedField, BlankBeforeColon, BlankFold, NoBlankLine:
		return true
	}
	return false
}

// plainText reports whether the part is a text that is not encoded in any reading of its header: no field of it is
// about content but as text, nor could a broken line be such a field.
func (p *Part) plainText() bool {
	if _, ok := p.Params["boundary"]; ok || !p.IsLeaf() || len(p.Names) > 0 {
		return false
	}
	for _, t := range p.Types {
		if t != "text/plain" && t != "text/html" {
			return false
		}
	}
	for _, e := range p.encodings {
		if !identity(e) {
			return false
		}
	}
	for _, f := range p.Header.fields {
		broken := f.Name == "" || strings.HasSuffix(strings.SplitN(f.Raw, ":", 2)[0], " ") || strings.HasSuffix(strings.SplitN(f.Raw, ":", 2)[0], "\t") || hasBlankFold(f.Raw)
		if broken && strings.Contains(LowerASCII(f.Raw), "content") {
			return false
		}
	}
	return true
}
