// Package disk reads images of disks: ISO 9660 with all its extensions, UDF and FAT, as they are or in partitions, also
// of virtual machines. It knows images of other forms and tells that they can't be read; it mounts nothing.
package disk

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/tell"
)

var (
	errCut  = errors.New("it is cut off")
	errForm = errors.New("it is damaged")
	errDeep = errors.New("its folders lie too deep in one another")
)

// maxFolder is how large the list of one folder may be, maxDeep how deep folders may lie in one another.
const (
	maxFolder = 16 << 20
	maxDeep   = 64
)

// Walk tells v what is in the image f. It is an archive.Walk.
func Walk(ctx context.Context, f *archive.File, b *archive.Budget, v archive.Visitor) error {
	w := &walk{ctx: ctx, f: f, b: b, t: tell.New(b, v), known: map[place]*item{}}
	err := w.image()
	var spent *archive.ErrBudget
	if !errors.As(err, &spent) {
		return err
	}
	for _, it := range w.items { // what was found until then
		if err := w.t.File(it.entry()); err != nil {
			return err
		}
	}
	return w.t.Problem("", spent)
}

// place is what an item is known by: the same octets are the same file, whatever tree it is found in.
type place struct{ off, size int64 }

// extent is a run of octets of the image; off is -1 for zeros that the image does not hold.
type extent struct{ off, size int64 }

// item is a file or folder found in one of the trees of the image.
type item struct {
	names   []string
	folder  bool
	link    string
	size    int64
	extents []extent
	problem error // why its content is not what a reader would see
}

type walk struct {
	ctx   context.Context
	f     *archive.File
	b     *archive.Budget
	t     *tell.Teller
	items []*item
	known map[place]*item
}

// problem tells of something wrong with the image.
func (w *walk) problem(what string, problem error) error {
	return w.t.Sign(archive.Unreadable, "%s: %v", what, problem)
}

// add takes an item, or further names of one that is known. The error is a *archive.ErrBudget.
func (w *walk) add(it *item) error {
	at := place{-1, it.size}
	if len(it.extents) > 0 {
		at.off = it.extents[0].off
	}
	if old := w.known[at]; old != nil && at.off >= 0 && it.size > 0 && !it.folder && old.folder == it.folder && it.link == old.link {
		if len(old.names) < 64 {
			old.names = tell.Add(old.names, it.names...)
			return nil
		}
	}
	if err := w.b.Entry(); err != nil {
		return err
	}
	w.known[at] = it
	w.items = append(w.items, it)
	return nil
}

// entry gives an item without its content.
func (it *item) entry() *archive.Entry {
	return &archive.Entry{Names: it.names, Folder: it.folder, Link: it.link, Size: it.size}
}

// tell hands on all items, and forgets them. The error may be a *archive.ErrBudget; those that are left then are kept.
func (w *walk) tell() error {
	w.known = map[place]*item{}
	for ; len(w.items) > 0; w.items = w.items[1:] {
		it := w.items[0]
		if err := w.ctx.Err(); err != nil {
			return err
		}
		e := it.entry()
		if it.problem != nil {
			if err := w.t.Problem(tell.Name(e.Names), it.problem); err != nil {
				return err
			}
		}
		if !it.folder && (it.link == "" || it.size > 0) {
			if err := w.b.Spend(it.size); err != nil {
				return err
			}
			var cut bool
			e.File, cut = w.content(it)
			if cut && it.problem == nil {
				if err := w.t.Problem(tell.Name(e.Names), errCut); err != nil {
					return err
				}
			}
		}
		if err := w.t.File(e); err != nil {
			return err
		}
	}
	return nil
}

// content gives the octets of an item; cut is whether the image lacks some of them.
func (w *walk) content(it *item) (f *archive.File, cut bool) {
	if len(it.extents) == 1 && it.extents[0].off >= 0 {
		f := w.f.Section(it.extents[0].off, min(it.extents[0].size, it.size))
		return f, f.Size() < it.size
	}
	left, total := it.size, int64(0)
	var p pieces
	for _, x := range it.extents {
		size := min(x.size, left)
		if x.off >= 0 && x.off+size > w.f.Size() {
			cut = true
			size = max(0, w.f.Size()-x.off)
		}
		left -= size
		total += size
		p = append(p, piece{x.off, size, total - size, w.f})
		if cut || left == 0 {
			break
		}
	}
	return archive.FileAt(p, total), cut || left > 0
}

// piece is an extent at its place in a file.
type piece struct {
	off, size, at int64
	f             *archive.File
}

// pieces are a file in more than one run.
type pieces []piece

// ReadAt implements io.ReaderAt.
func (p pieces) ReadAt(b []byte, off int64) (n int, err error) {
	lo, hi := 0, len(p)
	for lo < hi {
		if mid := (lo + hi) / 2; p[mid].at+p[mid].size <= off {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	for _, x := range p[lo:] {
		skip := off - x.at
		m := int(min(x.size-skip, int64(len(b)-n)))
		if x.off < 0 {
			clear(b[n : n+m])
		} else if _, err := x.f.ReadAt(b[n:n+m], x.off+skip); err != nil && err != io.EOF {
			return n, err
		}
		n += m
		off += int64(m)
		if n == len(b) {
			return n, nil
		}
	}
	return n, io.EOF
}

// read gives n octets at off; nil without an error where there are fewer. It spends them.
func (w *walk) read(off int64, n int) ([]byte, error) {
	if err := w.ctx.Err(); err != nil {
		return nil, err
	}
	if off < 0 || off > w.f.Size()-int64(n) {
		return nil, nil
	}
	if err := w.b.Spend(int64(n)); err != nil {
		return nil, err
	}
	b := make([]byte, n)
	if ok, err := tell.ReadAt(w.f, b, off); err != nil || !ok {
		return nil, err
	}
	return b, nil
}

// image finds out what the image is, and walks all that is in it.
func (w *walk) image() error {
	head, tail, err := ends(w.f)
	if err != nil {
		return err
	}
	if name := foreign(head, tail); name != "" {
		return w.t.Sign(archive.Unreadable, "%s, which is not looked into", name)
	}
	if isVHD(tail) {
		if binary.BigEndian.Uint32(tail[60:]) != vhdFixed {
			return w.t.Sign(archive.Unreadable, "a virtual disk that grows, which is not looked into")
		}
		w.f = w.f.Section(0, w.f.Size()-sectorSize)
	}
	iso, udf := volumes(head)
	if iso || udf {
		return w.discs(head, iso, udf)
	}
	found, err := w.volume(0, w.f.Size(), head)
	if err != nil || found {
		return err
	}
	parts, err := w.partitions(head)
	if err != nil {
		return err
	}
	for _, p := range parts {
		first, err := w.f.Section(p.off, p.size).Head(headSize)
		if err != nil {
			return err
		}
		found, err := w.volume(p.off, p.size, first)
		if err != nil {
			return err
		}
		if !found {
			if err := w.t.Sign(archive.Unreadable, "a disk image: it has a partition that can't be looked into"); err != nil {
				return err
			}
		}
	}
	if len(parts) == 0 {
		return w.t.Sign(archive.Unreadable, "a disk image of an unknown form")
	}
	return nil
}

// discs walks the trees of an optical disc, and what may lie beside them.
func (w *walk) discs(head []byte, iso, udf bool) error {
	if iso {
		if err := w.iso(); err != nil {
			return err
		}
	}
	if udf {
		if err := w.udf(); err != nil {
			return err
		}
	}
	if len(head) > 1026 && (string(head[1024:1026]) == "H+" || string(head[1024:1026]) == "HX" || string(head[1024:1026]) == "BD") {
		if err := w.t.Sign(archive.Unreadable, "a disk image: it has a tree for the Macintosh, which is not looked into"); err != nil {
			return err
		}
	}
	if err := w.tell(); err != nil {
		return err
	}
	parts, err := w.partitions(head)
	if err != nil {
		return err
	}
	for _, p := range parts {
		first, err := w.f.Section(p.off, p.size).Head(headSize)
		if err != nil {
			return err
		}
		if isFAT(first) {
			if err := w.fat(p.off, p.size, first); err != nil {
				return err
			}
			if err := w.tell(); err != nil {
				return err
			}
		}
	}
	return nil
}

// volume walks a volume of a hard disk, where it is of a known form.
func (w *walk) volume(off, size int64, head []byte) (found bool, err error) {
	name := ""
	switch {
	case isFAT(head):
		if err := w.fat(off, size, head); err != nil {
			return true, err
		}
		return true, w.tell()
	case len(head) < sectorSize:
	case string(head[3:11]) == "NTFS    ":
		name = "an NTFS volume"
	case string(head[3:11]) == "EXFAT   ":
		name = "an exFAT volume"
	case len(head) > 1082 && head[1080] == 0x53 && head[1081] == 0xef:
		name = "an ext volume"
	}
	if name == "" {
		return false, nil
	}
	return true, w.t.Sign(archive.Unreadable, "a disk image: it has %s, which is not looked into", name)
}

const (
	sectorSize = 512
	headSize   = 64 << 10
	vhdFixed   = 2
)

// ends gives the first octets of a file and its last sector.
func ends(f *archive.File) (head, tail []byte, err error) {
	if head, err = f.Head(headSize); err != nil {
		return nil, nil, err
	}
	tail, err = f.Section(f.Size()-sectorSize, sectorSize).Head(sectorSize)
	return head, tail, err
}

// foreign gives the names of images that can't be read.
func foreign(head, tail []byte) string {
	switch {
	case bytes.HasPrefix(tail, []byte("koly")) && len(tail) == sectorSize:
		return "an Apple disk image"
	case bytes.HasPrefix(head, []byte("vhdxfile")):
		return "a virtual disk (VHDX)"
	case bytes.HasPrefix(head, []byte("\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00")):
		return "an image of raw sectors of a disc"
	case len(head) > 0x800e && string(head[0x8009:0x800e]) == "CDROM":
		return "a High Sierra disc"
	}
	return ""
}

func isVHD(tail []byte) bool {
	return len(tail) == sectorSize && bytes.HasPrefix(tail, []byte("conectix"))
}

// volumes reports what the volume recognition sequence announces, from sector 16 on (ECMA-167 2/8).
func volumes(head []byte) (iso, udf bool) {
	for at := 0x8000; at+2048 <= len(head); at += 2048 {
		switch string(head[at+1 : at+6]) {
		case "CD001":
			iso = true
		case "NSR02", "NSR03":
			udf = true
		case "BEA01", "TEA01", "BOOT2":
		default:
			return iso, udf
		}
	}
	return iso, udf
}

// Is reports whether f is an image of a disk that Walk knows, if only by name.
func Is(f *archive.File) (bool, error) {
	head, tail, err := ends(f)
	if err != nil {
		return false, err
	}
	iso, udf := volumes(head)
	if iso || udf || foreign(head, tail) != "" || isVHD(tail) || isFAT(head) {
		return true, nil
	}
	if len(head) >= sectorSize && (string(head[3:11]) == "NTFS    " || string(head[3:11]) == "EXFAT   ") {
		return true, nil
	}
	w := &walk{ctx: context.Background(), f: f, b: archive.NewBudget(archive.Limits{}, 1)}
	parts, err := w.partitions(head)
	return len(parts) > 0, err
}
