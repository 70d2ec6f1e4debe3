package upstream

import (
	"encoding/binary"
	"net/netip"

	"github.com/postern-mail/postern/mail"
)

// proxySignature begins a header of version 2 of the PROXY protocol. A server that expects SMTP reads a QUIT in it.
const proxySignature = "\r\n\r\n\x00\r\nQUIT\n"

// proxyHeader tells a server, version 2 of the PROXY protocol, from where the client of a connection came to us. One that
// is not known makes the connection our own (LOCAL).
func proxyHeader(c *mail.Client) []byte {
	const local, proxied, tcp4, tcp6 = 0x20, 0x21, 0x11, 0x21 // version and command, family and transport
	if c == nil || !c.Addr.IsValid() {
		return append([]byte(proxySignature), local, 0, 0, 0)
	}
	from, to := c.Addr.Addr().Unmap().WithZone(""), c.Server.Addr().Unmap().WithZone("")
	family, none := byte(tcp4), netip.IPv4Unspecified()
	if from.Is6() {
		family, none = tcp6, netip.IPv6Unspecified()
	}
	if to.BitLen() != from.BitLen() {
		to = none // another proxy told us of the client: the connection that we have is of another family
	}
	h := append([]byte(proxySignature), proxied, family)
	h = binary.BigEndian.AppendUint16(h, uint16(2*from.BitLen()/8+4))
	h = append(append(h, from.AsSlice()...), to.AsSlice()...)
	h = binary.BigEndian.AppendUint16(h, c.Addr.Port())
	return binary.BigEndian.AppendUint16(h, c.Server.Port())
}

// aboutClient reports whether a refusal of RCPT or DATA judges the client whose address the server was told. It is then
// for that client, and for no other one who writes from the same address to the same recipient.
func (t *transaction) aboutClient(r mail.Reply) bool {
	return t.c.proxied && !t.aboutUs(r) && t.judgesHost(r, false)
}
