package detection

import (
	"bytes"
	"hash/fnv"
	"io"
	"math"
	"regexp"
	"unicode"
	"unicode/utf8"

	"github.com/postern-mail/postern/mail"
)

// Near-duplicates are found by minhash: a message is the set of its shingles, runs of four words of its text; two
// messages whose sets overlap by half or more (Jaccard) are of one cluster, and so is, transitively, all that is like
// either. Sketches of 64 minima in 16 bands of four find candidates (a pair that overlaps by half is found with
// probability 0.64, one by 0.7 with 0.99), and the sketches' agreement is asked before two are joined. Words are folded
// to lower case without marks and digits, and addresses are left out: what differs from one copy of a campaign to the
// next is most often one of these.
const (
	shingleWords = 4
	sketchSize   = 64
	bandRows     = 4
	sameFrom     = 0.5     // the share of equal minima from which on two are near-duplicates
	maxText      = 1 << 18 // octets of text that are looked at
	maxRivals    = 200     // of one band's bucket: more are like the first ones anyhow
)

type sketch [sketchSize]uint64

// Clusters gives each message the number of its cluster; near-duplicates have the same. Numbers go up in the order in
// which clusters first appear.
func Clusters(all []Message) []int {
	sketches := make([]sketch, len(all))
	for i := range all {
		sketches[i] = sketchOf(shingleText(all[i].Octets))
	}
	parent := make([]int, len(all))
	for i := range parent {
		parent[i] = i
	}
	find := func(i int) int {
		for parent[i] != i {
			parent[i] = parent[parent[i]]
			i = parent[i]
		}
		return i
	}
	for band := 0; band < sketchSize; band += bandRows {
		buckets := map[[bandRows]uint64][]int{}
		for i := range sketches {
			key := [bandRows]uint64(sketches[i][band : band+bandRows])
			rivals := buckets[key]
			for _, j := range rivals {
				if a, b := find(i), find(j); a != b && sketches[i].like(&sketches[j]) {
					parent[max(a, b)] = min(a, b)
				}
			}
			if len(rivals) < maxRivals {
				buckets[key] = append(rivals, i)
			}
		}
	}
	numbers, out := map[int]int{}, make([]int, len(all))
	for i := range all {
		root := find(i)
		if _, ok := numbers[root]; !ok {
			numbers[root] = len(numbers)
		}
		out[i] = numbers[root]
	}
	return out
}

func (s *sketch) like(o *sketch) bool {
	n := 0
	for i := range s {
		if s[i] == o[i] {
			n++
		}
	}
	return float64(n) >= sameFrom*sketchSize
}

// sketchOf gives the minima of a text's shingles. A text of fewer words than a shingle has is one shingle.
func sketchOf(words [][]byte) (s sketch) {
	for i := range s {
		s[i] = math.MaxUint64
	}
	n := max(1, len(words)-shingleWords+1)
	for i := range n {
		h := fnv.New64a()
		for _, w := range words[i:min(len(words), i+shingleWords)] {
			h.Write(w)
			h.Write([]byte{' '})
		}
		x := h.Sum64()
		for k := range s {
			s[k] = min(s[k], mix(x^uint64(k+1)*0x9e3779b97f4a7c15))
		}
	}
	return s
}

// mix is the finaliser of splitmix64: each output bit depends on each input bit.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

var (
	markup    = regexp.MustCompile(`(?is)<style.*?</style>|<script.*?</script>|<[^>]*>|&[a-z0-9#]{1,10};`)
	addresses = regexp.MustCompile(`(?i)[a-z][a-z0-9+.-]*://\S+|\S+@\S+|www\.\S+`)
)

// shingleText gives the words of a message: of its subject, then of its text parts.
func shingleText(octets []byte) [][]byte {
	in := mail.NewIngest(mail.IngestOptions{Memory: len(octets) + 1<<20})
	in.Write(octets)
	blob, faults, err := in.Blob()
	if err != nil {
		return nil
	}
	c := mail.NewContent(blob, faults, mail.Limits{})
	defer c.Release()
	text := []byte(mail.DecodeWords(c.Header().Get("Subject")) + "\n")
	for p := range leaves(c.Root()) {
		if p.Type == "text/plain" || p.Type == "text/html" {
			b, _ := io.ReadAll(io.LimitReader(p.Decode(), int64(maxText-len(text)))) // a body that can't be decoded ends here
			text = append(append(text, b...), '\n')
		}
		if len(text) >= maxText {
			break
		}
	}
	return words(addresses.ReplaceAll(markup.ReplaceAll(text, []byte(" ")), []byte(" ")))
}

func leaves(root *mail.Part) func(yield func(*mail.Part) bool) {
	return func(yield func(*mail.Part) bool) {
		more := true
		root.Walk(func(p *mail.Part) bool {
			if more && p.IsLeaf() {
				more = yield(p)
			}
			return more
		})
	}
}

// words folds text and cuts it into words. Octets beyond ASCII that are no UTF-8 count as letters.
func words(b []byte) (out [][]byte) {
	letter := func(r rune) bool { return unicode.IsLetter(r) || r == utf8.RuneError }
	for w := range bytes.FieldsFuncSeq(b, func(r rune) bool { return !letter(r) }) {
		out = append(out, bytes.ToLower(w))
	}
	return out
}
