package disk

import (
	"encoding/binary"
	"errors"
	"strings"
	"unicode/utf16"

	"github.com/postern-mail/postern/internal/archive/tell"
)

// isFAT reports whether a sector is the first of a FAT volume: its jump, its sizes, and its media octet
// (fatgen103, "Boot Sector and BPB").
func isFAT(b []byte) bool {
	if len(b) < sectorSize || b[0] != 0xeb && b[0] != 0xe9 || string(b[3:11]) == "NTFS    " || string(b[3:11]) == "EXFAT   " {
		return false
	}
	sector, cluster := binary.LittleEndian.Uint16(b[11:]), b[13]
	return sector >= 512 && sector <= 4096 && sector&(sector-1) == 0 && cluster != 0 && cluster&(cluster-1) == 0 &&
		binary.LittleEndian.Uint16(b[14:]) != 0 && (b[16] == 1 || b[16] == 2) && (b[21] == 0xf0 || b[21] >= 0xf8)
}

// fat is a FAT volume.
type fat struct {
	w         *walk
	table     int64 // place of the first table
	tableSize int64
	data      int64 // place of cluster 2
	cluster   int64 // size of one
	count     uint32
	bits      int
	page      []byte // of the table
	pageAt    int64
	seen      map[uint32]bool
}

// stepPrice is what going from one cluster to the next costs, in unpacked octets.
const stepPrice = 32

var errChain = errors.New("its chain of clusters is damaged")

// fat collects what is in a FAT volume.
func (w *walk) fat(off, size int64, b []byte) error {
	sector := int64(binary.LittleEndian.Uint16(b[11:]))
	roots := int64(binary.LittleEndian.Uint16(b[17:])) * 32
	tableSize := int64(binary.LittleEndian.Uint16(b[22:]))
	if tableSize == 0 {
		tableSize = int64(binary.LittleEndian.Uint32(b[36:]))
	}
	total := int64(binary.LittleEndian.Uint16(b[19:]))
	if total == 0 {
		total = int64(binary.LittleEndian.Uint32(b[32:]))
	}
	v := &fat{w: w, cluster: int64(b[13]) * sector, pageAt: -1, seen: map[uint32]bool{}}
	v.table = off + int64(binary.LittleEndian.Uint16(b[14:]))*sector
	v.tableSize = tableSize * sector
	root := v.table + int64(b[16])*v.tableSize
	v.data = root + (roots+sector-1)/sector*sector
	clusters := (total*sector - (v.data - off)) / v.cluster
	if clusters < 1 || v.tableSize == 0 {
		return w.problem("a FAT volume", errForm)
	}
	if total*sector > size || off+total*sector > w.f.Size() {
		if err := w.problem("a FAT volume", errCut); err != nil {
			return err
		}
	}
	v.count = uint32(min(clusters, 0x0ffffff5))
	// fatgen103, "FAT Type Determination": by the number of clusters alone.
	switch {
	case clusters < 4085:
		v.bits = 12
	case clusters < 65525:
		v.bits = 16
	default:
		v.bits = 32
	}
	if roots > 0 {
		return v.folder([]extent{{root, roots}}, 0)
	}
	x, problem, err := v.chain(binary.LittleEndian.Uint32(b[44:]), maxFolder)
	if err != nil {
		return err
	}
	if problem != nil {
		if err := w.problem("a FAT volume", problem); err != nil {
			return err
		}
	}
	return v.folder(x, 0)
}

// next gives the cluster behind c.
func (v *fat) next(c uint32) (uint32, error) {
	at := int64(c) * int64(v.bits) / 8
	if page := at &^ 0xfff; page != v.pageAt {
		if err := v.w.ctx.Err(); err != nil {
			return 0, err
		}
		// Four octets more: an entry may lie in two pages.
		n := min(0x1000+4, v.tableSize-page, v.w.f.Size()-v.table-page)
		v.page, v.pageAt = make([]byte, 0x1000+4), page
		if n <= 0 {
			v.page = nil
		} else if ok, err := tell.ReadAt(v.w.f, v.page[:n], v.table+page); err != nil || !ok {
			return 0, err
		}
	}
	if v.page == nil {
		return 0, nil
	}
	b := v.page[at-v.pageAt:]
	switch v.bits {
	case 12:
		n := uint32(binary.LittleEndian.Uint16(b)) >> (c & 1 * 4) & 0xfff
		if n >= 0xff8 {
			n = 0x0fffffff
		}
		return n, nil
	case 16:
		n := uint32(binary.LittleEndian.Uint16(b))
		if n >= 0xfff8 {
			n = 0x0fffffff
		}
		return n, nil
	}
	return binary.LittleEndian.Uint32(b) & 0x0fffffff, nil
}

// chain gives the extents of a chain from cluster c on, up to size octets.
func (v *fat) chain(c uint32, size int64) (x []extent, problem, err error) {
	for got := int64(0); got < size; got += v.cluster {
		if c >= 0x0ffffff8 {
			return x, nil, nil
		}
		if c < 2 || c-2 >= v.count || got/v.cluster > int64(v.count) {
			return x, errChain, nil
		}
		if err := v.w.b.Spend(stepPrice); err != nil {
			return nil, nil, err
		}
		off := v.data + int64(c-2)*v.cluster
		if n := len(x); n > 0 && x[n-1].off+x[n-1].size == off {
			x[n-1].size += v.cluster
		} else {
			x = append(x, extent{off, v.cluster})
		}
		if c, err = v.next(c); err != nil {
			return nil, nil, err
		}
	}
	return x, nil, nil
}

// folder collects what is in a folder.
func (v *fat) folder(x []extent, depth int) error {
	if depth > maxDeep {
		return v.w.problem("a FAT volume", errDeep)
	}
	var long longName
	for _, run := range x {
		for at := int64(0); at < run.size; at += sectorSize {
			b, err := v.w.read(run.off+at, sectorSize)
			if err != nil {
				return err
			}
			if b == nil {
				return v.w.problem("a FAT volume", errCut)
			}
			for ; len(b) >= 32; b = b[32:] {
				if b[0] == 0 {
					return nil
				}
				if err := v.entry(b[:32], &long, depth); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// entry collects a file or folder.
func (v *fat) entry(b []byte, long *longName, depth int) error {
	switch {
	case b[0] == 0xe5:
		*long = longName{}
		return nil
	case b[11]&0x3f == 0x0f:
		long.add(b)
		return nil
	}
	name := long.take(b)
	if b[11]&0x08 != 0 || b[0] == '.' {
		return nil // the name of the volume, the folder itself, and that around it
	}
	first := uint32(binary.LittleEndian.Uint16(b[26:]))
	if v.bits == 32 {
		first |= uint32(binary.LittleEndian.Uint16(b[20:])) << 16
	}
	it := &item{size: int64(binary.LittleEndian.Uint32(b[28:])), folder: b[11]&0x10 != 0}
	it.names = tell.Add(tell.Add(nil, name), shortName(b)...)
	want := it.size
	if it.folder {
		want = maxFolder
	}
	var err error
	if want > 0 && first != 0 || !it.folder {
		if it.extents, it.problem, err = v.chain(first, want); err != nil {
			return err
		}
	}
	if err := v.w.add(it); err != nil || !it.folder || v.seen[first] {
		return err
	}
	v.seen[first] = true
	return v.folder(it.extents, depth+1)
}

// shortName gives the readings of a name of eight and three characters.
func shortName(b []byte) []string {
	raw := append([]byte{}, b[:11]...)
	if raw[0] == 0x05 {
		raw[0] = 0xe5
	}
	base, end := strings.TrimRight(string(raw[:8]), " "), strings.TrimRight(string(raw[8:]), " ")
	if end != "" {
		base += "." + end
	}
	return tell.Names([]byte(base))
}

// longName gathers a long name, whose parts come last first (fatgen103, "FAT Long Directory Entries").
type longName struct {
	units []uint16
	sum   byte
	next  byte // number of the part that must follow; 0 when all are there
}

func (l *longName) add(b []byte) {
	number := b[0] & 0x3f
	if b[0]&0x40 != 0 {
		*l = longName{sum: b[13], next: number}
	}
	if number == 0 || number != l.next || b[13] != l.sum {
		*l = longName{}
		return
	}
	var part [13]uint16
	for i, at := range [13]int{1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30} {
		part[i] = binary.LittleEndian.Uint16(b[at:])
	}
	l.units = append(part[:], l.units...)
	l.next--
}

// take gives the long name of the entry b, "" when it has none.
func (l *longName) take(b []byte) string {
	units, ok := l.units, l.next == 0
	sum := byte(0)
	for _, c := range b[:11] {
		sum = sum>>1 | sum<<7
		sum += c
	}
	ok = ok && sum == l.sum
	*l = longName{}
	if !ok {
		return ""
	}
	for i, u := range units {
		if u == 0 {
			units = units[:i]
			break
		}
	}
	return string(utf16.Decode(units))
}
