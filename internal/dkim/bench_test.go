package dkim

import (
	"bytes"
	"strings"
	"testing"
)

// letter is a message of the usual size, some 4.5 kB before it is signed.
var letter = strings.Repeat("Received: from a.example.net (a.example.net [192.0.2.1])\r\n"+
	"\tby b.example.net with ESMTPS id 1;\r\n\tMon, 02 Nov 2026 10:00:00 +0000\r\n", 7) +
	strings.TrimSuffix(plain, "At five?\r\n") +
	strings.Repeat("The quick brown fox jumps over the lazy dog, and the dog minds it not at all.\r\n", 40)

func BenchmarkVerify(b *testing.B) {
	keys := published(b)
	large := letter + strings.Repeat("UG9zdGVybiBpcyBhIGdhdGV3YXkgZm9yIG1haWwsIGFuZCB0aGlzIGlzIGFuIGF0dGFjaG1lbnQK\r\n", 1<<20/78)
	for _, c := range []struct {
		name    string
		message string
		signers []*Signer
	}{
		{"rsa2048", letter, []*Signer{signer("rsa")}},
		{"ed25519", letter, []*Signer{signer("ed")}},
		{"five", letter, []*Signer{signer("rsa"), signer("ed"), signer("rsa"), signer("ed"), signer("rsa")}},
		{"1MB", large, []*Signer{signer("ed")}},
		{"1MB-five", large, []*Signer{signer("ed"), signer("ed"), signer("ed"), signer("ed"), signer("ed")}},
	} {
		message := signedBy(b, c.message, c.signers...)
		fields, body := split(b, message)
		header := fields.All()
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(message)))
			b.ReportAllocs()
			for b.Loop() {
				got, err := Verify(b.Context(), NewFields(header), Body(bytes.NewReader(body), 0, int64(len(body))), Options{Resolver: keys})
				if err != nil || got[0].Result != Pass {
					b.Fatalf("%+v, %v", got[0], err)
				}
			}
		})
	}
}

func BenchmarkSign(b *testing.B) {
	fields, body := split(b, letter)
	for _, selector := range []string{"rsa", "ed"} {
		b.Run(selector, func(b *testing.B) {
			b.ReportAllocs()
			s := signer(selector)
			for b.Loop() {
				if _, err := Sign(fields, bytes.NewReader(body), s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
