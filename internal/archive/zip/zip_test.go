package zip

import (
	stdzip "archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"hash/crc32"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/tell/telltest"
)

func walk(t testing.TB, b []byte, l archive.Limits) *telltest.Found {
	t.Helper()
	return telltest.WalkLimited(t, Walk, b, l)
}

// member is a file of a made archive: what its headers say, and its packed octets.
type member struct {
	name, central  string // central: "" for the same name
	flags, method  uint16
	packed         string
	content        string
	extra          string
	descriptor     bool
	localSize      int // added to the sizes of the local header
	unlisted       bool
	disk           uint16
	mode           uint16
	wrongSum       bool
	moved          int // added to the offset in the directory
	centralFlagXor uint16
}

func stored(name, content string) member {
	return member{name: name, packed: content, content: content}
}

func deflated(name, content string) member {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, 6)
	_, _ = w.Write([]byte(content))
	_ = w.Close()
	return member{name: name, method: methodDeflate, packed: b.String(), content: content}
}

// made is an archive under construction.
type made struct {
	b    []byte
	list []byte
	n    int
}

func (m *made) add(all ...member) *made {
	le := binary.LittleEndian
	for _, f := range all {
		at := len(m.b) + f.moved
		sum := crc32.ChecksumIEEE([]byte(f.content))
		if f.wrongSum {
			sum++
		}
		if f.descriptor {
			f.flags |= flagDescriptor
		}
		m.b = append(m.b, sigLocal...)
		m.b = le.AppendUint16(m.b, 20)
		m.b = le.AppendUint16(m.b, f.flags)
		m.b = le.AppendUint16(m.b, f.method)
		m.b = append(m.b, 0, 0, 0, 0)
		if f.descriptor {
			m.b = append(m.b, make([]byte, 12)...)
		} else {
			m.b = le.AppendUint32(m.b, sum)
			m.b = le.AppendUint32(m.b, uint32(len(f.packed)+f.localSize))
			m.b = le.AppendUint32(m.b, uint32(len(f.content)+f.localSize))
		}
		m.b = le.AppendUint16(m.b, uint16(len(f.name)))
		m.b = le.AppendUint16(m.b, uint16(len(f.extra)))
		m.b = append(m.b, f.name+f.extra+f.packed...)
		if f.descriptor {
			m.b = append(m.b, sigData...)
			m.b = le.AppendUint32(m.b, sum)
			m.b = le.AppendUint32(m.b, uint32(len(f.packed)))
			m.b = le.AppendUint32(m.b, uint32(len(f.content)))
		}
		if !f.unlisted {
			m.central(f, sum, at)
		}
	}
	return m
}

func (m *made) central(f member, sum uint32, at int) {
	le := binary.LittleEndian
	name := f.name
	if f.central != "" {
		name = f.central
	}
	m.n++
	m.list = append(m.list, sigCentral...)
	m.list = append(m.list, 20, 3, 20, 0)
	m.list = le.AppendUint16(m.list, f.flags^f.centralFlagXor)
	m.list = le.AppendUint16(m.list, f.method)
	m.list = append(m.list, 0, 0, 0, 0)
	m.list = le.AppendUint32(m.list, sum)
	m.list = le.AppendUint32(m.list, uint32(len(f.packed)))
	m.list = le.AppendUint32(m.list, uint32(len(f.content)))
	m.list = le.AppendUint16(m.list, uint16(len(name)))
	m.list = le.AppendUint16(m.list, uint16(len(f.extra)))
	m.list = append(m.list, 0, 0)
	m.list = le.AppendUint16(m.list, f.disk)
	m.list = append(m.list, 0, 0, 0, 0)
	m.list = le.AppendUint16(m.list, f.mode)
	m.list = le.AppendUint32(m.list, uint32(at))
	m.list = append(m.list, name+f.extra...)
}

// end ends the archive with a comment.
func (m *made) end(comment string) []byte {
	le := binary.LittleEndian
	at := len(m.b)
	b := append(slices.Clone(m.b), m.list...)
	b = append(b, sigEnd...)
	b = append(b, 0, 0, 0, 0)
	b = le.AppendUint16(b, uint16(m.n))
	b = le.AppendUint16(b, uint16(m.n))
	b = le.AppendUint32(b, uint32(len(m.list)))
	b = le.AppendUint32(b, uint32(at))
	b = le.AppendUint16(b, uint16(len(comment)))
	return append(b, comment...)
}

func build(all ...member) []byte { return new(made).add(all...).end("") }

var text = strings.Repeat("All that is gold does not glitter. ", 40)

// ordinary gives archives as ordinary programs make them.
func ordinary(t testing.TB) map[string][]byte {
	t.Helper()
	var b bytes.Buffer
	w := stdzip.NewWriter(&b)
	for _, f := range []struct {
		name   string
		method uint16
	}{{"a.txt", stdzip.Deflate}, {"b/", stdzip.Store}, {"b/c.txt", stdzip.Store}} {
		fw, err := w.CreateHeader(&stdzip.FileHeader{Name: f.name, Method: f.method})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(f.name, "/") {
			_, _ = fw.Write([]byte(text))
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	base := []member{deflated("a.txt", text), stored("b/", ""), stored("b/c.txt", text)}
	late := slices.Clone(base)
	for i := range late {
		late[i].descriptor = true
	}
	padded := slices.Clone(base)
	for i := range padded {
		padded[i].extra = "\x35\xd9\x04\x00\x04\x00\x00\x00" // as zipalign pads
	}
	comment := new(made).add(base...).end("made by hand")
	return map[string][]byte{
		"streamed":        b.Bytes(),
		"plain":           build(base...),
		"descriptors":     build(late...),
		"aligned":         build(padded...),
		"comment":         comment,
		"self-extracting": append([]byte("MZ"+strings.Repeat("stub PK\x03\x04\x00\x00", 1000)), build(base...)...),
		"signing block":   signed(base),
		"trailing junk":   append(build(base...), "\r\n"...),
	}
}

// signed puts a block of other octets before the directory, as Android does.
func signed(base []member) []byte {
	m := new(made).add(base...)
	m.b = append(m.b, strings.Repeat("signature", 500)...)
	return m.end("")
}

func TestOrdinary(t *testing.T) {
	for name, b := range ordinary(t) {
		t.Run(name, func(t *testing.T) {
			s := walk(t, b, archive.Limits{})
			if len(s.Signs) > 0 {
				t.Errorf("signs %v", s.Signs)
			}
			want := []string{text, "-", text}
			if !slices.Equal(s.Contents(), want) || len(s.Named("a.txt")) != 1 || len(s.Named("b/c.txt")) != 1 {
				t.Errorf("got %v", s.Names())
			}
			found, err := Find(context.Background(), archive.NewFile(b))
			if err != nil || !found {
				t.Errorf("it is not found: %v", err)
			}
		})
	}
}

// Whatever is cut off, the walk does not say that all is well.
func TestCut(t *testing.T) {
	for name, b := range ordinary(t) {
		if name == "self-extracting" || name == "trailing junk" || name == "comment" {
			continue
		}
		for n := len(b) - 1; n >= 0; n-- {
			if s := walk(t, b[:n], archive.Limits{}); len(s.Signs) == 0 {
				t.Fatalf("%s: no sign at %d of %d octets", name, n, len(b))
			}
		}
	}
}

func TestMethods(t *testing.T) {
	pack := func(method uint16, packed string) member {
		return member{name: "f", method: method, packed: packed, content: text}
	}
	var x bytes.Buffer
	xw, _ := xz.NewWriter(&x)
	_, _ = xw.Write([]byte(text))
	_ = xw.Close()
	zw, _ := zstd.NewWriter(nil)
	z := string(zw.EncodeAll([]byte(text), nil))
	flat := deflated("", text).packed
	for name, m := range map[string]member{
		"stored": pack(methodStored, text), "deflate": pack(methodDeflate, flat), "zstd": pack(methodZstd, z),
		"zstd of old": pack(methodZstdOld, z), "xz": pack(methodXZ, x.String()),
	} {
		s := walk(t, build(m), archive.Limits{})
		if len(s.Signs) > 0 || !slices.Equal(s.Contents(), []string{text}) {
			t.Errorf("%s: %v %.50q", name, s.Signs, s.Contents())
		}
		m.packed = m.packed[:len(m.packed)/2]
		if s := walk(t, build(m), archive.Limits{}); !s.Has(unreadable, "") {
			t.Errorf("%s: half of it is well", name)
		}
	}
	for _, method := range []uint16{1, 2, 3, 4, 5, 6, 10, 18, 96, 97, 98, 1000} {
		s := walk(t, build(pack(method, "x")), archive.Limits{})
		if !s.Has(unreadable, "method that is not read") || len(s.Named("f")) != 1 {
			t.Errorf("method %d: %v", method, s.Signs)
		}
	}
}

func TestDefects(t *testing.T) {
	sum := stored("f", text)
	sum.wrongSum = true
	slack := deflated("f", text)
	slack.packed += "more"
	long := stored("f", text)
	long.content = text[:10]
	lost := stored("f", text)
	lost.moved = 3
	part := stored("f", text)
	part.disk, part.moved = 1, 5000
	for name, c := range map[string]struct {
		b       []byte
		why     string
		content string
	}{
		"checksum":   {build(sum), "checksum", text},
		"slack":      {build(slack), "packed form ends", text},
		"sizes":      {build(long), "octets and not 10", text},
		"lost":       {build(lost), "not where the directory says", "-"},
		"volumes":    {build(part), "volumes", "-"},
		"no archive": {[]byte("nothing"), "no zip archive", ""},
	} {
		s := walk(t, c.b, archive.Limits{})
		if !s.Has(unreadable, c.why) {
			t.Errorf("%s: signs %v", name, s.Signs)
		}
		if c.content != "" && (len(s.Named("f")) == 0 || s.Named("f")[0] != c.content) {
			t.Errorf("%s: %.60q", name, s.Contents())
		}
	}
}

func TestEncrypted(t *testing.T) {
	for name, m := range map[string]member{
		"traditional": {name: "f", flags: flagEncrypted, packed: "xxxxxxxxxxxxxxxx", content: "x"},
		"strong":      {name: "f", flags: flagEncrypted | flagStrong, packed: "xxxxxxxxxxxxxxxx", content: "x"},
		"AES":         {name: "f", method: methodAES, packed: "xxxxxxxxxxxxxxxx", content: "x", extra: "\x01\x99\x07\x00\x02\x00AE\x03\x08\x00"},
		"masked":      {name: "f", flags: flagEncrypted | flagMasked, packed: "xxxxxxxxxxxxxxxx", content: "x"},
		"one header":  {name: "f", flags: flagEncrypted, packed: "xxxxxxxxxxxxxxxx", content: "x", centralFlagXor: flagEncrypted},
	} {
		s := walk(t, build(m), archive.Limits{})
		if !s.Has(encrypted, "") || len(s.Named("f")) == 0 {
			t.Errorf("%s: %v %v", name, s.Signs, s.Names())
		}
	}
}
