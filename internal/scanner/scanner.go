// Package scanner is what filters share that ask a program outside: its addresses and turning to another one, limits on
// how many messages ask at once, time, and a circuit breaker. It knows no protocol but how to connect, and no verdict.
package scanner

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postern-mail/postern/filter"
)

// Config is the part of a filter's options that all such filters have.
type Config struct {
	Servers  []string      `yaml:"servers"`
	Connect  time.Duration `yaml:"connect"`
	Parallel int           `yaml:"parallel"`
	Faults   int           `yaml:"faults"`
	Pause    time.Duration `yaml:"pause"`
}

// Defaults gives a Config for these servers.
func Defaults(parallel int, servers ...string) Config {
	return Config{Servers: servers, Connect: 2 * time.Second, Parallel: parallel, Faults: 5, Pause: 5 * time.Second}
}

// Options are what else a Pool is made of.
type Options struct {
	Config
	Kind string      // of the filter, for errors
	HTTP string      // the path of a URL that has none: HTTP is spoken; "": it is not
	TLS  *tls.Config // for https; nil: as the system has it
	// Secrets is what tells apart pools that agree in all else: what password or certificate they have.
	Secrets string
}

// Bounds of a configuration.
const (
	maxServers  = 16
	maxParallel = 1000
	// waiters is how many messages may wait for each that asks: more would not be served in time.
	waiters = 10
)

func (o *Options) check() error {
	switch {
	case len(o.Servers) == 0:
		return filter.At(fmt.Errorf("%s: servers: at least one is needed, as host:port or unix:/path", o.Kind), "servers")
	case len(o.Servers) > maxServers:
		return filter.At(fmt.Errorf("%s: servers: %d of them; at most %d are allowed", o.Kind, len(o.Servers), maxServers), "servers")
	case o.Connect < 10*time.Millisecond || o.Connect > time.Minute:
		return filter.At(fmt.Errorf("%s: connect: from 10ms to 1m is allowed, and this is %s", o.Kind, o.Connect), "connect")
	case o.Parallel < 1 || o.Parallel > maxParallel:
		return filter.At(fmt.Errorf("%s: parallel: from 1 to %d is allowed, and this is %d", o.Kind, maxParallel, o.Parallel), "parallel")
	case o.Faults < 1 || o.Faults > 1000:
		return filter.At(fmt.Errorf("%s: faults: from 1 to 1000 is allowed, and this is %d", o.Kind, o.Faults), "faults")
	case o.Pause < 100*time.Millisecond || o.Pause > time.Hour:
		return filter.At(fmt.Errorf("%s: pause: from 100ms to 1h is allowed, and this is %s", o.Kind, o.Pause), "pause")
	}
	return nil
}

// Pool is the servers that a filter asks, and what is known of them. It is safe for concurrent use.
type Pool struct {
	options Options
	servers []*Server
	slots   chan struct{}
	waiting atomic.Int64
	log     atomic.Pointer[slog.Logger]
}

// Errors of Ask.
var (
	// ErrBusy says that as many messages ask, and wait to ask, as may, or that the wait took too long.
	ErrBusy = errors.New("scanner: too many messages at once")
	errOpen = fmt.Errorf("scanner: %w", filter.ErrBreakerOpen)
)

// blameless is an error that says nothing against the server.
type blameless struct{ error }

// Unwrap gives the error.
func (b blameless) Unwrap() error { return b.error }

// Blameless marks an error as no fault of the server's: it is not held against it, and no other server is asked.
func Blameless(err error) error {
	if err == nil {
		return nil
	}
	return blameless{err}
}

// IsBlameless reports whether an error is marked so.
func IsBlameless(err error) bool {
	var b blameless
	return errors.As(err, &b)
}

// Ask has f ask a server: the first that is in use, and the next one where that fails. f may be called several times; its
// context ends when it is the next server's turn. The error is that of the last attempt.
//
// An error of f is a fault of the server's unless it is Blameless. Where f ended because the caller is gone, or because
// the wait for a turn had left it too little time, that says nothing about the server.
func (p *Pool) Ask(ctx context.Context, f func(context.Context, *Server) error) error {
	began := time.Now()
	if err := p.enter(ctx); err != nil {
		return err
	}
	defer func() { <-p.slots }()
	late := false
	if end, ok := ctx.Deadline(); ok {
		late = time.Since(began) > end.Sub(began)/2
	}
	var last error
	for i, s := range p.servers {
		ok, trial := s.breaker.enter(time.Now())
		if !ok {
			continue
		}
		err := p.attempt(ctx, s, trial, p.others(i), late, f)
		if err == nil {
			return nil
		}
		last = fmt.Errorf("%s: %w", s, err)
		var b blameless
		if errors.As(err, &b) || ctx.Err() != nil {
			return last
		}
	}
	if last == nil {
		last = p.resting()
	}
	return last
}

// resting is the error of servers of which none is asked: why, of each.
func (p *Pool) resting() error {
	err := errOpen
	for _, s := range p.servers {
		if why := s.breaker.why(); why != "" {
			err = fmt.Errorf("%w; %s %s", err, s, why)
		}
	}
	return err
}

// others is how many servers behind the i-th might be asked.
func (p *Pool) others(i int) (n int) {
	for _, s := range p.servers[i+1:] {
		if s.breaker.now() == Closed {
			n++
		}
	}
	return n
}

// attempt asks one server. Where there is another one, it has half of the time that is left.
func (p *Pool) attempt(ctx context.Context, s *Server, trial uint64, others int, late bool, f func(context.Context, *Server) error) (err error) {
	log := p.log.Load()
	returned := false
	defer func() {
		if !returned { // f panicked
			s.breaker.end(trial, nil, false, &p.options, s, log)
		}
	}()
	mine, cancel := ctx, context.CancelFunc(func() {})
	if end, ok := ctx.Deadline(); ok && others > 0 {
		mine, cancel = context.WithDeadline(ctx, time.Now().Add(time.Until(end)/2))
	}
	err = f(mine, s)
	over := mine.Err()
	cancel()
	returned = true
	if err != nil && over != nil {
		err = fmt.Errorf("no answer in time: %w", err)
	}
	var b blameless
	switch {
	case err == nil, errors.As(err, &b):
		s.breaker.end(trial, nil, err == nil, &p.options, s, log)
	case errors.Is(context.Cause(ctx), context.Canceled), late && ctx.Err() != nil:
		s.breaker.end(trial, err, false, &p.options, s, log)
	default:
		s.breaker.end(trial, err, true, &p.options, s, log)
	}
	return err
}

// enter waits for a turn.
func (p *Pool) enter(ctx context.Context) error {
	select {
	case p.slots <- struct{}{}:
		return nil
	default:
	}
	if p.State() == Open { // whoever waits would hear just that
		return p.resting()
	}
	if p.waiting.Add(1) > int64(waiters*cap(p.slots)) {
		p.waiting.Add(-1)
		return ErrBusy
	}
	defer p.waiting.Add(-1)
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrBusy, context.Cause(ctx))
	}
}

// State gives the state of the best of the servers. One whose pause is over counts as open until a message tries it.
func (p *Pool) State() State {
	best := Open
	for _, s := range p.servers {
		best = min(best, s.breaker.now())
	}
	return best
}

// Health tells how the servers are, for filters that have no more to tell.
func (p *Pool) Health() filter.Health {
	h := filter.Health{Breaker: p.State().String()}
	for _, s := range p.servers {
		h.Servers = append(h.Servers, filter.ServerHealth{Name: s.String(), Breaker: s.State().String()})
	}
	return h
}

// Servers lists the servers.
func (p *Pool) Servers() []*Server { return p.servers }

// Pools keeps pools from one configuration to the next: what is known of servers outlives reloads that do not concern
// them. A pool goes when no filter has it any more.
type Pools struct {
	mu    sync.Mutex
	known map[string]ref
}

// key says by what pools are told apart.
func (o *Options) key(stage string) string {
	return strings.Join(append([]string{o.Kind, stage, fmt.Sprint(o.Connect, o.Parallel, o.Faults, o.Pause), o.HTTP, o.Secrets}, o.Servers...), "\x00")
}

// Pool gives the pool of a stage: the one that is known, where it has the same options.
func (ps *Pools) Pool(env filter.Env, o Options) (*Pool, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	key := o.key(env.Name)
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if p := ps.get(key); p != nil {
		p.log.Store(env.Log)
		return p, nil
	}
	p := &Pool{options: o, slots: make(chan struct{}, o.Parallel)}
	p.log.Store(env.Log)
	for i, text := range o.Servers {
		s, err := parseServer(text)
		if o.HTTP != "" {
			s, err = parseURL(text, o.HTTP)
		}
		if err != nil {
			return nil, filter.At(fmt.Errorf("%s: servers: %w", o.Kind, err), "servers", strconv.Itoa(i))
		}
		s.dial = o.Connect
		p.servers = append(p.servers, s)
	}
	ps.put(key, p)
	return p, nil
}
