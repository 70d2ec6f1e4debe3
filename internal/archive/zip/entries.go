package zip

import (
	"bytes"
	"errors"
	"slices"
	"strings"

	"github.com/postern-mail/postern/internal/archive/tell"
)

// maxAliases is how many central headers with one local header are taken for one entry.
const maxAliases = 16

// add makes the entries of a central header. Where the local header disagrees about the octets, there is one for
// either.
func (p *parser) add(c *record, base int64) error {
	if err := p.count(c); err != nil {
		return err
	}
	if c.flags&flagMasked != 0 {
		p.say(encrypted, "directory", "its directory is encrypted")
	}
	at := base + c.local
	l, err := p.readLocal(at)
	if err != nil {
		return err
	}
	if base != 0 {
		// Something stands before the archive. There are readers that heed it and readers that do not.
		other, err := p.readLocal(c.local)
		if err != nil {
			return err
		}
		switch {
		case other == nil:
		case l == nil:
			at, l = c.local, other
		case p.byLocal[c.local] == nil:
			p.say(unreadable, "shift", "readers disagree where its files begin")
			if err := p.addFound(c.local, c, other); err != nil {
				return err
			}
		}
	}
	if l == nil {
		p.addLost(c)
		return nil
	}
	if old := p.byLocal[at]; old != nil && old.records < maxAliases && old.Method == c.method && old.Packed == c.packed && old.Size == c.size {
		p.alias(old, c)
		return nil
	}
	return p.addFound(at, c, l)
}

// alias adds the names of one more central header to the entry of its local header.
func (p *parser) alias(e *Entry, c *record) {
	if e.records > 0 && (len(c.name) == 0 || !slices.Contains(e.Names, string(c.name))) {
		p.say(unreadable, "overlap", "files of the directory share their content, or overlap")
	}
	e.records++
	for _, name := range names(c) {
		if !slices.Contains(e.Names, name) {
			e.Names = append(e.Names, name)
		}
	}
}

// addLost adds an entry whose local header is not there.
func (p *parser) addLost(c *record) {
	e := p.entry(c, nil)
	switch {
	case c.disk != 0:
		e.why = errors.New("its content is in another volume")
		p.say(unreadable, "volumes", "it is one part of a set of volumes")
	default:
		e.why = errors.New("its content is not where the directory says")
	}
	p.r.entries = append(p.r.entries, e)
}

func (p *parser) addFound(at int64, c, l *record) error {
	if !bytes.Equal(c.name, l.name) || len(l.unicode) > 0 {
		if err := p.hold(l); err != nil {
			return err
		}
	}
	e := p.entry(c, l)
	e.data, e.records = l.end, 1
	p.r.entries = append(p.r.entries, e)
	if p.byLocal[at] != nil {
		p.say(unreadable, "overlap", "files of the directory share their content, or overlap")
	}
	p.byLocal[at] = e
	stop := min(l.end+c.packed, p.f.Size())
	if what := disagree(c, l); what != "" {
		p.say(unreadable, "disagree", tell.Name(e.Names)+": its headers disagree about its "+what)
		other := *e
		other.Method, other.Size, other.Packed, other.crc = l.method, l.size, l.packed, l.crc
		other.marked = l.flags&flagMarked != 0
		other.Encrypted = l.encrypted()
		other.Folder = e.Folder && l.size == 0 && l.packed <= 2
		other.open = l.flags&flagDescriptor != 0 && l.packed == 0
		if what != "name" {
			p.r.entries = append(p.r.entries, &other)
		}
		stop = min(stop, l.end+other.Packed)
	}
	p.cover(at, max(stop, l.end))
	p.contents = append(p.contents, content{span{l.end, stop}, c.method == methodStored && !c.encrypted()})
	return nil
}

// disagree says in what the local header differs from the central one. Sizes and checksum of a local header may be
// left to the data descriptor (APPNOTE 4.3.9, 4.4.4).
func disagree(c, l *record) string {
	late := l.flags&flagDescriptor != 0
	differ := func(a, b int64) bool { return a != b && (!late || b != 0) }
	switch {
	case c.encrypted() != l.encrypted():
		return "encryption"
	case c.method != l.method:
		return "method"
	case c.flags&flagMasked != 0 || l.flags&flagMasked != 0:
		return "" // APPNOTE 7.3: the local header is masked
	case differ(c.packed, l.packed) && !(late && l.packed == saturated):
		return "packed size"
	case differ(c.size, l.size) && !(late && l.size == saturated):
		return "size"
	case differ(int64(c.crc), int64(l.crc)):
		return "checksum"
	case !sameName(c.name, l.name):
		return "name"
	}
	return ""
}

// entry makes an entry of its headers, of which the first leads.
func (p *parser) entry(lead, other *record) *Entry {
	e := &Entry{
		Names: names(lead, other), Size: lead.size, Packed: lead.packed, Method: lead.method,
		Encrypted: lead.encrypted(), crc: lead.crc, data: -1,
		marked: lead.flags&flagMarked != 0,
	}
	e.Symlink = lead.unix && lead.mode&0xf000 == 0xa000
	e.Folder = lead.size == 0 && lead.packed <= 2 && len(e.Names) > 0 && (strings.HasSuffix(e.Names[0], "/") || lead.folder && strings.HasSuffix(e.Names[0], `\`))
	return e
}
