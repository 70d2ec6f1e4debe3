package config

import (
	"net/netip"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/postern-mail/postern/internal/senders"
)

// Every default is safe on the open internet.

func (c *Config) defaults() {
	c.ExemptNetworks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	c.BigSenders = senders.Default()
	switch given := os.Getenv("STATE_DIRECTORY"); {
	case given != "" && !strings.Contains(given, ":"):
		c.State.Directory = given // systemd's StateDirectory=, and the container image
	case os.Geteuid() == 0:
		c.State.Directory = "/var/lib/postern"
	default:
		c.State.Directory = "postern-state"
	}
	// Senders wait ten minutes for the reply to their final dot (RFC 5321 4.5.3.2.6), service managers rarely more
	// than one or two for a service.
	c.Drain = time.Minute
	c.ContentBudget = 2 << 30
	c.Quarantine = Quarantine{Keep: 30 * day, Size: 10 << 30}
	// RFC 5321 4.5.4.1: four to five days, and tries at least 30 minutes apart on average; our next server is near, and ours.
	c.Spool = Spool{
		Size: 10 << 30, MinFree: 256 << 20, Retry: Retry{First: time.Minute, Most: 30 * time.Minute}, Warn: 4 * time.Hour, Expire: 5 * day,
		Parallel: 10,
	}
	c.Log = Log{Format: "json", Level: "info", Privacy: "full"}
}

func (l *Listener) defaults() {
	l.EarlyTalkers.defaults()
	l.BareNewlines = "normalize"
	l.Engine = "postern"
	l.Limits = Limits{
		Connections: 1000,
		PerClient:   20,
		PerNetwork:  100,
		Rate:        60,
		TotalRate:   6000,
		Message:     50 << 20,
		Recipients:  100, // RFC 5321 4.5.3.1.8: no fewer
		Header:      256 << 10,
		Idle:        5 * time.Minute, // RFC 5321 4.5.3.2.7
		Data:        10 * time.Minute,
		Errors:      10,
	}
}

func (t *TLS) defaults() { t.Mode, t.Min = "starttls", "1.2" }

func (r *Route) defaults() {
	r.Policy = DefaultPolicy
	r.Recipients.Verify = "none"
}

func (c *AnswerCache) defaults() { c.Positive, c.Negative = 12*time.Hour, 5*time.Minute }

func (u *Upstream) defaults() {
	u.Protocol, u.TLS, u.Chunking, u.Identity, u.Replies, u.Profile = "smtp", "opportunistic", "off", "none", "own", "none"
	u.Probe, u.Limits = "hello", new(ConnectionLimits)
	u.Limits.defaults()
}

func (p *Policy) defaults() { p.QuarantineReply = "reject" }

// DefaultPolicy is the name of the policy of routes that name none.
const DefaultPolicy = "default"

// thresholds are those of a policy that writes none at all: one that is there for its overlays, or to
// observe, is no laxer than the one that is not there.
func (p *Policy) thresholds() {
	tag, reject := 5.0, 15.0
	p.Tag, p.Reject = &tag, &reject
}

// standardFilters run where the file has no filters key, as far as the program has them.
var standardFilters = []string{"iprev", "pregreet", "spf", "dkim", "arc", "dmarc", "attachments", "heuristics", "rules"}

// laterFilters are kinds that are known, and not built into this version.
var laterFilters = []string{
	"icap", "script", "spamd", "yara",
}

// laterKeys are the keys of the configuration's contract that this version does not have.
var laterKeys = map[reflect.Type][]string{
	reflect.TypeFor[Config](): {"admin"},
}
