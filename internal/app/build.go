package app

import (
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/certs"
	"github.com/postern-mail/postern/internal/config"
	"github.com/postern-mail/postern/internal/edge"
	"github.com/postern-mail/postern/internal/metrics"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/upstream"
)

// newTable makes the routing table, with the files that it names, by their paths, as they are now. Errors are config.Errors.
func newTable(cfg *config.Config) (*upstream.Table, map[string]*upstream.PatternFile, error) {
	files, _, err := openLists(nil, patternLists, cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, nil, err
	}
	table, err := tableWith(cfg, files)
	return table, files, err
}

// tableWith makes the routing table of these files. Errors are config.Errors.
func tableWith(cfg *config.Config, files map[string]*upstream.PatternFile) (*upstream.Table, error) {
	rules := make([]upstream.Rule, len(cfg.Routes))
	for i, r := range cfg.Routes {
		rules[i] = upstream.Rule{To: r.To, From: r.From, Listeners: r.Listeners, Files: files, Route: upstream.Route{
			Name: routeName(r), Upstream: r.Upstream, Policy: r.Policy, Spool: r.Spool, Exchange: isExchange(cfg.Upstream(r.Upstream)),
		}}
	}
	table, err := upstream.NewTable(rules)
	if err != nil {
		return nil, config.Errors{cfg.Errorf("routes", "%s", err)}
	}
	reachPostmaster(cfg, table)
	return table, nil
}

// reachPostmaster has the postmaster's mailbox reached where routes name only other mailboxes of its domain, or the domains below it: by the first of
// these. Where nothing of its domain is ours no route could be right.
func reachPostmaster(cfg *config.Config, table *upstream.Table) {
	a, err := mail.ParseAddress(cfg.Postmaster)
	if err != nil {
		return
	}
	for i, r := range cfg.Routes {
		for j, to := range r.To {
			if !config.IsPath(to) && strings.TrimPrefix(to[strings.LastIndexByte(to, '@')+1:], "*.") == a.Domain() {
				table.Reach(a, i, j)
				return
			}
		}
	}
}

// isExchange reports whether the servers of an upstream are Exchange's.
func isExchange(u *config.Upstream) bool { return u != nil && u.Profile == "exchange" }

// routeName is how a route is called in logs and metrics. No two have the same name.
func routeName(r config.Route) string { return r.Name() }

// relays keeps relays from one configuration to the next: their connections, what they know of recipients
// and of servers that are down outlive a reload that does not concern them.
type relays struct {
	mu       sync.Mutex
	known    map[string]knownRelay
	lists    listFiles[*upstream.File]
	patterns listFiles[*upstream.PatternFile]
	asked    directories
	state    filter.State // that remembers what servers say of mailboxes; nil: nothing does
}

// closer is a relay that holds connections.
type closer interface{ Close() }

// watcher is a relay that looks after its servers, once it is in use.
type watcher interface{ Watch() }

type knownRelay struct {
	cfg   config.Upstream
	files [sha256.Size]byte // of the octets of its ca_file, certificate and key
	auth  *upstream.Auth    // what its password_file said
	hello string
	// secure is whose mail leaves within TLS only.
	secure []config.SecureDomain
	relay  upstream.Relay
}

// forConfig gives a relay for each upstream: the one that is known where the upstream has not changed. The
// others of those known are returned to be closed, once nobody uses them.
func (r *relays) forConfig(cfg *config.Config, hooks upstream.Hooks) (all map[string]upstream.Relay, adopt func() []closer, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := map[string]knownRelay{}
	all = map[string]upstream.Relay{}
	for _, u := range cfg.Upstreams {
		k, ok := r.known[u.Name]
		files, err := digest(u.CAFile, u.Certificate, u.Key)
		if err != nil {
			return nil, nil, cfg.Errorf("upstreams."+u.Name, "%s", err)
		}
		auth, err := authOf(u)
		if err != nil {
			return nil, nil, cfg.Errorf("upstreams."+u.Name+".auth.password_file", "%s", err)
		}
		if !ok || !sameUpstream(k.cfg, u) || k.files != files || !same(k.auth, auth) || k.hello != cfg.Hostname || !slices.Equal(k.secure, cfg.RequireTLSTo) {
			relay, err := newRelay(cfg, u, auth, hooks, answersOf(r.state, u))
			if err != nil {
				return nil, nil, config.Errors{cfg.Errorf("upstreams."+u.Name, "%s", err)}
			}
			k = knownRelay{cfg: u, files: files, auth: auth, hello: cfg.Hostname, secure: cfg.RequireTLSTo, relay: relay}
		}
		next[u.Name], all[u.Name] = k, k.relay
	}
	return all, func() []closer {
		r.mu.Lock()
		defer r.mu.Unlock()
		var old []closer
		for name, k := range r.known {
			if c, ok := k.relay.(closer); ok && next[name].relay != k.relay {
				old = append(old, c)
			}
		}
		for name, k := range next {
			if w, ok := k.relay.(watcher); ok && r.known[name].relay != k.relay {
				w.Watch()
			}
		}
		r.known = next
		return old
	}, nil
}

// digest gives a SHA-256 over those of files, of which "" is none.
func digest(paths ...string) (sum [sha256.Size]byte, err error) {
	var all []byte
	for _, path := range paths {
		var one [sha256.Size]byte
		if path != "" {
			b, err := os.ReadFile(path)
			if err != nil {
				return sum, err
			}
			one = sha256.Sum256(b)
		}
		all = append(all, one[:]...)
	}
	return sha256.Sum256(all), nil
}

func sameUpstream(a, b config.Upstream) bool {
	return a.Name == b.Name && slices.Equal(a.Servers, b.Servers) && a.TLS == b.TLS && a.CAFile == b.CAFile &&
		a.Protocol == b.Protocol && same(a.Auth, b.Auth) && a.Chunking == b.Chunking && a.Identity == b.Identity && a.Replies == b.Replies && a.Profile == b.Profile && a.Maildir == b.Maildir &&
		a.ServerName == b.ServerName && a.KeyPair == b.KeyPair && slices.Equal(a.Source, b.Source) && same(a.Limits, b.Limits) && a.Probe == b.Probe
}

// same reports whether two are equal, or both are not there.
func same[T comparable](a, b *T) bool { return a == b || a != nil && b != nil && *a == *b }

// authOf reads what we authenticate ourselves with to the servers of an upstream, nil for nothing.
func authOf(u config.Upstream) (*upstream.Auth, error) {
	if u.Auth == nil {
		return nil, nil
	}
	password, err := u.Auth.Password()
	if err != nil {
		return nil, err
	}
	return &upstream.Auth{User: u.Auth.User, Password: password}, nil
}

// exchangeIdle is how long connections may be idle for an Exchange not to close them first, which it does after 5 minutes.
const exchangeIdle = 4 * time.Minute

// warnOfExchange names limits that do not fit the profile.
func warnOfExchange(cfg *config.Config, log *slog.Logger) {
	for _, u := range cfg.Upstreams {
		if l := u.Limits; isExchange(&u) && l != nil && l.Idle >= exchangeIdle {
			log.Warn("Exchange closes connections that are idle for 5 minutes: limits.idle should be below 4m", "upstream", u.Name)
		}
	}
}

// warnOfAuth names passwords that are less secret than they could be.
func warnOfAuth(cfg *config.Config, log *slog.Logger) {
	readable := func(a *config.Auth) {
		if info, err := os.Stat(a.PasswordFile); err == nil && info.Mode().Perm()&0o004 != 0 {
			log.Warn("everybody on this host may read a password: chmod o-r", "file", a.PasswordFile)
		}
	}
	for _, r := range cfg.Routes {
		if r.Recipients.Bind == nil {
			continue
		}
		readable(r.Recipients.Bind)
		if r.Recipients.TLS == "required" {
			log.Warn("whoever answers in the directory's place gets the password: tls: verify asks who it is", "route", privacy(cfg.Log.Privacy).Mask(routeName(r)))
		}
	}
	for _, u := range cfg.Upstreams {
		if u.Auth == nil {
			continue
		}
		readable(u.Auth)
		if u.TLS == "required" {
			log.Warn("whoever answers in a server's place gets the password: tls: verify asks who it is", "upstream", u.Name)
		}
	}
}

// warnOfOwnCertificates tells what is allowed but odd about the certificates that servers are shown.
func warnOfOwnCertificates(cfg *config.Config, log *slog.Logger) {
	for _, u := range cfg.Upstreams {
		if u.Certificate == "" {
			continue
		}
		own, err := certs.Read(certs.Pair{Certificate: u.Certificate, Key: u.Key})
		if err != nil {
			continue // its files were checked, and change at the moment
		}
		for _, odd := range own.Oddities(time.Now()) {
			log.Warn(odd, "upstream", u.Name, "file", u.Certificate)
		}
	}
}

func newRelay(cfg *config.Config, u config.Upstream, auth *upstream.Auth, hooks upstream.Hooks, memory upstream.Memory) (upstream.Relay, error) {
	if u.Maildir != "" {
		m, err := upstream.NewMaildir(u.Maildir)
		if err != nil {
			return nil, err
		}
		m.Hooks = hooks
		return m, nil
	}
	mode, err := upstream.ParseTLSMode(u.TLS)
	if err != nil {
		return nil, err
	}
	identity, err := upstream.ParseIdentity(u.Identity)
	if err != nil {
		return nil, err
	}
	var timeouts upstream.Timeouts
	if isExchange(&u) {
		timeouts = upstream.ExchangeTimeouts(len(u.Servers))
	}
	c := upstream.Config{
		Name: u.Name, Servers: u.Servers.Addresses(), LMTP: u.Protocol == "lmtp", TLS: mode, CAFile: u.CAFile, ServerName: u.ServerName,
		Auth: auth, Identity: identity, Hello: cfg.Hostname, Verbatim: u.Replies == "verbatim", Timeouts: timeouts,
		Chunking: u.Chunking == "auto", Secure: secureDomains(cfg), Source: u.Source, Probe: u.Probe != "none", Hooks: hooks, Memory: memory,
	}
	for _, s := range u.Servers {
		c.Ranks = append(c.Ranks, upstream.Rank{Priority: s.Priority, Weight: s.Weight})
	}
	if l := u.Limits; l != nil {
		c.MaxConnections, c.IdleTimeout, c.MaxAge, c.MaxUses = l.Connections, l.Idle, l.Age, l.Uses
	}
	if u.Certificate != "" {
		own, err := certs.Read(certs.Pair{Certificate: u.Certificate, Key: u.Key})
		if err != nil {
			return nil, err
		}
		c.Certificate = own.TLS()
	}
	return upstream.NewPool(c)
}

// newPolicies gives the edge what it needs of each policy.
func newPolicies(cfg *config.Config, j *judge) map[string]*edge.Policy {
	all := map[string]*edge.Policy{}
	for name, p := range j.policies {
		all[name] = &edge.Policy{Plan: p.plan, Policy: p.policy, QuarantineReply: quarantineReply(cfg.Policy(name))}
	}
	return all
}

// quarantineReply is how the client of a held message is answered under a policy.
func quarantineReply(p *config.Policy) edge.QuarantineReply {
	if p.QuarantineReply == "accept" {
		return edge.QuarantineAccept
	}
	return edge.QuarantineReject
}

// exemptRecipients gives the mailboxes that are always reachable: RFC 5321 4.5.1 asks it of postmaster, RFC 2142
// of abuse; the configuration names more.
func exemptRecipients(cfg *config.Config) func(mail.Address) bool {
	return func(a mail.Address) bool {
		switch strings.ToLower(a.Unquoted()) {
		case "postmaster", "abuse":
			return true
		}
		return cfg.Exempt(a)
	}
}

func listenerConfig(l config.Listener) edge.ListenerConfig {
	return edge.ListenerConfig{
		Name: l.Name, Address: l.Address, RejectBare: l.BareNewlines == "reject",
		Engine: l.Engine, Chunking: l.Chunking, DSN: l.DSN,
		Implicit: l.TLS != nil && l.TLS.Mode == "implicit",
		Proxies:  l.ProxyProtocol,
		Fronts:   l.XClient,
		Early:    edge.EarlyTalkers{Wait: l.EarlyTalkers.Wait, Remember: l.EarlyTalkers.Remember, Silent: !l.EarlyTalkers.Teaser},
		Limits: edge.Limits{
			Connections: l.Limits.Connections, PerClient: l.Limits.PerClient, PerNetwork: l.Limits.PerNetwork,
			Rate: l.Limits.Rate, TotalRate: l.Limits.TotalRate, Message: l.Limits.Message,
			Recipients: l.Limits.Recipients, Header: l.Limits.Header, Idle: l.Limits.Idle, Data: l.Limits.Data,
			Errors: l.Limits.Errors,
		},
		Relay: relayRight(l.Relay),
	}
}

// logLevel reads the level, which is one of four words by now.
func logLevel(l config.Log) slog.Level {
	var level slog.Level
	_ = level.UnmarshalText([]byte(l.Level)) // checked with the configuration
	return level
}

// newLogger makes the logger that the configuration describes; its level is that of the variable. w takes lines from several
// goroutines.
func newLogger(w io.Writer, l config.Log, level *slog.LevelVar) *slog.Logger {
	level.Set(logLevel(l))
	o := &slog.HandlerOptions{Level: level}
	if l.Format == "text" {
		return slog.New(slog.NewTextHandler(w, o))
	}
	return slog.New(newLineHandler(w, o))
}

// stateFolders makes the folders below the state directory.
func stateFolders(cfg *config.Config) (tmp string, err error) {
	tmp = filepath.Join(cfg.State.Directory, "tmp")
	for _, dir := range []string{cfg.State.Directory, tmp} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return "", fmt.Errorf("state directory: %w", err)
		}
	}
	return tmp, nil
}

// labels are the names of a configuration that become labels of metrics.
func labels(cfg *config.Config) metrics.Labels {
	l := metrics.Labels{Hash: cfg.Hash()}
	for _, x := range cfg.Listeners {
		l.Listeners = append(l.Listeners, x.Name)
		if x.TLS != nil {
			for place := range x.TLS.KeyPairs(x.Name) {
				l.Certificates = append(l.Certificates, place)
			}
			if x.TLS.ClientCA != "" {
				l.Certificates = append(l.Certificates, x.Name+".client_ca")
			}
		}
	}
	for _, f := range cfg.Filters {
		l.Filters = append(l.Filters, f.Name)
		if f.Kind == "clamd" {
			l.Scanners = append(l.Scanners, f.Name)
		}
	}
	for _, r := range cfg.Routes {
		l.Routes = append(l.Routes, routeName(r))
	}
	l.Upstreams = map[string][]string{}
	for _, u := range cfg.Upstreams {
		l.Servers = append(l.Servers, u.Servers.Addresses()...)
		l.Upstreams[u.Name] = slices.Compact(slices.Sorted(slices.Values(u.Servers.Addresses())))
		if u.Maildir != "" && !slices.Contains(l.Servers, "maildir") {
			l.Servers = append(l.Servers, "maildir") // what a maildir calls itself
		}
	}
	return l
}

// hooks tells metrics and log what relays do: servers that are down, and what is ours to mend.
func hooks(m *metrics.Metrics, log *slog.Logger, show func() edge.Privacy) upstream.Hooks {
	h := m.Hooks()
	up, fault := h.Up, h.Fault
	var down sync.Map // by server
	h.Up = func(server string, isUp bool) {
		up(server, isUp)
		switch _, was := down.LoadAndDelete(server); {
		case !isUp:
			down.Store(server, true)
			log.Warn("upstream server marked down", "server", server)
		case was:
			log.Info("upstream server serves again", "server", server)
		}
	}
	h.Fault = func(server string, stage upstream.Stage, r mail.Reply, err error) {
		fault(server, stage, r, err)
		cause := ""
		if err != nil {
			cause = show().Mask(err.Error())
		}
		log.Error("upstream server does not take mail from us: mend this", "server", server, "stage", string(stage),
			"reply", show().Mask(r.String()), "error", cause)
	}
	return h
}
