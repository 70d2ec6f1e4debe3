package rar

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/tell/telltest"
)

func vint(b []byte, v uint64) []byte { return binary.AppendUvarint(b, v) }

// block5 makes a block of RAR 5.0.
func block5(kind, flags uint64, body, extra, data []byte) []byte {
	h := vint(nil, kind)
	if len(extra) > 0 {
		flags |= extra5
	}
	if data != nil {
		flags |= data5
	}
	h = vint(h, flags)
	if len(extra) > 0 {
		h = vint(h, uint64(len(extra)))
	}
	if data != nil {
		h = vint(h, uint64(len(data)))
	}
	h = append(append(h, body...), extra...)
	h = append(vint(nil, uint64(len(h))), h...)
	b := binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(h))
	return append(append(b, h...), data...)
}

// member5 makes a file header or service header of RAR 5.0.
func member5(kind, flags uint64, name, content string, method uint64, extra []byte) []byte {
	body := vint(nil, 4) // with a checksum
	body = vint(body, uint64(len(content)))
	body = vint(body, 0)
	body = binary.LittleEndian.AppendUint32(body, crc32.ChecksumIEEE([]byte(content)))
	body = vint(body, method)
	body = vint(body, 1)
	body = append(vint(body, uint64(len(name))), name...)
	return block5(kind, flags, body, extra, []byte(content))
}

func file5(name, content string) []byte { return member5(2, 0, name, content, 0, nil) }

// record makes a record of the extra area.
func record(kind uint64, data string) []byte {
	r := append(vint(nil, kind), data...)
	return append(vint(nil, uint64(len(r))), r...)
}

var (
	main5   = block5(1, 0, []byte{0}, nil, nil)
	volume5 = block5(1, 0, []byte{1}, nil, nil)
	end5    = block5(5, 0, []byte{0}, nil, nil)
	locked5 = record(1, "\x00\x00"+strings.Repeat("k", 33))
)

func rar5(blocks ...[]byte) []byte { return append([]byte(signature5), bytes.Join(blocks, nil)...) }

// block4 makes a block up to RAR 4; what comes after its size.
func block4(kind byte, flags uint16, body string) []byte {
	h := binary.LittleEndian.AppendUint16([]byte{kind}, flags)
	h = binary.LittleEndian.AppendUint16(h, uint16(7+len(body)))
	h = append(h, body...)
	return append(binary.LittleEndian.AppendUint16(nil, uint16(crc32.ChecksumIEEE(h))), h...)
}

func member4(kind byte, flags uint16, name, content string, method byte, attr uint32) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(content)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(content)))
	b = append(b, 3)
	b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE([]byte(content)))
	b = append(b, 0, 0, 0, 0, 29, method)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(name)))
	b = binary.LittleEndian.AppendUint32(b, attr)
	return append(block4(kind, flags|data4, string(b)+name), content...)
}

func file4s(name, content string) []byte { return member4(file4, 0, name, content, 0x30, 0) }

var (
	main4 = block4(start4, 0, "\x00\x00\x00\x00\x00\x00")
	end4  = block4(finish4, 0, "")
)

func rar4(blocks ...[]byte) []byte { return append([]byte(signature4), bytes.Join(blocks, nil)...) }

// quickOpen5 makes the list of headers that copies the first of blocks, which it follows after gap octets.
func quickOpen5(head []byte, back int) []byte {
	r := vint(nil, 0)
	r = vint(r, uint64(back))
	r = append(vint(r, uint64(len(head))), head...)
	r = append(vint(nil, uint64(len(r))), r...)
	return member5(3, 0, "QO", "sum."+string(r), 0, nil)
}

func TestWalk(t *testing.T) {
	f5 := file5("a.txt", "content")
	wrong5 := bytes.Clone(rar5(main5, f5, end5))
	i := bytes.Index(wrong5, []byte("content"))
	wrong5[i] = 'C'
	badHead := bytes.Clone(rar5(main5, f5, end5))
	badHead[bytes.Index(badHead, []byte("a.txt"))] = 'b'
	head := f5[:len(f5)-len("content")]
	fake := bytes.Replace(head, []byte("a.txt"), []byte("b.txt"), 1)
	huge := member5(2, 0, "b", "packed", 3<<7|15<<10, nil)
	for _, c := range []struct {
		name    string
		data    []byte
		entries string
		kind    archive.Kind
		why     string
	}{
		{"5: stored", rar5(main5, f5, file5("b", "b"), end5), "a.txt=content b=b", "", ""},
		{"5: followed by more", append(rar5(main5, f5, end5), "more"...), "a.txt=content", "", ""},
		{"5: empty", rar5(main5, file5("a", ""), end5), "a=", "", ""},
		{"5: no files", rar5(main5, end5), "", "", ""},
		{"5: a comment", rar5(main5, member5(3, 0, "CMT", "comment", 0, nil), f5, end5), "a.txt=content", "", ""},
		{"5: a stream", rar5(main5, f5, member5(3, 0, "STM", "stream", 0, nil), end5), "a.txt=content", archive.Unreadable, "stream"},
		{"5: an unknown service", rar5(main5, f5, member5(3, 0, "XYZ", "", 0, nil), end5), "a.txt=content", archive.Unreadable, "XYZ"},
		{"5: an unknown block", rar5(main5, block5(9, 0, nil, nil, nil), f5, end5), "a.txt=content", archive.Unreadable, "unknown kind"},
		{"5: a block to be skipped", rar5(main5, block5(9, skippable5, nil, nil, []byte("x")), f5, end5), "a.txt=content", "", ""},
		{"5: encrypted", rar5(main5, member5(2, 0, "a", "x", 0, locked5), f5, end5), "a= a.txt=content", archive.Encrypted, `"a"`},
		{"5: all encrypted", rar5(block5(4, 0, []byte("\x00\x00"), nil, nil), []byte("xxxx")), "", archive.Encrypted, "list"},
		{"5: a link", rar5(main5, member5(2, 0, "l", "", 0, record(5, "\x01\x00\x06target")), end5), "l->target=", "", ""},
		{"5: in another volume", rar5(volume5, member5(2, continues5, "a", "x", 0, nil), end5), "a=", archive.Unreadable, "began"},
		{"5: goes on", rar5(volume5, f5, block5(5, 0, []byte{1}, nil, nil)), "a.txt=content", archive.Unreadable, "another file"},
		{"5: unfinished", rar5(volume5, member5(2, unfinished5, "a", "half", 0, nil), end5), "a=half", archive.Unreadable, `"a"`},
		{"5: a wrong checksum", wrong5, "a.txt=Content", archive.Unreadable, "checksum"},
		{"5: a wrong header", badHead, "", archive.Unreadable, "checksum of a header"},
		{"5: no end", rar5(main5, f5), "a.txt=content", archive.Unreadable, "cut off"},
		{"5: cut off", rar5(main5, f5[:len(f5)-3]), "a.txt=cont", archive.Unreadable, ""},
		{"5: a dictionary too large", rar5(main5, huge, f5, end5), "b= a.txt=content", archive.Unreadable, `"b"`},
		{"5: the list of headers", rar5(main5, f5, quickOpen5(head, len(f5)), end5), "a.txt=content", "", ""},
		{"5: another list of headers", rar5(main5, f5, quickOpen5(fake, len(f5)), end5), "a.txt=content", archive.Unreadable, "differs"},
		{"5: no list of headers", rar5(main5, f5, quickOpen5(fake, 1<<20), end5), "a.txt=content", archive.Unreadable, "list of headers"},
	} {
		t.Run(c.name, func(t *testing.T) {
			check(t, telltest.Walk(t, Walk, c.data), c.entries, c.kind, c.why)
		})
	}
}

func TestWalkOld(t *testing.T) {
	for _, c := range []struct {
		name    string
		data    []byte
		entries string
		kind    archive.Kind
		why     string
	}{
		{"4: stored", rar4(main4, file4s(`d\a.txt`, "content"), end4), "d/a.txt=content", "", ""},
		{"4: no end", rar4(main4, file4s("a", "content")), "a=content", "", ""},
		{"4: a folder", rar4(main4, member4(file4, dir4, "d", "", 0x30, 0), end4), "d/=", "", ""},
		{"4: a link", rar4(main4, member4(file4, 0, "l", "target", 0x30, 0xa1ff), end4), "l->target=target", "", ""},
		{"4: encrypted", rar4(main4, member4(file4, locked4, "a", "x", 0x30, 0), end4), "a=", archive.Encrypted, `"a"`},
		{"4: all encrypted", rar4(block4(start4, 0x80, "\x00\x00\x00\x00\x00\x00"), []byte("xx")), "", archive.Encrypted, "list"},
		{"4: unfinished", rar4(main4, member4(file4, unfinished4, "a", "half", 0x30, 0)), "a=half", archive.Unreadable, `"a"`},
		{"4: a stream", rar4(main4, member4(service4, 0, "STM", "x", 0x30, 0), end4), "", archive.Unreadable, "stream"},
		{"4: an unknown method", rar4(main4, member4(file4, 0, "a", "xxxx", 0x33, 0), end4), "a=", archive.Unreadable, `"a"`},
		{"4: a model too large", rar4(main4, member4(file4, 0, "a", "\xa0\xff..", 0x33, 0), file4s("b", "x"), end4), "a= b=x", archive.Unreadable, "256 MiB"},
		{"4: Unicode", rar4(main4, member4(file4, unicode4, "a?.txt\x00\x20\x10a\x00.t\x00xt", "x", 0x30, 0), end4), "a\u2000.txt=x", "", ""},
		{"4: UTF-8", rar4(main4, member4(file4, unicode4, "ü.txt", "x", 0x30, 0), end4), "ü.txt=x", "", ""},
		{"4: code page 437", rar4(main4, file4s("\x81.txt", "x"), end4), "ü.txt=x", "", ""},
		{"4: an unknown block", rar4(main4, block4(0x60, 0, ""), file4s("a", "x"), end4), "a=x", archive.Unreadable, "unknown kind"},
		{"a later version", []byte("Rar!\x1a\x07\x02\x00xxxxxxxx"), "", archive.Unreadable, "version"},
		{"1.4: stored", []byte("RE~^\x07\x00\x00" + old("a.txt", "content", 0, 0)), "a.txt=content", "", ""},
		{"1.4: packed", []byte("RE~^\x07\x00\x00" + old("a.txt", "content", 0, 1)), "a.txt=", archive.Unreadable, "1.4"},
		{"1.4: encrypted", []byte("RE~^\x07\x00\x00" + old("a.txt", "content", 4, 0)), "a.txt=", archive.Encrypted, "a.txt"},
		{"1.4: cut off", []byte("RE~^\x07\x00\x00" + old("a.txt", "content", 0, 0)[:30]), "a.txt=cont", archive.Unreadable, "cut off"},
	} {
		t.Run(c.name, func(t *testing.T) {
			check(t, telltest.Walk(t, Walk, c.data), c.entries, c.kind, c.why)
		})
	}
}

// old makes a file of RAR 1.4.
func old(name, content string, flags, method byte) string {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(content)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(content)))
	b = append(b, 0, 0)
	b = binary.LittleEndian.AppendUint16(b, uint16(21+len(name)))
	b = append(b, 0, 0, 0, 0, 0x20, flags, 2, byte(len(name)), method)
	return string(b) + name + content
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
	said := false
	for _, s := range found.Signs {
		said = said || s.Kind == kind && strings.Contains(s.Why, why)
	}
	if (kind != "") != said || kind == "" && len(found.Signs) > 0 || len(found.Signs) > 3 {
		t.Error(found)
	}
}

// An archive of many files is read to its end.
func TestMany(t *testing.T) {
	blocks := [][]byte{main4}
	for range 500 {
		blocks = append(blocks, file4s("a", "content"))
	}
	if found := telltest.Walk(t, Walk, rar4(append(blocks, end4)...)); len(found.Entries) != 500 || len(found.Signs) > 0 {
		t.Errorf("%d entries, signs %v", len(found.Entries), found.Signs)
	}
}

// What is wrong with one file does not hide the others, and costs no more than a few dictionaries.
func TestManyBroken(t *testing.T) {
	blocks := [][]byte{main5}
	for range 500 {
		blocks = append(blocks, member5(2, 0, "b", "packed", 3<<7|9<<10, nil), file5("a", "content"))
	}
	found := telltest.Walk(t, Walk, rar5(append(blocks, end5)...))
	if len(found.Entries) != 1000 || found.Kinds(archive.Unreadable) == 0 || found.Kinds(archive.Unreadable) > 20 {
		t.Errorf("%d entries, signs %v", len(found.Entries), found.Signs)
	}
}

func TestBombs(t *testing.T) {
	blocks := [][]byte{main5}
	for range 50 {
		blocks = append(blocks, file5("a", strings.Repeat("x", 100)))
	}
	data := rar5(append(blocks, end5)...)
	found := telltest.WalkLimited(t, Walk, data, archive.Limits{Files: 10})
	if found.Kinds(archive.Bomb) != 1 || len(found.Entries) != 10 {
		t.Error(found)
	}
	found = telltest.WalkLimited(t, Walk, data, archive.Limits{Octets: 1000})
	if found.Kinds(archive.Bomb) != 1 || found.Octets > 1000 {
		t.Error(found)
	}
}

func TestFind(t *testing.T) {
	for _, a := range [][]byte{rar5(main5, file5("a", "x"), end5), rar4(main4, file4s("a", "x"))} {
		program := append([]byte("MZ "+signature4+" not this one, "+signature5+"nor this"), bytes.Repeat([]byte{1}, 1<<20-50)...)
		off, ok, err := Find(context.Background(), archive.NewFile(append(program, a...)))
		if err != nil || !ok || off != int64(len(program)) {
			t.Fatal(off, ok, err)
		}
		if _, ok, err := Find(context.Background(), archive.NewFile(program)); ok || err != nil {
			t.Fatal(ok, err)
		}
	}
}

// What the visitor returns is returned as it is.
func TestVisitorError(t *testing.T) {
	want := errors.New("enough")
	a := rar5(main5, member5(2, 0, "a", "x", 0, locked5), end5)
	for _, v := range []refusing{{file: want}, {sign: want}} {
		if err := Walk(context.Background(), archive.NewFile(a), archive.NewBudget(archive.Limits{}, 1), v); err != want {
			t.Error(err)
		}
	}
}

type refusing struct{ file, sign error }

func (r refusing) File(*archive.Entry) error { return r.file }
func (r refusing) Sign(archive.Sign) error   { return r.sign }

func FuzzWalk(f *testing.F) {
	f5 := file5("a.txt", "content")
	telltest.Fuzz(f, func(ctx context.Context, file *archive.File, b *archive.Budget, v archive.Visitor) error {
		data, err := file.Head(int(file.Size()))
		if err != nil {
			return err
		}
		return Walk(ctx, archive.NewFile(sum(data)), b, v)
	},
		rar5(main5, f5, quickOpen5(f5[:20], len(f5)), end5),
		rar5(main5, member5(2, 0, "b", "packed, but how is not said", 3<<7, nil), member5(2, 0, "c", "packed after it", 3<<7|0x40, nil), end5),
		rar5(volume5, member5(2, 0, "l", "", 0, record(5, "\x01\x00\x06target")), member5(2, unfinished5, "a", "half", 0, locked5)),
		rar4(main4, file4s("a", "content"), member4(file4, 0x10, "b", "packed, but how is not said", 0x33, 0), end4),
		rar4(main4, member4(file4, unicode4, "a?.txt\x00\x20\x10a\x00.t\x00xt", "x", 0x30, 0), member4(service4, 0, "STM", "x", 0x30, 0)),
		[]byte("RE~^\x07\x00\x00"+old("a.txt", "content", 0, 0)+old("b", "packed", 0, 1)))
}

// sum puts right the checksums of the headers as far as they can be found, or nothing behind the first would be looked
// at.
func sum(data []byte) []byte {
	data = bytes.Clone(data)
	w := &walk{f: archive.NewFile(data)}
	switch {
	case bytes.HasPrefix(data, []byte(signature5)):
		w.five, w.at = true, int64(len(signature5))
	case bytes.HasPrefix(data, []byte(signature4)):
		w.at = int64(len(signature4))
	default:
		return data
	}
	for w.at+7 < int64(len(data)) {
		at := w.at
		if w.five {
			r := &fields{b: data[at+4:]}
			n := r.vint()
			end := at + 4 + int64(len(data[at+4:])-len(r.b)) + int64(min(n, 1<<30))
			if r.bad || end > int64(len(data)) {
				break
			}
			binary.LittleEndian.PutUint32(data[at:], crc32.ChecksumIEEE(data[at+4:end]))
		} else {
			end := at + int64(binary.LittleEndian.Uint16(data[at+5:]))
			if end < at+7 || end > int64(len(data)) {
				break
			}
			binary.LittleEndian.PutUint16(data[at:], uint16(crc32.ChecksumIEEE(data[at+2:end])))
		}
		if k, problem, err := w.next(); k == nil || problem != nil || err != nil {
			break
		}
	}
	return data
}
