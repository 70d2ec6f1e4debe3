package mail

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestIndexDot(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200_000 {
		b := make([]byte, rng.IntN(60))
		for i := range b {
			b[i] = "\r\n..x"[rng.IntN(5)]
		}
		if got, want := IndexDot(b), bytes.Index(b, []byte("\r\n.")); got != want {
			t.Fatalf("%q: %d, want %d", b, got, want)
		}
	}
	prose := strings.Repeat("A sentence. Another one, e.g. this.\r\n", 100)
	if got := IndexDot([]byte(prose + ".")); got != len(prose)-2 {
		t.Errorf("behind prose: %d", got)
	}
	if got := IndexDot([]byte(prose)); got != -1 {
		t.Errorf("in prose: %d", got)
	}
}

func BenchmarkIndexDot(b *testing.B) {
	for name, line := range map[string]string{
		"base64": strings.Repeat("QUJDRA", 12) + "QUJD\r\n",
		"prose":  "Dots end sentences. Some lines have more of them, e.g. this one.\r\n",
		"dots":   strings.Repeat(".", 76) + " \r\n ",
	} {
		text := []byte(strings.Repeat(line, 64<<10/len(line)))
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				IndexDot(text)
			}
		})
		b.Run(name+"/Index", func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				bytes.Index(text, crlfDot)
			}
		})
	}
}
