//go:build !race

package text

import (
	"testing"

	"github.com/postern-mail/postern/mail"
)

// benchmarkCorpus runs f over new Contents of every 21st message of the corpora, some 300.
func benchmarkCorpus(b *testing.B, f func(m *Message)) {
	var blobs [][]byte
	size := 0
	for _, name := range archives {
		for _, s := range corpus(b, name, 21) {
			raw, _ := s.content.Blob().Bytes()
			blobs = append(blobs, raw)
			size += len(raw)
		}
	}
	b.SetBytes(int64(size / len(blobs)))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		c := mail.NewContent(mail.NewBlob(blobs[i%len(blobs)]), mail.LineFaults{}, mail.Limits{})
		f(Of(c, Options{}))
		c.Release()
	}
}

// BenchmarkStructure is what the rest has to be compared with: the MIME structure alone.
func BenchmarkStructure(b *testing.B) {
	benchmarkCorpus(b, func(m *Message) { m.content.Root() })
}

func BenchmarkBody(b *testing.B) { benchmarkCorpus(b, func(m *Message) { m.Body() }) }

func BenchmarkURIs(b *testing.B) { benchmarkCorpus(b, func(m *Message) { m.URITexts() }) }

func BenchmarkAll(b *testing.B) {
	benchmarkCorpus(b, func(m *Message) {
		m.URITexts()
		m.RawBody()
		m.Full()
		m.VisibleText()
	})
}
