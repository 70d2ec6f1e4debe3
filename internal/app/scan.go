package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/internal/config"
	"github.com/postern-mail/postern/internal/dns"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/pipeline"
	"github.com/postern-mail/postern/upstream"
)

// ScanOptions are what is said of a message to scan.
type ScanOptions struct {
	IP, Helo string
	From     *string // nil: unknown, so that the mail phase does not run
	Rcpt     []string
	JSON     bool
	Out      string
	Trace    bool
	File     string
}

// standard is the configuration that scan uses where none is there: the standard filters with their defaults.
const standard = `
hostname: postern.invalid
listeners: {scan: {address: "127.0.0.1:25"}}
routes: [{to: [postern.invalid], upstream: none}]
upstreams: {none: {maildir: none}}
`

// scan is one run of the pipeline on a message.
type scan struct {
	cfg     *config.Config
	table   *upstream.Table
	judge   *judge
	in      *filter.Input
	policy  judgePolicy
	reports pipeline.Reports
	verdict pipeline.Verdict
	reply   mail.Reply
}

// Scan runs the filters on a message file and prints the verdict. It binds nothing and keeps nothing.
func (a *App) Scan(ctx context.Context, o ScanOptions) error {
	cfg, err := a.scanConfig()
	if err != nil {
		return err
	}
	s, err := a.newScan(cfg, o)
	if err != nil {
		return err
	}
	content, err := a.ingest(o.File)
	if err != nil {
		return &Exit{Code: ExitData, Err: fmt.Errorf("postern: %w", err)}
	}
	defer content.Release()
	s.run(ctx, content)

	if o.Out != "" {
		if err := s.write(o.Out, o.Trace); err != nil {
			return &Exit{Code: ExitCannotWrite, Err: fmt.Errorf("postern: %w", err)}
		}
	}
	if err := s.print(a.o.Stdout, o); err != nil {
		return &Exit{Code: ExitCannotWrite, Err: fmt.Errorf("postern: %w", err)}
	}
	switch s.verdict.Action {
	case filter.Quarantine:
		return &Exit{Code: ExitQuarantine}
	case filter.Defer:
		return &Exit{Code: ExitDefer}
	case filter.Reject:
		return &Exit{Code: ExitReject}
	}
	return nil
}

// scanConfig is the configuration, or the standard one where there is none and none was named.
func (a *App) scanConfig() (*config.Config, error) {
	if !a.o.ConfigGiven {
		if _, err := os.Stat(a.o.Config); errors.Is(err, fs.ErrNotExist) {
			return config.Parse("(standard)", []byte(standard), a.kinds)
		}
	}
	return a.load()
}

func (a *App) newScan(cfg *config.Config, o ScanOptions) (*scan, error) {
	table, err := newTable(cfg)
	if err != nil {
		return nil, &Exit{Code: ExitConfig, Err: err}
	}
	resolver, err := newResolver(cfg)
	if err != nil {
		return nil, &Exit{Code: ExitConfig, Err: err}
	}
	j, err := newJudge(cfg, surroundings{
		factories: a.factories, ours: table.Ours, dns: resolver, log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, &Exit{Code: ExitConfig, Err: err}
	}
	s := &scan{cfg: cfg, table: table, judge: j, in: &filter.Input{}}
	if err := s.surround(o); err != nil {
		return nil, &Exit{Code: ExitUsage, Err: fmt.Errorf("postern: %w", err)}
	}
	return s, nil
}

// surround makes the session and the transaction that the command line describes, and finds the policy.
func (s *scan) surround(o ScanOptions) error {
	s.in.Session = &filter.Session{Listener: s.cfg.Listeners[0].Name, Helo: o.Helo, ESMTP: o.Helo != "", Began: time.Now()}
	if o.IP != "" {
		ip, err := netip.ParseAddr(o.IP)
		if err != nil {
			return fmt.Errorf("--ip: %w", err)
		}
		s.in.Session.Client = netip.AddrPortFrom(ip.Unmap(), 0)
	}
	t := &filter.Transaction{ID: mail.NewID(s.cfg.Node), Began: time.Now()}
	if o.From != nil {
		from, err := parseReversePath(*o.From)
		if err != nil {
			return fmt.Errorf("--from %s: %w", *o.From, err)
		}
		t.From = from
	}
	s.policy = s.judge.policies["default"]
	for i, r := range o.Rcpt {
		to, err := mail.ParseAddress(r)
		if err != nil {
			return fmt.Errorf("--rcpt %s: %w", r, err)
		}
		t.Recipients = append(t.Recipients, to)
		route, err := s.table.Route(upstream.Query{Recipient: to, From: t.From, Listener: s.in.Session.Listener})
		switch {
		case err != nil:
			return fmt.Errorf("--rcpt %s: no route takes mail for it", r)
		case i == 0:
			s.policy = s.judge.policies[route.Policy]
		}
	}
	s.in.Transaction = t
	return nil
}

// parseReversePath reads an address, or "<>" or "" for the null reverse-path.
func parseReversePath(s string) (mail.Address, error) {
	if s == "" || s[0] == '<' {
		return mail.ParsePath("<" + string(bytes.Trim([]byte(s), "<>")) + ">")
	}
	return mail.ParseAddress(s)
}

// ingest reads a message as the listener would: line ends made canonical before anyone looks.
func (a *App) ingest(path string) (*mail.Content, error) {
	in := a.o.Stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	g := mail.NewIngest(mail.IngestOptions{})
	if _, err := io.CopyBuffer(struct{ io.Writer }{g}, struct{ io.Reader }{in}, make([]byte, 64<<10)); err != nil {
		g.Abort()
		return nil, err
	}
	blob, faults, err := g.Blob()
	if err != nil {
		return nil, err
	}
	return mail.NewContent(blob, faults, mail.Limits{}), nil
}

// run runs every phase of which something is known, and decides.
func (s *scan) run(ctx context.Context, content *mail.Content) {
	o, in := s.in, *s.in
	phase := func(p filter.Phase, plan *pipeline.Plan) {
		s.reports = append(s.reports, plan.Run(ctx, p, &in)...)
	}
	in.Transaction = nil
	phase(filter.Connect, s.judge.base)
	phase(filter.Helo, s.judge.base)
	in.Transaction = o.Transaction
	if !o.Transaction.From.IsZero() || o.Session.Client.IsValid() {
		phase(filter.Mail, s.judge.base)
	}
	if len(o.Transaction.Recipients) > 0 {
		in.Recipient = &filter.Recipient{Address: o.Transaction.Recipients[0]}
		phase(filter.Rcpt, s.policy.plan)
		in.Recipient = nil
	}
	in.Content = content
	limits := s.cfg.Listeners[0]
	s.reports = append(s.reports, pipeline.Intake(content, pipeline.IntakeOptions{
		RejectBare: limits.BareNewlines == "reject", HeaderLimit: limits.Limits.Header,
	}))
	phase(filter.Data, s.policy.plan)
	s.in = &in
	s.verdict = s.policy.policy.Decide(s.reports)
	s.reply = s.verdict.Reply
	if s.reply.IsZero() {
		s.reply = mail.NewReply(250, 2, 0, 0, "Ok")
		if s.verdict.Action == filter.Quarantine && s.cfg.Policy(s.policy.policy.Name).QuarantineReply == "reject" {
			s.reply = mail.NewReply(550, 5, 7, 1, "held as "+s.in.Transaction.ID)
		}
	}
	if s.cfg.SoftBounce {
		s.reply = s.reply.Soft()
	}
}

// write writes the content after the edits; with trace, also the fields that would be put on top.
func (s *scan) write(path string, trace bool) error {
	edits := s.verdict.Edits
	if trace {
		edits = append(edits[:len(edits):len(edits)], pipeline.Stamp(s.verdict, s.in, s.stampOptions())...)
	}
	m, err := mail.Rewrite(s.in.Content, edits)
	if err != nil {
		return err
	}
	defer m.Release()
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = m.WriteTo(f)
	return errors.Join(err, f.Close())
}

func (s *scan) stampOptions() pipeline.StampOptions {
	return pipeline.StampOptions{
		AuthservID: s.cfg.Hostname, Plan: s.policy.plan, Policy: s.policy.policy, Score: !s.policy.policy.Observe,
	}
}

// parts lists the leaves of the content: as the attachments filter saw them, else by the index alone.
func (s *scan) parts() []auth.PartReport {
	if parts, ok := auth.Parts.From(s.in); ok {
		return parts
	}
	var parts []auth.PartReport
	s.in.Content.Root().Walk(func(p *mail.Part) bool {
		if p.IsLeaf() {
			parts = append(parts, describe(p))
		}
		return true
	})
	return parts
}

// newResolver makes the resolver that the configuration names.
func newResolver(cfg *config.Config) (*dns.Resolver, error) {
	servers := make([]string, len(cfg.DNS.Servers))
	for i, s := range cfg.DNS.Servers {
		servers[i] = s.String()
	}
	r, err := dns.New(servers)
	if err != nil {
		return nil, cfg.Errorf("dns.servers", "%s", err)
	}
	return r, nil
}
