package learner

import "time"

// Status is how a store is.
type Status struct {
	Counts
	Ready     bool           `json:"ready"`
	Least     int            `json:"least"`   // of each class, to be ready
	Samples   int            `json:"samples"` // of each class, at most
	Ways      map[string]int `json:"ways"`    // lessons by the way they came
	Octets    int64          `json:"octets"`
	Oldest    time.Time      `json:"oldest,omitzero"`
	Newest    time.Time      `json:"newest,omitzero"`
	Fitted    time.Time      `json:"fitted,omitzero"` // when the weights were made
	FittedOf  Counts         `json:"fitted_of"`       // of how many lessons
	Seconds   float64        `json:"fit_seconds"`     // that took
	Features  int            `json:"features"`        // that have a weight
	Directory string         `json:"directory"`
}

// Status tells how the store is.
func (s *Store) Status() Status {
	s.mu.Lock()
	st := Status{Counts: s.counts, Octets: s.size, Ways: map[string]int{}, Least: s.opt.Load().Least, Samples: s.opt.Load().Samples, Directory: s.dir}
	for _, e := range s.known {
		st.Ways[e.how.String()]++
		when := time.Unix(e.when, 0)
		if st.Oldest.IsZero() || when.Before(st.Oldest) {
			st.Oldest = when
		}
		if when.After(st.Newest) {
			st.Newest = when
		}
	}
	s.mu.Unlock()
	w := s.weights.Load()
	st.Ready, st.Fitted, st.FittedOf, st.Seconds = w.lessons.enough(s.opt.Load().Least), w.when, w.lessons, w.took.Seconds()
	for _, x := range w.w {
		if abs(float64(x)) > faint {
			st.Features++
		}
	}
	return st
}

// Usage is what metrics tell of a store.
type Usage struct {
	Counts
	Learned [2][howCount]int64 // by class (ham, spam) and way, since it was opened
	Dropped int64              // offered, and not taken: too many at once
	Octets  int64
	Fits    int64
	Fitted  time.Time
	Ready   bool
	Durable bool // the last lessons and the last weights were written
}

// Usage tells what the store holds and did. It asks no disk.
func (s *Store) Usage() Usage {
	s.mu.Lock()
	u := Usage{Counts: s.counts, Learned: s.by, Octets: s.size, Durable: !s.unwritten && !s.torn && !s.unkept.Load()}
	s.mu.Unlock()
	w := s.weights.Load()
	u.Dropped, u.Fits, u.Fitted, u.Ready = s.dropped.Load(), s.fits.Load(), w.when, w.lessons.enough(s.opt.Load().Least)
	return u
}
