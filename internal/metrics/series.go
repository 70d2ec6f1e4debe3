package metrics

import (
	"maps"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// To find a series by its labels costs most of a microsecond where the processor has other things in mind, and a
// message counts in a dozen of them. So they are found once, when they are made, and kept by what they are asked for with.

// named keeps the series of the configured names of one kind. It only grows, up to a bound.
type named[S any] struct {
	max    int
	make   func(name string) *S
	known  atomic.Pointer[map[string]*S]
	mu     sync.Mutex        // of those who add to it
	beyond atomic.Pointer[S] // the series of all other names; made when they are needed
}

func (n *named[S]) init(max int, make func(name string) *S) {
	n.max, n.make = max, make
	n.known.Store(&map[string]*S{})
}

// add makes the series of the names that are new, as far as there is room.
func (n *named[S]) add(all []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	known := maps.Clone(*n.known.Load())
	for _, name := range all {
		if known[name] == nil && len(known) < n.max {
			known[name] = n.make(name)
		}
	}
	n.known.Store(&known)
}

// find gives the series of a name, nil where it is not known.
func (n *named[S]) find(name string) *S { return (*n.known.Load())[name] }

// get gives the series of a name, those of all others where it is not known.
func (n *named[S]) get(m *Metrics, name string) *S {
	if s := n.find(name); s != nil {
		return s
	}
	m.dropped.Inc()
	if s := n.beyond.Load(); s != nil {
		return s
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.beyond.Load() == nil {
		n.beyond.Store(n.make(other))
	}
	return n.beyond.Load()
}

const other = "other"

// words is a closed set of label values that the program itself has.
type words map[string]bool

func wordsOf(list []string) words {
	w := words{}
	for _, s := range list {
		w[s] = true
	}
	return w
}

// word gives v, or "other" where it is none of w.
func (m *Metrics) word(w words, v string) string {
	if w[v] {
		return v
	}
	m.dropped.Inc()
	return other
}

// pairs are the series of a counter with two labels, the values of each of which are a closed set.
type pairs struct {
	vec           *prometheus.CounterVec
	first, second words
	known         map[string]map[string]prometheus.Counter
}

// pairsOf makes all series of vec. The order of the words is that of its labels.
func pairsOf(vec *prometheus.CounterVec, first, second []string) pairs {
	p := pairs{vec: vec, first: wordsOf(first), second: wordsOf(second), known: map[string]map[string]prometheus.Counter{}}
	for _, a := range first {
		p.known[a] = countersOf(vec, second, a)
	}
	return p
}

// inc counts one of a and b.
func (p *pairs) inc(m *Metrics, a, b string) {
	if c := p.known[a][b]; c != nil {
		c.Inc()
		return
	}
	p.vec.WithLabelValues(m.word(p.first, a), m.word(p.second, b)).Inc()
}

// triplesOf makes all series of a counter with three labels, the values of each of which are a closed set.
func triplesOf(vec *prometheus.CounterVec, first, second, third []string) map[[3]string]prometheus.Counter {
	all := make(map[[3]string]prometheus.Counter, len(first)*len(second)*len(third))
	each(func(v ...string) { all[[3]string(v)] = vec.WithLabelValues(v...) }, first, second, third)
	return all
}

// countersOf makes the series of vec with the values of its first labels and each of the words as its last.
func countersOf(vec *prometheus.CounterVec, last []string, values ...string) map[string]prometheus.Counter {
	all := make(map[string]prometheus.Counter, len(last))
	for _, v := range last {
		all[v] = vec.WithLabelValues(append(values[:len(values):len(values)], v)...)
	}
	return all
}

// The classes of replies, by classAt.
var classes = [...]string{"2xx", "3xx", "4xx", "5xx", "none"}

// byClass are the series of a counter by the class of a reply.
type byClass [len(classes)]prometheus.Counter

// byClassOf makes the series of vec with the values of its first labels and each class as its last.
func byClassOf(vec *prometheus.CounterVec, values ...string) (all byClass) {
	for i, c := range classes {
		all[i] = vec.WithLabelValues(append(values[:len(values):len(values)], c)...)
	}
	return all
}

// classAt gives the place of the class of replies that begin with a digit: the last, "none", where there was no reply.
func classAt(firstDigit int) int {
	if firstDigit >= 2 && firstDigit <= 5 {
		return firstDigit - 2
	}
	return len(classes) - 1
}

// byMode are the series of a counter by whether a policy or a filter only observes.
type byMode [2]prometheus.Counter

// byModeOf makes the series of vec with the values of its first labels and each mode as its last.
func byModeOf(vec *prometheus.CounterVec, values ...string) byMode {
	v := values[:len(values):len(values)]
	return byMode{vec.WithLabelValues(append(v, mode(false))...), vec.WithLabelValues(append(v, mode(true))...)}
}

// of gives the counter of the mode.
func (b *byMode) of(observed bool) prometheus.Counter {
	if observed {
		return b[1]
	}
	return b[0]
}

func mode(observed bool) string {
	if observed {
		return "observe"
	}
	return "enforce"
}
