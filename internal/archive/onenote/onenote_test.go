package onenote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/tell"
)

type recorder struct {
	lines []string
	fail  error
}

func (r *recorder) File(e *archive.Entry) error {
	line := fmt.Sprintf("file %q", e.Names)
	if e.File != nil {
		content, err := io.ReadAll(e.File.Reader())
		if err != nil {
			return err
		}
		line += fmt.Sprintf(" %.60q", content)
	}
	r.lines = append(r.lines, line)
	return r.fail
}

func (r *recorder) Sign(s archive.Sign) error {
	r.lines = append(r.lines, s.String())
	return r.fail
}

func walk(t *testing.T, in []byte) []string {
	t.Helper()
	var r recorder
	if err := Walk(context.Background(), archive.NewFile(in), archive.NewBudget(archive.Limits{}, int64(len(in))), &r); err != nil {
		t.Fatal(err)
	}
	return r.lines
}

func wide(s string) (out []byte) {
	for _, u := range utf16.Encode([]rune(s)) {
		out = le.AppendUint16(out, u)
	}
	return out
}

// store makes a section in the form of MS-ONESTORE 2.3.
type store []byte

func newStore() *store {
	s := store(section + strings.Repeat("\x00", 32) + revisionStore)
	s = append(s, make([]byte, 1024-len(s))...)
	return &s
}

// file adds a FileDataStoreObject and gives its place.
func (s *store) file(content string) int64 {
	for len(*s)%8 != 0 {
		*s = append(*s, 0)
	}
	at := int64(len(*s))
	*s = append(append(*s, objectHeader...), le.AppendUint64(nil, uint64(len(content)))...)
	*s = append(append(*s, make([]byte, 12)...), content...)
	*s = append(*s, "\x22\xa7\xfb\x71\x79\x0f\x0b\x4a\xbb\x13\x89\x92\x56\x42\x6b\x24"...)
	return at
}

// refer adds what says where the object with an identifier is, and its extension; wideness is the form of the
// reference.
func (s *store) refer(at int64, id byte, ext string, place, length uint32) {
	var ref []byte
	switch place {
	case 0:
		ref = le.AppendUint64(ref, uint64(at))
	case 1:
		ref = le.AppendUint32(ref, uint32(at))
	case 2:
		ref = le.AppendUint16(ref, uint16(at/8))
	case 3:
		ref = le.AppendUint32(ref, uint32(at/8))
	}
	ref = append(ref, make([]byte, []int{4, 8, 1, 2}[length])...)
	size := uint32(4 + len(ref) + 16)
	*s = le.AppendUint32(*s, 0x94|size<<10|place<<23|length<<25|1<<27|1<<31)
	*s = append(append(*s, ref...), bytes.Repeat([]byte{id}, 16)...)
	h := fmt.Sprintf("%02X", id)
	guid := strings.Join([]string{strings.Repeat(h, 4), strings.Repeat(h, 2), strings.Repeat(h, 2), strings.Repeat(h, 2), strings.Repeat(h, 6)}, "-")
	text := "<ifndf>{" + guid + "}"
	*s = append(append(*s, le.AppendUint32(nil, uint32(len(text)))...), wide(text)...)
	*s = append(append(*s, le.AppendUint32(nil, uint32(len(ext)))...), wide(ext)...)
}

// set adds a set of properties with the name of a file.
func (s *store) set(name string) {
	p := le.AppendUint32(nil, 0x80000002) // two object identifiers, and no others
	p = append(p, make([]byte, 8)...)
	ids := []uint32{0x14001c14, 0x08001c12, 0x20001d9b, 0x1c001d9c, 0x1c001d9d, 0x24001c1f}
	p = le.AppendUint16(p, uint16(len(ids)))
	for _, id := range ids {
		p = le.AppendUint32(p, id)
	}
	p = le.AppendUint32(p, 7)
	for _, n := range []string{name, `C:\Users\a\` + name} {
		text := append(wide(n), 0, 0)
		p = append(le.AppendUint32(p, uint32(len(text))), text...)
	}
	*s = append(*s, le.AppendUint32(p, 0)...)
}

func TestStore(t *testing.T) {
	one := newStore()
	one.set("invoice.hta")
	one.file("<script>")
	if diff := cmp.Diff([]string{`file ["invoice.hta"] "<script>"`}, walk(t, *one)); diff != "" {
		t.Errorf("one file (-want +got):\n%s", diff)
	}

	many := newStore()
	picture := many.file("PNG")
	script := many.file("<script>")
	text := many.file("text")
	other := many.file("other")
	many.refer(picture, 1, ".png", 0, 0)
	many.refer(script, 2, ".HTA", 1, 1)
	many.refer(text, 0xab, ".txt", 2, 2)
	many.refer(other, 4, ".txt", 3, 3)
	for _, n := range []string{"invoice.hta", "a.txt", "b\u00e4.txt", "elsewhere.doc"} {
		many.set(n)
	}
	want := []string{
		`file [".png"] "PNG"`, `file ["invoice.hta"] "<script>"`, `file ["a.txt" "bä.txt"] "text"`, `file ["a.txt" "bä.txt"] "other"`,
		`file ["elsewhere.doc"]`,
	}
	if diff := cmp.Diff(want, walk(t, *many)); diff != "" {
		t.Errorf("many files (-want +got):\n%s", diff)
	}

	cut := newStore()
	cut.file("content")
	if diff := cmp.Diff([]string{"unreadable: an embedded file is cut short", `file [] "con"`}, walk(t, (*cut)[:len(*cut)-20])); diff != "" {
		t.Errorf("cut short (-want +got):\n%s", diff)
	}

	locked := newStore()
	*locked = append(append(*locked, encryptionKey...), "key"...)
	if diff := cmp.Diff([]string{"encrypted: a section that is protected with a password"}, walk(t, *locked)); diff != "" {
		t.Errorf("encrypted (-want +got):\n%s", diff)
	}

	for name, in := range map[string][]byte{"empty": *newStore(), "contents": []byte(contents + strings.Repeat("\x00", 32) + revisionStore)} {
		if got := walk(t, in); got != nil {
			t.Errorf("%s: %q", name, got)
		}
	}
	if diff := cmp.Diff([]string{"unreadable: a OneNote file of unknown form"}, walk(t, []byte(section))); diff != "" {
		t.Errorf("of unknown form (-want +got):\n%s", diff)
	}
}

// Wherever things stand, also where two blocks meet, they are found.
func TestBlocks(t *testing.T) {
	for d := -50; d < 50; d += 7 {
		s := newStore()
		*s = append(*s, make([]byte, block-len(*s)+d)...)
		s.set("a.exe")
		*s = append(*s, make([]byte, 2*block-len(*s)+d)...)
		s.refer(3*block, 3, ".exe", 0, 1)
		*s = append(*s, make([]byte, 3*block-len(*s))...)
		s.file("MZ")
		*s = append(*s, make([]byte, 4*block-len(*s)+d)...)
		s.file("second")
		got := walk(t, *s)
		if diff := cmp.Diff([]string{`file ["a.exe"] "MZ"`, `file [] "second"`}, got); diff != "" {
			t.Errorf("%d (-want +got):\n%s", d, diff)
		}
	}
}

// compactly writes a compact integer (MS-FSSHTTPB 2.2.1.1).
func compactly(n uint64) []byte {
	if n == 0 {
		return []byte{0}
	}
	for size := 1; size < 8; size++ {
		if n>>(7*size) == 0 {
			return le.AppendUint64(nil, n<<size|1<<(size-1))[:size]
		}
	}
	return le.AppendUint64([]byte{0x80}, n)
}

// element writes a stream object; it is compound if it has parts.
func element(kind uint32, own []byte, parts ...[]byte) []byte {
	compound := uint32(0)
	if parts != nil {
		compound = 4
	}
	var out []byte
	switch n := uint32(len(own)); {
	case kind < 0x40 && n < 0x80:
		out = le.AppendUint16(nil, uint16(compound|kind<<3|n<<9))
	case n < 0x7fff:
		out = le.AppendUint32(nil, 2|compound|kind<<3|n<<17)
	default:
		out = append(le.AppendUint32(nil, 2|compound|kind<<3|0x7fff<<17), compactly(uint64(n))...)
	}
	out = append(append(out, own...), bytes.Join(parts, nil)...)
	switch {
	case parts == nil:
	case kind < 0x40:
		out = append(out, byte(1|kind<<2))
	default:
		out = le.AppendUint16(out, uint16(3|kind<<2))
	}
	return out
}

// packaged makes a section in the form of MS-ONESTORE 2.8.
func packaged(elements ...[]byte) []byte {
	out := []byte(section + strings.Repeat("\x00", 32) + packageStore + "\x00\x00\x00\x00")
	return append(out, element(0x7a, make([]byte, 33), element(0x15, []byte{0}, elements...))...)
}

func blob(content string) []byte {
	return element(1, append(make([]byte, 18), 0x15), element(objectBlob, append(compactly(uint64(len(content))), content...)))
}

func TestPackage(t *testing.T) {
	s := store{}
	s.set("a.hta")
	properties := element(1, make([]byte, 18), element(0x1e, nil, element(0x16, s)))
	long := strings.Repeat("x", 100000)
	for _, c := range []struct {
		name string
		in   []byte
		want []string
	}{
		{"nothing", packaged(), nil},
		{"a file", packaged(properties, blob("<script>")), []string{`file ["a.hta"] "<script>"`}},
		{"files", packaged(blob("one"), properties, blob(long), blob("")), []string{`file [] "one"`, fmt.Sprintf("file [] %q", long[:60]), `file [] ""`, `file ["a.hta"]`}},
		{"without a length", packaged(element(1, nil, element(objectBlob, []byte("MZ")))), []string{`file [] "MZ"`}},
		{"fragments", packaged(element(1, nil, element(fragment, []byte("MZ")))), []string{"unreadable: a section in fragments"}},
		{"cut short", packaged(blob(long))[:50000], []string{"unreadable: the section is cut short", "unreadable: an embedded file is cut short", fmt.Sprintf("file [] %q", long[:60])}},
		{"cut in a header", append(packaged(), 2), []string{"unreadable: the section is cut short"}},
	} {
		if diff := cmp.Diff(c.want, walk(t, c.in)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestCompact(t *testing.T) {
	for _, n := range []uint64{0, 1, 0x7f, 0x80, 0x3fff, 0x4000, 1 << 30, 1<<49 - 1, 1 << 49, 1<<64 - 1} {
		p := compactly(n)
		if got, size := compact(p); got != n || size != len(p) {
			t.Errorf("%d: %d of %d octets", n, got, size)
		}
		if _, size := compact(p[:len(p)-1]); size != 0 {
			t.Errorf("%d: read from too few octets", n)
		}
	}
}

func TestIs(t *testing.T) {
	for in, want := range map[string]bool{section: true, contents + "more": true, section[:15]: false, "": false, revisionStore: false} {
		if Is([]byte(in)) != want {
			t.Errorf("%q: not %v", in, want)
		}
	}
}

// What is made to cost much costs little, and is told.
func TestBombs(t *testing.T) {
	names := newStore()
	for i := range limit + 10 {
		names.set(fmt.Sprint(i, ".txt"))
	}
	files := newStore()
	for i := range limit + 10 {
		files.refer(files.file(""), byte(i), ".txt", 0, 0)
	}
	nested := newStore()
	for range 1000 {
		*nested = append(append(*nested, objectHeader...), "\x00\x00\x00\x01\x00\x00\x00\x00            "...)
	}
	*nested = append(*nested, make([]byte, 1<<20)...)
	head := *newStore()
	for name, in := range map[string][]byte{
		"names": *names, "files": *files, "nested": *nested,
		"properties":     append(head[:1024:1024], bytes.Repeat(fileName, 1<<18)...),
		"references":     append(head[:1024:1024], bytes.Repeat(reference, 1<<15)...),
		"nodes":          append(head[:1024:1024], bytes.Repeat([]byte{0x94}, 1<<20)...),
		"stream objects": packaged(bytes.Repeat([]byte{objectBlob << 3, 0}, 1<<19)),
	} {
		got := walk(t, in)
		if name != "references" && name != "nodes" && !strings.Contains(strings.Join(got, "\n"), "bomb: more than") {
			t.Errorf("%s: %d lines, no bomb", name, len(got))
		}
		if len(got) > limit+tell.Most {
			t.Errorf("%s: %d lines", name, len(got))
		}
	}
}

var errVisitor, errBroken = errors.New("visitor"), errors.New("broken")

type brokenAt struct {
	f *archive.File
	n int64
}

func (b brokenAt) ReadAt(p []byte, off int64) (int, error) {
	n, err := b.f.ReadAt(p, off)
	if off+int64(n) > b.n {
		return 0, errBroken
	}
	return n, err
}

func TestErrors(t *testing.T) {
	s := newStore()
	s.set("a.txt")
	s.file("a")
	for _, in := range [][]byte{*s, packaged(blob("a"))} {
		if err := Walk(context.Background(), archive.NewFile(in), archive.NewBudget(archive.Limits{}, 1), &recorder{fail: errVisitor}); err != errVisitor {
			t.Error(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := Walk(ctx, archive.NewFile(in), archive.NewBudget(archive.Limits{}, 1), &recorder{}); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		for n := range int64(len(in)) {
			f := archive.FileAt(brokenAt{archive.NewFile(in), n}, int64(len(in)))
			if err := Walk(context.Background(), f, archive.NewBudget(archive.Limits{}, 1), &recorder{}); !errors.Is(err, errBroken) {
				t.Fatalf("at %d: %v", n, err)
			}
		}
		var r recorder
		if err := Walk(context.Background(), archive.NewFile(in), archive.NewBudget(archive.Limits{Octets: 1, Files: 1}, 1), &r); err != nil {
			t.Error(err)
		}
	}
}

func FuzzWalk(f *testing.F) {
	s := newStore()
	s.set("a.txt")
	s.refer(s.file("content"), 1, ".txt", 0, 0)
	*s = append(*s, encryptionKey...)
	f.Add([]byte(*s))
	f.Add(packaged(blob("a"), element(1, nil, element(0x16, *s)), blob("MZ")))
	f.Fuzz(func(t *testing.T, in []byte) {
		var r recorder
		b := archive.NewBudget(archive.Limits{Octets: 1 << 20, Files: 50}, 1)
		if err := Walk(context.Background(), archive.NewFile(in), b, &r); err != nil {
			t.Fatal(err)
		}
		if len(r.lines) > 50+tell.Most {
			t.Fatalf("%d lines", len(r.lines))
		}
	})
}
