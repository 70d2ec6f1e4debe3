package pattern

import "context"

// The steps of a Work, unless it is told otherwise: so many, and for each scan so many more for each octet that it goes over.
// A step is what it is to a search; a state of an automaton that is made while a text is read costs some for each state of
// the pattern that it stands for.
const (
	DefaultWork      = 30_000_000
	workStepsPerByte = 50

	askContextEach = 1 << 18 // steps or octets between two looks at the context
)

// Work is what may be done for one message: scans and searches that are given the same one share its steps, however many
// patterns and texts they have, and end with its context. It is for one goroutine at a time.
type Work struct {
	done  <-chan struct{}
	cause func() error
	steps int // that are left
	asked int // steps and octets since the context was asked
	err   error
}

// NewWork allows so many steps, or DefaultWork where that is 0.
func NewWork(ctx context.Context, steps int) *Work {
	if steps <= 0 {
		steps = DefaultWork
	}
	return &Work{done: ctx.Done(), cause: ctx.Err, steps: steps}
}

// Left gives how many steps are left; none, or less, where the work has been given up.
func (w *Work) Left() int { return w.steps }

// Err gives the error of the context, once it was seen to have ended.
func (w *Work) Err() error { return w.err }

// spend takes steps off, and tells whether to go on.
func (w *Work) spend(steps int) bool {
	w.steps -= steps
	return w.pass(steps) && w.steps > 0
}

// pass notes that so many octets were read at no cost, and tells whether the context goes on.
func (w *Work) pass(octets int) bool {
	if w.asked += octets; w.asked >= askContextEach {
		w.asked = 0
		select {
		case <-w.done:
			w.err = w.cause()
		default:
		}
	}
	return w.err == nil
}

// over tells whether the work has ended, by steps or by the context.
func (w *Work) over() bool { return w.steps <= 0 || w.err != nil }

// Search looks for one pattern in several texts within one limit of steps. It is for one goroutine at a time.
type Search struct {
	p     *Pattern
	w     *Work
	steps int
}

// Search begins a search over texts of so many octets in all. What it takes is taken from w too, which may be nil.
func (p *Pattern) Search(w *Work, octets int) Search {
	return Search{p: p, w: w, steps: p.share(w, octets)}
}

// share gives how many steps a pattern may take over so many octets: its limit, but of the work no more than a part, so that no
// few patterns spend what all have.
func (p *Pattern) share(w *Work, octets int) int {
	limit := p.limit(octets)
	if w == nil {
		return limit
	}
	return min(limit, max(p.steps, w.steps/8))
}

// allowed gives how many steps the next search may take.
func (s *Search) allowed() int {
	if s.w != nil {
		return min(s.steps, s.w.steps)
	}
	return s.steps
}

// took takes off what a search was allowed and has not left.
func (s *Search) took(steps int) error {
	s.steps -= steps
	if s.w != nil && !s.w.spend(steps) && s.w.err != nil {
		return s.w.err
	}
	return nil
}

// Count is Pattern.Count within what is left of the limit. Where the context of the work has ended the error is its.
func (s *Search) Count(b []byte, most int) (n int, err error) {
	m := machines.Get().(*machine)
	defer m.release()
	allowed := s.allowed()
	n, err = s.p.count(m, b, most, allowed)
	if ended := s.took(allowed - m.steps); ended != nil {
		err = ended
	}
	return n, err
}

// Find is Pattern.Find within what is left of the limit. Where the context of the work has ended the error is its.
func (s *Search) Find(b []byte, from int) (start, end int, ok bool, err error) {
	m := machines.Get().(*machine)
	defer m.release()
	if ok, err = s.find(m, b, from); !ok {
		return 0, 0, false, err
	}
	return m.slots[0], m.slots[1], true, nil
}

// FindSubmatch is Pattern.FindSubmatch within what is left of the limit. Where the context of the work has ended the error
// is its.
func (s *Search) FindSubmatch(b []byte, from int) (loc []int, ok bool, err error) {
	m := machines.Get().(*machine)
	defer m.release()
	if ok, err = s.find(m, b, from); !ok {
		return nil, false, err
	}
	return append([]int(nil), m.slots[:2*(s.p.prog.groups+1)]...), true, nil
}

func (s *Search) find(m *machine, b []byte, from int) (bool, error) {
	allowed := s.allowed()
	ok, err := s.p.search(m, b, from, 0, allowed)
	if ended := s.took(allowed - m.steps); ended != nil {
		return false, ended
	}
	return ok, err
}
