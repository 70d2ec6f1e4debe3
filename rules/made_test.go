package rules

import (
	"bytes"
	"context"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/rules/eval"
	"github.com/postern-mail/postern/rules/text"
)

// madeMessages makes messages out of those of sample/: the header of one, and a body whose lines are of all that have its form, in another
// order, with a word in twenty that is in none of them. They are the same in each run.
func madeMessages(t testing.TB, n int) (all [][]byte) {
	t.Helper()
	names, err := sampleFiles.ReadDir("sample")
	if err != nil {
		t.Fatal(err)
	}
	var headers []string
	var plain, html []string
	for _, name := range names {
		raw, err := sampleFiles.ReadFile("sample/" + name.Name())
		if err != nil {
			t.Fatal(err)
		}
		header, body, _ := strings.Cut(string(raw), "\n\n")
		var kept []string
		drop := false
		for line := range strings.Lines(header + "\n") {
			if line[0] != ' ' && line[0] != '\t' {
				drop = strings.HasPrefix(line, "Content-") || strings.HasPrefix(line, "MIME-")
			}
			if !drop {
				kept = append(kept, line)
			}
		}
		headers = append(headers, strings.Join(kept, ""))
		for line := range strings.Lines(body) {
			switch line = strings.ReplaceAll(strings.TrimSuffix(line, "=\n"), "=3D", "="); {
			case strings.HasPrefix(line, "--"), strings.HasPrefix(line, "Content-"):
			case strings.Contains(line, "<"):
				html = append(html, strings.TrimSuffix(line, "\n")+"\n")
			default:
				plain = append(plain, strings.TrimSuffix(line, "\n")+"\n")
			}
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		var b strings.Builder
		b.WriteString(headers[r.IntN(len(headers))])
		lines, kind := plain, "plain"
		if i%3 == 2 {
			lines, kind = html, "html"
		}
		b.WriteString("MIME-Version: 1.0\nContent-Type: text/" + kind + "; charset=utf-8\n\n")
		for size := 1500 + r.IntN(6000); size > 0; {
			for word := range strings.SplitAfterSeq(lines[r.IntN(len(lines))], " ") {
				if kind == "plain" && r.IntN(20) == 0 {
					word = madeWord(r) + " "
				}
				b.WriteString(word)
				size -= len(word)
			}
		}
		all = append(all, bytes.ReplaceAll([]byte(b.String()), []byte("\n"), []byte("\r\n")))
	}
	return all
}

func madeWord(r *rand.Rand) string {
	b := make([]byte, 2+r.IntN(9))
	for i := range b {
		b[i] = "etaoinsrhldcumfpgwybvkxjqz"[min(r.IntN(26), r.IntN(26))]
	}
	return string(b)
}

// BenchmarkMadeMessages: our own rules over made messages, each seen once: more turns than messages make others.
func BenchmarkMadeMessages(b *testing.B) {
	s, _, err := Load(Default(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	const at = 500
	messages := madeMessages(b, at+b.N)
	b.ResetTimer()
	octets, patterns := 0, Timings{}
	for i, raw := range messages {
		if i == at {
			b.ResetTimer()
		}
		c := mail.NewContent(mail.NewBlob(raw), mail.LineFaults{}, mail.Limits{})
		m := &eval.Mail{Text: text.Of(c, text.Options{})}
		if _, err := s.Run(context.Background(), m); err != nil {
			b.Fatal(err)
		}
		if i >= at {
			octets += len(raw)
			b.StopTimer() // once more, with texts that are there: what is left of these classes is patterns
			res, _ := s.Run(context.Background(), m)
			for _, k := range []Class{Header, Body, URI, RawBody} {
				patterns[k] += res.Timings[k]
			}
			b.StartTimer()
		}
		c.Release()
	}
	b.ReportMetric(float64(patterns.Total().Nanoseconds())/1e6/float64(b.N), "ms-patterns")
	b.ReportMetric(float64(octets)/float64(b.N), "octets/message")
}
