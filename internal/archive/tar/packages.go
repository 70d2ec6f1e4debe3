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

const (
	arMagic   = "!<arch>\n"
	arHeader  = 60
	rpmMagic  = "\xed\xab\xee\xdb"
	rpmLead   = 96
	rpmHeader = "\x8e\xad\xe8\x01"
)

// ar reads an archive of ar(5): Debian's packages are one. The names of GNU and of BSD are both taken.
func (w *walker) ar(ctx context.Context) error {
	var long []byte // GNU's table of long names
	at := int64(len(arMagic))
	for at < w.f.Size() {
		if err := ctx.Err(); err != nil {
			return err
		}
		b, err := w.read(at, arHeader)
		if err != nil {
			return err
		}
		if len(bytes.Trim(b, "\n")) == 0 {
			return nil
		}
		size := int64(-1)
		if len(b) == arHeader {
			size, err = strconv.ParseInt(strings.TrimSpace(string(b[48:58])), 10, 62)
			if err != nil {
				size = -1
			}
		}
		if size < 0 || string(b[58:60]) != "`\n" {
			w.say(archive.Unreadable, "header", fmt.Sprintf("at octet %d there is something that is no header", at))
			return nil
		}
		data := at + arHeader
		at = data + aligned(size, 2)
		name := strings.TrimRight(string(b[:16]), " ")
		if name == "//" {
			if long, err = w.read(data, int(min(size, maxMeta))); err != nil {
				return err
			}
			continue
		}
		if err := w.member(name, long, data, size); err != nil {
			return err
		}
	}
	return nil
}

// member hands on a member of an ar archive.
func (w *walker) member(name string, long []byte, data, size int64) error {
	all := []string{name}
	if rest, ok := strings.CutPrefix(name, "#1/"); ok {
		// BSD: the name stands before the content.
		n, err := strconv.ParseInt(rest, 10, 32)
		if err == nil && n > 0 && n <= min(size, maxPath) {
			b, err := w.read(data, int(n))
			if err != nil {
				return err
			}
			all = []string{cString(b)}
			data, size = data+n, size-n
		}
	} else if rest, ok := strings.CutPrefix(name, "/"); ok && rest != "" {
		// GNU: the name stands in the table, up to a line that a slash ends.
		n, err := strconv.Atoi(rest)
		if err == nil && n >= 0 && n < len(long) {
			line, _, _ := bytes.Cut(long[n:min(len(long), n+maxPath)], []byte("\n"))
			all = []string{strings.TrimSuffix(string(line), "/")}
		}
	} else if short, ok := strings.CutSuffix(name, "/"); ok && short != "" {
		all = []string{short}
	}
	return w.give(&archive.Entry{Names: names(all...), Size: size}, data, size)
}

// rpm reads a package (LSB Core 5.0, "Package File Format"): after a lead and two headers comes the payload, mostly
// a packed cpio.
func (w *walker) rpm(ctx context.Context) error {
	at := int64(rpmLead)
	for i := range 2 {
		if err := ctx.Err(); err != nil {
			return err
		}
		b, err := w.read(at, 16)
		if err != nil {
			return err
		}
		if len(b) < 16 || string(b[:4]) != rpmHeader {
			w.say(archive.Unreadable, "header", "the headers of the package are damaged")
			return nil
		}
		at += 16 + 16*int64(binary.BigEndian.Uint32(b[8:])) + int64(binary.BigEndian.Uint32(b[12:]))
		if i == 0 {
			at = aligned(at, 8) // the signature is padded
		}
	}
	if at >= w.f.Size() {
		w.say(archive.Unreadable, "cut", "the package is cut off")
		return nil
	}
	return w.give(&archive.Entry{Names: []string{"payload"}, Size: w.f.Size() - at}, at, w.f.Size()-at)
}
