package edge

import (
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/postern-mail/postern/mail"
)

// chunks is content that comes by BDAT (RFC 3030).
type chunks struct {
	ingest *mail.Ingest
	failed error // of the ingest: too big, or our disk
}

// abort throws away what has come; there may be nothing.
func (c *chunks) abort() {
	if c != nil {
		c.ingest.Abort()
	}
}

// bdat serves BDAT (RFC 3030 2). The chunk follows the command at once, whatever we think of it: it is read to its
// end before anything else is, and where its size can't be told the connection ends.
func (d *dialog) bdat(arg string) {
	w := d.w
	if !w.cfg.Chunking {
		w.say("502 5.5.1 BDAT is not offered")
		w.hangUp()
		return
	}
	size, last, ok := chunkSize(arg)
	switch {
	case !ok:
		w.say("501 5.5.4 Syntax: BDAT size [LAST]")
		w.hangUp()
		return
	case !d.open || d.rcpts == 0:
		// RFC 3030 4.2: of commands in a group, those in front may have failed.
		if d.chunk(io.Discard, size) {
			w.say("503 5.5.1 No valid recipients")
		}
		return
	}
	if d.chunks == nil {
		w.bodyEnds = time.Now().Add(w.cfg.Limits.Data)
		d.chunks = &chunks{ingest: mail.NewIngest(mail.IngestOptions{Dir: w.gateway().TempDir, Limit: w.cfg.Limits.Message})}
	}
	switch {
	case !d.chunk(d.chunks, size):
	case last || d.chunks.failed != nil:
		w.chunks, d.chunks = d.chunks, nil
		d.deliver()
	default:
		w.say("250 2.0.0 " + strconv.FormatInt(size, 10) + " octets received")
	}
}

// Write takes octets in. It never fails: the chunk is read to its end in any case.
func (c *chunks) Write(p []byte) (int, error) {
	if c.failed == nil {
		_, c.failed = c.ingest.Write(p)
	}
	return len(p), nil
}

// chunkSize reads the argument of BDAT: chunk-size [ SP "LAST" ].
func chunkSize(arg string) (size int64, last, ok bool) {
	digits, mark, has := strings.Cut(arg, " ")
	if digits == "" || len(digits) > 18 || strings.Trim(digits, "0123456789") != "" {
		return 0, false, false
	}
	size, err := strconv.ParseInt(digits, 10, 64)
	mark = strings.TrimSpace(mark)
	return size, strings.EqualFold(mark, "LAST"), err == nil && (!has || strings.EqualFold(mark, "LAST"))
}

// chunk reads the octets of one chunk off the wire. It answers a time-out itself, after which the connection is over.
func (d *dialog) chunk(dst io.Writer, size int64) bool {
	w := d.w
	if w.bodyEnds.Before(time.Now()) {
		w.bodyEnds = time.Now().Add(w.cfg.Limits.Data)
	}
	w.body = true
	err := w.copyChunk(dst, size)
	if err != nil {
		w.sayGoodbye(err)
		return false
	}
	w.body = false
	return true
}

// copyChunk copies so many octets of the input to dst, which never fails.
func (w *wire) copyChunk(dst io.Writer, size int64) error {
	for size > 0 {
		if w.buffered() == 0 {
			if err := w.fill(earlier(time.Now().Add(w.cfg.Limits.Idle), w.bodyEnds)); err != nil {
				return err
			}
		}
		n := min(size, int64(w.buffered()))
		_, _ = dst.Write(w.buf[w.r : w.r+int(n)])
		w.r += int(n)
		size -= n
	}
	w.lower()
	return nil
}
