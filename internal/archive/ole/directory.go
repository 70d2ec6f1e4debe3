package ole

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/postern-mail/postern/internal/archive"
)

// entrySize is how long an entry of the directory is (MS-CFB 2.6.1).
const entrySize = 128

// maxSame is how many entries of one name a storage may have; there should be one (MS-CFB 2.6.4).
const maxSame = 16

// Kinds of entries of the directory.
const (
	kindStorage = 1
	kindStream  = 2
	kindRoot    = 5
)

// directory reads the tree of storages and streams.
type directory struct {
	c       *compound
	f       *archive.File
	entries uint32
	seen    []bool
	problem error
}

func (d *directory) note(p error) {
	if p != nil && d.problem == nil {
		d.problem = p
	}
}

// readDirectory reads all storages and streams. The root is nil where there is none.
func (c *compound) readDirectory(ctx context.Context, head []byte) (root *Storage, problem, err error) {
	f, p := c.chain(c.f, c.fat, binary.LittleEndian.Uint32(head[0x30:]), c.shift, int64(1)<<c.shift, -1)
	d := &directory{c: c, f: f}
	if p != nil {
		d.note(fmt.Errorf("ole: the directory: %w", p))
	}
	if f.Size()/entrySize > maxEntries {
		d.note(fmt.Errorf("ole: the directory has more than %d entries", maxEntries))
	}
	d.entries = uint32(min(f.Size()/entrySize, maxEntries))
	d.seen = make([]bool, d.entries)
	e, err := d.entry(0)
	if err != nil {
		return nil, nil, err
	}
	if e == nil {
		return nil, errors.Join(d.problem, errors.New("ole: there is no directory")), nil
	}
	if e[66] != kindRoot {
		d.note(errors.New("ole: the directory does not begin with the root"))
	}
	d.seen[0] = true
	root = &Storage{Name: nameOf(e), CLSID: CLSID(e[80:96])}
	p, err = c.readMini(ctx, binary.LittleEndian.Uint32(head[0x3c:]), binary.LittleEndian.Uint32(e[116:]), d.size(e))
	if err != nil {
		return nil, nil, err
	}
	d.note(p)
	if err := d.fill(ctx, root, binary.LittleEndian.Uint32(e[76:])); err != nil {
		return nil, nil, err
	}
	return root, d.problem, nil
}

// fill puts what is below the root into it.
func (d *directory) fill(ctx context.Context, root *Storage, first uint32) error {
	// No recursion: the depth of the tree is the file's word.
	type folder struct {
		s     *Storage
		first uint32
	}
	for todo := []folder{{root, first}}; len(todo) > 0; {
		next := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		same := map[string]int{}
		err := d.children(ctx, next.first, func(e []byte) {
			name := strings.ToUpper(nameOf(e))
			if same[name]++; same[name] == 2 {
				d.note(fmt.Errorf("ole: there are several entries named %q", nameOf(e)))
			}
			if same[name] > maxSame {
				return
			}
			if e[66] == kindStream {
				next.s.Streams = append(next.s.Streams, &Stream{
					Name: nameOf(e), Size: d.size(e), start: binary.LittleEndian.Uint32(e[116:]), file: d.c,
				})
				return
			}
			s := &Storage{Name: nameOf(e), CLSID: CLSID(e[80:96])}
			next.s.Storages = append(next.s.Storages, s)
			todo = append(todo, folder{s, binary.LittleEndian.Uint32(e[76:])})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// children calls each for the entries of one storage: a binary tree, of which nothing is believed but that its
// entries belong together. What was met before is not followed again.
func (d *directory) children(ctx context.Context, first uint32, each func(e []byte)) error {
	const expanded = 1 << 32
	for stack := []uint64{uint64(first)}; len(stack) > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		top := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		id := uint32(top)
		if top&expanded == 0 {
			if id == noStream {
				continue
			}
			if id >= d.entries {
				d.note(fmt.Errorf("ole: the directory names entry %d, which is not there", id))
				continue
			}
			if d.seen[id] {
				d.note(errors.New("ole: the directory goes in circles"))
				continue
			}
			d.seen[id] = true
		}
		e, err := d.entry(id)
		if err != nil || e == nil {
			return err
		}
		if top&expanded == 0 {
			left, right := binary.LittleEndian.Uint32(e[68:]), binary.LittleEndian.Uint32(e[72:])
			stack = append(stack, uint64(right), uint64(id)|expanded, uint64(left))
			continue
		}
		if e[66] != kindStorage && e[66] != kindStream {
			d.note(fmt.Errorf("ole: entry %q of the directory is of the unknown kind %d", nameOf(e), e[66]))
			continue
		}
		each(e)
	}
	return nil
}

// entry reads entry n, nil where there is none.
func (d *directory) entry(n uint32) ([]byte, error) {
	if n >= d.entries {
		return nil, nil
	}
	b := make([]byte, entrySize)
	if m, err := d.f.ReadAt(b, int64(n)*entrySize); m < entrySize {
		if err != nil && err != io.EOF {
			return nil, err
		}
		return nil, nil
	}
	return b, nil
}

// size gives the length of the entry's stream. Of files with sectors of 512 octets, only 32 bits of it count
// (MS-CFB 2.6.1: the others may hold anything).
func (d *directory) size(e []byte) int64 {
	if d.c.version < 4 {
		return int64(binary.LittleEndian.Uint32(e[120:]))
	}
	n := binary.LittleEndian.Uint64(e[120:])
	return int64(min(n, 1<<48))
}
