package edge

import (
	"io"
	"strconv"
	"strings"
)

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
		d.reads = skipsChunk
		w.pace.begin()
	default:
		d.reads = readsChunk
		if d.arrival == nil {
			d.arrival = newArrival(w, d.size, false)
		}
		w.pace.goOn()
	}
	d.chunk, d.left, d.last, w.body = size, size, last, true
}

// chunkRead answers for a chunk that has been read.
func (d *dialog) chunkRead(was reads) {
	w := d.w
	w.body = false
	w.pace.stop()
	switch {
	case was == skipsChunk:
		w.say("503 5.5.1 No valid recipients")
	case d.last || d.arrival.failed != nil:
		d.arrived(nil)
	default:
		w.say("250 2.0.0 " + strconv.FormatInt(d.chunk, 10) + " octets received")
	}
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

// copyChunk copies the octets of the input that are left of a chunk to dst, which never fails.
func (w *wire) copyChunk(dst io.Writer, left *int64) error {
	for *left > 0 {
		if w.buffered() == 0 {
			if err := w.fill(w.contentDeadline()); err != nil {
				return err
			}
		}
		n := min(*left, int64(w.buffered()))
		_, _ = dst.Write(w.buf[w.r : w.r+int(n)])
		w.r += int(n)
		w.pace.came += n
		*left -= n
	}
	w.lower()
	return nil
}
