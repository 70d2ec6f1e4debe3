package attachments

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"strings"

	"github.com/postern-mail/postern/mail"
)

// exam is what was found out about one part.
type exam struct {
	part    *mail.Part
	names   []fileName
	body    bool // a text body of the message
	kind    kind
	size    int64  // decoded octets
	sum     string // SHA-256 of the decoded octets, hex; "" of a container that was not summed up
	inner   []hit  // what stands against it for what is inside
	hits    []hit  // the reasons, the decisive one first
	action  action
	unseen  []string // what of it could not be looked at, and why
	empty   string   // the defect of a multipart without parts that has no sign of any, "" for none
	base64  bool     // base64 is the only sign of parts that such a multipart has
	carried string   // path of the part with which this one is removed, "" for none
}

// hit is one reason for an action.
type hit struct {
	symbol string
	class  class // "" of a rule for names or types
	action action
	why    string
}

// examine looks at every part, in the order of the content. Multiparts and embedded messages are looked
// at for what a client would see that takes them for a file. The depth is that of encoded messages.
func (c *checker) examine(ctx context.Context, root *mail.Part, depth int) ([]*exam, error) {
	buffer := c.buffers.Get().(*[2 * headSize]byte)
	defer c.buffers.Put(buffer)
	bodies := textBodies(root)
	summed := map[*mail.Part]bool{}
	var exams []*exam
	var err error
	root.Walk(func(p *mail.Part) bool {
		if err != nil {
			return false
		}
		if err = ctx.Err(); err != nil {
			return false
		}
		x := newExam(p, bodies[p])
		if err = x.read(ctx, buffer); err == nil && encodedWhole(p) {
			err = c.readInner(ctx, x, depth)
		}
		c.judge(x)
		if err == nil && len(x.hits) > 0 && !p.IsLeaf() {
			err = x.sumWhole(ctx, buffer, summed)
		}
		if err != nil {
			err = fmt.Errorf("attachments: part %s: %w", p.Path, err)
		}
		exams = append(exams, x)
		return err == nil
	})
	return exams, err
}

// newExam takes what the index says of a part.
func newExam(p *mail.Part, body bool) *exam {
	x := &exam{part: p, body: body}
	for _, n := range p.Names {
		x.names = append(x.names, readName(n))
	}
	for _, d := range p.Defects {
		switch what := string(d.Kind) + ": " + shown(d.Detail); {
		case d.Kind.IsLimit():
			x.unseen = append(x.unseen, what)
		case partless(p, d):
			x.empty = what
		}
	}
	return x
}

// read tells what the part is, and sums it up, in one pass. Of an embedded message the head is enough,
// since its parts are read themselves; of a multipart nothing is.
func (x *exam) read(ctx context.Context, buffer *[2 * headSize]byte) error {
	if x.part.IsMultipart() {
		x.size = x.part.RawBody().Size()
		return nil
	}
	head, block := buffer[:headSize], buffer[headSize:]
	r := x.part.Open()
	var signs *partSigns
	if x.empty != "" && !encodedWhole(x.part) {
		signs = new(partSigns)
		r = io.TeeReader(r, signs)
	}
	n, err := io.ReadFull(r, head)
	head = head[:n]
	x.kind = detect(head, x.body)
	if !x.part.IsLeaf() {
		x.size = x.part.RawBody().Size()
		return readError(err)
	}
	sum := sha256.New()
	sum.Write(head)
	var rest int64
	if err == nil {
		rest, err = digest(ctx, sum, r, block)
	}
	x.size, x.sum = int64(n)+rest, hex.EncodeToString(sum.Sum(nil))
	if signs != nil {
		if found := signs.found(); found != "" {
			x.unseen = append(x.unseen, x.empty+", and "+found)
			x.empty, x.base64 = "", !signs.field
		}
	}
	return readError(err)
}

// digest sums up what r still has, by blocks.
func digest(ctx context.Context, sum hash.Hash, r io.Reader, block []byte) (size int64, err error) {
	for err == nil {
		if err = ctx.Err(); err != nil {
			return size, err
		}
		var n int
		n, err = io.ReadFull(r, block)
		sum.Write(block[:n])
		size += int64(n)
	}
	return size, readError(err)
}

// readError leaves out what io.ReadFull says at the end.
func readError(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil
	}
	return err
}

// sumWhole sums up a multipart or an embedded message that is taken for a file. One inside another that
// was summed up goes without: nesting must not multiply the work.
func (x *exam) sumWhole(ctx context.Context, buffer *[2 * headSize]byte, summed map[*mail.Part]bool) error {
	for a := x.part.Parent; a != nil; a = a.Parent {
		if summed[a] {
			return nil
		}
	}
	summed[x.part] = true
	sum := sha256.New()
	_, err := digest(ctx, sum, x.part.RawBody(), buffer[:])
	x.sum = hex.EncodeToString(sum.Sum(nil))
	return err
}

// textBodies finds the parts that mail clients show as the text of the message: plain or HTML text that
// is no attachment and has no name, the first of its type in its multipart. The second one may be shown
// too, but no client can be relied upon for it.
func textBodies(root *mail.Part) map[*mail.Part]bool {
	bodies := map[*mail.Part]bool{}
	if isText(root) {
		bodies[root] = true
	}
	root.Walk(func(p *mail.Part) bool {
		var plain, html bool
		for _, child := range p.Children {
			seen := &plain
			if child.Type == "text/html" {
				seen = &html
			}
			if !*seen && isText(child) {
				*seen, bodies[child] = true, true
			}
		}
		return true
	})
	return bodies
}

func isText(p *mail.Part) bool {
	return p.IsLeaf() && (p.Type == "text/plain" || p.Type == "text/html") && len(p.Names) == 0 &&
		// RFC 2183 2.8: a disposition that is not known is to be treated as attachment.
		(p.Disposition == "" || p.Disposition == "inline") &&
		// A broken type is read as text here and as a file elsewhere; of two fields another reader may take the other.
		!p.Has(mail.BadContentType) && p.Header.Count("Content-Type") < 2 && p.Header.Count("Content-Disposition") < 2
}

// judge collects the reasons for which something is done with a part, and decides what.
//
// A rule for types weighs the declared type and the detected one. The declared type is the sender's word:
// it can make the outcome stricter, never milder. The detected one replaces what the class of the content
// asks for, and leaves alone what the name says. A rule for names wins over all of it, but a part that has
// several names, or a name with several readings, is let off only if each of them is.
func (c *checker) judge(x *exam) {
	if k := x.kind; k.class != "" {
		h := hit{classSymbols[k.class], k.class, c.classes[k.class], "it is " + k.what}
		if g, ok := c.types.find(k.mediaType); ok {
			h.action = g.action
		}
		x.hits = append(x.hits, h)
	}
	x.hits = append(x.hits, x.inner...)
	if h, ok := c.judgeNames(x); ok {
		x.hits = append(x.hits, h)
	}
	if !x.body && !x.part.IsMultipart() {
		for _, t := range []string{x.part.Type, x.kind.mediaType} {
			if g, ok := c.types.find(t); ok && t != "" && g.action > pass {
				x.hits = append(x.hits, hit{symbolType, "", g.action, fmt.Sprintf("the media type %s matches %q", t, g.pattern)})
				break
			}
		}
	}
	strictestFirst(x.hits)
	if len(x.hits) > 0 {
		x.action = x.hits[0].action
	}
	c.applyNameRules(x)
}

// judgeNames classes a part by its names, and by its declared type where a client would make up the
// extension from it. The first reason of the strictest action counts.
func (c *checker) judgeNames(x *exam) (best hit, found bool) {
	consider := func(cl class, why string) {
		if cl != "" && (!found || c.classes[cl] > best.action) {
			best, found = hit{classSymbols[cl], cl, c.classes[cl], why}, true
		}
	}
	bare := len(x.names) == 0 && x.part.IsLeaf()
	for _, n := range x.names {
		for i, f := range n.forms {
			cl, why := classOfForm(f)
			consider(cl, why)
			bare = bare || i == 0 && extension(f) == ""
		}
	}
	if bare && !x.body {
		consider(typeClasses[x.part.Type], "the declared media type is "+x.part.Type)
	}
	return best, found
}

// applyNameRules lets the configured names decide.
func (c *checker) applyNameRules(x *exam) {
	var strictest hit
	matched, all := false, true
	for _, n := range x.names {
		for _, f := range n.forms {
			g, ok := c.names.find(f)
			if !ok {
				all = false
				continue
			}
			if !matched || g.action > strictest.action {
				strictest = hit{symbolName, "", g.action, fmt.Sprintf("the file name matches %q", g.pattern)}
			}
			matched = true
		}
	}
	switch {
	case !matched:
	case all:
		// What the part is stays known, but only the rule acts.
		for i := range x.hits {
			x.hits[i].action = min(x.hits[i].action, strictest.action)
		}
		x.hits = append([]hit{strictest}, x.hits...)
		x.action = strictest.action
	case strictest.action > x.action:
		x.hits = append([]hit{strictest}, x.hits...)
		x.action = strictest.action
	}
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
	for _, h := range x.hits {
		whys = append(whys, h.why)
	}
	whys = append(whys, x.unseen...)
	if x.carried != "" && x.carried != x.part.Path {
		whys = append(whys, "removed together with part "+x.carried)
	}
	return clipped(strings.Join(whys, "; "), reasonLimit)
}

// name gives the part's first name, fit for one line.
func (x *exam) name() string {
	if len(x.names) == 0 {
		return ""
	}
	return shown(x.names[0].raw)
}

// label names the part in a finding.
func (x *exam) label() string {
	if n := x.name(); n != "" {
		return fmt.Sprintf("part %s %q", x.part.Path, n)
	}
	return "part " + x.part.Path
}
