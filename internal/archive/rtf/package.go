package rtf

import (
	"strings"
	"unicode/utf8"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/tell"
)

// pack reads what the class Package holds: a file that was dropped into the document, with its names. There is no
// specification; the form is the one that packager.dll writes, which the stream \1Ole10Native has too (MS-OLEDS
// 2.3.6 gives but its size).
func (w *walker) pack(f *archive.File) error {
	head, err := f.Head(headLimit)
	if err != nil {
		return err
	}
	const link, file = 1, 3
	p := &cursor{rest: head}
	p.uint16() // 2
	label, path := p.zero(), p.zero()
	p.uint16()
	kind := p.uint16()
	names := nameSet{}
	names.add(label)
	names.add(path)
	if p.bad || kind != file && kind != link {
		if err := w.t.Sign(archive.Unreadable, "a package of unknown form"); err != nil {
			return err
		}
		return w.entry(&archive.Entry{Size: f.Size(), File: f})
	}
	if kind == link {
		if err := w.t.Sign(archive.Shortcut, "a package that opens %.200q", latin([]byte(path)...)); err != nil {
			return err
		}
		return w.entry(&archive.Entry{Names: names, Link: latin([]byte(path)...), Size: -1})
	}
	if temp := p.take(int(min(p.uint32(), headLimit))); len(temp) > 0 {
		names.add(strings.TrimRight(string(temp), "\x00"))
	}
	size := int64(p.uint32())
	if p.bad {
		if err := w.t.Sign(archive.Unreadable, "a package is cut short"); err != nil {
			return err
		}
		return w.entry(&archive.Entry{Names: names, Size: -1})
	}
	at := int64(len(head) - len(p.rest))
	content := f.Section(at, size)
	if content.Size() < size {
		if err := w.t.Sign(archive.Unreadable, "a package is cut short"); err != nil {
			return err
		}
	}
	if names, err = wideNames(names, f.Section(at+size, headLimit)); err != nil {
		return err
	}
	return w.entry(&archive.Entry{Names: names, Size: size, File: content})
}

// wideNames adds the names in UTF-16 that newer versions write behind the content.
func wideNames(names nameSet, tail *archive.File) (nameSet, error) {
	rest, err := tail.Head(headLimit)
	if err != nil {
		return names, err
	}
	p := &cursor{rest: rest}
	for range 3 {
		n := p.uint32()
		if n > stringLimit {
			return names, nil
		}
		wide := p.take(2 * int(n))
		names.add(strings.TrimRight(tell.UTF16(le, wide), "\x00"))
	}
	return names, nil
}

// nameSet gathers the names of a file, each one once.
type nameSet []string

// add adds a path as it is, and as what it is in Windows' own characters where it is no UTF-8; a path counts by its
// last part too, since that is the name of the file.
func (n *nameSet) add(path string) {
	if !utf8.ValidString(path) {
		path = latin([]byte(path)...)
	}
	name := path[strings.LastIndexAny(path, `\/`)+1:]
	for _, s := range []string{name, path} {
		if s != "" && !n.has(s) {
			*n = append(*n, s)
		}
	}
}

func (n *nameSet) has(s string) bool {
	for _, have := range *n {
		if have == s {
			return true
		}
	}
	return false
}
