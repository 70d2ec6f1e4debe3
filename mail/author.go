package mail

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// AuthorFlaw says why a message has no one author's domain. The words are stable.
type AuthorFlaw string

// The flaws, the gravest first.
const (
	NoFrom          AuthorFlaw = "no-from"          // no From field
	SeveralFrom     AuthorFlaw = "several-from"     // several From fields, or another line that readers may take for one
	MalformedFrom   AuthorFlaw = "malformed-from"   // a From field that programs read in different ways
	SeveralDomains  AuthorFlaw = "several-domains"  // a From field with addresses of several domains
	NoAuthorDomain  AuthorFlaw = "no-domain"        // a From field without an address at a domain
	UnknownFromRest AuthorFlaw = "header-truncated" // the header was not read to its end: another From field may follow
)

// maxAuthorDomains is how many domains of authors are told apart.
const maxAuthorDomains = 8

// Authors is what readers may take for the author of a message (RFC 5322 3.6.2).
type Authors struct {
	Fields  int        // From fields, and lines that some reader takes for one
	Domains []string   // each domain that some reader may find there, A-labels in lower case; at most eight
	More    bool       // there are more domains than that
	Flaw    AuthorFlaw // why there is no one domain; "" where there is
	Detail  string     // what was found, for people; may hold octets of the message
}

// Domain gives the domain that every reader finds, the Author Domain of RFC 9989 3.2.2, and "" where readers may find
// different ones.
func (a Authors) Domain() string {
	if a.Flaw != "" || a.More || len(a.Domains) != 1 {
		return ""
	}
	return a.Domains[0]
}

// ReadAuthors reads the From field as each of the programs behind might: the domain that it gives is one on which they
// all agree, be the field in good order or only harmlessly careless. Where they may not agree, it lists what they
// may find.
func ReadAuthors(h *Header) Authors {
	r := &authorReader{}
	bodies := r.fields(h)
	for _, b := range bodies {
		r.body(b)
	}
	switch a := &r.found; {
	case a.Fields == 0 && h.Truncated():
		r.flaw(UnknownFromRest, "")
	case a.Fields == 0:
		r.flaw(NoFrom, "")
	case a.Fields > 1:
		a.Flaw, a.Detail = SeveralFrom, "" // graver than what was found in one of them
	case h.Truncated():
		r.flaw(UnknownFromRest, "")
	case len(a.Domains) == 0:
		r.flaw(NoAuthorDomain, "")
	}
	if r.found.Flaw != "" {
		for _, b := range bodies {
			r.search(b)
		}
	}
	if len(r.found.Domains) > 1 {
		r.flaw(SeveralDomains, "")
	}
	if r.found.Detail == "" && len(bodies) > 0 && r.found.Flaw != "" {
		r.found.Detail = excerpt(bodies[0])
	}
	return r.found
}

type authorReader struct{ found Authors }

// flaw notes a flaw; the first one stays.
func (r *authorReader) flaw(f AuthorFlaw, detail string) {
	if r.found.Flaw == "" {
		r.found.Flaw, r.found.Detail = f, detail
	}
}

func (r *authorReader) domain(d string) {
	switch a := &r.found; {
	case d == "" || slices.Contains(a.Domains, d):
	case len(a.Domains) == maxAuthorDomains:
		a.More = true
	default:
		a.Domains = append(a.Domains, d)
	}
}

// fields gives the bodies of the From fields, and what follows the name in lines that careless readers take for one.
func (r *authorReader) fields(h *Header) (bodies []string) {
	add := func(body string) {
		if r.found.Fields++; len(bodies) < maxFromFields {
			bodies = append(bodies, body)
		} else {
			r.found.More = true
		}
	}
	for i, f := range h.Fields() {
		switch {
		case f.Is("From"):
			if f.Raw[len(f.Name)] != ':' {
				// RFC 5322 4.5 lets blanks stand before the colon; there are readers that find no field then.
				r.flaw(MalformedFrom, "blanks before the colon")
			}
			add(f.Body())
		case i == 0 && f.Name == "" && isMboxFrom([]byte(f.Raw)):
		default:
			if name, rest, ok := likeFrom(f); ok {
				r.flaw(MalformedFrom, excerpt(name))
				add(rest)
			}
			for _, line := range foldedFrom(f) {
				r.flaw(MalformedFrom, excerpt(line))
				add(line)
			}
		}
	}
	return bodies
}

// maxFromFields is how many From fields of a message are read.
const maxFromFields = 10

// likeFrom reports whether a field or line that is no From field may be taken for one: its name is From but for octets
// that are no letters, as in " From:", "From\xff:", "Fr\x01om:" or a name whose colon is on the next line.
func likeFrom(f Field) (name, rest string, ok bool) {
	s := f.Raw
	if f.Name != "" {
		if len(f.Name) > 40 || !equalFold(letters(f.Name), "from") {
			return "", "", false
		}
		return f.Name, f.Body(), true
	}
	if before, after, ok := strings.Cut(s, ":"); ok && len(before) <= 40 && !strings.Contains(before, "\n") && equalFold(letters(before), "from") {
		return before, Field{Raw: after}.Body(), true
	}
	start := strings.IndexFunc(s, isLetter)
	if start < 0 || len(s) < start+len("from") || !equalFold(s[start:start+len("from")], "from") {
		return "", "", false
	}
	rest = s[start+len("from"):]
	if rest == "" || isNameOctet(rest[0]) {
		return "", "", false
	}
	return s[:start+len("from")], Field{Raw: strings.TrimLeft(rest, " \t\r\n:")}.Body(), true
}

func isLetter(r rune) bool { return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' }

// isNameOctet reports whether c goes on with a name: letters, digits and hyphens.
func isNameOctet(c byte) bool {
	return isLetter(rune(c)) || '0' <= c && c <= '9' || c == '-'
}

func letters(s string) string {
	return strings.Map(func(r rune) rune {
		if isLetter(r) || '0' <= r && r <= '9' || r == '-' {
			return r
		}
		return -1
	}, s)
}

// foldedFrom gives what folded lines of another field say that look like a From field with an address: readers that do
// not unfold find one there. Signatures and results of others quote such fields for good reasons.
func foldedFrom(f Field) (bodies []string) {
	if !strings.Contains(strings.TrimSuffix(f.Raw, "\n"), "\n") {
		return nil
	}
	for _, name := range []string{"DKIM-Signature", "ARC-Message-Signature", "ARC-Authentication-Results", "Authentication-Results"} {
		if f.Is(name) {
			return nil
		}
	}
	_, rest, _ := strings.Cut(f.Raw, "\n")
	for line := range strings.Lines(rest) {
		name, rest, ok := strings.Cut(line, ":")
		if ok && len(name) <= 40 && equalFold(strings.Map(visible, name), "from") && strings.Contains(rest, "@") {
			bodies = append(bodies, trimLine(rest))
		}
	}
	return bodies
}

// body reads the body of one field: as the grammar has it, and as those do who decode encoded words first, search
// for brackets, end at a control character that was encoded, or take what they can get.
func (r *authorReader) body(body string) {
	g := addressGrammar{s: body, r: r}
	g.list()
	readings, _ := wordReadings(body)
	for _, s := range append(readings, body) {
		for piece := range strings.FieldsFuncSeq(s, func(c rune) bool { return isControl(c) && c != '\t' }) {
			for _, box := range ParseMailboxes(piece) {
				r.domain(box.Domain())
			}
		}
		r.bracketed(s)
	}
}

// bracketed finds addresses in angle brackets, wherever they stand.
func (r *authorReader) bracketed(s string) {
	for {
		i := strings.IndexByte(s, '<')
		if i < 0 {
			return
		}
		s = s[i+1:]
		n := strings.IndexAny(s, "<>")
		if n >= 0 && s[n] == '>' {
			r.domain(Mailbox{Address: s[:n]}.Domain())
		}
	}
}

// search finds whatever looks like a domain behind an "@", for a field that has no one reading.
func (r *authorReader) search(body string) {
	readings, _ := wordReadings(body)
	for _, s := range append(readings, body) {
		for {
			_, rest, ok := strings.Cut(s, "@")
			if !ok || r.found.More {
				break
			}
			n := strings.IndexFunc(rest, func(c rune) bool {
				return c <= ' ' || c == utf8.RuneError || strings.ContainsRune(`<>()[],;:"'\@/=?`, c)
			})
			if n < 0 {
				n = len(rest)
			}
			if n <= 4*maxDomain {
				if d, err := Domain(strings.Trim(rest[:n], ".")); err == nil && strings.Contains(d, ".") {
					r.domain(d)
				}
			}
			s = rest
		}
	}
}
