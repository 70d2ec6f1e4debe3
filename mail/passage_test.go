package mail

import (
	"strings"
	"testing"
)

// BenchmarkPassage is what a message costs that nobody looks into: it comes in, its header is read, a field goes on top.
func BenchmarkPassage(b *testing.B) {
	top := AddField{Name: "Received", Body: "from mx.example.net (mx.example.net [192.0.2.1])\r\n\tby mx.example.org with ESMTP id 0123456789ABCDEF\r\n\tfor <somebody@example.org>;\r\n\tThu, 26 Nov 2026 08:00:00 +0000"}
	head := "From: Some Body <somebody@example.net>\r\nTo: <somebody@example.org>\r\nSubject: a message\r\nDate: Thu, 26 Nov 2026 08:00:00 +0000\r\nMessage-ID: <1@example.net>\r\n\r\n"
	in := []byte(head + strings.Repeat(strings.Repeat("x", 76)+"\r\n", 50))
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		g := NewIngest(IngestOptions{Unstuff: true})
		n := copy(g.Room(true), in)
		rest := g.Filled(n, true)
		g.Leave()
		if len(rest) > 0 {
			b.Fatal("not plain")
		}
		blob, faults, err := g.Blob()
		if err != nil {
			b.Fatal(err)
		}
		c := NewContent(blob, faults, Limits{})
		if c.Header().Get("Message-ID") == "" {
			b.Fatal("no header")
		}
		m, err := Rewrite(c, []Edit{top}, false)
		if err != nil {
			b.Fatal(err)
		}
		if err := m.Spans(func(Span) error { return nil }); err != nil {
			b.Fatal(err)
		}
		m.Release()
		c.Release()
	}
}
