// Package access is the filter that keeps the lists of exceptions: whom checks are waived for, once it is proved that
// they are who they claim to be, and who is refused unseen. It proves nothing itself: it reads what SPF, DKIM and the
// connection have shown.
package access

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/internal/lines"
)

// Factory makes the filter "access".
var Factory = filter.Factory{Kind: "access", New: open}

// The symbols.
const (
	symbolAllowed = "ACCESS_ALLOWED"
	symbolBlocked = "ACCESS_BLOCKED"
	symbolExpired = "ACCESS_EXPIRED"
)

var symbols = []filter.Symbol{
	{Name: symbolAllowed, Description: "an entry waives checks for this message, whose sender is proved"},
	{Name: symbolBlocked, Weight: 1, Description: "an entry blocks the client or the sender; the strength is the entry's score"},
	{Name: symbolExpired, Description: "an entry would apply, and has expired"},
}

type config struct {
	Allow        paths    `yaml:"allow"`
	Block        paths    `yaml:"block"`
	AllowEntries []string `yaml:"allow_entries"`
	BlockEntries []string `yaml:"block_entries"`
}

// paths is a file, or a list of files.
type paths []string

// UnmarshalYAML takes a value for a list of one.
func (p *paths) UnmarshalYAML(unmarshal func(any) error) error {
	var given any
	if err := unmarshal(&given); err != nil {
		return err
	}
	*p = nil
	list, ok := given.([]any)
	if !ok {
		list = []any{given}
	}
	for _, one := range list {
		path, ok := one.(string)
		if !ok || path == "" {
			return fmt.Errorf("access: a file is needed, or a list of files, and this is %v", one)
		}
		*p = append(*p, path)
	}
	return nil
}

func open(env filter.Env, decode func(any) error) (filter.Spec, filter.Filter, error) {
	var cfg config
	if err := decode(&cfg); err != nil {
		return filter.Spec{}, nil, err
	}
	c := &checker{now: time.Now}
	names := waivable(env)
	if err := openAll(&c.allow, "allow", cfg.Allow, cfg.AllowEntries, env.Log, func(name string, r io.Reader) (*allowList, error) {
		l, err := parseAllow(name, r, names)
		if err == nil && c.opened && !c.asked && l.byCertificate() {
			env.Log.Warn("an entry goes by a certificate, and clients are not asked for one before a reload", "file", name)
		}
		return l, err
	}); err != nil {
		return filter.Spec{}, nil, err
	}
	if err := openAll(&c.block, "block", cfg.Block, cfg.BlockEntries, env.Log, parseBlock); err != nil {
		return filter.Spec{}, nil, err
	}
	c.asked = slices.ContainsFunc(c.allow, func(list func() *allowList) bool { return list().byCertificate() })
	c.opened = true
	spec := filter.Spec{
		Certificates: c.asked,
		Name:         env.Name, Phases: filter.In(filter.Mail, filter.Data),
		Wants:    []string{string(auth.SPF), string(auth.DKIM)},
		Provides: []string{string(auth.Waivers), string(blockedAtMail)},
		Symbols:  slices.Clone(symbols),
	}
	if len(cfg.Allow)+len(cfg.Block)+len(cfg.AllowEntries)+len(cfg.BlockEntries) == 0 {
		spec.Idle = "neither allow nor block names a file, and there are no entries"
	}
	return spec, c, nil
}

// waivable lists what an entry may waive: the score, stages, and classes of files one by one. A stage that examines
// files is none: it is waived class by class.
func waivable(env filter.Env) []string {
	names := []string{auth.WaiveScore}
	for i, stage := range env.Stages {
		kind := stage
		if i < len(env.Kinds) {
			kind = env.Kinds[i]
		}
		if kind != "attachments" && !slices.Contains(names, stage) {
			names = append(names, stage)
		}
	}
	for _, class := range auth.PartClasses() {
		names = append(names, auth.WaiveClass(class))
	}
	return names
}

// listed is a list of either kind.
type listed interface {
	size() int
	expired(now time.Time) []string
}

// openAll opens the files of one kind of list, and reads the entries that stand in the configuration.
func openAll[T listed](to *[]func() T, key string, files paths, entries []string, log *slog.Logger, parse func(string, io.Reader) (T, error)) error {
	for i, path := range files {
		f, err := lines.Open(path, lines.Source[T]{
			Prefix: "access: ",
			Parse: func(name string, r io.Reader) (T, error) {
				l, err := parse(name, r)
				if err == nil {
					warn(log, path, l.expired(time.Now()))
				}
				return l, err
			},
			Doubt: func(inForce, found T) error {
				if found.size() > 0 || inForce.size() == 0 {
					return nil
				}
				return fmt.Errorf("no entry in it, %d are in force: a list that became empty is taken at a reload only", inForce.size())
			},
			Report: func(err error) {
				if err != nil {
					log.Error("access list can't be used: the last good one is in force", "file", path, "error", err.Error())
				} else {
					log.Info("access list taken anew", "file", path)
				}
			},
		})
		if err != nil {
			return filter.At(err, key, strconv.Itoa(i))
		}
		*to = append(*to, f.Get)
	}
	name := key + "_entries"
	for i, e := range entries {
		if strings.ContainsAny(e, "\r\n") {
			return filter.At(fmt.Errorf("access: %s: an entry is one line, and this is more: %q", name, e), name, strconv.Itoa(i))
		}
	}
	l, err := parse(name, strings.NewReader(strings.Join(entries, "\n")))
	if err != nil {
		bad := slices.IndexFunc(entries, func(e string) bool {
			_, err := parse(name, strings.NewReader(e))
			return err != nil
		})
		return filter.At(fmt.Errorf("access: %w", err), name, strconv.Itoa(bad))
	}
	warn(log, name, l.expired(time.Now()))
	*to = append(*to, func() T { return l })
	return nil
}

// warn tells of entries that do not count any more.
func warn(log *slog.Logger, file string, expired []string) {
	const named = 5
	if n := len(expired); n > named {
		expired = append(expired[:named:named], fmt.Sprintf("and %d more", n-named))
	}
	if len(expired) > 0 {
		log.Warn("access entries have expired and do not count", "file", file, "entries", strings.Join(expired, ", "))
	}
}

// blockedAtMail holds what was reported in the mail phase, which the data phase does not say again. The lists of a policy
// are looked at in the data phase only, and a file may have changed in between.
const blockedAtMail filter.Key[[]string] = "access_blocked"

// checker is the filter.
type checker struct {
	opened bool // its files were read for the first time
	asked  bool // clients are asked for certificates
	allow  []func() *allowList
	block  []func() *blockList
	now    func() time.Time
}

// Check looks at what the client, its name and the reverse-path match in the mail phase, and at the author in the data
// phase, which has the last word on what is waived.
func (c *checker) Check(_ context.Context, in *filter.Input) (filter.Result, error) {
	if in.Session == nil || in.Transaction == nil {
		return filter.Result{}, errors.New("access: no transaction in this phase")
	}
	m := matching{in: in, now: c.now()}
	if in.Content != nil {
		header := in.Content.Header()
		if err := in.Content.Err(); err != nil {
			return filter.Result{}, fmt.Errorf("access: %w", err)
		}
		m.readAuthor(header)
	}
	for _, list := range c.allow {
		m.allow(list())
	}
	m.result.Facts = []filter.Fact{auth.Waivers.Of(m.waivers)}
	if in.Session.Relay || in.Session.Exempt {
		return m.result, nil // lists of the unwanted are for others
	}
	m.known, _ = blockedAtMail.From(in)
	for _, list := range c.block {
		m.block(list())
	}
	if !m.content {
		m.result.Facts = append(m.result.Facts, blockedAtMail.Of(m.known))
	}
	return m.result, nil
}
