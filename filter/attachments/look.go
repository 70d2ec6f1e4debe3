package attachments

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/mail"
)

// look is the examination of one message: all of it shares one budget of work.
type look struct {
	*checker
	ctx    context.Context
	budget *archive.Budget
	files  int   // files that were looked at inside of others
	taken  int64 // octets of memory for what is being looked at

	entities int // parts of mails that were found in texts
	guessing int // how many guesses the one is inside of that is looked at
}

func (c *checker) newLook(ctx context.Context, size int64) *look {
	l := &look{checker: c, ctx: ctx, budget: archive.NewBudget(c.limits, size)}
	l.budget.Counted(l)
	return l
}

// unlimited is the budget for decoding the parts of a message, which is bounded by the message's own size.
func (l *look) unlimited() *archive.Budget {
	return archive.NewBudget(archive.Limits{Octets: math.MaxInt64, Ratio: math.MaxInt64, Dir: l.limits.Dir}, 1)
}

// examine looks at every part of a message, in the order of the content.
func (l *look) examine(root *mail.Part) ([]*exam, error) {
	bodies := textBodies(root)
	var exams []*exam
	var err error
	root.Walk(func(p *mail.Part) bool {
		if err != nil {
			return false
		}
		if err = l.ctx.Err(); err != nil {
			return false
		}
		x := newExam(p, bodies[p])
		if err = l.readPart(x); err != nil {
			err = fmt.Errorf("attachments: part %s: %w", p.Path, err)
		}
		exams = append(exams, x)
		return err == nil
	})
	return exams, err
}

// newExam takes what the index says of a part.
func newExam(p *mail.Part, body bool) *exam {
	x := &exam{part: p, body: body, types: p.Types, ambiguous: p.Ambiguity()}
	for _, n := range p.Names {
		x.names = append(x.names, readName(n))
	}
	for _, n := range p.OtherNames {
		x.others = append(x.others, readName(n))
	}
	return x
}

// readPart tells what a part is, and what is in it. Multiparts and embedded messages are looked at for what a client
// would see that takes them for a file; their parts have examinations of their own.
func (l *look) readPart(x *exam) error {
	p := x.part
	limited := l.readDefects(x)
	if p.IsMultipart() {
		x.size = p.RawBody().Size()
		if err := l.lookOutside(x); err != nil {
			return err
		}
		return l.finish(x)
	}
	if !p.IsLeaf() {
		x.size = p.RawBody().Size()
		x.file = archive.FileAt(p.RawBody(), x.size)
		if err := l.detect(x); err != nil {
			return err
		}
		return l.finish(x)
	}
	if err := l.load(x); err != nil {
		return err
	}
	defer func() { _ = x.file.Close() }()
	if err := l.detect(x); err != nil {
		return err
	}
	if limited {
		return l.finish(x) // to look further is what the limit is against
	}
	if err := l.open(x); err != nil {
		return err
	}
	if err := l.readConverted(x); err != nil {
		return err
	}
	if err := l.openReadings(x); err != nil {
		return err
	}
	return l.finish(x)
}

// readDefects takes what the defects of a part say against it, and reports whether it lies too deep to be looked into.
func (l *look) readDefects(x *exam) (limited bool) {
	for _, d := range x.part.Defects {
		switch {
		case d.Kind.IsLimit():
			limited = limited || d.Kind == mail.LimitDepth
			h := l.classHit(unreadable, string(d.Kind)+": "+shown(d.Detail))
			h.limit = true
			x.inner = append(x.inner, h)
		case d.Kind == mail.PartialMessage, d.Kind == mail.ExternalBody:
			x.inner = append(x.inner, l.classHit(partial, string(d.Kind)))
		}
	}
	return limited
}

// openReadings looks at a leaf in the readings that its header does not name, or names beside the one by which it was
// decoded.
func (l *look) openReadings(x *exam) error {
	p := x.part
	for _, e := range p.Encodings() {
		if e == p.Encoding {
			continue
		}
		if err := l.openAs(x, archive.FileAt(p.RawBody(), p.RawBody().Size()), e); err != nil {
			return err
		}
	}
	if !p.Encoded() {
		if err := l.openUndeclared(x); err != nil {
			return err
		}
	}
	if encodedWhole(p) {
		if err := l.readEncoded(x); err != nil {
			return err
		}
	}
	if p.Encoded() && l.isUU(p) {
		// The files of a uuencoded body one by one, as those see them who know no such encoding.
		raw := archive.FileAt(p.RawBody(), p.RawBody().Size())
		if err := l.walk(x, textWalk, raw, false); err != nil {
			return err
		}
	}
	return nil
}

// load decodes a leaf, and sums it up.
func (l *look) load(x *exam) error {
	p := x.part
	sum := sha256.New()
	if !p.Encoded() {
		x.file = archive.FileAt(p.RawBody(), p.RawBody().Size())
		buf := digestBuffers.Get().(*[32 << 10]byte)
		_, err := io.CopyBuffer(sum, contextReader{l.ctx, x.file.Reader()}, buf[:])
		digestBuffers.Put(buf)
		if err != nil {
			return err
		}
	} else {
		d := p.Decode()
		f, problem, err := archive.Spool(l.ctx, io.TeeReader(d, sum), l.unlimited())
		if err == nil && problem != nil {
			_ = f.Close()
			err = problem // decoding gives no errors but those of the Blob
		}
		if err != nil {
			return err
		}
		x.file = f
		if x.ambiguous == "" {
			x.ambiguous = p.BodyAmbiguity(d)
		}
	}
	x.size, x.sum = x.file.Size(), hex.EncodeToString(sum.Sum(nil))
	return nil
}

var digestBuffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// contextReader ends with the context.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

// Read implements io.Reader.
func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// detect tells what a file is by its first octets.
func (l *look) detect(x *exam) error {
	head, err := x.file.Head(headSize)
	if err == nil && len(head) == headSize && len(bytes.TrimLeft(head, blanks)) == 0 {
		head, err = l.behindBlanks(x.file)
	}
	if err != nil {
		return err
	}
	if x.loose {
		x.kind = detectLoose(head)
	} else {
		x.kind = detect(head, x.body)
	}
	return nil
}

// blanks are octets that some readers pass over at the start of a file.
const blanks = " \t\r\n\x00"

// behindBlanks gives the head of what follows the blanks with which a file begins.
func (l *look) behindBlanks(f *archive.File) ([]byte, error) {
	for at := int64(0); at < f.Size(); at += headSize {
		if err := l.ctx.Err(); err != nil {
			return nil, err
		}
		head, err := f.Section(at, headSize).Head(headSize)
		if err != nil {
			return nil, err
		}
		if rest := bytes.TrimLeft(head, blanks); len(rest) > 0 {
			return f.Section(at+int64(len(head)-len(rest)), headSize).Head(headSize)
		}
	}
	return nil, nil
}

// finish decides about a file of which all is known. A multipart or embedded message that is taken for a file is
// summed up then.
func (l *look) finish(x *exam) error {
	l.judge(x)
	if x.action == quarantine && x.class() == unreadable && x.part != nil && returned(x.part) {
		// What was cut off in a returned message is of no use to anybody; the report is.
		x.action = strip
	}
	if x.sum != "" || x.part == nil || len(x.hits) == 0 || x.part.IsLeaf() {
		return nil
	}
	sum := sha256.New()
	_, err := io.Copy(sum, contextReader{l.ctx, x.part.RawBody()})
	x.sum = hex.EncodeToString(sum.Sum(nil))
	return err
}

// inside is the visitor of the containers of one file: it judges what is in them, and adds what speaks against it to
// the file's own reasons.
type inside struct {
	*look
	x        *exam
	loose    bool // what is found has no name and type that anybody would go by
	bodies   bool // texts without a name are the bodies of a message
	stream   bool // what is found has the name of the file but for its last extension, too
	readable bool // nothing of it is unreadable: it is but a guess that there is a container
	opened   bool // what is encrypted was looked into all the same
}

// walk runs a reader of containers over f, for x.
func (l *look) walk(x *exam, walk archive.Walk, f *archive.File, loose bool) error {
	return l.run(walk, f, &inside{look: l, x: x, loose: loose})
}

func (l *look) run(walk archive.Walk, f *archive.File, v *inside) error {
	err := walk(l.ctx, f, l.budget, v)
	if err == errEnough {
		return nil
	}
	return err
}

// errEnough ends a walk that can find nothing worse.
var errEnough = fmt.Errorf("attachments: enough")

// File implements archive.Visitor.
func (v *inside) File(e *archive.Entry) error {
	if (e.Folder || e.Link != "") && e.File == nil {
		return nil
	}
	v.files++
	if err := v.budget.Enter(); err != nil {
		v.x.addInner(v.spent(err))
		return errEnough
	}
	defer v.budget.Leave()
	inner := &exam{file: e.File, size: e.Size, loose: v.loose && len(e.Names) == 0}
	for _, n := range e.Names {
		inner.names = append(inner.names, readName(n))
	}
	if v.stream {
		inner.names = append(inner.names, v.x.without()...)
	}
	if e.Type != "" && !v.loose {
		inner.types = []string{e.Type}
		inner.body = v.bodies && len(e.Names) == 0 && (e.Type == "text/html" || e.Type == "text/plain")
	}
	if inner.file != nil && v.budget.Err() == nil { // else it is a bomb, and nothing in it can be worse
		inner.size = inner.file.Size()
		if err := v.detect(inner); err != nil {
			return err
		}
		if err := v.open(inner); err != nil {
			return err
		}
	}
	v.judge(inner)
	for _, h := range inner.hits {
		if inner.loose && h.class == unreadable && !h.limit {
			continue // a piece of base64 by itself is hardly ever a file
		}
		h.why = fmt.Sprintf("inside it, %s: %s", inner.label(), h.why)
		h.symbol = cmpSymbol(h)
		v.x.addInner(h)
	}
	return nil
}

// cmpSymbol gives the symbol of a hit inside a container: that of its class.
func cmpSymbol(h hit) string {
	if s, ok := classSymbols[h.class]; ok {
		return s
	}
	return h.symbol
}

// Sign implements archive.Visitor.
func (v *inside) Sign(s archive.Sign) error {
	if v.opened && s.Kind == archive.Encrypted || v.readable && s.Kind == archive.Unreadable {
		return nil
	}
	v.x.addInner(v.classHit(class(s.Kind), s.Why))
	return nil
}

// without gives the names of a file without their last extension, as unpackers of single streams do.
func (x *exam) without() (names []fileName) {
	for _, n := range x.names {
		if i := strings.LastIndexByte(n.raw, '.'); i > 0 {
			names = append(names, readName(n.raw[:i]))
		}
	}
	return names
}

// maxInnerHits is how many reasons from inside of a file are kept.
const maxInnerHits = 20

// addInner adds a reason from inside; of those of one class and action the first is enough.
func (x *exam) addInner(h hit) {
	h.by = auth.PartByInside
	same := func(o hit) bool { return o.class == h.class && o.symbol == h.symbol && o.action == h.action }
	if i := slices.IndexFunc(x.inner, same); i >= 0 {
		x.inner[i].limit = x.inner[i].limit || h.limit
	} else if len(x.inner) < maxInnerHits {
		x.inner = append(x.inner, h)
	}
}

// spent makes the reason of work that the budget does not allow.
func (l *look) spent(err error) hit {
	return l.classHit(bomb, strings.TrimPrefix(err.Error(), "archive: "))
}

// classHit makes the reason of a class.
func (l *look) classHit(c class, why string) hit {
	if w, ok := l.waived[c]; ok {
		why += ", waived by " + w.String()
	}
	return hit{symbol: classSymbols[c], class: c, action: l.classes[c], by: auth.PartByContent, why: why}
}
