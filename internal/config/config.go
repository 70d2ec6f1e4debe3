// Package config reads Postern's configuration file: YAML, strict, every fault with its place and the
// values that are allowed. It builds nothing of what the file describes; package internal/app does.
package config

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"time"
)

// Config is one configuration, checked and with every default filled in. Durations and sizes are plain
// Go values: a time.Duration, and octets in an int64. Where the file has a mapping by name, the order of
// the file is kept. A Config is read-only once Parse has returned it.
type Config struct {
	Hostname         string         `yaml:"hostname"`          // A-labels, lower case
	Node             string         `yaml:"node"`              // stands in ids
	Postmaster       string         `yaml:"postmaster"`        // a mailbox
	SoftBounce       bool           `yaml:"soft_bounce"`       // every 5yz becomes a 4yz
	Observe          bool           `yaml:"observe"`           // the whole gateway decides, and changes nothing
	ExemptNetworks   []netip.Prefix `yaml:"exempt_networks"`   // masked, unmapped
	ExemptRecipients []string       `yaml:"exempt_recipients"` // patterns, lower case domains
	RequireTLSFrom   []Partner      `yaml:"require_tls_from,scalar=domain"`
	RequireTLSTo     []SecureDomain `yaml:"require_tls_to,scalar=domain"`
	BigSenders       []string       `yaml:"big_senders"` // domains, A-labels, lower case
	Drain            time.Duration  `yaml:"drain"`       // for transactions that go on after the order to stop
	Listeners        []Listener     `yaml:"listeners,named"`
	Routes           []Route        `yaml:"routes"`
	Upstreams        []Upstream     `yaml:"upstreams,named"`
	Filters          []*Filter      `yaml:"filters,filters"` // in the order of the file
	Policies         []Policy       `yaml:"policies,named"`  // "default" is always among them
	AuthRes          AuthRes        `yaml:"authres"`
	Signing          *Signing       `yaml:"signing"`        // nil: nothing is signed
	ContentBudget    int64          `yaml:"content_budget"` // octets of content at once, of all sessions
	State            State          `yaml:"state"`
	Quarantine       Quarantine     `yaml:"quarantine"`
	Spool            Spool          `yaml:"spool"`
	Metrics          Metrics        `yaml:"metrics"`
	DNS              DNS            `yaml:"dns"`
	Log              Log            `yaml:"log"`

	src  *source // the file, for errors that are found later
	root *node
	sum  [sha256.Size]byte // of the file
}

// Listener is a door for mail.
type Listener struct {
	Name         string `yaml:"-"`
	Address      string `yaml:"address"` // host:port; the host may be empty
	TLS          *TLS   `yaml:"tls"`     // nil: no TLS is offered
	BareNewlines string `yaml:"bare_newlines" allowed:"normalize|reject"`
	Engine       string `yaml:"engine" allowed:"postern|go-smtp"`
	Chunking     bool   `yaml:"chunking"` // BDAT is offered
	DSN          bool   `yaml:"dsn"`      // DSN is offered
	Limits       Limits `yaml:"limits"`
	Relay        *Relay `yaml:"relay"` // nil: nobody may relay

	ProxyProtocol []netip.Prefix `yaml:"proxy_protocol"` // who must send a PROXY header; masked, unmapped
	XClient       []netip.Prefix `yaml:"xclient"`        // who may say by XCLIENT for whom it speaks; masked, unmapped
	EarlyTalkers  EarlyTalkers   `yaml:"early_talkers,scalar=wait"`
}

// TLS is the server side of TLS on a listener.
type TLS struct {
	KeyPair  `yaml:",inline"` // for clients that ask for no name, or for one that none of the others is for
	SNI      []KeyPair        `yaml:"sni"` // others, chosen by the name that a client asks for
	Mode     string           `yaml:"mode" allowed:"starttls|implicit"`
	Min      string           `yaml:"min" allowed:"1.2|1.3|1.0|1.1"` // the least version
	ClientCA string           `yaml:"client_ca"`                     // PEM file of the authorities of clients; "": none are asked
}

// KeyPair names the files of a certificate and its key.
type KeyPair struct {
	Certificate string `yaml:"certificate"` // PEM file, with its chain
	Key         string `yaml:"key"`         // PEM file
}

// Limits bound what clients may ask of a listener.
type Limits struct {
	Connections int           `yaml:"connections"` // at once
	PerClient   int           `yaml:"per_client"`  // at once, of one address
	PerNetwork  int           `yaml:"per_network"` // at once, of one network
	Rate        int           `yaml:"rate"`        // new ones a minute, of one address
	TotalRate   int           `yaml:"total_rate"`  // of all
	Message     int64         `yaml:"message"`     // octets
	Recipients  int           `yaml:"recipients"`  // of one transaction
	Header      int64         `yaml:"header"`      // octets
	Idle        time.Duration `yaml:"idle"`
	Data        time.Duration `yaml:"data"` // for the whole content
	Errors      int           `yaml:"errors"`
}

// Route says which recipients go where. Of the routes, the first that fits counts.
type Route struct {
	To         []string   `yaml:"to"`        // domains and addresses in lower case, "*.domain", "*", and paths of files of them, see IsPath
	From       []string   `yaml:"from"`      // of reverse-paths likewise, "<>" for the null one; none: all of them
	Listeners  []string   `yaml:"listeners"` // names; none: all of them
	Upstream   string     `yaml:"upstream"`
	Policy     string     `yaml:"policy"`
	Spool      bool       `yaml:"spool"` // mail that can't be handed on at once may wait
	Recipients Recipients `yaml:"recipients,scalar=verify"`
}

// Name is how a route is called in logs and metrics: by its first pattern, and by what narrows it.
func (r *Route) Name() string {
	name := r.To[0]
	if len(r.From) > 0 {
		name += " from " + r.From[0]
	}
	if len(r.Listeners) > 0 {
		name += " at " + r.Listeners[0]
	}
	return name
}

// narrow reports whether a route is for some senders or listeners only.
func (r *Route) narrow() bool { return len(r.From) > 0 || len(r.Listeners) > 0 }

// Recipients says how the mailboxes of a route are known.
type Recipients struct {
	Verify string       `yaml:"verify" allowed:"none|file|callout|ldap"`
	File   string       `yaml:"file"`
	Sender string       `yaml:"sender"` // that a callout asks with; "": the null one
	Cache  *AnswerCache `yaml:"cache"`  // of a callout, else nil
	LDAP   `yaml:",inline"`

	RecipientDelimiter string            `yaml:"recipient_delimiter"` // characters, each of which may end a local part
	DomainAliases      map[string]string `yaml:"domain_aliases"`      // domain -> the one whose mailboxes it has
	CatchAll           []string          `yaml:"catch_all"`           // domains that have every mailbox
}

// AnswerCache says how long what a server said of a mailbox holds.
type AnswerCache struct {
	Positive time.Duration `yaml:"positive"` // there is such a mailbox
	Negative time.Duration `yaml:"negative"` // there is none
}

// Upstream is a place where mail is taken to: servers, or a maildir.
type Upstream struct {
	Name       string            `yaml:"-"`
	Servers    Servers           `yaml:"servers,scalar=address"`
	Protocol   string            `yaml:"protocol" allowed:"smtp|lmtp"`
	TLS        string            `yaml:"tls" allowed:"none|opportunistic|required|verify"`
	CAFile     string            `yaml:"ca_file"`     // PEM; "" is the system's
	ServerName string            `yaml:"server_name"` // in TLS; "": the server's host
	KeyPair    `yaml:",inline"`  // to show to the servers; "": none
	Auth       *Auth             `yaml:"auth"`                        // nil: we do not authenticate ourselves
	Chunking   string            `yaml:"chunking" allowed:"off|auto"` // whether BDAT is used where it is offered
	Identity   string            `yaml:"identity" allowed:"none|xforward|xclient|proxy"`
	Replies    string            `yaml:"replies" allowed:"own|verbatim"`
	Profile    string            `yaml:"profile" allowed:"none|exchange"` // what its servers are, as far as that changes what they are sent
	Source     Source            `yaml:"source"`                          // to connect from; nil: the system chooses
	Limits     *ConnectionLimits `yaml:"limits"`                          // nil for a maildir
	Probe      string            `yaml:"probe" allowed:"hello|none"`      // how servers are looked at
	Maildir    string            `yaml:"maildir"`                         // folder; excludes servers
}

// Auth is what we authenticate ourselves with to the servers of an upstream.
type Auth struct {
	User         string `yaml:"user"`
	PasswordFile string `yaml:"password_file"` // see Password
}

// Policy judges reports. Nil thresholds do not exist.
type Policy struct {
	Name            string             `yaml:"-"`
	Tag             *float64           `yaml:"tag"`
	Quarantine      *float64           `yaml:"quarantine"`
	Reject          *float64           `yaml:"reject"`
	QuarantineReply string             `yaml:"quarantine_reply" allowed:"reject|accept"`
	Subject         string             `yaml:"subject"`
	Weights         map[string]float64 `yaml:"weights"`
	Observe         bool               `yaml:"observe"`
	Filters         overlays           `yaml:"filters,overlays"`
}

// AuthRes says what is done with Authentication-Results fields (RFC 8601).
type AuthRes struct {
	ID   string `yaml:"id"`   // our authserv-id, A-labels, lower case
	Keep Keep   `yaml:"keep"` // whose fields a message may bring along; never ours
}

// Keep is a list of authserv-ids, A-labels, lower case; nil stands for all, which the file writes as the word.
type Keep []string

const keepAll = "all"

// UnmarshalYAML reads the word or the list.
func (k *Keep) UnmarshalYAML(decode func(any) error) error {
	var word string
	if err := decode(&word); err == nil {
		if word != keepAll {
			return fmt.Errorf("must be all, or a list of names such as [mail.example.org], and is %s", show(word))
		}
		*k = nil
		return nil
	}
	var list []string
	if err := decode(&list); err != nil {
		return err
	}
	*k = list
	return nil
}

// State is where Postern keeps its files.
type State struct {
	Directory string `yaml:"directory"`
}

// Spool bounds the store of mail that waits, and says how long it does.
type Spool struct {
	Size     int64         `yaml:"size"`     // octets
	MinFree  int64         `yaml:"min_free"` // octets of the file system that it leaves alone
	Retry    Retry         `yaml:"retry"`
	Warn     time.Duration `yaml:"warn"` // when a sender is told of the delay; 0: never
	Expire   time.Duration `yaml:"expire"`
	Parallel int           `yaml:"parallel"` // deliveries to one upstream at once
}

// Retry is how long a message waits for its next try: first after the first, and twice as long after each other, up to most.
type Retry struct {
	First time.Duration `yaml:"first"`
	Most  time.Duration `yaml:"most"`
}

// Quarantine bounds the store of held mail.
type Quarantine struct {
	Keep time.Duration `yaml:"keep"`
	Size int64         `yaml:"size"` // octets
}

// Metrics is the address of /metrics, /healthz and /readyz.
type Metrics struct {
	Address string `yaml:"address"` // host:port; "" is off
}

// DNS names the resolvers.
type DNS struct {
	Servers []netip.AddrPort `yaml:"servers"` // none: the system's
}

// Log shapes the log.
type Log struct {
	Format  string `yaml:"format" allowed:"json|text"`
	Level   string `yaml:"level" allowed:"debug|info|warn|error"`
	Privacy string `yaml:"privacy" allowed:"full|domain|hash"`
}

// Listener finds a listener by its name, nil if there is none.
func (c *Config) Listener(name string) *Listener { return byName(c.Listeners, name) }

// Upstream finds an upstream by its name, nil if there is none.
func (c *Config) Upstream(name string) *Upstream { return byName(c.Upstreams, name) }

// Policy finds a policy by its name, nil if there is none.
func (c *Config) Policy(name string) *Policy { return byName(c.Policies, name) }

// Filter finds a filter by the name of its stage, nil if there is none.
func (c *Config) Filter(name string) *Filter {
	for _, f := range c.Filters {
		if f.Name == name {
			return f
		}
	}
	return nil
}

func byName[T interface{ Listener | Upstream | Policy }](all []T, name string) *T {
	for i := range all {
		if nameOf(&all[i]) == name {
			return &all[i]
		}
	}
	return nil
}

func nameOf(v any) string {
	switch v := v.(type) {
	case *Listener:
		return v.Name
	case *Upstream:
		return v.Name
	case *Policy:
		return v.Name
	}
	return ""
}
