package mail

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// leavesOf gives what a reader extracts: of each leaf the sum of its decoded octets.
func leavesOf(root *Part) (all []string) {
	root.Walk(func(p *Part) bool {
		if p.IsLeaf() {
			body, _ := io.ReadAll(p.Open())
			all = append(all, fmt.Sprintf("%d %x", len(body), sha256.Sum256(body)))
		}
		return true
	})
	return all
}

// ambiguities lists the parts that have more than one reading.
func ambiguities(t testing.TB, root *Part) (all []string) {
	t.Helper()
	root.Walk(func(p *Part) bool {
		if kind := p.Ambiguity(); kind != "" && !p.unended {
			all = append(all, p.Path+" "+string(kind))
		}
		if p.IsLeaf() && !identity(p.Encoding) {
			d := p.Decode()
			if _, err := io.Copy(io.Discard, d); err != nil {
				t.Fatal(err)
			}
			if kind := p.BodyAmbiguity(d); kind != "" {
				all = append(all, p.Path+" "+string(kind))
			}
		}
		return true
	})
	return all
}

func limited(root *Part) (found bool) {
	root.Walk(func(p *Part) bool {
		for _, d := range p.Defects {
			found = found || d.Kind.IsLimit()
		}
		return true
	})
	return found
}

// checkRebuild rebuilds a message: what comes out has one reading, and the leaves are those that were found.
func checkRebuild(t testing.TB, msg []byte) error {
	c := NewContent(NewBlob(msg), LineFaults{}, Limits{})
	defer c.Release()
	if limited(c.Root()) {
		return nil
	}
	before := ambiguities(t, c.Root())
	m, err := Rewrite(c, nil, true)
	if err != nil {
		return err
	}
	defer m.Release()
	out, err := io.ReadAll(m.Open())
	if err != nil {
		return err
	}
	if len(before) == 0 {
		if !bytes.Equal(out, msg) {
			return fmt.Errorf("it has one reading, and was changed: %q", out)
		}
		return nil
	}
	after := NewContent(NewBlob(out), LineFaults{}, Limits{})
	defer after.Release()
	if left := ambiguities(t, after.Root()); len(left) > 0 {
		return fmt.Errorf("%v became %v:\n%q", before, left, out)
	}
	if diff := cmp.Diff(leavesOf(c.Root()), leavesOf(after.Root())); diff != "" {
		return fmt.Errorf("%v: leaves: -before +after\n%s%q", before, diff, out)
	}
	return nil
}

func TestRebuildRandom(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		msg := rapid.OneOf(rapid.Custom(randomMessage), rapid.Custom(randomTree)).Draw(rt, "message")
		if err := checkRebuild(t, msg); err != nil {
			rt.Fatal(err)
		}
	})
}

func FuzzRebuild(f *testing.F) {
	fuzzSeeds(f, func(msg []byte) { f.Add(msg) })
	f.Add([]byte(lines("MIME-Version: 1.0\nContent-Type: text/plain\nContent-Type: multipart/mixed; boundary=b; boundary*0=c\nContent-Transfer-Encoding : base64\n\n--b x\nContent-Transfer-Encoding: base64;\n\nQUJ!D\nQQ==\n--c\n\nContent-Type: text/html\n\nx\n--b--\nContent-Type: x/y\n")))
	f.Fuzz(func(t *testing.T, msg []byte) {
		if err := checkRebuild(t, canonicalOf(msg)); err != nil {
			t.Error(err)
		}
	})
}

var newBoundaries = regexp.MustCompile(`=_[A-Z2-7]{26}\.[0-9a-f]{8}`)

// What a rebuild writes, octet for octet but for the boundaries.
func TestRebuild(t *testing.T) {
	const head = "Subject: s\nMIME-Version: 1.0\n"
	tests := []struct{ name, msg, want string }{
		{
			"two boundaries, both used", head + "Content-Type: multipart/mixed; boundary=a; boundary=b\n\npre\n--a\n\none\n--a--\n--b\nContent-Type: text/html\n\ntwo\n--b--\nepi\n",
			"Subject: s\nMIME-Version: 1.0\nContent-Type: multipart/mixed;\n\tboundary=\"=_0\"\n\n--=_0\n\none\n--=_0\nContent-Type: text/html\n\ntwo\n--=_0--\n",
		},
		{
			"two types", head + "Content-Type: text/plain\nContent-Type: multipart/mixed; boundary=a\nX: y\n\n--a\n\none\n--a--\n",
			"Subject: s\nMIME-Version: 1.0\nContent-Type: multipart/mixed;\n\tboundary=\"=_0\"\nX: y\n\n--=_0\n\none\n--=_0--\n",
		},
		{
			"broken base64", head + "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: x/y; name=n.z\nContent-Transfer-Encoding: base64\nX-A: b\n\nQUJ.D\n--a--\nepi\n",
			head + "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: x/y\nContent-Transfer-Encoding: base64\nContent-Disposition: attachment;\n\tfilename=\"n.z\"\nX-A: b\n\nQUJD\n\n--a--\nepi\n",
		},
		{
			"broken header lines", "Subject : s\njunk\nX:\n \n y\nContent-Type: text/html; name=\"\xc3\xa9.txt\nContent-Disposition: inline\n\nx\n",
			"Subject: s\nX:\n y\nMIME-Version: 1.0\nContent-Type: text/html\nContent-Disposition: inline;\n\tfilename*=utf-8''%C3%A9.txt\n\nx\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := contentOf(t, lines(tt.msg), Limits{})
			m, err := Rewrite(c, nil, true)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Release()
			out, _ := io.ReadAll(m.Open())
			got := newBoundaries.ReplaceAllString(strings.ReplaceAll(string(out), "\r\n", "\n"), "=_0")
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			if err := checkRebuild(t, []byte(lines(tt.msg))); err != nil {
				t.Error(err)
			}
		})
	}
}
