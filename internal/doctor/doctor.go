// Package doctor talks to the servers that a gateway hands mail to, looks at the gateway from outside, and tells what
// will hurt. It delivers nothing: it never says DATA or BDAT, and mends nothing itself.
package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/postern-mail/postern/upstream"
)

// Level says how much a finding matters.
type Level uint8

const (
	Note    Level = iota // worth knowing; nothing has to be done
	Warning              // it will hurt some mail, or some day
	Fault                // it hurts now: mail is lost, refused, kept waiting, or open to abuse
)

var levelNames = [...]string{"note", "warning", "fault"}

// String gives the word for l.
func (l Level) String() string {
	if int(l) < len(levelNames) {
		return levelNames[l]
	}
	return fmt.Sprintf("level(%d)", uint8(l))
}

// MarshalText makes the word of l its JSON.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// Finding is one thing that was found.
type Finding struct {
	Code  string `json:"code"` // one of Codes
	Level Level  `json:"level"`
	Where string `json:"where"` // a server with its upstream, or what of the gateway's own is meant
	Seen  string `json:"seen"`  // what was said and done; text of servers is on one line and printable
	Why   string `json:"why"`   // why that hurts
	Mend  Mend   `json:"mend"`
}

// Mend says what to do. Fields are empty where there is nothing to do at such a place.
type Mend struct {
	Here     string `json:"here,omitempty"` // in Postern's own configuration, in the DNS, at the provider's
	Exchange string `json:"exchange,omitempty"`
	Postfix  string `json:"postfix,omitempty"`
	Dovecot  string `json:"dovecot,omitempty"`
}

// Software is what a server turned out to be: "exchange", "postfix", "dovecot", "exim", or "" where it does not say.
type Software string

// Server is one server that is to be examined, and what the gateway wants of it.
type Server struct {
	Upstream string // its name
	Address  string // host:port, or unix:/path with LMTP
	Near     bool   // nobody can listen on the way to it: what TLS lacks does not matter
	LMTP     bool
	TLS      upstream.TLSMode
	Roots    *x509.CertPool // for upstream.TLSVerify; nil: the system's
	Name     string         // which TLS asks for, and verify wants; "": the host of Address
	Own      *tls.Certificate
	Auth     *upstream.Auth
	Source   []netip.Addr // to connect from, as in upstream.Config
	Identity string       // none, xforward, xclient, proxy
	Exchange bool         // its profile says that it is an Exchange
	Hello    string       // our name

	Domains     []string      // of ours whose mail goes there
	Outward     bool          // mail for everybody else goes there, too
	Recipients  Recipients    // how mailboxes are known before mail goes there
	Callout     time.Duration // with Asked: how long a client waits for an answer
	Message     int64         // octets of the largest message that our listeners take
	Connections int           // how many the gateway opens
	Most        int           // recipients of one transaction
	DSN         bool          // a listener offers DSN
}

// Recipients says how the mailboxes of a server are known to the gateway.
type Recipients uint8

const (
	Listed   Recipients = iota // by a list or directory: unknown ones never get to the server
	Asked                      // the server is asked
	AnyTaken                   // not at all: what the server says counts
)

// Limits bound an examination. Zero fields mean the defaults.
type Limits struct {
	Reply  time.Duration // for each connection, reply and look-up: 20 s
	Server time.Duration // for all about one server: 2 min
	Total  time.Duration // 5 min
	Slow   time.Duration // from when on a greeting or a reply to MAIL is slow: 5 s
}

// Examination is what is to be done.
type Examination struct {
	Servers  []Server
	Gateway  *Gateway // nil: nothing is looked at from outside
	Limits   Limits
	Progress func(what string) // told what is being done; from several goroutines

	connect func(ctx context.Context, sources []netip.Addr, server string) (net.Conn, error) // for tests; nil: by the network
}

// Result is what came of it.
type Result struct {
	Findings []Finding           // the servers' first, each in the order of the dialog; the same server's together
	Software map[string]Software // by Server.Where
}

// Worst gives the greatest level of all findings; ok is false where there are none but notes.
func (r *Result) Worst() (worst Level, ok bool) {
	for _, f := range r.Findings {
		worst = max(worst, f.Level)
	}
	return worst, worst > Note
}

// atOnce is how many servers are examined at the same time.
const atOnce = 4

// Where names a server in findings.
func (s *Server) Where() string { return s.Upstream + ", " + s.Address }

func (l Limits) withDefaults() Limits {
	for _, d := range []struct {
		v *time.Duration
		d time.Duration
	}{{&l.Reply, 20 * time.Second}, {&l.Server, 2 * time.Minute}, {&l.Total, 5 * time.Minute}, {&l.Slow, 5 * time.Second}} {
		if *d.v == 0 {
			*d.v = d.d
		}
	}
	return l
}

// Run carries an examination out. It ends when all is done, when Limits.Total is over, or with ctx; what was not done then
// is a finding. Servers with the same address are examined one after another, since their limits are for us as a whole.
func (e Examination) Run(ctx context.Context) *Result {
	e.Limits = e.Limits.withDefaults()
	if e.Progress == nil {
		e.Progress = func(string) {}
	}
	if e.connect == nil {
		e.connect = upstream.DialFrom
	}
	ctx, cancel := context.WithTimeout(ctx, e.Limits.Total)
	defer cancel()
	visits := make([]*visit, len(e.Servers))
	groups := map[string][]*visit{}
	var order []string
	for i := range e.Servers {
		s := &e.Servers[i]
		visits[i] = &visit{server: s, limits: e.Limits, progress: e.Progress, connect: e.connect}
		if groups[s.Address] == nil {
			order = append(order, s.Address)
		}
		groups[s.Address] = append(groups[s.Address], visits[i])
	}
	places := make(chan struct{}, atOnce)
	var running sync.WaitGroup
	for _, address := range order {
		running.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			for _, v := range groups[address] {
				v.run(ctx)
			}
		})
	}
	var out outside
	if e.Gateway != nil {
		out = outside{gateway: e.Gateway, limits: e.Limits, progress: e.Progress}
		running.Go(func() { out.run(ctx) })
	}
	running.Wait()
	r := &Result{Software: map[string]Software{}}
	for _, v := range visits {
		r.Findings = append(r.Findings, v.findings...)
		r.Software[v.server.Where()] = v.software
	}
	r.Findings = append(r.Findings, out.findings...)
	return r
}

// visit is the examination of one server.
type visit struct {
	server   *Server
	limits   Limits
	progress func(string)
	connect  func(ctx context.Context, sources []netip.Addr, server string) (net.Conn, error)
	software Software
	findings []Finding
	domain   string // one of the server's
	failed   error  // of the handshake
	clear    bool   // this is another dialog, without TLS
	unproved bool   // with tls: verify its certificate would not be taken
}

// find notes a finding.
func (v *visit) find(code string, level Level, format string, args ...any) {
	if v.clear && v.found(code) {
		return
	}
	v.findings = append(v.findings, newFinding(code, level, v.server.Where(), fmt.Sprintf(format, args...)))
}

func newFinding(code string, level Level, where, seen string) Finding {
	a := advices[code]
	return Finding{Code: code, Level: level, Where: where, Seen: printable(seen), Why: a.why, Mend: a.mend}
}

func (v *visit) step(what string) { v.progress(v.server.Where() + ": " + what) }

// run examines the server.
func (v *visit) run(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, v.limits.Server)
	defer cancel()
	if len(v.server.Domains) > 0 {
		v.domain = v.server.Domains[0]
	}
	if ctx.Err() == nil {
		v.examine(ctx)
	}
	if ctx.Err() != nil && !v.found("unreachable") {
		v.find("unfinished", Warning, "the time was up before all was looked at")
	}
}

func (v *visit) found(code string) bool {
	return slices.ContainsFunc(v.findings, func(f Finding) bool { return f.Code == code })
}

// examine goes through one dialog, and then tries how many there may be at once.
func (v *visit) examine(ctx context.Context) {
	v.step("connecting")
	for {
		d, err := v.dial(ctx)
		if err != nil {
			v.find("unreachable", Fault, "%s", errText(err))
			return
		}
		reached := v.talk(ctx, d)
		d.leave()
		switch {
		case reached:
			v.crowd(ctx)
			return
		case v.clear || v.failed == nil || v.server.TLS != upstream.TLSOpportunistic:
			return
		}
		v.clear = true // as the gateway does, once more without TLS
	}
}

// talk holds the dialog. False means that the server can't be used at all, so that no more is to be learnt.
func (v *visit) talk(ctx context.Context, d *dialog) bool {
	if !v.greeting(d) || !v.hello(d) || !v.secure(ctx, d) {
		return false
	}
	v.profile(d)
	v.extensions(d)
	if !v.login(d) {
		return true
	}
	v.step("recipients")
	v.envelope(d)
	return true
}

// maxSeen bounds what a finding says: much of it is others' words.
const maxSeen = 600

// printable puts a text onto one line of a bearable length, fit for a terminal: certificates, names and replies hold what
// anybody has put there.
func printable(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > maxSeen {
		s = strings.ToValidUTF8(s[:maxSeen], "") + "…"
	}
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// errText words an error of the network.
func errText(err error) string {
	var timeout net.Error
	if asNet(err, &timeout) && timeout.Timeout() {
		return "no answer within the time: " + err.Error()
	}
	return err.Error()
}
