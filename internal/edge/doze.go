package edge

import (
	"errors"
	"os"
	"time"
)

// A goroutine's stack grows to what its deepest call needs: that of a connection which has said EHLO to 8 KB, more than all
// else that the connection holds, and it shrinks late and by half. So whoever is silent for a moment is waited for by
// a new goroutine at the bottom of its stack, and the old one ends. A dialog that stops so goes on where it stood, since
// whatever it was reading is kept in dialog and wire. Clients who make no pause cost nothing more.

// moment is how long a client is silent before that.
const moment = 250 * time.Millisecond

// drop is less than what a client sends at a time that sends content as it can.
const drop = 512

// errDoze says that the client is silent, and that the dialog is to stop here and go on when it speaks.
var errDoze = errors.New("edge: the client is silent")

// nap is what a wire knows of its pauses.
type nap struct {
	mayDoze bool      // the dialog can stop where it is
	drips   bool      // content comes in drops: there is no moment to wait for the next one
	until   time.Time // the deadline of a read that was left to a new goroutine
	woken   error     // the error that it came to
}

// wait reads from the socket, at least one octet, or stops at errDoze.
func (w *wire) wait(deadline time.Time) error {
	if err := w.woken; err != nil {
		w.woken = nil
		return err
	}
	first := deadline
	switch {
	case w.mayDoze && !w.hello && (w.drips || w.cfg.dozesAtOnce):
		w.nap.until = deadline
		return errDoze
	case w.mayDoze:
		first = earlier(deadline, time.Now().Add(moment))
	}
	err := w.setReadDeadline(first)
	if err == nil {
		err = w.next()
	}
	if err != nil && first.Before(deadline) && errors.Is(err, os.ErrDeadlineExceeded) {
		w.nap.until = deadline
		return errDoze
	}
	return err
}

// wake ends a pause, when there is something to read or the client's time is over.
func (w *wire) wake() {
	if !w.tarpit.until.IsZero() {
		w.rested()
		return
	}
	err := w.setReadDeadline(w.nap.until)
	if err == nil {
		w.patient = true
		err = w.next()
		w.patient = false
	}
	w.woken, w.drips = err, w.body && w.buffered()+len(w.placed) < drop
}

func (w *wire) next() error {
	if w.hello {
		return w.awaitRecord()
	}
	return w.receive(w.conn, w.body)
}
