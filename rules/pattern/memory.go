package pattern

import "sync/atomic"

// DefaultMemory is how many octets the tables of a set take, where nothing else is said.
const DefaultMemory = 32 << 20

// leastShare is what the tables of an automaton may hold, however many share the memory.
const leastShare = 32 << 10

// Memory bounds what the tables hold that grow while texts are scanned, of all sets that were made with it. When it is spent,
// each automaton may still have its share of half of it; one that has more begins its tables anew when they next grow. It is safe
// for concurrent use.
type Memory struct {
	total int64
	used  atomic.Int64
	fixed atomic.Int64 // of those: automata that are kept
	among atomic.Int64 // automata that have a share
}

// NewMemory makes a Memory of so many octets, or of DefaultMemory where that is 0.
func NewMemory(octets int) *Memory {
	if octets <= 0 {
		octets = DefaultMemory
	}
	return &Memory{total: int64(octets)}
}

// Used gives how many octets the tables hold now.
func (m *Memory) Used() int { return int(m.used.Load()) }

func (m *Memory) share() int64 { return max(m.total/(2*max(m.among.Load(), 1)), leastShare) }

// full tells whether an automaton whose tables hold so many octets has to begin anew.
func (m *Memory) full(size int) bool { return m.used.Load() > m.total && int64(size) > m.share() }

// keep sets octets aside for good, of a quarter of all; not where that is spent.
func (m *Memory) keep(octets int) bool {
	if m.fixed.Add(int64(octets)) > m.total/4 {
		m.fixed.Add(-int64(octets))
		return false
	}
	m.used.Add(int64(octets))
	return true
}
