package edge

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/mail"
)

// The messages that say what became of mail. There is one MsgDelivery line for each recipient, refused
// ones and those of refused messages among them, and one MsgVerdict line for each message whose content
// was judged.
const (
	MsgDelivery = "delivery"
	MsgVerdict  = "verdict"
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
	KeyAction        = "action"         // continue, tag, quarantine, defer, reject
	KeyBecause       = "because"        // what decided
	KeyScore         = "score"          // of all enforced findings
	KeyCode          = "code"           // of our reply
	KeyReply         = "reply"          // our reply
	KeyUpstream      = "upstream"       // its name, and the server that answered
	KeyUpstreamReply = "upstream_reply" // its own words
	KeyMS            = "ms"             // milliseconds since MAIL
	KeyStage         = "stage"          // helo, mail, rcpt, eod: where it was refused
	KeyRoute         = "route"
	KeyPolicy        = "policy"
	KeyFilter        = "filter"   // one stage, in a line about it
	KeyFilters       = "filters"  // each stage: phase, outcome, ms
	KeyFindings      = "findings" // each finding and its score
	KeyEdits         = "edits"    // what was changed
	KeyWould         = "would"    // what would have been done if all that observes were enforced
	KeyWouldBecause  = "would_because"
	KeyError         = "error"
	KeyStack         = "stack"
)

// Keys lists the keys of the log.
func Keys() []string {
	return []string{
		KeyID, KeyListener, KeyClient, KeyHelo, KeyFrom, KeyTo, KeyMessageID, KeySize, KeyAction, KeyBecause, KeyScore,
		KeyCode, KeyReply, KeyUpstream, KeyUpstreamReply, KeyMS, KeyStage, KeyRoute, KeyPolicy, KeyFilter, KeyFilters, KeyFindings, KeyEdits,
		KeyWould, KeyWouldBecause, KeyError, KeyStack,
	}
}

// Privacy is how much of an address the log shows.
type Privacy uint8

// The degrees.
const (
	PrivacyFull   Privacy = iota // user@example.org
	PrivacyDomain                // *@example.org
	PrivacyHash                  // the first 16 hex digits of the mailbox's SHA-256, "@", the domain
)

// Show writes an address as the log may show it.
func (p Privacy) Show(a mail.Address) string {
	if a.IsZero() {
		return ""
	}
	switch p {
	case PrivacyDomain:
		return "*@" + a.Domain()
	case PrivacyHash:
		sum := sha256.Sum256([]byte(a.Mailbox()))
		return hex.EncodeToString(sum[:8]) + "@" + a.Domain()
	}
	return a.String()
}

// words gives what the log may show of a next server's reply, which often repeats the recipient: its codes
// only, where addresses are not shown.
func (p Privacy) words(reply string) string {
	if p == PrivacyFull || reply == "" {
		return reply
	}
	words := strings.SplitN(reply, " ", 3)
	if len(words) > 1 && strings.Count(words[1], ".") == 2 && strings.Trim(words[1], "0123456789.") == "" {
		return words[0] + " " + words[1]
	}
	return words[0]
}

// fate is what became of one recipient, for the log.
type fate struct {
	stage         string
	action        filter.Action
	because       string
	score         float64
	reply         mail.Reply
	route         string
	upstream      string
	upstreamReply string
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
	gw := t.gw
	attrs := []slog.Attr{
		slog.String(KeyID, t.in.ID),
		slog.String(KeyListener, s.w.cfg.Name),
		slog.String(KeyClient, s.in.Client.Addr().String()),
		slog.String(KeyHelo, s.in.Helo),
		slog.String(KeyFrom, gw.Privacy.Show(t.in.From)),
		slog.String(KeyTo, gw.Privacy.Show(to)),
		slog.String(KeyMessageID, f.messageID),
		slog.Int64(KeySize, f.size),
		slog.String(KeyStage, f.stage),
		slog.String(KeyAction, f.action.String()),
		slog.String(KeyBecause, f.because),
		slog.Float64(KeyScore, f.score),
		slog.Int(KeyCode, f.reply.Code),
		slog.String(KeyReply, f.reply.String()),
		slog.String(KeyRoute, f.route),
		slog.String(KeyUpstream, f.upstream),
		slog.String(KeyUpstreamReply, gw.Privacy.words(f.upstreamReply)),
		slog.Int64(KeyMS, time.Since(t.began).Milliseconds()),
	}
	if f.err != nil {
		attrs = append(attrs, slog.String(KeyError, f.err.Error()))
	}
	gw.Log.LogAttrs(context.WithoutCancel(s.w.ctx), slog.LevelInfo, MsgDelivery, attrs...)
}

// recordVerdict writes the one line that explains a message.
func (s *session) recordVerdict(t *transaction, j *judged) {
	v := &j.verdict
	attrs := []slog.Attr{
		slog.String(KeyID, t.in.ID),
		slog.String(KeyListener, s.w.cfg.Name),
		slog.String(KeyRoute, j.to.route.Name),
		slog.String(KeyPolicy, j.to.policyName),
		slog.String(KeyMessageID, j.messageID),
		slog.Int64(KeySize, j.content.Blob().Size()),
		slog.String(KeyAction, v.Action.String()),
		slog.String(KeyBecause, v.Because),
		slog.Float64(KeyScore, v.Score),
		slog.String(KeyWould, v.Would.String()),
		slog.String(KeyWouldBecause, v.WouldBecause),
		slog.Any(KeyFilters, j.reports.Summaries()),
		slog.Any(KeyFindings, v.Findings),
		slog.Any(KeyEdits, describe(v.Edits)),
	}
	t.gw.Log.LogAttrs(context.WithoutCancel(s.w.ctx), slog.LevelInfo, MsgVerdict, attrs...)
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
