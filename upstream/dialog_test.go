package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/postern-mail/postern/mail"
)

// TestDialog runs the cases of testdata/dialog. A case is a txtar archive: "config" (see newDialog), the
// scripts of the servers' connections, "server1.1" being the first connection of the first server (see
// backend), and "steps": what is done, and what must be seen (see dialog.step). A case runs over pipes
// with a clock of its own, where no wait takes time, and over TCP; "network" in config chooses one.
func TestDialog(t *testing.T) {
	files, err := filepath.Glob("testdata/dialog/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		sections := map[string]string{}
		for _, f := range archive.Files {
			sections[f.Name] = string(f.Data)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".txtar")
		network := settings(sections["config"])["network"]
		if network != "tcp" {
			t.Run(name+"/pipe", func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { runDialog(t, sections, false) })
			})
		}
		if network != "pipe" {
			t.Run(name+"/tcp", func(t *testing.T) { runDialog(t, sections, true) })
		}
	}
}

func runDialog(t *testing.T, sections map[string]string, tcp bool) {
	d := newDialog(t, sections, tcp)
	for n, line := range strings.Split(sections["steps"], "\n") {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		if err := d.step(line); err != nil {
			t.Errorf("step %d, %q: %v", n+1, line, err)
		}
	}
	d.pool.Close()
	for _, b := range d.backends {
		if err := b.stop(); err != nil {
			t.Error(err)
		}
	}
}

// dialog is a case as it runs.
type dialog struct {
	t        *testing.T
	sections map[string]string
	backends []*backend
	pool     *Pool
	contents map[string]bool // what was delivered, with a final CRLF
	last     Outcome
	retried  int
	faults   int
	insecure int
	ups      []string // "s1 down", "s1 up"

	mu   sync.Mutex
	open map[string]int
}

func settings(text string) map[string]string {
	m := map[string]string{}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		m[key] = value
	}
	return m
}

// newDialog makes the pool and the servers. Keys of config: servers (number, 1), protocol, auth (user and password), identity, chunking, secure (domains; with "!" the certificate must be good, too), tls, ca (yes: the
// servers' certificate is trusted), cert (its names), max, maxuses, verbatim, network.
func newDialog(t *testing.T, sections map[string]string, tcp bool) *dialog {
	t.Helper()
	config := settings(sections["config"])
	number := func(key string, other int) int {
		n, err := strconv.Atoi(config[key])
		if err != nil {
			return other
		}
		return n
	}
	d := &dialog{t: t, sections: sections, contents: map[string]bool{}, open: map[string]int{}}
	mode, err := ParseTLSMode(config["tls"])
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Name: "test", Hello: "gw.test", TLS: mode, MaxConnections: number("max", 0),
		MaxUses: number("maxuses", 0), Verbatim: config["verbatim"] != "", LMTP: config["protocol"] == "lmtp",
		Chunking: config["chunking"] != "", Secure: NewSecureDomains(secureDomains(config["secure"])),
	}
	if user, password, ok := strings.Cut(config["auth"], " "); ok {
		cfg.Auth = &Auth{User: user, Password: password}
	}
	if cfg.Identity, err = ParseIdentity(config["identity"]); err != nil {
		t.Fatal(err)
	}
	names := []string{"s1.test", "127.0.0.1"}
	if config["cert"] != "" {
		names = strings.Fields(config["cert"])
	}
	cert, pem := certificate(t, names...)
	if config["ca"] != "" {
		cfg.CAFile = filepath.Join(t.TempDir(), "ca.pem")
		if err := os.WriteFile(cfg.CAFile, pem, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	network := pipeNet{}
	for i := range number("servers", 1) {
		b := &backend{name: fmt.Sprintf("server%d", i+1), cert: &cert, done: make(chan struct{})}
		for j := 1; ; j++ {
			script, ok := sections[fmt.Sprintf("%s.%d", b.name, j)]
			if !ok {
				break
			}
			b.scripts = append(b.scripts, strings.FieldsFunc(script, func(r rune) bool { return r == '\n' }))
		}
		address := fmt.Sprintf("s%d.test:25", i+1)
		if tcp {
			address = listen(t, b)
		}
		network[address] = b
		cfg.Servers = append(cfg.Servers, address)
		d.backends = append(d.backends, b)
	}
	if !tcp {
		cfg.Dial = network.dial
	}
	index := func(server string) string { return fmt.Sprintf("s%d", slices.Index(cfg.Servers, server)+1) }
	cfg.Hooks = Hooks{
		Retried:  func(string, Stage) { d.retried++ },
		Fault:    func(string, Stage, mail.Reply, error) { d.faults++ },
		Insecure: func(string) { d.insecure++ },
		Up: func(server string, up bool) {
			d.ups = append(d.ups, index(server)+map[bool]string{true: " up", false: " down"}[up])
		},
		Connections: func(server string, open, _ int) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.open[index(server)] += open
		},
	}
	if d.pool, err = NewPool(cfg); err != nil {
		t.Fatal(err)
	}
	d.ups = nil // that all are up when the pool is made
	return d
}

func secureDomains(text string) (all []SecureDomain) {
	for word := range strings.FieldsSeq(text) {
		name, verify := strings.CutSuffix(word, "!")
		all = append(all, SecureDomain{Domain: name, Verify: verify})
	}
	return all
}

// step does one thing:
//
//	deliver [from=A] [to=A,A] [content=SECTION|octets:N] [utf8] [8bit] [timeout=D] [client=ADDR,HELO,NAME|none[,LOGIN]]
//	sleep D             let time pass, and the servers do what they do by themselves
//	close               close the pool
//
// or says what must be seen; of the last delivery: kind, stage, server (s1), reply, err (a part of it),
// client (the reply to the client, the id being ID), verbatim (the same, with the server's words),
// refused, concerned (ADDRESS REPLY, which is nothing where there was none, or none), tls (a version, or none); of the pool: cached ADDRESS REPLY|none,
// cachedfrom FROM ADDRESS REPLY|none, retried N, faults N, insecure N, up (the latest events), connections SERVER N
// (made), open SERVER N, bodies SERVER N (contents that came, each one that was delivered).
func (d *dialog) step(line string) error {
	cmd, arg, _ := strings.Cut(line, " ")
	o := d.last
	switch cmd {
	case "deliver":
		return d.deliver(strings.Fields(arg))
	case "sleep":
		pause, err := time.ParseDuration(arg)
		time.Sleep(pause)
		for _, b := range d.backends {
			if b.tcp && err == nil {
				err = b.settle()
			}
		}
		if !d.backends[0].tcp {
			synctest.Wait()
		}
		return err
	case "close":
		d.pool.Close()
	case "kind":
		return same(o.Kind.String(), arg)
	case "stage":
		return same(string(o.Stage), arg)
	case "server":
		return same(fmt.Sprintf("s%d", slices.Index(d.pool.cfg.Servers, o.Server)+1), arg)
	case "reply":
		return same(text(o.Reply, !o.Reply.IsZero()), arg)
	case "err":
		if o.Err == nil || !strings.Contains(o.Err.Error(), arg) {
			return fmt.Errorf("error is %v", o.Err)
		}
	case "client":
		return same(o.ClientReply("ID", false).String(), arg)
	case "verbatim":
		return same(o.ClientReply("ID", true).String(), arg)
	case "refused":
		a, want, _ := strings.Cut(arg, " ")
		if a == "none" {
			return same(strconv.Itoa(len(o.Refused)), "0")
		}
		r, ok := o.Refused[d.address(a)]
		return same(text(r, ok), want)
	case "concerned":
		a, want, _ := strings.Cut(arg, " ")
		if a == "none" {
			return same(strconv.Itoa(len(o.Concerned)), "0")
		}
		r, ok := o.Concerned[d.address(a)]
		return same(strings.TrimSpace(text(r, ok)), want)
	case "tls":
		version := "none"
		if o.TLS != nil {
			version = tls.VersionName(o.TLS.Version)
		}
		return same(version, arg)
	case "cached":
		a, want, _ := strings.Cut(arg, " ")
		return same(text(d.pool.Cached(d.address(a))), want)
	case "cachedfrom":
		from, rest, _ := strings.Cut(arg, " ")
		a, want, _ := strings.Cut(rest, " ")
		return same(text(d.pool.CachedFrom(d.address(from), d.address(a))), want)
	case "retried":
		return same(strconv.Itoa(d.retried), arg)
	case "insecure":
		return same(strconv.Itoa(d.insecure), arg)
	case "faults":
		return same(strconv.Itoa(d.faults), arg)
	case "up":
		defer func() { d.ups = nil }()
		return same(strings.Join(d.ups, ", "), arg)
	case "connections", "open", "bodies":
		server, want, _ := strings.Cut(arg, " ")
		return d.count(cmd, server, want)
	default:
		return errors.New("unknown step")
	}
	return nil
}

func (d *dialog) count(what, server, want string) error {
	if what == "open" {
		d.mu.Lock()
		defer d.mu.Unlock()
		return same(strconv.Itoa(d.open[server]), want)
	}
	b := d.backends[server[1]-'1']
	b.mu.Lock()
	defer b.mu.Unlock()
	if what == "connections" {
		return same(strconv.Itoa(b.accepted), want)
	}
	for _, body := range b.bodies {
		if !d.contents[body] {
			return fmt.Errorf("not what was delivered: %.200q", body)
		}
	}
	return same(strconv.Itoa(len(b.bodies)), want)
}

func same(got, want string) error {
	if got != want {
		return fmt.Errorf("got %q", got)
	}
	return nil
}

func text(r mail.Reply, ok bool) string {
	if !ok {
		return "none"
	}
	return r.String()
}

func (d *dialog) address(s string) mail.Address {
	a, err := mail.ParseAddress(s)
	if err != nil {
		d.t.Fatal(err)
	}
	return a
}

func (d *dialog) deliver(args []string) error {
	env := mail.Envelope{ID: "ID", From: d.address("a@x.test")}
	content := "Subject: test\r\n\r\nHello\r\n"
	to := "b@y.test"
	ctx := context.Background()
	for _, arg := range args {
		key, value, _ := strings.Cut(arg, "=")
		switch key {
		case "from":
			env.From = mail.Address{}
			if value != "" {
				env.From = d.address(value)
			}
		case "to":
			to = value
		case "client":
			words := strings.Split(value, ",")
			env.Client = &mail.Client{
				Addr: netip.MustParseAddrPort(words[0]), Server: netip.MustParseAddrPort("192.0.2.25:25"),
				Helo: words[1], Name: words[2], Reverse: words[2], ESMTP: true,
			}
			if words[2] == "none" {
				env.Client.Name, env.Client.Reverse, env.Client.Nameless = "", "", true
			}
			if len(words) > 3 {
				env.Client.Login = words[3]
			}
		case "utf8":
			env.SMTPUTF8 = true
		case "8bit":
			env.Body8Bit = true
		case "timeout":
			limit, err := time.ParseDuration(value)
			if err != nil {
				return err
			}
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, limit)
			defer cancel()
		case "content":
			if octets, ok := strings.CutPrefix(value, "octets:"); ok {
				n, err := strconv.Atoi(octets)
				if err != nil {
					return err
				}
				content = strings.Repeat("0123456789abcdef0123456789abcd\r\n", n/32)
			} else if section, ok := d.sections[value]; ok {
				content = strings.ReplaceAll(section, "\n", "\r\n")
			} else {
				return errors.New("no such content")
			}
		default:
			return fmt.Errorf("unknown argument %q", arg)
		}
	}
	for _, a := range strings.Split(to, ",") {
		env.To = append(env.To, d.address(a))
	}
	d.contents[content] = true
	blob := mail.NewBlob([]byte(content))
	m := mail.NewMessage(blob)
	defer blob.Release()
	defer m.Release()
	d.last = d.pool.Deliver(ctx, env, m)
	if d.last.Elapsed < 0 {
		return errors.New("no time elapsed")
	}
	return nil
}

// TestHandshakeTakenAway: an opportunistic handshake that is cut short, since the server was found down meanwhile, is no reason to send in clear.
func TestHandshakeTakenAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one := &backend{name: "s1", done: make(chan struct{}), scripts: [][]string{{
			"S 220 s1", "C EHLO gw.test", `S "250-s1\r\n250 STARTTLS\r\n"`, "C STARTTLS", "S 220 go", "DRAIN",
		}}}
		two := &backend{name: "s2", done: make(chan struct{}), scripts: [][]string{{
			"S 220 s2", "C EHLO gw.test", "S 250 s2", "C MAIL FROM:<a@x.test>", "S 250 Ok", "C RCPT TO:<b@y.test>", "S 250 Ok", "C DATA", "S 354 go", "BODY", "S 250 Ok", "DRAIN",
		}}}
		p := pool(t, Config{
			Servers: []string{"s1.test:25", "s2.test:25"}, TLS: TLSOpportunistic, Probe: true,
			Dial: pipeNet{"s1.test:25": one, "s2.test:25": two}.dial,
		})
		s := p.servers[0]
		s.probes = true // as Watch does, which would look at it
		time.AfterFunc(suspicion/2, func() {
			s.mu.Lock()
			var hanging []*conn
			for c := range s.watch.hanging {
				hanging = append(hanging, c)
			}
			s.mu.Unlock()
			for _, c := range hanging {
				c.leave()
			}
		})
		if o, took := deliver(t, p); o.Kind != Delivered || o.Server != "s2.test:25" || took != suspicion/2 {
			t.Errorf("after %v: %+v", took, o)
		}
		s.mu.Lock()
		s.probes = false
		s.mu.Unlock()
		p.Close()
		for _, b := range []*backend{one, two} {
			if err := b.stop(); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestDoubtedEHLO: a server that minds our name in EHLO, and not in HELO, may have SMTPUTF8: mail that needs it is not refused for good.
func TestDoubtedEHLO(t *testing.T) {
	for refusal, permanent := range map[string]bool{"500 what?": true, "502 5.5.1 not implemented": true, "504 no": true, "550 5.7.1 bad name": false, "501 5.5.4 name?": false} {
		synctest.Test(t, func(t *testing.T) {
			b := &backend{name: "s1", done: make(chan struct{}), scripts: [][]string{{
				"S 220 s1", "C EHLO gw.test", "S " + refusal, "C HELO gw.test", "S 250 s1", "DRAIN",
			}}}
			p := pool(t, Config{Servers: []string{"s1.test:25"}, Dial: pipeNet{"s1.test:25": b}.dial})
			o := p.Deliver(t.Context(), envelope(t, "m\u00fcller@y.test"), message(t, "Subject: x\r\n\r\n"))
			if r := o.ClientReply("x", false); r.Permanent() != permanent || r.Temporary() == permanent {
				t.Errorf("%s: %s", refusal, r)
			}
			p.Close()
			if err := b.stop(); err != nil {
				t.Error(err)
			}
		})
	}
}
