// Package sevenzip reads 7z archives (7zFormat.txt of the LZMA SDK): it finds them in self-extracting programs, and
// tells what is in them. It is not a decoder: the streams are unpacked by a library, one at a time.
package sevenzip

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/tell"
)

const (
	signature  = "7z\xbc\xaf\x27\x1c"
	headerSize = 32      // of the signature header
	maxHeader  = 8 << 20 // of the header that lists the files, packed and unpacked
	maxNested  = 4       // headers packed in headers
	maxLink    = 4 << 10 // of the target of a link

	memoryPrice = 32 // octets of a dictionary that cost as much as one unpacked octet
)

// Is reports whether the first octets of a file are those of a 7z archive.
func Is(head []byte) bool { return bytes.HasPrefix(head, []byte(signature)) }

// Find gives the place of an archive inside of a file, such as a program that unpacks itself: the first signature
// header with a right checksum.
func Find(ctx context.Context, f *archive.File) (offset int64, ok bool, err error) {
	return tell.Find(ctx, f, []byte(signature), func(off int64) (bool, error) {
		head := make([]byte, headerSize)
		ok, err := tell.ReadAt(f, head, off)
		return ok && binary.LittleEndian.Uint32(head[8:]) == crc32.ChecksumIEEE(head[12:]), err
	})
}

// Walk tells v what is in the archive that begins where f does. It is an archive.Walk.
func Walk(ctx context.Context, f *archive.File, b *archive.Budget, v archive.Visitor) error {
	w := &walk{ctx: ctx, f: f, b: b, t: tell.New(b, v)}
	c, problem, err := w.header()
	if err != nil {
		return err
	}
	if problem != nil {
		switch {
		case errors.Is(problem, errEncrypted):
			return w.t.Sign(archive.Encrypted, "the list of the files is encrypted")
		case errors.Is(problem, errTooMany):
			return w.t.Sign(archive.Bomb, "a 7z archive: %v", problem)
		}
		if err := w.t.Problem("a 7z archive", problem); err != nil || c == nil {
			return err
		}
	}
	return w.files(c)
}

var errEncrypted = errors.New("encrypted")

type walk struct {
	ctx context.Context
	f   *archive.File
	b   *archive.Budget
	t   *tell.Teller
}

// header finds and reads the list of the files. Contents may come with a problem.
func (w *walk) header() (c *contents, problem, err error) {
	head := make([]byte, headerSize)
	if ok, err := tell.ReadAt(w.f, head, 0); err != nil || !ok || !Is(head) {
		return nil, errCut, err
	}
	if binary.LittleEndian.Uint32(head[8:]) != crc32.ChecksumIEEE(head[12:]) {
		if err := w.t.Sign(archive.Unreadable, "a 7z archive: the checksum of its first header is wrong"); err != nil {
			return nil, nil, err
		}
	}
	off, size := binary.LittleEndian.Uint64(head[12:]), binary.LittleEndian.Uint64(head[20:])
	if size == 0 {
		if w.f.Size() > headerSize {
			return nil, errors.New("it has no list of its files"), nil
		}
		return &contents{streams: &streams{}}, nil, nil
	}
	if room := uint64(w.f.Size() - headerSize); off > room || size > room-off {
		return nil, errors.New("the list of its files lies outside of the file: it is cut off, or goes on in another file"), nil
	}
	if size > maxHeader {
		return nil, fmt.Errorf("the list of its files has %d octets", size), nil
	}
	list := make([]byte, size)
	if ok, err := tell.ReadAt(w.f, list, headerSize+int64(off)); err != nil || !ok {
		return nil, errCut, err
	}
	if crc32.ChecksumIEEE(list) != binary.LittleEndian.Uint32(head[28:]) {
		if err := w.t.Sign(archive.Unreadable, "a 7z archive: the checksum of the list of its files is wrong"); err != nil {
			return nil, nil, err
		}
	}
	return w.parse(list)
}

// parse reads a header, unpacking it as often as it is packed.
func (w *walk) parse(list []byte) (c *contents, problem, err error) {
	for range maxNested {
		r := &fields{b: list}
		switch id := r.byte(); id {
		case idHeader:
			c = r.header()
			return c, r.err, nil
		case idEncoded:
			s := r.streams()
			if r.err != nil {
				return nil, r.err, nil
			}
			if list, problem, err = w.unpackHeader(s); problem != nil || err != nil {
				return nil, problem, err
			}
		default:
			return nil, errForm, nil
		}
	}
	return nil, errors.New("the list of its files is packed too often"), nil
}

func (w *walk) unpackHeader(s *streams) (list []byte, problem, err error) {
	if len(s.folders) != 1 {
		return nil, errForm, nil
	}
	fo := &s.folders[0]
	if fo.encrypted() {
		return nil, errEncrypted, nil
	}
	if fo.size() > maxHeader {
		return nil, fmt.Errorf("the list of its files has %d octets", fo.size()), nil
	}
	r, problem := w.open(s, fo)
	if problem != nil {
		return nil, problem, nil
	}
	f, problem, err := archive.Spool(w.ctx, tell.Contained(io.LimitReader(r, int64(fo.size()))), w.b)
	if err != nil || problem != nil {
		return nil, problem, err
	}
	defer func() { _ = f.Close() }()
	list, _, err = f.Bytes(maxHeader)
	list = bytes.Clone(list)
	switch {
	case err != nil:
		return nil, nil, err
	case uint64(len(list)) != fo.size():
		return nil, errCut, nil
	case fo.crc.known && fo.crc.crc != crc32.ChecksumIEEE(list):
		return nil, errors.New("the checksum of the list of its files is wrong"), nil
	}
	return list, nil, nil
}

// open unpacks a folder, whatever the library makes of it.
func (w *walk) open(s *streams, fo *folder) (r io.Reader, problem error) {
	memory, problem := fo.check()
	if problem == nil {
		// Memory must be cleared before it is used, which is work too: an archive may have many folders with nothing in
		// them.
		problem = w.b.Spend(int64(memory / memoryPrice))
	}
	if problem == nil {
		problem = tell.Contain(func() (err error) {
			r, err = s.open(w.f, fo)
			return err
		})
	}
	return r, problem
}

// files tells of all files: those with content in the order of the folders that hold it, which is also their own.
func (w *walk) files(c *contents) error {
	next := 0
	for i := range c.streams.folders {
		fo := &c.streams.folders[i]
		var files []*file
		for range fo.parts {
			done, err := w.empties(c, &next)
			if done || err != nil {
				return err
			}
			if next < len(c.files) {
				files = append(files, &c.files[next])
				next++
				continue
			}
			if err := w.t.Sign(archive.Unreadable, "a 7z archive: it holds content that is no file's"); err != nil {
				return err
			}
			files = append(files, &file{})
		}
		if done, err := w.folder(c.streams, fo, files); done || err != nil {
			return err
		}
	}
	for next < len(c.files) {
		if done, err := w.empties(c, &next); done || err != nil {
			return err
		}
		if next == len(c.files) {
			break
		}
		e := entry(&c.files[next])
		next++
		if done, err := w.bare(e); done || err != nil {
			return err
		}
		if err := w.t.Sign(archive.Unreadable, "%s: its content is missing", tell.Name(e.Names)); err != nil {
			return err
		}
	}
	return nil
}

// empties tells of the files without content from *next on.
func (w *walk) empties(c *contents, next *int) (done bool, err error) {
	for ; *next < len(c.files) && c.files[*next].empty; *next++ {
		f := &c.files[*next]
		e := entry(f)
		e.Folder = f.dir || isFolder(f.attr)
		e.Size = 0
		if !e.Folder {
			e.File = archive.NewFile(nil)
		}
		if done, err := w.bare(e); done || err != nil {
			return done, err
		}
	}
	return false, nil
}

// bare tells of an entry as it is; done is when the budget has run out.
func (w *walk) bare(e *archive.Entry) (done bool, err error) {
	if err := w.ctx.Err(); err != nil {
		return true, err
	}
	if spent := w.b.Entry(); spent != nil {
		return true, w.t.Problem("", spent)
	}
	return false, w.t.File(e)
}

func entry(f *file) *archive.Entry {
	return &archive.Entry{Names: tell.Add(nil, f.name), Size: -1}
}

func isFolder(attr uint32) bool { return attr&0x10 != 0 }

// isLink reports whether the attributes are those of a symbolic link of Unix, in their upper half.
func isLink(attr uint32) bool { return attr&0x8000 != 0 && attr>>28 == 0o12 }

// folder tells of the files of one folder.
func (w *walk) folder(s *streams, fo *folder, files []*file) (done bool, err error) {
	if len(files) == 0 {
		return false, nil
	}
	var r io.Reader
	var problem error
	if fo.encrypted() {
		err = w.t.Sign(archive.Encrypted, "%s", tell.Name(entry(files[0]).Names))
	} else if r, problem = w.open(s, fo); problem != nil {
		err = w.t.Problem(tell.Name(entry(files[0]).Names), problem)
	}
	if err != nil || tell.Spent(problem) {
		return true, err
	}
	for i, f := range files {
		e := entry(f)
		e.Size = int64(min(fo.parts[i].size, 1<<62))
		if r == nil {
			done, err = w.bare(e)
		} else {
			if spent := w.b.Entry(); spent != nil {
				return true, w.t.Problem("", spent)
			}
			problem, err = w.content(e, f, fo.parts[i], r)
			done = tell.Spent(problem)
			if problem != nil {
				r = nil // what follows in the same stream can't be found any more
			}
		}
		if done || err != nil {
			return true, err
		}
	}
	return false, nil
}

// content tells of one file, whose content comes next from r.
func (w *walk) content(e *archive.Entry, f *file, p part, r io.Reader) (problem, err error) {
	sum := crc32.NewIEEE()
	from := &limited{r: io.TeeReader(r, sum), left: p.size}
	if isLink(f.attr) && p.size <= maxLink {
		target := make([]byte, p.size)
		n, _ := io.ReadFull(tell.Contained(from), target)
		e.Link = string(target[:n])
		// Its octets are handed on all the same: not every program makes a link of it.
		from = &limited{r: io.MultiReader(bytes.NewReader(target[:n]), from), left: p.size}
	}
	problem, err = w.t.Content(w.ctx, e, from)
	if err == nil && problem == nil && p.crc.known && p.crc.crc != sum.Sum32() {
		err = w.t.Sign(archive.Unreadable, "%s: its checksum is wrong", tell.Name(e.Names))
	}
	return problem, err
}

// limited reads the next left octets of r, all of which must be there.
type limited struct {
	r    io.Reader
	left uint64
}

func (l *limited) Read(p []byte) (int, error) {
	if l.left == 0 {
		return 0, io.EOF
	}
	n, err := l.r.Read(p[:min(uint64(len(p)), l.left)])
	l.left -= uint64(n)
	if err == io.EOF && l.left > 0 {
		err = io.ErrUnexpectedEOF
	} else if err == io.EOF {
		err = nil
	}
	return n, err
}
