package upstream

import (
	"context"
	"strings"

	"github.com/postern-mail/postern/mail"
)

// Widened is a recipient source that knows more mailboxes than the one it is made of: those of domains that are other names for
// a domain of its, those with something behind a delimiter in the local part, and every mailbox of some domains. A local part
// that is Suspicious must be known as it stands.
type Widened struct {
	Recipients
	Delimiters string            // each a character that may end the local part, such as "+"
	Aliases    map[string]string // domain -> the domain whose mailboxes it has, both in the form of mail.Address.Domain
	CatchAll   []string          // domains that have every mailbox
}

// Lookup implements Recipients. A mailbox that is known as it stands needs no more; what is asked for beside it costs one more
// look-up for each delimiter in the local part at most.
func (w Widened) Lookup(ctx context.Context, a mail.Address) (Known, error) {
	if to, ok := w.Aliases[a.Domain()]; ok {
		other, err := mail.ParseAddress(a.Local() + "@" + to)
		if err != nil {
			return No, nil // too long to be anybody there
		}
		a = other
	}
	known, err := w.Recipients.Lookup(ctx, a)
	if err == nil && known == Yes || Suspicious(a) {
		return known, err
	}
	for _, domain := range w.CatchAll {
		if domain == a.Domain() {
			return Yes, nil
		}
	}
	if err == nil && known != No {
		return known, nil
	}
	// A list that is too old to say that somebody does not exist still vouches for those that it has.
	// From the right: with "user+a+b" first "user+a" is looked for, as Postfix does not, and then "user".
	for local := a.Local(); ; {
		i := strings.LastIndexAny(local, w.Delimiters)
		if i <= 0 {
			return known, err
		}
		local = local[:i]
		base, wrong := mail.ParseAddress(local + "@" + a.Domain())
		if wrong != nil {
			continue // it would end in a dot
		}
		switch k, failed := w.Recipients.Lookup(ctx, base); {
		case failed == nil && k == Yes:
			return Yes, nil
		case failed != nil && err == nil:
			known, err = k, failed
		}
	}
}

// Source gives the name of the source that it is made of, as Sourced does.
func (w Widened) Source() string {
	if s, ok := w.Recipients.(Sourced); ok {
		return s.Source()
	}
	return ""
}
