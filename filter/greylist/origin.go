package greylist

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/publicsuffix"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/mail"
)

// An origin is where a client belongs to, so that a retry from another address is known again. There are up to three:
// the network of the address; the domain of the reverse-path, where SPF says that the client sends for it; the
// organization that the client's confirmed name belongs to. Large senders have hundreds of hosts in many networks, and
// a message may come from another one with each try: it is enough that one of the origins is the same.

// origin is one of them. The zero origin is everybody.
type origin struct {
	kind string
	name string
}

// The kinds of origins.
const (
	ofNetwork = "network"
	ofSPF     = "spf"
	ofName    = "name"
)

// String is for people.
func (o origin) String() string {
	switch o.kind {
	case ofSPF:
		return o.name + " (SPF)"
	case ofName:
		return o.name + " (name)"
	case "":
		return "anywhere"
	}
	return o.name
}

// origins gives where the client belongs to, its network first.
func origins(in *filter.Input) []origin {
	all := make([]origin, 0, 3)
	client := in.Session.Client.Addr().Unmap().WithZone("")
	if n := in.Session.Network(); n.IsValid() {
		all = append(all, origin{ofNetwork, n.String()})
	}
	if d := auth.SendsFor(in); d != "" {
		all = append(all, origin{ofSPF, d})
	}
	if d := organization(in, client); d != "" {
		all = append(all, origin{ofName, d})
	}
	return all
}

// organization gives the registered domain of the client's confirmed name, or of a HELO name that SPF passes for. Names
// that say nothing but the address are those of dial-up pools, whose hosts have nothing in common.
func organization(in *filter.Input, client netip.Addr) string {
	name, err := mail.Domain(in.Session.PTR)
	if err != nil || generated(name, client) {
		r, ok := auth.HeloSPF.From(in)
		if !ok || r.Result != auth.Pass || r.Everybody() {
			return ""
		}
		name = r.Domain
	}
	d, err := publicsuffix.EffectiveTLDPlusOne(strings.TrimSuffix(name, "."))
	if err != nil {
		return ""
	}
	return d
}

// generated reports whether a name was made of the address: three of its octets stand in it, or all of them in
// hexadecimal.
func generated(name string, a netip.Addr) bool {
	if !a.Is4() {
		return false // too many ways to write it, and dial-up hosts that send over IPv6 are few
	}
	var tokens []string
	for token := range strings.FieldsFuncSeq(name, func(r rune) bool { return r < '0' || r > '9' }) {
		tokens = append(tokens, strings.TrimLeft(token, "0"))
	}
	var hex strings.Builder
	n := 0
	for _, o := range a.As4() {
		if i := slices.Index(tokens, strings.TrimLeft(strconv.Itoa(int(o)), "0")); i >= 0 {
			tokens[i] = "-" // each stands for one octet
			n++
		}
		hex.WriteString(strconv.FormatInt(int64(o)+0x100, 16)[1:])
	}
	return n >= 3 || strings.Contains(name, hex.String())
}
