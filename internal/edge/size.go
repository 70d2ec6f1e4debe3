package edge

import "github.com/postern-mail/postern/upstream"

// sizedRelay is a Relay that knows how large a message its servers take: what they said to EHLO (RFC 1870), 0 where they
// have not said, or where there is no limit.
type sizedRelay interface{ MaxSize() int64 }

// headRoom is how much of a server's limit is kept for what we put on top of a message: trace and result fields, signatures.
// Nothing that came with it grows on its way through but where parts are replaced by notices.
const headRoom = 64 << 10

// sizeFor gives the octets of the largest message that may go to a relay, 0 for any.
func sizeFor(r upstream.Relay) int64 {
	s, ok := r.(sizedRelay)
	if !ok {
		return 0
	}
	n := s.MaxSize()
	return n - min(headRoom, n/8)
}

// maxSize gives the octets of the largest message that we take: ours, or the most that any of our next servers does, where that is
// less. One that is too large for its own recipient's server is refused at RCPT.
func (gw *Gateway) maxSize(own int64) int64 {
	most := int64(0)
	for _, r := range gw.Relays {
		n := sizeFor(r)
		if n == 0 {
			return own
		}
		most = max(most, n)
	}
	if most == 0 {
		return own
	}
	return min(own, most)
}

// maxSize is the SIZE that EHLO says (RFC 1870 4).
func (w *wire) maxSize() int64 { return w.gateway().maxSize(w.cfg.Limits.Message) }
