package zip

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/flate"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/tell/telltest"
)

// Where readers take different names or contents, all of them are given, and a sign says so.
func TestReaders(t *testing.T) {
	names := stored("a.txt", text)
	names.central = "b.exe"
	hidden := stored("hidden.exe", "MZ")
	hidden.unlisted = true
	short := stored("f", "0123456789"+string(build(stored("inner.exe", "MZ"))))
	short.localSize = 10 - len(short.content)
	flag := deflated("f", text)
	flag.centralFlagXor = flagDescriptor
	first, second := new(made).add(stored("one", "1")), new(made).add(stored("two", "2"))
	both := append(first.end(""), second.end("")...)
	inComment := new(made).add(stored("one", "1")).end(string(build(stored("two", "2"))))
	appended := append(build(stored("one", "1")), strings.Repeat("x", 200<<10)...)
	for name, c := range map[string]struct {
		b     []byte
		want  map[string]string
		signs bool
	}{
		"names":                {build(names), map[string]string{"a.txt": text, "b.exe": text}, true},
		"unlisted":             {build(stored("f", text), hidden), map[string]string{"f": text, "hidden.exe": "MZ"}, true},
		"local size":           {build(short), map[string]string{"f": short.content, "inner.exe": "MZ"}, true},
		"flag of descriptors":  {build(flag), map[string]string{"f": text}, false},
		"two archives":         {both, map[string]string{"one": "1", "two": "2"}, true},
		"in the comment":       {inComment, map[string]string{"one": "1", "two": "2"}, true},
		"end far from the end": {appended, map[string]string{"one": "1"}, true},
		"no directory":         {new(made).add(stored("f", text)).b, map[string]string{"f": text}, true},
	} {
		s := walk(t, c.b, archive.Limits{})
		for name2, content := range c.want {
			if !slices.Contains(s.Named(name2), content) {
				t.Errorf("%s: %s is missing among %v", name, name2, s.Names())
			}
		}
		if s.Has(unreadable, "") != c.signs {
			t.Errorf("%s: signs %v", name, s.Signs)
		}
	}
}

// An archive within the header of a file, which readers find that want the comment to end with the file: the true end
// has a line after it.
func TestHiddenInHeader(t *testing.T) {
	var inner made
	inner.add(stored("hidden.exe", "MZ"))
	const field = 4
	outer := stored("a", "x")
	start := lenLocal + len(outer.name) + field
	var hidden []byte
	rest := lenLocal // of the outer archive after the extra field, found by making it twice
	for range 2 {
		b := inner.end(strings.Repeat("c", rest))
		hidden = b[:len(b)-rest]
		outer.extra = string(binary.LittleEndian.AppendUint16([]byte("zz"), uint16(len(hidden)))) + string(hidden)
		rest = len(build(outer)) + 1 - start - len(hidden)
	}
	s := walk(t, append(build(outer), '\n'), archive.Limits{})
	if !slices.Contains(s.Named("hidden.exe"), "MZ") || !s.Has(unreadable, "") {
		t.Errorf("%q %v", s.Names(), s.Signs)
	}
}

// Where something stands before the archive, some readers count offsets from it and others do not.
func TestShift(t *testing.T) {
	hidden := new(made).add(stored("f", "MZ hidden")).b
	b := build(stored("f", text))
	// The other reading of the offset, 0, leads to what stands before.
	s := walk(t, slices.Concat(hidden, b), archive.Limits{})
	if got := s.Named("f"); !slices.Contains(got, text) || !slices.Contains(got, "MZ hidden") || !s.Has(unreadable, "") {
		t.Errorf("%q %v", got, s.Signs)
	}
}

// A zip that is stored in a zip is content, not part of it; so is one that was packed, but would not get smaller.
func TestNested(t *testing.T) {
	blocks := build(stored("deep", "x"))
	for _, level := range []int{0, 6} {
		var b bytes.Buffer
		w, _ := flate.NewWriter(&b, level)
		_, _ = w.Write(blocks)
		_ = w.Close()
		s := walk(t, build(member{name: "inner.zip", method: methodDeflate, packed: b.String(), content: string(blocks)}), archive.Limits{})
		if len(s.Signs) > 0 || len(s.Names()) != 1 || s.Contents()[0] != string(blocks) {
			t.Errorf("level %d: %v %v", level, s.Names(), s.Signs)
		}
	}
	inner := build(stored("deep", "x"))
	s := walk(t, build(stored("inner.zip", string(inner))), archive.Limits{})
	if len(s.Signs) > 0 || len(s.Names()) != 1 || s.Contents()[0] != string(inner) {
		t.Errorf("%v %v", s.Names(), s.Signs)
	}
}

func TestNames(t *testing.T) {
	utf := stored("süß.txt", "")
	marked := utf
	marked.flags = flagUTF8
	dos := stored("s\x81\xe1.txt", "")
	other := stored("plain.txt", "")
	other.extra = "\x75\x70\x0d\x00\x01\x00\x00\x00\x00real.exe"
	cut := stored("a.exe\x00.txt", "")
	for name, c := range map[string]struct {
		m    member
		want []string
	}{
		"UTF-8":           {utf, []string{"süß.txt", "s├╝├ƒ.txt", "sÃ¼ÃŸ.txt"}},
		"UTF-8 by flag":   {marked, []string{"süß.txt", "s├╝├ƒ.txt"}},
		"code page":       {dos, []string{"süß.txt", "s\u0081á.txt"}},
		"Unicode Path":    {other, []string{"real.exe", "plain.txt"}},
		"ending at a NUL": {cut, []string{"a.exe\x00.txt", "a.exe"}},
	} {
		s := walk(t, build(c.m), archive.Limits{})
		if len(s.Names()) != 1 || len(s.Signs) > 0 {
			t.Fatalf("%s: %q %v", name, s.Names(), s.Signs)
		}
		got := s.Names()[0]
		if name == "code page" {
			// Windows-1252 has no 0x81: what stands for it does not matter.
			got, c.want = got[:1], c.want[:1]
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestLink(t *testing.T) {
	m := stored("link", "../target")
	m.mode = 0o120777
	if s := walk(t, build(m), archive.Limits{}); s.Entries[0].Link != "../target" || s.Contents()[0] != "../target" {
		t.Errorf("%s", s)
	}
}

// Entries that share octets, or whose packed form makes nothing, do not cost more than the budget.
func TestBombs(t *testing.T) {
	zeros := deflated("", strings.Repeat("\x00", 40<<20))
	m := new(made)
	zeros.name = "f00"
	m.add(zeros)
	for i := range 90 {
		m.central(member{name: "f" + string(rune('a'+i%26)) + string(rune('a'+i/26)), method: methodDeflate, packed: zeros.packed, content: zeros.content}, 0, 0)
	}
	s := walk(t, m.end(""), archive.Limits{})
	if !s.Has(bomb, "") || !s.Has(unreadable, "overlap") {
		t.Errorf("shared content: %v", s.Signs)
	}

	// A stored block of Deflate that is empty, again and again, within many entries that overlap.
	empty := strings.Repeat("\x00\x00\x00\xff\xff", 200<<10)
	var b made
	b.add(member{name: "big", method: methodDeflate, packed: empty})
	for i := range 3000 {
		le := member{name: string(rune('a'+i%26)) + strings.Repeat("x", i/26), method: methodDeflate, packed: empty[:len(empty)-1-i]}
		b.central(le, 0, 0)
	}
	in := b.end("")
	budget := archive.NewBudget(archive.Limits{Octets: 8 << 20}, int64(len(in)))
	s = &telltest.Found{}
	if err := Walk(context.Background(), archive.NewFile(in), budget, s); err != nil {
		t.Fatal(err)
	}
	if !s.Has(bomb, "") {
		t.Errorf("packed forms of nothing: %v", s.Signs)
	}

	var many made
	for range 300 {
		many.add(stored("x", ""))
	}
	if s := walk(t, many.end(""), archive.Limits{Files: 100}); !s.Has(bomb, "files") || len(s.Names()) > 100 {
		t.Errorf("many files: %v", s.Signs)
	}
}

// Headers that overlap do not make names without end.
func TestManyNames(t *testing.T) {
	var m made
	for i := range 3000 {
		m.central(member{name: "a"}, 0, i*lenLocal)
	}
	header := stored("", "")
	header.unlisted = true
	var one made
	one.add(header)
	copy(one.b[26:], "\xff\xff")
	m.b = append(bytes.Repeat(one.b, 3000), make([]byte, 70000)...)
	if s := walk(t, m.end(""), archive.Limits{}); !s.Has(bomb, "names") {
		t.Errorf("%v", s.Signs)
	}
}

// One hostile container says little of each kind.
func TestFewSigns(t *testing.T) {
	var m made
	for i := range 3000 {
		f := stored(strings.Repeat("n", 1+i%50), "x")
		f.wrongSum, f.method, f.moved = i%3 == 0, uint16(i%100), i%5
		m.add(f)
	}
	if s := walk(t, m.end(""), archive.Limits{}); len(s.Signs) > 22 || len(s.Signs) == 0 {
		t.Errorf("%d signs", len(s.Signs))
	}
}

func TestSpoolTwice(t *testing.T) {
	in := build(deflated("a", text), member{name: "b", flags: flagEncrypted, packed: "x", content: "x"})
	budget := archive.NewBudget(archive.Limits{}, int64(len(in)))
	r, err := Open(context.Background(), archive.NewFile(in), budget)
	if err != nil || len(r.Entries()) != 2 || len(r.Signs()) > 0 {
		t.Fatal(r, err)
	}
	for range 3 {
		f, problem, err := r.Spool(context.Background(), r.Entries()[0], budget)
		if err != nil || problem != nil || f.Size() != int64(len(text)) {
			t.Fatal(f, problem, err)
		}
		_ = f.Close()
	}
	f, problem, err := r.Spool(context.Background(), r.Entries()[1], budget)
	if f != nil || err != nil || SignOf(r.Entries()[1], problem).Kind != encrypted {
		t.Fatal(f, problem, err)
	}
}

func TestFind(t *testing.T) {
	in := build(stored("x", text))
	for name, c := range map[string]struct {
		b    []byte
		want bool
	}{
		"in a picture":      {slices.Concat([]byte("\xff\xd8\xff"), bytes.Repeat([]byte("PK\x01."), 200<<10), in, bytes.Repeat([]byte("x"), 300<<10)), true},
		"at any offset":     {slices.Concat(bytes.Repeat([]byte("x"), searchBlock-20), in), true},
		"only signatures":   {[]byte("xx" + sigCentral + "PK\x05\x06PK\x03\x04\x00\x00\x00\x00" + strings.Repeat("\x00", 100)), false},
		"text":              {[]byte(strings.Repeat("PK is not a zip. ", 50000)), false},
		"nothing":           {nil, false},
		"end of an archive": {build(), true},
	} {
		got, err := Find(context.Background(), archive.NewFile(c.b))
		if err != nil || got != c.want {
			t.Errorf("%s: %v %v", name, got, err)
		}
	}
}

// An error of the file, the context or the visitor is returned as it is.
func TestErrors(t *testing.T) {
	in := build(deflated("x", text))
	f := archive.FileAt(broken{in, int64(len(in) - 30)}, int64(len(in)))
	if err := Walk(context.Background(), f, archive.NewBudget(archive.Limits{}, 1), &telltest.Found{}); err != io.ErrClosedPipe {
		t.Errorf("a file that can't be read: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Walk(ctx, archive.NewFile(in), archive.NewBudget(archive.Limits{}, 1), &telltest.Found{}); err != context.Canceled {
		t.Errorf("no time: %v", err)
	}
}

// broken fails below an offset.
type broken struct {
	b  []byte
	to int64
}

func (r broken) ReadAt(p []byte, off int64) (int, error) {
	if off < r.to {
		return 0, io.ErrClosedPipe
	}
	return bytes.NewReader(r.b).ReadAt(p, off)
}

func FuzzWalk(f *testing.F) {
	for _, b := range ordinary(f) {
		f.Add(b)
	}
	f.Add(build(member{name: "f", method: methodDeflate64, packed: deflated("", text).packed, content: text}))
	f.Add(build(member{name: "f", method: methodLZMA, packed: "\x00\x00\x05\x00\x5d\x00\x00\x80\x00\x00", content: text}))
	f.Add(new(made).add(stored("one", "1")).end(string(build(stored("two", "2")))))
	f.Add(build(member{name: "f", flags: flagDescriptor, method: flate.BestSpeed, content: "x", disk: 1}))
	f.Fuzz(func(t *testing.T, b []byte) {
		budget := archive.NewBudget(archive.Limits{Octets: 4 << 20, Files: 200}, int64(len(b)))
		s := &telltest.Found{}
		if err := Walk(context.Background(), archive.NewFile(b), budget, s); err != nil {
			t.Fatal(err)
		}
		if len(s.Names()) > 800 || len(s.Signs) > 40 {
			t.Fatalf("%d entries, %d signs", len(s.Names()), len(s.Signs))
		}
		if len(s.Names()) == 0 && len(s.Signs) == 0 && !bytes.Contains(b, []byte(sigEnd)) {
			t.Fatal("nothing is said")
		}
		for _, names := range s.Names() {
			for _, n := range names {
				if strings.ToValidUTF8(n, "") != n {
					t.Fatalf("a name that is not UTF-8: %q", n)
				}
			}
		}
		if _, err := Find(context.Background(), archive.NewFile(b)); err != nil {
			t.Fatal(err)
		}
	})
}
