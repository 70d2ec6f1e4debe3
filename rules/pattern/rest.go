package pattern

import "bytes"

// mostWakes bounds the octets that one may look for in place of reading all.
const mostWakes = 3

// rest is of a state in which no match is on its way: only a few octets lead out of it, or none, and one may leap to the next of them.
type rest struct {
	wakes [mostWakes]byte
	n     int
}

// restOf tells what leads out of the state in which nothing but the context is known; nil where that is too much.
func (d *dfa) restOf(context uint8) *rest {
	r, known := d.rests[context]
	if !known {
		r = d.findRest(context)
		d.rests[context] = r
	}
	return r
}

func (d *dfa) findRest(context uint8) *rest {
	var wakes octets
	var classes [256]bool
	for class := range int32(len(d.sample)) {
		b := d.begin(context, class)
		classes[class] = len(b.states) > 0 || len(b.matches) > 0 || d.behind(class)&d.asked != context
	}
	for b := range 256 {
		if classes[d.classes[b]] {
			wakes.add(byte(b))
		}
	}
	r := &rest{n: wakes.count()}
	if r.n > mostWakes {
		return nil
	}
	copy(r.wakes[:], wakes.all())
	return r
}

// leap goes over what need not be read of one text.
type leap struct {
	rest *rest
	next [mostWakes]int // where each of the octets is next, from a place that was passed
}

// from gives the place at or behind i at which a text has to be read on, or its end.
func (l *leap) from(at *stop, b []byte, i int) int {
	if at == nil || at.rest == nil {
		return i
	}
	r := at.rest
	if r != l.rest {
		*l = leap{rest: r, next: [mostWakes]int{-1, -1, -1}}
	}
	to := len(b)
	for k, c := range r.wakes[:r.n] {
		if l.next[k] < i {
			l.next[k] = len(b)
			if n := bytes.IndexByte(b[i:], c); n >= 0 {
				l.next[k] = i + n
			}
		}
		to = min(to, l.next[k])
	}
	return to
}
