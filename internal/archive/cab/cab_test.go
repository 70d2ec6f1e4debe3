package cab

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/tell/telltest"
)

func TestLZX(t *testing.T) {
	for seed := range uint64(30) {
		n := []int{1, 10, 5000, frameSize, frameSize + 1, 200001}[seed%6]
		window := 15 + int(seed%7)
		want := sample(seed, n)
		found := telltest.Walk(t, Walk, buildLZX(seed, want, window, seed%2 == 1))
		if !bytes.Equal(found.Content("x.exe"), want) || len(found.Signs) > 0 {
			t.Errorf("seed %d, %d octets, window %d:\n%s", seed, n, window, found)
		}
	}
}

func TestMSZIP(t *testing.T) {
	want := sample(1, 150001)
	found := telltest.Walk(t, Walk, buildMSZIP(t, want))
	if !bytes.Equal(found.Content("x.exe"), want) || len(found.Signs) > 0 {
		t.Error(found)
	}
}

// Each case is one sign, or none, and what is in the entries.
func TestWalk(t *testing.T) {
	stored := []packedBlock{{[]byte("abcdef"), 6}}
	whole := build(methodNone, stored, testFile{name: `a\b.txt`, size: 6})
	wrong := bytes.Clone(whole)
	wrong[len(wrong)-1] ^= 1
	for _, c := range []struct {
		name    string
		data    []byte
		entries string
		kind    archive.Kind
		why     string
	}{
		{"stored", whole, "a/b.txt=abcdef", "", ""},
		{"parts", build(methodNone, stored, testFile{name: "a", size: 2}, testFile{name: "b", at: 2, size: 4}), "a=ab b=cdef", "", ""},
		{"in code page 437", build(methodNone, stored, testFile{name: "\x81.txt", size: 6}), "ü.txt=abcdef", "", ""},
		{"in UTF-8", build(methodNone, stored, testFile{name: "ü.txt", size: 6, flags: nameIsUTF8}), "ü.txt=abcdef", "", ""},
		{"followed by more", append(bytes.Clone(whole), "more"...), "a/b.txt=abcdef", "", ""},
		{"wrong checksum", wrong, "a/b.txt=abcdeg", archive.Unreadable, "checksum"},
		{"too long", build(methodNone, stored, testFile{name: "a", at: 3, size: 6}), "a=def", archive.Unreadable, "cut off"},
		{"cut off", whole[:len(whole)-1], "a/b.txt=", archive.Unreadable, "cut off"},
		{"no folder", build(methodNone, stored, testFile{name: "a", size: 6, folder: 7}), "a=", archive.Unreadable, "damaged"},
		{"from the last cabinet", build(methodNone, stored, testFile{name: "a", size: 6, folder: fromPrevious}), "a=", archive.Unreadable, "another"},
		{"to the next cabinet", build(methodNone, stored, testFile{name: "a", size: 8, folder: toNext}), "a=abcdef", archive.Unreadable, "another"},
		{"Quantum", build(methodQuantum, stored, testFile{name: "a", size: 6}), "a=", archive.Unreadable, "Quantum"},
		{"unknown method", build(9, stored, testFile{name: "a", size: 6}), "a=", archive.Unreadable, "method 9"},
		{"no MSZIP", build(methodMSZIP, stored, testFile{name: "a", size: 6}), "a=", archive.Unreadable, "MSZIP"},
		{"no LZX", build(methodLZX|15<<8, stored, testFile{name: "a", size: 6}), "a=", archive.Unreadable, "LZX"},
		{"no window", build(methodLZX|31<<8, stored, testFile{name: "a", size: 6}), "a=", archive.Unreadable, "LZX"},
		{"no cabinet", []byte("MSCF"), "", archive.Unreadable, "cut off"},
	} {
		t.Run(c.name, func(t *testing.T) {
			found := telltest.Walk(t, Walk, c.data)
			var got []string
			for _, e := range found.Entries {
				got = append(got, e.Names[0]+"="+string(e.Content))
			}
			if strings.Join(got, " ") != c.entries {
				t.Errorf("got %q, want %q", got, c.entries)
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

// Damage anywhere in packed data gives a sign, or another file of which the checksum tells.
func TestDamage(t *testing.T) {
	for _, c := range [][]byte{buildMSZIP(t, sample(1, 3000)), buildLZX(3, sample(1, 3000), 15, true)} {
		for i := len(c) - 1; i > 70; i -= 7 {
			broken := bytes.Clone(c)
			broken[i] ^= 0x55
			if found := telltest.Walk(t, Walk, broken); len(found.Signs) == 0 {
				t.Errorf("octet %d: no sign", i)
			}
			if found := telltest.Walk(t, Walk, c[:i]); len(found.Signs) == 0 {
				t.Errorf("cut off at %d: no sign", i)
			}
		}
	}
}

// A folder that many files lie over one another in is paid for by each of them.
func TestBombs(t *testing.T) {
	data := bytes.Repeat([]byte{0}, 1<<20)
	var blocks []packedBlock
	for range 1 << 20 / frameSize {
		blocks = append(blocks, packedBlock{data[:frameSize], frameSize})
	}
	var files []testFile
	for range 100 {
		files = append(files, testFile{name: "a", size: 1 << 20})
	}
	bomb := build(methodNone, blocks, files...)
	found := telltest.WalkLimited(t, Walk, bomb, archive.Limits{Octets: 10 << 20})
	if found.Kinds(archive.Bomb) != 1 || found.Octets > 10<<20 || len(found.Entries) < 5 {
		t.Errorf("%d entries, signs %v", len(found.Entries), found.Signs)
	}
	if found := telltest.WalkLimited(t, Walk, bomb, archive.Limits{Files: 10}); found.Kinds(archive.Bomb) != 1 || len(found.Entries) != 10 {
		t.Errorf("%d entries, signs %v", len(found.Entries), found.Signs)
	}
	found = telltest.WalkLimited(t, Walk, buildMSZIP(t, data), archive.Limits{Octets: 100000})
	if found.Kinds(archive.Bomb) != 1 || found.Octets > 100000 {
		t.Error(found)
	}
}

func TestFind(t *testing.T) {
	c := build(methodNone, []packedBlock{{[]byte("x"), 1}}, testFile{name: "a", size: 1})
	program := append([]byte("MZ MSCF\x00\x00\x00\x00 not this one"), bytes.Repeat([]byte{1}, 1<<20-30)...)
	off, ok, err := Find(context.Background(), archive.NewFile(append(program, c...)))
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
	c := build(methodQuantum, []packedBlock{{[]byte("x"), 1}}, testFile{name: "a", size: 1})
	for _, v := range []refusing{{file: want}, {sign: want}} {
		if err := Walk(context.Background(), archive.NewFile(c), archive.NewBudget(archive.Limits{}, 1), v); err != want {
			t.Error(err)
		}
	}
}

type refusing struct{ file, sign error }

func (r refusing) File(*archive.Entry) error { return r.file }
func (r refusing) Sign(archive.Sign) error   { return r.sign }

func FuzzWalk(f *testing.F) {
	telltest.Fuzz(f, Walk,
		build(methodNone, []packedBlock{{[]byte("abcdef"), 6}}, testFile{name: "a", size: 2}, testFile{name: "b", at: 2, size: 4}),
		buildMSZIP(f, sample(1, 500)), buildLZX(1, sample(2, 400), 15, true), buildLZX(2, sample(3, 400), 16, false),
		buildLZX(5, sample(3, 33000), 15, true))
}
