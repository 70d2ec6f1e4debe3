// Package milter asks a milter about a message: any program that speaks the protocol by which Sendmail and Postfix ask
// theirs. It tells the whole SMTP session at once, when the content is here, and maps what the milter answers.
package milter

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/scanner"
)

// NewFactory makes the filter "milter". The filters that it makes share what is known of servers, which so outlives
// reloads.
func NewFactory() filter.Factory {
	pools := new(scanner.Pools)
	return filter.Factory{Kind: "milter", New: func(env filter.Env, decode func(any) error) (filter.Spec, filter.Filter, error) {
		cfg := defaults()
		if err := decode(&cfg); err != nil {
			return filter.Spec{}, nil, err
		}
		if err := cfg.check(); err != nil {
			return filter.Spec{}, nil, err
		}
		pool, err := pools.Pool(env, scanner.Options{Kind: "milter", Config: cfg.Config})
		if err != nil {
			return filter.Spec{}, nil, err
		}
		c := &check{config: cfg, pool: pool, gateway: env.Hostname}
		return filter.Spec{Name: env.Name, Phases: filter.In(filter.Data), Symbols: symbols, Health: pool.Health}, c, nil
	}}
}

// The symbols.
const (
	symbolMilter    = "MILTER"
	symbolIgnored   = "MILTER_IGNORED"
	symbolUnscanned = "MILTER_UNSCANNED"
)

var symbols = []filter.Symbol{
	{Name: symbolMilter, Weight: 0, Description: "a milter refuses, defers or holds the message"},
	{Name: symbolIgnored, Weight: 0, Description: "a milter wants something that it does not get"},
	{Name: symbolUnscanned, Weight: 0, Description: "the message is larger than a milter looks at, and was not judged"},
}

// What becomes of a message whose body a milter wants replaced, and of fields that it wants changed.
const (
	bodyDefer   = "defer"
	bodyIgnore  = "ignore"
	headersAll  = "all"
	headersNone = "none"
)

type config struct {
	scanner.Config
	Body       string   `yaml:"body" allowed:"defer|ignore"`
	Headers    string   `yaml:"headers" allowed:"all|none"`
	Expect     []string `yaml:"expect"`
	ExpectUpTo int64    `yaml:"expect_up_to"` // octets of a message
	Oversize   string   `yaml:"oversize" allowed:"pass|tag|quarantine|defer|reject"`
}

// defaults gives the configuration where nothing is said. spamc, which spamass-milter asks, takes 500 KiB, and the milter adds some
// lines that name the client and the envelope.
func defaults() config {
	return config{Config: scanner.Defaults(20), Body: bodyDefer, Headers: headersAll, ExpectUpTo: 480 << 10, Oversize: "defer"}
}

// Bounds of a configuration: the names in expect, and the octets up to which they are expected.
const (
	maxExpect     = 16
	maxExpectUpTo = 4 << 30
)

func (c *config) check() error {
	if len(c.Expect) > maxExpect {
		return filter.At(fmt.Errorf("milter: expect: %d of them; at most %d are allowed", len(c.Expect), maxExpect), "expect")
	}
	for i, name := range c.Expect {
		if !scanner.IsFieldName(name) {
			return filter.At(fmt.Errorf("milter: expect: %q is no name of a field", name), "expect", strconv.Itoa(i))
		}
	}
	if c.ExpectUpTo < 1 || c.ExpectUpTo > maxExpectUpTo {
		return filter.At(fmt.Errorf("milter: expect_up_to: from 1 octet to 4GiB is allowed, and this is %d", c.ExpectUpTo), "expect_up_to")
	}
	return nil
}

var errBody = errors.New("milter: it wants another body or structure, which was not scanned: see the key body")

type check struct {
	config  config
	pool    *scanner.Pool
	gateway string
}

// Check asks the milter.
func (c *check) Check(ctx context.Context, in *filter.Input) (filter.Result, error) {
	if in.Content == nil {
		return filter.Result{}, nil
	}
	var v verdict
	var st *standing
	err := c.pool.Ask(ctx, func(asking context.Context, s *scanner.Server) error {
		st = standingOf(s)
		var err error
		if v, err = talk(asking, s, in, c.gateway); err != nil {
			if !scanner.IsBlameless(err) && !errors.Is(context.Cause(ctx), context.Canceled) {
				st.fails(0)
			}
			return err
		}
		return c.missing(&v, in.Content.Blob().Size(), st)
	})
	if errors.Is(err, errTooLarge) {
		return c.unscanned(&v, in.Content, st)
	}
	if err != nil {
		return filter.Result{}, fmt.Errorf("milter: %w", err)
	}
	return c.result(&v, in.Content)
}
