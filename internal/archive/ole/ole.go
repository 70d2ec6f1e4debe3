// Package ole reads the compound files of OLE2 (MS-CFB): the folders and streams within one file that old Office
// documents, Outlook messages and Windows installers are made of. It is not a reader of any of those: it knows
// nothing of what the streams mean.
package ole

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/tell"
)

// magic begins every compound file (MS-CFB 2.2).
const magic = "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"

// Limits of what is held in memory of one file, whatever its size.
const (
	maxEntries = 1 << 17 // entries of the directory
	maxSectors = 1 << 22 // entries of an allocation table, which are 16 MiB of them
)

// Special values of the allocation tables (MS-CFB 2.1).
const (
	lastRegular = 0xfffffff9
	freeSector  = 0xffffffff
	noStream    = 0xffffffff
)

// CLSID is a class identifier, as stored: the first three fields little-endian.
type CLSID [16]byte

// String gives the usual form: "000C1084-0000-0000-C000-000000000046".
func (c CLSID) String() string {
	return fmt.Sprintf("%08X-%04X-%04X-%04X-%012X", binary.LittleEndian.Uint32(c[0:]),
		binary.LittleEndian.Uint16(c[4:]), binary.LittleEndian.Uint16(c[6:]), c[8:10], c[10:16])
}

// Storage is a folder of a compound file; the root is one.
type Storage struct {
	Name     string
	CLSID    CLSID
	Storages []*Storage // in the order of the directory's tree
	Streams  []*Stream
}

// Storage gives the first storage of that name, nil where there is none. Case does not count (MS-CFB 2.6.4).
func (s *Storage) Storage(name string) *Storage {
	for _, c := range s.Storages {
		if strings.EqualFold(c.Name, name) {
			return c
		}
	}
	return nil
}

// Stream gives the first stream of that name, nil where there is none. Case does not count (MS-CFB 2.6.4).
func (s *Storage) Stream(name string) *Stream {
	for _, c := range s.Streams {
		if strings.EqualFold(c.Name, name) {
			return c
		}
	}
	return nil
}

// Stream is a file of a compound file.
type Stream struct {
	Name string
	Size int64 // octets by the directory's word

	start   uint32
	file    *compound
	opened  *archive.File
	problem error
}

// File gives the content as a part of the compound file: it is no copy, is valid as long as the file is, and needs
// no Close. Problem says what is wrong with it; the File then holds what could be found.
func (s *Stream) File() (f *archive.File, problem error) {
	if s.opened == nil {
		s.opened, s.problem = s.file.open(s)
	}
	return s.opened, s.problem
}

// Is reports whether a file that begins with head is a compound file.
func Is(head []byte) bool { return bytes.HasPrefix(head, []byte(magic)) }

// compound is an open compound file.
type compound struct {
	f         *archive.File
	shift     uint // of sectors
	miniShift uint
	cutoff    int64 // streams that are shorter lie in mini sectors
	version   uint16
	fat       []uint32
	miniFAT   []uint32
	mini      *archive.File // the content of the mini sectors
	steps     int           // sectors that chains may still be followed for
}

// Open reads the directory of a compound file. Problem says what is wrong with it: the root then holds what could be
// found all the same, and is nil where nothing could. The error is of the context or of reading f.
func Open(ctx context.Context, f *archive.File) (root *Storage, problem, err error) {
	head, err := f.Head(512)
	if err != nil {
		return nil, nil, err
	}
	if len(head) < 512 || !Is(head) {
		return nil, errors.New("ole: no compound file"), nil
	}
	c := &compound{f: f, shift: uint(binary.LittleEndian.Uint16(head[0x1e:])), miniShift: uint(binary.LittleEndian.Uint16(head[0x20:]))}
	c.version = binary.LittleEndian.Uint16(head[0x1a:])
	if c.shift < 7 || c.shift > 16 || c.miniShift < 2 || c.miniShift >= c.shift {
		return nil, fmt.Errorf("ole: sectors of 2^%d and 2^%d octets", c.shift, c.miniShift), nil
	}
	var problems []error
	note := func(p error) {
		if p != nil && len(problems) < 8 {
			problems = append(problems, p)
		}
	}
	c.cutoff = int64(binary.LittleEndian.Uint32(head[0x38:]))
	if c.cutoff != 4096 { // MS-CFB 2.2: it must be; readers differ in whether they look
		note(fmt.Errorf("ole: streams are mini streams below %d octets and not below 4096", c.cutoff))
	}
	p, err := c.readFAT(ctx, head)
	if note(p); err != nil {
		return nil, nil, err
	}
	// Each sector belongs to one chain. A file whose chains share sectors could make endless work of a few octets.
	c.steps = 4*c.sectors() + 1024
	root, p, err = c.readDirectory(ctx, head)
	if note(p); err != nil || root == nil {
		return nil, errors.Join(problems...), err
	}
	return root, errors.Join(problems...), nil
}

// sectors gives how many sectors the file has, the last one maybe in part.
func (c *compound) sectors() int {
	n := (c.f.Size()+(1<<c.shift)-1)>>c.shift - 1
	return int(min(max(n, 0), maxSectors))
}

// sector reads as much as there is of sector n.
func (c *compound) sector(n uint32, buf []byte) ([]byte, error) {
	m, err := c.f.ReadAt(buf[:1<<c.shift], (int64(n)+1)<<c.shift)
	if err == io.EOF {
		err = nil
	}
	return buf[:m], err
}

// readFAT reads the table of sectors: 109 places of it are in the header, the others in a chain of their own
// (MS-CFB 2.3, 2.5).
func (c *compound) readFAT(ctx context.Context, head []byte) (problem, err error) {
	total := c.sectors()
	perSector := 1 << (c.shift - 2)
	need := (total + perSector - 1) / perSector
	places := make([]uint32, 0, 109)
	take := func(b []byte) {
		for ; len(b) >= 4 && len(places) < need; b = b[4:] {
			if n := binary.LittleEndian.Uint32(b); n <= lastRegular {
				places = append(places, n)
			}
		}
	}
	take(head[0x4c:512])
	buf := make([]byte, 1<<c.shift)
	next := binary.LittleEndian.Uint32(head[0x44:])
	for steps := 0; next <= lastRegular && len(places) < need; steps++ {
		if steps > need || int64(next) >= int64(total) {
			problem = errors.New("ole: the list of the sector table leads nowhere")
			break
		}
		b, err := c.sector(next, buf)
		if err != nil {
			return nil, err
		}
		if len(b) < len(buf) {
			problem = errors.New("ole: the list of the sector table is cut short")
			break
		}
		take(b[:len(b)-4])
		next = binary.LittleEndian.Uint32(b[len(b)-4:])
	}
	c.fat = make([]uint32, 0, min(len(places)*perSector, total))
	for _, n := range places {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		b, err := c.sector(n, buf)
		if err != nil {
			return nil, err
		}
		if len(b) < len(buf) && problem == nil {
			problem = errors.New("ole: the sector table is cut short")
		}
		c.fat = appendTable(c.fat, b, perSector, total)
	}
	return problem, nil
}

// appendTable adds n entries of b to a table that has up to limit of them; what is not there is free.
func appendTable(table []uint32, b []byte, n, limit int) []uint32 {
	for i := 0; i < n && len(table) < limit; i++ {
		v := uint32(freeSector)
		if 4*i+4 <= len(b) {
			v = binary.LittleEndian.Uint32(b[4*i:])
		}
		table = append(table, v)
	}
	return table
}

// nameOf reads the name of an entry: UTF-16 of at most 32 units with a zero at the end (MS-CFB 2.6.1).
func nameOf(entry []byte) string {
	n := min(int(binary.LittleEndian.Uint16(entry[64:])), 64) / 2
	name, _, _ := strings.Cut(tell.UTF16(binary.LittleEndian, entry[:2*n]), "\x00")
	return name
}
