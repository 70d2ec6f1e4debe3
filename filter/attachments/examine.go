package attachments

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/mail"
)

// exam is what was found out about one file: a part of the message, or a file inside of another.
type exam struct {
	part      *mail.Part // nil of a file inside of another
	names     []fileName
	others    []fileName // what some readers take for a name where there is none
	types     []string   // declared media types
	body      bool       // a text body of the message
	loose     bool       // found in a text, without name or type
	file      *archive.File
	kind      kind
	size      int64           // decoded octets
	sum       string          // SHA-256 of the decoded octets, hex; "" of a container that was not summed up
	inner     []hit           // what stands against it for what is inside
	hits      []hit           // the reasons, the decisive one first
	outside   []hit           // of a multipart: what stands against its preamble and epilogue
	ambiguous mail.DefectKind // why it has several readings, "" where it has one
	action    action
	carried   string // path of the part with which this one is removed, "" for none
}

// hit is one reason for an action.
type hit struct {
	symbol string
	class  class // "" of a rule for names or types
	action action
	why    string
	by     string // one of auth.PartReasons
	limit  bool   // a limit was reached: what lies behind was not looked at
}

// declares reports whether one of these media types is declared.
func (x *exam) declares(types ...string) bool {
	return slices.ContainsFunc(x.types, func(t string) bool { return slices.Contains(types, t) })
}

// endsIn reports whether some form of a name has one of these extensions.
func (x *exam) endsIn(extensions ...string) bool {
	for _, n := range x.names {
		for _, f := range n.forms {
			if slices.Contains(extensions, extension(f)) {
				return true
			}
		}
	}
	return false
}

// textBodies finds the parts that mail clients show as the text of the message: plain or HTML text that
// is no attachment and has no name, the first of its type in its multipart. The second one may be shown
// too, but no client can be relied upon for it. AMP for Email is HTML of which only the clients that know it
// show anything, and by rules of their own; it stands beside other alternatives.
func textBodies(root *mail.Part) map[*mail.Part]bool {
	bodies := map[*mail.Part]bool{}
	if isBody(root) {
		bodies[root] = true
	}
	root.Walk(func(p *mail.Part) bool {
		seen := map[string]bool{}
		for _, child := range p.Children {
			if !seen[child.Type] && isBody(child) {
				seen[child.Type], bodies[child] = true, true
			}
		}
		return true
	})
	return bodies
}

// ampHTML is the type of AMP for Email.
const ampHTML = "text/x-amp-html"

func isBody(p *mail.Part) bool {
	amp := p.Type == ampHTML && p.Parent != nil && p.Parent.Type == "multipart/alternative"
	return p.IsLeaf() && (p.Type == "text/plain" || p.Type == "text/html" || amp) && len(p.Types) == 1 && len(p.Names) == 0 &&
		// RFC 2183 2.8: a disposition that is not known is to be treated as attachment.
		(p.Disposition == "" || p.Disposition == "inline") &&
		// A broken type is read as text here and as a file elsewhere; of two fields another reader may take the other.
		!p.Has(mail.BadContentType) && p.Header.Count("Content-Disposition") < 2
}

// isUU reports whether a part is uuencoded by its header.
func (l *look) isUU(p *mail.Part) bool { return strings.Contains(p.Encoding, "uu") }

// lookOutside looks at what stands before the first part of a multipart and behind the last.
func (l *look) lookOutside(x *exam) error {
	for _, r := range []*io.SectionReader{x.part.Preamble(), x.part.Epilogue()} {
		if r.Size() == 0 {
			continue
		}
		y := &exam{loose: true}
		f := archive.FileAt(r, r.Size())
		if err := l.walk(y, textWalk, f, true); err != nil {
			return err
		}
		if err := l.openEntities(y, f); err != nil {
			return err
		}
		x.outside = append(x.outside, y.inner...)
	}
	strictestFirst(x.outside)
	return nil
}

// strictestFirst puts the first of the strictest hits in front.
func strictestFirst(hits []hit) {
	for i := range hits {
		if hits[i].action > hits[0].action {
			first := hits[i]
			copy(hits[1:i+1], hits[:i])
			hits[0] = first
		}
	}
}

// class is that of the first hit that has one.
func (x *exam) class() class {
	for _, h := range x.hits {
		if h.class != "" {
			return h.class
		}
	}
	return ""
}

// reasonLimit is how many octets a reason has.
const reasonLimit = 400

// reason gives what speaks against the part, for people.
func (x *exam) reason() string {
	var whys []string
	for _, h := range slices.Concat(x.hits, x.outside) {
		whys = append(whys, h.why)
	}
	if x.carried != "" && x.part != nil && x.carried != x.part.Path {
		whys = append(whys, "removed together with part "+x.carried)
	}
	return clipped(strings.Join(whys, "; "), reasonLimit)
}

// name gives the first name, fit for one line.
func (x *exam) name() string {
	if len(x.names) == 0 {
		return ""
	}
	return shown(x.names[0].raw)
}

// label names the file in a finding.
func (x *exam) label() string {
	n := x.name()
	switch {
	case x.part == nil && n == "":
		return "a file without a name"
	case x.part == nil:
		return fmt.Sprintf("%q", n)
	case n == "":
		return "part " + x.part.Path
	}
	return fmt.Sprintf("part %s %q", x.part.Path, n)
}
