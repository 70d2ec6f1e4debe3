package app

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/postern-mail/postern/filter/dnsbl"
	"github.com/postern-mail/postern/internal/certs"
	"github.com/postern-mail/postern/internal/config"
	"github.com/postern-mail/postern/internal/doctor"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/upstream"
)

// DoctorOptions are what is said of an examination.
type DoctorOptions struct {
	Upstream string // examine this one alone; "": all, and the look from outside
	JSON     bool
}

const (
	// askTime is how long a client waits for what a server says of a mailbox.
	askTime = 2 * time.Second
	// aList is asked where the configuration names no DNS list: its answers to public resolvers are well known.
	aList = "zen.spamhaus.org"
)

// Doctor examines the servers inside, and the gateway from outside, and tells what will hurt. It delivers nothing. With
// findings other than notes the exit code is ExitFindings.
func (a *App) Doctor(ctx context.Context, o DoctorOptions) error {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	e, err := examination(cfg, o.Upstream)
	if err != nil {
		return err
	}
	e.Progress = a.progress()
	r := e.Run(ctx)
	e.Progress("")
	if err := ctx.Err(); err != nil {
		return exit(ExitUnavailable, "doctor: interrupted")
	}
	if o.JSON {
		err = writeFindings(a.o.Stdout, r)
	} else {
		err = printExamination(a.o.Stdout, e, r)
	}
	if err != nil {
		return &Exit{Code: ExitCannotWrite, Err: fmt.Errorf("postern: %w", err)}
	}
	if _, hurts := r.Worst(); hurts {
		return &Exit{Code: ExitFindings}
	}
	return nil
}

// progress tells a terminal what is being done, on one line that is written over; "" clears it.
func (a *App) progress() func(string) {
	f, ok := a.o.Stderr.(*os.File)
	if !ok || !isTerminal(f) {
		return func(string) {}
	}
	return func(what string) { fmt.Fprintf(f, "\r\x1b[K%.78s", what) }
}

// examination puts together what is to be looked at.
func examination(cfg *config.Config, only string) (doctor.Examination, error) {
	var e doctor.Examination
	if only != "" && cfg.Upstream(only) == nil {
		var names []string
		for _, u := range cfg.Upstreams {
			names = append(names, u.Name)
		}
		return e, exit(ExitUsage, "doctor: there is no upstream %s; allowed: %s", visible(only), strings.Join(names, ", "))
	}
	table, files, err := newTable(cfg)
	if err != nil {
		return e, &Exit{Code: ExitConfig, Err: err}
	}
	for i := range cfg.Upstreams {
		u := &cfg.Upstreams[i]
		if only != "" && u.Name != only {
			continue
		}
		servers, err := patients(cfg, u, files)
		if err != nil {
			return e, &Exit{Code: ExitConfig, Err: err}
		}
		e.Servers = append(e.Servers, servers...)
	}
	if only != "" {
		return e, nil
	}
	g, err := facade(cfg, table, files)
	if err != nil {
		return e, &Exit{Code: ExitConfig, Err: err}
	}
	e.Gateway = g
	return e, nil
}

// patients are the servers of an upstream, none of a maildir.
func patients(cfg *config.Config, u *config.Upstream, files map[string]*upstream.PatternFile) ([]doctor.Server, error) {
	mode, err := upstream.ParseTLSMode(u.TLS)
	if err != nil {
		return nil, cfg.Errorf("upstreams."+u.Name+".tls", "%s", err)
	}
	s := doctor.Server{
		Upstream: u.Name, LMTP: u.Protocol == "lmtp", TLS: mode, Identity: u.Identity, Exchange: isExchange(u), Hello: cfg.Hostname,
		Name: u.ServerName, Source: u.Source, Callout: askTime, Recipients: doctor.Listed,
	}
	if u.Limits != nil {
		s.Connections = u.Limits.Connections
	}
	if s.Exchange {
		s.Callout = upstream.ExchangeTimeouts(1).Ask
	}
	if err := credentials(cfg, u, &s); err != nil {
		return nil, err
	}
	for i := range cfg.Listeners {
		l := &cfg.Listeners[i]
		s.Message, s.Most, s.DSN = max(s.Message, l.Limits.Message), max(s.Most, l.Limits.Recipients), s.DSN || l.DSN
	}
	if s.Exchange {
		s.Most = min(s.Most, upstream.ExchangeRecipients)
	}
	for _, r := range cfg.Routes {
		if r.Upstream == u.Name {
			takeRoute(&s, r, files)
		}
	}
	var all []doctor.Server
	for _, address := range u.Servers.Addresses() {
		s.Address, s.Near = address, near(address)
		all = append(all, s)
	}
	return all, nil
}

// credentials reads what the servers are shown, and whom they are to show that they are.
func credentials(cfg *config.Config, u *config.Upstream, s *doctor.Server) (err error) {
	if s.Auth, err = authOf(*u); err != nil {
		return cfg.Errorf("upstreams."+u.Name+".auth.password_file", "%s", err)
	}
	if u.Certificate != "" {
		own, err := certs.Read(certs.Pair{Certificate: u.Certificate, Key: u.Key})
		if err != nil {
			return cfg.Errorf("upstreams."+u.Name+".certificate", "%s", strings.TrimPrefix(err.Error(), "certs: "))
		}
		s.Own = own.TLS()
	}
	if u.CAFile != "" {
		pem, err := os.ReadFile(u.CAFile)
		if err != nil {
			return cfg.Errorf("upstreams."+u.Name+".ca_file", "%s", err)
		}
		s.Roots = x509.NewCertPool()
		s.Roots.AppendCertsFromPEM(pem)
	}
	return nil
}

// takeRoute notes what a route brings to a server.
func takeRoute(s *doctor.Server, r config.Route, files map[string]*upstream.PatternFile) {
	s.Domains = append(s.Domains, wholeDomains(r, files)...)
	s.Outward = s.Outward || slices.Contains(r.To, "*")
	if len(r.To) == 1 && r.To[0] == "*" {
		return // strangers' mailboxes are nobody's to know
	}
	switch r.Recipients.Verify {
	case "none":
		s.Recipients = doctor.AnyTaken
	case "callout":
		s.Recipients = max(s.Recipients, doctor.Asked)
	}
}

// near reports whether nobody else can listen on the way to a server.
func near(address string) bool {
	if strings.HasPrefix(address, "unix:") {
		return true
	}
	host, _, _ := net.SplitHostPort(address)
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// facade is what others see of the gateway.
func facade(cfg *config.Config, table *upstream.Table, files map[string]*upstream.PatternFile) (*doctor.Gateway, error) {
	resolver, _, err := (*resolvers)(nil).forConfig(cfg)
	if err != nil {
		return nil, err
	}
	sets, err := readCertificates(cfg, false)
	if err != nil {
		return nil, err
	}
	g := &doctor.Gateway{Hostname: cfg.Hostname, Addresses: interfaceAddresses(), DNS: resolver, Postmaster: func() error {
		p, err := mail.ParseAddress(cfg.Postmaster)
		if err == nil {
			_, err = table.Route(upstream.Query{Recipient: p})
		}
		if err != nil {
			return errors.New("no route takes mail for " + cfg.Postmaster)
		}
		return nil
	}}
	for _, r := range cfg.Routes {
		g.Domains = append(g.Domains, wholeDomains(r, files)...)
	}
	for _, l := range cfg.Listeners {
		if near(l.Address) {
			continue
		}
		door := doctor.Listener{Name: l.Name}
		if s := sets[l.Name]; s != nil {
			door.Certificates = s.Certificates()
		}
		g.Listeners = append(g.Listeners, door)
	}
	g.Lists, err = lists(cfg)
	return g, err
}

// lists gives the DNS lists of addresses that the gateway goes by.
func lists(cfg *config.Config) (all []string, err error) {
	for _, f := range cfg.Filters {
		if f.Kind != "dnsbl" {
			continue
		}
		zones, err := dnsbl.Zones(f.Decode)
		if err != nil {
			return nil, err
		}
		for _, z := range zones {
			if !slices.Contains(all, z) {
				all = append(all, z)
			}
		}
	}
	if len(all) == 0 {
		all = []string{aList}
	}
	return all, nil
}

// interfaceAddresses gives this host's own addresses, as far as others could know them.
func interfaceAddresses() (all []netip.Addr) {
	found, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, a := range found {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().IsGlobalUnicast() {
			all = append(all, p.Addr().Unmap())
		}
	}
	return all
}
