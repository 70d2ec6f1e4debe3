package rar

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/nwaples/rardecode/v2"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/tell"
)

const (
	maxDictionary = 64 << 20
	maxSources    = 32 // how often the library is begun anew after an error, each with a dictionary of its own
)

// library is the decoder.
type library struct{ *rardecode.Reader }

func (l library) next() error {
	_, err := l.Next()
	return err
}

// open gives the content of a file. The error is that of the context.
func (w *walk) open(k *block) (r io.Reader, problem, err error) {
	if size, err := w.model(k); err != nil {
		return nil, nil, err
	} else if size > maxModel {
		return nil, fmt.Errorf("unpacking it needs %d MiB of memory", size), nil
	}
	if w.from == nil {
		if w.fresh >= maxSources {
			return nil, errors.New("too many files before it could not be unpacked"), nil
		}
		s := &source{parts: []io.Reader{bytes.NewReader(w.prologue())}}
		problem = s.do(w.ctx, func() error {
			r, err := rardecode.NewReader(s, rardecode.MaxDictionarySize(maxDictionary), rardecode.MaxReadFileSize(maxDictionary))
			s.r = library{r}
			return err
		})
		if problem != nil {
			return nil, problem, w.ctx.Err()
		}
		w.from = s
	}
	s := w.from
	s.mu.Lock()
	s.parts = append(s.parts, bytes.NewReader(k.head), w.f.Section(k.data, int64(min(k.packed, 1<<62))).Reader())
	s.mu.Unlock()
	if problem = s.do(w.ctx, s.next); problem != nil {
		return nil, problem, w.ctx.Err()
	}
	return &content{ctx: w.ctx, s: s}, nil, nil
}

// prologue makes the signature and first block of an archive.
func (w *walk) prologue() []byte {
	if w.five {
		body := []byte{3, 1, 0, 0} // size, type, flags, flags of the archive
		if w.solid {
			body[3] = 4
		}
		b := binary.LittleEndian.AppendUint32([]byte(signature5), crc32.ChecksumIEEE(body))
		return append(b, body...)
	}
	head := []byte{start4, 0, 0, 13, 0, 0, 0, 0, 0, 0, 0}
	if w.solid {
		head[1] = 8
	}
	b := binary.LittleEndian.AppendUint16([]byte(signature4), uint16(crc32.ChecksumIEEE(head)))
	return append(b, head...)
}

// quickOpen compares the copies of headers in a quick open record with the headers: some programs list the files by
// the copies (RAR 5.0 technote, "Quick open header").
func (w *walk) quickOpen(k *block) error {
	at := k.data - int64(len(k.head))
	if !k.stored || k.locked || k.packed > maxHeader {
		return w.t.Sign(archive.Unreadable, "a RAR archive: its list of headers can't be read")
	}
	list := make([]byte, k.packed)
	if ok, err := tell.ReadAt(w.f, list, k.data); err != nil || !ok {
		return w.t.Broken(err, "a RAR archive", errCut)
	}
	r := &fields{b: list}
	for len(r.b) > 0 {
		r.uint32() // checksum
		record := &fields{b: r.bytes(r.vint())}
		record.vint() // flags
		back := record.vint()
		head := record.bytes(record.vint())
		if r.bad || record.bad || back > uint64(at) {
			return w.t.Sign(archive.Unreadable, "a RAR archive: its list of headers is damaged")
		}
		real := make([]byte, len(head))
		ok, err := tell.ReadAt(w.f, real, at-int64(back))
		if err != nil {
			return err
		}
		if !ok || !bytes.Equal(real, head) {
			return w.t.Sign(archive.Unreadable, "a RAR archive: its list of headers differs from its headers")
		}
	}
	return nil
}

// old tells of an archive of RAR 1.4 or older: its files are known by name, and read where they are stored.
func (w *walk) old() error {
	head := make([]byte, 7)
	if ok, err := tell.ReadAt(w.f, head, 0); err != nil || !ok {
		return w.t.Broken(err, "a RAR archive", errCut)
	}
	if head[6]&1 != 0 {
		if err := w.t.Sign(archive.Unreadable, "a RAR archive: it is one of several files"); err != nil {
			return err
		}
	}
	at := int64(binary.LittleEndian.Uint16(head[4:]))
	for at != w.f.Size() {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		pre := make([]byte, 21)
		if ok, err := tell.ReadAt(w.f, pre, at); err != nil || !ok {
			return w.t.Broken(err, "a RAR archive", errCut)
		}
		r := &fields{b: pre}
		packed, size := r.uint32(), r.uint32()
		r.uint16() // checksum
		length := int64(r.uint16())
		r.uint32() // time
		attr, flags := r.byte(), r.byte()
		r.byte() // version
		name := make([]byte, r.byte())
		method := r.byte()
		if ok, err := tell.ReadAt(w.f, name, at+21); err != nil || !ok || length < 21 {
			return w.t.Broken(err, "a RAR archive", errCut)
		}
		e := &archive.Entry{Names: tell.Names(bytes.ReplaceAll(name, []byte(`\`), []byte("/"))), Folder: attr&0x10 != 0, Size: int64(size)}
		at += length
		if done, err := w.oldFile(e, w.f.Section(at, int64(packed)), flags, method); done || err != nil {
			return err
		}
		if at += int64(packed); at > w.f.Size() {
			return w.t.Problem("a RAR archive", errCut)
		}
	}
	return nil
}

func (w *walk) oldFile(e *archive.Entry, data *archive.File, flags, method byte) (done bool, err error) {
	if spent := w.b.Entry(); spent != nil {
		return true, w.t.Problem("", spent)
	}
	switch {
	case flags&locked4 != 0:
		return w.bare(e, archive.Encrypted, "")
	case method == 0 || e.Size == 0:
		if !e.Folder {
			problem, err := w.t.Content(w.ctx, e, data.Reader())
			return tell.Spent(problem), err
		}
		return false, w.t.File(e)
	}
	return w.bare(e, archive.Unreadable, ": it is packed by a method of RAR 1.4, which is not known")
}
