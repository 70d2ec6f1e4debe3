package pattern

// client is a pattern that waits for the texts of a clue.
type client struct {
	pattern int32
	role    uint8
	word    bool
	lo, hi  int // where the text lies from the start of the match
	// Of a shuts, which is found behind the text of the opens before it in the list of clients:
	near, far int
}

// What a found text means.
const (
	alone = iota // a match may lie here
	opens        // a match may lie here if another text follows
	shuts        // the other text
)

// mostMarks bounds what is remembered of a segment: beyond it places are tried when they are found.
const mostMarks = 1 << 16

// mark is where the text of an opens was found.
type mark struct {
	at   int32
	next int32 // the one before it
}

// wait adds the clients of a watch, and their texts.
func (s *Set) wait(pattern int32, b watch, texts map[string][]int32) {
	add := func(c clue, k client) {
		k.pattern, k.word, k.lo, k.hi = pattern, c.word, c.lo, c.hi
		for _, t := range c.texts {
			texts[t] = append(texts[t], int32(len(s.clients)))
		}
		s.clients = append(s.clients, k)
	}
	if !b.paired {
		add(b.open, client{role: alone})
		return
	}
	add(b.open, client{role: opens})
	far := infinite
	if b.shut.hi != infinite {
		far = b.shut.hi - b.open.lo
	}
	add(b.shut, client{role: shuts, near: b.shut.lo - b.open.hi, far: far})
}

// found hears of a text that clients wait for.
func (x *scan) found(pl *place, at int) {
	x.folded.told += len(pl.clients)
	for _, k := range pl.clients {
		c := &x.set.clients[k]
		if x.done[c.pattern] || c.word && at > 0 && classWord.has(x.b[at-1]) {
			continue
		}
		switch c.role {
		case alone:
			from := 0
			if c.hi != infinite {
				from = max(at-c.hi, 0)
			}
			x.starts(c.pattern, from, at-c.lo+1)
		case opens:
			if len(x.marks) >= mostMarks {
				x.starts(c.pattern, max(at-c.hi, 0), at-c.lo+1)
				continue
			}
			if x.heads[k] == 0 {
				x.marked = append(x.marked, k)
			}
			x.marks = append(x.marks, mark{int32(at), x.heads[k]})
			x.heads[k] = int32(len(x.marks))
		case shuts:
			x.shut(k-1, c, at)
		}
	}
}

// shut tries the places that were marked for the client k and are near enough. None of them is tried twice.
func (x *scan) shut(k int32, c *client, at int) {
	open := &x.set.clients[k]
	link := &x.heads[k]
	for *link != 0 && !x.done[c.pattern] {
		m := &x.marks[*link-1]
		d := at - int(m.at)
		if !x.w.spend(1) {
			return
		}
		switch {
		case c.far != infinite && d > c.far+clueLength:
			*link = 0 // and all before it are farther: texts are told by their ends, and none is longer
		case c.far != infinite && d > c.far:
			link = &m.next
		case d < c.near:
			link = &m.next
		default:
			x.starts(c.pattern, max(int(m.at)-open.hi, 0), int(m.at)-open.lo+1)
			*link = m.next
		}
	}
}

// forget takes the marks of a segment away.
func (x *scan) forget() {
	for _, k := range x.marked {
		x.heads[k] = 0
	}
	x.marked, x.marks = x.marked[:0], x.marks[:0]
}

// starts tries matches that begin within a range.
func (x *scan) starts(i int32, from, to int) {
	t, p := x.tried(i), x.set.patterns[i]
	to = min(to, len(x.b)-max(p.least, 1)+1)
	if p.start {
		to = min(to, 1)
	}
	if t.whole || from >= to {
		return
	}
	for pos := from; pos < to; pos++ {
		if pos >= t.from && pos < t.to {
			pos = t.to - 1
			continue
		}
		if next := p.begins(x.b, pos, to); next > pos {
			x.folded.told += (next - pos) >> 3
			pos = next - 1
			continue
		}
		allowed := min(t.steps, x.w.steps)
		x.m.reset(p.prog, x.b, 0, 0, allowed)
		_, ok, err := x.m.at(pos)
		x.took(t, allowed)
		if ok || err != nil {
			t.whole = true
			x.settle(i, ok, err)
			return
		}
	}
	switch {
	case from <= t.to && to >= t.from: // one range with what was tried before
		t.from, t.to = min(from, t.from), max(to, t.to)
	case from > t.to: // what comes next is nearer to this one
		t.from, t.to = from, to
	}
}
