package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf16"

	"github.com/postern-mail/postern/internal/archive/tell"
)

// The tags of descriptors (ECMA-167 3/7.2.1, 4/7.2.1).
const (
	tagAnchor      = 2
	tagPartition   = 5
	tagLogical     = 6
	tagTerminating = 8
	tagFileSet     = 256
	tagFileName    = 257
	tagAllocation  = 258
	tagFile        = 261
	tagLongFile    = 266
)

// udf is a volume of UDF.
type udf struct {
	w     *walk
	block int64
	parts map[uint16]extent // by number
	maps  []partMap         // by reference
	root  []byte            // long_ad of the file set
	seen  map[int64]bool
}

// partMap tells how a partition reference is turned into places.
type partMap struct {
	start   int64
	size    int64
	through []extent // where the partition is a file: the metadata of UDF 2.50
}

// udf collects the tree of a UDF volume. What can't be followed is told of.
func (w *walk) udf() error {
	v := &udf{w: w, parts: map[uint16]extent{}, seen: map[int64]bool{}}
	anchor, err := v.anchor()
	if err != nil {
		return err
	}
	if anchor == nil {
		return w.problem("a UDF image", errors.New("it has no anchor"))
	}
	problem, err := v.volume(anchor)
	if err != nil {
		return err
	}
	if problem != nil {
		return w.problem("a UDF image", problem)
	}
	b, _, err := v.readAD(v.root)
	if err != nil {
		return err
	}
	if tag(b) != tagFileSet {
		return w.problem("a UDF image", errForm)
	}
	return v.file(b[400:416], nil, 0)
}

// tag gives the identifier of a descriptor whose tag has a right checksum; 0 for anything else.
func tag(b []byte) uint16 {
	if len(b) < isoSector/4 {
		return 0
	}
	sum := byte(0)
	for i, c := range b[:16] {
		if i != 4 {
			sum += c
		}
	}
	if sum != b[4] {
		return 0
	}
	return binary.LittleEndian.Uint16(b)
}

// anchor finds the anchor at one of its places (ECMA-167 3/8.4.2.1), in sectors of the sizes that are in use.
func (v *udf) anchor() ([]byte, error) {
	for _, block := range []int64{2048, 512, 4096, 1024} {
		n := v.w.f.Size() / block
		for _, sector := range []int64{256, n - 1, n - 257, 512} {
			b, err := v.w.read(sector*block, int(block))
			if err != nil {
				return nil, err
			}
			if tag(b) == tagAnchor && int64(binary.LittleEndian.Uint32(b[12:])) == sector {
				v.block = block
				return b, nil
			}
		}
	}
	return nil, nil
}

// volume reads the volume descriptor sequence: the main one, or else the reserve.
func (v *udf) volume(anchor []byte) (problem, err error) {
	var logical []byte
	for _, at := range []int{16, 24} {
		size, sector := int64(binary.LittleEndian.Uint32(anchor[at:])), int64(binary.LittleEndian.Uint32(anchor[at+4:]))
		for i := range min(size/v.block, 64) {
			b, err := v.w.read((sector+i)*v.block, int(v.block))
			if err != nil {
				return nil, err
			}
			switch tag(b) {
			case tagPartition:
				start, n := int64(binary.LittleEndian.Uint32(b[188:])), int64(binary.LittleEndian.Uint32(b[192:]))
				v.parts[binary.LittleEndian.Uint16(b[22:])] = extent{start * v.block, n * v.block}
			case tagLogical:
				logical = b
			}
			if t := tag(b); t == tagTerminating || t == 0 {
				break
			}
		}
		if logical != nil {
			break
		}
	}
	if logical == nil {
		return errors.New("it has no logical volume"), nil
	}
	if binary.LittleEndian.Uint32(logical[212:]) != uint32(v.block) {
		return errForm, nil
	}
	v.root = logical[248:264]
	return v.mapPartitions(logical)
}

// mapPartitions reads the partition maps of the logical volume (ECMA-167 3/10.7, UDF 2.2.8).
func (v *udf) mapPartitions(logical []byte) (problem, err error) {
	n, m := int(binary.LittleEndian.Uint32(logical[264:])), logical[440:]
	if n > len(m) {
		return errForm, nil
	}
	for m = m[:n]; len(m) >= 2; {
		size := int(m[1])
		if size < 6 || size > len(m) {
			return errForm, nil
		}
		switch {
		case m[0] == 1:
			p, ok := v.parts[binary.LittleEndian.Uint16(m[4:])]
			if !ok {
				return errForm, nil
			}
			v.maps = append(v.maps, partMap{start: p.off, size: p.size})
		case m[0] == 2 && size >= 64 && string(m[5:28]) == "*UDF Metadata Partition":
			p, ok := v.parts[binary.LittleEndian.Uint16(m[38:])]
			if !ok {
				return errForm, nil
			}
			v.maps = append(v.maps, partMap{start: p.off, size: p.size})
			b, err := v.w.read(p.off+int64(binary.LittleEndian.Uint32(m[40:]))*v.block, int(v.block))
			if err != nil {
				return nil, err
			}
			f, problem, err := v.entry(b, uint16(len(v.maps)-1), 0)
			if problem != nil || err != nil {
				return problem, err
			}
			if len(f.extents) > maxMetadata {
				return errors.New("its metadata is in too many pieces"), nil
			}
			v.maps[len(v.maps)-1] = partMap{through: f.extents, size: f.size}
		default:
			return errors.New("it has a partition of a kind that can't be followed"), nil
		}
		m = m[size:]
	}
	return nil, nil
}

// place gives where a block of a partition is, and how many octets follow it there.
func (v *udf) place(ref uint16, block int64) (off, run int64, ok bool) {
	if int(ref) >= len(v.maps) {
		return 0, 0, false
	}
	m := &v.maps[ref]
	at := block * v.block
	if at >= m.size {
		return 0, 0, false
	}
	if m.through == nil {
		return m.start + at, m.size - at, true
	}
	for _, x := range m.through {
		if at < x.size {
			return x.off + at, x.size - at, x.off >= 0
		}
		at -= x.size
	}
	return 0, 0, false
}

// readAD reads the block that a long_ad points to, and gives the reference of its partition.
func (v *udf) readAD(ad []byte) ([]byte, uint16, error) {
	ref := binary.LittleEndian.Uint16(ad[8:])
	off, _, ok := v.place(ref, int64(binary.LittleEndian.Uint32(ad[4:])))
	if !ok {
		return nil, ref, nil
	}
	b, err := v.w.read(off, int(v.block))
	return b, ref, err
}

// entry reads a file entry (ECMA-167 4/14.9, 4/14.17): its size and where its octets are.
func (v *udf) entry(b []byte, ref uint16, at int64) (it *item, problem, err error) {
	var data int
	switch tag(b) {
	case tagFile:
		data = 176
	case tagLongFile:
		data = 216
	default:
		return nil, errForm, nil
	}
	it = &item{size: int64(min(binary.LittleEndian.Uint64(b[56:]), 1<<60)), folder: b[16+11] == 4}
	attributes, length := binary.LittleEndian.Uint32(b[data-8:]), binary.LittleEndian.Uint32(b[data-4:])
	if uint64(data)+uint64(attributes)+uint64(length) > uint64(len(b)) {
		return nil, errForm, nil
	}
	if strategy := binary.LittleEndian.Uint16(b[16+4:]); strategy != 4 {
		return nil, fmt.Errorf("a file is kept by strategy %d", strategy), nil
	}
	start := data + int(attributes)
	form := b[16+18] & 7
	if form == 3 { // in the entry itself
		it.extents = []extent{{at + int64(start), int64(length)}}
		return it, nil, nil
	}
	problem, err = v.extents(it, b[start:start+int(length)], form, ref)
	return it, problem, err
}

// maxExtents is how many runs a file may have.
const maxExtents = 1 << 16

// maxMetadata is how many runs the file may have that each look-up in the metadata goes through.
const maxMetadata = 1 << 8

// extents follows the allocation descriptors of a file.
func (v *udf) extents(it *item, b []byte, form byte, ref uint16) (problem, err error) {
	step := 8
	if form == 1 {
		step = 16
	} else if form != 0 {
		return fmt.Errorf("a file has descriptors of form %d", form), nil
	}
	for hops := 0; len(b) >= step; {
		word := binary.LittleEndian.Uint32(b)
		size, block := int64(word&(1<<30-1)), int64(binary.LittleEndian.Uint32(b[4:]))
		if form == 1 {
			ref = binary.LittleEndian.Uint16(b[8:])
		}
		b = b[step:]
		if size == 0 {
			return nil, nil
		}
		switch word >> 30 {
		case 0:
			if !v.run(it, ref, block, size) {
				return errCut, nil
			}
		case 3: // more descriptors
			off, _, ok := v.place(ref, block)
			if hops++; !ok || hops > 1024 {
				return errForm, nil
			}
			if b, err = v.w.read(off, int(v.block)); err != nil {
				return nil, err
			}
			if tag(b) != tagAllocation {
				return errForm, nil
			}
			b = b[24:min(len(b), 24+int(min(binary.LittleEndian.Uint32(b[20:]), 1<<16)))]
		default:
			it.extents = append(it.extents, extent{-1, size})
		}
		if len(it.extents) > maxExtents {
			return errForm, nil
		}
	}
	return nil, nil
}

// run appends a run of blocks, in as many pieces as they are in.
func (v *udf) run(it *item, ref uint16, block, size int64) bool {
	for size > 0 {
		off, run, ok := v.place(ref, block)
		if !ok || len(it.extents) > maxExtents {
			return false
		}
		n := min(run, size)
		if last := len(it.extents) - 1; last >= 0 && it.extents[last].off >= 0 && it.extents[last].off+it.extents[last].size == off {
			it.extents[last].size += n
		} else {
			it.extents = append(it.extents, extent{off, n})
		}
		size -= n
		block += (n + v.block - 1) / v.block
	}
	return true
}

// file collects the file or folder that a long_ad points to.
func (v *udf) file(ad []byte, names []string, depth int) error {
	b, ref, err := v.readAD(ad)
	if err != nil {
		return err
	}
	at, _, _ := v.place(ref, int64(binary.LittleEndian.Uint32(ad[4:])))
	var it *item
	problem := errCut
	if b != nil {
		if it, problem, err = v.entry(b, ref, at); err != nil {
			return err
		}
	}
	if it == nil {
		it = &item{}
	}
	it.names, it.problem = names, problem
	if depth > 0 || !it.folder {
		if err := v.w.add(it); err != nil {
			return err
		}
	}
	if !it.folder || v.seen[at] {
		return nil
	}
	v.seen[at] = true
	switch {
	case depth > maxDeep:
		return v.w.problem("a UDF image", errDeep)
	case it.size > maxFolder:
		return v.w.problem("a UDF image", errors.New("a folder is too large"))
	}
	return v.folder(it, depth)
}

// folder collects what is in a folder.
func (v *udf) folder(dir *item, depth int) error {
	if err := v.w.b.Spend(dir.size); err != nil {
		return err
	}
	f, cut := v.w.content(dir)
	b, err := f.Head(int(dir.size))
	if err != nil {
		return err
	}
	for len(b) >= 38 {
		if binary.LittleEndian.Uint16(b) != tagFileName {
			return v.w.problem("a UDF image", errForm)
		}
		name, use := int(b[19]), int(binary.LittleEndian.Uint16(b[36:]))
		size := (38 + name + use + 3) &^ 3
		if 38+use+name > len(b) {
			return v.w.problem("a UDF image", errCut)
		}
		// ECMA-167 4/14.4.3: bit 2 is a deleted file, bit 3 the folder around.
		if b[18]&0x0c == 0 {
			if err := v.file(b[20:36], characters(b[38+use:38+use+name]), depth+1); err != nil {
				return err
			}
		}
		b = b[min(size, len(b)):]
	}
	if cut {
		return v.w.problem("a UDF image", errCut)
	}
	return nil
}

// characters reads a name in OSTA compressed Unicode (UDF 2.1.1).
func characters(b []byte) []string {
	if len(b) < 2 {
		return nil
	}
	var units []uint16
	if b[0] == 16 || b[0] == 255 {
		for i := 1; i+1 < len(b); i += 2 {
			units = append(units, binary.BigEndian.Uint16(b[i:]))
		}
	} else {
		for _, c := range b[1:] {
			units = append(units, uint16(c))
		}
	}
	return tell.Add(nil, string(utf16.Decode(units)))
}
