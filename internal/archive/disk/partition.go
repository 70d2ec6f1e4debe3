package disk

import "encoding/binary"

// part is a partition.
type part struct{ off, size int64 }

// maxPartitions is how many partitions are looked at.
const maxPartitions = 128

// partitions gives the partitions of a disk, by a table at its start: of the BIOS, or of UEFI (UEFI 5.3).
func (w *walk) partitions(head []byte) ([]part, error) {
	if len(head) < 2*sectorSize || head[510] != 0x55 || head[511] != 0xaa {
		return nil, nil
	}
	var parts []part
	for i := range 4 {
		e := head[446+16*i:]
		if e[0]&0x7f != 0 {
			return nil, nil // no flag of a partition, so no table
		}
		kind, off, size := e[4], int64(binary.LittleEndian.Uint32(e[8:])), int64(binary.LittleEndian.Uint32(e[12:]))
		switch {
		case kind == 0 || size == 0:
		case off == 0 || off*sectorSize >= w.f.Size():
			if off != 0 {
				return nil, nil
			}
		case kind == 0xee:
			return w.uefi(head)
		case kind == 0x05 || kind == 0x0f || kind == 0x85:
			more, err := w.logical(off * sectorSize)
			if err != nil {
				return nil, err
			}
			parts = append(parts, more...)
		default:
			parts = append(parts, part{off * sectorSize, size * sectorSize})
		}
	}
	return parts, nil
}

// logical gives the partitions in an extended partition: a chain of tables of one partition each.
func (w *walk) logical(start int64) (parts []part, err error) {
	at := start
	for range maxPartitions {
		b, err := w.read(at, sectorSize)
		if err != nil || b == nil || b[510] != 0x55 || b[511] != 0xaa {
			return parts, err
		}
		off, size := int64(binary.LittleEndian.Uint32(b[446+8:])), int64(binary.LittleEndian.Uint32(b[446+12:]))
		if b[446+4] != 0 && size > 0 && off > 0 {
			parts = append(parts, part{at + off*sectorSize, size * sectorSize})
		}
		next := int64(binary.LittleEndian.Uint32(b[462+8:]))
		if b[462+4] == 0 || next == 0 {
			return parts, nil
		}
		at = start + next*sectorSize
	}
	return parts, nil
}

// uefi gives the partitions of a GPT.
func (w *walk) uefi(head []byte) (parts []part, err error) {
	h := head[sectorSize:]
	if len(h) < sectorSize || string(h[:8]) != "EFI PART" {
		return nil, nil
	}
	at := binary.LittleEndian.Uint64(h[72:])
	count, size := binary.LittleEndian.Uint32(h[80:]), binary.LittleEndian.Uint32(h[84:])
	if at > 1<<32 || size < 128 || size > 4096 {
		return nil, nil
	}
	b, err := w.read(int64(at)*sectorSize, int(min(count, maxPartitions)*size))
	if err != nil {
		return nil, err
	}
	for ; len(b) >= int(size); b = b[size:] {
		first, last := binary.LittleEndian.Uint64(b[32:]), binary.LittleEndian.Uint64(b[40:])
		if first == 0 || last < first || last > 1<<40 {
			continue
		}
		parts = append(parts, part{int64(first) * sectorSize, int64(last-first+1) * sectorSize})
	}
	return parts, nil
}
