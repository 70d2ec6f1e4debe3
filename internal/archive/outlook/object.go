package outlook

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"unicode/utf16"

	"github.com/postern-mail/postern/internal/archive/ole"
)

// The object of another program lies in a message as a folder of the message's compound file. Who opens it gets a
// compound file of its own, and that is what the readers of documents know: so one is written here. Its sectors are
// of 4096 octets, so that the header has room for the places of the whole sector table (MS-CFB 2.2).
const (
	sectorSize  = 4096
	miniSize    = 64
	miniCutoff  = 4096 // streams that are shorter lie in mini sectors
	inHeader    = 109  // places of the sector table
	entrySize   = 128
	maxObjects  = 1 << 14 // streams and storages of one object
	maxSectors  = inHeader * sectorSize / 4
	freeSector  = 0xffffffff
	endOfChain  = 0xfffffffe
	tableSector = 0xfffffffd
	colourBlack = 1
	kindStorage = 1
	kindStream  = 2
	kindRoot    = 5
	magic       = "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
	rootName    = "Root Entry"
)

var errLarge = errors.New("the object is too large")

// writer gathers a compound file.
type writer struct {
	open      func(*ole.Stream) (io.Reader, int64, error)
	directory []byte
	table     []uint32 // of sectors
	mini      []uint32 // of mini sectors
	large     []io.Reader
	small     []io.Reader
}

// compound gives the octets of a compound file that has s as its root.
func compound(s *ole.Storage, open func(*ole.Stream) (io.Reader, int64, error)) (io.Reader, error) {
	w := &writer{open: open, directory: make([]byte, entrySize)}
	child, err := w.children(s)
	if err != nil {
		return nil, err
	}
	small := int64(len(w.mini)) * miniSize
	root := entry{name: rootName, kind: kindRoot, clsid: s.CLSID, right: freeSector, child: child, start: endOfChain, size: small}
	if small > 0 {
		root.start = w.chain(small)
	}
	copy(w.directory, root.octets())
	miniTable := w.tableOctets(w.mini)
	miniStart := w.chain(int64(len(miniTable)))
	directory := padTo(w.directory, sectorSize)
	directoryStart := w.chain(int64(len(directory)))
	tableStart := len(w.table)
	count := 0
	for len(w.table)+count > count*sectorSize/4 {
		count++
	}
	if count > inHeader || len(w.directory) > maxObjects*entrySize {
		return nil, errLarge
	}
	for range count {
		w.table = append(w.table, tableSector)
	}
	head := w.header(directoryStart, miniStart, len(miniTable)/sectorSize, tableStart, count)
	parts := append([]io.Reader{bytes.NewReader(head)}, w.large...)
	parts = append(parts, w.small...)
	parts = append(parts, padding(small, sectorSize), bytes.NewReader(miniTable), bytes.NewReader(directory), bytes.NewReader(w.tableOctets(w.table)))
	return io.MultiReader(parts...), nil
}

// chain takes sectors for size octets, one behind the other, and gives the first.
func (w *writer) chain(size int64) uint32 {
	var first uint32
	w.table, first = chained(w.table, (size+sectorSize-1)/sectorSize)
	return first
}

func chained(table []uint32, n int64) ([]uint32, uint32) {
	if n == 0 {
		return table, endOfChain
	}
	first := uint32(len(table))
	for i := range n {
		table = append(table, first+uint32(i)+1)
	}
	table[len(table)-1] = endOfChain
	return table, first
}

func (w *writer) tableOctets(table []uint32) []byte {
	var out []byte
	for _, v := range table {
		out = binary.LittleEndian.AppendUint32(out, v)
	}
	for len(out)%sectorSize > 0 {
		out = binary.LittleEndian.AppendUint32(out, freeSector)
	}
	return out
}

func padTo(b []byte, n int) []byte {
	return append(b, make([]byte, (n-len(b)%n)%n)...)
}

// padding gives the zeros that fill size octets up to a whole number of units.
func padding(size, unit int64) io.Reader {
	return bytes.NewReader(make([]byte, (unit-size%unit)%unit))
}

// children writes what is in a storage as a list to the right, and gives the number of its first entry.
func (w *writer) children(s *ole.Storage) (uint32, error) {
	next := uint32(freeSector)
	add := func(e entry) error {
		if len(w.directory) > maxObjects*entrySize || len(w.table)+len(w.mini) > maxSectors {
			return errLarge
		}
		e.right = next
		next = uint32(len(w.directory) / entrySize)
		w.directory = append(w.directory, e.octets()...)
		return nil
	}
	for _, c := range s.Storages {
		child, err := w.children(c)
		if err != nil {
			return 0, err
		}
		if err := add(entry{name: c.Name, kind: kindStorage, clsid: c.CLSID, child: child}); err != nil {
			return 0, err
		}
	}
	for _, c := range s.Streams {
		content, size, err := w.open(c)
		if err != nil {
			return 0, err
		}
		e := entry{name: c.Name, kind: kindStream, child: freeSector, start: endOfChain, size: size}
		switch {
		case size > maxSectors*sectorSize:
			return 0, errLarge
		case size >= miniCutoff:
			e.start = w.chain(size)
			w.large = append(w.large, content, padding(size, sectorSize))
		case size > 0:
			w.mini, e.start = chained(w.mini, (size+miniSize-1)/miniSize)
			w.small = append(w.small, content, padding(size, miniSize))
		}
		if err := add(e); err != nil {
			return 0, err
		}
	}
	return next, nil
}

// entry is one of the directory (MS-CFB 2.6.1).
type entry struct {
	name                string
	kind                byte
	clsid               ole.CLSID
	right, child, start uint32
	size                int64
}

func (e entry) octets() []byte {
	const nameUnits = 31
	out := make([]byte, entrySize)
	units := utf16.Encode([]rune(e.name))
	units = units[:min(len(units), nameUnits)]
	for i, u := range units {
		binary.LittleEndian.PutUint16(out[2*i:], u)
	}
	binary.LittleEndian.PutUint16(out[64:], uint16(2*len(units)+2))
	out[66], out[67] = e.kind, colourBlack
	binary.LittleEndian.PutUint32(out[68:], freeSector)
	binary.LittleEndian.PutUint32(out[72:], e.right)
	binary.LittleEndian.PutUint32(out[76:], e.child)
	copy(out[80:], e.clsid[:])
	binary.LittleEndian.PutUint32(out[116:], e.start)
	binary.LittleEndian.PutUint64(out[120:], uint64(e.size))
	return out
}

// header gives the first sector (MS-CFB 2.2).
func (w *writer) header(directory, mini uint32, miniCount, table, tableCount int) []byte {
	const version3e, version4, littleEndian, sectorShift, miniShift = 0x3e, 4, 0xfffe, 12, 6
	out := make([]byte, sectorSize)
	copy(out, magic)
	for at, v := range map[int]uint16{24: version3e, 26: version4, 28: littleEndian, 30: sectorShift, 32: miniShift} {
		binary.LittleEndian.PutUint16(out[at:], v)
	}
	for at, v := range map[int]uint32{
		40: uint32((len(w.directory) + sectorSize - 1) / sectorSize), 44: uint32(tableCount), 48: directory,
		56: miniCutoff, 60: mini, 64: uint32(miniCount), 68: endOfChain,
	} {
		binary.LittleEndian.PutUint32(out[at:], v)
	}
	for i := range inHeader {
		v := uint32(freeSector)
		if i < tableCount {
			v = uint32(table + i)
		}
		binary.LittleEndian.PutUint32(out[76+4*i:], v)
	}
	return out
}
