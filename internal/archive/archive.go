// Package archive is the vocabulary in which containers speak of what is inside them, and the budget of work
// that all of them together may cost: archives, documents, mail within mail. The readers of the single formats
// live in packages below it. It judges nothing: what a file is, and what becomes of it, others say.
package archive

import (
	"context"
	"fmt"
)

// Walk reads one container and tells v what is in it. It never fails for what the container holds: what can't
// be read, is encrypted or costs too much is a Sign. The error is that of the context, of reading f, of the
// disk, or what v returned: it means "could not tell".
type Walk func(ctx context.Context, f *File, b *Budget, v Visitor) error

// Visitor is told what is in a container, in the order of the container. An error ends the walk and is returned
// by it unchanged.
type Visitor interface {
	// File is called for each file inside, folders and links among them. The Entry and its File are valid until
	// it returns.
	File(e *Entry) error
	// Sign is called for each thing that the container shows about itself.
	Sign(s Sign) error
}

// Entry is one file inside a container.
type Entry struct {
	Names  []string // every name that some reader takes for it, the usual one first; as stored, made UTF-8; may be empty
	Type   string   // media type where the container says so, else ""
	Folder bool     // a folder; it has no content
	Link   string   // target of a symbolic or hard link; it has no content
	Size   int64    // octets by the container's own word, -1 where it does not say
	File   *File    // the content; nil where there is none, or it could not be read: a Sign says why
}

// Kind is what a Sign is about.
type Kind string

// The kinds of signs.
const (
	Encrypted  Kind = "encrypted"   // something in it can't be read without a password or key
	Unreadable Kind = "unreadable"  // something in it could not be looked at: damaged, or of a form that is not known
	Bomb       Kind = "bomb"        // looking into it would take more work than the budget allows
	Sealed     Kind = "sealed"      // it is encrypted for its recipient: S/MIME or OpenPGP
	MacroAuto  Kind = "macro_auto"  // a document runs or loads code when it is opened
	Macro      Kind = "macro"       // a document holds code that somebody must start
	ActiveHTML Kind = "active_html" // HTML or SVG that runs script
	ActivePDF  Kind = "active_pdf"  // PDF that runs script, starts programs or holds files
	Script     Kind = "script"      // something that an interpreter runs
	Program    Kind = "executable"  // something that a machine runs
	Shortcut   Kind = "shortcut"    // something that makes the desktop open or run something else
)

// Sign is one thing that a container shows about itself.
type Sign struct {
	Kind Kind
	Why  string // evidence for people: "the macro AutoOpen runs when the document is opened"; may hold octets of the file
}

// String gives the sign for people.
func (s Sign) String() string { return fmt.Sprintf("%s: %s", s.Kind, s.Why) }

// Limits bound the work of looking into the containers of one message. A zero field means its default.
type Limits struct {
	Depth  int    // containers inside one another; default 5
	Files  int    // files in all containers together; default 10000
	Octets int64  // unpacked octets of all together; default 256 MiB
	Ratio  int64  // unpacked octets per packed one, counted above 64 MiB of unpacked ones; default 200
	Dir    string // folder for content that outgrows memory; "" is os.TempDir()
}

// ratioFloor is how much may be unpacked whatever the ratio.
const ratioFloor = 64 << 20

func (l Limits) withDefaults() Limits {
	if l.Depth <= 0 {
		l.Depth = 5
	}
	if l.Files <= 0 {
		l.Files = 10000
	}
	if l.Octets <= 0 {
		l.Octets = 256 << 20
	}
	if l.Ratio <= 0 {
		l.Ratio = 200
	}
	return l
}

// ErrBudget is the error of work that the budget does not allow. It is turned into a Sign of the kind Bomb by the
// reader that meets it, and never returned by a Walk.
type ErrBudget struct {
	Limit Limit
	What  string
}

// Limit names one of the Limits. Limits that were reached are a set of them.
type Limit uint8

// The limits.
const (
	Depth Limit = 1 << iota
	Files
	Octets
	Ratio
)

// Error says what ran out.
func (e *ErrBudget) Error() string { return "archive: " + e.What }

// Budget counts the work that one message has cost so far. It is for one goroutine. Once something has run out,
// every further call fails in the same way.
type Budget struct {
	limits Limits
	packed int64 // octets of the message
	depth  int
	files  int
	octets int64
	spent  *ErrBudget
	hit    Limit // all that were reached
	memory Memory
}

// Memory is who counts the memory that readers take beside what they read, for all messages together.
type Memory interface {
	// Taking does what takes so many octets, when there is room for them. The error is that of do, or that there never was room.
	Taking(octets int64, do func() error) error
	// Aside does what may wait for a reader of another message.
	Aside(do func())
}

// Counted has memory counted from now on.
func (b *Budget) Counted(by Memory) { b.memory = by }

// Taking does what takes so many octets of memory, when there is room for them, if anybody counts.
func (b *Budget) Taking(octets int64, do func() error) error {
	if b.memory == nil || octets <= 0 {
		return do()
	}
	return b.memory.Taking(octets, do)
}

// Aside does what may wait for a reader of another message.
func (b *Budget) Aside(do func()) {
	if b.memory == nil {
		do()
		return
	}
	b.memory.Aside(do)
}

// NewBudget makes the budget of a message that has packed octets.
func NewBudget(l Limits, packed int64) *Budget {
	return &Budget{limits: l.withDefaults(), packed: max(packed, 1)}
}

// Dir is the folder for content that outgrows memory.
func (b *Budget) Dir() string { return b.limits.Dir }

// Enter goes one container deeper; each Enter that gave no error is ended by Leave.
func (b *Budget) Enter() error {
	if b.depth >= b.limits.Depth {
		// Not for good: what lies beside it can still be looked at.
		b.hit |= Depth
		return &ErrBudget{Depth, fmt.Sprintf("more than %d containers inside one another", b.limits.Depth)}
	}
	if b.spent != nil {
		return b.spent
	}
	b.depth++
	return nil
}

// Leave comes back from a container.
func (b *Budget) Leave() { b.depth-- }

// Entry counts one more file inside.
func (b *Budget) Entry() error {
	if b.files++; b.files > b.limits.Files {
		b.exhaust(Files, fmt.Sprintf("more than %d files in containers", b.limits.Files))
	}
	return b.err()
}

// Spend counts n more unpacked octets, before or after they were made. Decoders that make octets which nobody
// keeps (a stream that is only searched) spend them too.
func (b *Budget) Spend(n int64) error {
	b.octets += n
	switch {
	case b.octets > b.limits.Octets:
		b.exhaust(Octets, fmt.Sprintf("more than %d octets unpacked", b.limits.Octets))
	case b.octets > ratioFloor && b.octets/b.limits.Ratio > b.packed:
		b.exhaust(Ratio, fmt.Sprintf("more than %d octets unpacked for each packed one", b.limits.Ratio))
	}
	return b.err()
}

// Left is how many octets may still be unpacked.
func (b *Budget) Left() int64 {
	if b.spent != nil {
		return 0
	}
	return max(0, b.limits.Octets-b.octets)
}

func (b *Budget) exhaust(l Limit, what string) {
	if b.spent == nil {
		b.hit |= l
		b.spent = &ErrBudget{l, what}
	}
}

// Reached gives the limits that the message has reached.
func (b *Budget) Reached() Limit { return b.hit }

// Err gives what ran out, nil while nothing has.
func (b *Budget) Err() error { return b.err() }

func (b *Budget) err() error {
	if b.spent != nil {
		return b.spent
	}
	return nil
}
