package upstream

import (
	"io"
	"sync"
	"time"

	"github.com/postern-mail/postern/mail"
)

const (
	partsAtOnce  = 16        // runs of octets in one write
	octetsAtOnce = 128 << 10 // octets of content that wait to be written, and up to twice as many
	blockSize    = 64 << 10  // octets of content that a server takes in Timeouts.Block
)

// content sends the octets of the message and the final dot, the last block and the dot in one write.
// The message is read anew for each attempt. Whatever goes wrong here comes before the final dot: it is
// the last that is written, and a failed write was not whole.
func (t *transaction) content() Outcome {
	w := contentWriters.Get().(*contentWriter)
	defer w.free()
	w.c, w.left = t.c, t.m.Size()
	err := t.m.Spans(w.span)
	if err == nil && w.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	if err == nil && !w.ended { // there are no octets
		w.end()
		_ = w.flush()
	}
	switch {
	case w.failed != nil:
		if r, err := t.c.reply(lastWords); err == nil && (r.Temporary() || r.Permanent()) {
			return t.cutOff(r)
		}
		return t.c.failed(StageBody, mail.Reply{}, w.failed)
	case !w.ended: // else the dot is out, and only its answer counts
		t.c.broken, t.c.now = true, time.Now() // what was sent so far must not become a message
		return t.unreadable(err)
	}
	return Outcome{Kind: Delivered}
}

// lastWords is how long what a server has said is looked for when it takes no more octets.
const lastWords = 500 * time.Millisecond

// cutOff is the outcome where the server did not wait for the final dot: it has said why, and closed. None of the message was taken. RFC 5321
// does not let it do that, and some do with what is too big.
func (t *transaction) cutOff(r mail.Reply) Outcome {
	if r.Code == 421 || aboutProtocol(r) || t.aboutHost(r, true) {
		return t.c.failed(StageBody, r, nil)
	}
	t.c.broken = true
	return t.outcome(Refused, StageBody, r, nil)
}

// contentWriter writes content to a server, from where it lies as far as that can be.
type contentWriter struct {
	c       *conn
	left    int64 // octets of the message that are still to come
	stuffer stuffer
	parts   [partsAtOnce][]byte // what waits to be written
	n       int                 // and how many of them
	octets  int                 // in them
	out     []byte              // a run of octets with its dots, or the command of a chunk
	block   []byte              // made only where octets have to lie side by side
	ended   bool                // the final dot, or the end of the last chunk, is among what was to be written
	failed  error               // of a write
	chunked bool                // RFC 3030: no dots
	chunk   int64               // octets of the chunk that are still to come
	reply   mail.Reply          // to a chunk that was not the last
}

var contentWriters = sync.Pool{New: func() any { return new(contentWriter) }}

// free gives w back, without what it was written from.
func (w *contentWriter) free() {
	*w = contentWriter{out: w.out, block: w.block}
	contentWriters.Put(w)
}

var dot = []byte(".")

// span takes the next octets of the message. What waits is written when they do not stay where they are, when it is much,
// and with the final dot.
func (w *contentWriter) span(s mail.Span) error {
	p, lasting := s.Octets, s.Lasting
	w.left -= int64(len(p))
	if s.Dotless {
		lead := w.stuffer.lead(p)
		w.stuffer.advance(p)
		if lead >= 0 {
			w.add(p[:lead])
			w.add(dot)
			p = p[lead:]
		}
	} else if q := w.stuffer.stuff(w.out, p); len(q) != len(p) {
		p, w.out, lasting = q, q, false
	}
	return w.put(p, lasting, w.left == 0)
}

// put lets octets wait, or writes them with what waits. last are those with which there is to be no more waiting.
func (w *contentWriter) put(p []byte, lasting, last bool) error {
	for len(p) > octetsAtOnce {
		w.add(p[:octetsAtOnce])
		if err := w.flush(); err != nil {
			return err
		}
		p = p[octetsAtOnce:]
	}
	w.add(p)
	switch {
	case last && w.chunked:
		if w.ended = w.left == 0; w.ended {
			w.c.commit()
		}
	case last:
		w.end()
	}
	if !last && lasting && w.octets < octetsAtOnce && w.n <= partsAtOnce-4 {
		return nil
	}
	return w.flush()
}

// end adds the final dot.
func (w *contentWriter) end() {
	w.c.commit()
	w.add(w.stuffer.end())
	w.ended = true
}

func (w *contentWriter) add(p []byte) {
	if len(p) > 0 {
		w.parts[w.n] = p
		w.n++
		w.octets += len(p)
	}
}

// flush writes what waits.
func (w *contentWriter) flush() error {
	if w.failed == nil {
		w.failed = w.write(w.parts[:w.n])
	}
	w.n, w.octets = 0, 0
	return w.failed
}

// write puts out parts: at once as much as the server's socket has room for, the rest in blocks, each of which has its time.
func (w *contentWriter) write(parts [][]byte) error {
	if w.c.gathers() {
		var err error
		if w.ended {
			parts, err = w.c.say(parts, w.c.timeouts.Dot)
		} else {
			parts = w.c.sock.writeParts(parts)
			w.c.now = time.Now()
		}
		if len(parts) == 0 || err != nil {
			return err
		}
	}
	if w.block == nil {
		w.block = make([]byte, blockSize+len(finalDot))
	}
	n := 0
	for _, p := range parts {
		for len(p) > 0 {
			end := blockSize
			if len(p) <= len(finalDot) {
				end = len(w.block)
			}
			if n == 0 && len(p) >= blockSize {
				if err := w.c.write(p[:blockSize], w.c.timeouts.Block); err != nil {
					return err
				}
				p = p[blockSize:]
				continue
			}
			if n >= end {
				if err := w.c.write(w.block[:n], w.c.timeouts.Block); err != nil {
					return err
				}
				n = 0
			}
			k := copy(w.block[n:end], p)
			n, p = n+k, p[k:]
		}
	}
	if n == 0 {
		return nil
	}
	return w.c.write(w.block[:n], w.c.timeouts.Block)
}

// gathers tells whether octets need not lie side by side to be written at once; TLS would make a record of each run.
func (c *conn) gathers() bool { return c.sock != nil && c.sock.bare && c.tls == nil }

// skip takes the first n octets off parts.
func skip(parts [][]byte, n int) [][]byte {
	for len(parts) > 0 && n >= len(parts[0]) {
		n -= len(parts[0])
		parts = parts[1:]
	}
	if n > 0 {
		parts[0] = parts[0][n:]
	}
	return parts
}
