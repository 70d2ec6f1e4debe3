// Package clamd has ClamAV's daemon look at a message for viruses: at each part decoded, and at the whole. What is found
// it reports; it opens no archive itself, and knows no signature.
package clamd

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/scanner"
	"github.com/postern-mail/postern/mail"
)

// NewFactory makes the filter "clamd". The filters that it makes share what is known of servers, which so outlives reloads.
func NewFactory() filter.Factory {
	pools := new(scanner.Pools)
	return filter.Factory{Kind: "clamd", New: func(env filter.Env, decode func(any) error) (filter.Spec, filter.Filter, error) {
		cfg := defaults()
		if err := decode(&cfg); err != nil {
			return filter.Spec{}, nil, err
		}
		rules, err := cfg.check()
		if err != nil {
			return filter.Spec{}, nil, err
		}
		pool, err := pools.Pool(env, scanner.Options{Kind: "clamd", Config: cfg.Config})
		if err != nil {
			return filter.Spec{}, nil, err
		}
		c := &check{config: cfg, rules: rules, pool: pool, log: env.Log, gateway: env.Hostname, postmaster: env.Postmaster, grace: grace}
		return filter.Spec{Name: env.Name, Phases: filter.In(filter.Data), Symbols: symbols, Health: c.health}, c, nil
	}}
}

// The symbols.
const (
	symbolVirus    = "VIRUS"
	symbolSuspect  = "VIRUS_SUSPECT"
	symbolOversize = "VIRUS_UNSCANNED"
	symbolOld      = "VIRUS_OLD_SIGNATURES"
)

var symbols = []filter.Symbol{
	{Name: symbolVirus, Weight: 0, Description: "the virus scanner found a signature"},
	{Name: symbolSuspect, Weight: 3, Description: "the virus scanner found a signature that is a guess, or of something unwanted"},
	{Name: symbolOversize, Weight: 0, Description: "a part or the message is more than the virus scanner takes"},
	{Name: symbolOld, Weight: 0, Description: "the virus scanner's signatures are old"},
}

type check struct {
	config     config
	rules      []rule
	pool       *scanner.Pool
	log        *slog.Logger
	gateway    string
	postmaster string
	grace      time.Duration
}

func newMemory() *memory { return new(memory) }

// health tells how clamd is; of several servers, the oldest signatures.
func (c *check) health() filter.Health {
	h := c.pool.Health()
	for _, s := range c.pool.Servers() {
		made := scanner.Memory(s, newMemory).signatures(time.Now())
		if !made.IsZero() && (h.Signatures.IsZero() || made.Before(h.Signatures)) {
			h.Signatures = made
		}
	}
	return h
}

// item is what is scanned in one piece.
type item struct {
	part *mail.Part // nil: the whole
	size int64      // octets, at most
	open func() io.Reader
	sum  sum
	has  bool // sum
}

// scanned is what came of an item.
type scanned struct {
	item
	name     string // of the signature found, "" for none
	oversize bool
}

// round is what was found, and how old the signatures are where they are old.
type round struct {
	all []scanned
	age time.Duration
}

// Check has clamd look at the message.
func (c *check) Check(ctx context.Context, in *filter.Input) (filter.Result, error) {
	if in.Content == nil {
		return filter.Result{}, nil
	}
	items := c.items(in.Content)
	if err := in.Content.Err(); err != nil {
		return filter.Result{}, fmt.Errorf("clamd: %w", err)
	}
	first, err := c.ask(ctx, items)
	if err != nil {
		return filter.Result{}, err
	}
	o := outcome{check: c, in: in}
	o.take(first)
	if err := o.strip(ctx); err != nil {
		return filter.Result{}, err
	}
	return o.result, nil
}

// items lists what is scanned: the parts, and then the whole. A message of one part that is not encoded is its own whole.
func (c *check) items(m *mail.Content) (all []item) {
	if c.config.Scan != scanWhole {
		m.Root().Walk(func(p *mail.Part) bool {
			if p.IsLeaf() && (p.Parent != nil || p.Encoded() || c.config.Scan == scanParts) && p.End > p.BodyOffset {
				all = append(all, item{part: p, size: p.End - p.BodyOffset, open: p.Open})
			}
			return true
		})
	}
	if c.config.Scan != scanParts {
		b := m.Blob()
		all = append(all, item{size: b.Size(), open: func() io.Reader { return b.Section(0, b.Size()) }})
	}
	return all
}

// ask has a server scan the items.
func (c *check) ask(ctx context.Context, items []item) (r round, err error) {
	err = c.pool.Ask(ctx, func(ctx context.Context, s *scanner.Server) error {
		var err error
		r, err = c.scan(ctx, s, items)
		return err
	})
	if err != nil {
		return round{}, fmt.Errorf("clamd: %w", err)
	}
	return r, nil
}

// scan has one server scan the items, but for what it has scanned lately. What comes behind one that leads to a refusal is
// left alone.
func (c *check) scan(ctx context.Context, s *scanner.Server, items []item) (r round, err error) {
	ses := &session{ctx: ctx, server: s}
	defer ses.close()
	m := scanner.Memory(s, newMemory)
	now := time.Now()
	if !m.fresh(now) {
		v, err := ses.version()
		if err != nil {
			return r, err
		}
		m.is(v, now)
	}
	defer c.lookAround(ctx, s)()
	r.age = m.old(c.config.MaxAge, now, s.String(), c.log)
	generation := m.current()
	for i := range items {
		it := &items[i]
		one := scanned{item: *it}
		if err := c.one(ses, m, generation, it, &one); err != nil {
			return r, err
		}
		r.all = append(r.all, one)
		if one.name != "" && c.action(one.name) == actReject {
			break
		}
	}
	return r, nil
}

// one has one item scanned.
func (c *check) one(ses *session, m *memory, generation int, it *item, to *scanned) error {
	if c.config.Cache > 0 && !it.has {
		h := sha256.New()
		n, err := io.Copy(h, it.open())
		if err != nil {
			return scanner.Blameless(err)
		}
		it.sum, it.size, it.has = sum(h.Sum(nil)), n, true
	}
	if it.has {
		if name, ok := m.known(it.sum, time.Now()); ok {
			to.name = name
			return nil
		}
		if it.size > c.config.Size {
			to.oversize = true
			return nil
		}
	}
	name, err := ses.scan(it.open(), c.config.Size)
	switch {
	case errors.Is(err, errOversize):
		to.oversize = true
		return nil
	case err != nil:
		return err
	}
	to.name = name
	if it.has {
		m.found(generation, it.sum, name, c.config.Cache, time.Now())
	}
	return nil
}

// lookAround asks the servers that get no message now how old their signatures are, each once a minute at most: when one of
// them has to scan it is too late to hear of it. What it gives waits for them, not long, and leaves none behind.
func (c *check) lookAround(ctx context.Context, scans *scanner.Server) (wait func()) {
	ctx, cancel := context.WithCancel(ctx)
	var all filter.Group
	for _, s := range c.pool.Servers() {
		m := scanner.Memory(s, newMemory)
		if s == scans || s.State() != scanner.Closed || !m.due(time.Now()) {
			continue
		}
		all.Go(func() {
			ses := &session{ctx: ctx, server: s}
			defer ses.close()
			if v, err := ses.version(); err == nil {
				m.is(v, time.Now())
				m.old(c.config.MaxAge, time.Now(), s.String(), c.log)
			}
		})
	}
	return func() {
		defer cancel()
		defer time.AfterFunc(c.grace, cancel).Stop()
		all.Wait()
	}
}
