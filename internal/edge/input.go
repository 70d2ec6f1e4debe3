package edge

import (
	"bytes"
	"io"
	"net"
	"sync"
	"syscall"

	"github.com/postern-mail/postern/mail"
)

// input is what has come from the client and was not handed over yet.
//
// Memory for it is held only while there is something in it: a connection that waits for its client has none, so that
// thousands of idle clients, and of clients that send an octet now and then, cost next to nothing. For that, a read takes
// its block when the socket is readable; through TLS so does one that may take long, see records and doze.go.
type input struct {
	buf   []byte // buf[r:w] is not handed over; lies in small or big, nil where there is neither
	r, w  int
	small *lineBlock
	big   *contentBlock
	wide  bool // the last read through TLS brought much
	empty bool // and all that TLS had

	into   *mail.Ingest // what is read may go to its memory; nil for none
	placed []byte       // what has gone there and was not looked at
	direct bool         // the read that is going on goes there

	patient bool // the read may take long: no block is held while it waits

	socket  syscall.RawConn // nil where there is no socket
	secured bool            // reads go through TLS
	content bool            // of the read that is going on
	result  int
	failed  error
	try     func(fd uintptr) bool // readable, bound once
}

// A command line must fit into a small block: RFC 5321 4.5.3.1.4 asks for 512 octets, extensions add some hundreds (RFC
// 6531 3.7.3, RFC 3461 5), RFC 4954 4 has lines of up to 12288 octets.
type (
	lineBlock    [maxLine]byte
	contentBlock [64 << 10]byte
)

// maxLine is the limit on a command line.
const maxLine = 4 << 10

var (
	lineBlocks    = sync.Pool{New: func() any { return new(lineBlock) }}
	contentBlocks = sync.Pool{New: func() any { return new(contentBlock) }}
)

// attach lets reads go to the socket of c itself, if it has one.
func (in *input) attach(c net.Conn) {
	s, ok := c.(syscall.Conn)
	if !ok || !socketReads {
		return
	}
	if raw, err := s.SyscallConn(); err == nil {
		in.socket, in.try = raw, in.readable
	}
}

// behindTLS lets reads go through the connection that receive is given.
func (in *input) behindTLS() { in.secured, in.empty, in.try = true, true, nil }

func (in *input) buffered() int { return in.w - in.r }

// line takes out the first line with its line end, nil if there is no whole one. It is valid until the next read.
func (in *input) line() []byte {
	i := bytes.IndexByte(in.buf[in.r:in.w], '\n')
	if i < 0 {
		return nil
	}
	line := in.buf[in.r : in.r+i+1]
	in.r += i + 1
	return line
}

// receive waits for at least one octet more, from c or the socket.
func (in *input) receive(c io.Reader, content bool) error {
	in.content = content
	if in.r == in.w {
		in.discard()
	}
	if in.socket != nil && !in.secured {
		if err := in.socket.Read(in.try); err != nil {
			return err
		}
		if in.failed != nil {
			return in.failed
		}
		if in.result == 0 {
			return io.EOF
		}
		return nil
	}
	if in.secured && in.empty && in.patient {
		if err := in.await(); err != nil {
			return err
		}
	}
	room := in.room(content && in.wide, false)
	n, err := c.Read(room)
	in.read(room, n)
	in.wide, in.empty = n >= maxLine, n < len(room)
	if n > 0 || err == nil {
		return nil
	}
	if in.r == in.w {
		in.discard()
	}
	return err
}

// room gives memory to read into: of the message whose content is read, or of a block of its own.
func (in *input) room(big, lend bool) []byte {
	if in.into != nil && in.r == in.w {
		if room := in.into.Room(lend); room != nil {
			in.direct = true
			return room
		}
	}
	in.direct = false
	in.borrow(big)
	return in.buf[in.w:]
}

// read takes note of n octets in the room.
func (in *input) read(room []byte, n int) {
	if in.direct {
		in.placed = room[:n]
		return
	}
	in.w += n
}

// hold takes octets into the buffer, which is empty, as if they had just come.
func (in *input) hold(b []byte) {
	in.discard()
	if len(b) > 0 {
		in.borrow(len(b) > maxLine)
		in.w = copy(in.buf, b)
	}
}

// borrow sees to it that there is room to read into.
func (in *input) borrow(big bool) {
	switch {
	case in.big != nil:
	case big:
		in.big = contentBlocks.Get().(*contentBlock)
		in.w = copy(in.big[:], in.buf[in.r:in.w])
		in.r, in.buf = 0, in.big[:]
		in.giveSmall()
		return
	case in.small == nil:
		in.small = lineBlocks.Get().(*lineBlock)
		in.buf = in.small[:]
	}
	if in.r > 0 {
		in.w = copy(in.buf, in.buf[in.r:in.w])
		in.r = 0
	}
}

// lower moves what is left behind content out of the large block, as soon as it fits into a small one.
func (in *input) lower() {
	if in.big == nil || in.buffered() > maxLine/2 {
		return
	}
	if in.r == in.w {
		in.discard()
		return
	}
	in.small = lineBlocks.Get().(*lineBlock)
	in.w = copy(in.small[:], in.buf[in.r:in.w])
	in.r, in.buf = 0, in.small[:]
	contentBlocks.Put(in.big)
	in.big = nil
}

// discard throws away what is there, and gives all memory back.
func (in *input) discard() {
	in.buf, in.r, in.w = nil, 0, 0
	in.giveSmall()
	if in.big != nil {
		contentBlocks.Put(in.big)
		in.big = nil
	}
}

func (in *input) giveSmall() {
	if in.small != nil {
		lineBlocks.Put(in.small)
		in.small = nil
	}
}
