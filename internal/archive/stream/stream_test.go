package stream

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/tell/telltest"
)

func walk(t testing.TB, b []byte, l archive.Limits) *telltest.Found {
	t.Helper()
	return telltest.WalkLimited(t, Walk, b, l)
}

// text is what the streams of the tests hold.
var text = func() string {
	var b strings.Builder
	r := rand.New(rand.NewPCG(1, 2))
	for b.Len() < 200<<10 {
		fmt.Fprintf(&b, "line %d of the text\n", r.IntN(1000))
	}
	return b.String()
}()

// short is what streams hold that no library here can make.
const short = "hello hello hello hello\n"

// small is short as bzip2, lzip and compress pack it.
var small = map[string]string{
	Bzip2:    "QlpoOTFBWSZTWW9PEPMAAAXRAAAQQAACRKAAMMACqDRxDa2HDxdyRThQkG9PEPM=",
	Lzip:     "TFpJUAEMADQZSe6N6VYKwbYgt///ujQAAACIWQsYAAAAAAAAAC0AAAAAAAAA",
	Compress: "H52QaMqwYfMGRMCBBQ8SNCiQoAI=",
}

func decoded(t testing.TB, s string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func pack(t testing.TB, w io.WriteCloser, err error, b *bytes.Buffer) []byte {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// packed gives the text in each format that a library here makes.
func packed(t testing.TB) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	make1 := func(format string, f func(b *bytes.Buffer) (io.WriteCloser, error)) {
		var b bytes.Buffer
		w, err := f(&b)
		all[format] = pack(t, w, err, &b)
	}
	make1(Gzip, func(b *bytes.Buffer) (io.WriteCloser, error) {
		w := gzip.NewWriter(b)
		w.Name, w.Comment, w.Extra = "text.txt", "a comment", []byte("extra")
		return w, nil
	})
	make1(XZ, func(b *bytes.Buffer) (io.WriteCloser, error) { return xz.WriterConfig{BlockSize: 60000}.NewWriter(b) })
	make1(LZMA, func(b *bytes.Buffer) (io.WriteCloser, error) { return lzma.NewWriter(b) })
	make1(Zstd, func(b *bytes.Buffer) (io.WriteCloser, error) { return zstd.NewWriter(b) })
	make1(LZ4, func(b *bytes.Buffer) (io.WriteCloser, error) {
		w := lz4.NewWriter(b)
		return w, w.Apply(lz4.BlockChecksumOption(true), lz4.BlockSizeOption(lz4.Block64Kb))
	})
	return all
}

func TestFormats(t *testing.T) {
	for format, b := range packed(t) {
		if got := Detect(b); got != format {
			t.Errorf("%s is taken for %q", format, got)
		}
		s := walk(t, b, archive.Limits{})
		if len(s.Signs) > 0 || !slices.Equal(s.Contents(), []string{text}) {
			t.Errorf("%s: %v, %d entries", format, s.Signs, len(s.Contents()))
		}
		if format == Gzip && !slices.Equal(s.Names()[0], []string{"text.txt"}) {
			t.Errorf("names %q", s.Names())
		}
	}
}

// What follows a stream: another one, padding, or something else.
func TestAfter(t *testing.T) {
	for format, b := range packed(t) {
		if format != LZMA {
			s := walk(t, slices.Concat(b, b), archive.Limits{})
			if len(s.Signs) > 0 || !slices.Equal(s.Contents(), []string{text + text}) {
				t.Errorf("%s twice: %v, %d entries", format, s.Signs, len(s.Contents()))
			}
		}
		s := walk(t, slices.Concat(b, make([]byte, 100<<10)), archive.Limits{})
		if len(s.Signs) > 0 || !slices.Equal(s.Contents(), []string{text}) {
			t.Errorf("%s padded: %v, %d entries", format, s.Signs, len(s.Contents()))
		}
		s = walk(t, slices.Concat(b, []byte("MZ hidden")), archive.Limits{})
		if len(s.Signs) > 0 || !slices.Equal(s.Contents(), []string{text, "MZ hidden"}) {
			t.Errorf("%s with something after it: %v, %d entries", format, s.Signs, len(s.Contents()))
		}
	}
}

func TestCut(t *testing.T) {
	for format, b := range packed(t) {
		for _, n := range []int{15, 20, len(b) / 3, len(b) / 2, len(b) - 5, len(b) - 1} {
			if s := walk(t, b[:n], archive.Limits{}); !s.Has(archive.Unreadable, "") || len(s.Names()) != 1 {
				t.Errorf("%s cut at %d of %d: %v", format, n, len(b), s.Signs)
			} else if n > len(b)/4 && (format == Gzip || format == LZMA) && !(len(s.Contents()[0]) > 10000 && strings.HasPrefix(text, s.Contents()[0])) {
				t.Errorf("%s cut at %d of %d: what there is was not given", format, n, len(b))
			}
		}
	}
}

func TestChanged(t *testing.T) {
	for format, b := range packed(t) {
		if format == LZMA {
			continue // it has no checksum
		}
		b = slices.Clone(b)
		b[len(b)/2] ^= 0x55
		if s := walk(t, b, archive.Limits{}); !s.Has(archive.Unreadable, "") {
			t.Errorf("%s: %v", format, s.Signs)
		}
	}
}

// Streams of formats that no library here writes.
func TestSmall(t *testing.T) {
	for format, b64 := range small {
		b := decoded(t, b64)
		if got := Detect(b); got != format {
			t.Errorf("%s is taken for %q", format, got)
		}
		s := walk(t, b, archive.Limits{})
		if len(s.Signs) > 0 || !slices.Equal(s.Contents(), []string{short}) {
			t.Errorf("%s: %v, %q", format, s.Signs, s.Contents())
		}
	}
	b := decoded(t, small[Bzip2])
	s := walk(t, slices.Concat(b, b, []byte("tail")), archive.Limits{})
	if len(s.Signs) > 0 || !slices.Equal(s.Contents(), []string{short + short, "tail"}) {
		t.Errorf("bzip2 twice and a tail: %v, %q", s.Signs, s.Contents())
	}
	for _, tail := range []string{"x", "\n"} {
		s = walk(t, slices.Concat(b, []byte(tail)), archive.Limits{})
		if len(s.Signs) > 0 || !slices.Equal(s.Contents(), []string{short, tail}) {
			t.Errorf("bzip2 and %q: %v, %q", tail, s.Signs, s.Contents())
		}
		if s = walk(t, slices.Concat(b, b[:len(b)-9], []byte(tail)), archive.Limits{}); !s.Has(archive.Unreadable, "") {
			t.Errorf("bzip2, a cut one and %q: %v", tail, s.Signs)
		}
	}
	b = decoded(t, small[Lzip])
	s = walk(t, slices.Concat(b, b, []byte("tail")), archive.Limits{})
	if len(s.Signs) > 0 || !slices.Equal(s.Contents(), []string{short + short, "tail"}) {
		t.Errorf("lzip twice and a tail: %v, %q", s.Signs, s.Contents())
	}
}

func TestRefused(t *testing.T) {
	dict := append([]byte{0x5d, 0, 0, 0, 0x10}, bytes.Repeat([]byte{0xff}, 8)...)
	window := []byte("\x28\xb5\x2f\xfd\x00\xa0\x01\x00\x00") // 2^30 octets
	for name, c := range map[string]struct {
		b   []byte
		why string
	}{
		"nothing known":         {[]byte("something else"), "not read"},
		"lzop":                  {[]byte("\x89LZO\x00\r\n\x1a\n\x10\x40\x20\xa0"), "not read"},
		"a dictionary of lzma":  {append(dict, 0, 0, 0, 0, 0, 0), "memory"},
		"a window of zstd":      {window, "memory"},
		"a dictionary of lzip":  {[]byte("LZIP\x01\x1d\x00\x00\x00\x00\x00"), "memory"},
		"an empty file":         {nil, "not read"},
		"reserved bits of gzip": {[]byte("\x1f\x8b\x08\xe0\x00\x00\x00\x00\x00\x00"), "header"},
	} {
		if s := walk(t, c.b, archive.Limits{}); !s.Has(archive.Unreadable, c.why) || len(s.Names()) != 1 {
			t.Errorf("%s: %v", name, s.Signs)
		}
	}
}

// Zeros without end, and members of nothing without end, end with the budget.
func TestBombs(t *testing.T) {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	zero := make([]byte, 1<<20)
	for range 100 {
		_, _ = w.Write(zero)
	}
	_ = w.Close()
	if s := walk(t, b.Bytes(), archive.Limits{}); !s.Has(archive.Bomb, "") || len(s.Contents()) != 1 {
		t.Errorf("zeros: %v", s.Signs)
	}
	var empty bytes.Buffer
	_ = gzip.NewWriter(&empty).Close()
	frame := "\x28\xb5\x2f\xfd\x20\x00\x01\x00\x00"
	for format, one := range map[string]string{Gzip: empty.String(), Zstd: frame} {
		s := walk(t, []byte(strings.Repeat(one, 50000)), archive.Limits{Octets: 8 << 20})
		if !s.Has(archive.Bomb, "") {
			t.Errorf("empty members of %s: %v", format, s.Signs)
		}
	}
}

func TestNames(t *testing.T) {
	var b bytes.Buffer
	for _, name := range []string{"one", "s\xfc\xdf"} {
		w := gzip.NewWriter(&b)
		_, _ = io.WriteString(w, name)
		_ = w.Close()
	}
	in := bytes.Replace(b.Bytes(), []byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"), []byte("\x1f\x8b\x08\x08\x00\x00\x00\x00\x00\xffone\x00"), 1)
	i := bytes.LastIndex(in, []byte("\x1f\x8b\x08\x00"))
	in = slices.Concat(in[:i], []byte("\x1f\x8b\x08\x08\x00\x00\x00\x00\x00\xffs\xfc\xdf\x00"), in[i+10:])
	s := walk(t, in, archive.Limits{})
	if len(s.Signs) > 0 || !slices.Equal(s.Names()[0], []string{"one", "süß"}) {
		t.Errorf("%q %v", s.Names(), s.Signs)
	}
}

func FuzzWalk(f *testing.F) {
	for _, b := range packed(f) {
		f.Add(b[:min(len(b), 3000)])
	}
	for _, b64 := range small {
		b := decoded(f, b64)
		f.Add(b)
		f.Add(slices.Concat(b, b))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		budget := archive.NewBudget(archive.Limits{Octets: 4 << 20}, int64(len(b)))
		s := &telltest.Found{}
		if err := Walk(context.Background(), archive.NewFile(b), budget, s); err != nil {
			t.Fatal(err)
		}
		if len(s.Names()) == 0 || len(s.Names()) > 2 || len(s.Signs) > 2 {
			t.Fatalf("%d entries, %d signs", len(s.Names()), len(s.Signs))
		}
	})
}
