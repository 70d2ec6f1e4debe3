package edge

import (
	"errors"

	"github.com/postern-mail/postern/internal/limits"
	"github.com/postern-mail/postern/mail"
)

// arrival is content on its way in: behind DATA, or in the chunks of BDAT (RFC 3030).
type arrival struct {
	ingest *mail.Ingest
	share  limits.Share
	failed error    // of the ingest: too big, or our disk; or errBusy
	lost   error    // of the connection
	state  dotState // where in a line of DATA's it stands
}

// newArrival begins to take content in, of about so many octets; dots says that it comes by DATA.
func newArrival(w *wire, size int64, dots bool) *arrival {
	w.pace.begin()
	gw, most := w.gateway(), w.most
	if most == 0 {
		most = w.maxSize()
	}
	a := &arrival{share: gw.Content.Share(), ingest: mail.NewIngest(mail.IngestOptions{
		Dir: gw.TempDir, Limit: most, Size: size, Unstuff: dots,
	})}
	if !a.share.Reserve(size) {
		a.failed = errBusy
	}
	return a
}

// errBusy says that the budget for content is used up.
var errBusy = errors.New("edge: too much content at once")

// Write takes octets in. It never fails: content is read to its end in any case.
func (a *arrival) Write(p []byte) (int, error) {
	if a.failed == nil && !a.share.Use(len(p)) {
		a.failed = errBusy
	}
	if a.failed == nil {
		_, a.failed = a.ingest.Write(p)
	}
	return len(p), nil
}

// put is Write for what may be nothing.
func (a *arrival) put(p []byte) {
	if len(p) > 0 {
		_, _ = a.Write(p)
	}
}

// reads tells whether content can be read into the memory of the message: no octet is held back that belongs before it.
func (a *arrival) reads() bool {
	return a.failed == nil && a.state != afterDot && a.state != afterDotCR
}

// take takes in content that was read into the memory of the message, as far as no line begins with a dot in it.
func (a *arrival) take(b []byte) (rest []byte) {
	next := stateAfter(b)
	if a.state == afterCR && len(b) == 1 && b[0] == '\n' {
		next = atLineStart
	}
	rest = a.ingest.Filled(len(b), a.state == atLineStart)
	if len(rest) == len(b) {
		return rest
	}
	if len(rest) > 0 {
		next = atLineStart // of a line that begins with a dot
	}
	a.state = next
	if !a.share.Use(len(b) - len(rest)) {
		a.failed = errBusy
	}
	return rest
}

// abort throws away what has come; there may be nothing.
func (a *arrival) abort() {
	if a != nil {
		a.ingest.Abort()
		a.share.Release()
	}
}
