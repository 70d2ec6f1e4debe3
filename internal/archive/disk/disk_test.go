package disk

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/tell/telltest"
)

type testCase struct {
	name    string
	data    []byte
	entries string
	kind    archive.Kind
	why     string
}

func run(t *testing.T, cases []testCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if ok, err := Is(archive.NewFile(c.data)); !ok || err != nil {
				t.Errorf("is no image: %v", err)
			}
			found := telltest.Walk(t, Walk, c.data)
			var got []string
			for _, e := range found.Entries {
				s := strings.Join(e.Names, "|")
				if e.Folder {
					s += "/"
				}
				if e.Link != "" {
					s += "->" + e.Link
				}
				got = append(got, s+"="+string(e.Content))
			}
			if strings.Join(got, " ") != c.entries {
				t.Errorf("got %q, want %q", strings.Join(got, " "), c.entries)
			}
			switch {
			case c.kind == "" && len(found.Signs) > 0, c.kind != "" && len(found.Signs) != 1:
				t.Error(found)
			case c.kind != "" && (found.Signs[0].Kind != c.kind || !strings.Contains(found.Signs[0].Why, c.why)):
				t.Error(found)
			}
		})
	}
}

func list(records ...[]byte) [][]byte { return records }

func TestISO(t *testing.T) {
	one := rec(24, 7, 0, "A.TXT;1")
	joliet := disc(list(one), "content")
	joliet.volumeAt(17, 2, "%/E", 21, isoSector)
	joliet.put(21, rec(21, isoSector, isFolder, "\x00"), rec(24, 7, 0, ucs2("A long name.txt")), rec(25, 6, 0, ucs2("hidden")))
	joliet.put(25, []byte("joliet"))
	nested := disc(list(rec(22, isoSector, isFolder, "D")), "content")
	nested.put(22, rec(22, isoSector, isFolder, "\x00"), rec(20, isoSector, isFolder, "\x01"), one)
	loop := disc(list(rec(22, isoSector, isFolder, "D"), one), "content")
	loop.put(22, rec(22, isoSector, isFolder, "E"), rec(20, isoSector, isFolder, "F"))
	session := disc(list(one), "content")
	session.volumeAt(40, 1, "", 41, isoSector)
	session.put(41, rec(42, 5, 0, "B.TXT;1"))
	session.put(42, []byte("later"))
	boot := disc(list(one), "content")
	copy(boot.at(18), "\x00CD001\x01EL TORITO SPECIFICATION")
	binary.LittleEndian.PutUint32(boot.at(18)[71:], 26)
	boot.put(26, append(make([]byte, 32), 0x88, 0, 0, 0, 0, 0, 1, 0, 27, 0, 0, 0))
	boot.put(27, bytes.Repeat([]byte("b"), sectorSize))
	more := make([]byte, 24)
	binary.LittleEndian.PutUint32(more, 23)
	binary.LittleEndian.PutUint32(more[8:], 4)
	binary.LittleEndian.PutUint32(more[16:], uint32(len(nm("name.exe"))))
	continued := disc(list(rec(24, 7, 0, "A.;1", nm("a long "), field("CE", string(more)))), "content")
	continued.put(23, []byte("...."+nm("name.exe")))
	moved := disc(list(rec(23, 0, 0, "D", nm("dir"), field("CL", "\x16\x00\x00\x00\x00\x00\x00\x16"))), "content")
	moved.put(22, rec(22, isoSector, isFolder, "\x00"), one)
	run(t, []testCase{
		{"plain", disc(list(one), "content").b, "A.TXT=content", "", ""},
		{"no ending", disc(list(rec(24, 7, 0, "A.;1")), "content").b, "A=content", "", ""},
		{"empty", disc(list(rec(0, 0, 0, "A.;1"))).b, "A=", "", ""},
		{"Joliet", joliet.b, "A long name.txt|A.TXT=content hidden=joliet", "", ""},
		{"in a folder", nested.b, "D/= A.TXT=content", "", ""},
		{"in a circle", loop.b, "D/= E/= F/= A.TXT=content", "", ""},
		{"a later session", session.b, "A.TXT=content B.TXT=later", "", ""},
		{"bootable", boot.b, "A.TXT=content boot image=" + strings.Repeat("b", sectorSize), "", ""},
		{"Rock Ridge", disc(list(rec(24, 7, 0, "A.;1", nm("a name"))), "content").b, "a name|A=content", "", ""},
		{"a link", disc(list(rec(24, 0, 0, "A.;1", field("SL", "\x00\x08\x00\x00\x03etc\x04\x00\x00\x01x")))).b, "A->/etc/../x=", "", ""},
		{"a name that goes on elsewhere", continued.b, "a long name.exe|A=content", "", ""},
		{"a moved folder", moved.b, "dir|D/= A.TXT=content", "", ""},
		{"in two runs", disc(list(rec(24, 3, isContinued, "A.;1"), rec(25, 4, 0, "A.;1")), "con", "tent").b, "A=content", "", ""},
		{"in half of two runs", disc(list(rec(24, 3, isContinued, "A.;1")), "con").b, "A=con", archive.Unreadable, "cut off"},
		{"zisofs", disc(list(rec(24, 7, 0, "A.;1", field("ZF", "pz\x04\x0f\x00\x00\x00\x00\x00\x00\x00\x00"))), "content").b, "A=content", archive.Unreadable, "zisofs"},
		{"cut off", disc(list(rec(24, 7000, 0, "A.;1")), "content").b[:24*isoSector+7], "A=content", archive.Unreadable, "cut off"},
		{"no root", disc(nil).b[:19*isoSector], "", archive.Unreadable, "cut off"},
		{"a damaged folder", disc(list([]byte{250})).b[:20*isoSector+300], "", archive.Unreadable, "cut off"},
	})
}

func TestFAT(t *testing.T) {
	one := dos("A       TXT", 0x20, 2, 7)
	named := append(long("A long name.txt", "A       TXT"), one...)
	nested := floppy([]uint16{0xff0, 0xfff, 0xfff, 0xfff}, dos("D          ", 0x10, 3, 0), "content")
	nested.put(5, dos(".          ", 0x10, 3, 0), dos("..         ", 0x10, 0, 0), one, dos("E          ", 0x10, 3, 0))
	run(t, []testCase{
		{"plain", floppy([]uint16{0xff0, 0xfff, 0xfff}, one, "content").b, "A.TXT=content", "", ""},
		{"named", floppy([]uint16{0xff0, 0xfff, 0xfff}, named, "content").b, "A long name.txt|A.TXT=content", "", ""},
		{"empty", floppy([]uint16{0xff0, 0xfff}, append(dos("LABEL      ", 0x08, 0, 0), dos("A          ", 0x20, 0, 0)...)).b, "A=", "", ""},
		{"deleted", floppy([]uint16{0xff0, 0xfff}, append(dos("\xe5          ", 0x20, 2, 7), one...), "content").b, "A.TXT=content", "", ""},
		{"in a folder", nested.b, "D/= A.TXT=content E/=", "", ""},
		{"in two runs", floppy([]uint16{0xff0, 0xfff, 4, 0xfff, 0xfff}, dos("A          ", 0, 2, 514), strings.Repeat("a", 512), "x", "bc").b, "A=" + strings.Repeat("a", 512) + "bc", "", ""},
		{"in a circle", floppy([]uint16{0xff0, 0xfff, 2}, dos("A          ", 0, 2, 1<<20), "x").b, "A=" + strings.Repeat("x"+strings.Repeat("\x00", 511), 97), archive.Unreadable, "chain"},
		{"a chain to nowhere", floppy([]uint16{0xff0, 0xfff, 0}, dos("A          ", 0, 2, 600), "x").b, "A=x" + strings.Repeat("\x00", 511), archive.Unreadable, "chain"},
		{"cut off", floppy([]uint16{0xff0, 0xfff, 0xfff}, one, "content").b[:50*sectorSize], "A.TXT=content", archive.Unreadable, "cut off"},
		{"a partition", table(1, floppy([]uint16{0xff0, 0xfff, 0xfff}, one, "content").b), "A.TXT=content", "", ""},
		{"a partition of UEFI", uefi(floppy([]uint16{0xff0, 0xfff, 0xfff}, one, "content").b), "A.TXT=content", "", ""},
		{"a virtual disk", vhd(table(1, floppy([]uint16{0xff0, 0xfff, 0xfff}, one, "content").b), vhdFixed), "A.TXT=content", "", ""},
	})
}

func TestUDF(t *testing.T) {
	type1s := []string{type1}
	inside := udfDisc(type1s, fid(0x0a, "", 1)+fid(0, "a.txt", 2)+fid(0x04, "deleted", 2))
	inside.entryAt(udfStart+2, 5, 3, 7, "content")
	short := udfDisc(type1s, fid(0, "a.txt", 2))
	short.entryAt(udfStart+2, 5, 0, 2051, shortAD(0, 2048, 3)+shortAD(0, 3, 6))
	short.put(udfStart+3, bytes.Repeat([]byte("a"), isoSector))
	short.put(udfStart+6, []byte("end"))
	longer := udfDisc(type1s, fid(0x02, "d", 2))
	longer.entryAt(udfStart+2, 4, 1, len(fid(0, "b", 4)), longAD(len(fid(0, "b", 4)), 3, 0))
	longer.put(udfStart+3, []byte(fid(0, "b", 4)))
	longer.entryAt(udfStart+4, 5, 3, 1, "b")
	sparse := udfDisc(type1s, fid(0, "s", 2))
	sparse.entryAt(udfStart+2, 5, 0, 4, shortAD(1, 2, 0)+shortAD(0, 2, 3))
	sparse.put(udfStart+3, []byte("ab"))
	chained := udfDisc(type1s, fid(0, "c", 2))
	chained.entryAt(udfStart+2, 5, 0, 2, shortAD(3, isoSector, 3))
	chained.descriptor(udfStart+3, tagAllocation, 3, func(b []byte) { b[20] = 8; copy(b[24:], shortAD(0, 2, 4)) })
	chained.put(udfStart+4, []byte("ab"))
	circle := udfDisc(type1s, fid(0x02, "d", 1))
	hops := udfDisc(type1s, fid(0, "c", 2))
	hops.entryAt(udfStart+2, 5, 0, 2, shortAD(3, isoSector, 3))
	hops.descriptor(udfStart+3, tagAllocation, 3, func(b []byte) { b[20] = 8; copy(b[24:], shortAD(3, isoSector, 3)) })
	metadata := make([]byte, 64)
	copy(metadata, "\x02\x40\x00\x00\x00*UDF Metadata Partition")
	binary.LittleEndian.PutUint32(metadata[40:], 10)
	// The second partition is the file at block 10, which has blocks 20 and 21 of the first: the file set and the root.
	meta := udfDisc([]string{type1, string(metadata)}, "")
	copy(meta.at(33)[248:], longAD(isoSector, 0, 1))
	meta.descriptor(33, tagLogical, 33, func([]byte) {})
	meta.entryAt(udfStart+10, 250, 0, 2*isoSector, shortAD(0, 2*isoSector, 20))
	meta.descriptor(udfStart+20, tagFileSet, 0, func(b []byte) { copy(b[400:], longAD(isoSector, 1, 1)) })
	meta.entryAt(udfStart+21, 4, 3, len(fid(0, "m", 2)), fid(0, "m", 2))
	meta.entryAt(udfStart+2, 5, 3, 4, "meta")
	run(t, []testCase{
		{"inside of the entry", inside.b, "a.txt=content", "", ""},
		{"in two runs", short.b, "a.txt=" + strings.Repeat("a", isoSector) + "end", "", ""},
		{"in a folder", longer.b, "d/= b=b", "", ""},
		{"with a hole", sparse.b, "s=\x00\x00ab", "", ""},
		{"more descriptors", chained.b, "c=ab", "", ""},
		{"in a circle", circle.b, "d/=", "", ""},
		{"descriptors in a circle", hops.b, "c=", archive.Unreadable, "damaged"},
		{"metadata", meta.b, "m=meta", "", ""},
		{"nowhere", udfDisc(type1s, fid(0, "a.txt", 99999)).b, "a.txt=", archive.Unreadable, "cut off"},
		{"another partition", udfDisc([]string{"\x02\x40" + strings.Repeat("x", 62)}, "").b, "", archive.Unreadable, "partition"},
		{"no anchor", inside.b[:256*isoSector], "", archive.Unreadable, "anchor"},
	})
}

func TestForeign(t *testing.T) {
	ntfs := floppy(nil, nil)
	copy(ntfs.b[3:], "NTFS    ")
	run(t, []testCase{
		{"NTFS", ntfs.b, "", archive.Unreadable, "NTFS"},
		{"NTFS in a partition", table(7, ntfs.b), "", archive.Unreadable, "NTFS"},
		{"an unknown partition", table(0x83, make([]byte, 1<<16)), "", archive.Unreadable, "partition"},
		{"a virtual disk that grows", vhd(make([]byte, 1<<12), 3), "", archive.Unreadable, "grows"},
		{"VHDX", append([]byte("vhdxfile"), make([]byte, 1<<12)...), "", archive.Unreadable, "VHDX"},
		{"an Apple disk image", append(make([]byte, 1<<12), append([]byte("koly"), make([]byte, 508)...)...), "", archive.Unreadable, "Apple"},
		{"raw sectors", append([]byte("\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00"), make([]byte, 4000)...), "", archive.Unreadable, "raw sectors"},
	})
	for _, data := range []string{"", "text", strings.Repeat("text ", 20000), strings.Repeat("\x00", 1<<17)} {
		if ok, err := Is(archive.NewFile([]byte(data))); ok || err != nil {
			t.Error(ok, err)
		}
		if found := telltest.Walk(t, Walk, []byte(data)); len(found.Signs) != 1 {
			t.Error(found)
		}
	}
}

// Files that lie over one another are paid for by each of them, and so are folders.
func TestBombs(t *testing.T) {
	var records [][]byte
	for i := range 40 {
		records = append(records, rec(24, 1<<20-i, 0, "A"))
	}
	bomb := disc(records, strings.Repeat("x", 1<<20))
	found := telltest.WalkLimited(t, Walk, bomb.b, archive.Limits{Octets: 10 << 20})
	if found.Kinds(archive.Bomb) != 1 || found.Octets > 10<<20 || found.Octets < 1<<20 || len(found.Entries) != 40 {
		t.Errorf("%d entries, signs %v", len(found.Entries), found.Signs)
	}
	found = telltest.WalkLimited(t, Walk, bomb.b, archive.Limits{Files: 10})
	if found.Kinds(archive.Bomb) != 1 || len(found.Entries) != 10 {
		t.Errorf("%d entries, signs %v", len(found.Entries), found.Signs)
	}
	sparse := udfDisc([]string{type1}, fid(0, "s", 2))
	sparse.entryAt(udfStart+2, 5, 0, 1<<59, strings.Repeat(shortAD(1, 1<<30-1, 0), 200))
	found = telltest.Walk(t, Walk, sparse.b)
	if found.Kinds(archive.Bomb) != 1 {
		t.Error(found)
	}
}

// What the visitor returns is returned as it is.
func TestVisitorError(t *testing.T) {
	want := errors.New("enough")
	d := disc(list(rec(24, 7000, 0, "A.;1")), "content").b[:24*isoSector+7]
	for _, v := range []refusing{{file: want}, {sign: want}} {
		if err := Walk(context.Background(), archive.NewFile(d), archive.NewBudget(archive.Limits{}, 1), v); err != want {
			t.Error(err)
		}
	}
}

type refusing struct{ file, sign error }

func (r refusing) File(*archive.Entry) error { return r.file }
func (r refusing) Sign(archive.Sign) error   { return r.sign }

// Each of these fuzzes one form, whose fixed parts are built around the octets.
func FuzzISO(f *testing.F) {
	joliet := disc(list(rec(24, 7, 0, "A.TXT;1", nm("name"), field("SL", "\x00\x08\x00"))), "content")
	joliet.volumeAt(17, 2, "%/E", 21, isoSector)
	joliet.put(21, rec(21, isoSector, isFolder, "\x00"), rec(22, isoSector, isFolder, ucs2("d")))
	fuzz(f, 16*isoSector, joliet.b)
}

func FuzzUDF(f *testing.F) {
	d := udfDisc([]string{type1}, fid(0x0a, "", 1)+fid(0, "a.txt", 2)+fid(2, "d", 3))
	d.entryAt(udfStart+2, 5, 0, 2051, shortAD(0, 2048, 3)+shortAD(1, 3, 6))
	d.entryAt(udfStart+3, 4, 1, 100, longAD(100, 1, 0))
	telltest.Fuzz(f, func(ctx context.Context, file *archive.File, b *archive.Budget, v archive.Visitor) error {
		data, err := file.Head(int(file.Size()))
		if err != nil {
			return err
		}
		// The octets are those of the descriptor sequence, and of the partition.
		whole := &image{b: make([]byte, 257*isoSector), size: isoSector}
		copy(whole.b, d.b[:257*isoSector])
		if len(data) > 2*isoSector {
			copy(whole.b[32*isoSector:34*isoSector], data)
			whole.b = append(whole.b, data[2*isoSector:]...)
		}
		for i := 32; i < len(whole.b)/isoSector; i++ {
			whole.descriptor(i, binary.LittleEndian.Uint16(whole.at(i)), int(binary.LittleEndian.Uint32(whole.at(i)[12:])), func([]byte) {})
		}
		return Walk(ctx, archive.NewFile(whole.b), b, v)
	}, append(bytes.Clone(d.b[32*isoSector:34*isoSector]), d.b[257*isoSector:]...))
}

func FuzzFAT(f *testing.F) {
	one := append(long("A long name.txt", "A       TXT"), dos("A       TXT", 0x20, 2, 7)...)
	v := floppy([]uint16{0xff0, 0xfff, 4, 0xfff, 0xfff}, append(one, dos("D          ", 0x10, 3, 0)...), "content", string(one)).b
	fuzz(f, 0, v, table(1, v)[:12*sectorSize], uefi(v)[:12*sectorSize], vhd(v[:8*sectorSize], vhdFixed))
}

// fuzz fuzzes what comes after skip octets, which are zero.
func fuzz(f *testing.F, skip int, seeds ...[]byte) {
	for i := range seeds {
		seeds[i] = seeds[i][skip:]
	}
	telltest.Fuzz(f, func(ctx context.Context, file *archive.File, b *archive.Budget, v archive.Visitor) error {
		data, err := file.Head(int(file.Size()))
		if err != nil {
			return err
		}
		whole := archive.NewFile(append(make([]byte, skip), data...))
		if _, err := Is(whole); err != nil {
			return err
		}
		return Walk(ctx, whole, b, v)
	}, seeds...)
}
