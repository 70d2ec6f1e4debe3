package edge

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/upstream"
)

// selectEngine has a listener served by an engine.
func selectEngine(cfg *ListenerConfig, engine string) { cfg.Engine = engine }

// configure makes one setting of a dialog file. Most have the names of the configuration's keys; besides,
//
//	filter: LINE             a filter that does as it is told, see scripted
//	clock: bubble            the time is the test's, and passes only where everything waits; the connection is a pipe
//	relay: OUTCOME REPLY     what the next server says to every message
//	protocol: lmtp           the next server takes one recipient at a time
//	dsn_inside: true         it offers DSN
//	spool: works, broken or buggy  what is to be spooled, and those who are to be told, go there; none otherwise
//	cached: ADDRESS REPLY    what it said lately to a recipient
//	directory: down          the source of recipients fails
//	quarantine: full, broken or none
//	partner: DOMAIN or NETWORK  whose mail must come within TLS
//	user: NAME PASSWORD SEND  one who may log in, and send as the third word says
func configure(t *testing.T, d *door, cfg *ListenerConfig, key, v string) {
	number := func() int {
		n, err := strconv.Atoi(v)
		if err != nil {
			t.Fatalf("config %s: %v", key, err)
		}
		return n
	}
	duration := func() time.Duration {
		dur, err := time.ParseDuration(v)
		if err != nil {
			t.Fatalf("config %s: %v", key, err)
		}
		return dur
	}
	switch key {
	case "filter", "clock":
	case "hostname":
		d.gw.Hostname = v
	case "xclient":
		cfg.Fronts = append(cfg.Fronts, netip.MustParsePrefix(v))
	case "soft_bounce":
		d.gw.SoftBounce = v == "true"
	case "observe":
		d.gw.Observe = v == "true"
	case "bare_newlines":
		cfg.RejectBare = v == "reject"
	case "message":
		cfg.Limits.Message = int64(number())
	case "header":
		cfg.Limits.Header = int64(number())
	case "recipients":
		cfg.Limits.Recipients = number()
	case "connections":
		cfg.Limits.Connections = number()
	case "per_client":
		cfg.Limits.PerClient = number()
		d.gw.ExemptNetworks = nil
	case "errors":
		cfg.Limits.Errors = number()
	case "idle":
		cfg.Limits.Idle = duration()
	case "data":
		cfg.Limits.Data = duration()
	case "tls":
		cfg.Implicit = v == "implicit"
		if v == "none" {
			cfg.TLS = nil
		}
	case "quarantine_reply":
		if v == "accept" {
			d.gw.Policies["default"].QuarantineReply = QuarantineAccept
		}
	case "quarantine":
		switch v {
		case "full":
			d.quarantine.err = fmt.Errorf("quarantine: %w", syscall.ENOSPC)
		case "broken":
			d.quarantine.err = errors.New("disk on fire")
		case "none":
			d.gw.Quarantine = nil
		}
	case "dsn":
		cfg.DSN = v == "true"
	case "dsn_inside":
		d.relay.dsn = v == "true"
	case "spool":
		d.spool = &fakeSpool{full: v == "buggy"}
		if v == "broken" {
			d.spool.err = errors.New("disk on fire")
		}
		d.gw.Spool = d.spool
	case "chunking":
		cfg.Chunking = v == "true"
	case "temp_dir":
		d.gw.TempDir = v
	case "directory":
		d.gw.Recipients["file"] = fakeRecipients{err: errors.New("directory is down")}
	case "privacy":
		d.gw.Privacy = map[string]Privacy{"domain": PrivacyDomain, "hash": PrivacyHash}[v]
	case "cached":
		addr, rest, _ := strings.Cut(v, " ")
		d.relay.cached = map[string]mail.Reply{addr: parseReply(rest)}
	case "protocol":
		d.relay.one = v == "lmtp"
	case "relay":
		d.relay.answer = relayAnswer(t, v)
	default:
		if !configureRelay(t, d, cfg, key, v) {
			t.Fatalf("unknown setting %q", key)
		}
	}
}

func parseReply(s string) mail.Reply {
	var r mail.Reply
	fmt.Sscanf(s, "%d %d.%d.%d", &r.Code, &r.Enhanced[0], &r.Enhanced[1], &r.Enhanced[2])
	w := strings.SplitN(s, " ", 3)
	r.Text = w[len(w)-1]
	return r
}

func relayAnswer(t *testing.T, v string) func(mail.Envelope) upstream.Outcome {
	word, rest, _ := strings.Cut(v, " ")
	return func(env mail.Envelope) upstream.Outcome {
		out := upstream.Outcome{Server: "backend:25", Stage: upstream.StageDot}
		if rest != "" {
			out.Reply = parseReply(rest)
		}
		switch word {
		case "refused":
			out.Kind = upstream.Refused
		case "recipient":
			out.Kind, out.Stage = upstream.RecipientRefused, upstream.StageRcpt
			out.Refused = map[mail.Address]mail.Reply{env.To[0]: out.Reply}
		case "fault":
			out.Kind, out.Stage = upstream.OurFault, upstream.StageMail
		case "unreachable":
			out.Kind, out.Stage = upstream.Unreachable, upstream.StageDial
		case "unknown":
			out.Kind = upstream.Unknown
		case "panic":
			panic("relay is broken")
		case "zero":
			return upstream.Outcome{}
		default:
			t.Errorf("unknown relay answer %q", v)
		}
		return out
	}
}
