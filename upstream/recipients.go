package upstream

import (
	"context"

	"github.com/postern-mail/postern/mail"
)

// Known is what a recipient source knows of a mailbox.
type Known uint8

const (
	NoSource Known = iota // there is no source that could tell
	Yes                   // the mailbox exists
	No                    // there is no such mailbox
)

// String gives the name of k.
func (k Known) String() string {
	switch k {
	case Yes:
		return "yes"
	case No:
		return "no"
	}
	return "no source"
}

// Recipients is a source that knows which mailboxes exist. An error means that it can't tell now, which
// is no answer: the client is told to come again (451 4.4.3).
type Recipients interface {
	Lookup(ctx context.Context, a mail.Address) (Known, error)
}

// Sourced is a recipient source that has a name of its own in metrics and in the log; "" for none.
type Sourced interface{ Source() string }
