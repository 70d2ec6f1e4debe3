package detection

import (
	"cmp"
	"slices"
)

// Folds gives each message one of n folds. A cluster is never divided; within that, each fold gets about as many of
// each corpus as any other. The same messages and clusters give the same folds.
func Folds(all []Message, clusters []int, n int) []int {
	members := map[int][]int{}
	for i, c := range clusters {
		members[c] = append(members[c], i)
	}
	order := make([]int, 0, len(members))
	for c := range members {
		order = append(order, c)
	}
	// The big ones first, where there still is room to even things out; then in an order that has nothing to do with
	// the paths, which are dates in some corpora.
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(len(members[b])-len(members[a]), cmp.Compare(mix(uint64(a)), mix(uint64(b))), a-b)
	})
	load := make([]map[string]int, n)
	for f := range load {
		load[f] = map[string]int{}
	}
	out := make([]int, len(all))
	for _, c := range order {
		most := all[members[c][0]].Corpus
		best := 0
		for f := range load {
			if load[f][most] < load[best][most] {
				best = f
			}
		}
		for _, i := range members[c] {
			out[i] = best
			load[best][all[i].Corpus]++
		}
	}
	return out
}

// Split is one task of learning: the messages to learn from, and those to judge.
type Split struct {
	Name        string
	Train, Test []int // indices of messages

	// Known are the messages that what comes with a filter may have been made of, such as the scores of rules: it does not
	// come from who learns. None of them is like one of Test. nil: Train.
	Known []int
}

// CrossSplits gives a split for each of n folds: judged is the fold, learned the rest.
func CrossSplits(folds []int, n int, name func(fold int) string) []Split {
	out := make([]Split, n)
	for f := range out {
		out[f].Name = name(f)
		for i, g := range folds {
			if f == g {
				out[f].Test = append(out[f].Test, i)
			} else {
				out[f].Train = append(out[f].Train, i)
			}
		}
	}
	return out
}

// SourceSplit gives the split that learns from messages for which train holds, and judges those for which test does,
// without what is a near-duplicate of something learned.
func SourceSplit(name string, all []Message, clusters []int, train, test func(*Message) bool) Split {
	s, known := Split{Name: name}, map[int]bool{}
	for i := range all {
		if train(&all[i]) {
			s.Train = append(s.Train, i)
			known[clusters[i]] = true
		}
	}
	for i := range all {
		if test(&all[i]) && !known[clusters[i]] {
			s.Test = append(s.Test, i)
		}
	}
	judged := map[int]bool{}
	for _, i := range s.Test {
		judged[clusters[i]] = true
	}
	for i := range all {
		if !test(&all[i]) && !judged[clusters[i]] {
			s.Known = append(s.Known, i)
		}
	}
	return s
}
