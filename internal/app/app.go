// Package app builds the gateway from its configuration and runs it: the one place that knows every other.
// It holds no protocol and no policy of its own.
package app

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/access"
	"github.com/postern-mail/postern/filter/arc"
	"github.com/postern-mail/postern/filter/attachments"
	"github.com/postern-mail/postern/filter/bayes"
	"github.com/postern-mail/postern/filter/clamd"
	"github.com/postern-mail/postern/filter/dkim"
	"github.com/postern-mail/postern/filter/dmarc"
	"github.com/postern-mail/postern/filter/dnsbl"
	"github.com/postern-mail/postern/filter/external"
	"github.com/postern-mail/postern/filter/greylist"
	"github.com/postern-mail/postern/filter/heuristics"
	"github.com/postern-mail/postern/filter/http"
	"github.com/postern-mail/postern/filter/iprev"
	"github.com/postern-mail/postern/filter/milter"
	"github.com/postern-mail/postern/filter/pregreet"
	"github.com/postern-mail/postern/filter/ratelimit"
	"github.com/postern-mail/postern/filter/rspamd"
	"github.com/postern-mail/postern/filter/rules"
	"github.com/postern-mail/postern/filter/spf"
	"github.com/postern-mail/postern/internal/config"
)

// DefaultConfig is where the configuration lies unless the command line says otherwise.
const DefaultConfig = "/etc/postern/postern.yaml"

// Exit codes, those of sysexits.h where it has one.
const (
	ExitFindings    = 1  // doctor: something will hurt
	ExitQuarantine  = 10 // scan: the message would be held
	ExitDefer       = 11
	ExitReject      = 12
	ExitUsage       = 64
	ExitData        = 65 // input that can't be read, or no such id
	ExitUnavailable = 69
	ExitSoftware    = 70
	ExitOS          = 71
	ExitCannotWrite = 73
	ExitConfig      = 78
)

// Exit is an error that fixes the exit code. Err is what is left to print; nil for nothing.
type Exit struct {
	Code int
	Err  error
}

// Error gives the text of Err.
func (e *Exit) Error() string {
	if e.Err != nil {
		return e.Err.Error()
	}
	return fmt.Sprintf("exit %d", e.Code)
}

// Unwrap gives Err.
func (e *Exit) Unwrap() error { return e.Err }

// exit makes an Exit with a message of its own.
func exit(code int, format string, args ...any) error {
	return &Exit{Code: code, Err: fmt.Errorf("postern: "+format, args...)}
}

// BuiltIn lists the filters that every Postern has.
func BuiltIn() []filter.Factory { return builtIn(new(bayes.Desk)) }

// builtIn lists them; desk is where the filter bayes finds the learner.
func builtIn(desk *bayes.Desk) []filter.Factory {
	return []filter.Factory{
		desk.Factory(),
		iprev.Factory, pregreet.Factory, spf.Factory, dkim.Factory, arc.Factory, dmarc.NewFactory(), attachments.Factory, heuristics.Factory,
		access.Factory,
		clamd.NewFactory(),
		rspamd.NewFactory(),
		http.NewFactory(),
		milter.NewFactory(),
		dnsbl.Factory,
		external.Factory,
		greylist.Factory,
		ratelimit.Factory,
		rules.Factory,
	}
}

// Options are what the command line says.
type Options struct {
	Config      string           // path of the configuration
	ConfigGiven bool             // it was named, and so must be there
	Factories   []filter.Factory // beside the built-in ones
	Stdin       io.Reader
	Stdout      io.Writer
	Stderr      io.Writer
}

// App runs the commands.
type App struct {
	o         Options
	factories []filter.Factory
	kinds     []string
	desk      *bayes.Desk // where the filter bayes finds the learner
}

// New checks the filters and makes an App.
func New(o Options) (*App, error) {
	desk := new(bayes.Desk)
	all := append(builtIn(desk), o.Factories...)
	names, err := kinds(all)
	if err != nil {
		return nil, err
	}
	return &App{o: o, factories: all, kinds: names, desk: desk}, nil
}

// load reads the configuration; its faults end with exit code 78.
func (a *App) load() (*config.Config, error) {
	cfg, err := config.Load(a.o.Config, a.kinds)
	if err == nil {
		return cfg, nil
	}
	if errors.Is(err, fs.ErrNotExist) && !a.o.ConfigGiven {
		err = fmt.Errorf("postern: no configuration at %s: write one, or name another with --config", a.o.Config)
	}
	return nil, &Exit{Code: ExitConfig, Err: err}
}

// ConfigShow prints the effective configuration.
func (a *App) ConfigShow() error {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	_, err = a.o.Stdout.Write(cfg.Show())
	return err
}
