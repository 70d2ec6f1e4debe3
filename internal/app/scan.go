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
	"slices"
	"sync"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/filter/greylist"
	"github.com/postern-mail/postern/filter/ratelimit"
	"github.com/postern-mail/postern/internal/config"
	"github.com/postern-mail/postern/internal/dns"
	"github.com/postern-mail/postern/internal/edge"
	"github.com/postern-mail/postern/internal/senders"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/pipeline"
	"github.com/postern-mail/postern/upstream"
)

// ScanOptions are what is said of a message to scan.
type ScanOptions struct {
	IP, Helo string
	From     *string // nil: unknown, so that the mail phase does not run
	Rcpt     []string
	Relay    bool // the client may relay
	JSON     bool
	Out      string // a file; "-" is standard output, and the report goes to standard error then
	Trace    bool
	File     string
}

// standard is the configuration that scan uses where none is there: the standard filters with their defaults. It
// knows no domain as ours.
const standard = `
hostname: postern.invalid
listeners: {scan: {address: "127.0.0.1:25"}}
routes: [{to: [postern.invalid], upstream: none}]
upstreams: {none: {maildir: none}}
`

// scan is one run of the pipeline on a message, as it would be at the first listener, for recipients who share a judgement.
type scan struct {
	cfg      *config.Config
	listener config.Listener
	table    *upstream.Table // nil: of no domain is known whether it is ours
	judge    *judge
	resolver senders.Resolver

	session     *filter.Session
	transaction *filter.Transaction
	envelope    bool           // the reverse-path is known
	content     *mail.Content  // nil: too big
	kept        *filter.Kept   // of it
	recipients  []mail.Address // for whom the policy judges it
	to          []*scanned     // the recipients, each once
	early       map[*pipeline.Plan]edge.Early
	lateDNS     *dns.Budget // of what that takes

	first    *scanned // the first recipient of those who share the judgement, nil for none
	policy   judgePolicy
	reports  pipeline.Reports
	verdict  pipeline.Verdict
	reply    mail.Reply
	outcomes []scanOutcome // what each recipient gets, where there are several
	others   []*scan       // of recipients who don't share the judgement
	signed   string        // the signatures on what was written, or why there are none; "" where nothing signs
}

// Scan runs the filters on a message file and prints the verdict. It binds nothing and keeps nothing.
func (a *App) Scan(ctx context.Context, o ScanOptions) error {
	cfg, isStandard, err := a.scanConfig()
	if err != nil {
		return err
	}
	a.tellStandard(isStandard)
	s, err := a.newScan(cfg, o, isStandard)
	if err != nil {
		return err
	}
	content, err := a.ingest(o.File, mail.IngestOptions{Limit: s.listener.Limits.Message}, s.listener.Limits.Header)
	switch {
	case err == nil:
		defer content.Release()
	case !errors.Is(err, mail.ErrTooBig):
		return &Exit{Code: ExitData, Err: fmt.Errorf("postern: %w", err)}
	}
	s.findBig(ctx)
	s.run(ctx, content)

	report := a.o.Stdout
	if o.Out == "-" {
		report = a.o.Stderr
	}
	if o.Out != "" && content != nil {
		if err := s.write(ctx, a.o.Stdout, o.Out, o.Trace); err != nil {
			var placed config.Errors
			if errors.As(err, &placed) {
				return &Exit{Code: ExitConfig, Err: err}
			}
			return &Exit{Code: ExitCannotWrite, Err: fmt.Errorf("postern: %w", err)}
		}
	}
	if err := s.print(report, o); err != nil {
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
func (a *App) scanConfig() (cfg *config.Config, isStandard bool, err error) {
	if !a.o.ConfigGiven {
		if _, err := os.Stat(a.o.Config); errors.Is(err, fs.ErrNotExist) {
			cfg, err = config.Parse("(standard)", []byte(standard), a.kinds)
			return cfg, true, err
		}
	}
	cfg, err = a.load()
	return cfg, false, err
}

// tellStandard says on standard error that it is the standard configuration that counts.
func (a *App) tellStandard(isStandard bool) {
	if isStandard {
		fmt.Fprintf(a.o.Stderr, "postern: no configuration at %s: the standard filters and rules count\n", a.o.Config)
	}
}

func (a *App) newScan(cfg *config.Config, o ScanOptions, isStandard bool) (*scan, error) {
	table, _, err := newTable(cfg)
	if err != nil {
		return nil, &Exit{Code: ExitConfig, Err: err}
	}
	resolver, _, err := (*resolvers)(nil).forConfig(cfg)
	if err != nil {
		return nil, &Exit{Code: ExitConfig, Err: err}
	}
	if err := a.scanLearner(cfg); err != nil {
		return nil, &Exit{Code: ExitConfig, Err: err}
	}
	j, err := newJudge(cfg, surroundings{
		factories: a.factories, ours: table.Ours, dns: resolver, log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, &Exit{Code: ExitConfig, Err: err}
	}
	s := &scan{cfg: cfg, listener: cfg.Listeners[0], judge: j, resolver: resolver}
	if !isStandard {
		s.table = table
	}
	if err := s.surround(o); err != nil {
		return nil, &Exit{Code: ExitUsage, Err: fmt.Errorf("postern: %w", err)}
	}
	return s, nil
}

// surround makes the session and the transaction that the command line describes, and finds the policy.
func (s *scan) surround(o ScanOptions) error {
	s.session = &filter.Session{Listener: s.listener.Name, Helo: o.Helo, ESMTP: o.Helo != "", Relay: o.Relay, Began: time.Now()}
	if o.IP != "" {
		ip, err := netip.ParseAddr(o.IP)
		if err != nil {
			return fmt.Errorf("--ip: %w", err)
		}
		s.session.Client = netip.AddrPortFrom(ip.Unmap(), 0)
		for _, p := range s.cfg.ExemptNetworks {
			s.session.Exempt = s.session.Exempt || p.Contains(ip.Unmap())
		}
	}
	t := &filter.Transaction{ID: mail.NewID(s.cfg.Node), Began: time.Now()}
	s.transaction = t
	if o.From != nil {
		from, err := parseReversePath(*o.From)
		if err != nil {
			return fmt.Errorf("--from %s: %w", *o.From, err)
		}
		t.From, s.envelope = from, true
	}
	s.policy, s.to, s.first, s.early = s.judge.policies[config.DefaultPolicy], nil, nil, map[*pipeline.Plan]edge.Early{}
	for _, r := range o.Rcpt {
		if err := s.address(r); err != nil {
			return fmt.Errorf("--rcpt %s: %w", r, err)
		}
	}
	return nil
}

// bigTime is how long may be looked for the big sender that the client is of. A gateway has long known.
const bigTime = 5 * time.Second

// findBig finds out to which big sender the client belongs, where a filter may want to know. That takes a question or
// more for each domain of big_senders; what can't be found out is no fault.
func (s *scan) findBig(ctx context.Context) {
	if a := s.session.Client.Addr(); a.IsValid() && slices.ContainsFunc(s.cfg.Filters, asksForBig) {
		ctx, cancel := context.WithTimeout(ctx, bigTime)
		defer cancel()
		s.session.Big = senders.Find(ctx, s.resolver, s.cfg.BigSenders, a)
	}
}

// asksForBig reports whether a filter may look at the big sender: those of users may, of ours these do.
func asksForBig(f *config.Filter) bool {
	return f.Kind == greylist.Factory.Kind || f.Kind == ratelimit.Factory.Kind ||
		!slices.ContainsFunc(BuiltIn(), func(own filter.Factory) bool { return own.Kind == f.Kind })
}

// parseReversePath reads an address, or "<>" or "" for the null reverse-path.
func parseReversePath(s string) (mail.Address, error) {
	if s == "" || s[0] == '<' {
		return mail.ParsePath("<" + string(bytes.Trim([]byte(s), "<>")) + ">")
	}
	return mail.ParseAddress(s)
}

// ingest reads a message as the listener would: line ends made canonical before anyone looks. In a file that has
// LF line ends only, as most on a disk have, they are no fault of the message. The error may be mail.ErrTooBig.
func (a *App) ingest(path string, o mail.IngestOptions, header int64) (*mail.Content, error) {
	in, closeIn, err := a.openInput(path)
	if err != nil {
		return nil, err
	}
	defer closeIn()
	return ingestFrom(in, o, header)
}

// blocks are what streams are read with: a command that reads many messages makes no garbage of them.
var blocks = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// ingestFrom is ingest of a stream.
func ingestFrom(in io.Reader, o mail.IngestOptions, header int64) (*mail.Content, error) {
	g := mail.NewIngest(o)
	ends := &lineEnds{w: g}
	block := blocks.Get().(*[64 << 10]byte)
	defer blocks.Put(block)
	if _, err := io.CopyBuffer(ends, struct{ io.Reader }{in}, block[:]); err != nil {
		g.Abort()
		return nil, err
	}
	blob, faults, err := g.Blob()
	if err != nil {
		return nil, err
	}
	if !ends.crlf {
		faults.BareLF = 0
	}
	return mail.NewContent(blob, faults, mail.Limits{HeaderOctets: header}), nil
}

// lineEnds notes, of what is written through it, whether it has a CRLF.
type lineEnds struct {
	w    io.Writer
	crlf bool
	cr   bool // the last octet was a CR
}

// Write implements io.Writer.
func (l *lineEnds) Write(p []byte) (int, error) {
	if !l.crlf && len(p) > 0 {
		l.crlf = l.cr && p[0] == '\n' || bytes.Contains(p, []byte("\r\n"))
		l.cr = p[len(p)-1] == '\r'
	}
	return l.w.Write(p)
}

// input is what the filters of the data phase are given.
func (s *scan) input() *filter.Input {
	return &filter.Input{Session: s.session, Transaction: s.transaction, Content: s.content, For: s.recipients, Kept: s.kept}
}

// write writes the content after the edits, to stdout where path is "-"; with trace, also the fields that would be put on top, and the signatures.
// Keys are read for that alone: whoever only scans may not be allowed to.
func (s *scan) write(ctx context.Context, stdout io.Writer, path string, trace bool) error {
	var signer edge.Signer
	edits := s.verdict.Edits
	if trace {
		edits = pipeline.Stamp(s.verdict, s.input(), s.stampOptions())
		edits = append(edits, edge.Received(s.cfg.Hostname, s.session, s.transaction, s.transaction.Recipients, time.Now()))
		if s.session.Relay {
			edits = append(edits, edge.Missing(s.content.Header(), s.cfg.Hostname, s.transaction.ID, time.Now())...)
		}
		var err error
		if signer, err = newSigner(s.cfg, slog.New(slog.DiscardHandler)); err != nil {
			return err
		}
	}
	m, err := mail.Rewrite(s.content, edits, s.verdict.Rebuild)
	if err != nil {
		return err
	}
	defer m.Release()
	if signer != nil {
		top, note, err := signer.Sign(ctx, s.input(), m)
		if err != nil {
			return err
		}
		s.signed = note
		m = m.Prepend(top)
		defer m.Release()
	}
	if path == "-" {
		_, err = m.WriteTo(stdout)
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = m.WriteTo(f)
	return errors.Join(err, f.Close())
}

func (s *scan) stampOptions() pipeline.StampOptions {
	return pipeline.StampOptions{
		AuthservID: s.cfg.AuthRes.ID, Keep: s.cfg.AuthRes.Keep, Plan: s.policy.plan, Policy: s.policy.policy, Score: !s.policy.policy.Observe,
		Exchange: s.first != nil && s.first.route.Exchange,
	}
}

// parts lists the leaves of the content: as the attachments filter saw them, else by the index alone.
func (s *scan) parts() []auth.PartReport {
	if s.content == nil {
		return []auth.PartReport{}
	}
	if parts, ok := auth.Parts.From(s.input()); ok {
		return parts
	}
	var parts []auth.PartReport
	s.content.Root().Walk(func(p *mail.Part) bool {
		if p.IsLeaf() {
			parts = append(parts, describe(p))
		}
		return true
	})
	return parts
}
