package dns

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

const resolvConf = "/etc/resolv.conf"

// rereadAfter is how old what is known of resolv.conf may be.
const rereadAfter = 5 * time.Second

// server is one server and whether its AD bit counts.
type server struct {
	address string
	trusted bool
}

// servers are those that were configured or, if none were, those of resolv.conf.
type servers struct {
	fixed []server
	// first is the index of the server to ask first: the one that answered last when another was silent.
	first atomic.Uint32

	path   string
	mu     sync.Mutex
	system []server
	looked time.Time // when the file was looked at
	stamp  time.Time // when it was changed last
	size   int64
}

// list gives the servers to ask; there is at least one.
func (s *servers) list() []server {
	if len(s.fixed) > 0 {
		return s.fixed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); s.looked.IsZero() || now.Sub(s.looked) >= rereadAfter {
		s.looked = now
		s.reread()
	}
	if len(s.system) == 0 {
		// resolv.conf(5): without any, the one on this host.
		return []server{{address: "127.0.0.1:53"}, {address: "[::1]:53"}}
	}
	return s.system
}

// reread reads resolv.conf if it has changed. What can't be read leaves those of before.
func (s *servers) reread() {
	info, err := os.Stat(s.path)
	if err != nil || info.ModTime().Equal(s.stamp) && info.Size() == s.size {
		return
	}
	all, err := readResolvConf(s.path)
	if err != nil {
		return
	}
	s.stamp, s.size = info.ModTime(), info.Size()
	if !slices.Equal(all, s.system) {
		s.system = all
		s.first.Store(0)
	}
}

// readResolvConf gives the servers of a resolv.conf(5). Of a server on a loopback address nobody knows here
// whether it validates or merely hands on, as Docker's does: only the option trust-ad says so.
func readResolvConf(path string) ([]server, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	c, err := dns.ClientConfigFromReader(strings.NewReader(string(b)))
	if err != nil {
		return nil, err
	}
	trusted := false
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "options" && slices.Contains(f[1:], "trust-ad") {
			trusted = true
		}
	}
	var all []server
	for _, s := range c.Servers {
		if _, err := netip.ParseAddr(s); err == nil {
			all = append(all, server{address: net.JoinHostPort(s, c.Port), trusted: trusted})
		}
	}
	return all, nil
}
