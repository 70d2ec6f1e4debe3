package learner

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
)

// candidate is a lesson that may have to give way.
type candidate struct {
	digest Digest
	how    How
	when   int64
}

// makeRoom lets lessons give way where there are more of a class than are to be remembered: what rules have taught before what
// people have, and of these the oldest, whether they are known or come with the batch. It gives those of the batch that do, which
// are then in it no more, and how many others do.
func (s *Store) makeRoom(b *batch) (crowded []Digest, gaveWay int) {
	samples, comes := s.opt.Load().Samples, maps.Clone(b.lessons)
	for _, spam := range []bool{false, true} {
		count := s.counts.Ham
		if spam {
			count = s.counts.Spam
		}
		for d, l := range comes {
			old, known := s.known[d]
			if l.Spam == spam {
				count++
			}
			if known && old.spam == spam {
				count--
			}
		}
		if over := count - samples; over > samples/100 { // not for each single one
			c, g := s.giveWay(b, comes, spam, over)
			crowded, gaveWay = append(crowded, c...), gaveWay+g
		}
	}
	return crowded, gaveWay
}

// giveWay is makeRoom for so many of one class, where these come with the batch.
func (s *Store) giveWay(b *batch, comes map[Digest]*Lesson, spam bool, over int) (crowded []Digest, gaveWay int) {
	var all []candidate
	for d, e := range s.known {
		if _, replaced := comes[d]; e.spam == spam && !replaced {
			all = append(all, candidate{d, e.how, e.when})
		}
	}
	for d, l := range comes {
		if l.Spam == spam {
			all = append(all, candidate{d, l.How, l.When.Unix()})
		}
	}
	slices.SortFunc(all, func(x, y candidate) int {
		return cmp.Or(cmp.Compare(x.how, y.how), cmp.Compare(x.when, y.when), bytes.Compare(x.digest[:], y.digest[:]))
	})
	for _, c := range all[:over] {
		if _, known := s.known[c.digest]; known {
			b.gone = append(b.gone, c.digest)
		}
		if _, new := comes[c.digest]; new {
			delete(b.lessons, c.digest)
			crowded = append(crowded, c.digest)
		} else {
			gaveWay++
		}
	}
	return crowded, gaveWay
}

// shrink lets lessons give way where fewer are to be remembered than are. What can't be written is told: more than is asked for is no loss.
func (s *Store) shrink() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	var b batch
	_, n := s.makeRoom(&b)
	if err := s.write(&b); err != nil {
		s.o.Log.Warn("the learner remembers more than it is to", "error", err)
	} else if n > 0 {
		s.o.Log.Info("the learner remembers fewer lessons than before", "count", n)
	}
}
