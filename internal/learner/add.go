package learner

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"slices"
)

// Outcome tells what became of lessons.
type Outcome struct {
	Learned   int `json:"learned"`   // new ones
	Corrected int `json:"corrected"` // known as the other class before
	Known     int `json:"known"`     // known as that already: not learned again
	Kept      int `json:"kept"`      // known as the other class by a better word: not learned
	Crowded   int `json:"crowded"`   // not learned, since there are as many that come first
	Forgotten int `json:"forgotten"` // taken back
	GaveWay   int `json:"gave_way"`  // lessons of before that had to make room
}

// Add adds up.
func (o *Outcome) Add(p Outcome) {
	o.Learned += p.Learned
	o.Corrected += p.Corrected
	o.Known += p.Known
	o.Kept += p.Kept
	o.Crowded += p.Crowded
	o.Forgotten += p.Forgotten
	o.GaveWay += p.GaveWay
}

// Add learns. All of it is on disk when it returns nil, and nothing of it counts where it returns an error. It counts in
// scores from the next fit on, see Tend and Fit.
func (s *Store) Add(lessons []Lesson) (Outcome, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var o Outcome
	b := batch{lessons: map[Digest]*Lesson{}}
	counted := map[Digest]*int{} // where each of the batch is counted
	for i := range lessons {
		l := &lessons[i]
		old, ok := s.known[l.Digest]
		if e, again := b.lessons[l.Digest]; again {
			old, ok = entry{spam: e.Spam, how: e.How}, true
		}
		as := &o.Learned
		switch {
		case ok && old.spam == l.Spam && l.How <= old.how:
			o.Known++
			continue
		case ok && old.spam == l.Spam: // what rules have found people now say
			as = &o.Known
		case ok && old.how > l.How:
			o.Kept++
			continue
		case ok:
			as = &o.Corrected
		}
		*as++
		b.lessons[l.Digest], counted[l.Digest] = l, as
	}
	crowded, gaveWay := s.makeRoom(&b)
	for _, d := range crowded {
		*counted[d]--
	}
	o.Crowded, o.GaveWay = len(crowded), gaveWay
	if err := s.write(&b); err != nil {
		return Outcome{}, err
	}
	return o, nil
}

// Forget takes lessons back: as if they had never been learned.
func (s *Store) Forget(digests []Digest) (Outcome, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b batch
	seen := map[Digest]bool{}
	for _, d := range digests {
		if _, ok := s.known[d]; ok && !seen[d] {
			seen[d] = true
			b.gone = append(b.gone, d)
		}
	}
	if err := s.write(&b); err != nil {
		return Outcome{}, err
	}
	return Outcome{Forgotten: len(b.gone)}, nil
}

// batch is what is written in one go.
type batch struct {
	lessons map[Digest]*Lesson
	gone    []Digest
}

// octets gives the records of a batch, and where those of lessons stand. What goes stands behind what comes: a crash in between
// leaves too much, and not too little.
func (b *batch) octets() (octets []byte, entries map[Digest]entry) {
	entries = make(map[Digest]entry, len(b.lessons))
	for _, d := range slices.SortedFunc(maps.Keys(b.lessons), func(x, y Digest) int { return bytes.Compare(x[:], y[:]) }) {
		l, start := b.lessons[d], len(octets)
		octets = appendRecord(octets, &record{kind: kindLesson, lesson: *l})
		entries[d] = entry{offset: int64(start), size: int32(len(octets) - start), when: l.When.Unix(), spam: l.Spam, how: l.How}
	}
	for _, d := range b.gone {
		octets = appendRecord(octets, &record{kind: kindForget, lesson: Lesson{Digest: d}})
	}
	return octets, entries
}

// write appends a batch, synced.
func (s *Store) write(b *batch) error {
	if s.closed {
		return fs.ErrClosed
	}
	octets, entries := b.octets()
	if len(octets) == 0 {
		return nil
	}
	err := s.appendSynced(octets)
	if s.unwritten = err != nil; err != nil {
		return err
	}
	for d, e := range entries {
		e.offset += s.size
		s.keep(d, e)
		s.by[class(e.spam)][e.how]++
	}
	for _, d := range b.gone {
		s.drop(d)
	}
	s.size += int64(len(octets))
	s.nudge()
	s.tidy()
	return nil
}

// appendSynced writes octets to the end of the file. What of them is there after an error was not acknowledged, and must not stand before
// what will be: it is cut off, or else the file is written anew before anything else is.
func (s *Store) appendSynced(octets []byte) error {
	if s.torn {
		if err := s.rewrite(); err != nil {
			return err
		}
	}
	if _, err := s.file.Write(octets); err != nil {
		s.torn = s.cutOff(s.size) != nil
		return fmt.Errorf("learner: %w", err)
	}
	if err := s.file.Sync(); err != nil {
		s.torn = true // what the disk has of it nobody knows
		return fmt.Errorf("learner: %w", err)
	}
	return nil
}

// tidy writes the file anew where there is more garbage in it than lessons. That costs a copy of all: where it fails it is not tried again
// before there is still more.
func (s *Store) tidy() {
	over := s.size - s.live - s.live
	if over <= s.garbage+s.endured {
		return
	}
	s.endured = 0
	if err := s.rewrite(); err != nil {
		s.endured = over
		s.o.Log.Warn("the learner's file can't be written anew, and grows", "error", err)
	}
}

// leastGarbage is how much garbage is not worth writing the file anew.
const leastGarbage = 1 << 20
