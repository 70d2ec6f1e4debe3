package dkim

import (
	"bytes"
	"strings"
	"testing"

	"github.com/postern-mail/postern/filter/auth"
)

func FuzzSignatureTags(f *testing.F) {
	f.Add("v=1; a=rsa-sha256; d=example.org;\r\n s=x; h=from : to; bh=aa=; b=a b\r\n\tc==")
	f.Add("")
	f.Add("=;==;b=;b=2")
	f.Add("a\x00=\xff; d=\u212a")
	f.Fuzz(func(t *testing.T, list string) {
		tags := parseTags(list)
		if len(tags) > maxTags {
			t.Fatalf("%d tags", len(tags))
		}
		for name, value := range tags {
			if name == "" || strings.ContainsAny(name, ";=") || strings.ContainsAny(value, "; \t\r\n") {
				t.Fatalf("tag %q = %q", name, value)
			}
		}
		// What was read once reads the same when it is written down again.
		var b strings.Builder
		for name, value := range tags {
			b.WriteString(name + "=" + value + ";")
		}
		again := parseTags(b.String())
		for name, value := range tags {
			if again[name] != value {
				t.Fatalf("tag %q: %q, then %q", name, value, again[name])
			}
		}
	})
}

// FuzzHeader holds our reading of a header against the library's: it must see as many signatures as we do, or the
// results could be laid to the wrong ones. Check reports the difference as an error.
func FuzzHeader(f *testing.F) {
	f.Add([]byte("DKIM-Signature: v=1\r\nFrom: a@b\r\n\r\nbody"))
	f.Add([]byte("dkim-signature : v=1\n continued\n\n"))
	f.Add([]byte(" DKIM-Signature: x\r\n\tDKIM-Signature: y\r\nDKIM-Signature"))
	f.Add([]byte("DKIM-Signature:\r\r\n\r\n"))
	f.Add([]byte("\r\nDKIM-Signature: x"))
	f.Add(bytes.Repeat([]byte("DKIM-Signature: v=1; h=a:b\r\n"), 7))
	f.Fuzz(func(t *testing.T, raw []byte) {
		_, check := build(t, fakeDNS{texts: map[string]string{}})
		got, err := check.Check(t.Context(), input(t, string(raw)))
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := auth.DKIM.Among(got.Facts); !ok {
			t.Fatal("no fact")
		}
	})
}
