package eval

import (
	"regexp"
	"slices"
	"strings"

	"github.com/postern-mail/postern/filter/auth"
)

// leastKey is how many bits a key has to have that proves something (RFC 8301 3.2).
const leastKey = 1024

// sentBy reports whether it is known that an organisation sent the message, or let it pass: its reverse-path passes SPF, a signature of
// its verifies, or the client is a host of its. What stands in the message proves nothing.
func (m *Mail) sentBy(org string) bool {
	if m.In == nil {
		return false
	}
	named := isServerOf(m.Text.Options().Client.Name, org)
	if r, ok := m.spf(false); ok && orgOf(r.Domain) == org {
		if r.Result == auth.Pass && !r.Everybody() {
			return true
		}
		named = named && r.Result == auth.None // who says which servers are his means no other
	}
	if r, ok := auth.DMARC.From(m.In); ok && r.Result == auth.Fail && orgOf(r.From) == org {
		named = false
	}
	if named {
		return true
	}
	all := m.signatures()
	for i := range all {
		if r := &all[i]; relied(r, leastKey) && !r.Limited && orgOf(r.Domain) == org {
			return true
		}
	}
	return false
}

// disowned reports whether an organisation that is said to send the message has it said that it does not: SPF fails, be it softly, for a
// reverse-path of its, or DMARC does, and it wants such mail quarantined or rejected. A proof of somebody else, who sends or forwards for it,
// says nothing against it, and neither does a question without an answer: no record, one that can't be read, a DNS that is out of order.
func (m *Mail) disowned(org string) bool {
	if m.In == nil || org == "" {
		return false
	}
	if r, ok := auth.DMARC.From(m.In); ok && orgOf(r.From) == org {
		switch {
		case r.Result == auth.TempError, r.Override == "trusted_forwarder", r.Override == "mailing_list":
			return false
		case r.Result == auth.Fail && !r.Testing && (r.Policy == "quarantine" || r.Policy == "reject"):
			return true
		}
	}
	r, ok := m.spf(false)
	if !ok || orgOf(r.Domain) != org || r.Result != auth.Fail && r.Result != auth.SoftFail {
		return false
	}
	return !slices.ContainsFunc(m.signatures(), func(r auth.DKIMResult) bool { return r.Result == auth.TempError && orgOf(r.Domain) == org })
}

// servers are the words by which organisations call the servers that send their mail, with numbers and what tells one from another behind them.
var servers = regexp.MustCompile(`^(?:e?mail|e?smtp|mta|mx|mout|out|outbound|outgoing|relay|mailer|mailout|mailhost|mailgate|mailgw|mailserver|mailrelay|smtpout|smtprelay|gateway|gw|lists?|bounces?|exchange)` +
	`(?:[-_](?:in|out|mx|mail|smtp|relay|static|prod))*(?:[-_]?[0-9]{1,3})?(?:[-_][0-9]{1,3}|[-_]?[a-z])?$`)

// isServerOf reports whether a name of a client, which its address confirms, is that of an organisation's own server: the organisation's
// name, or a word for such servers before it. Of other words nobody knows whether they are names of the organisation's machines or of
// its customers, who are many where names are for sale and choose what they like.
func isServerOf(name, org string) bool {
	word, ok := strings.CutSuffix(strings.TrimSuffix(strings.ToLower(name), "."), org)
	if !ok || org == "" || word == "" {
		return ok && org != ""
	}
	word, dot := strings.CutSuffix(word, ".")
	return dot && servers.MatchString(word)
}
