package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/tell"
)

const (
	isoSector  = 2048
	isoFirst   = 16 // sector of the first volume descriptor
	maxVolumes = 64 // volume descriptors that are looked at
)

// tree is one hierarchy of folders of a disc.
type tree struct {
	block  int64
	joliet bool
	root   record
}

// iso collects the trees of all volume descriptors: of the first session, and of others that are in the image.
func (w *walk) iso() error {
	places, err := w.descriptors()
	if err != nil {
		return err
	}
	seen := map[int64]bool{}
	for _, at := range places {
		b, err := w.read(at, isoSector)
		if err != nil {
			return err
		}
		if b == nil {
			continue
		}
		switch b[0] {
		case 0:
			err = w.boot(b)
		case 1, 2:
			t := &tree{block: int64(binary.LittleEndian.Uint16(b[128:])), joliet: b[0] == 2 && isJoliet(b[88:120])}
			if t.block != 512 && t.block != 1024 {
				t.block = isoSector
			}
			var ok bool
			if t.root, ok = t.record(b[156:190]); !ok {
				err = w.problem("a disk image", errForm)
				break
			}
			if key := t.root.off<<1 | int64(b[0]-1); !seen[key] {
				seen[key] = true
				err = w.isoFolder(t, &t.root, map[int64]bool{}, 0)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// isJoliet knows the escape sequences of UCS-2 (Joliet specification, "SVD Escape Sequences Field").
func isJoliet(escape []byte) bool {
	return escape[0] == '%' && escape[1] == '/' && (escape[2] == '@' || escape[2] == 'C' || escape[2] == 'E')
}

// descriptors gives the places of the volume descriptors: those at their place, and those of later sessions, which may
// be anywhere. Joliet comes first: its names are the ones that Windows shows.
func (w *walk) descriptors() (places []int64, err error) {
	const block = 512 * isoSector
	var first, other []int64
	buf := make([]byte, min(block, w.f.Size()))
	for at := int64(0); at < w.f.Size(); at += block {
		if err := w.ctx.Err(); err != nil {
			return nil, err
		}
		part := buf[:min(block, w.f.Size()-at)]
		if ok, err := tell.ReadAt(w.f, part, at); err != nil || !ok {
			return nil, err
		}
		for i := 0; i+isoSector <= len(part); i += isoSector {
			// ECMA-119 8.1: type, identifier, version
			if string(part[i+1:i+6]) != "CD001" || part[i+6] > 2 || part[i] > 2 || at+int64(i) < isoFirst*isoSector {
				continue
			}
			if part[i] == 2 && isJoliet(part[i+88:]) {
				first = append(first, at+int64(i))
			} else {
				other = append(other, at+int64(i))
			}
		}
	}
	places = append(first, other...)
	if len(places) > maxVolumes {
		places = places[:maxVolumes]
		err = w.t.Sign(archive.Unreadable, "a disk image: it has too many volumes")
	}
	return places, err
}

// record is a directory record (ECMA-119 9.1).
type record struct {
	off, size int64
	flags     byte
	name      []byte
	use       []byte // for other standards
	woven     bool   // the file is interleaved with others
}

const (
	isFolder    = 0x02
	isContinued = 0x80
)

// record reads the fields of a directory record.
func (t *tree) record(b []byte) (r record, ok bool) {
	if len(b) < 34 || int(b[32]) > len(b)-33 {
		return r, false
	}
	r.off = (int64(binary.LittleEndian.Uint32(b[2:])) + int64(b[1])) * t.block
	r.size = int64(binary.LittleEndian.Uint32(b[10:]))
	r.flags = b[25]
	r.woven = b[26] != 0 || b[27] != 0
	n := int(b[32])
	r.name = b[33 : 33+n]
	if at := 33 + n + (n+1)&1; at < len(b) {
		r.use = b[at:]
	}
	return r, true
}

// isoFolder collects what is in a folder.
func (w *walk) isoFolder(t *tree, dir *record, seen map[int64]bool, depth int) error {
	if seen[dir.off] {
		return nil
	}
	seen[dir.off] = true
	if depth > maxDeep {
		return w.problem("a disk image", errDeep)
	}
	if dir.size > maxFolder {
		return w.problem("a disk image", errors.New("a folder is too large"))
	}
	var open *item // the file whose next extent follows
	for at := int64(0); at < dir.size; at += isoSector {
		b, err := w.read(dir.off+at, int(min(isoSector, dir.size-at)))
		if err != nil {
			return err
		}
		if b == nil {
			return w.problem("a disk image", errCut)
		}
		for len(b) > 0 && b[0] != 0 {
			if int(b[0]) > len(b) {
				return w.problem("a disk image", errForm)
			}
			r, ok := t.record(b[:b[0]])
			b = b[b[0]:]
			if !ok {
				return w.problem("a disk image", errForm)
			}
			if len(r.name) == 1 && r.name[0] <= 1 {
				continue // the folder itself, and that around it
			}
			if open, err = w.isoRecord(t, &r, open, seen, depth); err != nil {
				return err
			}
		}
	}
	if open != nil {
		open.problem = errCut
		return w.add(open)
	}
	return nil
}

// isoRecord collects a file or folder. It gives the file when its next extent follows.
func (w *walk) isoRecord(t *tree, r *record, open *item, seen map[int64]bool, depth int) (*item, error) {
	if open != nil {
		open.extents = append(open.extents, extent{r.off, r.size})
		open.size += r.size
		if r.flags&isContinued != 0 {
			return open, nil
		}
		return nil, w.add(open)
	}
	it := &item{size: r.size, extents: []extent{{r.off, r.size}}, folder: r.flags&isFolder != 0}
	plain := t.name(r.name)
	rock, err := w.rockRidge(t, r.use)
	if err != nil {
		return nil, err
	}
	it.names = tell.Add(tell.Add(nil, rock.names...), plain...)
	it.link = rock.link
	if rock.relocated > 0 {
		it.folder = true
		r.off, r.size = rock.relocated, isoSector
	}
	switch {
	case rock.packed:
		it.problem = errors.New("it is packed by zisofs, which is not known")
	case r.woven:
		it.problem = errors.New("it is interleaved with another file")
	}
	if r.flags&isContinued != 0 && !it.folder {
		return it, nil
	}
	if err := w.add(it); err != nil || !it.folder {
		return nil, err
	}
	if rock.relocated > 0 {
		if err := w.sizeOf(t, r); err != nil {
			return nil, err
		}
	}
	return nil, w.isoFolder(t, r, seen, depth+1)
}

// sizeOf takes the size of a relocated folder from its record of itself.
func (w *walk) sizeOf(t *tree, r *record) error {
	b, err := w.read(r.off, 34)
	if err != nil || b == nil {
		return err
	}
	if self, ok := t.record(b); ok {
		r.size = self.size
	}
	return nil
}

// name gives the readings of a name: without the number of its version.
func (t *tree) name(raw []byte) []string {
	var names []string
	if t.joliet {
		names = []string{tell.UTF16(binary.BigEndian, raw)}
	} else {
		names = tell.Names(raw)
	}
	for i, name := range names {
		if at := strings.LastIndexByte(name, ';'); at > 0 {
			name = name[:at]
		}
		names[i] = strings.TrimSuffix(name, ".")
	}
	return names
}

// boot collects the images that El Torito boots (El Torito 2.0): they are in no tree.
func (w *walk) boot(b []byte) error {
	if !bytes.HasPrefix(b[7:], []byte("EL TORITO SPECIFICATION")) {
		return nil
	}
	c, err := w.read(int64(binary.LittleEndian.Uint32(b[71:]))*isoSector, isoSector)
	if err != nil || c == nil {
		return err
	}
	for at := 32; at+32 <= len(c); at += 32 {
		e := c[at : at+32]
		if e[0] != 0x88 && e[0] != 0 || e[0] == 0 && at > 32 {
			continue // a header, or nothing
		}
		off := int64(binary.LittleEndian.Uint32(e[8:])) * isoSector
		size := int64(binary.LittleEndian.Uint16(e[6:])) * sectorSize
		switch e[1] & 0x0f { // floppies are longer than what is loaded of them
		case 1:
			size = 1200 << 10
		case 2:
			size = 1440 << 10
		case 3:
			size = 2880 << 10
		}
		if off <= 0 || off >= w.f.Size() || size == 0 {
			continue
		}
		size = min(size, w.f.Size()-off)
		if err := w.add(&item{names: []string{"boot image"}, size: size, extents: []extent{{off, size}}}); err != nil {
			return err
		}
	}
	return nil
}
