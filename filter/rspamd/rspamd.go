// Package rspamd asks rspamd about a message, and reports its score, its symbols and its action. It judges nothing itself.
package rspamd

import (
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/scanner"
	"github.com/postern-mail/postern/mail"
)

// NewFactory makes the filter "rspamd". The filters that it makes share what is known of servers, which so outlives
// reloads.
func NewFactory() filter.Factory {
	pools := new(scanner.Pools)
	return filter.Factory{Kind: "rspamd", New: func(env filter.Env, decode func(any) error) (filter.Spec, filter.Filter, error) {
		cfg := defaults()
		if err := decode(&cfg); err != nil {
			return filter.Spec{}, nil, err
		}
		actions, err := cfg.check()
		if err != nil {
			return filter.Spec{}, nil, err
		}
		password, err := scanner.ReadSecret("rspamd", "password_file", cfg.PasswordFile)
		if err != nil {
			return filter.Spec{}, nil, err
		}
		pool, err := pools.WebPool(env, "rspamd", cfg.Config, cfg.Web, "/checkv2", password)
		if err != nil {
			return filter.Spec{}, nil, err
		}
		c := &check{config: cfg, actions: actions, pool: pool, password: password, gateway: env.Hostname}
		return filter.Spec{Name: env.Name, Phases: filter.In(filter.Data), Symbols: symbols, Health: pool.Health}, c, nil
	}}
}

// The symbols.
const (
	symbolScore  = "RSPAMD"
	symbolFields = "RSPAMD_FIELDS"
)

var symbols = []filter.Symbol{
	{Name: symbolScore, Weight: 1, Description: "what rspamd thinks of the message; the strength is its score times factor"},
	{Name: symbolFields, Weight: 0, Description: "rspamd wants fields on the message that can't be put there"},
}

type config struct {
	scanner.Config
	scanner.Web
	PasswordFile string            `yaml:"password_file"`
	Factor       float64           `yaml:"factor"`
	Actions      map[string]string `yaml:"actions"`
	Replies      string            `yaml:"replies" allowed:"own|verbatim"`
	Headers      []string          `yaml:"headers"`
	Subject      bool              `yaml:"subject"`
}

func defaults() config {
	return config{
		Config: scanner.Defaults(20, "127.0.0.1:11333"), Factor: 1, Replies: "own",
		Actions: map[string]string{
			"greylist": "pass", "add header": "tag", "rewrite subject": "tag", "soft reject": "defer", "reject": "reject",
			"quarantine": "quarantine", "discard": "quarantine",
		},
	}
}

// words are what an action of rspamd's may mean.
var words = map[string]filter.Action{
	"pass": filter.Continue, "tag": filter.Tag, "quarantine": filter.Quarantine, "defer": filter.Defer, "reject": filter.Reject,
}

// noAction is rspamd's word for nothing.
const noAction = "no action"

// maxHeaders bounds the names of fields.
const maxHeaders = 64

func (c *config) check() (map[string]filter.Action, error) {
	if math.IsNaN(c.Factor) || c.Factor < 0 || c.Factor > 100 {
		return nil, filter.At(fmt.Errorf("rspamd: factor: from 0 to 100 is allowed, and this is %g", c.Factor), "factor")
	}
	actions := map[string]filter.Action{}
	for _, name := range slices.Sorted(maps.Keys(c.Actions)) {
		a, ok := words[c.Actions[name]]
		if !ok {
			return nil, filter.At(fmt.Errorf("rspamd: actions: %s: %q is none of pass, tag, quarantine, defer, reject", name, c.Actions[name]), "actions", name)
		}
		actions[name] = a
	}
	if a, named := actions[noAction]; named && a != filter.Continue {
		return nil, filter.At(fmt.Errorf("rspamd: actions: %q is pass, and nothing else", noAction), "actions", noAction)
	}
	actions[noAction] = filter.Continue
	if len(c.Headers) > maxHeaders {
		return nil, filter.At(fmt.Errorf("rspamd: headers: %d of them; at most %d are allowed", len(c.Headers), maxHeaders), "headers")
	}
	for i, h := range c.Headers {
		if !scanner.IsFieldName(h) || !scanner.MayChange(h) {
			return nil, filter.At(fmt.Errorf("rspamd: headers: %q is no field that rspamd may put on a message", h), "headers", strconv.Itoa(i))
		}
	}
	return actions, nil
}

type check struct {
	config   config
	actions  map[string]filter.Action
	pool     *scanner.Pool
	password string
	gateway  string
}

// maxAnswer bounds an answer; one with all symbols has a few thousand octets.
const maxAnswer = 1 << 20

// Check asks rspamd.
func (c *check) Check(ctx context.Context, in *filter.Input) (filter.Result, error) {
	if in.Content == nil {
		return filter.Result{}, nil
	}
	post := scanner.Post{Header: c.header(in), Content: in.Content, Most: maxAnswer, Whole: true}
	var a answer
	err := c.pool.Ask(ctx, func(ctx context.Context, s *scanner.Server) error {
		b, err := c.pool.Post(ctx, s, post)
		if err != nil {
			return err
		}
		if a, err = parse(b); err != nil {
			return err
		}
		if _, known := c.actions[a.Action]; !known {
			return scanner.Blameless(fmt.Errorf("rspamd: action %q stands not in actions", scanner.Clipped(a.Action, 40)))
		}
		return nil
	})
	if err != nil {
		return filter.Result{}, fmt.Errorf("rspamd: %w", err)
	}
	r := filter.Result{Propose: c.actions[a.Action]}
	found := filter.Finding{Symbol: symbolScore, Strength: *a.Score * c.config.Factor, Detail: a.detail()}
	skipped := a.Skipped && len(a.Symbols) == 0
	if skipped {
		found.Detail += "; it did not scan, as its settings say"
	}
	if *a.Score != 0 || a.Action != noAction || skipped { // else nothing was found
		r.Findings = append(r.Findings, found)
	}
	if c.config.Replies == "verbatim" {
		r.Reply = reply(r.Propose, a.Messages["smtp_message"])
	}
	c.fields(&a, in.Content.Header(), &r)
	if err := in.Content.Err(); err != nil {
		return filter.Result{}, fmt.Errorf("rspamd: %w", err)
	}
	return r, nil
}

// reply gives the reply with rspamd's text, nil where it has none.
func reply(a filter.Action, text string) *mail.Reply {
	text = strings.Join(strings.Fields(text), " ")
	if text == "" {
		return nil
	}
	r := mail.NewReply(550, 5, 7, 1, scanner.Clipped(text, 200))
	if a == filter.Defer {
		r = mail.NewReply(451, 4, 7, 1, scanner.Clipped(text, 200))
	}
	return &r
}

// header tells rspamd what it can't see in the message.
func (c *check) header(in *filter.Input) http.Header {
	h := http.Header{"Connection": {"keep-alive"}, "Content-Type": {"message/rfc822"}}
	set := func(name, value string) {
		if value != "" && len(value) <= 4096 && !strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			h[name] = append(h[name], value)
		}
	}
	set("Mta-Name", c.gateway)
	set("Password", c.password)
	if s := in.Session; s != nil {
		if s.Client.IsValid() {
			set("Ip", s.Client.Addr().WithZone("").String())
		}
		set("Helo", s.Helo)
		set("Hostname", s.PTR)
		set("User", s.User)
		if s.TLS != nil {
			set("Tls-Cipher", tls.CipherSuiteName(s.TLS.CipherSuite))
			set("Tls-Version", strings.ReplaceAll(tls.VersionName(s.TLS.Version), "TLS ", "TLSv"))
		}
	}
	if t := in.Transaction; t != nil {
		set("Queue-Id", t.ID)
		if t.From.IsZero() {
			set("From", "<>")
		} else {
			set("From", t.From.String())
		}
		for _, to := range t.Recipients {
			set("Rcpt", to.String())
		}
		if len(t.Recipients) == 1 {
			set("Deliver-To", t.Recipients[0].String())
		}
	}
	return h
}
