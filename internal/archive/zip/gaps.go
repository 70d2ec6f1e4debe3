package zip

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"maps"
	"slices"

	"github.com/postern-mail/postern/internal/archive/tell"
)

// searchGaps searches what no directory covers: for local headers, which readers that take an archive as a stream
// find one after the other, and for ends and directories far from the end of the file, which readers find that go
// forward. What a found header covers is passed over, so that no octet is searched twice.
func (p *parser) searchGaps(ctx context.Context) error {
	slices.SortFunc(p.covered, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	at := int64(0)
	covered := p.covered
	overlap := false
	for _, s := range covered {
		var err error
		if s.from > at {
			if at, err = p.searchGap(ctx, at, s.from); err != nil {
				return err
			}
		}
		overlap = overlap || s.from < at && s.to > s.from
		at = max(at, s.to)
	}
	if overlap {
		p.say(unreadable, "overlap", "files of the directory share their content, or overlap")
	}
	_, err := p.searchGap(ctx, at, p.f.Size())
	return err
}

// searchBlock is how much is searched at once; what may be cut off by its end is looked at in the next one.
const searchBlock = 256 << 10

// searchGap searches the octets from at on for records that begin before to, and gives where it ended.
func (p *parser) searchGap(ctx context.Context, at, to int64) (int64, error) {
	var b []byte
	start := at // of b
	for at < to {
		rest := b[min(at-start, int64(len(b))):]
		if len(rest) < lenCentral+1 && start+int64(len(b)) < min(to+lenCentral, p.f.Size()) {
			if err := ctx.Err(); err != nil {
				return at, err
			}
			var err error
			if b, err = p.read(at, int(min(searchBlock, to-at+lenCentral))); err != nil || len(b) == 0 {
				return to, err
			}
			start, rest = at, b
		}
		i := bytes.Index(rest, []byte("PK"))
		switch {
		case i < 0:
			at = min(to, at+int64(max(len(rest)-1, 1)))
			continue
		case i > 0:
			at += int64(i)
			continue
		}
		n, err := p.record(ctx, at, rest)
		if err != nil {
			return at, err
		}
		at += max(n, 2)
	}
	return at, nil
}

// record reads what begins with b at an offset of a gap, and gives how many octets it covers, 0 for nothing.
func (p *parser) record(ctx context.Context, at int64, b []byte) (int64, error) {
	if len(b) < lenEnd {
		return 0, nil
	}
	switch string(b[:4]) {
	case sigLocal:
		if !plausible(b) {
			return 0, nil
		}
		return p.addStray(at)
	case sigCentral:
		if !plausibleCentral(b) || p.central[at] {
			return 0, nil
		}
		p.say(unreadable, "stray", "it has a directory to which no end leads")
		before := len(p.covered)
		base, err := p.guessBase(b)
		if err != nil {
			return 0, err
		}
		if _, err := p.readDirectory(ctx, at, base); err != nil || len(p.covered) == before {
			return 0, err
		}
		s := p.covered[len(p.covered)-1]
		return s.to - at, nil
	case sigEnd:
		if p.ends <= maxEnds {
			return 0, p.readEnd(ctx, at)
		}
	}
	return 0, nil
}

// plausible reports whether octets that begin with the signature of a local header are one: programs that make
// archives hold the signature too, and what follows it there has no name that could be one.
func plausible(b []byte) bool {
	if len(b) < lenLocal || string(b[:4]) != sigLocal {
		return false
	}
	le := binary.LittleEndian
	return known(le.Uint16(b[8:])) && nameLike(b[lenLocal:], int(le.Uint16(b[26:])))
}

func plausibleCentral(b []byte) bool {
	if len(b) < lenCentral {
		return false
	}
	le := binary.LittleEndian
	return known(le.Uint16(b[10:])) && nameLike(b[lenCentral:], int(le.Uint16(b[28:])))
}

// nameLike looks at a name of n octets at the start of b as far as it is there.
func nameLike(b []byte, n int) bool {
	return n > 0 && (len(b) == 0 || b[0] != 0)
}

// guessBase gives from where the offsets of a directory count that no end belongs to: from the start of the file, or,
// with something before the archive, from its first local header.
func (p *parser) guessBase(b []byte) (int64, error) {
	local := int64(binary.LittleEndian.Uint32(b[42:]))
	sig, err := p.read(local, 4)
	if err != nil || string(sig) == sigLocal || len(p.byLocal) == 0 {
		return 0, err
	}
	return slices.Min(slices.Collect(maps.Keys(p.byLocal))), nil
}

// addStray adds the entry of a local header that no directory lists.
func (p *parser) addStray(at int64) (int64, error) {
	l, err := p.readLocal(at)
	if err != nil || l == nil {
		return 0, err
	}
	if err := p.count(l); err != nil {
		return 0, err
	}
	e := p.entry(l, nil)
	e.data = l.end
	e.open = l.flags&flagDescriptor != 0 && l.packed == 0
	if e.open {
		e.Size, e.Packed = -1, -1
	}
	p.r.entries = append(p.r.entries, e)
	p.byLocal[at] = e
	if p.listed > 0 {
		p.say(unreadable, "unlisted", tell.Name(e.Names)+" is not in the directory: readers disagree whether it is there")
	} else {
		p.say(unreadable, "end", "it has no directory")
	}
	if e.open {
		return l.end - at, nil
	}
	return min(l.end+l.packed, p.f.Size()) - at, nil
}
