package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/postern-mail/postern/internal/dns/name"
)

// maxMisfits is how many datagrams that do not fit a question are passed over. Whoever sends so many tries to
// guess; TCP is harder to guess into.
const maxMisfits = 32

var errMisfits = errors.New("too many datagrams that do not fit")

// maxTries bounds how often one question is put, to all servers together.
const maxTries = 4

// resolve puts a question to one server after the other until one gives an answer, and a second time to a
// lone server that is silent, as a datagram may be lost. A server that was silent or out of reach is not asked
// first any more once another has answered in its place.
func (r *Resolver) resolve(ctx context.Context, q question) *answer {
	list := r.servers.list()
	first := int(r.servers.first.Load())
	var a *answer
	moved := false
	for i := range min(max(len(list), 2), maxTries) {
		if i > 0 && len(list) == 1 && a.rcode != TimedOut {
			break
		}
		at := (first + i) % len(list)
		a = r.attempt(ctx, list[at], q)
		a.server = list[at].address
		if !a.failed() {
			if moved {
				r.servers.first.Store(uint32(at))
			}
			break
		}
		if ctx.Err() != nil {
			break
		}
		moved = moved || a.silent()
	}
	return a
}

// attempt puts a question to one server.
func (r *Resolver) attempt(ctx context.Context, s server, q question) *answer {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	a := exchange(ctx, s, q, true)
	if a.rcode == OtherRcode {
		// RFC 6891 7: FORMERR, NOTIMP and BADVERS may be all that a server has to say about EDNS.
		a = exchange(ctx, s, q, false)
	}
	return a
}

// exchange asks over UDP, and over TCP where the answer was too long.
func exchange(ctx context.Context, s server, q question, edns bool) *answer {
	m := new(dns.Msg)
	m.SetQuestion(name.Escape(q.name), q.kind) // and a random id
	// RFC 6840 5.7: AD in a question asks for it in the answer; older servers want DO (RFC 3225).
	wantsAD := s.trusted && q.kind == dns.TypeTLSA
	m.AuthenticatedData = wantsAD
	if edns {
		m.SetEdns0(ednsSize, wantsAD)
	}
	b, err := m.Pack()
	if err != nil {
		return malformed("question: %w", err) // Canonical lets no such name through
	}
	var got *answer
	err = overUDP(ctx, s.address, b, func(reply []byte) bool {
		ok, truncated := fits(reply, m.Id, q)
		if ok && !truncated {
			got = read(reply, q, wantsAD)
		}
		return ok
	})
	if err == nil && got != nil {
		return got
	}
	if err != nil && !errors.Is(err, errMisfits) {
		return unanswered(err)
	}
	reply, err := overTCP(ctx, s.address, b)
	if err != nil {
		return unanswered(err)
	}
	// RFC 7766 says nothing of TC over TCP: what it leaves out, nobody has.
	if ok, truncated := fits(reply, m.Id, q); !ok || truncated {
		return malformed("it does not fit the question")
	}
	return read(reply, q, wantsAD)
}

// unanswered makes an outcome of an error of the network.
func unanswered(err error) *answer {
	var n net.Error
	if errors.As(err, &n) && n.Timeout() || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		return &answer{rcode: TimedOut}
	}
	return &answer{rcode: Unreachable, cause: err}
}

// dial opens a socket that fails when its context ends.
func dial(ctx context.Context, network, address string) (net.Conn, func(), error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, nil, err
	}
	if d, ok := ctx.Deadline(); ok {
		err = conn.SetDeadline(d)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	return conn, func() { stop(); _ = conn.Close() }, err
}

// datagrams are buffers for answers: longer than was asked for, as some servers do not heed it.
var datagrams = sync.Pool{New: func() any { return new([4096]byte) }}

// overUDP sends a question and hands on what comes back until fits says that it is the answer.
func overUDP(ctx context.Context, address string, question []byte, fits func([]byte) bool) error {
	conn, end, err := dial(ctx, "udp", address) // connected: the kernel takes datagrams from this server only
	if err != nil {
		return err
	}
	defer end()
	if _, err := conn.Write(question); err != nil {
		return err
	}
	buf := datagrams.Get().(*[4096]byte)
	defer datagrams.Put(buf)
	for range maxMisfits {
		n, err := conn.Read(buf[:])
		if err != nil {
			return err
		}
		if fits(buf[:n]) {
			return nil
		}
	}
	return errMisfits
}

// overTCP sends a question and gives the first message that comes back (RFC 7766 8).
func overTCP(ctx context.Context, address string, question []byte) ([]byte, error) {
	conn, end, err := dial(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	defer end()
	if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(question))), question...)); err != nil {
		return nil, err
	}
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return nil, fmt.Errorf("dns: over TCP: %w", err)
	}
	reply := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(conn, reply); err != nil {
		return nil, fmt.Errorf("dns: over TCP: %w", err)
	}
	return reply, nil
}
