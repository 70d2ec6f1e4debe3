package tar

import (
	stdtar "archive/tar"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/tell/telltest"
)

func walk(t testing.TB, b []byte, l archive.Limits) *telltest.Found {
	t.Helper()
	return telltest.WalkLimited(t, Walk, b, l)
}

var (
	text = strings.Repeat("Not all those who wander are lost. ", 30)
	long = strings.Repeat("folder/", 30) + "file.txt"
)

func written(t testing.TB, format stdtar.Format, headers ...*stdtar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := stdtar.NewWriter(&b)
	for _, h := range headers {
		h.Format = format
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, text[:h.Size]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// ordinary gives a tar in each dialect that the standard library writes.
func ordinary(t testing.TB) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	for name, format := range map[string]stdtar.Format{"ustar": stdtar.FormatUSTAR, "pax": stdtar.FormatPAX, "gnu": stdtar.FormatGNU} {
		headers := []*stdtar.Header{
			{Name: "folder/", Typeflag: stdtar.TypeDir, Mode: 0o755},
			{Name: "folder/a.txt", Typeflag: stdtar.TypeReg, Size: 700, Mode: 0o644},
			{Name: "link", Typeflag: stdtar.TypeSymlink, Linkname: "folder/a.txt"},
			{Name: "null", Typeflag: stdtar.TypeChar},
			{Name: "b.txt", Typeflag: stdtar.TypeReg, Size: 10, Mode: 0o644},
		}
		if name != "ustar" {
			headers[4].Name = long
		}
		all[name] = written(t, format, headers...)
	}
	return all
}

func TestOrdinary(t *testing.T) {
	for name, b := range ordinary(t) {
		last := long
		if name == "ustar" {
			last = "b.txt"
		}
		if !Is(b) || Detect(b) != Tar {
			t.Errorf("%s is not known", name)
		}
		s := walk(t, b, archive.Limits{})
		if len(s.Signs) > 0 || s.Folders() != 1 || len(s.Names()) != 5 {
			t.Fatalf("%s: %v %q", name, s.Signs, s.Names())
		}
		if !slices.Equal(s.Contents(), []string{"-", text[:700], "-", "-", text[:10]}) || s.Names()[4][0] != last || s.Entries[2].Link != "folder/a.txt" {
			t.Errorf("%s: %q %q", name, s.Contents(), s.Names())
		}
	}
}

// block makes one header of the oldest kind.
func block(name string, kind byte, size int64, change func(b []byte)) []byte {
	b := make([]byte, blockSize)
	copy(b, name)
	copy(b[100:], "0000644\x000000000\x000000000\x00")
	copy(b[124:], fmt.Sprintf("%011o ", size))
	copy(b[136:], "00000000000 ")
	b[156] = kind
	if change != nil {
		change(b)
	}
	sum := 8 * int(' ')
	for i, c := range b {
		if i < 148 || i >= 156 {
			sum += int(c)
		}
	}
	copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
	return b
}

func file(name, content string) []byte {
	return data(block(name, 0, int64(len(content)), nil), content)
}

// data puts content in whole blocks behind a header.
func data(header []byte, content string) []byte {
	return slices.Concat(header, []byte(content), make([]byte, padded(int64(len(content)))-int64(len(content))))
}

func record(key, value string) string {
	for n := len(key) + len(value) + 3; ; n++ {
		if s := fmt.Sprintf("%d %s=%s\n", n, key, value); len(s) == n {
			return s
		}
	}
}

func paxed(records string, rest ...[]byte) []byte {
	return slices.Concat(data(block("PaxHeaders", 'x', int64(len(records)), nil), records), slices.Concat(rest...))
}

var end = make([]byte, 2*blockSize)

func TestReaders(t *testing.T) {
	hidden := file("hidden.exe", "MZ")
	sized := data(block("outer", 0, 0, nil), string(hidden))
	big := block("big", 0, 0, func(b []byte) { copy(b[124:136], "\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x05") })
	for name, c := range map[string]struct {
		b     []byte
		want  map[string]string
		signs string
	}{
		"before ustar":         {slices.Concat(file("a", "x"), end), map[string]string{"a": "x"}, ""},
		"base 256":             {slices.Concat(data(big, "12345"), end), map[string]string{"big": "12345"}, ""},
		"without an end":       {file("a", "x"), map[string]string{"a": "x"}, ""},
		"a name of pax":        {paxed(record("path", "new.exe"), file("old.txt", "x"), end), map[string]string{"new.exe": "x", "old.txt": "x"}, ""},
		"two names of pax":     {paxed(record("path", "one")+record("path", "two"), file("a", "x"), end), map[string]string{"one": "x", "two": "x", "a": "x"}, ""},
		"a size of pax":        {paxed(record("size", "512"), sized, end), map[string]string{"outer": string(hidden[:512])}, "size"},
		"damaged pax":          {paxed("99 path=x\n", file("a", "x"), end), map[string]string{"a": "x"}, "pax"},
		"after the end":        {slices.Concat(file("a", "x"), end, hidden, end), map[string]string{"a": "x", "hidden.exe": "MZ"}, ""},
		"junk after the end":   {slices.Concat(file("a", "x"), end, []byte(strings.Repeat("junk", 300))), map[string]string{"a": "x"}, ""},
		"junk before a file":   {slices.Concat(file("a", "x"), []byte(strings.Repeat("junk", 256)), hidden, end), map[string]string{"a": "x", "hidden.exe": "MZ"}, "no header"},
		"content of a link":    {slices.Concat(data(block("l", '1', 1024, func(b []byte) { copy(b[157:], "a") }), string(hidden)), end), map[string]string{"hidden.exe": "MZ"}, "content"},
		"cut off":              {file("a", text)[:600], map[string]string{"a": text[:88]}, "ends before"},
		"a header for no file": {paxed(record("path", "x")), nil, "last header"},
		"a volume":             {slices.Concat(data(block("part", 'M', 1, nil), "x"), end), map[string]string{"part": "x"}, "volume"},
	} {
		s := walk(t, c.b, archive.Limits{})
		for want, content := range c.want {
			at := slices.IndexFunc(s.Names(), func(all []string) bool { return slices.Contains(all, want) })
			if at < 0 || s.Contents()[at] != content {
				t.Errorf("%s: %s is missing among %q %.80q", name, want, s.Names(), s.Contents())
			}
		}
		if c.signs == "" && len(s.Signs) > 0 || c.signs != "" && !s.Has(archive.Unreadable, c.signs) {
			t.Errorf("%s: signs %v", name, s.Signs)
		}
	}
}

// Files with holes, in the formats of GNU tar.
func TestSparse(t *testing.T) {
	want := strings.Repeat("\x00", 1000) + "data" + strings.Repeat("\x00", 996) + "more" + strings.Repeat("\x00", 96)
	old := block("f", 'S', 8, func(b []byte) {
		copy(b[257:], "ustar  \x00")
		copy(b[386:], "00000001000\x0000000000000\x00") // 512: an empty region
		copy(b[386+24:], "00000001750\x0000000000004\x0000000003720\x0000000000004\x00")
		copy(b[483:], fmt.Sprintf("%011o\x00", len(want)))
	})
	pax01 := record("GNU.sparse.size", fmt.Sprint(len(want))) + record("GNU.sparse.map", "1000,4,2000,4")
	pax10 := record("GNU.sparse.major", "1") + record("GNU.sparse.minor", "0") + record("GNU.sparse.name", "f") +
		record("GNU.sparse.realsize", fmt.Sprint(len(want)))
	table := "2\n1000\n4\n2000\n4\n"
	table += strings.Repeat("\x00", blockSize-len(table))
	for name, b := range map[string][]byte{
		"old": data(old, "datamore"),
		"0.1": paxed(pax01, file("f", "datamore")),
		"1.0": paxed(pax10, file("GNUSparseFile.0/f", table+"datamore")),
	} {
		s := walk(t, append(b, end...), archive.Limits{})
		if len(s.Signs) > 0 || !slices.Equal(s.Contents(), []string{want}) || s.Names()[0][0] != "f" {
			t.Errorf("%s: %v %q", name, s.Signs, s.Names())
		}
	}
	huge := record("GNU.sparse.size", "60000000000") + record("GNU.sparse.map", "59999999990,10")
	if s := walk(t, paxed(huge, file("f", "0123456789")), archive.Limits{}); !s.Has(archive.Bomb, "") {
		t.Errorf("a hole of 60 GB: %v", s.Signs)
	}
	for _, table := range []string{"5,4,1,4", "0,9", "0,99999999999", "x", "0,-1", "4"} {
		wrong := record("GNU.sparse.size", "8") + record("GNU.sparse.map", table)
		if s := walk(t, append(paxed(wrong, file("f", "datamore")), end...), archive.Limits{}); table != "4" && len(s.Signs) == 0 {
			t.Errorf("map %s is taken", table)
		}
	}
}

func TestLimits(t *testing.T) {
	b := slices.Concat(slices.Repeat(file("a", "x"), 200), end)
	if s := walk(t, b, archive.Limits{Files: 50}); !s.Has(archive.Bomb, "files") || len(s.Names()) != 50 {
		t.Errorf("files: %v", s.Signs)
	}
	if s := walk(t, append(file("a", text), end...), archive.Limits{Octets: 100}); !s.Has(archive.Bomb, "octets") {
		t.Errorf("octets: %v", s.Signs)
	}
	names := slices.Repeat(data(block("x", 'L', 3, nil), "abc"), 1000)
	if s := walk(t, append(names, file("a", "x")...), archive.Limits{}); !s.Has(archive.Bomb, "") {
		t.Errorf("headers for one file: %v", s.Signs)
	}
	if s := walk(t, data(block("x", 'L', maxPath+1, nil), text), archive.Limits{}); !s.Has(archive.Unreadable, "octets") {
		t.Errorf("a name of GNU that is too long: %v", s.Signs)
	}
	if s := walk(t, paxed(record("path", strings.Repeat("n", maxPath+1)), file("a", "x")), archive.Limits{}); !s.Has(archive.Unreadable, "pax") {
		t.Errorf("a name of pax that is too long: %v", s.Signs)
	}
	global := record("path", strings.Repeat("n", maxGlobal+1))
	if s := walk(t, slices.Concat(data(block("x", 'g', int64(len(global)), nil), global), file("a", "x"), end), archive.Limits{}); !s.Has(archive.Unreadable, "all files") {
		t.Errorf("a name for all files that is too long: %v", s.Signs)
	}
	for _, key := range []string{"size", "GNU.sparse.size", "GNU.sparse.realsize"} {
		if s := walk(t, paxed(record(key, "9223372036854775807"), file("a", "x")), archive.Limits{}); !s.Has(archive.Unreadable, "pax") {
			t.Errorf("a size that is none: %v", s.Signs)
		}
	}
	if s := walk(t, data(block("x", 'L', maxMeta+1, nil), "abc"), archive.Limits{}); !s.Has(archive.Unreadable, "") {
		t.Errorf("a long name: %v", s.Signs)
	}
}

func TestIs(t *testing.T) {
	for name, b := range map[string][]byte{
		"nothing": nil, "zeros": end, "short": file("a", "")[:500], "text": []byte(strings.Repeat("text ", 200)),
		"a wrong sum": append([]byte("b"), file("a", "x")[1:]...),
	} {
		if Is(b) {
			t.Errorf("%s is taken for tar", name)
		}
		if s := walk(t, b, archive.Limits{}); len(s.Signs) == 0 && name != "zeros" {
			t.Errorf("%s: no sign", name)
		}
	}
}

// cpioNewc makes an archive in the format newc.
func cpioNewc(files ...[2]string) []byte {
	var b []byte
	add := func(name, content string, mode int) {
		b = fmt.Appendf(b, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X", 1, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name)+1, 0)
		b = append(b, name+"\x00"...)
		b = append(b, make([]byte, -len(b)&3)...)
		b = append(b, content...)
		b = append(b, make([]byte, -len(b)&3)...)
	}
	for _, f := range files {
		mode := 0o100644
		if strings.HasPrefix(f[0], "link") {
			mode = 0o120777
		}
		add(f[0], f[1], mode)
	}
	add("TRAILER!!!", "", 0)
	return b
}

func cpioODC1(name, content string) []byte {
	return fmt.Appendf(nil, "070707%06o%06o%06o%06o%06o%06o%06o%011o%06o%011o%s\x00%s", 0, 1, 0o100644, 0, 0, 1, 0, 0, len(name)+1, len(content), name, content)
}

func cpioBinary(o binary.AppendByteOrder, name, content string) (b []byte) {
	for _, v := range []int{0o070707, 0, 1, 0o100644, 0, 0, 1, 0, 0, 0, len(name) + 1, 0, len(content)} {
		b = o.AppendUint16(b, uint16(v))
	}
	b = append(b, name+"\x00"...)
	b = append(b, make([]byte, len(b)&1)...)
	b = append(b, content...)
	return append(b, make([]byte, len(b)&1)...)
}

func TestCpio(t *testing.T) {
	little, big := binary.LittleEndian, binary.BigEndian
	for name, b := range map[string][]byte{
		"newc":          cpioNewc([2]string{"a.txt", text}, [2]string{"bb", "x"}),
		"odc":           slices.Concat(cpioODC1("a.txt", text), cpioODC1("bb", "x"), cpioODC1("TRAILER!!!", "")),
		"little-endian": slices.Concat(cpioBinary(little, "a.txt", text), cpioBinary(little, "bb", "x"), cpioBinary(little, "TRAILER!!!", "")),
		"big-endian":    slices.Concat(cpioBinary(big, "a.txt", text), cpioBinary(big, "bb", "x"), cpioBinary(big, "TRAILER!!!", "")),
	} {
		if Detect(b) != Cpio {
			t.Errorf("%s is not known", name)
		}
		for _, after := range []string{"", strings.Repeat("\x00", 400)} {
			s := walk(t, append(b, after...), archive.Limits{})
			if len(s.Signs) > 0 || !slices.Equal(s.Contents(), []string{text, "x"}) || s.Names()[0][0] != "a.txt" {
				t.Errorf("%s: %v %q", name, s.Signs, s.Names())
			}
		}
		if s := walk(t, b[:len(text)], archive.Limits{}); !s.Has(archive.Unreadable, "") {
			t.Errorf("%s cut: %v", name, s.Signs)
		}
		if s := walk(t, append(b, "MZ hidden"...), archive.Limits{}); !slices.Contains(s.Contents(), "MZ hidden") {
			t.Errorf("%s: what follows is missing", name)
		}
	}
	if s := walk(t, cpioNewc([2]string{"link", "target"}), archive.Limits{}); s.Entries[0].Link != "target" {
		t.Errorf("%s", s)
	}
}

func arMember(name, content string) []byte {
	b := fmt.Appendf(nil, "%-16s%-12d%-6d%-6d%-8o%-10d`\n%s", name, 0, 0, 0, 0o100644, len(content), content)
	return append(b, "\n"[:len(content)&1]...)
}

func TestAr(t *testing.T) {
	b := slices.Concat([]byte(arMagic), arMember("//", "a-very-long-name.txt/\n"), arMember("short/", "1"), arMember("/0", "22"),
		arMember("#1/8", "bsd name333"), arMember("debian-binary", "2.0\n"))
	s := walk(t, b, archive.Limits{})
	var names []string
	for _, all := range s.Names() {
		names = append(names, all...)
	}
	if len(s.Signs) > 0 || !slices.Equal(names, []string{"short", "a-very-long-name.txt", "bsd name", "debian-binary"}) ||
		!slices.Equal(s.Contents(), []string{"1", "22", "333", "2.0\n"}) {
		t.Errorf("%v %q %q", s.Signs, names, s.Contents())
	}
	if s := walk(t, b[:len(b)-2], archive.Limits{}); !s.Has(archive.Unreadable, "ends before") {
		t.Errorf("cut: %v", s.Signs)
	}
	if s := walk(t, append(b, "something else that is no header"...), archive.Limits{}); !s.Has(archive.Unreadable, "no header") {
		t.Errorf("junk: %v", s.Signs)
	}
}

func rpmMade() []byte {
	header := func(data string) []byte {
		b := append([]byte(rpmHeader), 0, 0, 0, 0, 0, 0, 0, 1)
		b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
		return append(append(b, make([]byte, 16)...), data...)
	}
	b := append([]byte(rpmMagic), make([]byte, rpmLead-4)...)
	b = append(b, header("signature")...)
	b = append(b, make([]byte, -len(b)&7)...)
	return append(append(b, header("x")...), "payload"...)
}

func TestRPM(t *testing.T) {
	if s := walk(t, rpmMade(), archive.Limits{}); len(s.Signs) > 0 || !slices.Equal(s.Contents(), []string{"payload"}) {
		t.Errorf("%v %q", s.Signs, s.Contents())
	}
	if s := walk(t, rpmMade()[:120], archive.Limits{}); !s.Has(archive.Unreadable, "") {
		t.Errorf("cut: %v", s.Signs)
	}
}

func FuzzWalk(f *testing.F) {
	for _, b := range ordinary(f) {
		f.Add(b)
	}
	f.Add(cpioNewc([2]string{"a.txt", "text"}, [2]string{"link", "x"}))
	f.Add(cpioODC1("a.txt", "text"))
	f.Add(cpioBinary(binary.LittleEndian, "a.txt", "text"))
	f.Add(slices.Concat([]byte(arMagic), arMember("//", "long.txt/\n"), arMember("/0", "22"), arMember("#1/3", "bsd333")))
	f.Add(rpmMade())
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= blockSize && b[257] == 'u' {
			b = slices.Clone(b)
			mend(b)
		}
		budget := archive.NewBudget(archive.Limits{Octets: 4 << 20, Files: 200}, int64(len(b)))
		s := &telltest.Found{}
		if err := Walk(context.Background(), archive.NewFile(b), budget, s); err != nil {
			t.Fatal(err)
		}
		if len(s.Names()) > 200 || len(s.Signs) > 25 {
			t.Fatalf("%d entries, %d signs", len(s.Names()), len(s.Signs))
		}
	})
}

// mend makes the checksums right of all blocks that may be headers, so that a fuzzer gets past them.
func mend(b []byte) {
	for at := 0; at+blockSize <= len(b); at += blockSize {
		h := b[at : at+blockSize]
		if h[155] != ' ' {
			continue
		}
		sum := 8 * int(' ')
		for i, c := range h {
			if i < 148 || i >= 156 {
				sum += int(c)
			}
		}
		copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	}
}
