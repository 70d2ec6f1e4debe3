package pdf

import (
	"cmp"
	"slices"

	"github.com/postern-mail/postern/internal/archive"
)

// Bounds of the index. Acrobat itself knows no more than 8388607 objects (ISO 32000-1 annex C).
const (
	maxNumber  = 1 << 30
	maxObjects = 1_000_000
	maxMatter  = 200_000
)

// The sources of objects.
const (
	inFile    = 0 // the file itself
	inStreams = 1 // its object streams, unpacked and put behind one another
)

// place is where an object is: behind its word obj in a source, or in an object stream.
type place struct {
	source int
	pos    int64
}

// entry says that an object of a number is at a place.
type entry struct {
	num int32
	gen uint16
	at  place
}

// matter is an object that is looked at.
type matter struct {
	at  place
	num int64
}

func (w *walker) sortIndex() {
	slices.SortStableFunc(w.index, func(a, b entry) int { return cmp.Compare(a.num, b.num) })
}

// scanFile finds all objects and trailers of the file itself.
func (w *walker) scanFile() error {
	src := w.sources[inFile]
	view := newWindow(w.ctx, src.f) // its own, so that finding and parsing don't fight for one
	defer func() {
		if view.err != nil && src.err == nil {
			src.err = view.err
		}
	}()
	for pos := int64(0); ; {
		at := view.find(pos, view.size, []byte("obj"))
		if at < 0 {
			break
		}
		if err := w.ctx.Err(); err != nil {
			return err
		}
		pos = at + 3
		num, gen, ok := numbersBefore(view, at)
		if next := view.at(pos); !ok && (isLetter(view.at(at-1)) || isLetter(next)) {
			continue // endobj, object
		}
		if err := w.found(place{inFile, pos}, num, gen); err != nil {
			return err
		}
	}
	for pos := int64(0); ; {
		at := view.find(pos, view.size, []byte("trailer"))
		if at < 0 {
			return nil
		}
		pos = at + int64(len("trailer"))
		if err := w.found(place{inFile, pos}, -1, 0); err != nil {
			return err
		}
	}
}

func isLetter(c int) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

// numbersBefore reads backwards the numbers of an object and of its generation, which stand before the word obj.
func numbersBefore(w *window, at int64) (num, gen int64, ok bool) {
	gen, start, ok := numberBefore(w, at)
	if !ok || start > 0 && !isSpace(w.at(start-1)) {
		return -1, 0, false
	}
	if num, _, ok = numberBefore(w, start); !ok || num > maxNumber || gen > 65535 {
		return -1, 0, false
	}
	return num, gen, true
}

func numberBefore(w *window, at int64) (n, start int64, ok bool) {
	for i := 0; i < 64 && isSpace(w.at(at-1)); i++ {
		at--
	}
	for scale := int64(1); ; scale *= 10 {
		c := w.at(at - 1)
		if c < '0' || c > '9' {
			return n, at, ok
		}
		if scale > 1e12 {
			return 0, at, false
		}
		n, ok = n+int64(c-'0')*scale, true
		at--
	}
}

// found parses an object, puts it into the index, and remembers it where it matters.
func (w *walker) found(at place, num, gen int64) error {
	o, err := w.parseAt(at)
	if err != nil {
		return err
	}
	if num >= 0 {
		if len(w.index) >= maxObjects {
			return w.t.Sign(archive.Unreadable, "it holds more than %d objects", maxObjects)
		}
		w.index = append(w.index, entry{num: int32(num), gen: uint16(gen), at: at})
	}
	// The word for the kind of an action, or the whole action, may be an object of its own.
	indirect := o.value.kind == dictionary && anyReference(o.value.all("S"))
	stream := o.stream >= 0 && isObjectStream(o.value)
	if !o.matters && !indirect && !stream {
		return nil
	}
	if len(w.matters) >= maxMatter {
		return w.t.Sign(archive.Unreadable, "more than %d of its objects may be active", maxMatter)
	}
	if stream && at.source == inFile {
		w.containers = append(w.containers, at)
	}
	if o.value.has("Encrypt") {
		w.trailers = append(w.trailers, at)
	}
	if o.matters || indirect {
		w.matters = append(w.matters, matter{at, num})
	}
	if o.cut && o.matters {
		return w.t.Sign(archive.Unreadable, "an object is larger or deeper than can be looked at")
	}
	return nil
}

func anyReference(all []value) bool {
	return slices.ContainsFunc(all, func(v value) bool { return v.kind == reference })
}

// isObjectStream knows object streams (ISO 32000-1 7.5.7): readers go by their entries, not by their type.
func isObjectStream(d value) bool {
	for _, t := range d.all("Type") {
		if t.s == "ObjStm" {
			return true
		}
	}
	return d.has("N") && d.has("First")
}

// parseAt parses what is at a place, and counts the work.
func (w *walker) parseAt(at place) (*object, error) {
	o, next := parse(w.sources[at.source], at.pos)
	o.at = at
	if w.work -= next - at.pos; w.work < 0 {
		return nil, errWork
	}
	return o, nil
}

// objectAt parses what is at a place again, with the number that the index knows.
func (w *walker) objectAt(at place) (*object, error) {
	if o := w.cache[at]; o != nil {
		return o, nil
	}
	before := w.work
	o, err := w.parseAt(at)
	if err != nil {
		return nil, err
	}
	if at.source == inFile {
		if num, gen, ok := numbersBefore(w.sources[inFile], at.pos-3); ok {
			o.num, o.gen = num, uint16(gen)
		}
	} else {
		o.plain = true
	}
	if before-w.work < 4096 {
		if w.cache == nil || len(w.cache) >= 4096 {
			w.cache = map[place]*object{}
		}
		w.cache[at] = o
	}
	return o, nil
}

// definitions is how many objects of one number are followed.
const definitions = 16

// objects gives each object that some reader takes for that of a number.
func (w *walker) objects(num int64) ([]*object, error) {
	i, _ := slices.BinarySearchFunc(w.index, num, func(e entry, n int64) int { return cmp.Compare(int64(e.num), n) })
	var all []*object
	for ; i < len(w.index) && int64(w.index[i].num) == num; i++ {
		if len(all) == definitions {
			return all, w.t.Sign(archive.Unreadable, "it holds object %d more than %d times", num, definitions)
		}
		o, err := w.objectAt(w.index[i].at)
		if err != nil {
			return nil, err
		}
		if w.index[i].at.source == inStreams {
			o.num = num
		}
		all = append(all, o)
		w.work -= followWork
	}
	return all, nil
}

// followWork is what following a reference counts as, in octets that are lexed.
const followWork = 64

// resolve gives each object that v may stand for: what its reference leads to, or itself as a part of o.
func (w *walker) resolve(v value, o *object) ([]*object, error) {
	return w.follow(v, o, 8)
}

func (w *walker) follow(v value, o *object, left int) ([]*object, error) {
	if w.work -= followWork; w.work < 0 {
		return nil, errWork
	}
	if v.kind != reference {
		return []*object{{at: o.at, num: o.num, gen: o.gen, value: v, stream: -1, plain: o.plain}}, nil
	}
	found, err := w.objects(v.n)
	if err != nil || left == 0 {
		return nil, err
	}
	var all []*object
	for _, f := range found {
		if f.value.kind != reference {
			all = append(all, f)
			continue
		}
		more, err := w.follow(f.value, f, left-1)
		if err != nil {
			return nil, err
		}
		if all = append(all, more...); len(all) > definitions {
			break
		}
	}
	return all, nil
}

// resolveAll does so for each value of a key.
func (w *walker) resolveAll(d value, key string, o *object) ([]*object, error) {
	var all []*object
	for _, v := range d.all(key) {
		found, err := w.resolve(v, o)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// last gives the last one that resolveAll gives: most readers take the last definition.
func (w *walker) last(d value, key string, o *object) (value, error) {
	all, err := w.resolveAll(d, key, o)
	if err != nil || len(all) == 0 {
		return value{}, err
	}
	return all[len(all)-1].value, nil
}
