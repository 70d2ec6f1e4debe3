package dnsbl

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/dns"
	"github.com/postern-mail/postern/mail"
)

// fakeDNS has addresses of names, or a fault: SERVFAIL, SILENT, BUDGET. "*.zone" is every name below a zone. Texts stand
// under "TXT name".
type fakeDNS struct {
	mu     sync.Mutex
	names  map[string]string
	asked  []string
	silent func() // called when a question is SILENT
}

func (f *fakeDNS) set(name, value string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.names[name] = value
}

func (f *fakeDNS) find(ctx context.Context, name string) (string, error) {
	f.mu.Lock()
	f.asked = append(f.asked, name)
	value, ok := f.names[name]
	for rest := name; !ok && strings.Contains(rest, "."); {
		_, rest, _ = strings.Cut(rest, ".")
		value, ok = f.names["*."+rest]
	}
	f.mu.Unlock()
	switch {
	case !ok:
		return "", &net.DNSError{Name: name, Err: "no such name", IsNotFound: true}
	case value == "SERVFAIL":
		return "", &net.DNSError{Name: name, Err: "servfail", IsTemporary: true}
	case value == "BUDGET":
		return "", &net.DNSError{Name: name, Err: "budget", IsTemporary: true, UnwrapErr: dns.ErrBudget}
	case value == "SILENT":
		if f.silent != nil {
			f.silent()
		}
		<-ctx.Done()
		return "", &net.DNSError{Name: name, Err: "no answer", IsTemporary: true, IsTimeout: true}
	}
	return value, nil
}

// questions lists what was asked since the last time, sorted.
func (f *fakeDNS) questions() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := f.asked
	f.asked = nil
	slices.Sort(all)
	return all
}

func (f *fakeDNS) LookupNetIP(ctx context.Context, network, host string) (all []netip.Addr, err error) {
	if network != "ip4" {
		return nil, fmt.Errorf("asked for %s", network)
	}
	value, err := f.find(ctx, host)
	for _, word := range strings.Fields(value) {
		all = append(all, netip.MustParseAddr(word))
	}
	return all, err
}

func (f *fakeDNS) LookupTXT(ctx context.Context, name string) ([]string, error) {
	value, err := f.find(ctx, "TXT "+name)
	return []string{value}, err
}

func (f *fakeDNS) LookupIPAddr(context.Context, string) ([]net.IPAddr, error) {
	panic("not asked for")
}

func (f *fakeDNS) LookupMX(context.Context, string) ([]*net.MX, error) { panic("not asked for") }

func (f *fakeDNS) LookupAddr(context.Context, string) ([]string, error) { panic("not asked for") }

// lab is a filter with a DNS and a log of its own.
type lab struct {
	t    testing.TB
	dns  *fakeDNS
	log  bytes.Buffer
	spec filter.Spec
	f    filter.Filter

	onLog func() // is called while the log is written to
}

func newLab(t testing.TB, settings string, names ...string) *lab {
	t.Helper()
	l := &lab{t: t, dns: &fakeDNS{names: map[string]string{}}}
	for _, n := range names {
		name, value, _ := strings.Cut(n, "=")
		l.dns.names[name] = value
	}
	if err := l.open(settings, l.dns); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *lab) open(settings string, resolver filter.Resolver) (err error) {
	log := slog.New(slog.NewTextHandler(&l.log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if l.onLog != nil {
			l.onLog()
		}
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	l.spec, l.f, err = Factory.New(filter.Env{
		Name: "dnsbl", Hostname: "mx.example.org", DNS: resolver, Log: log,
		Ours: func(d string) bool { return d == "example.org" },
	}, func(v any) error { return yaml.UnmarshalWithOptions([]byte(settings), v, yaml.Strict()) })
	return err
}

// said gives the lines of the log since the last time.
func (l *lab) said() string {
	s := l.log.String()
	l.log.Reset()
	return s
}

// client asks about a client.
func (l *lab) client(addr string) string { return l.ask(filter.Connect, client(addr), mail.Address{}) }

func client(addr string) *filter.Session {
	return &filter.Session{Client: netip.AddrPortFrom(netip.MustParseAddr(addr), 4711)}
}

func (l *lab) ask(ph filter.Phase, s *filter.Session, from mail.Address) string {
	l.t.Helper()
	in := &filter.Input{Phase: ph, Session: s}
	if ph == filter.Mail {
		in.Transaction = &filter.Transaction{From: from}
	}
	r, err := l.f.Check(l.t.Context(), in)
	if err != nil {
		l.t.Fatal(err)
	}
	if r.Propose != filter.Continue || r.Reply != nil || r.Hold {
		l.t.Errorf("proposes %v", r.Propose)
	}
	return shown(r)
}

func shown(r filter.Result) string {
	var all []string
	for _, f := range r.Findings {
		all = append(all, fmt.Sprintf("%s*%g %s", f.Symbol+unsure(f), f.Strength, f.Detail))
	}
	return strings.Join(all, "\n")
}

// bothFamilies is a fakeDNS that can be asked as any filter.Resolver only.
type bothFamilies struct{ f *fakeDNS }

func (b bothFamilies) LookupIPAddr(ctx context.Context, host string) (all []net.IPAddr, err error) {
	found, err := b.f.LookupNetIP(ctx, "ip4", host)
	for _, a := range found {
		all = append(all, net.IPAddr{IP: a.AsSlice()})
	}
	return all, err
}

func (b bothFamilies) LookupTXT(ctx context.Context, name string) ([]string, error) {
	return b.f.LookupTXT(ctx, name)
}

func (bothFamilies) LookupMX(context.Context, string) ([]*net.MX, error) { panic("not asked for") }

func (bothFamilies) LookupAddr(context.Context, string) ([]string, error) { panic("not asked for") }

// unsure marks a finding that stands for what was not found out.
func unsure(f filter.Finding) string {
	if f.Unknown {
		return "?"
	}
	return ""
}
