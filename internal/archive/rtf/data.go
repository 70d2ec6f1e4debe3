package rtf

import (
	"errors"
	"io"

	"github.com/postern-mail/postern/internal/archive"
)

// reading is one of the ways in which the digits of an object are made out. Obfuscated documents live on the
// differences between readers.
type reading struct {
	groups groups
	drop   bool // \' forgets the digit before it
	stand  bool // what stands for the character of \uN is passed over
}

// groups says what is taken of groups within an object's digits.
type groups int

const (
	known groups = iota // what is not within a destination, as Word does it
	none
	all
)

// readings are the ways to read, the one of Word first.
var readings = []reading{
	{known, false, true},
	{known, true, true},
	{none, false, true},
	{all, false, false},
}

// worth is how often the octets of a document may be read as digits altogether.
const worth = 4

// digits reads the octets of an object. It ends with the object's group.
type digits struct {
	s *scanner
	reading
	size   int64 // of the whole document
	depth  int
	ignore int
	star   bool
	uc     int
	skip   int
	half   int   // the first digit of an octet, -1 without
	raw    int64 // octets of a \bin that follow
	out    []byte
	done   bool

	// What other ways of reading differ in.
	grouped, escaped, stood bool
	cut                     bool // the document ends within the object
}

// Read implements io.Reader.
func (d *digits) Read(p []byte) (int, error) {
	d.out = p[:0]
	for len(d.out) < len(p) && !d.done {
		if err := d.step(len(p) - len(d.out)); err != nil {
			return len(d.out), err
		}
	}
	if len(d.out) == 0 && d.done {
		return 0, io.EOF
	}
	return len(d.out), nil
}

// step goes on by one token, and makes at most room octets.
func (d *digits) step(room int) error {
	if d.raw > 0 {
		return d.binary(room)
	}
	if d.half < 0 {
		// The first digit takes no room, the second one needs it.
		room = 2 * room
	} else {
		room = 2*room - 1
	}
	t, err := d.s.nextUpTo(room)
	if err != nil {
		return err
	}
	star := d.star
	d.star = false
	switch t.kind {
	case end:
		d.done, d.cut = true, true
	case groupStart:
		d.depth++
		d.skip = 0
		d.grouped = true
		if d.groups == none && d.ignore == 0 {
			d.ignore = d.depth
		}
	case groupEnd:
		d.depth--
		d.skip = 0
		d.done = d.depth < 0
		if d.depth < d.ignore {
			d.ignore = 0
		}
	case symbol:
		d.star = t.char == '*'
	case char:
		d.escaped = true
		if d.skip > 0 {
			d.skip--
		} else if d.drop {
			d.half = -1
		}
	case word:
		d.word(t, star)
	case text:
		d.text(t.text)
	}
	return nil
}

func (d *digits) word(t token, star bool) {
	switch t.word {
	case "bin":
		if t.number > 0 && t.number <= d.size-d.s.pos {
			d.raw = t.number
		}
	case "uc":
		d.uc = int(min(max(t.number, 0), 1<<16))
	case "u":
		d.stood = true
		if d.stand {
			d.skip = d.uc
		}
	case "objdata", "datastore":
		if d.depth == 0 {
			d.done = true // it begins anew
			return
		}
		fallthrough
	default:
		if d.groups == known && d.depth > 0 && d.ignore == 0 && (star || destinations[t.word]) {
			d.ignore = d.depth
		}
	}
}

func (d *digits) text(p []byte) {
	if d.ignore > 0 {
		return
	}
	for _, c := range p {
		if d.skip > 0 {
			d.skip--
			continue
		}
		v := digit(c)
		switch {
		case v < 0:
		case d.half < 0:
			d.half = v
		default:
			d.out = append(d.out, byte(d.half<<4|v))
			d.half = -1
		}
	}
}

// binary takes octets as they are.
func (d *digits) binary(room int) error {
	p, err := d.s.r.Peek(int(min(d.raw, int64(room), int64(d.s.r.Size()))))
	if len(p) == 0 {
		if d.done, d.cut = true, true; errors.Is(err, io.EOF) {
			return nil
		}
		return err
	}
	if d.ignore == 0 {
		d.out = append(d.out, p...)
	}
	d.raw -= int64(len(p))
	d.s.take(len(p))
	return nil
}

// data reads the object whose digits follow, in each way that can make a difference.
func (w *walker) data(kind string) error {
	pos := w.s.pos
	var first *digits
	var unknown *archive.File // as Word reads it
	seen := map[[32]byte]bool{}
	defer func() {
		if unknown != nil {
			_ = unknown.Close()
		}
	}()
	for i, r := range readings {
		if i > 0 && !(first.grouped || r.drop && first.escaped || !r.stand && first.stood) {
			continue
		}
		if w.decoded > worth*w.f.Size() {
			return w.t.Sign(archive.Bomb, "objects within objects that would be read more than %d times", worth)
		}
		d := &digits{s: newScanner(w.ctx, w.f, pos), reading: r, size: w.f.Size(), uc: w.uc, half: -1}
		f, stop, err := w.spool(d)
		if w.decoded += d.s.pos - pos; err != nil || f == nil {
			return err
		}
		o, err := identify(f)
		switch {
		case err != nil:
		case o == nil && i == 0:
			unknown, f = f, nil
		case o != nil:
			err = w.once(o, kind, seen)
		}
		if f != nil {
			_ = f.Close()
		}
		if err == nil && stop {
			err = errSpent
		}
		if err != nil {
			return err
		}
		if i == 0 {
			if first = d; d.cut {
				if err := w.t.Sign(archive.Unreadable, "the document ends within an object"); err != nil {
					return err
				}
			}
		}
	}
	if len(seen) > 0 || unknown == nil || unknown.Size() == 0 {
		return nil
	}
	if err := w.t.Sign(archive.Unreadable, "an object of unknown form"); err != nil {
		return err
	}
	return w.entry(&archive.Entry{Size: unknown.Size(), File: unknown})
}

// once tells of an object that was not seen yet.
func (w *walker) once(o *found, kind string, seen map[[32]byte]bool) error {
	sum, err := o.digest()
	if err != nil || seen[sum] {
		return err
	}
	seen[sum] = true
	return w.found(o, kind)
}

// spool reads the octets of an object; stop says that the budget ended it, and that the sign is given.
func (w *walker) spool(d *digits) (f *archive.File, stop bool, err error) {
	f, problem, err := archive.Spool(w.ctx, d, w.b)
	if err != nil {
		return nil, false, err
	}
	var spent *archive.ErrBudget
	switch {
	case problem == nil:
		return f, false, nil
	case errors.As(problem, &spent):
		if err := w.t.Sign(archive.Bomb, "an object: %s", spent.What); err != nil {
			_ = f.Close()
			return nil, false, err
		}
		return f, true, nil
	}
	_ = f.Close()
	return nil, false, problem
}

// entry tells of a file inside.
func (w *walker) entry(e *archive.Entry) error {
	var spent *archive.ErrBudget
	if err := w.b.Entry(); errors.As(err, &spent) {
		return w.spent(spent)
	}
	return w.t.File(e)
}
