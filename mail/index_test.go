package mail

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// lines makes a message of lines written with LF.
func lines(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

func contentOf(t testing.TB, msg string, lim Limits) *Content {
	t.Helper()
	c := NewContent(NewBlob([]byte(msg)), LineFaults{}, lim)
	t.Cleanup(c.Release)
	return c
}

// outline writes a tree one part a line: path, type, body, names, defects.
func outline(c *Content) string {
	var b strings.Builder
	mem, _ := c.Blob().Bytes()
	c.Root().Walk(func(p *Part) bool {
		fmt.Fprintf(&b, "%s %s", p.Path, p.Type)
		if p.IsLeaf() {
			fmt.Fprintf(&b, " %q", mem[p.BodyOffset:p.End])
		}
		for _, n := range p.Names {
			fmt.Fprintf(&b, " name=%q", n)
		}
		for _, d := range p.Defects {
			fmt.Fprintf(&b, " !%s", d.Kind)
		}
		b.WriteByte('\n')
		return true
	})
	return b.String()
}

func TestIsLimit(t *testing.T) {
	for kind, want := range map[DefectKind]bool{LimitHeader: true, LimitParts: true, LimitDepth: true, LimitParameters: true, NoParts: false, "": false} {
		if kind.IsLimit() != want {
			t.Errorf("%q: %v", kind, !want)
		}
	}
}

func TestIndex(t *testing.T) {
	const mixed = "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n"
	tests := []struct {
		name, msg, want string
		lim             Limits
	}{
		{name: "empty", msg: "", want: `0 text/plain ""`},
		{name: "only a blank line", msg: "\n", want: `0 text/plain ""`},
		{name: "no header", msg: "\nhello\n", want: `0 text/plain "hello\r\n"`},
		{name: "plain", msg: "Subject: x\n\nhello\n", want: `0 text/plain "hello\r\n"`},
		{name: "no blank line", msg: "Subject: x\nhello\nA: b\n", want: `0 text/plain "hello\r\nA: b\r\n" !no-blank-line`},
		{name: "mbox line", msg: "From a@b now\nSubject: x\n\nhello\n", want: `0 text/plain "hello\r\n" !mbox-from`},
		{name: "malformed field", msg: "Subject: x\nhello\n\nbody\n", want: `0 text/plain "body\r\n" !malformed-field`},
		{name: "blank before colon", msg: "Subject : x\n\nbody\n", want: `0 text/plain "body\r\n" !blank-before-colon`},
		{
			name: "two parts with preamble and epilogue",
			msg:  mixed + "pre\n--b\n\none\n--b\nContent-Type: text/html\n\ntwo\n\n--b--\nepi\n",
			want: "0 multipart/mixed\n1 text/plain \"one\"\n2 text/html \"two\\r\\n\"",
		},
		{name: "no preamble", msg: mixed + "--b\n\none\n--b--\n", want: "0 multipart/mixed\n1 text/plain \"one\""},
		{
			name: "empty parts", msg: mixed + "--b\n--b\n\n--b\nContent-Type: text/html\n--b--\n",
			want: "0 multipart/mixed\n1 text/plain \"\"\n2 text/plain \"\"\n3 text/html \"\"",
		},
		{
			name: "no closing boundary", msg: mixed + "--b\n\none\n",
			want: "0 multipart/mixed !no-closing-boundary\n1 text/plain \"one\\r\\n\"",
		},
		{
			name: "content ends in the delimiter", msg: mixed + "--b\n\none\n--b",
			want: "0 multipart/mixed !no-closing-boundary\n1 text/plain \"one\"\n2 text/plain \"\"",
		},
		{name: "no parts", msg: mixed + "text\n", want: `0 multipart/mixed "text\r\n" !no-parts`},
		{
			name: "no boundary", msg: "MIME-Version: 1\nContent-Type: multipart/mixed\n\n--b\n\nx\n--b--\n",
			want: `0 multipart/mixed "--b\r\n\r\nx\r\n--b--\r\n" !no-boundary`,
		},
		{
			name: "blanks after the boundary", msg: mixed + "--b \t\n\none\n--b--  \n",
			want: "0 multipart/mixed !blanks-after-boundary\n1 text/plain \"one\"",
		},
		{
			name: "a line that begins like a delimiter", msg: mixed + "--b\n\none\n--bb\ntwo\n--b--x\n--b--\n",
			want: "0 multipart/mixed !boundary-prefix !parts-after-close\n1 text/plain \"one\"\n2 text/plain \"two\" !no-blank-line",
		},
		{
			name: "an inner boundary that begins like the outer one",
			msg:  mixed + "--b\nContent-Type: multipart/related; boundary=bb\n\n--bb\n\nin\n--bb--\n--b\n\nout\n--b--\n",
			want: "0 multipart/mixed\n1 multipart/related\n1.1 text/plain \"in\"\n2 text/plain \"out\"",
		},
		{
			name: "parts after the close delimiter", msg: mixed + "--b\n\none\n--b--\n--b\n\ntwo\n--b--\n",
			want: "0 multipart/mixed !parts-after-close\n1 text/plain \"one\"\n2 text/plain \"two\"",
		},
		{
			name: "an outer boundary ends the inner parts",
			msg:  mixed + "--b\nContent-Type: multipart/related; boundary=c\n\n--c\n\nin\n--b\n\nout\n--b--\n",
			want: "0 multipart/mixed\n1 multipart/related !no-closing-boundary\n1.1 text/plain \"in\"\n2 text/plain \"out\"",
		},
		{
			name: "a boundary used twice",
			msg:  mixed + "--b\nContent-Type: multipart/related; boundary=b\n\n--b\n\nin\n--b--\n--b\n\nout\n--b--\n",
			want: "0 multipart/mixed\n1 multipart/related !boundary-reused\n1.1 text/plain \"in\"\n2 text/plain \"out\"",
		},
		{
			name: "part header without blank line", msg: mixed + "--b\nContent-Type: text/html\nbody\n--b--\n",
			want: "0 multipart/mixed\n1 text/html \"body\" !no-blank-line",
		},
		{
			name: "embedded message",
			msg: mixed + "--b\nContent-Type: message/rfc822\n\nSubject: in\nContent-Type: multipart/mixed; boundary=c\n\n" +
				"--c\n\none\n--c\nContent-Type: message/rfc822\n\n\ntwo\n--c--\n--b--\n",
			want: "0 multipart/mixed\n1 message/rfc822\n1.0 multipart/mixed\n1.1 text/plain \"one\"\n1.2 message/rfc822\n1.2.0 text/plain \"two\"",
		},
		{
			name: "message in message in message",
			msg:  "MIME-Version: 1.0\nContent-Type: message/rfc822\n\nContent-Type: message/rfc822\n\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b--\n",
			want: "0 message/rfc822\n0.0 message/rfc822\n0.0.0 multipart/mixed\n0.0.1 text/plain \"x\"",
		},
		{
			name: "encoded message", msg: mixed + "--b\nContent-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nQQ==\n--b--\n",
			want: "0 multipart/mixed\n1 message/rfc822 \"QQ==\" !encoded-message",
		},
		{
			name: "encoded multipart",
			msg:  "MIME-Version: 1.0\nContent-Transfer-Encoding: base64\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b--\n",
			want: "0 multipart/mixed !encoded-multipart\n1 text/plain \"x\"",
		},
		{
			name: "digest", msg: "MIME-Version: 1.0\nContent-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: x\n\nhello\n--b--\n",
			want: "0 multipart/digest\n1 message/rfc822\n1.0 text/plain \"hello\"",
		},
		{
			name: "odd boundary parameters", msg: "MIME-Version: 1.0\nContent-type : MULTIPART/Mixed boundary = =_x/(y)?=; type=a\n\n--=_x/(y)?=\n\nx\n--=_x/(y)?=--\n",
			want: "0 multipart/mixed !blank-before-colon !bad-parameter\n1 text/plain \"x\"",
		},
		{
			name: "comment behind the boundary", msg: "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b(z;)\n\n--b(z;)\n--b\n\nx\n--b--\n",
			want: "0 multipart/mixed !several-boundaries !boundary-prefix\n1 text/plain \"\"\n2 text/plain \"x\"",
		},
		{
			name: "comment that is none behind the boundary", msg: "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b(z)\n\n--b(z)\n\nx\n--b(z)--\n",
			want: "0 multipart/mixed !several-boundaries\n1 text/plain \"x\"",
		},
		{
			name: "comments all around the boundary", msg: "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=(x)b (y)\n\n--b\n\nx\n--b--\n",
			want: "0 multipart/mixed !several-boundaries\n1 text/plain \"x\"",
		},
		{
			name: "blanks that belong to the boundary", msg: "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=a b\n\n--a b\n\nx\n--a b--\n",
			want: "0 multipart/mixed !bad-parameter !several-boundaries\n1 text/plain \"x\"",
		},
		{
			name: "boundary given twice, the second one meant", msg: "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=a; boundary=b\n\n--b\n\nx\n--b--\n",
			want: "0 multipart/mixed !duplicate-parameter !several-boundaries\n1 text/plain \"x\"",
		},
		{
			name: "other boundaries inside each other",
			msg: "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"a\"b\n\n--ab\nContent-Type: multipart/mixed; boundary=c/d\n\n" +
				"--c\nContent-Type: text/html\n\nx\n--c--\n--ab--\n",
			want: "0 multipart/mixed !bad-parameter !several-boundaries\n1 multipart/mixed !bad-parameter !several-boundaries\n1.1 text/html \"x\"",
		},
		{
			name: "no reading of the boundary finds anything", msg: "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=a/b\n\nx\n",
			want: `0 multipart/mixed "x\r\n" !bad-parameter !several-boundaries !no-parts`,
		},
		{
			name: "extended boundary parameter", msg: "MIME-Version: 1.0\nContent-type: multipart/mixed; boundary*0=\"a b\"; boundary*1*=%63\n\n--a bc\n\nx\n--a bc--\n",
			want: "0 multipart/mixed !several-boundaries\n1 text/plain \"x\"",
		},
		{
			name: "duplicate content type", msg: "MIME-Version: 1.0\nContent-Type: text/html\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b--\n",
			want: "0 multipart/mixed !duplicate-content-field\n1 text/plain \"x\"",
		},
		{
			name: "no MIME version", msg: "Content-Type: text/html\n\nx\n", want: `0 text/html "x\r\n" !no-mime-version`,
		},
		{
			name: "bad content type", msg: "MIME-Version: 1.0\nContent-Type: text\n\nx\n", want: `0 text/plain "x\r\n" !bad-content-type`,
		},
		{
			name: "limit of parts", lim: Limits{Parts: 3}, msg: mixed + "--b\n\none\n--b\n\ntwo\n--b\n\nthree\n--b--\n",
			want: "0 multipart/mixed !limit-parts\n1 text/plain \"one\"\n2 text/plain \"two\"",
		},
		{
			name: "limit of depth", lim: Limits{Depth: 1},
			msg:  mixed + "--b\nContent-Type: multipart/related; boundary=c\n\n--c\n\nin\n--c--\n--b\n\nout\n--b--\n",
			want: "0 multipart/mixed\n1 multipart/related \"--c\\r\\n\\r\\nin\\r\\n--c--\" !limit-depth\n2 text/plain \"out\"",
		},
		{
			name: "limit of the message's header", lim: Limits{HeaderOctets: 20}, msg: mixed + "--b\n\nx\n--b--\n",
			want: `0 text/plain "--b\r\n\r\nx\r\n--b--\r\n" !limit-header`,
		},
		{
			name: "limit of a part's header", lim: Limits{PartHeaderOctets: 30},
			msg:  mixed + "--b\nContent-Type: text/html\nX-A: 1234567890\nX-B: 1234567890\n\none\n--b\n\ntwo\n--b--\n",
			want: "0 multipart/mixed\n1 text/html \"one\" !limit-header\n2 text/plain \"two\"",
		},
		{
			name: "limit of an embedded message's header", lim: Limits{HeaderOctets: 80, PartHeaderOctets: 40},
			msg: mixed + "--b\nContent-Type: message/rfc822\n\nSubject: 1234567890\nContent-Type: text/html\n\none\n--b\n" +
				"Content-Type: message/rfc822\n\nSubject: 1234567890\nX-A: 1234567890\nX-B: 1234567890\nContent-Type: text/html\n\ntwo\n--b--\n",
			want: "0 multipart/mixed\n1 message/rfc822\n1.0 text/html \"one\"\n2 message/rfc822\n2.0 text/html \"two\" !limit-header",
		},
		{
			name: "limit of fields", lim: Limits{Fields: 2}, msg: mixed + "--b\nA: 1\nB: 2\nC: 3\n--b\n\ntwo\n--b--\n",
			want: "0 multipart/mixed\n1 text/plain \"\" !limit-header\n2 text/plain \"two\"",
		},
		{
			name: "uuencoded name", msg: "MIME-Version: 1.0\nContent-Transfer-Encoding: x-uuencode\n\ntext\nbegin 644 evil.exe\n#0V%T\n`\nend\n",
			want: `0 text/plain "text\r\nbegin 644 evil.exe\r\n#0V%T\r\n` + "`" + `\r\nend\r\n" name="evil.exe"`,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := contentOf(t, lines(test.msg), test.lim)
			got := strings.TrimSuffix(outline(c), "\n")
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			if err := checkTree(c); err != nil {
				t.Error(err)
			}
		})
	}
}

// checkTree reports what breaks the promises about a tree: offsets nested, in order and in range, paths
// unique, limits kept.
func checkTree(c *Content) error {
	var err error
	fail := func(format string, args ...any) {
		if err == nil {
			err = fmt.Errorf(format, args...)
		}
	}
	seen := map[string]bool{}
	c.Root().Walk(func(p *Part) bool {
		if seen[p.Path] {
			fail("path %s twice", p.Path)
		}
		seen[p.Path] = true
		if p.Offset < 0 || p.BodyOffset < p.Offset || p.End < p.BodyOffset || p.End > c.Blob().Size() {
			fail("part %s: offsets %d, %d, %d", p.Path, p.Offset, p.BodyOffset, p.End)
		}
		if p.Header.Octets() != p.BodyOffset-p.Offset {
			fail("part %s: header of %d octets, body at %d", p.Path, p.Header.Octets(), p.BodyOffset-p.Offset)
		}
		at := p.BodyOffset
		for _, child := range p.Children {
			if child.Parent != p || child.Offset < at || child.End > p.End {
				fail("part %s [%d,%d) is not within its parent from %d to %d", child.Path, child.Offset, child.End, at, p.End)
			}
			at = child.End
		}
		if len(p.Names) > maxNames {
			fail("part %s: %d names", p.Path, len(p.Names))
		}
		if strings.Count(p.Path, ".") > c.limits.Depth+1 {
			fail("part %s: too deep", p.Path)
		}
		return true
	})
	if len(seen) > c.limits.Parts {
		fail("%d parts", len(seen))
	}
	return err
}
