package text

import (
	"bytes"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
)

// TestQuotedEnds compares what one go finds with a search from each octet.
func TestQuotedEnds(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 20000 {
		b := make([]byte, r.IntN(12))
		for i := range b {
			b[i] = "\"\\\n,a"[r.IntN(5)]
		}
		e := quotedEnds(b)
		for i := range b {
			if got, want := e.of(i), max(quoted(b, i), 0); got != want {
				t.Fatalf("%q at %d: %d, not %d", b, i, got, want)
			}
		}
	}
}

// TestManyOpenQuotes: strings that begin and do not end are looked for once. Each began a search up to the end.
func TestManyOpenQuotes(t *testing.T) {
	value := []byte("a, " + strings.Repeat(`\"x`, maxValue/3))
	if got := brokenAddresses(value, value); len(got) == 0 {
		t.Error("nothing is found")
	}
	if n := testing.AllocsPerRun(5, func() { brokenAddresses(value, value) }); n > 20 {
		t.Errorf("%v allocations", n)
	}
}

// TestAuthProtocol compares with a regular expression.
func TestAuthProtocol(t *testing.T) {
	want := regexp.MustCompile(`(?i) with ((?:ES|L|UTF8S|UTF8L)MTPS?A|ASMTP|HTTP[SU]?)(?: |;|$)`)
	pieces := []string{" with ", " WITH ", "with", "ESMTPA", "esmtpsa", "ESMTP", "LMTPSA", "UTF8LMTPSA", "UTF8SMTPA", "utf8smtpsa", "HTTP", "https", "HTTPX", "ASMTP", " ", ";", "x"}
	r := rand.New(rand.NewPCG(7, 8))
	hits := 0
	for range 20000 {
		var line []byte
		for range r.IntN(8) {
			line = append(line, pieces[r.IntN(len(pieces))]...)
		}
		var w []byte
		if m := want.FindSubmatch(line); m != nil {
			w = m[1]
			hits++
		}
		if got := authProtocol(line); got != string(w) || bytes.ContainsAny(w, " ;") {
			t.Fatalf("%q: %q, not %q", line, got, w)
		}
	}
	if hits < 500 {
		t.Errorf("%d hits show nothing", hits)
	}
}
