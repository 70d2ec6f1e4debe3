// Package oletest builds compound files and projects of macros for tests. It is not a writer for anything else: what it
// builds is the plainest that readers take.
package oletest

import (
	"bytes"
	"encoding/binary"
	"unicode/utf16"

	"github.com/postern-mail/postern/internal/archive/ole"
)

// Node is a storage or a stream.
type Node struct {
	Name     string
	CLSID    ole.CLSID
	Data     []byte // of a stream
	Children []Node // of a storage
	Storage  bool   // it is a storage, even without children
}

// Special values of the tables.
const (
	end      = 0xfffffffe
	free     = 0xffffffff
	tableFAT = 0xfffffffd
	sector   = 512
	mini     = 64
	cutoff   = 4096
)

type builder struct {
	sectors [][]byte
	fat     []uint32
	mini    []byte
	miniFAT []uint32
	entries [][]byte
}

// Build makes a compound file with the children of root (MS-CFB).
func Build(root Node) []byte {
	b := &builder{}
	root.Name, root.Storage = "Root Entry", true
	b.add(root)
	miniStart := b.chain(b.mini)
	binary.LittleEndian.PutUint32(b.entries[0][116:], miniStart)
	binary.LittleEndian.PutUint32(b.entries[0][120:], uint32(len(b.mini)))
	b.entries[0][66] = 5
	directory := b.chain(bytes.Join(b.entries, nil))
	miniFAT := b.chain(table(b.miniFAT))
	head := make([]byte, sector)
	copy(head, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
	for at, v := range map[int]uint16{0x18: 0x3e, 0x1a: 3, 0x1c: 0xfffe, 0x1e: 9, 0x20: 6} {
		binary.LittleEndian.PutUint16(head[at:], v)
	}
	for at := 0x4c; at < sector; at += 4 {
		binary.LittleEndian.PutUint32(head[at:], free)
	}
	count := 0
	for count*sector/4 < len(b.fat)+count {
		count++
	}
	for i := range count {
		binary.LittleEndian.PutUint32(head[0x4c+4*i:], uint32(len(b.fat)))
		b.fat = append(b.fat, tableFAT)
	}
	for at, v := range map[int]uint32{
		0x2c: uint32(count), 0x30: directory, 0x38: cutoff, 0x3c: miniFAT,
		0x40: uint32(len(b.miniFAT)*4+sector-1) / sector, 0x44: end,
	} {
		binary.LittleEndian.PutUint32(head[at:], v)
	}
	fat := table(b.fat)
	for len(fat) < count*sector {
		fat = append(fat, 0xff)
	}
	return append(append(head, bytes.Join(b.sectors, nil)...), fat...)
}

// add makes the entries of a node and those below it, and gives its number.
func (b *builder) add(n Node) uint32 {
	id := uint32(len(b.entries))
	e := make([]byte, 128)
	b.entries = append(b.entries, e)
	units := utf16.Encode([]rune(n.Name))
	for i, u := range units {
		binary.LittleEndian.PutUint16(e[2*i:], u)
	}
	binary.LittleEndian.PutUint16(e[64:], uint16(2*len(units)+2))
	for _, at := range []int{68, 72, 76} {
		binary.LittleEndian.PutUint32(e[at:], free)
	}
	copy(e[80:], n.CLSID[:])
	if !n.Storage && n.Children == nil {
		e[66] = 2
		binary.LittleEndian.PutUint32(e[120:], uint32(len(n.Data)))
		start := uint32(end)
		if len(n.Data) >= cutoff {
			start = b.chain(n.Data)
		} else if len(n.Data) > 0 {
			start = b.miniChain(n.Data)
		}
		binary.LittleEndian.PutUint32(e[116:], start)
		return id
	}
	e[66] = 1
	link := e[76:80]
	for _, c := range n.Children {
		child := b.add(c)
		binary.LittleEndian.PutUint32(link, child)
		link = b.entries[child][72:76]
	}
	return id
}

// chain stores octets in sectors.
func (b *builder) chain(data []byte) uint32 {
	if len(data) == 0 {
		return end
	}
	start := uint32(len(b.fat))
	for len(data) > 0 {
		s := make([]byte, sector)
		data = data[copy(s, data):]
		b.sectors = append(b.sectors, s)
		b.fat = append(b.fat, uint32(len(b.fat)+1))
	}
	b.fat[len(b.fat)-1] = end
	return start
}

func (b *builder) miniChain(data []byte) uint32 {
	start := uint32(len(b.miniFAT))
	for len(data) > 0 {
		s := make([]byte, mini)
		data = data[copy(s, data):]
		b.mini = append(b.mini, s...)
		b.miniFAT = append(b.miniFAT, uint32(len(b.miniFAT)+1))
	}
	b.miniFAT[len(b.miniFAT)-1] = end
	return start
}

func table(values []uint32) []byte {
	b := make([]byte, 0, 4*len(values))
	for _, v := range values {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	for len(b)%sector != 0 {
		b = append(b, 0xff)
	}
	return b
}

// Module is one module of a project of macros.
type Module struct {
	Name     string
	Source   string
	Compiled []byte // what precedes the source
}

// VBA makes the storage VBA of a project (MS-OVBA 2.3.4).
func VBA(modules ...Module) Node {
	var dir []byte
	record := func(id uint16, data []byte) {
		dir = binary.LittleEndian.AppendUint16(dir, id)
		dir = binary.LittleEndian.AppendUint32(dir, uint32(len(data)))
		dir = append(dir, data...)
	}
	record(1, []byte{1, 0, 0, 0})
	record(3, []byte{0xe4, 4})
	dir = append(dir, 9, 0, 4, 0, 0, 0, 1, 0, 0, 0, 1, 0)
	n := Node{Name: "VBA", Storage: true}
	for _, m := range modules {
		record(0x19, []byte(m.Name))
		record(0x1a, []byte(m.Name))
		record(0x31, binary.LittleEndian.AppendUint32(nil, uint32(len(m.Compiled))))
		record(0x21, nil)
		record(0x2b, nil)
		n.Children = append(n.Children, Node{Name: m.Name, Data: append(bytes.Clone(m.Compiled), Compress([]byte(m.Source))...)})
	}
	record(0x10, nil)
	n.Children = append(n.Children, Node{Name: "_VBA_PROJECT", Data: []byte("\xcc\x61\xff\xff\x00\x00\x00")}, Node{Name: "dir", Data: Compress(dir)})
	return n
}

// Compress packs octets in the form of MS-OVBA 2.4.1, with copies only of runs of one octet.
func Compress(in []byte) []byte {
	out := []byte{1}
	for len(in) > 0 {
		n := min(len(in), 4096)
		body := compressChunk(in[:n])
		if len(body) > 4096 {
			body = append(bytes.Clone(in[:n]), make([]byte, 4096-n)...)
			out = binary.LittleEndian.AppendUint16(out, uint16(len(body)-1)|3<<12)
		} else {
			out = binary.LittleEndian.AppendUint16(out, uint16(len(body)-1)|0xb<<12)
		}
		out = append(out, body...)
		in = in[n:]
	}
	return out
}

func compressChunk(in []byte) (out []byte) {
	for at := 0; at < len(in); {
		flags := len(out)
		out = append(out, 0)
		for bit := 0; bit < 8 && at < len(in); bit++ {
			run := 0
			for at > 0 && at+run < len(in) && in[at+run] == in[at-1] && run < 18 {
				run++
			}
			if run < 3 {
				out = append(out, in[at])
				at++
				continue
			}
			out[flags] |= 1 << bit
			out = binary.LittleEndian.AppendUint16(out, uint16(run-3))
			at += run
		}
	}
	return out
}
