package mail

import (
	"fmt"
	"sync"
	"sync/atomic"
)

// Limits bound the work that reading a message's structure may take. A zero field means its default.
// What lies beyond a limit is not lost: it stays in the message and the structure carries a Defect.
type Limits struct {
	HeaderOctets     int64 // octets of the message's header, or that of an embedded message; default 256 KiB
	Fields           int   // fields of any one header; default 2000
	PartHeaderOctets int64 // octets of the header of any other part; default 64 KiB
	Parts            int   // parts of one message, all levels together; default 1000
	Depth            int   // levels of nesting; default 50
}

func (l Limits) withDefaults() Limits {
	if l.HeaderOctets <= 0 {
		l.HeaderOctets = 256 << 10
	}
	if l.Fields <= 0 {
		l.Fields = 2000
	}
	if l.PartHeaderOctets <= 0 {
		l.PartHeaderOctets = 64 << 10
	}
	if l.Parts <= 0 {
		l.Parts = 1000
	}
	if l.Depth <= 0 {
		l.Depth = 50
	}
	return l
}

// Content is a Blob and what was read out of it: its header, its MIME structure, and whatever filters
// derive from them and wish to share. Each is computed once, on the first call that needs it. A Content is
// safe for concurrent use.
//
// A read error (a failing disk, a Blob that was released) leaves a header or a structure that is not the
// message's. It never looks like a clean tree: Err then says what happened, and whoever judges a Content
// by its structure must ask Err afterwards and answer "could not tell" if it is not nil.
type Content struct {
	blob   *Blob
	faults LineFaults
	limits Limits // defaults filled in

	head parsedHeader
	root atomic.Pointer[Part] // nil until it is known
	err  atomic.Pointer[error]

	mu   sync.Mutex
	memo map[any]any // memoKey[T] to func() T
}

// parsedHeader is the header of a Content, once it was read.
type parsedHeader struct {
	known  atomic.Bool // the fields below mu are there, and do not change any more
	mu     sync.Mutex
	header *Header
	body   int64
	broken any // what the parser has panicked with
}

// NewContent makes a Content of b, whose reference it takes over from the caller; faults is what the
// Ingest reported.
func NewContent(b *Blob, faults LineFaults, lim Limits) *Content {
	return &Content{blob: b, faults: faults, limits: lim.withDefaults()}
}

// Blob gives the octets. The reference is the Content's: Retain it to keep it.
func (c *Content) Blob() *Blob { return c.blob }

// LineFaults tells which line ends and NULs the message came with.
func (c *Content) LineFaults() LineFaults { return c.faults }

// Header gives the message's header; never nil. See Err.
func (c *Content) Header() *Header {
	if !c.head.known.Load() {
		c.readHead()
	}
	return c.head.header
}

// bodyOffset is where the body begins: behind the blank line that ends the header, or the end of the
// message where there is none.
func (c *Content) bodyOffset() int64 {
	c.Header()
	return c.head.body
}

// Root gives the MIME structure; never nil. See Err.
func (c *Content) Root() *Part {
	if p := c.root.Load(); p != nil {
		return p
	}
	return Memo(c, "mail: structure", c.readRoot)
}

// Part finds a part by its Path; nil if there is none such.
func (c *Content) Part(path string) *Part {
	var found *Part
	c.Root().Walk(func(p *Part) bool {
		if p.Path == path {
			found = p
		}
		return found == nil
	})
	return found
}

// Err gives the first read error met while the header or the structure was read, and nil while neither
// was asked for. A Content whose Err is not nil is unknown, not clean.
func (c *Content) Err() error {
	if p := c.err.Load(); p != nil {
		return *p
	}
	return nil
}

func (c *Content) fail(err error) { c.err.CompareAndSwap(nil, &err) }

// readHead reads the header, once. A panic of the parser is handed on to each caller: nobody is left with a half-built
// structure that looks like a whole one.
func (c *Content) readHead() {
	p := &c.head
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known.Load() {
		return
	}
	if p.broken != nil {
		panic(p.broken)
	}
	defer func() {
		if !p.known.Load() {
			p.broken = recover()
			panic(p.broken)
		}
	}()
	h, body, err := readHeader(c.blob, 0, c.blob.Size(), c.limits.HeaderOctets, c.limits.Fields)
	if err != nil {
		c.fail(fmt.Errorf("mail: read header: %w", err))
	}
	if h == nil {
		h = &Header{}
	}
	p.header, p.body = h, body
	p.known.Store(true)
}

// readRoot reads the structure; Memo hands a panic on, as readHead does.
func (c *Content) readRoot() *Part {
	p, err := index(c)
	if err != nil {
		c.fail(fmt.Errorf("mail: read structure: %w", err))
	}
	if p == nil {
		// One opaque part that covers everything; Err says why.
		p = &Part{Path: "0", Header: c.Header(), BodyOffset: c.bodyOffset(), End: c.blob.Size(), Type: "application/octet-stream"}
	}
	c.root.Store(p)
	return p
}

// Retain adds a reference to the octets and gives c back.
func (c *Content) Retain() *Content {
	c.blob.Retain()
	return c
}

// Release gives one reference back. After the last one reading gives ErrReleased; what was computed
// before stays readable.
func (c *Content) Release() { c.blob.Release() }

// Forget drops what Memo keeps, but for the structure: what filters have made of a message is a multiple of it, and is not needed
// while it is handed on. Whoever has it keeps it; whoever asks again has it computed anew.
func (c *Content) Forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.memo = nil
}

// memoKey is a key under which a value of type T is kept: the same string with another type is another key.
type memoKey[T any] string

// Memo gives what compute returns, which is called once per key and type for this Content: callers that
// come while it runs wait for it. A panic of compute is handed on to each caller of the same key, and to
// no other. compute may use Memo for other keys; asking for its own would wait for ever.
func Memo[T any](c *Content, key string, compute func() T) T {
	k := memoKey[T](key)
	c.mu.Lock()
	once, ok := c.memo[k].(func() T)
	if !ok {
		if c.memo == nil {
			c.memo = make(map[any]any)
		}
		once = sync.OnceValue(compute)
		c.memo[k] = once
	}
	c.mu.Unlock()
	return once()
}
