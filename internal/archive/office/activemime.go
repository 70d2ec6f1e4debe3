package office

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"errors"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/ole"
)

// IsActiveMime reports whether a file that begins with head is the packed compound file in which Word and Excel keep
// macros and objects of documents in XML and MHTML.
func IsActiveMime(head []byte) bool { return bytes.HasPrefix(head, []byte("ActiveMime")) }

// WalkActiveMime implements archive.Walk for such a file.
func WalkActiveMime(ctx context.Context, f *archive.File, b *archive.Budget, v archive.Visitor) error {
	w := &walker{b: b, v: v}
	return w.end(w.walkActiveMime(ctx, f, "ActiveMime"))
}

// walkActiveMime unpacks the compound file and looks at it. Where it begins is not documented but for the header's
// word; what does not keep to that has it at one of two places, or anywhere.
func (w *walker) walkActiveMime(ctx context.Context, f *archive.File, name string) error {
	head, err := f.Head(4096)
	if err != nil {
		return err
	}
	places := []int{0x32, 0x22a}
	if len(head) > 0x20 {
		places = append([]int{int(binary.LittleEndian.Uint16(head[0x1e:])) + 46}, places...)
	}
	for i := range len(head) - 1 {
		if head[i] == 0x78 && (int(head[i])<<8|int(head[i+1]))%31 == 0 && len(places) < 16 {
			places = append(places, i)
		}
	}
	for _, at := range places {
		in := f.Section(int64(at), f.Size()).Reader()
		z, err := zlib.NewReader(in)
		if err != nil {
			continue
		}
		plain, problem, err := archive.Spool(ctx, z, w.b)
		if err != nil {
			return err
		}
		done, err := w.unpacked(ctx, plain, problem, name)
		_ = plain.Close()
		if done || err != nil {
			return err
		}
	}
	return w.problem(name, errors.New("its content can't be unpacked"))
}

// unpacked looks at what was unpacked, unless it is nothing.
func (w *walker) unpacked(ctx context.Context, f *archive.File, problem error, name string) (done bool, err error) {
	var spent *archive.ErrBudget
	if errors.As(problem, &spent) {
		return true, w.problem(name, problem)
	}
	head, err := f.Head(8)
	if err != nil || !ole.Is(head) {
		return false, err
	}
	if err := w.problem(name, problem); err != nil {
		return true, err
	}
	root, problem, err := ole.Open(ctx, f)
	if err != nil {
		return true, err
	}
	if err := w.problem(name, problem); err != nil || root == nil {
		return true, err
	}
	return true, w.walkRoot(ctx, root)
}
