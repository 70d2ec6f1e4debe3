package dkim

import (
	"bytes"
	"testing"

	"github.com/postern-mail/postern/filter/auth"
)

// FuzzHeader: whatever the message, there is a fact, and each result in it has a word that is declared.
func FuzzHeader(f *testing.F) {
	f.Add([]byte("DKIM-Signature: v=1\r\nFrom: a@b\r\n\r\nbody"))
	f.Add([]byte("dkim-signature : v=1\n continued\n\n"))
	f.Add([]byte(" DKIM-Signature: x\r\n\tDKIM-Signature: y\r\nDKIM-Signature"))
	f.Add([]byte("DKIM-Signature:\r\r\n\r\n"))
	f.Add([]byte("\r\nDKIM-Signature: x"))
	f.Add(bytes.Repeat([]byte("DKIM-Signature: v=1; h=a:b\r\n"), 7))
	f.Add([]byte(sign(f, plain, bySelector("ed"))))
	f.Fuzz(func(t *testing.T, raw []byte) {
		spec, check := build(t, fakeDNS{texts: keys()})
		got, err := check.Check(t.Context(), input(t, string(raw)))
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := auth.DKIM.Among(got.Facts); !ok || len(got.Findings) == 0 {
			t.Fatalf("got %+v", got)
		}
		for _, x := range got.Findings {
			if !declared(spec, x.Symbol) {
				t.Errorf("%s is not declared", x.Symbol)
			}
		}
	})
}
