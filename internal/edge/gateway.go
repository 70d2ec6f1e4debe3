package edge

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/internal/limits"
	"github.com/postern-mail/postern/internal/spool"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/pipeline"
	"github.com/postern-mail/postern/upstream"
)

// Gateway is what a session needs of the gateway around it. It is read-only and swapped whole by a
// reload: a session takes the current one at EHLO and at each MAIL, and keeps it for the transaction.
type Gateway struct {
	Hostname   string // our name: greeting, Received
	Node       string // the first part of every id
	Postmaster string // who gets the mail for <postmaster> without a domain; an address that has a route
	SoftBounce bool   // every 5yz becomes a 4yz
	Observe    bool   // every policy only observes

	AuthservID  string   // our name in Authentication-Results (RFC 8601 2.5); "" is Hostname
	KeepResults []string // other names whose Authentication-Results a message may bring along; nil: every other

	Plan       *pipeline.Plan                 // runs the connect, helo and mail phases; nil: none
	Policy     *pipeline.Policy               // decides these phases, while no route is known; nil: no thresholds, no weights
	Policies   map[string]*Policy             // by name; "default" stands for routes that name none
	Router     upstream.Router                // never nil
	Relays     map[string]upstream.Relay      // by upstream name
	Recipients map[string]upstream.Recipients // by route name; none: every mailbox may exist

	Partners         []Partner               // whose mail must come within TLS
	ExemptRecipients func(mail.Address) bool // who is always accepted: postmaster, abuse, and configured ones; nil: nobody
	ExemptNetworks   []netip.Prefix          // clients that no list, rate or per-client limit applies to
	Big              func(netip.Addr) string // the domain of the big sender whom a client belongs to, "" for none; nil: there are none

	Signer     Signer         // signs and seals what is delivered; nil: nothing is signed
	Quarantine Quarantine     // nil: nothing can be kept, so that what should be is deferred
	Spool      Spool          // nil: what can't be handed on while its client waits is the client's to bring again, and no sender is notified
	Load       *limits.Load   // what all listeners take of the process; nil: they may take anything
	Content    *limits.Budget // of content that is being taken in or handed on, of all sessions; nil: no limit
	TempDir    string         // where content that outgrows memory lies; in the state's file system
	State      filter.State   // what the gateway remembers; nil: nothing
	Log        *slog.Logger
	Privacy    Privacy
	Metrics    Metrics // nil: none
}

// Policy is how the mail of a route is judged.
type Policy struct {
	Plan            *pipeline.Plan   // runs the rcpt and data phases; nil: none
	Policy          *pipeline.Policy // decides; never nil
	QuarantineReply QuarantineReply
}

// QuarantineReply is what the client of a quarantined message is told.
type QuarantineReply uint8

// The replies.
const (
	QuarantineReject QuarantineReply = iota // 550: the sender learns of it
	QuarantineAccept                        // 250: nobody learns of it
)

// Signer makes the signatures of what is delivered: of DKIM (RFC 6376) and ARC (RFC 8617).
type Signer interface {
	// Sign gives the fields that belong on top of m, which is the message as it is to leave, and says for the
	// log what they are or why there are none. An error means that a signature that is due could not be made:
	// the message must not leave without it.
	Sign(ctx context.Context, in *filter.Input, m *mail.Message) (top []byte, note string, err error)
}

// ErrFull is what a Quarantine wraps to say that it has no room: the client gets 452 4.3.1.
var ErrFull = errors.New("edge: no room left")

// Quarantine keeps messages.
type Quarantine interface {
	// Keep stores a message and gives the id under which it is held: its own, or that of an entry which has the
	// same message already, since a sender has come again. When it returns nil the copy is durable.
	Keep(ctx context.Context, h Held, content *mail.Blob) (id string, err error)
	// Drop removes an original that Keep stored.
	Drop(ctx context.Context, id string) error
}

// Spool takes the responsibility for messages that are to be delivered later.
type Spool interface {
	// Put stores a message, and what each of its groups is to get. When it returns nil that is durable. An error that is a
	// spool.ErrFull means that there is no room.
	Put(ctx context.Context, e spool.Entry, original *mail.Blob, messages []*mail.Message) error
	// HandedOn tells the sender of a message that was handed on while its client waited, where that was asked for and the next
	// server will not do it. e is what the spool would know of the message, which it does not have; it has one group. The error
	// says that the sender should be told, and is not.
	HandedOn(ctx context.Context, e spool.Entry, o *upstream.Outcome, original *mail.Blob) error
	// Room reports whether there is room for a message of so many octets; 0 for one of which that is not known.
	Room(octets int64) bool
}

// Kinds of what is held.
const (
	HeldQuarantine = "quarantine" // kept in place of being delivered
	HeldOriginal   = "original"   // delivered with changes; this is what it was
)

// Held is the record of a message that goes to the quarantine.
type Held struct {
	ID        string // the transaction's id
	Time      time.Time
	Kind      string // HeldQuarantine or HeldOriginal
	Client    netip.Addr
	Helo      string
	From      mail.Address
	To        []mail.Address
	Route     string
	Upstream  string
	Policy    string
	Relay     bool // of a client that may relay
	SMTPUTF8  bool
	Body8Bit  bool
	Size      int64
	MessageID string
	Subject   string
	Action    filter.Action
	Because   string
	Score     float64
	Findings  []pipeline.StageFinding
	Filters   []pipeline.Summary
	Edits     []string
	Parts     []auth.PartReport // what the filters say each part is
}

// ListenerConfig is one listener.
type ListenerConfig struct {
	Name       string // in the configuration
	Address    string // for people; the caller listens
	Implicit   bool   // TLS from the first octet on, in place of STARTTLS
	RejectBare bool   // refuse content with bare CR or LF
	Engine     string // EnginePostern, which "" is, or EngineGoSMTP
	Chunking   bool   // offer CHUNKING (RFC 3030); not with EngineGoSMTP
	DSN        bool   // offer DSN (RFC 3461), and hand on what clients ask for
	Limits     Limits

	// TLS gives what the next handshake is made with, so that it is done with the certificate of the moment on old
	// connections too; nil: no TLS. It is asked at each handshake and must be quick. Where it asks for client
	// certificates, that is with RequestClientCert: see clientChains.
	TLS func() *tls.Config

	Relay Relay // who may relay

	// Proxies are those who speak for others: each of their connections begins with a header of the PROXY protocol that
	// names the client. From anybody else such a header is a command that does not exist.
	Proxies []netip.Prefix

	// Fronts may say by XCLIENT for whom they speak; not with EngineGoSMTP.
	Fronts []netip.Prefix

	Early EarlyTalkers // who is tested before the greeting, and how

	slow        time.Duration // for tests, in place of slowReply
	dozesAtOnce bool          // for tests: every wait of the dialog is a pause, see doze.go
}

// Limits bound what one listener and one client may use. A zero field means its default.
type Limits struct {
	Connections int           // at once; 1000
	PerClient   int           // at once from one IPv4 address or IPv6 /64; 20; exempt networks are not counted
	PerNetwork  int           // at once from one IPv4 /24 or IPv6 /48; 100
	Rate        int           // new ones a minute from one client, see limits.Cost; 60
	TotalRate   int           // from all; 6000
	Message     int64         // octets of content; 50 MiB
	Recipients  int           // of one transaction; 100
	Header      int64         // octets of the header; 256 KiB
	Idle        time.Duration // for one command line, and between two reads of content; 5 min
	Data        time.Duration // for the whole content; 10 min
	Errors      int           // refused commands before the connection is ended; 10
}

func (l Limits) withDefaults() Limits {
	orInt(&l.Connections, 1000)
	orInt(&l.PerClient, 20)
	orInt(&l.PerNetwork, 100)
	orInt(&l.Rate, 60)
	orInt(&l.TotalRate, 6000)
	orInt(&l.Message, 50<<20)
	orInt(&l.Recipients, 100)
	orInt(&l.Header, 256<<10)
	orInt(&l.Idle, 5*time.Minute)
	orInt(&l.Data, 10*time.Minute)
	orInt(&l.Errors, 10)
	return l
}

func orInt[T int | int64 | time.Duration](v *T, otherwise T) {
	if *v <= 0 {
		*v = otherwise
	}
}

// Bounds that are not configured.
const (
	sessionLife  = time.Hour       // after this a client gets no new transaction
	judgeTime    = 5 * time.Minute // for filters and delivery together; RFC 5321 4.5.3.2.6: clients wait 10 min
	writeTimeout = time.Minute     // for replies that the client does not read
	tlsTimeout   = time.Minute     // for a TLS handshake
	lingerTime   = time.Second     // in which a client that was hung up on may read our last words
	maxHello     = 255             // octets of an EHLO argument that are kept; RFC 5321 4.5.3.1.2
)

// observing gives p, made to observe where the whole gateway does.
func (gw *Gateway) observing(p *pipeline.Policy) *pipeline.Policy {
	if p == nil {
		p = &pipeline.Policy{}
	}
	if !gw.Observe || p.Observe {
		return p
	}
	q := *p
	q.Observe = true
	return &q
}

// authservID gives our name in Authentication-Results.
func (gw *Gateway) authservID() string { return cmp.Or(gw.AuthservID, gw.Hostname) }

// exempt reports whether no list, rate or per-client limit applies to the client.
func (gw *Gateway) exempt(client netip.Addr) bool { return within(gw.ExemptNetworks, client) }

// big gives the domain of the big sender that the client belongs to.
func (gw *Gateway) big(client netip.Addr) string {
	if gw.Big == nil {
		return ""
	}
	return gw.Big(client)
}

func within(all []netip.Prefix, client netip.Addr) bool {
	for _, p := range all {
		if p.Contains(client) {
			return true
		}
	}
	return false
}
