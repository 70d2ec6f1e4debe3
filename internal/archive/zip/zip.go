// Package zip reads zip archives as all their readers together do: those that trust the directory at the end, those
// that trust the headers before each file, and those that look for either wherever it may be. It is not a program that
// unpacks: what readers disagree about is given in every reading.
package zip

import (
	"context"
	"errors"
	"fmt"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/codec"
	"github.com/postern-mail/postern/internal/archive/tell"
)

const (
	encrypted  = archive.Encrypted
	unreadable = archive.Unreadable
	bomb       = archive.Bomb
)

// Entry is one file of an archive in one reading: a file about which headers disagree is several entries with the
// same names.
type Entry struct {
	Names     []string // every name that some reader takes, the usual one first; may be empty
	Size      int64    // unpacked octets by its header, -1 where that does not say
	Packed    int64    // packed octets by its header, -1 where that does not say
	Method    uint16   // how it is packed (APPNOTE 4.4.5); of AES, the mark that it is encrypted
	Encrypted bool     // it needs a password
	Folder    bool     // its name is that of a folder, and it has no content
	Symlink   bool     // its content is the target of a symbolic link under Unix

	data    int64 // where the packed octets begin, -1 where that is not known
	why     error // why there is no content
	crc     uint32
	marked  bool // LZMA: its packed form has a mark of its end
	open    bool // it goes on to where its packed form ends
	records int  // how many headers of directories spoke of it
}

// Reader is an open archive. It is for one goroutine.
type Reader struct {
	f       *archive.File
	entries []*Entry
	signs   tell.Signs
	read    int64 // packed octets read so far
	zstd    codec.Zstd
}

// Open finds the files of the archive in f, and counts them in b, so that neither Entries nor Spool does. It unpacks
// nothing. An archive that is damaged, or none, has few entries or none, and signs. The error is of the context or of
// reading f.
func Open(ctx context.Context, f *archive.File, b *archive.Budget) (*Reader, error) {
	p := &parser{f: f, budget: b, byLocal: map[int64]*Entry{}, central: map[int64]bool{}, r: &Reader{f: f}}
	err := p.parse(ctx)
	var spent *archive.ErrBudget
	if errors.As(err, &spent) {
		p.say(bomb, "", spent.What)
		err = nil
	}
	if err != nil {
		return nil, err
	}
	return p.r, nil
}

// Entries lists the files in the order of the directory, then those that only readers without one find.
func (r *Reader) Entries() []*Entry { return r.entries }

// Signs gives what the archive shows without being unpacked.
func (r *Reader) Signs() []archive.Sign { return r.signs.All() }

// Spool unpacks one entry. As with archive.Spool, problem is what is wrong with the content, and the File holds
// what could be read; it is nil where nothing could. The caller closes the File. SignOf makes a sign of the problem.
func (r *Reader) Spool(ctx context.Context, e *Entry, b *archive.Budget) (f *archive.File, problem, err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	switch {
	case e.Encrypted:
		return nil, errEncrypted, nil
	case e.why != nil:
		return nil, e.why, nil
	}
	return r.unpack(ctx, e, b)
}

var errEncrypted = errors.New("zip: needs a password")

// SignOf says what a problem of Spool means for an entry.
func SignOf(e *Entry, problem error) archive.Sign {
	var spent *archive.ErrBudget
	if errors.As(problem, &spent) {
		return archive.Sign{Kind: bomb, Why: fmt.Sprintf("%s: %s", tell.Name(e.Names), spent.What)}
	}
	if errors.Is(problem, errEncrypted) {
		return archive.Sign{Kind: encrypted, Why: tell.Name(e.Names) + " is encrypted"}
	}
	return archive.Sign{Kind: unreadable, Why: fmt.Sprintf("%s: %s", tell.Name(e.Names), problem)}
}

// maxLink is the longest content that is taken for the target of a link.
const maxLink = 4 << 10

// Walk implements archive.Walk. A symbolic link is given with its target and its content, since readers outside of
// Unix unpack it as a file.
func Walk(ctx context.Context, f *archive.File, b *archive.Budget, v archive.Visitor) error {
	r, err := Open(ctx, f, b)
	if err != nil {
		return err
	}
	for _, e := range r.entries {
		more, err := r.visit(ctx, e, b, v)
		if err != nil {
			return err
		}
		if !more {
			break
		}
	}
	return r.signs.Give(v)
}

// visit hands one entry on. There are no more once the budget is spent.
func (r *Reader) visit(ctx context.Context, e *Entry, b *archive.Budget, v archive.Visitor) (more bool, err error) {
	a := &archive.Entry{Names: e.Names, Folder: e.Folder, Size: e.Size}
	var problem error
	if !e.Folder || e.Encrypted {
		a.File, problem, err = r.Spool(ctx, e, b)
		if err != nil {
			return false, err
		}
	}
	if a.File != nil {
		defer func() { _ = a.File.Close() }()
	}
	if e.Symlink && a.File != nil && a.File.Size() <= maxLink {
		target, err := a.File.Head(maxLink)
		if err != nil {
			return false, err
		}
		a.Link = string(target)
	}
	if problem != nil {
		s := SignOf(e, problem)
		r.signs.Add(s.Kind, problem.Error(), s.Why)
	}
	var spent *archive.ErrBudget
	return !errors.As(problem, &spent), v.File(a)
}
