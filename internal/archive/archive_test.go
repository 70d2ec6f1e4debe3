package archive

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
)

func TestBudget(t *testing.T) {
	b := NewBudget(Limits{Depth: 1, Files: 2, Octets: 100}, 10)
	if err := b.Enter(); err != nil {
		t.Fatal(err)
	}
	var spent *ErrBudget
	if err := b.Enter(); !errors.As(err, &spent) {
		t.Fatalf("the second level: %v", err)
	}
	if b.Reached() != Depth {
		t.Fatalf("reached %v", b.Reached())
	}
	b.Leave()
	if err := b.Enter(); err != nil {
		t.Fatalf("a neighbour on the first level: %v", err)
	}
	for i := range 3 {
		if err := b.Entry(); (err != nil) != (i == 2) {
			t.Fatalf("file %d: %v", i, err)
		}
	}
	if err := b.Spend(1); !errors.As(err, &spent) {
		t.Fatalf("after the files ran out: %v", err)
	}
	if b.Reached() != Depth|Files {
		t.Fatalf("reached %v", b.Reached())
	}
}

func TestBudgetRatio(t *testing.T) {
	b := NewBudget(Limits{Ratio: 10, Octets: 1 << 40}, 1<<20)
	if err := b.Spend(ratioFloor); err != nil {
		t.Fatalf("64 MiB are allowed whatever the ratio: %v", err)
	}
	if err := b.Spend(1 << 20); err == nil {
		t.Fatal("a ratio of 65 is allowed")
	}
	if b.Reached() != Ratio {
		t.Fatalf("reached %v", b.Reached())
	}
}

func TestSpool(t *testing.T) {
	dir := t.TempDir()
	for _, size := range []int{0, 1, memory, memory + 1, 3 * memory} {
		want := bytes.Repeat([]byte("x"), size)
		f, problem, err := Spool(context.Background(), bytes.NewReader(want), NewBudget(Limits{Dir: dir}, 1))
		if err != nil || problem != nil {
			t.Fatal(problem, err)
		}
		got, err := io.ReadAll(f.Reader())
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d octets: got %d, %v", size, len(got), err)
		}
		if names, _ := os.ReadDir(dir); len(names) > 0 {
			t.Fatalf("%d octets: the file has a name", size)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSpoolProblem(t *testing.T) {
	f, problem, err := Spool(context.Background(), io.MultiReader(strings.NewReader("ab"), errReader{}), NewBudget(Limits{}, 1))
	if err != nil || !errors.Is(problem, errBroken) || f.Size() != 2 {
		t.Fatal(f, problem, err)
	}
	f, problem, err = Spool(context.Background(), strings.NewReader("abc"), NewBudget(Limits{Octets: 2}, 1))
	var spent *ErrBudget
	if err != nil || !errors.As(problem, &spent) || f.Size() != 0 {
		t.Fatal(f, problem, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := Spool(ctx, strings.NewReader("abc"), NewBudget(Limits{}, 1)); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

var errBroken = errors.New("broken")

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errBroken }

func TestSection(t *testing.T) {
	for _, f := range []*File{NewFile([]byte("0123456789")), FileAt(strings.NewReader("0123456789xxx"), 10)} {
		s := f.Section(3, 4)
		if b, ok, err := s.Bytes(4); string(b) != "3456" || !ok || err != nil {
			t.Fatalf("%q %v %v", b, ok, err)
		}
		if b, err := f.Section(8, 100).Head(100); string(b) != "89" || err != nil {
			t.Fatalf("%q %v", b, err)
		}
		if n, err := s.ReadAt(make([]byte, 9), 2); n != 2 || err != io.EOF {
			t.Fatal(n, err)
		}
	}
}

// A disk that takes nothing is no fault of the content: there is no file then, and an error, never a short one.
func TestSpoolDisk(t *testing.T) {
	b := NewBudget(Limits{Dir: t.TempDir() + "/missing"}, 1)
	f, problem, err := Spool(context.Background(), bytes.NewReader(make([]byte, memory+1)), b)
	var path *os.PathError
	if f != nil || problem != nil || !errors.As(err, &path) {
		t.Fatal(f, problem, err)
	}
}
