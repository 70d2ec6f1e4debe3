package mail

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// canonicalOf makes octets such as the ingest gives: CRLF line ends, no bare CR, no NUL.
func canonicalOf(b []byte) []byte {
	b = bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n"))
	b = bytes.ReplaceAll(b, []byte("\r"), []byte(" "))
	b = bytes.ReplaceAll(b, []byte("\x00"), nil)
	return bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n"))
}

// messageLines is what random messages are made of.
var messageLines = []string{
	"", "", "--a", "--a", "--b", "--c", "--a--", "--b--", "--c--", "--ab", "--a \t", "--a--x", "-- ", "--", "text", "=41=", "QUJD", " folded",
	"Subject: x", "From a@b", "not a field", "MIME-Version: 1.0",
	"Content-Type: multipart/mixed; boundary=a", "Content-Type: multipart/mixed; boundary=b", "Content-Type: multipart/digest; boundary=c",
	"Content-Type: multipart/mixed; boundary=a(b)", "--a(b)", "--a(b)--", "Content-Type: multipart/mixed; boundary=ab c; boundary=c",
	"Content-Type: multipart/alternative; boundary=\"ab\"", "Content-Type: multipart/mixed", "Content-Type: message/rfc822",
	"Content-Type: text/html; name=x.exe", "Content-Transfer-Encoding: base64", "Content-Disposition: attachment; filename*0=\"a\"; filename*1=b",
}

// randomMessage draws a message of lines out of order: most are broken in some way.
func randomMessage(t *rapid.T) []byte {
	all := rapid.SliceOfN(rapid.SampledFrom(messageLines), 0, 60).Draw(t, "lines")
	msg := strings.Join(all, "\r\n")
	if rapid.Bool().Draw(t, "ended") {
		msg += "\r\n"
	}
	if rapid.Bool().Draw(t, "multipart") {
		msg = "Content-Type: multipart/mixed; boundary=a\r\n\r\n" + msg
	}
	return []byte(msg)
}

// randomTree draws a message with nested parts, most of them well-formed: boundaries may be used twice, or
// be the beginning of another, close delimiters and blank lines may be missing.
func randomTree(t *rapid.T) []byte {
	var b strings.Builder
	leaves := 0
	often := func(what string) bool { return rapid.IntRange(0, 9).Draw(t, what) > 0 }
	var part func(depth int)
	part = func(depth int) {
		kind := rapid.SampledFrom([]string{"text/plain", "application/x-a", "message/rfc822", "multipart/mixed", "multipart/digest"}).Draw(t, "type")
		if depth > 5 {
			kind = "text/html"
		}
		boundary := rapid.SampledFrom([]string{"a", "b", "ab", "abc", "c-", "c"}).Draw(t, "boundary")
		fmt.Fprintf(&b, "X-Depth: %d\r\nContent-Type: %s; boundary=\"%s\"\r\n", depth, kind, boundary)
		if often("blank") {
			b.WriteString("\r\n")
		}
		switch {
		case kind == "message/rfc822":
			part(depth + 1)
		case isMultipart(kind):
			if !often("no preamble") {
				b.WriteString("preamble\r\n")
			}
			for range rapid.IntRange(0, 4).Draw(t, "children") {
				fmt.Fprintf(&b, "--%s\r\n", boundary)
				part(depth + 1)
			}
			if often("closed") {
				fmt.Fprintf(&b, "--%s--\r\n", boundary)
			}
			if !often("no epilogue") {
				b.WriteString("epilogue\r\n")
			}
		default:
			leaves++
			fmt.Fprintf(&b, "leaf %d%s", leaves, rapid.SampledFrom([]string{"\r\n", "\r\n\r\n", "\r\n-- \r\n"}).Draw(t, "end"))
		}
	}
	part(0)
	return []byte(b.String())
}

// checkIndex indexes a message and compares with the same in small blocks.
func checkIndex(msg []byte, lim Limits) error {
	c := NewContent(NewBlob(msg), LineFaults{}, lim)
	defer c.Release()
	if err := checkTree(c); err != nil {
		return err
	}
	blocks := NewContent(c.Blob().Retain(), LineFaults{}, lim)
	defer blocks.Release()
	s := newScanner(bytes.NewReader(msg), int64(len(msg)))
	s.step = maxLine
	root, err := indexWith(s, blocks)
	if err != nil {
		return err
	}
	blocks.root.Store(root)
	if diff := cmp.Diff(outline(c), outline(blocks)); diff != "" {
		return fmt.Errorf("in memory and in blocks differ:\n%s", diff)
	}
	return c.Err()
}

// checkRewrite carries out edits of parts and of the header, and looks at which octets are left.
func checkRewrite(t testing.TB, msg []byte, pick func(n int) int) error {
	c := NewContent(NewBlob(msg), LineFaults{}, Limits{})
	defer c.Release()
	m, err := Rewrite(c, nil, false)
	if err != nil {
		return err
	}
	defer m.Release()
	if out, err := io.ReadAll(m.Open()); err != nil || !bytes.Equal(out, msg) {
		return fmt.Errorf("no edits, and the octets changed: %w", err)
	}
	var parts []*Part
	c.Root().Walk(func(p *Part) bool { parts = append(parts, p); return true })
	gone, noted, wider := map[*Part]bool{}, map[*Part]bool{}, map[*Part]bool{}
	var edits []Edit
	for range pick(4) {
		p := parts[pick(len(parts))]
		if p.IsLeaf() && pick(4) == 0 {
			edits = append(edits, AnnotatePart{p.Path, []AddField{{"Content-Type", "text/x-new"}}, []byte("new\r\n")})
			noted[p] = true
			continue
		}
		if pick(4) == 0 && p.Parent != nil && p.Parent.IsMultipart() && !p.unended {
			edits = append(edits, AppendPart{p.Path, []AddField{{"Content-Type", "text/x-more"}}, []byte("more\r\n")})
			wider[p] = true
			continue
		}
		gone[p] = true
		if pick(2) == 0 {
			edits = append(edits, RemovePart{p.Path})
		} else {
			edits = append(edits, ReplacePart{p.Path, []AddField{{"Content-Type", "text/x-new"}}, []byte("new\r\n")})
		}
	}
	for p := range noted {
		gone[p] = gone[p] || !wider[p]
	}
	if n := len(c.Header().Fields()); n > 0 && pick(2) == 0 {
		if n = pick(n); !contentField(c.Header().Fields()[n].Name) {
			edits = append(edits, RemoveField{n})
		}
		edits = append(edits, AddField{"X-New", "x"})
	}
	rebuild := pick(2) == 0
	m, err = Rewrite(c, edits, rebuild)
	if errors.Is(err, ErrEdit) && gone[c.Root()] && c.Header().Truncated() {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%v: %w", edits, err)
	}
	defer m.Release()
	if err := checkOctets(m, c.Root(), gone, rebuild, false); err != nil {
		return fmt.Errorf("%v: %w", edits, err)
	}
	out, err := io.ReadAll(m.Open())
	if err != nil || int64(len(out)) != m.Size() {
		return fmt.Errorf("%d octets of %d: %w", len(out), m.Size(), err)
	}
	if rebuild && !limited(c.Root()) || len(ambiguities(t, c.Root())) == 0 {
		// An edit of a message with several readings is sure to leave the rest alone in one of them only.
		if err := checkReindexed(c, out, gone); err != nil {
			return fmt.Errorf("%v: %w in %q", edits, err, out)
		}
	}
	return checkIndex(out, Limits{})
}

// checkOctets reports where octets of a part that goes are left, or those of a leaf that stays are not.
func checkOctets(m *Message, p *Part, gone map[*Part]bool, rebuild, inside bool) error {
	inside = inside || gone[p]
	kept := int64(0)
	for _, e := range m.extents {
		if e.data == nil && e.blob == nil {
			kept += max(0, min(e.off+e.n, p.End)-max(e.off, p.BodyOffset))
		}
	}
	switch {
	case inside && kept > 0:
		return fmt.Errorf("part %s goes, and %d octets of it stay", p.Path, kept)
	case !inside && !rebuild && p.IsLeaf() && kept != p.End-p.BodyOffset:
		return fmt.Errorf("part %s stays, and %d of %d octets do", p.Path, kept, p.End-p.BodyOffset)
	}
	for _, child := range p.Children {
		if err := checkOctets(m, child, gone, rebuild, inside); err != nil {
			return err
		}
	}
	return nil
}

// checkReindexed reports where the leaves that were to stay are not found in the new message, in their
// order and octet for octet.
func checkReindexed(c *Content, out []byte, gone map[*Part]bool) error {
	after := NewContent(NewBlob(out), LineFaults{}, Limits{})
	defer after.Release()
	var want, got []string
	var gather func(p *Part)
	gather = func(p *Part) {
		if gone[p] {
			return
		}
		if p.IsLeaf() {
			body, _ := io.ReadAll(p.Open())
			want = append(want, string(body))
		}
		for _, child := range p.Children {
			gather(child)
		}
	}
	gather(c.Root())
	after.Root().Walk(func(p *Part) bool {
		if body, _ := io.ReadAll(p.Open()); p.IsLeaf() {
			got = append(got, string(body))
		}
		return true
	})
	for _, leaf := range got {
		if len(want) > 0 && leaf == want[0] {
			want = want[1:]
		}
	}
	if len(want) > 0 {
		return fmt.Errorf("leaves lost: %q\nof %q", want, got)
	}
	return nil
}

// Nothing is missed where two blocks meet.
func TestIndexBlocks(t *testing.T) {
	for n := 3*maxLine - 150; n < 3*maxLine; n++ {
		msg := lines("Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("x", n) + "\n--b \n\none\n--b\n\n\n--bb\ntwo\n--b--\n")
		if err := checkIndex([]byte(msg), Limits{}); err != nil {
			t.Fatalf("%d: %v", n, err)
		}
		s := newScanner(strings.NewReader(msg), int64(len(msg)))
		s.step = 61
		if at, err := s.find([]byte("\r\n--b-"), 0, s.size); err != nil || at != int64(len(msg))-9 {
			t.Fatalf("%d: found at %d of %d, %v", n, at, len(msg), err)
		}
	}
}

func TestIndexRandom(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lim := rapid.SampledFrom([]Limits{{}, {Parts: 3}, {Depth: 1}, {PartHeaderOctets: 20}, {Fields: 1}}).Draw(t, "limits")
		if err := checkIndex(rapid.OneOf(rapid.Custom(randomMessage), rapid.Custom(randomTree)).Draw(t, "message"), lim); err != nil {
			t.Fatal(err)
		}
	})
}

// No removal is ever dropped, and nothing that stays is changed.
func TestRewriteRandom(tb *testing.T) {
	rapid.Check(tb, func(t *rapid.T) {
		msg := rapid.OneOf(rapid.Custom(randomMessage), rapid.Custom(randomTree)).Draw(t, "message")
		if err := checkRewrite(tb, msg, func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "pick") }); err != nil {
			t.Fatal(err)
		}
	})
}

// Where the header was changed, no reader finds fields in it that we did not see, though it skips what is no field.
func TestRewriteHeaderEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		msg := rapid.OneOf(rapid.Custom(randomMessage), rapid.Custom(randomTree)).Draw(t, "message")
		c := NewContent(NewBlob(msg), LineFaults{}, Limits{})
		defer c.Release()
		edits := []Edit{AddField{"X-New", "x"}}
		want := []string{"X-New"}
		for i, f := range c.Header().Fields() {
			switch {
			case rapid.IntRange(0, 3).Draw(t, "edit") > 0:
			case f.Name != "" && rapid.Bool().Draw(t, "replaced"):
				edits = append(edits, ReplaceField{i, "y"})
			default:
				edits = append(edits, RemoveField{i})
				continue
			}
			if f.Name != "" {
				want = append(want, f.Name)
			}
		}
		var got []string
		for line := range strings.SplitSeq(rewrittenOrFatal(t, c, edits), "\r\n") {
			if line == "" {
				break
			}
			if name, _, ok := strings.Cut(line, ":"); ok && nameLength([]byte(line)) > 0 && name != "X-Header-Fragment" {
				got = append(got, strings.TrimRight(name, " \t"))
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%q: -want +got\n%s", msg, diff)
		}
	})
}

func rewrittenOrFatal(t *rapid.T, c *Content, edits []Edit) string {
	m, err := Rewrite(c, edits, false)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Release()
	out, err := io.ReadAll(m.Open())
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func fuzzSeeds(f *testing.F, add func(msg []byte)) {
	add([]byte("Subject: x\r\n\r\nhello\r\n"))
	add([]byte(lines("From a@b\nContent-Type: multipart/mixed; boundary=\"b\"\n\npre\n--b\n\none\n--b\nContent-Type: message/rfc822\n\nA: b\n\nx\n--b--\nepi\n")))
	add([]byte(lines("Content-Type: multipart/digest; boundary*0=a; boundary*1=b\n\n--ab\n\nA: b\n\nx\n--ab \nno field\n--ab")))
	add([]byte(lines("Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b--\n--b--\n--b\n\nafter\n")))
	add([]byte(lines("Content-Type: text/plain; name==?utf-8?q?a=2Eexe?=; filename*=utf-8'en'%e2%82%ac; name*0=\"x\nContent-Transfer-Encoding: x-uuencode\n\nbegin 644 y\n#0V%T\nend\n")))
}

func FuzzIndex(f *testing.F) {
	fuzzSeeds(f, func(msg []byte) { f.Add(msg, uint8(0), uint8(0)) })
	f.Fuzz(func(t *testing.T, msg []byte, parts, depth uint8) {
		lim := Limits{Parts: int(parts), Depth: int(depth)}
		if err := checkIndex(canonicalOf(msg), lim); err != nil {
			t.Error(err)
		}
		c := contentOf(t, string(canonicalOf(msg)), lim)
		c.Root().Walk(func(p *Part) bool {
			readPart(t, p)
			return true
		})
	})
}

func FuzzRewrite(f *testing.F) {
	fuzzSeeds(f, func(msg []byte) { f.Add(msg, []byte{3, 1, 0, 2, 1, 1, 0}) })
	f.Fuzz(func(t *testing.T, msg, picks []byte) {
		pick := func(n int) int {
			if len(picks) == 0 {
				return 0
			}
			v := int(picks[0]) % n
			picks = slices.Clone(picks[1:])
			return v
		}
		if err := checkRewrite(t, canonicalOf(msg), pick); err != nil {
			t.Error(err)
		}
	})
}
