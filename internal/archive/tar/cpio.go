package tar

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/postern-mail/postern/internal/archive"
)

// Kinds of cpio (cpio(5) of libarchive): portable ASCII, new ASCII without and with sums, and binary in either order.
const (
	cpioODC    = 'o'
	cpioNew    = 'n'
	cpioLittle = 'l'
	cpioBig    = 'b'
)

// cpioKind tells the kind of a header, 0 for none.
func cpioKind(b []byte) byte {
	switch {
	case hasPrefix(b, "070707") && digits(b[6:], 70, 8):
		return cpioODC
	case (hasPrefix(b, "070701") || hasPrefix(b, "070702")) && digits(b[6:], 104, 16):
		return cpioNew
	case len(b) >= 26 && b[0] == 0xc7 && b[1] == 0x71 && cpioName(binary.LittleEndian.Uint16(b[20:])):
		return cpioLittle
	case len(b) >= 26 && b[0] == 0x71 && b[1] == 0xc7 && cpioName(binary.BigEndian.Uint16(b[20:])):
		return cpioBig
	}
	return 0
}

// cpioName reports whether a name may have so many octets.
func cpioName(n uint16) bool { return n > 1 && n < 4096+2 }

func digits(b []byte, n, base int) bool {
	if len(b) < n {
		return false
	}
	for _, c := range b[:n] {
		if _, err := strconv.ParseUint(string(rune(c)), base, 8); err != nil {
			return false
		}
	}
	return true
}

// cpioHeader is what matters of a header.
type cpioHeader struct {
	mode, name, size int64
	fixed            int64 // octets before the name
	align            int64 // of what comes after the name and after the content
}

func parseCpio(b []byte) (*cpioHeader, bool) {
	field := func(at, n, base int) int64 {
		v, _ := strconv.ParseInt(string(b[at:at+n]), base, 64)
		return v
	}
	switch kind := cpioKind(b); kind {
	case cpioODC:
		return &cpioHeader{mode: field(18, 6, 8), name: field(59, 6, 8), size: field(65, 11, 8), fixed: 76, align: 1}, true
	case cpioNew:
		return &cpioHeader{mode: field(14, 8, 16), name: field(94, 8, 16), size: field(54, 8, 16), fixed: 110, align: 4}, true
	case cpioLittle, cpioBig:
		var o binary.ByteOrder = binary.LittleEndian
		if kind == cpioBig {
			o = binary.BigEndian
		}
		return &cpioHeader{
			mode: int64(o.Uint16(b[6:])), name: int64(o.Uint16(b[20:])),
			size: int64(o.Uint16(b[22:]))<<16 | int64(o.Uint16(b[24:])), fixed: 26, align: 2,
		}, true
	}
	return nil, false
}

func aligned(n, to int64) int64 { return (n + to - 1) / to * to }

// Kinds of files in a mode.
const (
	modeKind     = 0o170000
	modeFolder   = 0o040000
	modeSymbolic = 0o120000
)

// cpio reads an archive to its trailer, and on after it where another one follows, as a Linux kernel does with its
// initial file systems.
func (w *walker) cpio(ctx context.Context) error {
	at, ended := int64(0), false
	for at < w.f.Size() {
		if err := ctx.Err(); err != nil {
			return err
		}
		b, err := w.read(at, 110)
		if err != nil {
			return err
		}
		h, ok := parseCpio(b)
		if !ok && ended {
			return w.rest(ctx, at)
		}
		if !ok {
			w.say(archive.Unreadable, "header", fmt.Sprintf("at octet %d there is something that is no header", at))
			return nil
		}
		if h.name > maxPath {
			w.say(archive.Unreadable, "header", "a name is too long")
			return nil
		}
		name, err := w.read(at+h.fixed, int(h.name))
		if err != nil {
			return err
		}
		data := at + aligned(h.fixed+h.name, h.align)
		at = data + aligned(h.size, h.align)
		if cString(name) == "TRAILER!!!" {
			if ended = true; h.size == 0 {
				at = data
			}
			continue
		}
		ended = false
		if err := w.cpioFile(h, cString(name), data); err != nil {
			return err
		}
	}
	if !ended {
		w.say(archive.Unreadable, "cut", "the archive is cut off")
	}
	return nil
}

// rest looks at what follows a trailer: zeros pad it, and after them another archive may begin.
func (w *walker) rest(ctx context.Context, at int64) error {
	for at < w.f.Size() {
		if err := ctx.Err(); err != nil {
			return err
		}
		b, err := w.read(at, 64<<10)
		if err != nil {
			return err
		}
		left := bytes.TrimLeft(b, "\x00")
		at += int64(len(b) - len(left))
		if len(left) > 0 {
			return w.give(&archive.Entry{Size: w.f.Size() - at}, at, w.f.Size()-at)
		}
	}
	return nil
}

func (w *walker) cpioFile(h *cpioHeader, name string, data int64) error {
	e := &archive.Entry{Names: names(name), Size: h.size}
	switch h.mode & modeKind {
	case modeFolder:
		e.Folder = true
	case modeSymbolic:
		target, err := w.read(data, int(min(h.size, maxPath)))
		if err != nil {
			return err
		}
		e.Link = strings.ToValidUTF8(string(target), "\ufffd")
	}
	return w.give(e, data, h.size)
}
