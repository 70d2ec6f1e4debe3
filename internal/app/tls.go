package app

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/postern-mail/postern/internal/certs"
	"github.com/postern-mail/postern/internal/config"
)

// tlsDoors are the TLS of the listeners, by their names. They outlive reloads.
type tlsDoors struct {
	mu    sync.Mutex
	known map[string]*certs.Door
}

// of gives the door of a listener, nil where it has none.
func (t *tlsDoors) of(listener string) *certs.Door {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.known[listener]
}

// use puts what was read in the place of what is in use, and forgets listeners that are not named. Connections that
// are open keep their door.
func (t *tlsDoors) use(sets map[string]*certs.Set) {
	t.mu.Lock()
	defer t.mu.Unlock()
	next := map[string]*certs.Door{}
	for name, s := range sets {
		d := t.known[name]
		if d == nil {
			d = new(certs.Door)
		}
		d.Use(s)
		next[name] = d
	}
	t.known = next
}

func (t *tlsDoors) all() []*certs.Door {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]*certs.Door, 0, len(t.known))
	for _, d := range t.known {
		all = append(all, d)
	}
	return all
}

// states gives the state of every certificate.
func (t *tlsDoors) states() []certs.State {
	var all []certs.State
	for _, d := range t.all() {
		all = append(all, d.States()...)
	}
	return all
}

var tlsVersions = map[string]uint16{
	"1.0": tls.VersionTLS10, "1.1": tls.VersionTLS11, "1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13,
}

// tlsSpec says what is to be read for a listener, and whether clients are asked for certificates. The places of its own
// stand in log and metrics.
func tlsSpec(l config.Listener, ask bool) certs.Spec {
	s := certs.Spec{
		Min: tlsVersions[l.TLS.Min], ClientCA: l.TLS.ClientCA, ClientPlace: l.Name + ".client_ca",
		Ask: l.Relay != nil && len(l.Relay.Certificates) > 0 || ask,
	}
	for place, p := range l.TLS.KeyPairs(l.Name) {
		s.Pairs = append(s.Pairs, certs.Pair{Place: place, Certificate: p.Certificate, Key: p.Key})
	}
	return s
}

// readCertificates reads what the listeners' TLS is made of. ask says that filters go by certificates of clients.
func readCertificates(cfg *config.Config, ask bool) (map[string]*certs.Set, error) {
	ask = ask || slices.ContainsFunc(cfg.RequireTLSFrom, func(p config.Partner) bool { return p.Certificate != "" })
	sets := map[string]*certs.Set{}
	for _, l := range cfg.Listeners {
		if l.TLS == nil {
			continue
		}
		s, err := certs.ReadSet(tlsSpec(l, ask))
		if err != nil {
			return nil, config.Errors{cfg.Errorf("listeners."+l.Name+".tls", "%s", strings.TrimPrefix(err.Error(), "certs: "))}
		}
		sets[l.Name] = s
	}
	return sets, nil
}

// warnOfCertificates tells what is allowed but odd about the listeners' TLS.
func warnOfCertificates(cfg *config.Config, sets map[string]*certs.Set, log *slog.Logger) {
	now := time.Now()
	for _, l := range cfg.Listeners {
		s := sets[l.Name]
		if s == nil {
			continue
		}
		if v := tlsVersions[l.TLS.Min]; v < tls.VersionTLS12 {
			log.Warn("the listener takes versions of TLS that RFC 8996 calls broken", "listener", l.Name)
		}
		all := s.Certificates()
		for _, c := range all {
			for _, odd := range c.Oddities(now) {
				log.Warn(odd, "cert", c.Place, "file", c.Certificate)
			}
		}
		if !slices.ContainsFunc(all, func(c *certs.Certificate) bool { return c.Covers(cfg.Hostname) }) {
			log.Warn("no certificate of the listener is for the gateway's own name", "listener", l.Name, "hostname", cfg.Hostname)
		}
	}
}

// watchCertificates takes up changed files of certificates, until ctx is done.
func (g *gateway) watchCertificates(ctx context.Context) {
	tick := time.NewTicker(certs.PollEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			g.pollCertificates()
		}
	}
}

func (g *gateway) pollCertificates() {
	for _, d := range g.tls.all() {
		for _, c := range d.Poll() {
			if c.Err != nil {
				g.log.Error("certificate not taken: the old one is in use", "cert", c.Place, "file", c.Files[0], "error", errText(c.Err))
			} else {
				g.log.Info("certificate taken", "cert", c.Place, "file", c.Files[0])
			}
		}
	}
	g.metrics.Certificates(g.tls.states())
}

func errText(err error) string {
	var file *certs.Unreadable
	if errors.As(err, &file) {
		return file.Err.Error()
	}
	return strings.TrimPrefix(err.Error(), "certs: ")
}
