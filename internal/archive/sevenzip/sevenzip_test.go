package sevenzip

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/ulikunitz/xz/lzma"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/tell/telltest"
)

// testFile is a file of an archive that is built here.
type testFile struct {
	name    string
	content string
	attr    uint32
	folder  bool
}

// testFolder is a folder with its packed streams.
type testFolder struct {
	folder
	packed [][]byte
}

func copied(content string) testFolder {
	return testFolder{
		folder{coders: []coder{{id: []byte{0}, in: 1, out: 1, size: uint64(len(content))}}, packed: []int{0}, parts: make([]part, 1)},
		[][]byte{[]byte(content)},
	}
}

// lzmaFolder packs content by LZMA.
func lzmaFolder(t testing.TB, content string) testFolder {
	t.Helper()
	var b bytes.Buffer
	w, err := lzma.WriterConfig{Size: int64(len(content)), SizeInHeader: true, DictCap: 1 << 16}.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	f := copied(content)
	f.coders[0].id, f.coders[0].props = methodLZMA, bytes.Clone(b.Bytes()[:5])
	f.packed[0] = b.Bytes()[13:]
	return f
}

// appendStreams writes a StreamsInfo of the folders, whose packed streams begin at pos.
func appendStreams(h []byte, pos int, sums bool, folders ...testFolder) []byte {
	var sizes []byte
	n := 0
	for _, f := range folders {
		for _, p := range f.packed {
			sizes = appendNumber(sizes, uint64(len(p)))
			n++
		}
	}
	h = appendNumber(append(h, idPackInfo), uint64(pos))
	h = appendNumber(h, uint64(n))
	h = append(append(append(h, idSize), sizes...), idEnd)
	h = appendNumber(append(h, idUnpackInfo, idFolder), uint64(len(folders)))
	h = append(h, 0)
	for _, f := range folders {
		order := make([]int, len(f.coders))
		for i := range order {
			order[i] = i
		}
		h = f.appendTo(h, order)
	}
	h = append(h, idUnpackSize)
	for _, f := range folders {
		for _, c := range f.coders {
			h = appendNumber(h, c.size)
		}
	}
	h = append(h, idEnd, idSubStreams, idNumUnpack)
	for _, f := range folders {
		h = appendNumber(h, uint64(len(f.parts)))
	}
	h = append(h, idSize)
	for _, f := range folders {
		for _, p := range f.parts[:max(0, len(f.parts)-1)] {
			h = appendNumber(h, p.size)
		}
	}
	if sums {
		h = append(h, idCRC, 1)
		for _, f := range folders {
			for _, p := range f.parts {
				h = binary.LittleEndian.AppendUint32(h, p.crc.crc)
			}
		}
	}
	return append(h, idEnd, idEnd)
}

// appendFiles writes a FilesInfo.
func appendFiles(h []byte, files []testFile) []byte {
	h = appendNumber(append(h, idFiles), uint64(len(files)))
	names, empty, empties, attrs := []byte{0}, make([]byte, (len(files)+7)/8), []byte{0}, []byte{1, 0}
	n := 0
	for i, f := range files {
		for _, u := range utf16.Encode([]rune(f.name + "\x00")) {
			names = binary.LittleEndian.AppendUint16(names, u)
		}
		attrs = binary.LittleEndian.AppendUint32(attrs, f.attr)
		if f.content == "" {
			empty[i/8] |= 0x80 >> (i % 8)
			if !f.folder {
				empties[0] |= 0x80 >> n
			}
			n++
		}
	}
	for _, p := range []struct {
		id byte
		b  []byte
	}{{idEmptyStream, empty}, {idEmptyFile, empties}, {idNames, names}, {idAttributes, attrs}} {
		h = append(h, p.id)
		h = append(appendNumber(h, uint64(len(p.b))), p.b...)
	}
	return append(h, idEnd)
}

// wrap makes an archive of packed streams and the header that follows them.
func wrap(packed, h []byte) []byte {
	start := binary.LittleEndian.AppendUint64(nil, uint64(len(packed)))
	start = binary.LittleEndian.AppendUint64(start, uint64(len(h)))
	start = binary.LittleEndian.AppendUint32(start, crc32.ChecksumIEEE(h))
	a := append([]byte(signature), 0, 4)
	a = binary.LittleEndian.AppendUint32(a, crc32.ChecksumIEEE(start))
	return append(append(append(a, start...), packed...), h...)
}

// build makes an archive; each folder has as many parts as its parts field says, filled in from the files.
func build(files []testFile, folders ...testFolder) []byte {
	return wrap(header(files, folders...))
}

func header(files []testFile, folders ...testFolder) (packed, h []byte) {
	next := 0
	for i := range folders {
		for j := range folders[i].parts {
			for next < len(files) && files[next].content == "" {
				next++
			}
			c := files[next].content
			next++
			folders[i].parts[j] = part{uint64(len(c)), digest{crc32.ChecksumIEEE([]byte(c)), true}}
		}
		for _, p := range folders[i].packed {
			packed = append(packed, p...)
		}
	}
	h = appendStreams([]byte{idHeader, idMain}, 0, true, folders...)
	return packed, append(appendFiles(h, files), idEnd)
}

// solid gives a folder n parts.
func solid(f testFolder, n int) testFolder {
	f.parts = make([]part, n)
	return f
}

func with(f testFolder, change func(f *testFolder)) testFolder {
	f.coders = append([]coder{}, f.coders...)
	change(&f)
	return f
}

func TestWalk(t *testing.T) {
	one := []testFile{{name: "a.txt", content: "content"}}
	locked := with(copied("content"), func(f *testFolder) { f.coders[0].id = methodAES })
	huge := with(lzmaFolder(t, "content"), func(f *testFolder) {
		f.coders[0].props = []byte{0x5d, 0xff, 0xff, 0xff, 0xff}
		f.coders[0].size = 1 << 40
	})
	ppmd := with(copied("content"), func(f *testFolder) { f.coders[0].id, f.coders[0].props = methodPPMd, []byte{6, 0, 0, 0, 0x80} })
	wide := with(lzmaFolder(t, "content"), func(f *testFolder) { f.coders[0].props = []byte{0x5d, 0, 0, 0, 0xf0} })
	odd := with(copied("content"), func(f *testFolder) { f.coders[0].id = []byte{4, 1, 9} })
	short := with(copied("content"), func(f *testFolder) { f.coders[0].size = 9 })
	wrong := build([]testFile{{name: "a.txt", content: "contend"}}, copied("content"))
	circle := with(copied("content"), func(f *testFolder) {
		f.coders = []coder{{id: []byte{0}, in: 1, out: 1, size: 7}, {id: []byte{0}, in: 2, out: 1, size: 7}, {id: []byte{0}, in: 1, out: 1, size: 7}}
		f.binds, f.folder.packed = []bind{{1, 2}, {3, 1}}, []int{0, 2}
		f.packed = [][]byte{[]byte("x"), []byte("y")}
	})
	twice := with(copied("content"), func(f *testFolder) {
		f.coders = []coder{{id: methodZstd, in: 1, out: 1, size: 7}, {id: methodZstd, in: 1, out: 1, size: 7}}
		f.binds, f.folder.packed = []bind{{0, 1}}, []int{1}
	})
	noList := wrap([]byte("packed"), nil)
	for _, c := range []struct {
		name    string
		data    []byte
		entries string
		kind    archive.Kind
		why     string
	}{
		{"copied", build(one, copied("content")), "a.txt=content", "", ""},
		{"LZMA", build(one, lzmaFolder(t, "content")), "a.txt=content", "", ""},
		{"a dictionary beyond need", build(one, wide), "a.txt=content", "", ""},
		{"solid", build([]testFile{{name: "a", content: "con"}, {name: "b", content: "tent"}}, solid(lzmaFolder(t, "content"), 2)), "a=con b=tent", "", ""},
		{"two folders", build([]testFile{{name: "a", content: "con"}, {name: "b", content: "tent"}}, copied("con"), lzmaFolder(t, "tent")), "a=con b=tent", "", ""},
		{"empty ones", build([]testFile{{name: "d", folder: true}, {name: "a", content: "x"}, {name: "e"}}, copied("x")), "d/= a=x e=", "", ""},
		{"a link", build([]testFile{{name: "l", content: "a", attr: 0xa1ff8000}}, copied("a")), "l->a=a", "", ""},
		{"nothing", wrap(nil, nil), "", "", ""},
		{"followed by more", append(build(one, copied("content")), "more"...), "a.txt=content", "", ""},
		{"encrypted", build(append(one, testFile{name: "b", content: "b"}), locked, copied("b")), "a.txt= b=b", archive.Encrypted, "a.txt"},
		{"a dictionary too large", build(one, huge), "a.txt=", archive.Unreadable, "memory"},
		{"a model too large", build(one, ppmd), "a.txt=", archive.Unreadable, "memory"},
		{"two windows", build(one, twice), "a.txt=", archive.Unreadable, "memory"},
		{"an unknown method", build(one, odd), "a.txt=", archive.Unreadable, "040109"},
		{"too short", build([]testFile{{name: "a", content: "content.."}}, short), "a=content", archive.Unreadable, "EOF"},
		{"a wrong checksum", wrong, "a.txt=content", archive.Unreadable, "checksum"},
		{"a circle", build(one, circle), "a.txt=", archive.Unreadable, "unknown form"},
		{"cut off", build(one, copied("content"))[:60], "", archive.Unreadable, "outside"},
		{"no list", noList, "", archive.Unreadable, "no list"},
		{"no archive", []byte(signature), "", archive.Unreadable, "cut off"},
	} {
		t.Run(c.name, func(t *testing.T) {
			check(t, telltest.Walk(t, Walk, c.data), c.entries, c.kind, c.why)
		})
	}
}

func check(t *testing.T, found *telltest.Found, entries string, kind archive.Kind, why string) {
	t.Helper()
	var got []string
	for _, e := range found.Entries {
		s := e.Names[0]
		if e.Folder {
			s += "/"
		}
		if e.Link != "" {
			s += "->" + e.Link
		}
		got = append(got, s+"="+string(e.Content))
	}
	if strings.Join(got, " ") != entries {
		t.Errorf("got %q, want %q", got, entries)
	}
	switch {
	case kind == "" && len(found.Signs) > 0, kind != "" && len(found.Signs) != 1:
		t.Error(found)
	case kind != "" && (found.Signs[0].Kind != kind || !strings.Contains(found.Signs[0].Why, why)):
		t.Error(found)
	}
}

// packHeader packs a header as a folder f does, once.
func packHeader(packed []byte, f testFolder) []byte {
	pos := len(packed)
	for _, p := range f.packed {
		packed = append(packed, p...)
	}
	f.parts[0] = part{size: f.coders[0].size}
	return wrap(packed, appendStreams([]byte{idEncoded}, pos, false, f))
}

func TestPackedHeader(t *testing.T) {
	packed, h := header([]testFile{{name: "a.txt", content: "content"}}, copied("content"))
	check(t, telltest.Walk(t, Walk, packHeader(packed, lzmaFolder(t, string(h)))), "a.txt=content", "", "")
	locked := with(copied(string(h)), func(f *testFolder) { f.coders[0].id = methodAES })
	check(t, telltest.Walk(t, Walk, packHeader(packed, locked)), "", archive.Encrypted, "list")
	long := with(lzmaFolder(t, string(h)), func(f *testFolder) { f.coders[0].size = 1 << 30 })
	check(t, telltest.Walk(t, Walk, packHeader(packed, long)), "", archive.Unreadable, "octets")
	// Packed again and again.
	again := h
	for range maxNested {
		f := copied(string(again))
		f.parts[0] = part{size: uint64(len(again))}
		packed = append(packed, again...)
		again = appendStreams([]byte{idEncoded}, len(packed)-len(again), false, f)
	}
	check(t, telltest.Walk(t, Walk, wrap(packed, again)), "", archive.Unreadable, "too often")
}

// What a header counts is not believed, and what unpacks to much ends with the budget.
func TestBombs(t *testing.T) {
	many := append([]byte{idHeader, idFiles, 0xf0, 0xff, 0xff, 0xff, 0xff}, 0, 0)
	check(t, telltest.Walk(t, Walk, wrap(nil, many)), "", archive.Bomb, "too many")
	content := strings.Repeat("\x00", 2<<20)
	bomb := build([]testFile{{name: "a", content: content}}, lzmaFolder(t, content))
	found := telltest.WalkLimited(t, Walk, bomb, archive.Limits{Octets: 1 << 19})
	if found.Kinds(archive.Bomb) != 1 || len(found.Signs) != 1 || found.Octets > 1<<19 {
		t.Errorf("%d octets, signs %v", found.Octets, found.Signs)
	}
	files := []testFile{{name: "a", folder: true}, {name: "b"}, {name: "c"}, {name: "d"}, {name: "e", content: "e"}}
	found = telltest.WalkLimited(t, Walk, build(files, copied("e")), archive.Limits{Files: 3})
	if found.Kinds(archive.Bomb) != 1 || len(found.Entries) != 3 {
		t.Error(found)
	}
}

// The coders of a folder may stand in any order.
func TestOrder(t *testing.T) {
	f := copied("content")
	f.coders = []coder{{id: []byte{0x03}, in: 1, out: 1, props: []byte{0}, size: 7}, {id: []byte{0}, in: 1, out: 1, size: 7}}
	f.binds, f.folder.packed = []bind{{0, 1}}, []int{1}
	delta := "content"
	packed := []byte(delta)
	for i := len(packed) - 1; i > 0; i-- {
		packed[i] -= packed[i-1]
	}
	f.packed = [][]byte{packed}
	check(t, telltest.Walk(t, Walk, build([]testFile{{name: "a", content: "content"}}, f)), "a=content", "", "")
}

func TestFind(t *testing.T) {
	a := build([]testFile{{name: "a", content: "x"}}, copied("x"))
	program := append([]byte("MZ "+signature+" not this one"), bytes.Repeat([]byte{1}, 1<<20-24)...)
	off, ok, err := Find(context.Background(), archive.NewFile(append(program, a...)))
	if err != nil || !ok || off != int64(len(program)) {
		t.Fatal(off, ok, err)
	}
	if _, ok, err := Find(context.Background(), archive.NewFile(program)); ok || err != nil {
		t.Fatal(ok, err)
	}
}

// What the visitor returns is returned as it is.
func TestVisitorError(t *testing.T) {
	want := errors.New("enough")
	a := build([]testFile{{name: "a", content: "abc"}}, copied("abcd"))
	locked := with(copied("content"), func(f *testFolder) { f.coders[0].id = methodAES })
	b := build([]testFile{{name: "a", content: "content"}}, locked)
	for _, v := range []refusing{{file: want}, {sign: want}} {
		for _, data := range [][]byte{a, b} {
			if err := Walk(context.Background(), archive.NewFile(data), archive.NewBudget(archive.Limits{}, 1), v); err != want && (v.file != nil || &data[0] == &b[0]) {
				t.Error(err)
			}
		}
	}
}

type refusing struct{ file, sign error }

func (r refusing) File(*archive.Entry) error { return r.file }
func (r refusing) Sign(archive.Sign) error   { return r.sign }

// BCJ2 with nothing in it to change gives the code as it is, and an end in the middle of a call is an error.
func TestBCJ2(t *testing.T) {
	for _, c := range []struct{ code, bits, got, why string }{
		{"no calls", "\x00\x00\x00\x00\x00", "no calls", ""},
		{"one call \xe8", "\x00\x00\x00\x00\x00", "one call \xe8", ""},
		{"one call \xe8", "\x00\xff\xff\xff\xff", "one call \xe8", "EOF"},
		{"one call \xe8", "\x00", "", "EOF"},
	} {
		f := testFolder{folder: folder{
			coders: []coder{{id: methodBCJ2, in: 4, out: 1, size: uint64(len(c.code))}},
			packed: []int{0, 1, 2, 3}, parts: make([]part, 1),
		}}
		for _, s := range []string{c.code, "", "", c.bits} {
			f.packed = append(f.packed, []byte(s))
		}
		kind := archive.Kind("")
		if c.why != "" {
			kind = archive.Unreadable
		}
		content := c.code
		if kind != "" && c.got != "" {
			content, f.coders[0].size = c.code+"1234", uint64(len(c.code)+4)
		}
		check(t, telltest.Walk(t, Walk, build([]testFile{{name: "a", content: content}}, f)), "a="+c.got, kind, c.why)
	}
}

func FuzzWalk(f *testing.F) {
	one := []testFile{{name: "a.txt", content: "content"}}
	packed, h := header(one, copied("content"))
	two := []testFile{{name: "d", folder: true}, {name: "a", content: "con"}, {name: "b", content: "tent"}, {name: "e"}}
	telltest.Fuzz(f, func(ctx context.Context, file *archive.File, b *archive.Budget, v archive.Visitor) error {
		// Whatever the octets are, they get right checksums, or nothing behind them would be looked at.
		data, err := file.Head(int(file.Size()))
		if err != nil {
			return err
		}
		return Walk(ctx, archive.NewFile(sum(data)), b, v)
	}, build(one, copied("content")), build(one, lzmaFolder(f, "content")), build(two, solid(lzmaFolder(f, "content"), 2)),
		packHeader(packed, lzmaFolder(f, string(h))))
}

// sum puts right the checksums of an archive.
func sum(data []byte) []byte {
	if len(data) < headerSize {
		return data
	}
	data = bytes.Clone(data)
	off, size := binary.LittleEndian.Uint64(data[12:]), binary.LittleEndian.Uint64(data[20:])
	if room := uint64(len(data) - headerSize); off <= room && size <= room-off {
		binary.LittleEndian.PutUint32(data[28:], crc32.ChecksumIEEE(data[headerSize+off:headerSize+off+size]))
	}
	binary.LittleEndian.PutUint32(data[8:], crc32.ChecksumIEEE(data[12:headerSize]))
	return data
}
