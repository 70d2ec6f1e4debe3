package outlook

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/ole"
)

// node is a stream or, where it has children, a storage.
type node struct {
	name     string
	content  string
	folder   bool
	children []node
}

func stream(name, content string) node { return node{name: name, content: content} }

func folder(name string, children ...node) node {
	return node{name: name, folder: true, children: children}
}

func wide(s string) []byte {
	var out []byte
	for _, u := range utf16.Encode([]rune(s)) {
		out = binary.LittleEndian.AppendUint16(out, u)
	}
	return out
}

const sector, none, end = 512, 0xffffffff, 0xfffffffe

// compoundFile is one of one storage, being written. All its streams lie in sectors of their own: a stream that would
// belong into the mini stream is told as 4096 octets.
type compoundFile struct {
	dir  []byte
	data []byte
	fat  []uint32
}

func (c *compoundFile) add(content []byte) uint32 {
	first := uint32(len(c.fat))
	for len(content) > 0 {
		n := min(sector, len(content))
		c.data = append(c.data, content[:n]...)
		c.data = append(c.data, make([]byte, sector-n)...)
		content = content[n:]
		c.fat = append(c.fat, uint32(len(c.fat)+1))
	}
	c.fat[len(c.fat)-1] = end
	return first
}

// entries writes siblings as a chain to the right, and gives the number of the first.
func (c *compoundFile) entries(nodes []node) uint32 {
	next := uint32(none)
	for i := len(nodes) - 1; i >= 0; i-- {
		n := nodes[i]
		child, kind, start, size := uint32(none), byte(2), uint32(0), 0
		if n.folder {
			kind, child = 1, c.entries(n.children)
		} else if size = len(n.content); size > 0 {
			size = max(size, 4096)
			start = c.add(append([]byte(n.content), make([]byte, size-len(n.content))...))
		}
		c.dir = append(c.dir, dirEntry(n.name, kind, next, child, start, size)...)
		next = uint32(len(c.dir)/128 - 1)
	}
	return next
}

func dirEntry(name string, kind byte, right, child, start uint32, size int) []byte {
	e := make([]byte, 128)
	binary.LittleEndian.PutUint16(e[64:], uint16(copy(e, wide(name))+2))
	e[66], e[67] = kind, 1
	for at, v := range map[int]uint32{68: none, 72: right, 76: child, 116: start, 120: uint32(size)} {
		binary.LittleEndian.PutUint32(e[at:], v)
	}
	return e
}

func file(nodes ...node) []byte {
	c := &compoundFile{dir: make([]byte, 128)}
	child := c.entries(nodes)
	copy(c.dir, dirEntry("Root Entry", 5, none, child, end, 0))
	dir := c.add(c.dir)
	table := uint32(len(c.fat))
	count := 1
	for (len(c.fat)+count)*4 > count*sector {
		count++
	}
	for range count {
		c.fat = append(c.fat, 0xfffffffd)
	}
	for len(c.fat)%128 > 0 {
		c.fat = append(c.fat, none)
	}
	head := make([]byte, sector)
	copy(head, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
	for at, v := range map[int]uint32{24: 0x0003003e, 28: 0x0009fffe, 32: 6, 44: uint32(count), 48: dir, 56: 4096, 60: end, 68: end} {
		binary.LittleEndian.PutUint32(head[at:], v)
	}
	for i := 76; i < sector; i += 4 {
		v := uint32(none)
		if n := uint32(i-76) / 4; n < uint32(count) {
			v = table + n
		}
		binary.LittleEndian.PutUint32(head[i:], v)
	}
	out := append(head, c.data...)
	for _, v := range c.fat {
		out = binary.LittleEndian.AppendUint32(out, v)
	}
	return out
}

// props gives a stream of properties that are numbers.
func props(header int, pairs ...uint32) node {
	out := make([]byte, header)
	for i := 0; i < len(pairs); i += 2 {
		out = binary.LittleEndian.AppendUint32(out, pairs[i])
		out = binary.LittleEndian.AppendUint32(out, 6)
		out = binary.LittleEndian.AppendUint32(out, pairs[i+1])
		out = binary.LittleEndian.AppendUint32(out, 0)
	}
	return stream(properties, string(out))
}

type recorder struct {
	got   []string
	signs int
	err   error
}

func (r *recorder) File(e *archive.Entry) error {
	content := "none"
	if e.File != nil {
		b, _, _ := e.File.Bytes(1 << 22)
		content = strings.TrimRight(string(b), "\x00")
	}
	r.got = append(r.got, fmt.Sprintf("%s|%s|%s|%s", strings.Join(e.Names, ","), e.Type, e.Link, content))
	return r.err
}

func (r *recorder) Sign(s archive.Sign) error {
	r.got = append(r.got, s.String())
	r.signs++
	return r.err
}

var plainAttachment = folder("__attach_version1.0_#00000000", props(8, 0x37050003, 1),
	stream("__substg1.0_3704001F", string(wide("A~1.EXE"))), stream("__substg1.0_3707001F", string(wide("a b.exe"))),
	stream("__substg1.0_370E001F", string(wide("x/y"))), stream("__substg1.0_37010102", "MZ"))

var samples = []struct {
	name string
	in   []byte
	want []string
}{
	{
		"message", file(props(32), stream("__substg1.0_1000001F", string(wide("Hellö"))), stream("__substg1.0_10130102", "<p>"),
			stream("__substg1.0_0037001F", "x"), plainAttachment),
		[]string{"|text/plain||Hellö", "|text/html||<p>", "a b.exe,A~1.EXE|x/y||MZ"},
	},
	{
		"code page", file(props(32, 0x3ffd0003, 1251), folder("__attach_version1.0_#00000000", stream("__substg1.0_3704001E", "\xe4"), stream("__substg1.0_37010102", "MZ"))),
		[]string{"д,ä,Σ|||MZ"},
	},
	{"lower case", file(folder("__ATTACH_version1.0_#00000000", stream("__SUBSTG1.0_37010102", "MZ")), props(32)), []string{"|||MZ"}},
	{
		"message in message", file(props(32), folder("__attach_version1.0_#00000000", stream("__substg1.0_3001001F", string(wide("inner"))),
			folder("__substg1.0_3701000D", props(24), stream("__substg1.0_1000001E", "Hello"), plainAttachment))),
		[]string{"inner|application/vnd.ms-outlook||none", "|text/plain||Hello", "a b.exe,A~1.EXE|x/y||MZ"},
	},
	{
		"reference", file(props(32), folder("__attach_version1.0_#00000000", props(8, 0x37050003, 4), stream("__substg1.0_370D001F", string(wide(`\\s\x.exe`))))),
		[]string{`\\s\x.exe||\\s\x.exe|none`},
	},
	{"no content", file(props(32), folder("__attach_version1.0_#00000000")), []string{"|||none"}},
	{"no message", file(stream("WordDocument", "x")), []string{"unreadable: outlook: it is no message"}},
	{"bad rtf", file(props(32), stream("__substg1.0_10090102", "x")), []string{"|text/rtf||", "unreadable: a file without a name: the compression of the rich text is not known"}},
	{"no file", []byte("x"), []string{"unreadable: outlook: ole: no compound file"}},
}

func TestWalk(t *testing.T) {
	for _, c := range samples {
		var r recorder
		if err := Walk(context.Background(), archive.NewFile(c.in), archive.NewBudget(archive.Limits{}, 1), &r); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, r.got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", c.name, diff)
		}
	}
}

type keeper struct{ files []*archive.File }

func (k *keeper) File(e *archive.Entry) error {
	b, _, err := e.File.Bytes(1 << 24)
	k.files = append(k.files, archive.NewFile(bytes.Clone(b)))
	return err
}

func (k *keeper) Sign(s archive.Sign) error { return errors.New(s.String()) }

// An object of another program comes out as a compound file that has all of it.
func TestObject(t *testing.T) {
	parts := []node{
		stream("CONTENTS", "MZ"), stream("large", strings.Repeat("large", 10000)), stream("none", ""),
		folder("inner", stream("y", strings.Repeat("y", 5000)), folder("innermost", stream("z", "z"))), folder("bare"),
	}
	for i := range 200 {
		parts = append(parts, stream(fmt.Sprint(i), strings.Repeat("s", i)))
	}
	in := file(props(32), folder("__attach_version1.0_#00000000", folder("__substg1.0_3701000D", parts...)))
	var k keeper
	if err := Walk(context.Background(), archive.NewFile(in), archive.NewBudget(archive.Limits{}, 1), &k); err != nil {
		t.Fatal(err)
	}
	root, problem, err := ole.Open(context.Background(), k.files[0])
	if len(k.files) != 1 || problem != nil || err != nil {
		t.Fatal(len(k.files), problem, err)
	}
	compare(t, parts, root)
}

func compare(t *testing.T, want []node, got *ole.Storage) {
	t.Helper()
	streams := 0
	for _, n := range want {
		if n.folder {
			if s := got.Storage(n.name); s == nil {
				t.Errorf("no storage %s", n.name)
			} else {
				compare(t, n.children, s)
			}
			continue
		}
		streams++
		s := got.Stream(n.name)
		if s == nil {
			t.Errorf("no stream %s", n.name)
			continue
		}
		f, problem := s.File()
		if problem != nil {
			t.Error(problem)
		}
		b, _, err := f.Bytes(1 << 20)
		if err != nil || strings.TrimRight(string(b), "\x00") != n.content {
			t.Errorf("%s: %d octets, %v", n.name, len(b), err)
		}
	}
	if streams != len(got.Streams) {
		t.Errorf("%d streams and not %d", len(got.Streams), streams)
	}
}

func TestWalkLimits(t *testing.T) {
	deep := []node{plainAttachment}
	for range 10 {
		deep = []node{folder("__attach_version1.0_#00000000", folder("__substg1.0_3701000D", append(deep, props(24))...))}
	}
	in := file(append(deep, props(32))...)
	for _, c := range []struct {
		limits archive.Limits
		want   string
	}{
		{archive.Limits{}, "bomb: more than 5 containers inside one another"},
		{archive.Limits{Files: 2}, "bomb: more than 2 files in containers"},
		{archive.Limits{Depth: 20, Octets: 100}, "bomb: more than 100 octets unpacked"},
	} {
		var r recorder
		b := archive.NewBudget(c.limits, 1)
		if err := Walk(context.Background(), archive.NewFile(in), b, &r); err != nil {
			t.Fatal(err)
		}
		if got := r.got[len(r.got)-1]; got != c.want {
			t.Errorf("got %q", r.got)
		}
	}
	mine := errors.New("mine")
	if err := Walk(context.Background(), archive.NewFile(in), archive.NewBudget(archive.Limits{}, 1), &recorder{err: mine}); err != mine {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Walk(ctx, archive.NewFile(in), archive.NewBudget(archive.Limits{}, 1), &recorder{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func FuzzWalk(f *testing.F) {
	for _, c := range samples {
		f.Add(c.in)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		b := archive.NewBudget(archive.Limits{Octets: 1 << 20, Files: 50}, int64(len(in)))
		var r recorder
		if err := Walk(context.Background(), archive.NewFile(bytes.Clone(in)), b, &r); err != nil {
			t.Fatal(err)
		}
		if len(r.got) > 50+17 {
			t.Fatal(len(r.got))
		}
	})
}
