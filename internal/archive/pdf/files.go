package pdf

import (
	"errors"
	"fmt"
	"slices"

	"github.com/postern-mail/postern/internal/archive"
)

// Bounds of what is kept about embedded files.
const (
	maxAttachments = 20_000
	maxTreeNames   = 100_000
	maxNames       = 16 // of one file
)

// attachment is an embedded file.
type attachment struct {
	o     *object // the stream
	names []string
	specs []int64 // numbers of the objects that describe it, by which name trees refer to it
}

func (a *attachment) add(names ...string) {
	for _, n := range names {
		if n != "" && len(a.names) < maxNames && !slices.Contains(a.names, n) {
			a.names = append(a.names, n)
		}
	}
}

// attach remembers the embedded file that a stream is.
func (w *walker) attach(o *object) (*attachment, error) {
	if a := w.streams[o.at]; a != nil {
		return a, nil
	}
	a := &attachment{o: o}
	if len(w.attachments) >= maxAttachments {
		return a, w.t.Sign(archive.Bomb, "it holds more than %d files", maxAttachments)
	}
	w.streams[o.at] = a
	w.attachments = append(w.attachments, a)
	return a, nil
}

// checkFile is about file specifications with embedded files (ISO 32000-1 7.11.3), and their related files (7.11.4.3).
func (w *walker) checkFile(d, v value, o *object) error {
	var names []string
	for _, key := range []string{"UF", "F", "Unix", "Mac", "DOS", "Desc"} {
		found, err := w.resolveAll(d, key, o)
		if err != nil {
			return err
		}
		for _, f := range found {
			if f.value.kind == text {
				names = append(names, textStrings(w.plaintext(f.value, f))...)
			}
		}
	}
	files, err := w.resolve(v, o)
	if err != nil {
		return err
	}
	for _, f := range files {
		for i := 1; f.value.kind == dictionary && i < len(f.value.kids); i += 2 {
			if err := w.attachAll(f.value.kids[i], f, names, o.num); err != nil {
				return err
			}
		}
	}
	return w.checkRelated(d, o)
}

// attachAll remembers each stream that v may stand for.
func (w *walker) attachAll(v value, o *object, names []string, spec int64) error {
	found, err := w.resolve(v, o)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return w.t.Sign(archive.ActivePDF, "it names an embedded file that is not there: %s", quote(first(names)))
	}
	for _, f := range found {
		if f.stream < 0 {
			continue
		}
		a, err := w.attach(f)
		if err != nil {
			return err
		}
		a.add(names...)
		if spec >= 0 && len(a.specs) < maxNames {
			a.specs = append(a.specs, spec)
		}
	}
	return nil
}

func (w *walker) checkRelated(d value, o *object) error {
	related, err := w.resolveAll(d, "RF", o)
	if err != nil {
		return err
	}
	for _, r := range related {
		for i := 1; r.value.kind == dictionary && i < len(r.value.kids); i += 2 {
			lists, err := w.resolve(r.value.kids[i], r)
			if err != nil {
				return err
			}
			for _, l := range lists {
				for j := 0; l.value.kind == array && j+1 < len(l.value.kids); j += 2 {
					names := textStrings(w.plaintext(l.value.kids[j], l))
					if err := w.attachAll(l.value.kids[j+1], l, names, -1); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

// checkTree follows the name tree of the embedded files (ISO 32000-1 7.9.6), by whose names some readers list them.
func (w *walker) checkTree(_, v value, o *object) error {
	type node struct {
		v value
		o *object
	}
	queue := []node{{v, o}}
	for steps := 0; len(queue) > 0 && steps < 10_000; steps++ {
		n := queue[0]
		queue = queue[1:]
		found, err := w.resolve(n.v, n.o)
		if err != nil {
			return err
		}
		for _, f := range found {
			for _, key := range []string{"Names", "Kids"} {
				list, err := w.resolveAll(f.value, key, f)
				if err != nil {
					return err
				}
				for _, l := range list {
					if key == "Names" {
						w.treeNamesOf(l)
						continue
					}
					for _, k := range l.value.kids {
						if len(queue) < 10_000 {
							queue = append(queue, node{k, l})
						}
					}
				}
			}
		}
	}
	return nil
}

// checkNames is about name trees within an object that matters for something else.
func (w *walker) checkNames(_, v value, o *object) error {
	if v.kind == array {
		w.treeNamesOf(&object{at: o.at, num: o.num, gen: o.gen, plain: o.plain, value: v})
	}
	return nil
}

func (w *walker) treeNamesOf(l *object) {
	if w.treeNames == nil {
		w.treeNames = map[int32][]string{}
	}
	kids := l.value.kids
	for i := 0; l.value.kind == array && i+1 < len(kids); i += 2 {
		if kids[i].kind != text || kids[i+1].kind != reference || len(w.treeNames) >= maxTreeNames {
			continue
		}
		num := int32(kids[i+1].n)
		for _, n := range textStrings(w.plaintext(kids[i], l)) {
			if len(w.treeNames[num]) < maxNames && !slices.Contains(w.treeNames[num], n) {
				w.treeNames[num] = append(w.treeNames[num], n)
			}
		}
	}
}

// giveAttachments gives the embedded files to the visitor.
func (w *walker) giveAttachments() error {
	for _, a := range w.attachments {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		for _, s := range a.specs {
			a.add(w.treeNames[int32(s)]...)
		}
		if err := w.give(a); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) give(a *attachment) error {
	why := "it holds a file without a name"
	if len(a.names) > 0 {
		why = "it holds the file " + quote(a.names[0])
	}
	if err := w.t.Sign(archive.ActivePDF, "%s", why); err != nil {
		return err
	}
	if err := w.budget.Entry(); err != nil {
		return err
	}
	e := &archive.Entry{Names: a.names, Size: -1}
	kind, err := w.last(a.o.value, "Subtype", a.o)
	if err != nil {
		return err
	}
	e.Type = kind.s
	parms, err := w.last(a.o.value, "Params", a.o)
	if err != nil {
		return err
	}
	if size := parms.get("Size"); size.kind == integer && size.n >= 0 {
		e.Size = size.n
	}
	r, problem := w.open(a.o)
	if problem == nil {
		if e.File, problem, err = archive.Spool(w.ctx, r, w.budget); err != nil {
			return err
		}
		defer e.File.Close()
	}
	if err := w.failed(); err != nil {
		return err
	}
	if problem != nil && !fatal(problem) {
		if err := w.unreadable(problem, "the file %s in it", quote(first(a.names))); err != nil {
			return err
		}
	}
	if err := w.visitor.File(e); err != nil {
		return err
	}
	if problem != nil && fatal(problem) {
		return problem
	}
	return nil
}

// unreadable says that something could not be looked at, unless that is known from the encryption.
func (w *walker) unreadable(err error, format string, args ...any) error {
	if errors.Is(err, errLocked) {
		return nil
	}
	return w.t.Sign(archive.Unreadable, "%s can't be read: %v", fmt.Sprintf(format, args...), err)
}

func first(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return names[0]
}
