package pattern

import (
	"bytes"
	"errors"
	"math/bits"
	"sync"
)

// ErrSteps tells that a search was given up: the pattern tries too many ways through the text. Whether it matches is not known.
var ErrSteps = errors.New("pattern: step limit reached")

// A search takes at most this many steps, and so many more for each octet of the text, unless Options say otherwise. A step
// is an instruction, or some octets of a run.
const (
	DefaultSteps         = 1_000_000
	defaultStepsPerOctet = 100

	maxFrames = 1 << 20 // of the way back
)

// What a frame of the way back holds.
const (
	backBranch = iota // go on at pc from pos
	backSlot          // set slot pc to pos, and go further back
	backRun           // a greedy run may end earlier: pos down to low
	backLazy          // a lazy run may go on: from pos, to at most low
	backChoice        // the alternatives low of choices[pc] are left, at pos
	backTurn          // a lazy loop may take one more turn: of loops[pc], at pos
)

type frame struct {
	what uint8
	pc   int32
	pos  int
	low  int
}

// machine runs a program over one text.
type machine struct {
	p     *program
	b     []byte
	from  int // where the search began, for \G
	till  int // a match that ends before is none
	slots []int
	stack []frame
	steps int
}

var machines = sync.Pool{New: func() any { return new(machine) }}

func (m *machine) reset(p *program, b []byte, from, till, steps int) {
	m.p, m.b, m.from, m.till, m.steps = p, b, from, till, steps
	if cap(m.slots) < p.slots {
		m.slots = make([]int, p.slots)
	}
	m.slots = m.slots[:p.slots]
}

func (m *machine) release() {
	m.b, m.p = nil, nil
	if cap(m.stack) > 1<<14 {
		m.stack = nil
	}
	machines.Put(m)
}

// at tries a match that begins at pos.
func (m *machine) at(pos int) (end int, ok bool, err error) {
	for i := range m.slots {
		m.slots[i] = -1
	}
	m.steps -= len(m.slots) >> 3
	m.slots[0] = pos
	m.stack = m.stack[:0]
	end, ok, err = m.run(0, pos, 0, -1)
	if ok {
		m.slots[1] = end
	}
	return end, ok, err
}

func (m *machine) set(slot int32, v int) {
	m.stack = append(m.stack, frame{what: backSlot, pc: slot, pos: m.slots[slot]})
	m.slots[slot] = v
}

// drop takes the frames above base off, without going back to any: what was kept in slots stays, and the frames that would
// restore them stay as well.
func (m *machine) drop(base int) {
	m.steps -= (len(m.stack) - base) >> 3
	keep := base
	for _, f := range m.stack[base:] {
		if f.what == backSlot {
			m.stack[keep] = f
			keep++
		}
	}
	m.stack = m.stack[:keep]
}

// undo goes back to base, restoring all slots on the way.
func (m *machine) undo(base int) {
	m.steps -= (len(m.stack) - base) >> 3
	for i := len(m.stack) - 1; i >= base; i-- {
		if f := &m.stack[i]; f.what == backSlot {
			m.slots[f.pc] = f.pos
		}
	}
	m.stack = m.stack[:base]
}

// run goes from an instruction to the next opMatch. level is 0 for the pattern itself, and more in a look or an atomic group;
// want is the place at which a match has to end, as in a look behind, or -1.
func (m *machine) run(pc int32, pos, level, want int) (end int, ok bool, err error) {
	p, b := m.p, m.b
	base := len(m.stack)
	for {
		if m.steps--; m.steps < 0 || len(m.stack) > maxFrames {
			return 0, false, ErrSteps
		}
		in := &p.insts[pc]
		good := true
		switch in.op {
		case opMatch:
			if good = (level > 0 || pos >= m.till) && (want < 0 || pos == want); good {
				return pos, true, nil
			}
		case opText:
			t := p.texts[in.a]
			m.steps -= len(t) >> 6
			if good = len(b)-pos >= len(t) && string(b[pos:pos+len(t)]) == string(t); good {
				pos += len(t)
				pc++
			}
		case opFold:
			t := p.texts[in.a]
			m.steps -= len(t) >> 4
			if good = hasFolded(b[pos:], t); good {
				pos += len(t)
				pc++
			}
		case opSet:
			if good = pos < len(b) && p.sets[in.a].has(b[pos]); good {
				pos++
				pc++
			}
		case opJump:
			pc = in.a
		case opSplit:
			pc, good = m.split(in, pos)
		case opChoose:
			pc, good = m.choose(in.a, pos)
		case opRun:
			if pos, good = m.runOf(in, pc, pos); good {
				pc++
			}
		case opLook, opAtomic:
			if pc, pos, good, err = m.within(in, pc, pos, level); err != nil {
				return 0, false, err
			}
		default:
			pc, pos, good = m.other(in, pc, pos)
		}
		if good {
			continue
		}
		if pc, pos, ok = m.back(base); !ok {
			return 0, false, nil
		}
	}
}

// other does the instructions that are not as frequent.
func (m *machine) other(in *inst, pc int32, pos int) (int32, int, bool) {
	good := true
	switch in.op {
	case opSave:
		m.set(in.a, pos)
	case opClose:
		m.set(in.a, m.slots[in.b])
		m.set(in.a+1, pos)
	case opAssert:
		good = m.holds(in.a, pos)
	case opEnter:
		l := &m.p.loops[in.a]
		m.set(l.slot, 0)
		m.set(l.slot+1, -1)
		pc, good = m.turn(in.a, pos)
		return pc, pos, good
	case opLoop:
		l := &m.p.loops[in.a]
		m.set(l.slot, m.slots[l.slot]+1)
		pc, good = m.turn(in.a, pos)
		return pc, pos, good
	case opBackref:
		pos, good = m.backref(in, pos)
	case opCond:
		if m.captured(m.p.refs[in.x]) >= 0 {
			return in.a, pos, true
		}
		return in.b, pos, true
	default: // opFail
		good = false
	}
	return pc + 1, pos, good
}

// within runs a look or an atomic group, and goes on behind it.
func (m *machine) within(in *inst, pc int32, pos, level int) (int32, int, bool, error) {
	if in.op == opLook {
		good, err := m.look(in, pc, pos, level)
		return in.a, pos, good, err
	}
	at := len(m.stack)
	to, good, err := m.run(pc+1, pos, level+1, -1)
	if good {
		m.drop(at)
	}
	return in.a, to, good, err
}

// back takes the last way that was left open.
func (m *machine) back(base int) (pc int32, pos int, ok bool) {
	for len(m.stack) > base {
		f := &m.stack[len(m.stack)-1]
		switch f.what {
		case backSlot:
			m.slots[f.pc] = f.pos
		case backBranch:
			m.stack = m.stack[:len(m.stack)-1]
			return f.pc, f.pos, true
		case backChoice:
			mask := uint64(f.low)
			pc, pos := m.p.choices[f.pc].to[bits.TrailingZeros64(mask)], f.pos
			if mask &= mask - 1; mask != 0 {
				f.low = int(mask)
			} else {
				m.stack = m.stack[:len(m.stack)-1]
			}
			return pc, pos, true
		case backTurn:
			l, at := &m.p.loops[f.pc], f.pos
			m.stack = m.stack[:len(m.stack)-1]
			m.set(l.slot+1, at)
			return l.body, at, true
		case backRun:
			if pos, ok := m.shorter(f); ok {
				return f.pc + 1, pos, true
			}
		case backLazy:
			if pos, ok := m.longer(f); ok {
				return f.pc + 1, pos, true
			}
		}
		m.stack = m.stack[:len(m.stack)-1]
	}
	return 0, 0, false
}

// shorter gives back octets of a greedy run until what follows may begin.
func (m *machine) shorter(f *frame) (int, bool) {
	in := &m.p.insts[f.pc]
	pos := f.pos - 1
	if in.y != 0 {
		follow := &m.p.sets[in.y]
		for pos >= f.low && !(pos < len(m.b) && follow.has(m.b[pos])) {
			pos--
		}
		m.steps -= (f.pos - pos) >> 3
	}
	if pos < f.low {
		return 0, false
	}
	if f.pos = pos; pos == f.low {
		m.stack = m.stack[:len(m.stack)-1]
	}
	return pos, true
}

// longer lets a lazy run go on until what follows may begin.
func (m *machine) longer(f *frame) (int, bool) {
	in := &m.p.insts[f.pc]
	set, follow := &m.p.sets[in.x], &m.p.sets[in.y]
	for pos := f.pos; pos < f.low && set.has(m.b[pos]); {
		pos++
		if in.y == 0 || pos < len(m.b) && follow.has(m.b[pos]) {
			m.steps -= (pos - f.pos) >> 3
			f.pos = pos
			return pos, true
		}
		if pos&7 == 0 {
			m.steps--
		}
	}
	return 0, false
}

// choose takes the first alternative that may begin with the octet at pos.
func (m *machine) choose(i int32, pos int) (int32, bool) {
	c := &m.p.choices[i]
	mask := c.masks[len(c.masks)-1]
	if pos < len(m.b) {
		mask = c.masks[c.class[m.b[pos]]]
	}
	if mask == 0 {
		return 0, false
	}
	to := c.to[bits.TrailingZeros64(mask)]
	if mask &= mask - 1; mask != 0 {
		m.stack = append(m.stack, frame{what: backChoice, pc: i, pos: pos, low: int(mask)})
	}
	return to, true
}

func (m *machine) split(in *inst, pos int) (pc int32, ok bool) {
	if in.x|in.y == 0 {
		m.stack = append(m.stack, frame{what: backBranch, pc: in.b, pos: pos})
		return in.a, true
	}
	yes, no := in.x == 0, in.y == 0
	if pos < len(m.b) {
		c := m.b[pos]
		yes = yes || m.p.sets[in.x].has(c)
		no = no || m.p.sets[in.y].has(c)
	}
	switch {
	case yes && no:
		m.stack = append(m.stack, frame{what: backBranch, pc: in.b, pos: pos})
		return in.a, true
	case yes:
		return in.a, true
	}
	return in.b, no
}

// runOf takes a run of octets of one set.
func (m *machine) runOf(in *inst, pc int32, pos int) (int, bool) {
	least := pos + int(in.a)
	if least > len(m.b) {
		return 0, false
	}
	most := len(m.b)
	if in.b != infinite && int(in.b) < most-pos {
		most = pos + int(in.b)
	}
	set, end := &m.p.sets[in.x], pos
	if in.c == lazy {
		for end < least && set.has(m.b[end]) {
			end++
		}
		m.steps -= (end - pos) >> 3
		if end < least {
			return 0, false
		}
		if most > end {
			m.stack = append(m.stack, frame{what: backLazy, pc: pc, pos: end, low: most})
		}
		return end, true
	}
	if in.x == 0 {
		end = most
	} else {
		for end < most && set.has(m.b[end]) {
			end++
		}
		m.steps -= (end - pos) >> 3
	}
	if end < least {
		return 0, false
	}
	if in.c == greedy && end > least {
		m.stack = append(m.stack, frame{what: backRun, pc: pc, pos: end, low: least})
	}
	return end, true
}

// turn decides, at the end of a turn of a loop or before the first, where to go on.
func (m *machine) turn(i int32, pos int) (pc int32, ok bool) {
	l := &m.p.loops[i]
	done := m.slots[l.slot]
	if done < int(l.min) {
		m.set(l.slot+1, pos)
		return l.body, true
	}
	// Perl leaves a loop after a turn that took nothing.
	more := (l.max == infinite || done < int(l.max)) && m.slots[l.slot+1] != pos
	leave := true
	if pos < len(m.b) {
		more = more && m.p.sets[l.first].has(m.b[pos])
		leave = m.p.sets[l.follow].has(m.b[pos])
	} else {
		more = more && l.first == 0
		leave = l.follow == 0
	}
	if !more {
		return l.exit, leave
	}
	if !l.lazy {
		if leave {
			m.stack = append(m.stack, frame{what: backBranch, pc: l.exit, pos: pos})
		}
		m.set(l.slot+1, pos)
		return l.body, true
	}
	if !leave {
		m.set(l.slot+1, pos)
		return l.body, true
	}
	m.stack = append(m.stack, frame{what: backTurn, pc: i, pos: pos})
	return l.exit, true
}

func (m *machine) look(in *inst, pc int32, pos, level int) (bool, error) {
	at := len(m.stack)
	found := false
	var err error
	if in.c&lookBehind == 0 {
		_, found, err = m.run(pc+1, pos, level+1, -1)
	} else {
		for w := min(int(in.x), pos); w >= int(in.b)-1 && !found && err == nil; w-- { // Perl begins as far behind as it may
			_, found, err = m.run(pc+1, pos-w, level+1, pos)
		}
	}
	if err != nil {
		return false, err
	}
	if in.c&lookNegative != 0 {
		m.undo(at)
		return !found, nil
	}
	if found {
		m.drop(at)
	}
	return found, nil
}

// captured gives the first group of a list that is set, or -1.
func (m *machine) captured(refs []int32) int32 {
	m.steps -= len(refs) >> 3
	for _, g := range refs {
		if m.slots[2*g+1] >= 0 {
			return g
		}
	}
	return -1
}

func (m *machine) backref(in *inst, pos int) (int, bool) {
	g := m.captured(m.p.refs[in.a])
	if g < 0 {
		return 0, false
	}
	t := m.b[m.slots[2*g]:m.slots[2*g+1]]
	rest := m.b[pos:]
	if len(rest) < len(t) {
		return 0, false
	}
	m.steps -= len(t) >> 3
	if in.c == 0 {
		return pos + len(t), bytes.Equal(rest[:len(t)], t)
	}
	for i, c := range t {
		if lower[c] != lower[rest[i]] {
			return 0, false
		}
	}
	return pos + len(t), true
}

func (m *machine) holds(what int32, pos int) bool {
	b := m.b
	switch what {
	case atTextStart:
		return pos == 0
	case atLineStart:
		// Perl's ^ under /m does not hold after a line feed that ends the text.
		return pos == 0 || b[pos-1] == '\n' && pos < len(b)
	case atTextEnd:
		return pos == len(b)
	case atLastLine:
		return pos == len(b) || pos == len(b)-1 && b[pos] == '\n'
	case atLineEnd:
		return pos == len(b) || b[pos] == '\n'
	case atSearchFrom:
		return pos == m.from
	}
	before := pos > 0 && classWord.has(b[pos-1])
	after := pos < len(b) && classWord.has(b[pos])
	return (before != after) == (what == atBoundary)
}
