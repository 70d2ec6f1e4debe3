package limits

import "sync"

// Budget is an amount of octets that many share. It is safe for concurrent use.
type Budget struct {
	mu   sync.Mutex
	most int64
	used int64
}

// NewBudget makes a budget of so many octets; 0 or less is no limit.
func NewBudget(most int64) *Budget { return &Budget{most: most} }

// Resize changes the size. Shares that are held stay.
func (b *Budget) Resize(most int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.most = most
}

// Used gives how much is held.
func (b *Budget) Used() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// Fits tells whether so much could be had now. It holds nothing.
func (b *Budget) Fits(n int64) bool {
	if b == nil || n <= 0 {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.fits(n, b.used <= 0)
}

// fits tells whether n more could be had. Whoever is the only one gets what he asks for, so that a message that is larger than
// the whole budget goes through some time.
func (b *Budget) fits(n int64, alone bool) bool { return b.most <= 0 || alone || b.used+n <= b.most }

// step is how much more than was asked for is taken at once, so that not every block of a message has to ask.
const step = 256 << 10

// Share is what one message holds of a budget. It is not safe for concurrent use. The zero Share is of no budget and has
// all that it is asked for.
type Share struct {
	of         *Budget
	held, used int64
}

// Share begins a share of nothing.
func (b *Budget) Share() Share { return Share{of: b} }

// Reserve holds so much in all, and tells whether it could be had; what was held before stays if not.
func (s *Share) Reserve(n int64) bool { return s.reserve(n, true) }

// reserve holds so much in all; with beyond, also more than there is, where nobody else holds anything.
func (s *Share) reserve(n int64, beyond bool) bool {
	if s.of == nil || n <= s.held {
		return true
	}
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	if !s.of.fits(n-s.held, beyond && s.of.used <= s.held) {
		return false
	}
	s.of.used += n - s.held
	s.held = n
	return true
}

// Use counts octets that came, and tells whether there was room for them. It holds a little more than it needs.
func (s *Share) Use(n int) bool {
	s.used += int64(n)
	return s.used <= s.held || s.reserve(s.used+step, false) || s.Reserve(s.used)
}

// Release gives all back. It may be called again.
func (s *Share) Release() {
	if s.of == nil {
		return
	}
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	s.of.used -= s.held
	s.held = 0
}
