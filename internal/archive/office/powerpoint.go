package office

import (
	"compress/zlib"
	"context"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/ole"
)

// Records of the stream PowerPoint Document (MS-PPT 2.13.24).
const (
	pptStorage       = 0x1011 // a compound file: an object, a control or the macros
	pptInteraction   = 0x0ff3
	pptCryptSession  = 0x2f14
	pptHeadEncrypted = 0xf3d1c4df // of the current user (MS-PPT 2.3.2)
)

func powerPointEncryption(s *ole.Stream) (string, error) {
	f, _ := s.File()
	b, err := f.Head(16)
	if err != nil || len(b) < 16 || binary.LittleEndian.Uint32(b[12:]) != pptHeadEncrypted {
		return "", err
	}
	return "the presentation is encrypted", nil
}

// walkPowerPoint looks at all records, whatever holds them.
func (w *walker) walkPowerPoint(ctx context.Context, s *ole.Storage, c *ole.Stream) error {
	if user := s.Stream("Current User"); user != nil {
		if is, err := w.encrypted(powerPointEncryption(user)); is || err != nil {
			return err
		}
	}
	f, problem := c.File()
	if err := w.problem("the presentation", problem); err != nil {
		return err
	}
	head := make([]byte, 8)
	objects := 0
	for at, n := int64(0), 0; at+8 <= f.Size(); n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if _, err := f.ReadAt(head, at); err != nil && err != io.EOF {
			return err
		}
		version, id, size := binary.LittleEndian.Uint16(head), binary.LittleEndian.Uint16(head[2:]), int64(binary.LittleEndian.Uint32(head[4:]))
		at += 8
		if version&0xf == 0xf && id != pptStorage {
			continue // a container: what it holds comes next
		}
		if at+size > f.Size() {
			if err := w.problem("the presentation", fmt.Errorf("record %04x is cut short", id)); err != nil {
				return err
			}
		}
		switch id {
		case pptStorage:
			objects++
			if err := w.pptStorage(ctx, f.Section(at, size), version>>4 == 1, objects); err != nil {
				return err
			}
		case pptInteraction:
			b, err := f.Section(at, size).Head(16)
			if err != nil {
				return err
			}
			if len(b) > 8 && b[8] == 2 { // MS-PPT 2.6.4: the action runs a program
				w.say(archive.MacroAuto, "action", "a shape runs a program")
			}
		case pptCryptSession:
			w.say(archive.Encrypted, "", "the presentation is encrypted")
		}
		at += size
	}
	return nil
}

// pptStorage looks at a compound file within a presentation (MS-PPT 2.10.34): packed ones begin with their length.
func (w *walker) pptStorage(ctx context.Context, f *archive.File, packed bool, n int) error {
	name := fmt.Sprintf("object %d", n)
	if packed {
		in := f.Section(4, f.Size()).Reader()
		z, problem := zlib.NewReader(in)
		if problem != nil {
			return w.problem(name, problem)
		}
		plain, problem, err := archive.Spool(ctx, z, w.b)
		if err != nil {
			return err
		}
		defer func() { _ = plain.Close() }()
		if err := w.problem(name, problem); err != nil {
			return err
		}
		f = plain
	}
	return w.giveObject(ctx, []string{name}, f, !packed)
}

// giveObject hands on a compound file within the document, or looks at it where it is the document's macros. Where it
// lies in the clear, its octets are still to be spent.
func (w *walker) giveObject(ctx context.Context, names []string, f *archive.File, clear bool) error {
	root, _, err := ole.Open(ctx, f)
	if err != nil {
		return err
	}
	if root != nil && isProject(root) {
		return w.walkRoot(ctx, root)
	}
	if clear {
		return w.giveSection(names, f)
	}
	return w.give(&archive.Entry{Names: names, Size: f.Size(), File: f})
}
