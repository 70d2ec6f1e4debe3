package sealed

import (
	"bytes"
	"encoding/binary"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/tell"
)

// The parts of a file that its own name and its content are in (RFC 1740 appendix A).
const (
	appleData     = 1
	appleResource = 2
	appleName     = 3
)

// appleHead is the size of the header, applePart that of each part's entry in the table behind it.
const appleHead, applePart = 26, 12

// IsApple reports whether a file that begins with head is AppleSingle or AppleDouble (RFC 1740 appendix A).
func IsApple(head []byte) bool {
	return len(head) >= appleHead && (bytes.HasPrefix(head, []byte("\x00\x05\x16\x00\x00")) || bytes.HasPrefix(head, []byte("\x00\x05\x16\x07\x00")))
}

// maxResources is how many resources of a fork are looked at.
const maxResources = 1000

// resourcesOf gives the contents of a resource fork (Inside Macintosh: More Macintosh Toolbox, 1-121): behind a
// header, each has its length before it. One of zeros only has none.
func resourcesOf(fork *archive.File) (all []*archive.File, whole bool, err error) {
	head, err := fork.Head(16)
	if err != nil {
		return nil, false, err
	}
	if fork.Size() <= 4<<10 {
		octets, _, err := fork.Bytes(4 << 10)
		if err != nil || len(bytes.Trim(octets, "\x00")) == 0 {
			return nil, true, err
		}
	}
	if len(head) < 16 {
		return nil, false, nil
	}
	at, end := int64(binary.BigEndian.Uint32(head)), int64(binary.BigEndian.Uint32(head[4:]))
	size, mapped := int64(binary.BigEndian.Uint32(head[8:])), int64(binary.BigEndian.Uint32(head[12:]))
	if at < 16 || at+size > fork.Size() || end+mapped > fork.Size() || mapped < 30 {
		return nil, false, nil
	}
	for end := at + size; at < end; {
		length, err := fork.Section(at, 4).Head(4)
		if err != nil {
			return nil, false, err
		}
		n := int64(binary.BigEndian.Uint32(length))
		if len(all) == maxResources || at+4+n > end {
			return all, false, nil
		}
		all = append(all, fork.Section(at+4, n))
		at += 4 + n
	}
	return all, true, nil
}

// apple gives both forks of a file under its own name.
func (w *walker) apple(f *archive.File) error {
	head, err := f.Head(appleHead + applePart*0xffff)
	if err != nil {
		return err
	}
	parts := int(binary.BigEndian.Uint16(head[appleHead-2:]))
	table := head[appleHead:]
	if parts*applePart > len(table) {
		if err := w.problem("AppleSingle", errCut); err != nil {
			return err
		}
		parts = len(table) / applePart
	}
	var names []string
	var forks []*archive.File
	short := false
	for i := range parts {
		entry := table[i*applePart:]
		id, off, size := binary.BigEndian.Uint32(entry), int64(binary.BigEndian.Uint32(entry[4:])), int64(binary.BigEndian.Uint32(entry[8:]))
		part := f.Section(off, size)
		short = short || part.Size() < size
		switch id {
		case appleData:
			forks = append(forks, part)
		case appleResource:
			resources, whole, err := resourcesOf(part)
			if err != nil {
				return err
			}
			forks = append(append(forks, part), resources...)
			if !whole {
				if err := w.t.Sign(archive.Unreadable, "AppleDouble: its resource fork is none"); err != nil {
					return err
				}
			}
		case appleName:
			raw, err := part.Head(1024)
			if err != nil {
				return err
			}
			if len(names) < deepest {
				names = tell.AddRaw(names, raw)
			}
		}
	}
	for _, fork := range forks {
		if err := w.entry(&archive.Entry{Names: names, Size: fork.Size()}, w.source(fork.Reader())); err != nil {
			return err
		}
	}
	if short {
		return w.problem("AppleSingle", errCut)
	}
	return nil
}
