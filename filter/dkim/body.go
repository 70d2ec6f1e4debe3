package dkim

import (
	"bytes"
	"context"
	"errors"
	"io"
)

// maxBlank bounds the octets of blank lines in a row within a body.
const maxBlank = 16 << 10

// reader gives the library the content, and keeps two of its habits from doing harm.
//
// Told of a read error, it leaves a goroutine behind for each signature of several. So a read error, and the end of the
// context, look to it like an early end of the content: whoever calls it must ask for err and for the context
// afterwards, and what it says of the signatures is worthless then.
//
// It holds blank lines back until it knows whether others follow, and copies all that it holds for each few kilobytes:
// four megabytes of blank lines keep it busy for a minute. At the end of a body they count for nothing (RFC 6376 3.4.3,
// 3.4.4), so a long run is left out from maxBlank on; when it turns out to be in the middle, the content ends there and
// blank tells so.
type reader struct {
	ctx   context.Context //nolint:containedctx // lives for one call
	r     io.Reader
	err   error
	blank bool

	run     int  // octets of CR and LF that were read last, in a row
	leftOut bool // some of them were not given on
	last    byte // the last octet that was given on
}

// Read implements io.Reader; its error is always io.EOF.
func (r *reader) Read(p []byte) (int, error) {
	for r.err == nil && !r.blank && r.ctx.Err() == nil && len(p) > 0 {
		n, err := r.r.Read(p)
		if errors.Is(err, io.EOF) && n == 0 {
			return r.end(p)
		}
		if err != nil && !errors.Is(err, io.EOF) {
			r.err = err
			break
		}
		if n == 0 || r.skip(p[:n]) {
			continue
		}
		r.last = p[n-1]
		return n, nil
	}
	return 0, io.EOF
}

// end finishes a run of blank lines that was cut between CR and LF.
func (r *reader) end(p []byte) (int, error) {
	if r.leftOut && r.last == '\r' {
		p[0], r.last = '\n', '\n'
		return 1, nil
	}
	return 0, io.EOF
}

// skip counts the blank lines, and reports whether block is to be left out.
func (r *reader) skip(block []byte) bool {
	rest := bytes.TrimRight(block, "\r\n")
	if len(rest) > 0 {
		r.blank = r.leftOut
		r.run = len(block) - len(rest)
		return r.blank
	}
	r.run += len(block)
	r.leftOut = r.leftOut || r.run > maxBlank
	return r.leftOut
}
