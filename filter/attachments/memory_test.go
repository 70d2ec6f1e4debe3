package attachments

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"hash/crc32"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"

	"github.com/postern-mail/postern/filter"
)

// counted is a filter.Holder that lets everybody have up to most, and remembers what was had.
type counted struct {
	now, peak, most int64
	asides          int
}

var errFull = errors.New("there is no room")

func (c *counted) Hold(_ context.Context, octets int64) error {
	if octets > c.most {
		return errFull
	}
	c.now = octets
	c.peak = max(c.peak, octets)
	return nil
}

func (c *counted) Aside(do func()) {
	c.asides++
	do()
}

// TestAside: a reader of an archive that waits for that of another message says so.
func TestAside(t *testing.T) {
	h, waited := &counted{}, 0
	l := newChecker(t, "").(*checker).newLook(filter.WithHolder(t.Context(), h), 1)
	l.budget.Aside(func() { waited = h.asides })
	if waited != 1 {
		t.Error("nobody was told")
	}
}

// packedZip makes a zip file of entries that are packed already, of size octets as they say.
func packedZip(t *testing.T, method uint16, flags uint16, packed []byte, size uint64, names ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, name := range names {
		e, err := w.CreateRaw(&zip.FileHeader{
			Name: name, Method: method, Flags: flags, CRC32: crc32.ChecksumIEEE(nil), CompressedSize64: uint64(len(packed)), UncompressedSize64: size,
		})
		if err == nil {
			_, err = e.Write(packed)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestMemoryOfZip: a decoder with a dictionary is counted also where it is that of a file in a zip archive, as long as it is used.
func TestMemoryOfZip(t *testing.T) {
	text := bytes.Repeat([]byte("All that is gold does not glitter. "), 6000)
	const much, dict, literals = 64 << 20, 32 << 20, 12 << 10
	var l, x, z bytes.Buffer
	lw, err := lzma.WriterConfig{DictCap: dict, EOSMarker: true}.NewWriter(&l)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = lw.Write(text)
	_ = lw.Close()
	inZip := append([]byte{9, 20, 5, 0}, l.Bytes()[:5]...) // APPNOTE 5.8.8
	inZip = append(inZip, l.Bytes()[13:]...)
	l.Reset()
	lw, err = lzma.WriterConfig{Properties: &lzma.Properties{LC: 8, LP: 4}, DictCap: dict, EOSMarker: true}.NewWriter(&l)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = lw.Write(text)
	_ = lw.Close()
	contexts := append([]byte{9, 20, 5, 0}, l.Bytes()[:5]...)
	contexts = append(contexts, l.Bytes()[13:]...)
	xw, err := xz.WriterConfig{DictCap: dict}.NewWriter(&x)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = xw.Write(text)
	_ = xw.Close()
	zw, err := zstd.NewWriter(&z, zstd.WithWindowSize(dict))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = zw.Write(text)
	_ = zw.Flush() // so that the frame does not say its size
	_ = zw.Close()
	for name, c := range map[string]struct {
		file []byte
		want int64
	}{
		"lzma":              {packedZip(t, 14, 2, inZip, much, "a.txt"), much + literals},
		"lzma, small":       {packedZip(t, 14, 2, inZip, uint64(len(text)), "a.txt"), int64(len(text)) + literals},
		"lzma, contexts":    {packedZip(t, 14, 2, contexts, uint64(len(text)), "a.txt"), int64(len(text)) + 6<<20},
		"bzip2":             {packedZip(t, 12, 0, []byte("BZh9"), 1, "a.txt"), 4 << 20},
		"xz":                {packedZip(t, 95, 0, x.Bytes(), dict, "a.txt"), dict},
		"zstd":              {packedZip(t, 93, 0, z.Bytes(), 1000, "a.txt"), dict},
		"some":              {packedZip(t, 14, 2, inZip, much, "a.txt", "b.txt", "c.txt"), much + literals},
		"a document":        {packedZip(t, 14, 2, inZip, much, "[Content_Types].xml"), much + literals},
		"stored":            {packedZip(t, 0, 0, text, uint64(len(text)), "a.txt"), 0},
		"after other bytes": {append(bytes.Repeat([]byte{1}, 2000), packedZip(t, 14, 2, inZip, much, "a.txt")...), much + literals},
	} {
		h := &counted{most: much + literals}
		ctx := filter.WithHolder(t.Context(), h)
		if _, err := newChecker(t, "").Check(ctx, input(t, wrapped("a.zip", c.file))); err != nil || h.peak != c.want || h.now != 0 {
			t.Errorf("%s: %d octets at the most, %d after it, want %d and 0; %v", name, h.peak, h.now, c.want, err)
		}
		h.most = c.want - 1
		if _, err := newChecker(t, "").Check(ctx, input(t, wrapped("a.zip", c.file))); !errors.Is(err, errFull) && c.want > 0 {
			t.Errorf("%s, without room: %v", name, err)
		}
	}
}
