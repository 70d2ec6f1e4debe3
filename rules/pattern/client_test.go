//go:build !race

package pattern

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/peertest"
)

// TestWatches tells by what matches are noticed: what is common in the sample is not looked for, and of two texts that are common both
// have to be there.
func TestWatches(t *testing.T) {
	links := []string{"http://www.example.com/a/page", "https://example.org/the/other.html", "http://img.example.net/x.gif"}
	prose := []string{strings.Repeat("your account is here and the other account was closed for good, "+strings.Repeat("as you know and want it, ", 20), 5)}
	for _, c := range []struct {
		name, expr string
		sample     []string
		want       string
	}{
		{"rare", `\bviagra\b`, prose, "viagra"},
		{"common to the kind of text", `^https?://\S{1,20}\.exe`, links, ".exe"},
		{"nothing rare", `^https?://\S{9,30}$`, links, "?"},
		{"two that are common", `\b(?:your|the)\s.{0,20}\baccount\b`, prose, "the  your  +account"},
		{"one way and another", `zebra|account.{0,9}quagga`, prose, "zebra | quagga"},
		{"any white space", `buy\snow`, prose, "buy now"},
		{"turns", `(?:na){2,3}`, prose, "nana"},
		{"short", `\$\d|[|]`, prose, "$0 $1 $2 $3 $4 $5 $6 $7 $8 $9 |"},
		{"some that have none", `zebra|[a-z]{4}|quagga+`, prose, "zebra quagga | ?"},
		{"what need not be there", `(?:zebra)?[a-z]{4}`, prose, "?"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var sample [][]byte
			for _, s := range c.sample {
				sample = append(sample, []byte(s))
			}
			p := MustCompile(c.expr, Options{IgnoreCase: true})
			var all []string
			watches, rest := newRater(sample).watches(p.tree(), &p.first, p.start)
			for _, w := range watches {
				s := strings.Join(w.open.texts, " ")
				if w.paired {
					s += " +" + strings.Join(w.shut.texts, " ")
				}
				all = append(all, s)
			}
			for range rest {
				all = append(all, "?")
			}
			if got := strings.Join(all, " | "); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestClients asks a set and Find about texts that are made of what the patterns wait for, near to each other and far.
func TestClients(t *testing.T) {
	words := strings.Fields("your the account accounts paccount limited unlimited closed zebra zebras buy now http:// .exe is was x xx x! $is !! a")
	var ps []*Pattern
	for _, e := range []string{
		`\b(?:your|the)\b.{0,20}\baccounts?\b`, `\baccount\s(?:is|was)\s(?:limited|closed)\b`, `\b(?:limited|closed).{5,12}account`,
		`zebra.*zebra`, `^(?:http://\S{1,20}\.exe|zebra)`, `\b(?:buy\snow.{0,30}account|zebra.{0,9}(?:x|is) (?:limited|closed))\b`,
		`(?:(?!zebra).){9,}limited`, `(?s:account.{30,60}closed)`, `(?<=the )account.+?(?:x|now) zebra$`, `(account|zebra) .{0,40}\1 was`,
		`\b(?:the|your)\b.{0,20}\$`, `(?:!{2}|!x|\$\s?is|[a-d]{2}ou)n?[^!]{0,9}!|x{2,}a`, `\S{1,4}ount\b.{3,9}(?:unlimited|now)`, `(?m:^account).{0,50}closed`,
	} {
		ps = append(ps, MustCompile(e, Options{IgnoreCase: true}))
	}
	sample := [][]byte{[]byte("your account is the account, and the account of the other was closed, limited to what is here")}
	plainSet, warmSet := NewSet(ps, SetOptions{}), NewSet(ps, SetOptions{Sample: sample})
	r := rand.New(rand.NewPCG(5, 6))
	hits := 0
	// Two texts of a pattern, told in the order of their ends, of which the longer one stands before and reaches just far enough.
	pair := []*Pattern{MustCompile(`(?:the jackpot|jackpot prize).{0,20}winner`, Options{}), MustCompile(`^(?>zebra|[a-z]{4}|[a-z]{5})c`, Options{}), MustCompile(`q[0-9]\W`, Options{})}
	for _, o := range []SetOptions{{}, {Sample: sample}} {
		s := NewSet(pair, o)
		for gap := range 25 {
			text := []byte("the jackpot prize" + strings.Repeat("-", gap) + "winner")
			var got bool
			if err := s.Scan(nil, [][]byte{text}, func(p, _ int) { got = got || p == 0 }); err != nil {
				t.Fatal(err)
			}
			if want, _ := pair[0].Match(text); got != want {
				t.Errorf("%q: got %v", text, got)
			}
		}
		if err := s.Scan(nil, [][]byte{[]byte("abcdec")}, func(p, _ int) { t.Errorf("%q matches", pair[p]) }); err != nil {
			t.Fatal(err)
		}
	}
	rounds := 1_500
	if peertest.Every() {
		rounds = 10_000
	}
	for range rounds {
		segs := make([][]byte, 2)
		for i := range segs {
			for range r.IntN(14) {
				segs[i] = append(segs[i], words[r.IntN(len(words))]...)
				segs[i] = append(segs[i], "   \n\t."[r.IntN(6)])
			}
		}
		for _, s := range []*Set{plainSet, warmSet} {
			got := make([]int, len(ps))
			if err := s.Scan(nil, segs, func(p, seg int) { got[p] = seg + 1 }); err != nil {
				t.Fatal(err)
			}
			for i, p := range ps {
				want := 0
				for k := range segs {
					if ok, _ := p.Match(segs[k]); ok && want == 0 {
						want = k + 1
						hits++
					}
				}
				if got[i] != want {
					t.Fatalf("%q in %q: got %d, want %d", p, segs, got[i], want)
				}
			}
		}
	}
	if hits < rounds/3 {
		t.Errorf("%d hits only", hits)
	}
}

// TestClientsOfLongTexts: texts are folded in pieces; what lies across the border of two is found, once, and nothing behind the end.
func TestClientsOfLongTexts(t *testing.T) {
	var ps []*Pattern
	for _, expr := range []string{`quixotic zebra`, `\bzug`, `z\x00\x00`, `quix.{0,40}jumps`, `€\d`, `never there`} {
		ps = append(ps, MustCompile(expr, Options{IgnoreCase: true}))
	}
	s := NewSet(ps, SetOptions{})
	for at := gramChunk - 60; at < gramChunk+60; at++ {
		for _, text := range []string{"Quixotic\tZebra", " ZUG", "z\x00\x00", "z\x00", "quix and then it jumps", "€7", "€", "quixotic zebr"} {
			for _, behind := range []int{0, 1, 30, gramChunk} {
				b := bytes.Repeat([]byte("-"), at+len(text)+behind)
				copy(b[at:], text)
				found := map[int]int{}
				if err := s.Scan(nil, [][]byte{b}, func(p, _ int) { found[p]++ }); err != nil {
					t.Fatal(err)
				}
				for i, p := range ps {
					want, err := p.Match(b)
					if err != nil {
						t.Fatal(err)
					}
					if (found[i] > 0) != want || found[i] > 1 {
						t.Fatalf("%q at %d, %d octets behind it: %s is found %d times, want %v", text, at, behind, p, found[i], want)
					}
				}
			}
		}
	}
}
