// Package tar reads archives that put files one after the other without packing them: tar in all its dialects, cpio,
// ar with Debian's packages, and the payload of rpm. It is not a program that unpacks: where readers take different
// names for a file, it gives all of them.
package tar

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/tell"
)

// Formats that Detect tells.
const (
	Tar  = "tar"
	Cpio = "cpio"
	Ar   = "ar"
	RPM  = "rpm"
)

// Detect tells the format of a file from its first octets, of which 512 are enough; "" is for all others.
func Detect(head []byte) (format string) {
	switch {
	case hasPrefix(head, arMagic):
		return Ar
	case hasPrefix(head, rpmMagic):
		return RPM
	case cpioKind(head) != 0:
		return Cpio
	case Is(head):
		return Tar
	}
	return ""
}

func hasPrefix(b []byte, magic string) bool {
	return len(b) >= len(magic) && string(b[:len(magic)]) == magic
}

// Walk implements archive.Walk for each of the formats. The content of entries is a part of f, and spent all the
// same.
func Walk(ctx context.Context, f *archive.File, b *archive.Budget, v archive.Visitor) error {
	head, err := f.Head(blockSize)
	if err != nil {
		return err
	}
	w := &walker{f: f, b: b, v: v}
	switch Detect(head) {
	case Cpio:
		err = w.cpio(ctx)
	case Ar:
		err = w.ar(ctx)
	case RPM:
		err = w.rpm(ctx)
	default:
		err = w.tar(ctx)
	}
	var spent *archive.ErrBudget
	if errors.As(err, &spent) {
		w.say(archive.Bomb, "", spent.What)
		err = nil
	}
	if err != nil {
		return err
	}
	return w.signs.Give(v)
}

type walker struct {
	f     *archive.File
	b     *archive.Budget
	v     archive.Visitor
	signs tell.Signs
}

func (w *walker) say(kind archive.Kind, what, why string) { w.signs.Add(kind, what, why) }

// read gives up to n octets at an offset, fewer where the file ends.
func (w *walker) read(at int64, n int) ([]byte, error) {
	if at < 0 || at >= w.f.Size() || n <= 0 {
		return nil, nil
	}
	b := make([]byte, min(int64(n), w.f.Size()-at))
	m, err := w.f.ReadAt(b, at)
	if err == io.EOF {
		err = nil
	}
	return b[:m], err
}

// give hands an entry on whose content is size octets at an offset. A link or a folder has none; where there is
// some all the same, since some reader may take it for a file, it is given too.
func (w *walker) give(e *archive.Entry, at, size int64) error {
	if err := w.b.Entry(); err != nil {
		return err
	}
	if size > 0 || !e.Folder && e.Link == "" {
		e.File = w.f.Section(at, size)
		if err := w.b.Spend(e.File.Size()); err != nil {
			return err
		}
		if e.File.Size() < size {
			w.say(archive.Unreadable, "cut", tell.Name(e.Names)+": the archive ends before its content does")
		}
	}
	return w.v.File(e)
}

// maxPath is the longest name that is given: longer ones are none for any system.
const maxPath = 16 << 10

// names gives every reading of names, the usual one first: those that are not UTF-8 in the code pages of DOS and
// Windows.
func names(stored ...string) (all []string) {
	for _, s := range stored {
		if len(s) <= maxPath {
			all = tell.Add(all, tell.Names([]byte(s))...)
		}
	}
	return all
}

// cString gives the octets before the first NUL.
func cString(b []byte) string {
	s, _, _ := strings.Cut(string(b), "\x00")
	return s
}
