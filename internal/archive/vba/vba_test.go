package vba_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/ole"
	"github.com/postern-mail/postern/internal/archive/ole/oletest"
	"github.com/postern-mail/postern/internal/archive/vba"
)

const attributes = "Attribute VB_Name = \"ThisDocument\"\r\nAttribute VB_Base = \"1Normal.ThisDocument\"\r\n"

// compiled is the start of a module with a table of so many compiled lines.
func compiled(lines int) []byte {
	b := []byte("\x01\x16\x03\x00\xfe\xca\x01\x00")
	b = append(b, byte(lines), byte(lines>>8))
	for range lines {
		b = append(b, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0)
	}
	return b
}

// scan gives the signs of a project, one a line.
func scan(t testing.TB, n oletest.Node, b *archive.Budget) string {
	t.Helper()
	root, problem, err := ole.Open(t.Context(), archive.NewFile(oletest.Build(oletest.Node{Children: []oletest.Node{n}})))
	if err != nil || problem != nil {
		t.Fatal(problem, err)
	}
	s := root.Storages[0]
	if !vba.Is(s) {
		t.Fatal("it is no project")
	}
	var said []string
	if err := vba.Scan(t.Context(), s, b, func(s archive.Sign) error {
		said = append(said, s.String())
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return strings.Join(said, "\n")
}

func TestScan(t *testing.T) {
	for _, c := range []struct {
		name    string
		modules []oletest.Module
		want    string // how the signs begin, "" for none
	}{
		{"no modules", nil, ""},
		{"attributes only", []oletest.Module{{Name: "ThisDocument", Source: attributes}}, ""},
		{"options and comments", []oletest.Module{{Name: "A", Source: attributes + "Option Explicit\r\n\r\n' a comment\r\nRem another", Compiled: compiled(3)}}, ""},
		{"code", []oletest.Module{{Name: "A", Source: attributes + "Sub Format()\r\nEnd Sub", Compiled: compiled(2)}}, "macro: "},
		{"auto", []oletest.Module{{Name: "A", Source: attributes + "Private Sub  aUtOoPeN ( )\r\nEnd Sub"}}, "macro_auto: the macro aUtOoPeN"},
		{"over two lines", []oletest.Module{{Name: "A", Source: "Sub _\r\n  Workbook_Open()"}}, "macro_auto: the macro Workbook_Open"},
		{"a function", []oletest.Module{{Name: "A", Source: "Public Function Document_Close%()"}}, "macro_auto"},
		{"in brackets", []oletest.Module{{Name: "A", Source: "Sub [AutoExec]"}}, "macro_auto"},
		{"a space of a code page", []oletest.Module{{Name: "A", Source: "Sub\xa0AutoExec()"}}, "macro_auto"},
		{"a control", []oletest.Module{{Name: "A", Source: "Sub Ink1_Painted(ByVal x As Long)"}}, "macro_auto"},
		{"a module named so", []oletest.Module{{Name: "AutoOpen", Source: "Sub Main()"}}, "macro_auto: the macro AutoOpen"},
		{"in a comment", []oletest.Module{{Name: "A", Source: "Dim x ' Sub AutoOpen"}}, "macro: "},
		{"in a text", []oletest.Module{{Name: "A", Source: `x = "Sub AutoOpen"`}}, "macro: "},
		{"the second module", []oletest.Module{{Name: "A", Source: attributes}, {Name: "B", Source: "Sub Auto_Open()"}}, "macro_auto"},
		{"long", []oletest.Module{{Name: "A", Source: strings.Repeat("' a long comment, over and over 0123456789\r\n", 2000) + "Sub AutoOpen()"}}, "macro_auto"},
		{"no source", []oletest.Module{{Name: "A", Source: attributes, Compiled: compiled(12)}}, `macro_auto: "A" has 12 lines of compiled macros for 0 of source`},
		{"another source", []oletest.Module{{Name: "A", Source: "Sub Hello()\r\nEnd Sub", Compiled: compiled(40)}}, `macro_auto: "A" has 40`},
	} {
		got := scan(t, oletest.VBA(c.modules...), archive.NewBudget(archive.Limits{}, 1))
		if !strings.HasPrefix(got, c.want) || (got == "") != (c.want == "") || strings.Contains(got, "\n") {
			t.Errorf("%s: %s", c.name, got)
		}
	}
}

// A project of which something can't be read is taken for the worst.
func TestScanDamaged(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(n *oletest.Node)
		want   []string
	}{
		{"no list", func(n *oletest.Node) { n.Children = n.Children[:2] }, []string{"macro_auto: there is a project of macros whose source can't be read"}},
		{"a damaged list", func(n *oletest.Node) { n.Children[2].Data = []byte("\x01nothing") }, []string{"unreadable: ", "macro_auto: "}},
		{"a list cut short", func(n *oletest.Node) { n.Children[2].Data = n.Children[2].Data[:40] }, []string{"unreadable: ", "macro_auto: "}},
		{"no module", func(n *oletest.Node) { n.Children = n.Children[1:] }, []string{`unreadable: macros: the module "A" is not there`}},
		{"a damaged module", func(n *oletest.Node) { n.Children[0].Data = []byte("\x02\x03\x04") }, []string{`macro_auto: the source of the macros in "A" can't be read`}},
		{"a module at another place", func(n *oletest.Node) { n.Children[0].Data = append([]byte("xyz"), n.Children[0].Data...) }, []string{"macro_auto: "}},
		{"a module that is not listed", func(n *oletest.Node) {
			n.Children = append(n.Children, oletest.Node{Name: "B", Data: oletest.Compress([]byte("Attribute VB_Name = \"B\"\nSub AutoOpen()"))})
		}, []string{"macro_auto: the macro AutoOpen"}},
		{"a name that is compiled only", func(n *oletest.Node) { n.Children[1].Data = []byte("\xcc\x61\x00\x08AutoOpen\x03\x00") }, []string{"macro_auto: the compiled macros know AutoOpen"}},
	} {
		n := oletest.VBA(oletest.Module{Name: "A", Source: attributes + "Sub Format()\r\nEnd Sub"})
		c.damage(&n)
		got := scan(t, n, archive.NewBudget(archive.Limits{}, 1))
		lines := strings.Split(got, "\n")
		for i, want := range c.want {
			if len(lines) != len(c.want) || !strings.HasPrefix(lines[i], want) {
				t.Errorf("%s: %s", c.name, got)
				break
			}
		}
	}
}

func TestDecompress(t *testing.T) {
	for _, want := range []string{"", "a", "#aaabcdefaaaaghijaaaaaklaaamnopqaaaaaaaaaaaarstuvwxyzaaa", strings.Repeat("x", 10000), strings.Repeat("0123456789", 3000)} {
		got, problem := vba.Decompress(oletest.Compress([]byte(want)), 1<<20, archive.NewBudget(archive.Limits{}, 1))
		if problem != nil || string(got) != want {
			t.Errorf("%.20q: %d octets, %v", want, len(got), problem)
		}
	}
	// The third example of MS-OVBA 3.2.3: copies of more than what is there.
	got, problem := vba.Decompress([]byte("\x01\x03\xb0\x02\x61\x45\x00"), 1<<20, archive.NewBudget(archive.Limits{}, 1))
	if problem != nil || string(got) != strings.Repeat("a", 73) {
		t.Errorf("%q %v", got, problem)
	}
}

func TestDecompressBomb(t *testing.T) {
	in := append([]byte{1}, bytes.Repeat([]byte("\x03\xb0\x02\x61\xf0\x0f"), 100000)...)
	b := archive.NewBudget(archive.Limits{Octets: 1 << 20}, 1)
	got, problem := vba.Decompress(in, 32<<20, b)
	var spent *archive.ErrBudget
	if !errors.As(problem, &spent) || len(got) > 1<<20+4096 {
		t.Errorf("%d octets, %v", len(got), problem)
	}
	got, problem = vba.Decompress(in, 1<<16, archive.NewBudget(archive.Limits{}, 1))
	if problem == nil || len(got) > 1<<16+4096 {
		t.Errorf("%d octets, %v", len(got), problem)
	}
	n := oletest.VBA(oletest.Module{Name: "A"})
	n.Children[0].Data = in
	if got := scan(t, n, archive.NewBudget(archive.Limits{Octets: 1 << 20}, 1)); !strings.HasPrefix(got, "bomb: ") {
		t.Error(got)
	}
}

func FuzzScan(f *testing.F) {
	n := oletest.VBA(oletest.Module{Name: "A", Source: attributes + "Sub AutoOpen()\r\nx _\r\n= 3", Compiled: compiled(2)})
	f.Add(n.Children[0].Data, n.Children[1].Data, n.Children[2].Data)
	f.Fuzz(func(t *testing.T, module, project, dir []byte) {
		n := oletest.Node{Name: "VBA", Children: []oletest.Node{{Name: "A", Data: module}, {Name: "_VBA_PROJECT", Data: project}, {Name: "dir", Data: dir}}}
		scan(t, n, archive.NewBudget(archive.Limits{Octets: 1 << 20}, 1))
	})
}

func FuzzDecompress(f *testing.F) {
	f.Add(oletest.Compress([]byte(strings.Repeat("abcabc", 1000))))
	f.Fuzz(func(t *testing.T, in []byte) {
		b := archive.NewBudget(archive.Limits{Octets: 1 << 20}, 1)
		if out, _ := vba.Decompress(in, 1<<18, b); len(out) > 1<<18+4096 {
			t.Fatalf("%d octets", len(out))
		}
		plain, problem := vba.Decompress(oletest.Compress(in), 1<<30, archive.NewBudget(archive.Limits{}, 1<<20))
		if problem != nil || !bytes.HasPrefix(plain, in) {
			t.Fatalf("%q: %v", in, problem)
		}
	})
}
