package mail

import "net/netip"

// Client is what a gateway knows of the client that a message came from, for a next server that is told.
type Client struct {
	Addr     netip.AddrPort // where it connected from; not valid where that is not known
	Server   netip.AddrPort // where it connected to
	Name     string         // the confirmed name of its address, "" for none
	Reverse  string         // the name of its address, confirmed or not, "" for none
	Nameless bool           // DNS says that it has no confirmed name; with neither this nor Name, that is not known
	Helo     string         // what it said in EHLO or HELO: anything; "" where that is not known
	ESMTP    bool           // it said EHLO
	Login    string         // as whom it has authenticated itself, "" for nobody
}
