package mail

import (
	"bytes"
	"errors"
	"fmt"
	"os"
)

// ErrTooBig is the error of content that passes IngestOptions.Limit.
var ErrTooBig = errors.New("mail: content is too big")

// IngestOptions say where content is kept and how much of it. The zero value keeps 256 KiB in memory,
// the rest in os.TempDir, and has no limit.
type IngestOptions struct {
	Dir     string // folder for content that outgrows memory; "" is os.TempDir()
	Memory  int    // octets kept in memory; 0 is 256 KiB, less than 0 none
	Limit   int64  // octets of canonical content; 0 is none
	Size    int64  // octets that are expected, 0 where that is not known; more or less may come
	Unstuff bool   // take away the dot that was stuffed after a bare LF: the server before us did so after CRLF only
}

// LineFaults counts what Ingest met that no message may hold (RFC 5321 2.3.8, RFC 5322 2.3, 4.1).
type LineFaults struct {
	BareLF int64 // LF without CR before it; became CRLF
	BareCR int64 // CR without LF behind it; became a space
	NUL    int64 // NUL octets; kept
}

// Ingest takes in the content of one message and makes its line ends canonical before anybody reads it,
// so that no two readers find different lines in it:
//
//   - a bare LF becomes CRLF;
//   - a bare CR becomes one space; in CR CR LF that is the first CR;
//   - NUL is kept and counted, for the caller to refuse.
//
// With Unstuff a line that began behind a bare LF loses a leading dot if anything follows it on the line
// (RFC 5321 4.5.2, which the sender had to obey at each line that it believed to begin). A lone dot stays:
// the end of data was found by the server before us, and this was not it.
//
// Content stays in memory up to IngestOptions.Memory; when it outgrows that, all of it goes to an unnamed
// file in blocks of up to 64 KiB. An Ingest is not safe for concurrent use. It must be ended by Blob or Abort.
//
// # How it scans
//
// Nearly all mail is clean, so a block is first asked whether each CR and LF in it belongs to a CRLF:
// the LFs are found one by one, each with a CR before it, and the CRs are counted. A clean block is stored
// in one piece. Only a block with a fault is taken apart, line by line.
// What a block can not know of its end is kept in cr, bare and dot, so that it makes no difference where
// the writes are cut.
type Ingest struct {
	opts   IngestOptions
	faults LineFaults
	err    error // sticky
	ended  bool

	cr   bool // the last octet was CR: line end or bare CR, the next octet tells
	bare bool // the next octet begins a line behind a bare LF, and Unstuff is on
	dot  bool // that line began with a dot: it stays only if nothing follows on the line

	size    int64  // canonical octets so far
	buf     []byte // all of them, or those that are not in the file yet
	file    *os.File
	unnamed bool
	dots    bool // a line may begin with a dot

	room []byte // of Room
	lent []byte // where it lies, if not in buf
}

var (
	lineEnd = []byte("\r\n")
	onlyCR  = lineEnd[:1]
	onlyLF  = lineEnd[1:]
	onlyDot = []byte(".")
	space   = []byte(" ")
	nul     = []byte{0}
)

// NewIngest begins to take in content.
func NewIngest(o IngestOptions) *Ingest {
	if o.Memory == 0 {
		o.Memory = 256 << 10
	}
	if o.Dir == "" {
		o.Dir = os.TempDir()
	}
	return &Ingest{opts: o}
}

// Write takes in the next octets. The error is ErrTooBig once Limit is passed, or that of the disk
// (*fs.PathError and the like); it stays, for Write and for Blob, and what was stored is freed at once.
//
// Write takes all of p in any case, also when it returns an error: a caller that has to read the SMTP
// dialog up to the end of data may go on writing, which then discards.
func (g *Ingest) Write(p []byte) (int, error) {
	if g.ended {
		return 0, errors.New("mail: write to an ingest that has ended")
	}
	n := len(p)
	for len(p) > 0 && g.err == nil {
		// Blocks of 32 KiB are still in the processor's cache when they are read again.
		b := p[:min(len(p), 32<<10)]
		p = p[len(b):]
		g.faults.NUL += int64(bytes.Count(b, nul))
		for len(b) > 0 && g.err == nil {
			clean, ok := plainLines(b, g.cr)
			g.dots = g.dots || !ok || clean < len(b) || b[0] == '.'
			if !ok || g.bare || g.dot {
				g.mend(b)
				break
			}
			g.keep(b[:clean])
			b = b[clean:]
		}
	}
	return n, g.err
}

// keep stores a clean block; a CR at its end waits for the next one.
func (g *Ingest) keep(b []byte) {
	if g.cr {
		g.put(onlyCR)
	}
	if g.cr = b[len(b)-1] == '\r'; g.cr {
		b = b[:len(b)-1]
	}
	g.put(b)
}

// mend stores a block line by line, canonical.
func (g *Ingest) mend(b []byte) {
	for len(b) > 0 && g.err == nil {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			g.line(b)
			return
		}
		g.line(b[:i])
		g.lineFeed()
		b = b[i+1:]
	}
}

// line stores octets that hold no LF.
func (g *Ingest) line(b []byte) {
	for len(b) > 0 && g.err == nil {
		g.bareCR()
		i := bytes.IndexByte(b, '\r')
		if i < 0 {
			g.text(b)
			return
		}
		g.text(b[:i])
		g.cr = true
		b = b[i+1:]
	}
}

// bareCR stores the CR that waits as the space that it becomes when no LF follows.
func (g *Ingest) bareCR() {
	if g.cr {
		g.cr = false
		g.faults.BareCR++
		g.text(space)
	}
}

// lineFeed stores the line end that LF is, with or without the CR that waits.
func (g *Ingest) lineFeed() {
	if g.dot { // nothing followed on the line
		g.put(onlyDot)
	}
	if !g.cr {
		g.faults.BareLF++
	}
	g.bare, g.dot, g.cr = g.opts.Unstuff && !g.cr, false, false
	g.put(lineEnd)
}

// text stores octets that hold no line end.
func (g *Ingest) text(b []byte) {
	if len(b) == 0 {
		return
	}
	if g.bare {
		// RFC 5321 4.5.2: the first dot of a line goes if other characters follow on it.
		if g.bare = false; b[0] == '.' {
			g.dot = true
			if b = b[1:]; len(b) == 0 {
				return
			}
		}
	}
	g.dot = false
	g.put(b)
}

// put stores canonical octets.
func (g *Ingest) put(b []byte) {
	if g.err != nil {
		return
	}
	g.size += int64(len(b))
	if g.opts.Limit > 0 && g.size > g.opts.Limit {
		g.fail(ErrTooBig)
		return
	}
	if g.file == nil {
		if need := len(g.buf) + len(b); need <= g.opts.Memory {
			g.grow(need)
			g.buf = append(g.buf, b...)
			return
		}
		if !g.spill() {
			return
		}
	}
	for len(b) > 0 {
		n := copy(g.buf[len(g.buf):blockSize], b)
		g.buf = g.buf[:len(g.buf)+n]
		b = b[n:]
		if len(g.buf) == blockSize && !g.flush() {
			return
		}
	}
}

// grow makes room for need octets in memory.
func (g *Ingest) grow(need int) {
	if need <= cap(g.buf) {
		return
	}
	buf := getBuffer(g.capacity(need))
	buf = append(buf, g.buf...)
	putBuffer(g.buf)
	g.buf = buf
}

// capacity gives how much memory is taken where need octets are needed.
func (g *Ingest) capacity(need int) int {
	// Beyond the pooled sizes room grows by half, up to Memory; at once to what is expected where a good part of
	// it has come: what a client says costs nothing.
	room := cap(g.buf) + cap(g.buf)/2
	if expected := int(min(g.opts.Size, int64(g.opts.Memory))); need > expected/16 {
		room = max(room, expected)
	}
	return max(need, min(g.opts.Memory, room))
}

// spill moves the content from memory to a file.
func (g *Ingest) spill() bool {
	var err error
	if g.file, g.unnamed, err = openTemp(g.opts.Dir); err != nil {
		g.file = nil
		g.fail(fmt.Errorf("mail: store content: %w", err))
		return false
	}
	if len(g.buf) > 0 && !g.flush() {
		return false
	}
	putBuffer(g.buf)
	g.buf = getBuffer(blockSize)
	return true
}

// flush writes the buffer to the file.
func (g *Ingest) flush() bool {
	if _, err := g.file.Write(g.buf); err != nil {
		g.fail(fmt.Errorf("mail: store content: %w", err))
		return false
	}
	g.buf = g.buf[:0]
	return true
}

// fail makes err the answer to everything from now on, and frees what was stored.
func (g *Ingest) fail(err error) {
	g.err = err
	g.free()
}

func (g *Ingest) free() {
	g.Leave()
	putBuffer(g.buf)
	g.buf = nil
	if g.file != nil {
		_ = g.file.Close() // has no name: it goes with its content
		g.file = nil
	}
}

// Blob ends the Ingest and gives the content, with one reference, and what was wrong with its line ends.
// The error is the first one that Write gave, or that of writing the rest.
func (g *Ingest) Blob() (*Blob, LineFaults, error) {
	if g.ended {
		return nil, LineFaults{}, errors.New("mail: ingest has ended")
	}
	g.bareCR() // at the end of the content no LF can follow
	if g.dot {
		g.put(onlyDot)
	}
	if g.err == nil && g.file != nil {
		g.flush()
	}
	g.ended = true
	if g.err != nil {
		return nil, g.faults, g.err
	}
	if g.file == nil {
		b := hold(&Blob{size: g.size, mem: g.buf, pooled: true, dotless: !g.dots})
		g.buf = nil
		return b, g.faults, nil
	}
	b := hold(&Blob{size: g.size, file: g.file, unnamed: g.unnamed, dotless: !g.dots})
	g.file = nil
	g.free()
	return b, g.faults, nil
}

// Abort ends the Ingest and frees what was stored. After Blob it does nothing.
func (g *Ingest) Abort() {
	g.ended = true
	g.free()
}
