package edge

import (
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/mail"
)

// Metrics is told what happens at the door. All labels come from the closed sets below, from the
// configuration (listener, route), or are codes. Methods are called by many sessions at once.
type Metrics interface {
	ConnectionOpened(listener string)
	// ConnectionClosed says how long an opened connection lasted, and what it was in the end (TLSNone …).
	ConnectionClosed(listener, tls string, lasted time.Duration)
	// ConnectionRejected counts a connection that was refused before its greeting; it was never opened.
	ConnectionRejected(listener, reason string)
	// EarlyTalk counts a client that was waited for before its greeting, by what it did (EarlyResults).
	EarlyTalk(listener, result string)
	// Tarpit counts a wait that a client was made to have for its errors.
	Tarpit(listener string)
	// Command counts one command (Verbs) by the code of its reply, 0 when none was given.
	Command(listener, verb string, code int)
	// Reject counts a 4yz or 5yz of the session's own (not the syntax errors of the engine).
	Reject(listener, stage string, r mail.Reply, reason string)
	// TLSHandshake counts a handshake; version is one of TLSVersions, result "ok" or "failed".
	TLSHandshake(listener, version, result string)
	// DataDuration is the time from the end of the content to its reply.
	DataDuration(listener string, d time.Duration)
	// Message counts a message whose content was judged. observed: by a policy that only observes.
	Message(route string, action filter.Action, changed string, observed bool, size int64)
	// Score is told the score of a message whose content was judged.
	Score(score float64)
	// Again counts a message that came again, by what is known of when it came first (Agains).
	Again(listener, first string)
	Recipient(result, source string)
	// Auth counts a login (AuthResults).
	Auth(listener, result string)
	// Panic counts a panic that was caught in a session.
	Panic()
}

// How a connection is secured.
const (
	TLSNone     = "none"
	TLSStart    = "starttls"
	TLSImplicit = "implicit"
)

// Why a connection is rejected.
const (
	RejectedConnections = "conn_limit"
	RejectedPerClient   = "client_limit"
	RejectedPerNetwork  = "network_limit"
	RejectedRate        = "rate"     // the client or its network makes new ones too fast
	RejectedOverload    = "overload" // all together do, or we are near the end of our means
	RejectedDraining    = "draining"
	RejectedProxy       = "proxy_bad" // a proxy sent no right header
)

// Rejections lists the values of the reason label of rejected connections.
func Rejections() []string {
	return []string{
		RejectedConnections, RejectedPerClient, RejectedPerNetwork, RejectedRate, RejectedOverload, RejectedDraining, RejectedProxy,
	}
}

// VerbEOD stands for the end of the content, VerbOther for every verb that is not listed.
const (
	VerbEOD   = "EOD"
	VerbOther = "OTHER"
)

// Verbs lists the values of the verb label.
func Verbs() []string {
	return []string{"EHLO", "HELO", "MAIL", "RCPT", "DATA", VerbEOD, "BDAT", "RSET", "NOOP", "VRFY", "HELP", "QUIT", "STARTTLS", "AUTH", "XCLIENT", VerbOther}
}

// Stages lists the values of the stage label of rejects: the command that was refused.
func Stages() []string { return []string{StageHelo, StageMail, StageRcpt, StageEOD} }

// The stages.
const (
	StageHelo = "helo"
	StageMail = "mail"
	StageRcpt = "rcpt"
	StageEOD  = "eod"
)

// Why the session refused or deferred something.
const (
	ReasonFilter     = "filter"     // a verdict
	ReasonAddress    = "address"    // an address that is none
	ReasonUTF8       = "smtputf8"   // needed and not declared
	ReasonSequence   = "sequence"   // a command out of its order
	ReasonSize       = "size"       // content too big
	ReasonRelay      = "relay"      // no route
	ReasonSender     = "sender"     // not the user's own
	ReasonTLS        = "tls"        // it should have come within TLS, or with a certificate
	ReasonLogin      = "login"      // it does not hold any more
	ReasonUnknown    = "unknown"    // no such mailbox
	ReasonDirectory  = "directory"  // could not tell whether there is such a mailbox
	ReasonRecipients = "recipients" // too many recipients
	ReasonSplit      = "split"      // a recipient whose mail may come to another end than the first one's
	ReasonConfig     = "config"     // our configuration does not hold together
	ReasonStorage    = "storage"    // our disk
	ReasonBusy       = "busy"       // too much content at once
	ReasonQuarantine = "quarantine" // held
	ReasonUpstream   = "upstream"   // the next server's answer, or none
	ReasonTimeout    = "timeout"    // the client stopped amid the content
	ReasonLost       = "lost"       // the client went amid the content, or we left it
	ReasonPanic      = "panic"      // ours
	ReasonRewrite    = "rewrite"    // an edit that could not be carried out
	ReasonSigning    = "signing"    // a signature that could not be made
)

// Reasons lists the values of the reason label of rejects.
func Reasons() []string {
	return []string{
		ReasonFilter, ReasonAddress, ReasonUTF8, ReasonSequence, ReasonSize, ReasonRelay, ReasonSender, ReasonLogin, ReasonTLS, ReasonUnknown, ReasonDirectory,
		ReasonRecipients, ReasonSplit, ReasonConfig, ReasonStorage, ReasonBusy, ReasonQuarantine, ReasonUpstream, ReasonTimeout, ReasonLost, ReasonPanic, ReasonRewrite, ReasonSigning,
	}
}

// Whether a message left as it came.
const (
	ChangedNo        = "no"
	ChangedAnnotated = "annotated" // a text has more in it
	ChangedStripped  = "stripped"
	ChangedRebuilt   = "rebuilt"
)

// What became of a recipient, and who knew.
const (
	RecipientAccepted  = "accepted"
	RecipientUnknown   = "unknown"
	RecipientRelay     = "relay_denied"
	RecipientDeferred  = "deferred"
	RecipientOverLimit = "over_limit"
	RecipientRefused   = "refused"

	SourceNone   = "none"
	SourceStatic = "static"
	SourceAsked  = "callout"
	SourceLDAP   = "ldap"
	SourceCache  = "cache"
)

// noMetrics counts nothing.
type noMetrics struct{}

func (noMetrics) ConnectionOpened(string)                            {}
func (noMetrics) ConnectionClosed(string, string, time.Duration)     {}
func (noMetrics) ConnectionRejected(string, string)                  {}
func (noMetrics) EarlyTalk(string, string)                           {}
func (noMetrics) Tarpit(string)                                      {}
func (noMetrics) Command(string, string, int)                        {}
func (noMetrics) Reject(string, string, mail.Reply, string)          {}
func (noMetrics) TLSHandshake(string, string, string)                {}
func (noMetrics) DataDuration(string, time.Duration)                 {}
func (noMetrics) Message(string, filter.Action, string, bool, int64) {}
func (noMetrics) Score(float64)                                      {}
func (noMetrics) Again(string, string)                               {}
func (noMetrics) Recipient(string, string)                           {}
func (noMetrics) Auth(string, string)                                {}
func (noMetrics) Panic()                                             {}

func (gw *Gateway) metrics() Metrics {
	if gw.Metrics == nil {
		return noMetrics{}
	}
	return gw.Metrics
}
