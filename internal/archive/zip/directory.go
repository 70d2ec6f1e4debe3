package zip

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"

	"github.com/postern-mail/postern/internal/archive"
)

// parser finds the entries of an archive.
//
// First come the directories to which the end records in the tail of the file lead, from the last one to the first,
// but for those within the content of an entry that is known by then: a zip stored in a zip is content. Then the
// octets that belong to no entry are searched for local headers and for directories that nobody points to.
type parser struct {
	f        *archive.File
	budget   *archive.Budget
	r        *Reader
	byLocal  map[int64]*Entry // by the offset of the local header
	central  map[int64]bool   // offsets of central headers that were read
	covered  []span           // local headers with their content, directories
	contents []content        // of entries
	ends     int
	listed   int // directories that list something
	held     int // octets of names
}

// span is the octets [from, to).
type span struct{ from, to int64 }

// content is where the packed octets of an entry are.
type content struct {
	span
	stored bool
}

func (p *parser) say(kind archive.Kind, what, why string) { p.r.signs.Add(kind, what, why) }

const (
	maxComment = 1<<16 - 1
	maxEnds    = 16
	maxNames   = 4 << 20 // octets of all names together
)

func (p *parser) parse(ctx context.Context) error {
	tail := max(0, p.f.Size()-maxComment-lenEnd-lenLocator64)
	b, err := p.read(tail, int(p.f.Size()-tail))
	if err != nil {
		return err
	}
	for i := bytes.LastIndex(b, []byte(sigEnd)); i >= 0 && p.ends <= maxEnds; i = bytes.LastIndex(b[:i], []byte(sigEnd)) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if at := tail + int64(i); !p.inContent(at, b[i:]) {
			if err := p.readEnd(ctx, at); err != nil {
				return err
			}
		}
	}
	if err := p.searchGaps(ctx); err != nil {
		return err
	}
	if p.ends == 0 && len(p.r.entries) == 0 {
		p.say(unreadable, "end", "there is no zip archive in it")
	}
	return nil
}

// inContent reports whether an end record, with which b begins, belongs to the content of an entry: that of an archive
// within this one. Some readers pass over an end whose comment does not end with the file, and go back to one whose
// comment does: only what is stored is content even then, for of what is packed it shows another side.
func (p *parser) inContent(at int64, b []byte) bool {
	whole := len(b) >= lenEnd && int(binary.LittleEndian.Uint16(b[20:])) == len(b)-lenEnd
	for _, c := range p.contents {
		if c.from <= at && at+lenEnd <= c.to {
			return c.stored || !whole
		}
	}
	return false
}

// end is what an end record says (APPNOTE 4.3.14, 4.3.16).
type end struct {
	at           int64 // where the directory should end
	disk, disks  int64
	count        int64
	size, offset int64
	is64         bool
}

// readEnd reads the end record at an offset, the one of zip64 before it, and the directories to which they lead.
func (p *parser) readEnd(ctx context.Context, at int64) error {
	b, err := p.read(at, lenEnd)
	if err != nil || len(b) < lenEnd {
		return err
	}
	if p.ends++; p.ends > maxEnds {
		p.say(unreadable, "ends", fmt.Sprintf("it has more than %d ends", maxEnds))
		return nil
	}
	p.cover(at, at+lenEnd)
	le := binary.LittleEndian
	e := end{
		at: at, disk: int64(le.Uint16(b[4:])), disks: int64(le.Uint16(b[6:])), count: int64(le.Uint16(b[10:])),
		size: int64(le.Uint32(b[12:])), offset: int64(le.Uint32(b[16:])),
	}
	e64, err := p.readEnd64(at)
	if err != nil {
		return err
	}
	// Some readers take the record of zip64 wherever there is one, others only where a field is saturated.
	if e64 != nil {
		if err := p.readDirectories(ctx, *e64); err != nil {
			return err
		}
		if e.count == 0xffff || e.size == saturated || e.offset == saturated {
			return nil
		}
	}
	return p.readDirectories(ctx, e)
}

// readEnd64 reads the end record of zip64 to which the locator before an end record leads (APPNOTE 4.3.14,
// 4.3.15): at the place it names, or, with something put before the archive, right before it.
func (p *parser) readEnd64(at int64) (*end, error) {
	loc, err := p.read(at-lenLocator64, lenLocator64)
	if err != nil || len(loc) < lenLocator64 || string(loc[:4]) != sigLocator64 {
		return nil, err
	}
	le := binary.LittleEndian
	for _, place := range []int64{int64(min(le.Uint64(loc[8:]), 1<<62)), at - lenLocator64 - lenEnd64} {
		b, err := p.read(place, lenEnd64)
		if err != nil {
			return nil, err
		}
		if len(b) < lenEnd64 || string(b[:4]) != sigEnd64 {
			continue
		}
		if le.Uint64(b[4:]) > lenEnd64-12 && le.Uint16(b[12:]) >= 62 {
			p.say(encrypted, "directory", "its directory may be encrypted")
		}
		p.cover(place, at)
		return &end{
			at: place, disk: int64(le.Uint32(b[16:])), disks: int64(le.Uint32(b[20:])),
			count: int64(min(le.Uint64(b[32:]), 1<<62)), size: int64(min(le.Uint64(b[40:]), 1<<62)),
			offset: int64(min(le.Uint64(b[48:]), 1<<62)), is64: true,
		}, nil
	}
	p.say(unreadable, "end", "the end of the zip64 archive is missing")
	return nil, nil
}

// readDirectories reads the directory where it stands by its size, and where its offset says.
func (p *parser) readDirectories(ctx context.Context, e end) error {
	if e.disk != 0 || e.disks != 0 {
		p.say(unreadable, "volumes", "it is one part of a set of volumes")
	}
	found, before := 0, e.at-e.size
	for i, start := range []int64{before, e.offset} {
		if i == 1 && start == before {
			break
		}
		sig, err := p.read(start, 4)
		if err != nil {
			return err
		}
		if string(sig) == sigDecrypt {
			p.say(encrypted, "directory", "its directory is encrypted")
		}
		if string(sig) != sigCentral {
			continue
		}
		base := int64(0)
		if i == 0 {
			base = before - e.offset
		}
		if p.central[start] {
			found++
			continue
		}
		n, err := p.readDirectory(ctx, start, base)
		if err != nil {
			return err
		}
		if n&0xffff != e.count&0xffff || e.is64 && n != e.count {
			p.say(unreadable, "count", fmt.Sprintf("its end counts %d files, its directory %d", e.count, n))
		}
		found++
	}
	if found == 0 && (e.count > 0 || e.size > 0) {
		p.say(unreadable, "directory", "its directory is not where its end says")
	}
	return nil
}

// readDirectory reads the central headers from an offset on, whatever their announced number. Offsets of local
// headers count from base.
func (p *parser) readDirectory(ctx context.Context, start, base int64) (n int64, err error) {
	at := start
	for !p.central[at] {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		c, err := p.readCentral(at)
		if err != nil {
			return n, err
		}
		if c == nil {
			break
		}
		p.central[at] = true
		n++
		if err := p.add(c, base); err != nil {
			return n, err
		}
		at = c.end
	}
	p.cover(start, at)
	if n > 0 {
		if p.listed++; p.listed == 2 {
			p.say(unreadable, "directories", "it has several directories, of which readers take one")
		}
	}
	return n, nil
}

func (p *parser) cover(from, to int64) {
	if from < to {
		p.covered = append(p.covered, span{from, to})
	}
}

// count counts one more file and the memory of its names.
func (p *parser) count(r *record) error {
	if err := p.hold(r); err != nil {
		return err
	}
	return p.budget.Entry()
}

// hold counts the memory of names: headers that overlap may give a thousand long ones.
func (p *parser) hold(r *record) error {
	if p.held += len(r.name) + len(r.unicode); p.held > maxNames {
		return &archive.ErrBudget{What: fmt.Sprintf("more than %d octets of names in an archive", maxNames)}
	}
	return nil
}
