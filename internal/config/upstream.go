package config

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

// Servers are the servers of an upstream. Where the file gives none of them a weight or a priority, their order is the
// preference: they have the priorities 10, 20, 30 ….
type Servers []Server

// Server is one server of an upstream, and which share of the work it has.
type Server struct {
	Address  string `yaml:"address"`  // host:port; unix:/path for LMTP
	Weight   int    `yaml:"weight"`   // among those of the same priority
	Priority int    `yaml:"priority"` // of those that are up, the lowest has all of the work
}

const (
	standardWeight   = 1
	standardPriority = 10
	mostRank         = 1000
)

// Addresses gives the addresses alone, in the order of the file.
func (s Servers) Addresses() []string {
	all := make([]string, len(s))
	for i := range s {
		all[i] = s[i].Address
	}
	return all
}

// Plain reports whether the order is the preference, so that a list of addresses says all there is to say.
func (s Servers) Plain() bool {
	for i := range s {
		if s[i].Weight != standardWeight || s[i].Priority != standardPriority*(i+1) {
			return false
		}
	}
	return true
}

// show writes the list as the file has it, on one line.
func (s Servers) show() string {
	items, plain := make([]string, len(s)), s.Plain()
	for i, one := range s {
		if items[i] = text(one.Address); !plain {
			items[i] = fmt.Sprintf("{address: %s, weight: %d, priority: %d}", items[i], one.Weight, one.Priority)
		}
	}
	return "[" + strings.Join(items, ", ") + "]"
}

// ConnectionLimits bound the connections with each server of an upstream.
type ConnectionLimits struct {
	Connections int           `yaml:"connections"` // at once
	Idle        time.Duration `yaml:"idle"`        // until one that is not used is closed
	Age         time.Duration `yaml:"age"`         // until one is closed whatever it is used for
	Uses        int           `yaml:"uses"`        // messages over one
}

func (l *ConnectionLimits) defaults() {
	*l = ConnectionLimits{
		Connections: 20,              // as many as Exchange takes of one source
		Idle:        3 * time.Minute, // Exchange closes at 5
		Age:         8 * time.Minute, // Exchange closes at 10
		Uses:        1000,
	}
}

// Source are the addresses to connect from, one of each family at most. The file has one, or a list.
type Source []netip.Addr

// UnmarshalYAML reads the address or the list.
func (s *Source) UnmarshalYAML(decode func(any) error) error {
	var list []string
	var one string
	if err := decode(&one); err == nil {
		list = []string{one}
	} else if err := decode(&list); err != nil {
		return fmt.Errorf("must be an address of this host, such as 192.0.2.1, or a list of one of each family")
	}
	var all Source
	for _, text := range list {
		a, err := netip.ParseAddr(text)
		if a = a.Unmap(); err != nil || a.Zone() != "" || a.IsUnspecified() || a.IsMulticast() {
			return fmt.Errorf("must be an address of this host, such as 192.0.2.1, and is %s", show(text))
		}
		for _, other := range all {
			if other.Is4() == a.Is4() {
				return fmt.Errorf("%s and %s are of one family: connections come from one of them", other, a)
			}
		}
		all = append(all, a)
	}
	if len(all) == 0 {
		return fmt.Errorf("must name an address; leave the key out for the system's choice")
	}
	*s = all
	return nil
}

// servers checks the servers of an upstream, and fills in their ranks.
func (k *checker) servers(path string, u *Upstream) {
	ranked := false
	for i := range u.Servers {
		at := fmt.Sprintf("%s[%d]", path, i)
		ranked = ranked || k.wrote(at+".weight") || k.wrote(at+".priority")
	}
	for i := range u.Servers {
		s, at := &u.Servers[i], fmt.Sprintf("%s[%d]", path, i)
		if n, _, _ := locate(k.c.root, at); n != nil && n.kind == mapping && !k.require(at, "address", "address: mail.example.org:25") {
			continue
		}
		if err := u.server(s.Address); err != nil {
			k.fail(at, "%s", err)
		}
		for key, v := range map[string]*int{"weight": &s.Weight, "priority": &s.Priority} {
			if k.wrote(at+"."+key) && (*v < 1 || *v > mostRank) {
				k.fail(at+"."+key, "must be a number from 1 to %d", mostRank)
			}
		}
		if !k.wrote(at + ".weight") {
			s.Weight = standardWeight
		}
		switch {
		case !ranked:
			s.Priority = standardPriority * (i + 1)
		case !k.wrote(at + ".priority"):
			s.Priority = standardPriority
		}
	}
}

// server checks one of the servers.
func (u *Upstream) server(s string) error {
	lmtp := u.Protocol == "lmtp"
	path, socket := strings.CutPrefix(s, "unix:")
	switch {
	case socket && !lmtp:
		return fmt.Errorf("a socket is for protocol: lmtp only")
	case socket && (!strings.HasPrefix(path, "/") || len(path) > longestSocket):
		return fmt.Errorf("must be unix: and the whole path of a socket, of at most %d octets, and is %s", longestSocket, show(s))
	case socket && (u.TLS == "required" || u.TLS == "verify"):
		return fmt.Errorf("there is no TLS on a socket of this machine: leave tls: %s out, or name a host and a port", u.TLS)
	case socket:
		return nil
	}
	if err := hostPort(s, true, false); err != nil {
		return err
	}
	if _, port, _ := net.SplitHostPort(s); lmtp && strings.TrimLeft(port, "0") == "25" { // RFC 2033 5: must not be used there
		return fmt.Errorf("port 25 is SMTP's, and never LMTP's: Dovecot's examples have 24")
	}
	return nil
}

// longestSocket is how long the path of a socket may be on every system (sun_path).
const longestSocket = 103

// connections checks how connections with the servers of an upstream are made, and how many.
func (k *checker) connections(path string, u *Upstream) {
	if l := u.Limits; l != nil {
		for key, bad := range map[string]bool{"connections": l.Connections <= 0, "idle": l.Idle <= 0, "age": l.Age <= 0, "uses": l.Uses <= 0} {
			if bad {
				k.fail(path+".limits."+key, "%s must be greater than 0", key)
			}
		}
	}
	if u.ServerName != "" {
		if _, err := domain(u.ServerName); err != nil {
			k.fail(path+".server_name", "must be the name of a host, and is %s", show(u.ServerName))
		}
	}
	if k.wrote(path+".certificate") || k.wrote(path+".key") {
		k.keyPair(path)
	}
	for _, key := range []string{"certificate", "server_name"} {
		if u.TLS == "none" && k.wrote(path+"."+key) {
			k.fail(path+"."+key, "%s has no meaning with tls: none", key)
		}
	}
}
