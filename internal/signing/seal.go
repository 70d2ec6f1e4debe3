package signing

import (
	"errors"
	"fmt"
	"strings"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/filter/authres"
	"github.com/postern-mail/postern/internal/dkim"
	"github.com/postern-mail/postern/internal/dkim/arc"
	"github.com/postern-mail/postern/mail"
)

// seal makes an ARC Set for a message from elsewhere: what its authentication was when it came, in the words of the
// Authentication-Results field that stands on top of it (RFC 8617 4.1.1).
func (s *Signer) seal(in *filter.Input, h *mail.Header, m *mail.Message) (top []byte, note string, err error) {
	came, known := auth.ARC.From(in)
	switch {
	case !known:
		return nil, "not sealed: the filter arc did not run", nil
	case came.Result == auth.TempError:
		// RFC 8617 5.2: what is not known can't be sealed: cv= has no word for it.
		return nil, "not sealed: the chain could not be looked at", nil
	case len(h.Fields()) == 0 || !h.Fields()[0].Is(authres.Name):
		return nil, "not sealed: there are no results", nil
	}
	_, results, _ := strings.Cut(h.Fields()[0].Raw, ":")
	sealer := &arc.Sealer{Domain: s.o.Seal.Domain, Selector: s.o.Seal.Selector, Key: s.o.Seal.Private, Now: s.o.Now}
	bodies := &dkim.Bodies{}
	sealer.Want(bodies)
	if err := bodies.Hash(m.Tail(h.Octets())); err != nil {
		return nil, "", fmt.Errorf("signing: %w", err)
	}
	set, err := sealer.Seal(dkim.NewFields(h.Fields()), bodies, arc.Status(came.Result), results)
	switch {
	case errors.Is(err, arc.ErrEnded), errors.Is(err, arc.ErrFull), errors.Is(err, arc.ErrUnknown):
		return nil, "not sealed: " + strings.TrimPrefix(err.Error(), "arc: seal: "), nil
	case err != nil:
		return nil, "", fmt.Errorf("signing: %w", err)
	}
	var b strings.Builder
	for _, f := range set {
		b.WriteString(f.Name + ": " + f.Body + "\r\n")
	}
	return []byte(b.String()), "arc " + s.o.Seal.name(), nil
}
