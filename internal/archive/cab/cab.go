// Package cab reads cabinets, the archives of Windows (MS-CAB): not packed, or packed by MSZIP or LZX. It does not
// know Quantum, and does not put together cabinets that go on in other files.
package cab

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/tell"
)

const signature = "MSCF\x00\x00\x00\x00"

// The flags of a cabinet, and of a file (MS-CAB 2.1, 2.3).
const (
	hasPrevious = 0x0001
	hasNext     = 0x0002
	hasReserve  = 0x0004
	nameIsUTF8  = 0x0080
)

// Where a file is that is not in a folder of this cabinet alone (MS-CAB 2.3, "iFolder").
const (
	fromPrevious    = 0xfffd
	toNext          = 0xfffe
	previousAndNext = 0xffff
)

var (
	errCut  = errors.New("it is cut off")
	errForm = errors.New("its header is damaged")
)

// Is reports whether the first octets of a file are those of a cabinet.
func Is(head []byte) bool { return bytes.HasPrefix(head, []byte(signature)) }

// Find gives the place of a cabinet inside of a file, such as a program that unpacks itself.
func Find(ctx context.Context, f *archive.File) (offset int64, ok bool, err error) {
	return tell.Find(ctx, f, []byte(signature), func(off int64) (bool, error) {
		head := make([]byte, 36)
		if ok, err := tell.ReadAt(f, head, off); err != nil || !ok {
			return false, err
		}
		size, files := binary.LittleEndian.Uint32(head[8:]), binary.LittleEndian.Uint32(head[16:])
		return head[25] == 1 && int64(size) <= f.Size()-off && files >= 36 && files <= size, nil
	})
}

// Walk tells v what is in the cabinet that begins where f does. It is an archive.Walk.
func Walk(ctx context.Context, f *archive.File, b *archive.Budget, v archive.Visitor) error {
	w := &walk{ctx: ctx, f: f, b: b, t: tell.New(b, v), current: -1}
	defer w.close()
	problem, err := w.header()
	if err != nil {
		return err
	}
	if problem != nil {
		return w.t.Problem("a cabinet", problem)
	}
	return w.files()
}

// folder is a CFFOLDER structure.
type folder struct {
	at     int64
	blocks int
	method uint16
}

// member is a CFFILE structure.
type member struct {
	size, at uint32
	folder   int
	names    []string
}

type walk struct {
	ctx     context.Context
	f       *archive.File
	b       *archive.Budget
	t       *tell.Teller
	folders []folder
	count   int   // of files
	at      int64 // place of the first file
	reserve int   // octets in each CFDATA

	current int           // the folder that is unpacked
	content *archive.File // what is in it, as far as it could be unpacked
	problem error
	given   int64 // octets of it that files were given
}

func (w *walk) close() {
	if w.content != nil {
		_ = w.content.Close()
		w.content = nil
	}
}

// header reads the CFHEADER and the CFFOLDERs.
func (w *walk) header() (problem, err error) {
	r := &cursor{f: w.f}
	head := r.bytes(36)
	if r.err != nil || r.cut {
		return errCut, r.err
	}
	if !Is(head) || head[25] != 1 {
		return errForm, nil
	}
	w.at = int64(binary.LittleEndian.Uint32(head[16:]))
	folders := int(binary.LittleEndian.Uint16(head[26:]))
	w.count = int(binary.LittleEndian.Uint16(head[28:]))
	flags := binary.LittleEndian.Uint16(head[30:])
	each := 0
	if flags&hasReserve != 0 {
		sizes := r.bytes(4)
		if r.cut || r.err != nil {
			return errCut, r.err
		}
		each, w.reserve = int(sizes[2]), int(sizes[3])
		r.at += int64(binary.LittleEndian.Uint16(sizes))
	}
	for _, flag := range []uint16{hasPrevious, hasNext} {
		if flags&flag != 0 {
			r.text() // the name of a cabinet
			r.text() // and of its disk
		}
	}
	for range folders {
		b := r.bytes(8 + each)
		if r.cut || r.err != nil {
			return errCut, r.err
		}
		w.folders = append(w.folders, folder{
			at:     int64(binary.LittleEndian.Uint32(b)),
			blocks: int(binary.LittleEndian.Uint16(b[4:])),
			method: binary.LittleEndian.Uint16(b[6:]),
		})
	}
	if r.cut {
		return errCut, r.err
	}
	return nil, r.err
}

// files tells of the files in their order, which is that of the folders.
func (w *walk) files() error {
	r := &cursor{f: w.f, at: w.at}
	for range w.count {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		b := r.bytes(16)
		name := bytes.ReplaceAll(r.text(), []byte(`\`), []byte("/")) // what separates folders
		if r.err != nil {
			return r.err
		}
		if r.cut {
			return w.t.Problem("a cabinet", errCut)
		}
		m := member{
			size:   binary.LittleEndian.Uint32(b),
			at:     binary.LittleEndian.Uint32(b[4:]),
			folder: int(binary.LittleEndian.Uint16(b[8:])),
			names:  tell.Names(name),
		}
		if binary.LittleEndian.Uint16(b[14:])&nameIsUTF8 != 0 {
			m.names = tell.Add(nil, append([]string{string(name)}, m.names...)...)
		}
		if done, err := w.member(&m); done || err != nil {
			return err
		}
	}
	return nil
}

// member tells of a file; done is when the budget has run out.
func (w *walk) member(m *member) (done bool, err error) {
	if spent := w.b.Entry(); spent != nil {
		return true, w.t.Problem("", spent)
	}
	e := &archive.Entry{Names: m.names, Size: int64(m.size)}
	problem := error(nil)
	switch {
	case m.folder == fromPrevious || m.folder == previousAndNext:
		problem = errors.New("it begins in another cabinet")
	case m.folder == toNext:
		problem = errElsewhere
		m.folder = len(w.folders) - 1
	case m.folder >= len(w.folders):
		problem = errForm
	}
	if m.folder < 0 || m.folder >= len(w.folders) {
		return false, w.t.Without(e, problem)
	}
	if m.folder != w.current {
		if err := w.unpack(m.folder); err != nil {
			return true, err
		}
	}
	if w.content == nil {
		return tell.Spent(w.problem), w.t.Without(e, w.problem)
	}
	// A folder has been paid for once; files that lie over one another are paid for again.
	if w.given += int64(m.size); w.given > w.content.Size() {
		over := min(w.given-w.content.Size(), int64(m.size))
		if spent := w.b.Spend(min(over, w.content.Size())); spent != nil {
			return true, w.t.Problem("", spent)
		}
	}
	e.File = w.content.Section(int64(m.at), int64(m.size))
	if e.File.Size() < int64(m.size) && problem == nil {
		if problem = w.problem; problem == nil {
			problem = errCut
		}
	}
	if problem != nil {
		if err := w.t.Problem(tell.Name(e.Names), problem); err != nil {
			return true, err
		}
	}
	return tell.Spent(w.problem), w.t.File(e)
}

// unpack makes i the current folder.
func (w *walk) unpack(i int) error {
	w.close()
	fo := w.folders[i]
	w.current, w.given, w.problem = i, 0, nil
	b := &blocks{f: w.f, at: fo.at, left: fo.blocks, reserve: w.reserve}
	r, problem := b.reader(fo.method, w.b)
	if problem != nil {
		w.problem = problem
		return nil
	}
	var err error
	if w.content, w.problem, err = archive.Spool(w.ctx, tell.Contained(r), w.b); err != nil {
		return err
	}
	if b.wrong {
		return w.t.Sign(archive.Unreadable, "a cabinet: a checksum is wrong")
	}
	return nil
}

// cursor reads a file from some place on.
type cursor struct {
	f   *archive.File
	at  int64
	cut bool
	err error
}

func (r *cursor) bytes(n int) []byte {
	b := make([]byte, n)
	ok, err := tell.ReadAt(r.f, b, r.at)
	if err != nil && r.err == nil {
		r.err = err
	}
	r.cut = r.cut || !ok
	r.at += int64(n)
	return b
}

// maxName is more than any name of a file or cabinet has (MS-CAB 2.1: 255 octets).
const maxName = 1 << 10

// text reads octets up to a zero.
func (r *cursor) text() []byte {
	b := make([]byte, min(maxName, max(0, r.f.Size()-r.at)))
	n, err := r.f.ReadAt(b, r.at)
	if err != nil && err != io.EOF && r.err == nil {
		r.err = err
	}
	i := bytes.IndexByte(b[:n], 0)
	if i < 0 {
		r.cut = true
		return nil
	}
	r.at += int64(i) + 1
	return b[:i]
}
