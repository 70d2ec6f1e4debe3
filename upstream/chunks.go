package upstream

import (
	"errors"
	"io"
	"strconv"
	"time"

	"github.com/postern-mail/postern/mail"
)

// CHUNKING (RFC 3030). Content goes out as it lies, behind a BDAT that says how much there is of it. Nothing announces it and
// waits for leave, as DATA does: it is sent when all recipients were accepted, and a server that does not know BDAT in spite of
// its EHLO would read it as commands.

// maxChunk is how many octets one BDAT announces. A server can refuse only what is there, so that more would keep the word of one that
// has had enough, or is full, from us; fewer would cost a big message time on long ways.
const maxChunk = 8 << 20

// errChunk stops the reading of content when a chunk was not taken.
var errChunk = errors.New("upstream: chunk not taken")

// chunks is content for a server with CHUNKING, the last chunk with its LAST in one write if it is short. Before the last octet of that
// is out, there is no message.
func (t *transaction) chunks() Outcome {
	end, err := t.lineEnd()
	if err != nil {
		t.c.reset()
		return t.unreadable(err)
	}
	w := contentWriters.Get().(*contentWriter)
	defer w.free()
	w.c, w.left, w.chunked = t.c, t.m.Size()+int64(len(end)), true
	if err = t.m.Spans(w.chunkSpan); err == nil && (len(end) > 0 || w.left == 0 && !w.ended) {
		err = w.chunkSpan(mail.Span{Octets: end, Lasting: true})
	}
	if err == nil && w.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	switch {
	case errors.Is(err, errChunk):
		return t.chunkRefused(w.reply, false)
	case w.failed != nil:
		return t.c.failed(StageBody, mail.Reply{}, w.failed)
	case !w.ended:
		t.c.broken, t.c.now = true, time.Now() // what is announced and lacks would be taken from what comes next
		return t.unreadable(err)
	}
	return Outcome{Kind: Delivered}
}

// lineEnd gives what content lacks at its end. With DATA the final dot would bring it along.
func (t *transaction) lineEnd() ([]byte, error) {
	size := t.m.Size()
	if size == 0 {
		return nil, nil
	}
	last := t.c.lastOctets[:min(size, 2)]
	if _, err := t.m.ReadAt(last, size-int64(len(last))); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if string(last) == "\r\n" {
		return nil, nil
	}
	return crlf, nil // a CR or LF of their own there are not
}

// chunkSpan takes the next octets of the message.
func (w *contentWriter) chunkSpan(s mail.Span) error {
	p := s.Octets
	for {
		if w.chunk == 0 {
			w.announce()
		}
		part := p[:min(int64(len(p)), w.chunk)]
		p = p[len(part):]
		w.left -= int64(len(part))
		w.chunk -= int64(len(part))
		whole := w.chunk == 0
		if err := w.put(part, s.Lasting, whole); err != nil {
			return err
		}
		if whole && !w.ended {
			if err := w.taken(); err != nil {
				return err
			}
		}
		if len(p) == 0 {
			return nil
		}
	}
}

// announce adds the command of the next chunk.
func (w *contentWriter) announce() {
	w.chunk = min(w.left, w.c.chunking)
	w.out = strconv.AppendInt(append(w.out[:0], "BDAT "...), w.chunk, 10)
	if w.chunk == w.left {
		w.out = append(w.out, " LAST"...)
	}
	w.out = append(w.out, "\r\n"...)
	w.add(w.out)
}

// taken reads the reply to a chunk that is not the last. RFC 3030 2: after a refusal no further one may be sent.
func (w *contentWriter) taken() error {
	r, err := w.c.expect(250, w.c.timeouts.Dot)
	if err != nil {
		w.failed = err
		return err
	}
	if w.reply = r; !r.Positive() {
		return errChunk
	}
	return nil
}

// chunkRefused says what the refusal of a chunk means. None of the message was taken. When the last is out only the server's word
// counts, as after the final dot, and nothing is tried again.
func (t *transaction) chunkRefused(r mail.Reply, last bool) Outcome {
	stage, ours := StageBody, t.aboutHost(r, true)
	if last {
		stage, ours = StageDot, t.oursAtDot(r)
	}
	switch {
	case !r.Temporary() && !r.Permanent(), r.Code == 421:
		return t.c.failed(stage, r, nil)
	case aboutProtocol(r) && (ours || !last):
		// The server may not know BDAT, and read as commands what came behind it.
		return t.c.failed(stage, r, nil)
	}
	// RFC 3030 2: the state is indeterminate after a refusal, and RSET must be said.
	t.c.reset()
	kind := Refused
	if ours {
		kind = OurFault
	}
	return t.outcome(kind, stage, r, nil)
}
