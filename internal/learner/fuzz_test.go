package learner

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

func FuzzGather(f *testing.F) {
	f.Add("subject", []byte("Re: your invoice No. 2026-01-17, $1,500.00!"))
	f.Add("", []byte("click h.e.r.e\r\n\t3 times -- $$$ a@b.c 'quoted' Mon"))
	f.Add("", []byte("\xe5\xae\x89\xe5\x85\xa8\xe8\xad\xa6\xe5\x91\x8a\xe8\xaf\xb7\xe7\x82\xb9\xe5\x87\xbb\xff\x80"))
	f.Fuzz(func(t *testing.T, class string, text []byte) {
		gather := func(wanted map[uint32]string) Sample {
			g := NewGather()
			g.wanted = wanted
			g.Words(class, text)
			g.Grams(class, text)
			g.Mark(class, string(text), 2)
			return g.Sample(Digest{})
		}
		s := gather(nil)
		if len(s.Features) == 0 || len(s.Features) > maxFeatures || !slices.IsSorted(s.Features) ||
			len(slices.Compact(slices.Clone(s.Features))) != len(s.Features) || s.Features[len(s.Features)-1] >= featureSpace {
			t.Fatalf("features: %v", s.Features)
		}
		wanted := map[uint32]string{}
		for _, x := range s.Features {
			wanted[x] = ""
		}
		if again := gather(wanted); !slices.Equal(again.Features, s.Features) {
			t.Fatal("to be asked for words makes other features")
		}
		p := pack(s.Features)
		if !valid(p) || !slices.Equal(unpack(p, nil), s.Features) {
			t.Fatal("pack")
		}
	})
}

// FuzzFold: what fold makes of a text is no longer than it, but for words that it gives in both readings, and without such words
// folding it again changes nothing.
func FuzzFold(f *testing.F) {
	for _, s := range []string{
		"p\u0430ypal \u200b v\u00adiagra", "\U0001d41a\U0001d41b \uff46\uff52\uff45\uff45", "c l i c k  h.e.r.e", strings.Repeat(" \t\u00a0\n", 9),
		"\u0440\u0430\u0443\u0440\u0430l \xff\xd0 \u03bcm", "",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		once, _ := fold(b)
		if len(once) > len(b) && !hasDoubt(once) || len(once) > 3*len(b) || utf8.Valid(b) && !utf8.Valid(once) {
			t.Fatalf("%q became %q", b, once)
		}
		if twice, _ := fold(once); !bytes.Equal(once, twice) && !hasDoubt(once) {
			t.Fatalf("%q, then %q", once, twice)
		}
		if words := spacedOut(once); len(words) > len(once)+2 {
			t.Fatalf("%q in %q", words, once)
		}
		n := 0
		for _, p := range pick(once, 50) {
			n += len(p)
		}
		if n > max(50, min(len(once), 50)) {
			t.Fatalf("%d octets of %d", n, len(once))
		}
	})
}

// hasDoubt reports whether a word of a folded text was left beside its other reading.
func hasDoubt(b []byte) bool {
	return slices.ContainsFunc(strings.FieldsFunc(string(b), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsMark(r) }), func(word string) bool {
		alike, doubt, _ := disguised(word)
		return alike && doubt
	})
}

func FuzzImport(f *testing.F) {
	var b bytes.Buffer
	e := NewExport(&b)
	for n := range 3 {
		_ = e.Add(lesson(n, n == 1, How(n)))
	}
	_ = e.Close()
	f.Add(b.Bytes())
	f.Add(b.Bytes()[:b.Len()-1])
	f.Add(appendHead(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		var all []Lesson
		err := Import(bytes.NewReader(b), func(l Lesson) error { all = append(all, l); return nil })
		for i := range all {
			features := all[i].Features(nil)
			if len(features) > maxFeatures || !slices.IsSorted(features) || len(features) > 0 && features[len(features)-1] >= featureSpace {
				t.Fatalf("%v", features)
			}
		}
		if err != nil {
			return
		}
		var again bytes.Buffer
		e := NewExport(&again)
		for i := range all {
			_ = e.Add(all[i])
		}
		_ = e.Close()
		n := 0
		if err := Import(&again, func(l Lesson) error { n++; return nil }); err != nil || n != len(all) {
			t.Fatalf("%d of %d, %v", n, len(all), err)
		}
	})
}

func FuzzStoredFiles(f *testing.F) {
	b := appendHead(nil)
	for n := range 3 {
		b = appendRecord(b, &record{kind: kindLesson, lesson: lesson(n, n == 1, FromPeople)})
	}
	b = appendRecord(b, &record{kind: kindForget, lesson: lesson(1, true, 0)})
	f.Add(b)
	f.Add(b[:len(b)-3])
	f.Fuzz(func(t *testing.T, b []byte) {
		last := int64(headSize)
		end, _, err := scanRecords(bytes.NewReader(b), func(_ record, offset, size int64) {
			if offset < last || offset+size > int64(len(b)) {
				t.Fatalf("a record at %d of %d octets, of %d", offset, size, len(b))
			}
			last = offset + size
		})
		if err == nil && end != int64(len(b)) {
			t.Fatalf("it ends at %d of %d", end, len(b))
		}
		if w, err := parseWeights(b); err == nil && w.w != nil && len(w.w) != featureSpace {
			t.Fatalf("%d weights", len(w.w))
		} else if err != nil && !errors.Is(err, ErrCut) && !errors.Is(err, ErrDamaged) {
			t.Fatal(err)
		}
	})
}

func BenchmarkGather(b *testing.B) {
	text := bytes.Repeat([]byte("the minutes of our meeting about the budget are attached; cheap pills 1234 for you. "), 50)[:maxText]
	for b.Loop() {
		g := NewGather()
		g.Words("subject", text[:60])
		g.Grams("", text)
		g.Sample(Digest{})
	}
}

// big makes lessons of so many messages of a thousand features each, of which a third are common.
func big(n int) (all []Lesson) {
	for i := range n {
		s := Sample{Digest: Digest{byte(i), byte(i >> 8), byte(i >> 16)}}
		for k := range uint64(1000) {
			h := mix(k<<32 | uint64(i)<<1)
			switch k % 3 {
			case 0:
				h = mix(h % 20_000)
			case 1:
				h = mix(h%20_000*2 + uint64(i%2))
			}
			s.Features = append(s.Features, uint32(h>>(64-featureBits)))
		}
		slices.Sort(s.Features)
		s.Features = slices.Compact(s.Features)
		all = append(all, NewLesson(s, i%2 == 0, FromPeople, time.Time{}))
	}
	return all
}

func BenchmarkFit3000(b *testing.B) {
	all := big(3000)
	for b.Loop() {
		fit(context.Background(), all, time.Time{}, 0)
	}
}

func BenchmarkScore(b *testing.B) {
	all := big(3000)
	w := fit(context.Background(), all, time.Time{}, 0)
	var samples [][]uint32
	for i := range all {
		samples = append(samples, all[i].Features(nil))
	}
	i := 0
	for b.Loop() {
		w.score(samples[i%len(samples)])
		i++
	}
}
