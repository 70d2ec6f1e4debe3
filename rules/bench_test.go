package rules

import (
	"bytes"
	"context"
	"path/filepath"
	"testing"

	"github.com/postern-mail/postern/internal/peertest"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/rules/eval"
	"github.com/postern-mail/postern/rules/text"
)

// corpus gives every nth message of the corpora of honest mail and spam, with CRLF line ends.
func corpus(t testing.TB, nth int) (all [][]byte) {
	t.Helper()
	folder := peertest.Shared(t, "suites/spam")
	n := 0
	for _, name := range []string{"spamassassin-ham", "spamassassin-spam", "csdmc2010-new-ham"} {
		for _, raw := range peertest.Packed(t, filepath.Join(folder, name+".tar.gz")) {
			if n++; n%nth == 0 {
				all = append(all, bytes.ReplaceAll(bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n")))
			}
		}
	}
	return all
}

// benchmark runs a set over messages, each as if it had just come in.
func benchmark(b *testing.B, s *Set, messages [][]byte) {
	b.Helper()
	octets := 0
	for _, raw := range messages {
		octets += len(raw)
	}
	b.ReportAllocs()
	i := 0
	var classes Timings
	for b.Loop() {
		c := mail.NewContent(mail.NewBlob(messages[i%len(messages)]), mail.LineFaults{}, mail.Limits{})
		res, err := s.Run(context.Background(), &eval.Mail{Text: text.Of(c, text.Options{})})
		if err != nil {
			b.Fatal(err)
		}
		for k, d := range res.Timings {
			classes[k] += d
		}
		c.Release()
		i++
	}
	for k, d := range classes {
		b.ReportMetric(float64(d.Microseconds())/1000/float64(i), "ms-"+classNames[k])
	}
	b.ReportMetric(float64(octets)/float64(len(messages)), "octets/message")
}

// BenchmarkStockRules: SpamAssassin's own rules. The first messages build tables; with -benchtime=1x and more messages that shows.
func BenchmarkStockRules(b *testing.B) {
	s, _, err := Load(stockFiles(b), Options{})
	if err != nil {
		b.Fatal(err)
	}
	benchmark(b, s, corpus(b, 6))
}

func BenchmarkDefaultRules(b *testing.B) {
	s, _, err := Load(Default(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	benchmark(b, s, corpus(b, 6))
}

func BenchmarkLoad(b *testing.B) {
	files := stockFiles(b)
	for b.Loop() {
		if _, _, err := Load(files, Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkMetas: the metas of the stock rules alone.
func BenchmarkMetas(b *testing.B) {
	s, _, err := Load(stockFiles(b), Options{})
	if err != nil {
		b.Fatal(err)
	}
	st := s.newRun()
	for b.Loop() {
		st.runMetas()
	}
}
