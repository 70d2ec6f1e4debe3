package edge

import "net"

// A record of TLS begins with its type, a version, and its length (RFC 8446 5.1).
const (
	recordHead      = 5
	recordHandshake = 22 // the type of those with a ClientHello
)

// records is the socket as TLS reads it: record by record, never more than what is left of one. So when TLS has no octet
// for us, it has kept none of what the client has sent behind, and whatever that is can be waited for at the socket,
// where waiting takes no memory.
type records struct {
	net.Conn
	head [recordHead]byte
	have int // octets of head
	left int // octets of the record behind it
}

// Read reads no further than to the end of a record, or of its head.
func (r *records) Read(p []byte) (int, error) {
	if r.left > 0 {
		n, err := r.Conn.Read(p[:min(len(p), r.left)])
		r.left -= n
		return n, err
	}
	n, err := r.Conn.Read(p[:min(len(p), recordHead-r.have)])
	r.have += copy(r.head[r.have:], p[:n])
	if r.have == recordHead {
		r.have, r.left = 0, int(r.head[3])<<8|int(r.head[4])
	}
	return n, err
}
