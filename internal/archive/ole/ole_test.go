package ole_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/ole"
	"github.com/postern-mail/postern/internal/archive/ole/oletest"
)

var sample = oletest.Node{CLSID: ole.CLSID{1, 2, 3}, Children: []oletest.Node{
	{Name: "short", Data: []byte("abc")},
	{Name: "Folder", CLSID: ole.CLSID{9}, Children: []oletest.Node{
		{Name: "\x01Lång", Data: bytes.Repeat([]byte("0123456789"), 2000)},
		{Name: "none"},
		{Name: "empty", Storage: true},
	}},
	{Name: "mini", Data: bytes.Repeat([]byte("m"), 4095)},
}}

func open(t testing.TB, in []byte) (*ole.Storage, error) {
	t.Helper()
	root, problem, err := ole.Open(t.Context(), archive.NewFile(in))
	if err != nil {
		t.Fatal(err)
	}
	return root, problem
}

func TestOpen(t *testing.T) {
	root, problem := open(t, oletest.Build(sample))
	if problem != nil || root.CLSID != (ole.CLSID{1, 2, 3}) {
		t.Fatal(problem, root)
	}
	folder := root.Storage("FOLDER")
	if folder == nil || folder.CLSID != (ole.CLSID{9}) || folder.Storage("empty") == nil {
		t.Fatalf("%+v", root)
	}
	for _, c := range []struct {
		s    *ole.Stream
		want []byte
	}{
		{root.Stream("SHORT"), []byte("abc")},
		{root.Stream("mini"), bytes.Repeat([]byte("m"), 4095)},
		{folder.Stream("\x01Lång"), bytes.Repeat([]byte("0123456789"), 2000)},
		{folder.Stream("none"), nil},
	} {
		f, problem := c.s.File()
		got, err := io.ReadAll(f.Reader())
		if problem != nil || err != nil || !bytes.Equal(got, c.want) {
			t.Errorf("%s: %d octets, %v %v", c.s.Name, len(got), problem, err)
		}
	}
	if root.Stream("nothing") != nil || root.Storage("short") != nil {
		t.Error("found what is not there")
	}
}

func TestCLSID(t *testing.T) {
	id := ole.CLSID{0x84, 0x10, 0x0c, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46}
	if got := id.String(); got != "000C1084-0000-0000-C000-000000000046" {
		t.Error(got)
	}
}

// What is damaged is told, and what is left is given.
func TestDamaged(t *testing.T) {
	whole := oletest.Build(sample)
	at := func(off int64) int64 { return (int64(binary.LittleEndian.Uint32(whole[off:])) + 1) * 512 }
	directory, fat := at(0x30), at(0x4c)
	start := int64(binary.LittleEndian.Uint32(whole[directory+3*128+116:])) // of the long stream
	for _, c := range []struct {
		name    string
		damage  func(b []byte) []byte
		problem string
		streams int // -1 for no root
	}{
		{"no header", func(b []byte) []byte { return b[:500] }, "no compound file", -1},
		{"sectors", func(b []byte) []byte { b[0x1e] = 40; return b }, "sectors of 2^40", -1},
		{"no directory", func(b []byte) []byte { b[0x33] = 0xff; return b }, "no directory", -1},
		{"a child that is its parent", func(b []byte) []byte { b[directory+2*128+76] = 2; return b }, "circles", 2},
		{"neighbours in a circle", func(b []byte) []byte { copy(b[directory+1*128+68:], "\x01\x00\x00\x00"); return b }, "circles", 4},
		{"a neighbour that is not there", func(b []byte) []byte { b[directory+1*128+70] = 7; return b }, "which is not there", 4},
		{"a kind that is not known", func(b []byte) []byte { b[directory+1*128+66] = 9; return b }, "unknown kind", 3},
		{"sectors in a circle", func(b []byte) []byte { b[fat+4*start+4] = byte(start); return b }, "", 4},
		{"cut short", func(b []byte) []byte { return b[:fat+512-512] }, "cut short", 2},
		{"another cutoff", func(b []byte) []byte { b[0x39] = 0; return b }, "mini streams below 0", 4},
	} {
		root, problem := open(t, c.damage(bytes.Clone(whole)))
		if c.problem != "" && (problem == nil || !strings.Contains(problem.Error(), c.problem)) {
			t.Errorf("%s: %v", c.name, problem)
		}
		n := -1
		if root != nil {
			n = count(root)
		}
		if n != c.streams {
			t.Errorf("%s: %d streams", c.name, n)
		}
	}
}

func count(s *ole.Storage) int {
	n := len(s.Streams)
	for _, c := range s.Storages {
		n += count(c)
	}
	return n
}

// A stream whose sectors go in circles is as long as it says, at most, and the sectors of the file are followed a few
// times in all, however many streams claim them.
func TestShared(t *testing.T) {
	long := oletest.Node{Name: "0", Data: bytes.Repeat([]byte("x"), 1<<20)}
	root := oletest.Node{}
	for i := range 200 {
		root.Children = append(root.Children, oletest.Node{Name: fmt.Sprint("s", i)})
	}
	root.Children = append(root.Children, long)
	b := oletest.Build(root)
	directory := (int(binary.LittleEndian.Uint32(b[0x30:])) + 1) * 512
	for i := 1; i <= 200; i++ {
		copy(b[directory+128*i+116:], b[directory+201*128+116:directory+201*128+124])
	}
	opened, problem := open(t, b)
	if problem != nil {
		t.Fatal(problem)
	}
	total, failed := int64(0), 0
	for _, s := range opened.Streams {
		f, problem := s.File()
		total += f.Size()
		if problem != nil {
			failed++
		}
	}
	if total > 8<<20 || failed < 190 {
		t.Errorf("%d octets, %d streams failed", total, failed)
	}
}

// Names are there once. A few more are given, since who knows which one a reader takes.
func TestSame(t *testing.T) {
	root := oletest.Node{}
	for range 1000 {
		root.Children = append(root.Children, oletest.Node{Name: "same"}, oletest.Node{Name: "SAME"})
	}
	opened, problem := open(t, oletest.Build(root))
	if problem == nil || len(opened.Streams) != 16 {
		t.Errorf("%d streams, %v", len(opened.Streams), problem)
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(oletest.Build(sample))
	f.Add(oletest.Build(oletest.Node{Children: []oletest.Node{oletest.VBA(oletest.Module{Name: "M", Source: "Sub A()"})}}))
	f.Add(oletest.Build(oletest.Node{}))
	f.Fuzz(func(t *testing.T, in []byte) {
		root, _ := open(t, in)
		if root == nil {
			return
		}
		left := int64(8*len(in) + 1<<20)
		var read func(s *ole.Storage)
		read = func(s *ole.Storage) {
			for _, c := range s.Streams {
				file, _ := c.File()
				n, err := io.Copy(io.Discard, file.Reader())
				if left -= n; err != nil || n != file.Size() || n > c.Size || left < 0 {
					t.Fatalf("%q: %d octets of %d, %d left, %v", c.Name, n, c.Size, left, err)
				}
			}
			for _, c := range s.Storages {
				read(c)
			}
		}
		read(root)
	})
}
