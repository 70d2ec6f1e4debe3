// Package http asks a program of somebody's own about a message, over HTTP, and takes what it answers for the result. It
// judges nothing itself, and holds the program to what the configuration allows.
package http

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/internal/scanner"
)

// NewFactory makes the filter "http". The filters that it makes share what is known of servers, which so outlives reloads.
func NewFactory() filter.Factory {
	pools := new(scanner.Pools)
	return filter.Factory{Kind: "http", New: func(env filter.Env, decode func(any) error) (filter.Spec, filter.Filter, error) {
		cfg := defaults()
		if err := decode(&cfg); err != nil {
			return filter.Spec{}, nil, err
		}
		symbols, err := cfg.check()
		if err != nil {
			return filter.Spec{}, nil, err
		}
		token, err := scanner.ReadSecret("http", "token_file", cfg.TokenFile)
		if err != nil {
			return filter.Spec{}, nil, err
		}
		pool, err := pools.WebPool(env, "http", cfg.Config, cfg.Web, "/", token)
		if err != nil {
			return filter.Spec{}, nil, err
		}
		c := &check{config: cfg, symbols: symbols, pool: pool, token: token, gateway: env.Hostname}
		return filter.Spec{
			Name: env.Name, Phases: filter.In(filter.Data), Symbols: symbols, Health: pool.Health,
			Wants: []string{string(auth.SPF), string(auth.DKIM), string(auth.DMARC)},
		}, c, nil
	}}
}

// symbolOwn is the symbol that needs no declaration.
const symbolOwn = "HTTP_FILTER"

// Which edits a program may ask for.
const (
	editsNone   = "none"
	editsFields = "fields"
	editsAll    = "all"
)

type config struct {
	scanner.Config
	scanner.Web
	TokenFile string             `yaml:"token_file"`
	Symbols   map[string]float64 `yaml:"symbols"`
	Edits     string             `yaml:"edits" allowed:"none|fields|all"`
}

func defaults() config { return config{Config: scanner.Defaults(20), Edits: editsFields} }

// Bounds of a configuration.
const (
	maxSymbols = 256
	maxWeight  = 1000
)

// check gives the symbols that answers may have.
func (c *config) check() ([]filter.Symbol, error) {
	if len(c.Symbols) > maxSymbols {
		return nil, filter.At(fmt.Errorf("http: symbols: %d of them; at most %d are allowed", len(c.Symbols), maxSymbols), "symbols")
	}
	all := []filter.Symbol{{Name: symbolOwn, Weight: 1, Description: "a program of one's own has found something; the strength is its score"}}
	for _, name := range slices.Sorted(maps.Keys(c.Symbols)) {
		w := c.Symbols[name]
		switch {
		case name == symbolOwn:
			return nil, filter.At(fmt.Errorf("http: symbols: %s is taken", symbolOwn), "symbols", name)
		case name == "" || len(name) > 60 || name[0] < 'A' || name[0] > 'Z' || strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "":
			return nil, filter.At(fmt.Errorf("http: symbols: %q can't be a symbol: UPPER_SNAKE, at most 60 octets", name), "symbols", name)
		case math.IsNaN(w) || math.Abs(w) > maxWeight:
			return nil, filter.At(fmt.Errorf("http: symbols: %s: a weight from %d to %d is allowed, and this is %g", name, -maxWeight, maxWeight, w), "symbols", name)
		}
		all = append(all, filter.Symbol{Name: name, Weight: w, Description: "what the program says it is"})
	}
	return all, nil
}

type check struct {
	config  config
	symbols []filter.Symbol
	pool    *scanner.Pool
	token   string
	gateway string
}

// maxAnswer bounds an answer.
const maxAnswer = 4 << 20

// Check asks the program.
func (c *check) Check(ctx context.Context, in *filter.Input) (filter.Result, error) {
	if in.Content == nil {
		return filter.Result{}, nil
	}
	head, err := json.Marshal(c.envelope(in))
	if err != nil {
		return filter.Result{}, fmt.Errorf("http: %w", err)
	}
	post := scanner.Post{Header: http.Header{"Content-Type": {"application/x-postern-message"}}, Before: append(head, '\n'), Content: in.Content, Most: maxAnswer}
	if c.token != "" {
		post.Header["Authorization"] = []string{"Bearer " + c.token}
	}
	var r filter.Result
	err = c.pool.Ask(ctx, func(ctx context.Context, s *scanner.Server) error {
		b, err := c.pool.Post(ctx, s, post)
		if err != nil {
			return err
		}
		r, err = c.parse(b, in.Content)
		return err
	})
	if err == nil {
		err = in.Content.Err()
	}
	if err != nil {
		return filter.Result{}, fmt.Errorf("http: %w", err)
	}
	return r, nil
}

// envelope is the line of JSON that stands before the message: what the program can't see in it.
type envelope struct {
	Version  int         `json:"version"`
	Gateway  string      `json:"gateway"`
	ID       string      `json:"id"`
	Listener string      `json:"listener"`
	Client   string      `json:"client"`
	PTR      string      `json:"ptr"`
	Helo     string      `json:"helo"`
	TLS      string      `json:"tls"`
	User     string      `json:"user"`
	Relay    bool        `json:"relay"`
	From     string      `json:"from"`
	To       []string    `json:"to"`
	Size     int64       `json:"size"`
	SPF      string      `json:"spf"`
	DKIM     []signature `json:"dkim"`
	DMARC    string      `json:"dmarc"`
}

type signature struct {
	Domain string `json:"domain"`
	Result string `json:"result"`
}

func (c *check) envelope(in *filter.Input) envelope {
	e := envelope{Version: 1, Gateway: c.gateway, Size: in.Content.Blob().Size(), To: []string{}, DKIM: []signature{}}
	if s := in.Session; s != nil {
		e.Listener, e.PTR, e.Helo, e.User, e.Relay = s.Listener, s.PTR, s.Helo, s.User, s.Relay
		if s.Client.IsValid() {
			e.Client = s.Client.Addr().String()
		}
		if s.TLS != nil {
			e.TLS = tls.VersionName(s.TLS.Version)
		}
	}
	if t := in.Transaction; t != nil {
		e.ID, e.From = t.ID, t.From.String()
		for _, to := range t.Recipients {
			e.To = append(e.To, to.String())
		}
	}
	if spf, ok := auth.SPF.From(in); ok {
		e.SPF = string(spf.Result)
	}
	if dkim, ok := auth.DKIM.From(in); ok {
		for _, d := range dkim {
			e.DKIM = append(e.DKIM, signature{d.Domain, string(d.Result)})
		}
	}
	if dmarc, ok := auth.DMARC.From(in); ok {
		e.DMARC = string(dmarc.Result)
	}
	return e
}
