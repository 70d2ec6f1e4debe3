package edge

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/pipeline"
)

// The messages that say what became of mail. There is one MsgDelivery line for each recipient, refused
// ones, those of refused messages and those whose message never came among them, and one MsgVerdict line for each message whose content
// was judged and for each client, sender or recipient that filters refused before; where one held verdict
// refuses recipient after recipient, the first has it.
const (
	MsgDelivery = "delivery"
	MsgVerdict  = "verdict"
	MsgAuth     = "auth" // one line for each login that was tried
)

// The keys of the log. No other is used in this package.
const (
	KeyID            = "id"             // of the transaction; of the connection where a client was refused at EHLO
	KeyListener      = "listener"       // its name in the configuration
	KeyClient        = "client"         // IP address
	KeyHelo          = "helo"           // what the client calls itself
	KeyFrom          = "from"           // reverse-path, "" for the null one
	KeyTo            = "to"             // one recipient
	KeyMessageID     = "message_id"     // the Message-ID field
	KeySize          = "size"           // octets of content
	KeyAction        = "action"         // continue, tag, quarantine, defer, reject; ActionAborted
	KeyBecause       = "because"        // what decided
	KeyScore         = "score"          // of all enforced findings
	KeyCode          = "code"           // of our reply
	KeyReply         = "reply"          // our reply
	KeyUpstream      = "upstream"       // its name, and the server that answered
	KeyUpstreamReply = "upstream_reply" // its own words
	KeySigned        = "signed"         // the signatures put on it, or why there are none; only where something is signed
	KeyQueued        = "queued"         // why it went into the spool; only where it did
	KeyAgain         = "again"          // the id under which the message came before; only where it did
	KeyMS            = "ms"             // milliseconds since MAIL
	KeyVerb          = "verb"           // the command, in a line about one
	KeyStage         = "stage"          // helo, mail, rcpt, eod: where it was decided
	KeyRoute         = "route"
	KeyPolicy        = "policy"
	KeyFilter        = "filter"   // one stage, in a line about it
	KeyFilters       = "filters"  // each stage: phase, outcome, ms
	KeyFindings      = "findings" // each finding and its score
	KeyWaivers       = "waivers"  // what did not count, and by which entry
	KeyEdits         = "edits"    // what was changed
	KeyWould         = "would"    // what would have been done if all that observes were enforced
	KeyWouldBecause  = "would_because"
	KeyWouldEdits    = "would_edits" // what would have been changed then, where that is more
	KeyUser          = "user"        // who has logged in, or tried to
	KeyMechanism     = "mechanism"   // of AUTH
	KeyTLS           = "tls"         // none, starttls, implicit
	KeyResult        = "result"      // of a login: AuthResults
	KeyError         = "error"
	KeyStack         = "stack"
)

// Keys lists the keys of the log.
func Keys() []string {
	return []string{
		KeyID, KeyListener, KeyClient, KeyHelo, KeyFrom, KeyTo, KeyMessageID, KeySize, KeyAction, KeyBecause, KeyScore,
		KeyCode, KeyReply, KeyUpstream, KeyUpstreamReply, KeySigned, KeyQueued, KeyAgain, KeyMS, KeyVerb, KeyStage, KeyRoute, KeyPolicy, KeyFilter, KeyFilters, KeyFindings, KeyWaivers, KeyEdits,
		KeyUser, KeyMechanism, KeyTLS, KeyResult, KeyWould, KeyWouldBecause, KeyWouldEdits, KeyError, KeyStack,
	}
}

// ActionAborted stands in the place of an action where a transaction ended before it had a message.
const ActionAborted = "aborted"

// fate is what became of one recipient, for the log.
type fate struct {
	stage         string
	action        filter.Action
	aborted       bool // no action was taken: the message never came
	because       string
	score         float64
	reply         mail.Reply
	route         string
	upstream      string
	upstreamReply string
	signed        string
	queued        string
	again         string
	messageID     string
	size          int64
	err           error
}

// actionOf gives the action that a reply amounts to.
func actionOf(r mail.Reply) filter.Action {
	switch {
	case r.Permanent():
		return filter.Reject
	case r.Temporary():
		return filter.Defer
	}
	return filter.Continue
}

// record writes the one line of a recipient. The zero Address stands for a transaction that ended before
// it had one.
func (s *session) record(t *transaction, to mail.Address, f fate) {
	defer s.contain()
	gw := t.gw
	if !gw.Log.Enabled(context.Background(), slog.LevelInfo) {
		return
	}
	action := f.action.String()
	if f.aborted {
		action = ActionAborted
	}
	attrs := append(make([]slog.Attr, 0, 23),
		slog.String(KeyID, t.in.ID),
		slog.String(KeyListener, s.w.cfg.Name),
		slog.String(KeyClient, s.clientName()),
		slog.String(KeyHelo, s.in.Helo),
		slog.String(KeyFrom, gw.Privacy.Show(t.in.From)),
		slog.String(KeyTo, gw.Privacy.Show(to)),
		slog.String(KeyMessageID, f.messageID),
		slog.Int64(KeySize, f.size),
		slog.String(KeyStage, f.stage),
		slog.String(KeyAction, action),
		slog.String(KeyBecause, gw.Privacy.Mask(f.because)),
		slog.Float64(KeyScore, f.score),
		slog.Int(KeyCode, f.reply.Code),
		slog.String(KeyReply, gw.Privacy.Mask(f.reply.String())),
		slog.String(KeyRoute, gw.Privacy.Mask(f.route)),
		slog.String(KeyUpstream, f.upstream),
		slog.String(KeyUpstreamReply, gw.Privacy.words(f.upstreamReply)),
		slog.Int64(KeyMS, time.Since(t.began).Milliseconds()),
	)
	if s.in.User != "" {
		attrs = append(attrs, slog.String(KeyUser, gw.Privacy.name(s.in.User)))
	}
	if f.signed != "" {
		attrs = append(attrs, slog.String(KeySigned, gw.Privacy.Mask(f.signed)))
	}
	if f.queued != "" {
		attrs = append(attrs, slog.String(KeyQueued, f.queued))
	}
	if f.again != "" {
		attrs = append(attrs, slog.String(KeyAgain, f.again))
	}
	if f.err != nil {
		attrs = append(attrs, gw.fault(f.err))
	}
	r := slog.NewRecord(time.Now(), slog.LevelInfo, MsgDelivery, 0)
	r.AddAttrs(slog.Attr{Value: slog.GroupValue(attrs...)}) // without a name: as if they were the record's own
	_ = gw.Log.Handler().Handle(context.Background(), r)
}

// clientName gives the client's address as the log has it.
func (s *session) clientName() string {
	if a := s.in.Client.Addr(); a != s.shown.addr {
		s.shown.addr, s.shown.as = a, a.String()
	}
	return s.shown.as
}

// judgement is what a verdict line explains.
type judgement struct {
	id        string
	stage     string
	to        mail.Address // whom a refusal at RCPT is about; else zero
	route     string
	policy    string
	messageID string
	size      int64
	reports   pipeline.Reports
	verdict   *pipeline.Verdict
}

// explainsNothing reports whether no filter has run and nothing was found.
func (j *judgement) explainsNothing() bool {
	return len(j.reports) <= 1 && len(j.verdict.Findings) == 0 && j.verdict.Action == filter.Continue && j.verdict.Would == filter.Continue
}

// recordVerdict writes the line that explains a verdict.
func (s *session) recordVerdict(gw *Gateway, j judgement) {
	v := j.verdict
	if j.explainsNothing() || !gw.Log.Enabled(context.Background(), slog.LevelInfo) {
		return
	}
	attrs := []slog.Attr{
		slog.String(KeyID, j.id),
		slog.String(KeyListener, s.w.cfg.Name),
		slog.String(KeyStage, j.stage),
		slog.String(KeyRoute, gw.Privacy.Mask(j.route)),
		slog.String(KeyPolicy, j.policy),
		slog.String(KeyMessageID, j.messageID),
		slog.Int64(KeySize, j.size),
		slog.String(KeyAction, v.Action.String()),
		slog.String(KeyBecause, gw.Privacy.Mask(v.Because)),
		slog.Float64(KeyScore, v.Score),
		slog.String(KeyWould, v.Would.String()),
		slog.String(KeyWouldBecause, gw.Privacy.Mask(v.WouldBecause)),
		slog.Any(KeyFilters, gw.Privacy.summaries(j.reports)),
		slog.Any(KeyFindings, gw.Privacy.findings(v.Findings)),
		slog.Any(KeyEdits, describe(v.Edits)),
	}
	if !j.to.IsZero() {
		attrs = append(attrs, slog.String(KeyTo, gw.Privacy.Show(j.to)))
	}
	if len(v.WouldEdits) > len(v.Edits) {
		attrs = append(attrs, slog.Any(KeyWouldEdits, describe(v.WouldEdits)))
	}
	if len(v.Waivers) > 0 {
		attrs = append(attrs, slog.Any(KeyWaivers, v.Waivers))
	}
	gw.Log.LogAttrs(context.Background(), slog.LevelInfo, MsgVerdict, attrs...)
}

// fault puts what went wrong into a line: an error, or what a panic was given.
func (gw *Gateway) fault(v any) slog.Attr {
	return slog.String(KeyError, gw.Privacy.Mask(fmt.Sprint(v)))
}

// describe writes edits for people.
func describe(edits []mail.Edit) []string {
	out := make([]string, 0, len(edits))
	for _, e := range edits {
		if t, ok := e.(fmt.Stringer); ok {
			out = append(out, t.String())
		} else {
			out = append(out, fmt.Sprintf("%T", e))
		}
	}
	return out
}

// brief cuts a field's body to what a log line can bear.
func brief(s string) string {
	const limit = 250
	if len(s) > limit {
		s = s[:limit]
	}
	return strings.ToValidUTF8(strings.TrimSpace(s), "?")
}
