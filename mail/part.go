package mail

import "io"

// Part is one node of the MIME structure (RFC 2045–2049) of a content: offsets into its Blob, and what
// its header says. Parts are immutable once indexed, and valid as long as their Content.
//
// Every part has a path, unique within its tree. The root is "0". The children of a multipart root are
// "1", "2", …; those of a multipart part P are P.1, P.2, …. The single child of a message/rfc822 part P
// is P.0; the children of a multipart P.0 are P.1, P.2, … in the manner of IMAP (RFC 9051 6.4.5), which
// gives the parts of an embedded message the same numbers.
type Part struct {
	Path     string
	Parent   *Part   // nil of the root
	Children []*Part // nil of a leaf
	Header   *Header

	// The part's octets are [Offset, End) of the Blob, its body [BodyOffset, End). End excludes the CRLF
	// before the delimiter line that ends the part: it belongs to that line (RFC 2046 5.1.1).
	Offset, BodyOffset, End int64

	Type        string            // media type "text/plain": lower case; the default where absent or broken
	Types       []string          // every media type that some reading of the header gives, Type first
	Params      map[string]string // of Content-Type: lower-case names, values decoded (RFC 2231); may be nil
	Encoding    string            // Content-Transfer-Encoding in lower case: the one by which the body is decoded; "7bit" where absent
	Disposition string            // lower case: "", "inline", "attachment", …
	Names       []string          // every file name that any reading of the header gives; each once
	OtherNames  []string          // what some readers take for one where there is none
	Defects     []Defect          // departures from the RFCs, in the order they were found

	blob       *Blob
	boundary   string   // of a multipart that was indexed: the first one met, the first reading before
	boundaries []string // what readers make of the boundary parameter, the RFC's reading first
	encodings  []string // what readers make of the encoding; nil where the header has none
	delim      int64    // offset of the delimiter line before a part of a multipart; -1: none
	next       int64    // offset of the line of the parent's boundary that ended it; -1: cut short
	tight      bool     // no CRLF that belongs to a delimiter follows at End
	unended    bool     // its delimiter line has no CRLF: the content ends in it
	closed     bool     // of a multipart: the close delimiter was seen last
	epilogue   int64    // offset behind the last close delimiter; 0 where there is none
}

// IsLeaf reports whether the part has no children: a plain part, or a multipart or message that was not
// or could not be looked into.
func (p *Part) IsLeaf() bool { return len(p.Children) == 0 }

// IsMultipart reports whether the part is a multipart whose parts were found.
func (p *Part) IsMultipart() bool {
	return len(p.Children) > 0 && p.boundary != "" && p.Children[0].delim >= 0
}

// Has reports whether the part has a defect of that kind.
func (p *Part) Has(k DefectKind) bool {
	for _, d := range p.Defects {
		if d.Kind == k {
			return true
		}
	}
	return false
}

// Walk calls f for the part and, where f returns true, for the parts below it, in the order of the
// content.
func (p *Part) Walk(f func(*Part) bool) {
	if !f(p) {
		return
	}
	for _, c := range p.Children {
		c.Walk(f)
	}
}

// RawBody gives the body's octets as they are, undecoded.
func (p *Part) RawBody() *io.SectionReader {
	return io.NewSectionReader(p.blob, p.BodyOffset, p.End-p.BodyOffset)
}

// Preamble gives what stands before the first part of a multipart (RFC 2046 5.1.1), nothing of any other part.
func (p *Part) Preamble() *io.SectionReader {
	end := p.BodyOffset
	if p.IsMultipart() {
		end = max(end, p.Children[0].delim)
	}
	return io.NewSectionReader(p.blob, p.BodyOffset, end-p.BodyOffset)
}

// outsideFrom is where the epilogue begins: behind the first close delimiter, unless parts follow it.
func (p *Part) outsideFrom() int64 { return max(p.epilogue, p.Children[len(p.Children)-1].End) }

// Epilogue gives what stands behind the close delimiter of a multipart, nothing of any other part.
func (p *Part) Epilogue() *io.SectionReader {
	if !p.IsMultipart() || p.epilogue == 0 || !p.closed {
		return io.NewSectionReader(p.blob, p.End, 0)
	}
	from := p.outsideFrom()
	return io.NewSectionReader(p.blob, from, max(0, p.End-from))
}

// Encodings gives the encodings that the readings of the header name; nil where it names none.
func (p *Part) Encodings() []string { return p.encodings }

// Encoded reports whether the body is decoded by Open: by base64, quoted-printable or uuencode.
func (p *Part) Encoded() bool { return !identity(p.Encoding) }

// Open gives the body decoded as mail clients do, by the part's Encoding: what is no base64 is left out,
// a broken quoted-printable escape stays as it is, an unknown encoding is taken for none. It decodes on
// the way and never fails but for errors of the Blob; any number of readers may be open at once.
func (p *Part) Open() io.Reader { return p.Decode() }

func (p *Part) defect(k DefectKind, off int64, detail string) {
	if !p.Has(k) {
		p.Defects = append(p.Defects, Defect{k, off, detail})
	}
}
