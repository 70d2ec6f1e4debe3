package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/postern-mail/postern/internal/config"
	"github.com/postern-mail/postern/internal/edge"
	"github.com/postern-mail/postern/internal/systemd"
)

// listener is one door.
type listener struct {
	cfg    config.Listener
	server *edge.Server
	net    net.Listener
	more   []net.Listener // where the service manager has given several sockets for it
	given  bool           // the service manager has opened it
	left   atomic.Bool    // closed by a reload, and its last transactions have ended
}

// sockets gives all that the listener has.
func (l *listener) sockets() []net.Listener { return append([]net.Listener{l.net}, l.more...) }

func (l *listener) close() {
	for _, n := range l.sockets() {
		_ = n.Close()
	}
}

// open binds every address, so that a gateway stands whole or not at all.
func (g *gateway) open(ctx context.Context, cfg *config.Config) error {
	opened, err := g.bind(ctx, cfg)
	g.listeners = opened
	if err != nil {
		return err
	}
	if cfg.Metrics.Address != "" {
		w, err := openWeb(ctx, cfg.Metrics.Address, g)
		if err != nil {
			return fmt.Errorf("metrics: %w", err)
		}
		g.web = w
	}
	return g.openControl(cfg)
}

// assign gives each of the sockets that the service manager has opened to a listener: to the one that has its name, else
// to one whose address it has. One that is left over would take connections that nobody serves, and is an error.
func assign(cfg *config.Config, given []systemd.Socket) (map[string][]net.Listener, error) {
	all := map[string][]net.Listener{}
	for _, s := range given {
		i := slices.IndexFunc(cfg.Listeners, func(l config.Listener) bool { return l.Name == s.Name })
		if i < 0 {
			i = slices.IndexFunc(cfg.Listeners, func(l config.Listener) bool { return fits(l.Address, s.Listener.Addr()) })
		}
		if i < 0 {
			names := make([]string, len(cfg.Listeners))
			for i, l := range cfg.Listeners {
				names[i] = l.Name
			}
			return nil, cfg.Errorf("listeners", "the service manager has given a socket that no listener is for: %q at %s; a listener "+
				"must have this address, or the socket the name of one (FileDescriptorName= %s)", s.Name, s.Listener.Addr(), strings.Join(names, ", "))
		}
		name := cfg.Listeners[i].Name
		all[name] = append(all[name], s.Listener)
	}
	return all, nil
}

// fits reports whether a socket is what a configured address asks for. Host names fit none: what they mean may change.
func fits(address string, socket net.Addr) bool {
	t, ok := socket.(*net.TCPAddr)
	host, port, err := net.SplitHostPort(address)
	if !ok || err != nil || port != strconv.Itoa(t.Port) {
		return false
	}
	if host == "" {
		return t.IP.IsUnspecified()
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && (ip.Unmap() == t.AddrPort().Addr().Unmap() || ip.IsUnspecified() && t.IP.IsUnspecified())
}

// bind gives a listener for each of the configuration's: the one that has its sockets or its address already, else a
// new one, which is bound and not yet served.
func (g *gateway) bind(ctx context.Context, cfg *config.Config) ([]*listener, error) {
	given, err := assign(cfg, g.given)
	if err != nil {
		return nil, err
	}
	var all []*listener
	for _, l := range cfg.Listeners {
		sockets := given[l.Name]
		i := slices.IndexFunc(g.listeners, func(x *listener) bool {
			if sockets != nil || x.given {
				return x.given && slices.Equal(x.sockets(), sockets)
			}
			return x.cfg.Address == l.Address
		})
		switch {
		case i >= 0 && slices.Contains(all, g.listeners[i]):
			return all, cfg.Errorf("listeners."+l.Name+".address", "%s is the address of another listener", l.Address)
		case i >= 0:
			all = append(all, g.listeners[i])
		case sockets != nil && g.listeners != nil:
			return all, cfg.Errorf("listeners."+l.Name, "sockets of the service manager go to another listener by a restart only")
		default:
			x, err := g.newListener(ctx, l, sockets)
			if err != nil {
				return all, err
			}
			all = append(all, x)
		}
	}
	return all, nil
}

// newListener makes a listener with sockets of the service manager or, where there are none, one of its own.
func (g *gateway) newListener(ctx context.Context, l config.Listener, given []net.Listener) (*listener, error) {
	x := &listener{cfg: l, server: edge.NewServer(g.listenerConfig(l), g.current.Load)}
	if given != nil {
		x.net, x.more, x.given = given[0], given[1:], true
		return x, nil
	}
	// Clients that are gone without a word are found by their time limits: probes would be four system calls for each.
	lc := net.ListenConfig{KeepAlive: -1}
	var err error
	if x.net, err = lc.Listen(ctx, "tcp", l.Address); errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("listener %s: %w (a port below 1024 takes CAP_NET_BIND_SERVICE, or a socket of the service manager)", l.Name, err)
	} else if err != nil {
		return nil, fmt.Errorf("listener %s: %w (an address that overlaps one in use is taken by a restart only)", l.Name, err)
	}
	return x, nil
}

// listenerConfig is what the door is told; its certificate is the one of the moment.
func (g *gateway) listenerConfig(l config.Listener) edge.ListenerConfig {
	c := listenerConfig(l)
	if door := g.tls.of(l.Name); door != nil && l.TLS != nil {
		c.TLS = door.Config
	}
	if l.Relay != nil && g.users[l.Relay.Users] != nil {
		c.Relay.Users, c.Relay.Checker = g.users[l.Relay.Users], g.logins
	}
	return c
}

// serve lets a listener take connections.
func (g *gateway) serve(l *listener) {
	name := l.cfg.Name // a reload may change it
	for _, n := range l.sockets() {
		g.log.Info("listening", "listener", name, "address", n.Addr().String(), "given", l.given)
		g.background.Go(func() {
			if err := l.server.Serve(n); err != nil && !errors.Is(err, net.ErrClosed) {
				g.log.Error("listener ended", "listener", name, "error", err)
				g.ready.Store(false)
				select {
				case g.failed <- fmt.Errorf("listener %s: %w", name, err):
				default: // one failure ends the gateway
				}
			}
		})
	}
}
