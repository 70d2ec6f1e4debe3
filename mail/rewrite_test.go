package mail

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func rewritten(t testing.TB, c *Content, edits ...Edit) (string, error) {
	t.Helper()
	m, err := Rewrite(c, edits, false)
	if err != nil {
		return "", err
	}
	defer m.Release()
	var b bytes.Buffer
	if _, err := m.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return newBoundaries.ReplaceAllString(b.String(), "=_NEW"), nil
}

const (
	rewriteHead = "Subject: s\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n"
	emptyType   = "Content-Type: text/plain; charset=us-ascii\n"
)

func TestRewrite(t *testing.T) {
	const two = rewriteHead + "pre\n--b\n\none\n--b\n\ntwo\n--b--\nepi\n"
	const cut = rewriteHead + "--b\nContent-Type: multipart/mixed; boundary=c\n\n--c\n\none\n--c\n\ntwo\n--b\n\nout\n--b--\n"
	const embedded = rewriteHead + "--b\nContent-Type: message/rfc822\n\nFrom: a@b\nContent-Type: text/html\nX: y\nContent-Language: de\n\nhello\n--b--\n"
	notice := func(path string) ReplacePart {
		return ReplacePart{Path: path, Header: []AddField{{"Content-Type", "text/plain"}}, Body: []byte("gone\r\n")}
	}
	note := func(path string) AnnotatePart {
		return AnnotatePart{Path: path, Header: []AddField{{"Content-Type", "text/plain"}}, Body: []byte("note\r\n")}
	}
	tests := []struct {
		name, msg string
		edits     []Edit
		want      string
	}{
		{"nothing", two, nil, two},
		{"add on top, first is topmost", "A: 1\n\nx\n", []Edit{AddField{"X", "1"}, AddField{"Y", "2\r\n 3"}}, "X: 1\nY: 2\n 3\nA: 1\n\nx\n"},
		{"add a field folded at once", "A: 1\n\nx\n", []Edit{AddField{"X", "\r\n 1"}}, "X:\n 1\nA: 1\n\nx\n"},
		{"add to no header", "\nx\n", []Edit{AddField{"X", "1"}}, "X: 1\n\nx\n"},
		{"add to nothing", "", []Edit{AddField{"X", "1"}}, "X: 1\n"},
		{"add above a continuation of nothing", " evil\nA: 1\n\nx\n", []Edit{AddField{"X", "1"}}, "X: 1\nX-Header-Fragment:\n evil\nA: 1\n\nx\n"},
		{"add between an mbox line and a continuation of nothing", "From a@b\n evil\n more\nA: 1\n\nx\n", []Edit{AddField{"X", "1"}}, "From a@b\nX: 1\nX-Header-Fragment:\n evil\n more\nA: 1\n\nx\n"},
		{"add where it goes", "From a@b\n evil\nA: 1\n\nx\n", []Edit{AddField{"X", "1"}, RemoveField{1}}, "From a@b\nX: 1\nA: 1\n\nx\n"},
		{"add where the mbox line goes", "From a@b\n evil\nA: 1\n\nx\n", []Edit{AddField{"X", "1"}, RemoveField{0}}, "X: 1\nX-Header-Fragment:\n evil\nA: 1\n\nx\n"},
		{"add below an mbox line", "From a@b\nA: 1\n\nx\n", []Edit{AddField{"X", "1"}}, "From a@b\nX: 1\nA: 1\n\nx\n"},
		{"add to a header without its blank line", "A: 1\njunk\nB: 2\n", []Edit{AddField{"X", "1"}}, "X: 1\nA: 1\n\njunk\nB: 2\n"},
		{"add to junk", "junk\nB: 2\n", []Edit{AddField{"X", "1"}}, "X: 1\n\njunk\nB: 2\n"},
		{"add to a header that is all", "A: 1\n", []Edit{AddField{"X", "1"}}, "X: 1\nA: 1\n"},
		{"remove the field before junk", "A: 1\nB: 2\njunk\nC: 3\n", []Edit{RemoveField{1}}, "A: 1\n\njunk\nC: 3\n"},
		{"replace the field before junk", "A: 1\njunk\nC: 3\n", []Edit{ReplaceField{0, "2"}}, "A: 2\n\njunk\nC: 3\n"},
		{
			"add a field and remove a part behind a header without its blank line", "Content-Type: multipart/mixed; boundary=b\n--b\n\none\n--b\n\ntwo\n--b--\n",
			[]Edit{AddField{"X", "1"}, RemovePart{"2"}},
			"X: 1\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b--\n",
		},
		{
			"add a field and remove the root of a message without a blank line", "A: 1\njunk\nB: 2\n",
			[]Edit{AddField{"X", "1"}, RemovePart{"0"}},
			"X: 1\nA: 1\n" + emptyType + "MIME-Version: 1.0\n\n",
		},
		{"remove a field", "A: 1\nB: 2\n 3\nC: 4\n\nx\n", []Edit{RemoveField{1}}, "A: 1\nC: 4\n\nx\n"},
		{"replace a field", "A: 1\nb : 2\n 3\nC: 4\n\nx\n", []Edit{ReplaceField{1, "new"}}, "A: 1\nb: new\nC: 4\n\nx\n"},
		{"removal of a field beats its replacement", "A: 1\nB: 2\n\nx\n", []Edit{ReplaceField{1, "a"}, RemoveField{1}, ReplaceField{1, "b"}}, "A: 1\n\nx\n"},
		{"first replacement of a field stands", "A: 1\n\nx\n", []Edit{ReplaceField{0, "a"}, ReplaceField{0, "b"}}, "A: a\n\nx\n"},
		{"remove the first field and add", "A: 1\nB: 2\n\nx\n", []Edit{RemoveField{0}, AddField{"X", "y"}}, "X: y\nB: 2\n\nx\n"},
		{"remove the first part", two, []Edit{RemovePart{"1"}}, rewriteHead + "pre\n--b\n\ntwo\n--b--\nepi\n"},
		{"remove the last part", two, []Edit{RemovePart{"2"}}, rewriteHead + "pre\n--b\n\none\n--b--\nepi\n"},
		{"remove all parts", two, []Edit{RemovePart{"2"}, RemovePart{"1"}}, rewriteHead + "pre\n--b\n" + emptyType + "\n\n--b--\nepi\n"},
		{"replace a part", two, []Edit{notice("2")}, rewriteHead + "pre\n--b\n\none\n--b\nContent-Type: text/plain\n\ngone\n\n--b--\nepi\n"},
		{
			"append two parts to one", two,
			[]Edit{AppendPart{"1", []AddField{{"Content-Type", "text/x"}}, []byte("more")}, AppendPart{"1", nil, []byte("most")}},
			rewriteHead + "pre\n--b\nContent-Type: multipart/mixed;\n\tboundary=\"=_NEW.m\"\n\n--=_NEW.m\n\none\n--=_NEW.m\nContent-Type: text/x\n\nmore\n--=_NEW.m\n\nmost\n--=_NEW.m--\n--b\n\ntwo\n--b--\nepi\n",
		},
		{"append to a part that goes", two, []Edit{AppendPart{Path: "1"}, RemovePart{"1"}}, rewriteHead + "pre\n--b\n\ntwo\n--b--\nepi\n"},
		{"replace one, remove the other", two, []Edit{notice("2"), RemovePart{"1"}}, rewriteHead + "pre\n--b\nContent-Type: text/plain\n\ngone\n\n--b--\nepi\n"},
		{"removal beats replacement", two, []Edit{notice("2"), RemovePart{"2"}}, rewriteHead + "pre\n--b\n\none\n--b--\nepi\n"},
		{"first replacement stands", two, []Edit{notice("2"), ReplacePart{Path: "2"}}, rewriteHead + "pre\n--b\n\none\n--b\nContent-Type: text/plain\n\ngone\n\n--b--\nepi\n"},
		{"annotation", two, []Edit{note("2")}, rewriteHead + "pre\n--b\n\none\n--b\nContent-Type: text/plain\n\nnote\n\n--b--\nepi\n"},
		{"annotation of the root", "A: 1\nContent-Type: text/html\n\nx\n", []Edit{note("0")}, "A: 1\nContent-Type: text/plain\nMIME-Version: 1.0\n\nnote\n"},
		{"first annotation stands", two, []Edit{note("2"), AnnotatePart{Path: "2"}}, rewriteHead + "pre\n--b\n\none\n--b\nContent-Type: text/plain\n\nnote\n\n--b--\nepi\n"},
		{"a later replacement beats annotation", two, []Edit{note("2"), notice("2")}, rewriteHead + "pre\n--b\n\none\n--b\nContent-Type: text/plain\n\ngone\n\n--b--\nepi\n"},
		{"an earlier replacement beats annotation", two, []Edit{notice("2"), note("2")}, rewriteHead + "pre\n--b\n\none\n--b\nContent-Type: text/plain\n\ngone\n\n--b--\nepi\n"},
		{"removal beats annotation", two, []Edit{note("2"), RemovePart{"2"}}, rewriteHead + "pre\n--b\n\none\n--b--\nepi\n"},
		{"removal around it beats annotation", cut, []Edit{note("1.1"), RemovePart{"1"}}, rewriteHead + "--b\n\nout\n--b--\n"},
		{
			"a part put behind it beats annotation", two,
			[]Edit{note("1"), AppendPart{Path: "1", Body: []byte("more\r\n")}, RemovePart{"2"}},
			rewriteHead + "pre\n--b\nContent-Type: multipart/mixed;\n\tboundary=\"=_NEW.m\"\n\n--=_NEW.m\n\none\n--=_NEW.m\n\nmore\n\n--=_NEW.m--\n--b--\nepi\n",
		},
		{
			"edits within a removed part go with it", cut,
			[]Edit{notice("1.1"), RemovePart{"1.2"}, RemovePart{"1"}},
			rewriteHead + "--b\n\nout\n--b--\n",
		},
		{
			"remove the last part of a multipart cut short", cut,
			[]Edit{RemovePart{"1.2"}},
			rewriteHead + "--b\nContent-Type: multipart/mixed; boundary=c\n\n--c\n\none\n--c--\n--b\n\nout\n--b--\n",
		},
		{
			"replace the last part of a multipart cut short", cut,
			[]Edit{notice("1.2")},
			rewriteHead + "--b\nContent-Type: multipart/mixed; boundary=c\n\n--c\n\none\n--c\nContent-Type: text/plain\n\ngone\n\n--b\n\nout\n--b--\n",
		},
		{
			"remove the last part of a message cut short", rewriteHead + "--b\n\none\n--b\n\ntwo\n",
			[]Edit{RemovePart{"2"}},
			rewriteHead + "--b\n\none\n--b--\n",
		},
		{
			"replace the last part of a message cut short in the delimiter", strings.TrimSuffix(rewriteHead+"--b\n\none\n--b\n", "\n"),
			[]Edit{notice("2")},
			rewriteHead + "--b\n\none\n--b\nContent-Type: text/plain\n\ngone\n",
		},
		{
			"remove the last part of a message cut short in the delimiter", strings.TrimSuffix(rewriteHead+"--b\n\none\n--b\n", "\n"),
			[]Edit{RemovePart{"2"}},
			rewriteHead + "--b\n\none\n--b--\n",
		},
		{
			"replace a part without a line end of its own", rewriteHead + "--b\n--b--\n",
			[]Edit{notice("1")},
			rewriteHead + "--b\nContent-Type: text/plain\n\ngone\n\n--b--\n",
		},
		{
			"replace the root", "A: 1\nContent-Type: text/html\nMIME-Version: 1.0\nContent-Disposition: attachment;\n filename=x\nB: 2\n\nevil\n",
			[]Edit{notice("0")},
			"A: 1\nContent-Type: text/plain\nMIME-Version: 1.0\nB: 2\n\ngone\n",
		},
		{
			"remove the root", "A: 1\n\nevil\n",
			[]Edit{RemovePart{"0"}},
			"A: 1\n" + emptyType + "MIME-Version: 1.0\n\n",
		},
		{
			"remove the root of a message without header", "\nevil\n",
			[]Edit{RemovePart{"0"}},
			emptyType + "MIME-Version: 1.0\n\n",
		},
		{
			"remove the root with edits of its fields", "A: 1\nContent-Type: text/html\nB: 2\n\nevil\n",
			[]Edit{AddField{"X", "y"}, AddField{"Content-Type", "evil/evil"}, ReplaceField{1, "evil/evil"}, RemoveField{2}, RemovePart{"0"}},
			"X: y\nA: 1\n" + emptyType + "MIME-Version: 1.0\n\n",
		},
		{
			"remove the root whose last field has no line end", "A: 1",
			[]Edit{RemovePart{"0"}},
			"A: 1\n" + emptyType + "MIME-Version: 1.0\n\n",
		},
		{
			"remove an embedded message", embedded,
			[]Edit{RemovePart{"1.0"}},
			rewriteHead + "--b\nContent-Type: message/rfc822\n\nFrom: a@b\n" + emptyType + "MIME-Version: 1.0\nX: y\n\n\n--b--\n",
		},
		{
			"remove an embedded message behind a header without its blank line",
			rewriteHead + "--b\nContent-Type: message/rfc822\nno field\nSubject: in\n--b--\n",
			[]Edit{RemovePart{"1.0"}},
			rewriteHead + "--b\nContent-Type: message/rfc822\n\n" + emptyType + "MIME-Version: 1.0\n\n\n--b--\n",
		},
		{
			"remove a part behind a header without its blank line", "Content-Type: multipart/mixed; boundary=b\n--b\n\none\n--b\n\ntwo\n--b--\n",
			[]Edit{RemovePart{"2"}},
			"Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b--\n",
		},
		{
			"a new body with a delimiter line is encoded", two,
			[]Edit{ReplacePart{Path: "2", Header: []AddField{{"Content-Type", "text/plain"}, {"content-transfer-encoding", " 8BIT"}}, Body: []byte("x\r\n--b--\r\n")}},
			rewriteHead + "pre\n--b\n\none\n--b\nContent-Type: text/plain\nContent-Transfer-Encoding: base64\n\neA0KLS1iLS0NCg==\n\n--b--\nepi\n",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := contentOf(t, lines(test.msg), Limits{})
			got, err := rewritten(t, c, test.edits...)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(lines(test.want), got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

func TestRewriteRefuses(t *testing.T) {
	msg := lines(" orphan\n" + rewriteHead + "--b\n\none\n--b--\n")
	tests := []struct {
		name string
		edit Edit
	}{
		{"no such part", RemovePart{"2"}},
		{"empty path", RemovePart{""}},
		{"no such part to replace", ReplacePart{Path: "1.1"}},
		{"no such part to annotate", AnnotatePart{Path: "1.1"}},
		{"no leaf to annotate", AnnotatePart{Path: "0"}},
		{"annotation with a bare LF", AnnotatePart{Path: "1", Body: []byte("a\nb")}},
		{"no such field", RemoveField{9}},
		{"negative field", RemoveField{-1}},
		{"no such field to replace", ReplaceField{9, "x"}},
		{"malformed field to replace", ReplaceField{0, "x"}},
		{"no name", AddField{"", "x"}},
		{"name with a colon", AddField{"A: b", "x"}},
		{"name with a line end", AddField{"A\r\nB", "x"}},
		{"name with a blank", AddField{"A ", "x"}},
		{"injected field", AddField{"A", "x\r\nBcc: y"}},
		{"injected end of the header", AddField{"A", "x\r\n\r\ny"}},
		{"line end at the end", AddField{"A", "x\r\n"}},
		{"folded line of blanks", AddField{"A", "x\r\n \t\r\n y"}},
		{"bare LF", AddField{"A", "x\n y"}},
		{"bare CR", ReplaceField{1, "x\r y"}},
		{"NUL", AddField{"A", "x\x00"}},
		{"part header of other fields", ReplacePart{Path: "1", Header: []AddField{{"Subject", "x"}}}},
		{"part header with an injected field", ReplacePart{Path: "1", Header: []AddField{{"Content-Type", "x\r\nB: c"}}}},
		{"body with a bare LF", ReplacePart{Path: "1", Body: []byte("a\nb")}},
		{"body with a bare CR", ReplacePart{Path: "1", Body: []byte("a\rb\r\n")}},
		{"body with NUL", ReplacePart{Path: "1", Body: []byte{0}}},
		{"encoded body with a delimiter line", ReplacePart{
			Path: "1", Header: []AddField{{"Content-Transfer-Encoding", "Quoted-Printable"}}, Body: []byte("--b\r\n"),
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := contentOf(t, msg, Limits{})
			if got, err := rewritten(t, c, AddField{"X", "y"}, test.edit); !errors.Is(err, ErrEdit) {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
	t.Run("root whose header was cut", func(t *testing.T) {
		c := contentOf(t, msg, Limits{Fields: 2})
		if _, err := rewritten(t, c, RemovePart{"0"}); !errors.Is(err, ErrEdit) {
			t.Error(err)
		}
	})
}

func TestRewriteReadError(t *testing.T) {
	c := NewContent(NewBlob([]byte("A: b\r\n\r\nx\r\n")), LineFaults{}, Limits{})
	c.Release()
	for _, e := range []Edit{RemovePart{"1"}, AddField{"A", "b"}, RemoveField{0}} {
		if _, err := Rewrite(c, []Edit{e}, false); !errors.Is(err, ErrReleased) || errors.Is(err, ErrEdit) {
			t.Errorf("%s: %v", e, err)
		}
	}
}

func readPart(t testing.TB, p *Part) string {
	t.Helper()
	b, err := io.ReadAll(p.Open())
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
