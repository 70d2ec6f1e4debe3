package learner

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
	"time"
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
	comes := maps.Clone(b.lessons)
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
		if over := s.over(count, spam); over > 0 {
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

// over gives how many lessons of a class are to give way where there are so many. Of those that are spared until shrink is called none
// does for that, and none comes in addition: each start spares what there is then.
func (s *Store) over(count int, spam bool) int {
	samples, spared := s.opt.Load().Samples, s.spared[class(spam)]
	if tooMany(spared, samples) > 0 {
		return max(count-spared, 0)
	}
	return tooMany(count, samples)
}

// tooMany gives how many of a number are beyond the most; none where that is not worth the work.
func tooMany(count, most int) int {
	if over := count - most; over > most/100 {
		return over
	}
	return 0
}

// spare has all that is remembered now stay until shrink is called.
func (s *Store) spare() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spared[class(false)], s.spared[class(true)] = s.counts.Ham, s.counts.Spam
}

// shrinkDelay is how long Tend waits before lessons give way for the sake of the configuration alone: a slip in it can be taken back.
const shrinkDelay = 10 * time.Minute // announceShrink says it, too

// announceShrink tells what shrink is going to do.
func (s *Store) announceShrink() {
	s.mu.Lock()
	defer s.mu.Unlock()
	samples := s.opt.Load().Samples
	var n int
	for _, count := range []int{s.counts.Ham, s.counts.Spam} {
		n += tooMany(count, samples)
	}
	if n > 0 {
		s.o.Log.Warn("the learner remembers more lessons than it is to: in 10 minutes they are forgotten, unless samples is raised before", "count", n, "samples", samples)
	}
}

// shrink lets lessons give way where fewer are to be remembered than are. What can't be written is told: more than is asked for is no
// loss. It reports whether there is nothing left to do.
func (s *Store) shrink() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return true
	}
	before := s.spared
	s.spared = [2]int{}
	var b batch
	_, n := s.makeRoom(&b)
	if err := s.write(&b); err != nil {
		s.spared = before
		s.o.Log.Warn("the learner remembers more than it is to", "error", err)
		return false
	}
	if n > 0 {
		s.o.Log.Warn("the learner has forgotten lessons, since it is to remember fewer than before", "count", n, "samples", s.opt.Load().Samples)
	}
	return true
}
