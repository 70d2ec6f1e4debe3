// Package rar reads RAR archives of all ages: it finds them in self-extracting programs, and tells what is in them. It
// walks the blocks itself; it is not a decoder: files are unpacked by a library.
package rar

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/tell"
)

const (
	signature14 = "RE~^"
	signature4  = "Rar!\x1a\x07\x00"
	signature5  = "Rar!\x1a\x07\x01\x00"
	maxHeader   = 2 << 20 // RAR 5.0 technote, "General archive block format"
	maxFirst    = 4 << 10 // of the first block, which says little
	maxLink     = 4 << 10 // of the target of a link
)

// Is reports whether the first octets of a file are those of a RAR archive.
func Is(head []byte) bool {
	return bytes.HasPrefix(head, []byte(signature4[:6])) || bytes.HasPrefix(head, []byte(signature14))
}

// Find gives the place of an archive inside of a file, such as a program that unpacks itself: the first signature
// with a header behind it.
func Find(ctx context.Context, f *archive.File) (offset int64, ok bool, err error) {
	return tell.Find(ctx, f, []byte(signature4[:6]), func(off int64) (bool, error) {
		w := &walk{f: f.Section(off, f.Size())}
		k, problem, err := w.begin()
		return problem == nil && k != nil && (k.what == start || k.what == cipher), err
	})
}

// Walk tells v what is in the archive that begins where f does. It is an archive.Walk.
func Walk(ctx context.Context, f *archive.File, b *archive.Budget, v archive.Visitor) error {
	w := &walk{ctx: ctx, f: f, b: b, t: tell.New(b, v)}
	head, err := f.Head(len(signature14))
	if err != nil {
		return err
	}
	if string(head) == signature14 {
		return w.old()
	}
	k, problem, err := w.begin()
	if err != nil {
		return err
	}
	if problem == nil && (k == nil || k.what != start && k.what != cipher) {
		problem = errForm
	}
	if problem != nil {
		return w.t.Problem("a RAR archive", problem)
	}
	defer w.release()
	return w.blocks(k)
}

type walk struct {
	ctx   context.Context
	f     *archive.File
	b     *archive.Budget
	t     *tell.Teller
	five  bool  // RAR 5.0
	at    int64 // place of the next block
	solid bool  // the archive says that it is solid
	from  *source
	fresh int    // how many sources were given up for an error
	lost  string // why files that need what was unpacked before can't be unpacked; "" when they can

	holds    bool // the source may have a model of PPMd
	releases int
}

// begin reads the signature and the first block.
func (w *walk) begin() (k *block, problem, err error) {
	head, err := w.f.Head(len(signature5))
	if err != nil {
		return nil, nil, err
	}
	switch {
	case string(head) == signature5:
		w.five, w.at = true, int64(len(signature5))
	case bytes.HasPrefix(head, []byte(signature4)):
		w.at = int64(len(signature4))
	default:
		return nil, errors.New("its version is not known"), nil
	}
	return w.next()
}

// next reads the next block; nil without a problem is the end of the file.
func (w *walk) next() (k *block, problem, err error) {
	if w.at == w.f.Size() {
		return nil, nil, nil
	}
	if w.five {
		k, problem, err = w.next5()
	} else {
		k, problem, err = w.next4()
	}
	if problem != nil || err != nil {
		return nil, problem, err
	}
	k.data = w.at + int64(len(k.head))
	w.at = k.data
	if room := uint64(w.f.Size() - k.data); k.packed > room {
		w.at = w.f.Size()
	} else {
		w.at += int64(k.packed)
	}
	return k, nil, nil
}

func (w *walk) next5() (k *block, problem, err error) {
	pre := make([]byte, min(7, w.f.Size()-w.at))
	if ok, err := tell.ReadAt(w.f, pre, w.at); err != nil || !ok || len(pre) < 7 {
		return nil, errCut, err
	}
	r := &fields{b: pre[4:]}
	size := r.vint()
	limit := uint64(maxHeader)
	if w.at == int64(len(signature5)) {
		limit = maxFirst
	}
	if r.bad || size == 0 || size > limit {
		return nil, errForm, nil
	}
	before := 7 - len(r.b)
	head := make([]byte, before+int(size))
	if ok, err := tell.ReadAt(w.f, head, w.at); err != nil || !ok {
		return nil, errCut, err
	}
	k, problem = parse5(head, before)
	return k, problem, nil
}

func (w *walk) next4() (k *block, problem, err error) {
	pre := make([]byte, 7)
	if ok, err := tell.ReadAt(w.f, pre, w.at); err != nil || !ok {
		return nil, errCut, err
	}
	size := binary.LittleEndian.Uint16(pre[5:])
	if size < 7 || w.at == int64(len(signature4)) && size > maxFirst {
		return nil, errForm, nil
	}
	if pre[2] == start4 && binary.LittleEndian.Uint16(pre[3:])&2 != 0 {
		size = 13 // a comment within it is a block of its own
	}
	head := make([]byte, size)
	if ok, err := tell.ReadAt(w.f, head, w.at); err != nil || !ok {
		return nil, errCut, err
	}
	k, problem = parse4(head)
	return k, problem, nil
}

// blocks tells of all blocks from the first, k, to the end.
func (w *walk) blocks(k *block) error {
	w.solid = k.solid
	volume := k.volume
	for {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		switch k.what {
		case cipher:
			return w.t.Sign(archive.Encrypted, "the list of the files is encrypted")
		case finish:
			if k.next && volume {
				return w.t.Sign(archive.Unreadable, "a RAR archive: it goes on in another file")
			}
			return nil
		case member:
			if done, err := w.member(k); done || err != nil {
				return err
			}
		case service:
			if err := w.service(k); err != nil {
				return err
			}
		case unknown:
			if err := w.t.Sign(archive.Unreadable, "a RAR archive: it has a block of an unknown kind"); err != nil {
				return err
			}
		}
		next, problem, err := w.next()
		if err != nil {
			return err
		}
		if problem == nil && next == nil && !w.five {
			return nil // before RAR 3 there is no block at the end
		}
		if problem == nil && next == nil {
			problem = errCut
		}
		if problem != nil {
			return w.t.Problem("a RAR archive", problem)
		}
		k = next
	}
}

// member tells of a file; done is when the budget has run out.
func (w *walk) member(k *block) (done bool, err error) {
	if spent := w.b.Entry(); spent != nil {
		return true, w.t.Problem("", spent)
	}
	e := &archive.Entry{Names: k.names, Folder: k.dir, Link: k.link, Size: k.size}
	switch {
	case k.locked:
		w.lost = "it needs a file before it that is encrypted"
		return w.bare(e, archive.Encrypted, "")
	case k.continues:
		w.lost = "it needs a file that begins in another archive"
		return w.bare(e, archive.Unreadable, ": it began in another archive")
	case k.packed == 0 && (k.size == 0 || k.link != ""):
		if !k.dir && k.link == "" {
			e.File = archive.NewFile(nil)
		}
		return false, w.t.File(e)
	case k.solid && !k.stored && w.lost != "":
		return w.bare(e, archive.Unreadable, ": "+w.lost)
	case k.unfinished:
		if err := w.t.Sign(archive.Unreadable, "%s: it goes on in another archive", tell.Name(e.Names)); err != nil {
			return true, err
		}
	case k.packed > uint64(w.f.Size()-k.data):
		if err := w.t.Sign(archive.Unreadable, "%s: it is cut off", tell.Name(e.Names)); err != nil {
			return true, err
		}
	}
	if k.dir {
		if err := w.t.Sign(archive.Unreadable, "%s: it is a folder with content", tell.Name(e.Names)); err != nil {
			return true, err
		}
	}
	if !k.solid {
		w.lost = ""
	}
	return w.content(e, k)
}

// bare tells of an entry without its content, and why.
func (w *walk) bare(e *archive.Entry, kind archive.Kind, why string) (done bool, err error) {
	if err := w.t.Sign(kind, "%s%s", tell.Name(e.Names), why); err != nil {
		return true, err
	}
	return false, w.t.File(e)
}

// content unpacks a file and tells of it.
func (w *walk) content(e *archive.Entry, k *block) (done bool, err error) {
	problem, err := w.take(k)
	if err != nil {
		return true, err
	}
	if problem != nil {
		w.lost = "it needs a file before it that could not be unpacked"
		return w.bare(e, archive.Unreadable, ": "+problem.Error())
	}
	r, problem, err := w.open(k)
	if err != nil {
		return true, err
	}
	if problem != nil {
		w.lose()
		return w.bare(e, archive.Unreadable, ": "+problem.Error())
	}
	if k.linked {
		target := make([]byte, maxLink)
		n, problem := io.ReadFull(tell.Contained(r), target)
		e.Link = string(target[:n])
		// Its octets are handed on all the same: not every program makes a link of it.
		rest := r
		if problem != nil && problem != io.ErrUnexpectedEOF && problem != io.EOF {
			rest = &failing{problem}
		}
		r = io.MultiReader(bytes.NewReader(target[:n]), rest)
	}
	f, problem, err := archive.Spool(w.ctx, tell.Contained(r), w.b)
	if err != nil {
		return true, err
	}
	if problem != nil && !tell.Spent(problem) {
		w.lose()
	}
	if w.holds && !w.solid && w.releases < maxReleases {
		w.release()
		w.lost = "it needs a file before it, though the archive says otherwise"
	}
	return tell.Spent(problem), w.t.Hand(e, f, problem)
}

// lose gives up the source: what follows can only be unpacked where it needs nothing before it.
func (w *walk) lose() {
	w.release()
	w.fresh++
	w.from, w.lost = nil, "it needs a file before it that could not be unpacked"
}

// failing is a reader with nothing but an error.
type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }

// service tells of a block that belongs to a file or the archive, where it holds what nobody has looked at.
func (w *walk) service(k *block) error {
	name := ""
	if len(k.names) > 0 {
		name = k.names[0]
	}
	switch name {
	case "CMT", "RR", "ACL", "UOW", "EA2": // a comment, data for recovery, rights, owners, attributes of OS/2
		return nil
	case "QO":
		return w.quickOpen(k)
	case "STM":
		return w.t.Sign(archive.Unreadable, "a RAR archive: a file has a stream beside its content")
	}
	return w.t.Sign(archive.Unreadable, "a RAR archive: it has an unknown block %q", name)
}
