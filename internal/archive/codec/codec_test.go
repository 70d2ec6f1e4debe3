package codec

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"
	xzwriter "github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"
)

// text has no two hundred octets that are repeated, so that Deflate and Deflate64 pack it alike.
var text = func() string {
	var b strings.Builder
	r := rand.New(rand.NewPCG(3, 4))
	for b.Len() < 100<<10 {
		fmt.Fprintf(&b, "%d bottles of beer, ", r.IntN(5000))
	}
	return b.String()
}()

const tail = "what follows"

// reads checks that a decoder gives want and leaves what follows.
func reads(t *testing.T, name, in, want string, decoder func(*bufio.Reader) (io.Reader, error)) {
	t.Helper()
	b := bufio.NewReader(strings.NewReader(in + tail))
	r, err := decoder(b)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	got, err := io.ReadAll(r)
	if err != nil || string(got) != want {
		t.Errorf("%s: %d octets, %v", name, len(got), err)
	}
	if rest, _ := io.ReadAll(b); string(rest) != tail {
		t.Errorf("%s leaves %.40q", name, rest)
	}
}

func flat(level int, s string) string {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, level)
	_, _ = io.WriteString(w, s)
	_ = w.Close()
	return b.String()
}

func TestInflate64(t *testing.T) {
	for _, level := range []int{0, 1, 6, 9, flate.HuffmanOnly} {
		reads(t, fmt.Sprintf("level %d", level), flat(level, text), text, func(in *bufio.Reader) (io.Reader, error) { return Inflate64(in), nil })
	}
	reads(t, "a long match", longMatch(60000, 1), strings.Repeat("a", 60004), func(in *bufio.Reader) (io.Reader, error) { return Inflate64(in), nil })
	for name, in := range map[string]string{
		"a distance before the start": longMatch(10, 5), "a stored block with wrong lengths": "\x01\x05\x00\x05\x00hello",
		"a kind that is none": "\x07", "nothing": "", "half": flat(6, text)[:1000],
	} {
		if _, err := io.ReadAll(Inflate64(bufio.NewReader(strings.NewReader(in)))); err == nil {
			t.Errorf("%s is read", name)
		}
	}
}

// longMatch packs an "a" and a match of the longest kind with n more octets than three, in the fixed code.
func longMatch(n, distance int) string {
	var out []byte
	var have uint
	bit := func(b int) {
		if have%8 == 0 {
			out = append(out, 0)
		}
		out[len(out)-1] |= byte(b) << (have % 8)
		have++
	}
	low := func(v, n int) { // lowest bit first
		for i := range n {
			bit(v >> i & 1)
		}
	}
	code := func(v, n int) { // highest bit first
		for i := n - 1; i >= 0; i-- {
			bit(v >> i & 1)
		}
	}
	low(1, 1)
	low(1, 2)
	code(0x30+'a', 8)
	code(0xc0+285-280, 8)
	low(n, 16)
	if distance == 1 {
		code(0, 5)
	} else {
		code(4, 5)
		low(distance-5, 1)
	}
	code(0, 7)
	return string(out)
}

func TestExactEnds(t *testing.T) {
	reads(t, "deflate", flat(6, text), text, func(in *bufio.Reader) (io.Reader, error) { return Deflate(in), nil })
	var x bytes.Buffer
	xw, _ := xzwriter.WriterConfig{BlockSize: 10000, CheckSum: xzwriter.SHA256}.NewWriter(&x)
	_, _ = io.WriteString(xw, text)
	_ = xw.Close()
	for _, most := range []int64{-1, int64(len(text))} {
		reads(t, "xz", x.String(), text, func(in *bufio.Reader) (io.Reader, error) { return XZ(in, most) })
	}
	reads(t, "two streams of xz with padding", x.String()+"\x00\x00\x00\x00"+x.String(), text+text,
		func(in *bufio.Reader) (io.Reader, error) { return XZ(in, -1) })
	zw, _ := zstd.NewWriter(nil)
	var z Zstd
	for range 2 {
		reads(t, "zstd", string(zw.EncodeAll([]byte(text), nil)), text, z.Frame)
	}
}

func TestLZMAZip(t *testing.T) {
	for _, marked := range []bool{false, true} {
		var b bytes.Buffer
		w, err := lzma.WriterConfig{SizeInHeader: !marked, Size: int64(len(text)), EOSMarker: marked}.NewWriter(&b)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(w, text)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		in := "\x09\x14\x05\x00" + b.String()[:5] + b.String()[13:]
		reads(t, fmt.Sprintf("marked %v", marked), in, text, func(in *bufio.Reader) (io.Reader, error) {
			return LZMAZip(in, int64(len(text)), marked)
		})
	}
}

// xzHead is the start of an xz file with one block that is packed with a filter.
func xzHead(filter string) string {
	h := XZMagic + "\x00\x01"
	h += string(binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE([]byte("\x00\x01"))))
	block := "\x02\x00" + filter + strings.Repeat("\x00", 6-len(filter))
	return h + block + string(binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE([]byte(block))))
}

func TestRefused(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		want error
	}{
		"a dictionary of 4 GiB":                  {xzHead("\x21\x01\x28") + "\x00", ErrDict},
		"a filter of programs":                   {xzHead("\x04\x00"), errFilter},
		"a first chunk that needs one before it": {xzHead("\x21\x01\x10") + "\x02\x00\x00x", errDamaged},
	} {
		r, err := XZ(bufio.NewReader(strings.NewReader(c.in)), -1)
		if err == nil {
			_, err = io.ReadAll(r)
		}
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSafe(t *testing.T) {
	r := Safe(panics{})
	for range 2 {
		if _, err := r.Read(nil); !errors.Is(err, errDamaged) {
			t.Errorf("got %v", err)
		}
	}
}

type panics struct{}

func (panics) Read([]byte) (int, error) { panic("index out of range") }

func FuzzDecoders(f *testing.F) {
	short := text[:300]
	f.Add(byte(0), []byte(flat(6, short)))
	f.Add(byte(0), []byte(longMatch(60000, 1)))
	f.Add(byte(1), []byte(CompressMagic+"\x90hello hello"))
	f.Add(byte(2), []byte("\x09\x14\x05\x00\x5d\x00\x00\x01\x00\x00abc"))
	f.Add(byte(3), []byte(xzHead("\x21\x01\x10")+"\x01\x00\x02abc\x00"))
	f.Add(byte(4), []byte(ZstdMagic+"\x20\x03\x19\x00\x00abc"))
	f.Add(byte(5), []byte(LZ4Magic+"\x60\x40\x82\x03\x00\x00\x80abc\x00\x00\x00\x00"))
	f.Add(byte(6), []byte(LzipMagic+"\x01\x0c\x00\x10\x20"))
	f.Fuzz(func(t *testing.T, kind byte, b []byte) {
		in := bufio.NewReader(bytes.NewReader(b))
		var r io.Reader
		var err error
		var z Zstd
		switch kind % 7 {
		case 0:
			r = Inflate64(in)
		case 1:
			r, err = Compress(in)
		case 2:
			r, err = LZMAZip(in, int64(len(b)), kind&0x80 != 0)
		case 3:
			r, err = XZ(in, 1<<20)
		case 4:
			r, err = z.Frame(in)
		case 5:
			r, err = LZ4(in)
		case 6:
			r, err = Lzip(in)
		}
		if err != nil {
			return
		}
		if _, err := io.CopyN(io.Discard, r, 4<<20); err == nil {
			return // a bomb
		}
		for range 3 {
			if n, err := r.Read(make([]byte, 10)); n == 0 && err == nil {
				t.Fatal("neither octets nor an error")
			}
		}
	})
}
