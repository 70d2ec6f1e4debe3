package tar

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/tell"
)

// pending is what headers say of the file whose header comes next.
type pending struct {
	long, link []string // GNU
	pax        *pax
}

// reading is the state of one tar.
type reading struct {
	*walker
	at      int64
	next    pending
	global  *pax
	shared  []string // names that global gives all files
	entries int
	special int  // headers of other kinds than files
	ended   bool // blocks of zeros were seen
	lost    bool // what came before is no header
}

// tar reads headers until the file ends. Blocks of zeros end the archive for most readers, but some are told to go on
// (GNU tar -i): whatever header follows is read too. Where a block is no header, the next one is looked for; before
// the end that is worth a sign, after it only padding.
func (w *walker) tar(ctx context.Context) error {
	r := &reading{walker: w, global: &pax{}}
	for r.at < w.f.Size() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := r.step(ctx); err != nil {
			return err
		}
	}
	if r.next.pax != nil || r.next.long != nil || r.next.link != nil {
		w.say(archive.Unreadable, "cut", "the archive ends before the file of its last header")
	}
	if r.entries+r.special == 0 && !r.ended {
		w.say(archive.Unreadable, "header", "there is no tar archive in it")
	}
	return nil
}

// step reads one header and passes over its content.
func (r *reading) step(ctx context.Context) error {
	b, err := r.read(r.at, blockSize)
	if err != nil {
		return err
	}
	h, ok := (*header)(nil), false
	if len(b) == blockSize {
		h, ok = parseHeader(b)
	}
	if !ok {
		if len(bytes.Trim(b, "\x00")) == 0 {
			r.ended = true
		} else if !r.ended && !r.lost {
			r.say(archive.Unreadable, "header", fmt.Sprintf("at octet %d there is something that is no header", r.at))
			r.lost = true
		}
		return r.search(ctx)
	}
	r.lost = false
	r.at += blockSize
	switch h.kind {
	case typePax, typePaxSun, typeGlobal, typeLongName, typeLongLink:
		r.special++
		return r.meta(h)
	case typeVolume:
		r.special++
		r.at += padded(h.size)
		return nil
	}
	r.entries++
	err = r.file(ctx, h)
	r.next = pending{}
	return err
}

// padded gives the octets of whole blocks.
func padded(n int64) int64 { return (n + blockSize - 1) &^ (blockSize - 1) }

// search goes to the next block that is a header, or to the next one of zeros where that is news.
func (r *reading) search(ctx context.Context) error {
	const most = 512 * blockSize
	for r.at += blockSize; r.at < r.f.Size(); {
		if err := ctx.Err(); err != nil {
			return err
		}
		b, err := r.read(r.at, most)
		if err != nil {
			return err
		}
		for len(b) >= blockSize {
			if _, ok := parseHeader(b[:blockSize]); ok || !r.ended && len(bytes.Trim(b[:blockSize], "\x00")) == 0 {
				return nil
			}
			b = b[blockSize:]
			r.at += blockSize
		}
		if len(b) > 0 {
			return r.step0(b)
		}
	}
	return nil
}

// step0 ends the archive in the midst of a block.
func (r *reading) step0(b []byte) error {
	if !r.ended && !r.lost && len(bytes.Trim(b, "\x00")) > 0 {
		r.say(archive.Unreadable, "cut", "the archive is cut off")
	}
	r.at = r.f.Size()
	return nil
}

// maxGlobal is how many octets of names may be given to each of the files that follow.
const maxGlobal = 4 << 10

// maxMeta is the largest pax header that is read.
const maxMeta = 1 << 20

// meta reads a header that speaks of the next file, or of all that follow.
func (r *reading) meta(h *header) error {
	most := int64(maxMeta)
	if h.kind == typeLongName || h.kind == typeLongLink {
		most = maxPath
	}
	if h.size > most {
		r.say(archive.Unreadable, "meta", fmt.Sprintf("a header of names has %d octets", h.size))
		r.at += padded(h.size)
		return nil
	}
	b, err := r.read(r.at, int(h.size))
	if err != nil {
		return err
	}
	if int64(len(b)) < h.size {
		r.say(archive.Unreadable, "cut", "the archive is cut off in a header")
	}
	r.at += padded(h.size)
	switch h.kind {
	case typeLongName:
		r.next.long = append(r.next.long, cString(b))
	case typeLongLink:
		r.next.link = append(r.next.link, cString(b))
	case typeGlobal:
		r.note(r.global.add(b))
		total := 0
		for _, name := range slices.Concat(r.global.paths, r.global.links) {
			total += len(name)
		}
		if total > maxGlobal {
			r.say(archive.Unreadable, "pax", "the names that a pax header gives all files are too long")
			r.global.paths, r.global.links = nil, nil
		}
		r.shared = names(r.global.paths...)
	default:
		if r.next.pax == nil {
			r.next.pax = &pax{}
		}
		r.note(r.next.pax.add(b))
	}
	if len(r.next.long) > maxSame || len(r.next.link) > maxSame {
		return &archive.ErrBudget{What: fmt.Sprintf("more than %d headers for one file", maxSame)}
	}
	return nil
}

// maxSame is how many headers or records of one kind may speak of one file.
const maxSame = 8

func (r *reading) note(ok bool) {
	if !ok {
		r.say(archive.Unreadable, "pax", "a pax header is damaged")
	}
}

// file hands on the file of a header.
func (r *reading) file(ctx context.Context, h *header) error {
	size := h.size
	own := r.next.pax
	if own == nil {
		own = &pax{}
	}
	e := &archive.Entry{Names: r.names(h, own)}
	said, ok := own.size, own.sized
	if !ok {
		said, ok = r.global.size, r.global.sized
	}
	if ok && said != size {
		// Readers without pax go on elsewhere. A size that octal can't hold has no other place.
		if said < maxOctal {
			r.say(archive.Unreadable, "size", tell.Name(e.Names)+": its headers disagree about its size")
		}
		size = said
	}
	e.Size = size
	sparse, err := r.sparse(h, own, size)
	if err != nil {
		return err
	}
	if sparse != nil {
		return r.giveSparse(ctx, e, sparse)
	}
	e.Folder = h.kind == typeFolder || h.kind == typeDump || strings.HasSuffix(h.name, "/") && size == 0 && plain(h.kind)
	if h.kind == typeHard || h.kind == typeSymbolic {
		e.Link = r.target(h, own)
	}
	if h.kind == typeContinued {
		r.say(archive.Unreadable, "volumes", tell.Name(e.Names)+": its start is in another volume")
	}
	folder := h.kind == typeFolder || plain(h.kind) && strings.HasSuffix(h.name, "/") // as before ustar
	device := h.kind == typeChar || h.kind == typeBlock || h.kind == typeFIFO
	at := r.at
	r.at += padded(size)
	if size > 0 && (device || e.Link != "" || folder) {
		if err := r.bare(e, at, size); err != nil {
			return err
		}
	}
	if device && size == 0 {
		if err := r.b.Entry(); err != nil {
			return err
		}
		return r.v.File(e)
	}
	return r.give(e, at, size)
}

// bare decides where to go on after a kind of file that has no content but a size: some readers pass over its
// content, others do not.
func (r *reading) bare(e *archive.Entry, at, size int64) error {
	r.say(archive.Unreadable, "bare", tell.Name(e.Names)+": readers disagree whether it has content")
	b, err := r.read(at, blockSize)
	if err != nil {
		return err
	}
	if Is(b) || at+size > r.f.Size() {
		r.at = at
	}
	return nil
}

const maxOctal = 1 << 33

func plain(kind byte) bool { return kind == '0' || kind == 0 || kind == '7' }

// names gives all names of a file, the one first that readers of its dialect take.
func (r *reading) names(h *header, own *pax) []string {
	all := names(slices.Concat(own.sparseName, own.paths, r.next.long)...)
	last := []string{h.name}
	if h.prefix != "" {
		last = []string{h.prefix + "/" + h.name, h.name}
	}
	for _, name := range slices.Concat(r.shared, names(last...)) {
		if !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	return all
}

func (r *reading) target(h *header, own *pax) string {
	for _, all := range [][]string{own.links, r.next.link, r.global.links} {
		if len(all) > 0 {
			return strings.ToValidUTF8(all[len(all)-1], "\ufffd")
		}
	}
	return strings.ToValidUTF8(h.link, "\ufffd")
}
