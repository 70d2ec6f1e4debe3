package upstream

import (
	"net/netip"
	"regexp"
	"strings"
	"unicode"

	"github.com/postern-mail/postern/mail"
)

// A server inside that judges the host it talks with judges us: to it, the client of all mail is this
// gateway. Whatever it finds against our address, our name, our entry in DNS or in a block list, and SPF
// asked for our address, says nothing about the message, however permanent it calls that: it becomes a
// 4yz for the client, and an alarm. Servers give such judgements in reply to RCPT as a rule (Postfix:
// smtpd_delay_reject), some to DATA, a few to the final dot.
//
// The codes for it are young, and most servers say 5.7.1 for everything, so that the words decide. Where
// they leave a doubt, the fault is ours: a 4yz too many costs a retry, a 5yz too many loses a message.
// The reply to the final dot is the exception. There the content is known, and may be what the words are
// about: only what clearly names the host counts.

// counts says how much a phrase is believed.
type counts uint8

const (
	always        counts = iota // whatever else the reply says
	beforeContent               // where the reply gives neither a mailbox nor the sender as the reason
)

// hostPhrases are the words by which servers speak of the host that talks with them; the text is in lower
// case.
var hostPhrases = []struct {
	text  *regexp.Regexp
	where counts
}{
	{regexp.MustCompile(`\bclient host\b`), always},          // Postfix: reject_unknown_client_hostname, check_client_access
	{regexp.MustCompile(`\bclient \[`), always},              // Postfix: reject_rbl_client
	{regexp.MustCompile(`\bexternal client\b`), always},      // Exchange: the remote addresses of a receive connector
	{regexp.MustCompile(`\bpermissions? to submit`), always}, // Exchange: the permission groups of a receive connector
	{regexp.MustCompile(`\bhelo command\b`), always},         // Postfix: smtpd_helo_restrictions
	{regexp.MustCompile(`\b(your|sending) ip\b`), always},    // Exchange Online: banned sending IP
	{regexp.MustCompile(`\breverse dns\b`), always},
	{regexp.MustCompile(`\b(helo|ehlo|ptr|rdns)\b`), beforeContent},
	// RFC 7208 4.1: <ip> is the address of the client, and that is ours.
	{regexp.MustCompile(`\b(spf|sender policy framework)\b`), beforeContent},
	// Postfix says so of senders, too: reject_rhsbl_sender.
	{regexp.MustCompile(`\b(blocked using|bl[oa]ck[- ]?list)`), beforeContent},
}

// aboutUs reports whether a refusal of RCPT or DATA speaks about us, and not about the recipient, the
// sender or the message.
func (t *transaction) aboutUs(r mail.Reply) bool {
	return r.Code == 421 || aboutProtocol(r) || aboutSystem(r) || relayDenied(r) || t.aboutHost(r, false)
}

// oursAtDot reports whether a refusal of the final dot speaks about us or the server, and not about the message. Of a 4yz only what
// judges the host does: the client comes again in any case, and may know what for.
func (t *transaction) oursAtDot(r mail.Reply) bool {
	switch {
	case r.Code == 421:
		return true
	case r.Permanent():
		return aboutDialog(r) || aboutSystem(r) || relayAtDot.MatchString(withoutAddresses(r.Text)) || t.aboutHost(r, true)
	}
	return r.Temporary() && t.aboutHost(r, true)
}

// aboutDialog is aboutProtocol for the reply to the final dot, where the content is known: a line of it may be too long (RFC 5321
// 4.5.3.1.9 has 500 for that), its header malformed, and X.5.0 says nothing.
func aboutDialog(r mail.Reply) bool {
	if e := r.Enhanced; !aboutProtocol(r) || e[1] == 6 || e[1] == 3 && e[2] == 4 {
		return false // RFC 3463 3.7: X.6.z is the content; 3.4: X.3.4 is its size
	}
	text := strings.ToLower(r.Text)
	if strings.Contains(text, "line") && strings.Contains(text, "long") {
		return false
	}
	return r.Code < 540 || r.Enhanced[2] != 0
}

// aboutSystem reports whether a refusal says that the server's system is full, takes no mail, or is not as it should be (RFC 3463
// 3.4): about no message, however permanent. 552 is about the size all the same.
func aboutSystem(r mail.Reply) bool {
	if r.Enhanced[1] != 3 || r.Code == 552 {
		return false
	}
	switch r.Enhanced[2] {
	case 1, 2, 3, 5:
		return true
	}
	return false
}

// aboutHost reports whether a refusal is a judgement on us as the host that talks with the server. Where the server was
// told the client's address, that must be said in so many words.
func (t *transaction) aboutHost(r mail.Reply, dot bool) bool {
	if !t.c.proxied {
		return t.judgesHost(r, dot)
	}
	text := withoutAddresses(r.Text)
	return !dot && (namesAddress(text, t.c.localAddr()) || t.namesUs(text))
}

// judgesHost reports whether a refusal is a judgement on the host that talks with the server; dot means
// that it came in reply to the final dot.
func (t *transaction) judgesHost(r mail.Reply, dot bool) bool {
	if hostCode(r.Enhanced, dot) {
		return true
	}
	text := withoutAddresses(r.Text)
	if dot {
		// What follows the beginning may be words of the message, such as a file's name, or a footer that
		// stands below every refusal of the server's.
		return hostAtDot.MatchString(text)
	}
	// RFC 3463 3.2, 3.3: with such a code, or in plain words, the server names the mailbox as the reason.
	mailbox := r.Enhanced != (mail.Enhanced{}) && aboutMailbox(r) || plainMailbox.MatchString(text)
	ofSender := strings.Contains(text, "sender address") || strings.Contains(text, "sender domain") || strings.Contains(text, "recipient address [")
	words := names.ReplaceAllString(text, " ") // whoever is refused has chosen those names
	for _, p := range hostPhrases {
		if p.where == beforeContent && (mailbox || ofSender) {
			continue
		}
		if p.text.MatchString(words) {
			return true
		}
	}
	return !mailbox && !ofSender && (namesAddress(text, t.c.localAddr()) || t.namesUs(text))
}

var (
	// hostAtDot is how a reply to the final dot begins that judges the host: Postfix names the host first.
	hostAtDot = regexp.MustCompile(`^(<[^<>]*>)?:? ?(service unavailable; )?(client host\b|client \[|helo command\b|external client\b|client does not have permissions? to submit)`)
	// relayAtDot is how one begins that says that the server would not relay for us.
	relayAtDot = regexp.MustCompile(`^(smtp|tenantattribution)?[:;]? ?(relay access denied|relaying (is )?(denied|not (permitted|allowed))|unable to relay)\b`)
	// plainMailbox are the words of servers without enhanced codes.
	plainMailbox = regexp.MustCompile(`\b(user unknown|unknown user|no such user|no mailbox|mailbox (unknown|unavailable|not found)|does not exist)\b`)
	// names are host names and URLs.
	names = regexp.MustCompile(`https?://\S+|[a-z0-9_-]+(\.[a-z0-9_-]+)*\.[a-z][a-z0-9_-]+`)
)

// hostCode reports whether an enhanced code alone says that the host is the reason.
func hostCode(e mail.Enhanced, dot bool) bool {
	if e[1] != 7 {
		return false
	}
	switch e[2] {
	case 23, 24, 25: // RFC 7372 3.2, 3.3: SPF, and the name of the address
		return true
	case 26: // RFC 7372 3.4: several checks failed. Without content there is nothing but the host to check.
		return !dot
	}
	// RFC 7372 3.1: 20 to 22 are DKIM's; RFC 7505: 27 is about the sender's domain.
	return false
}

// addresses are the forms in which a reply may quote a path: anyone chooses what stands in one.
var addresses = regexp.MustCompile(`<[^<>]*@[^<>]*>|("(\\.|[^"\\])*"|[^\s<>"',;=()]*)@(\[[^\]]*\]|[^\s<>"',;=()]*)`)

// withoutAddresses gives text in lower case, on one line, without the mail addresses in it.
func withoutAddresses(text string) string {
	text = addresses.ReplaceAllString(strings.ToLower(text), " ")
	return strings.Join(strings.Fields(text), " ")
}

// namesAddress reports whether the text names our end of the connection.
func namesAddress(text string, local netip.Addr) bool {
	if !local.IsValid() {
		return false
	}
	words := strings.FieldsFunc(text, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && r != '.' && r != ':'
	})
	for _, word := range words {
		word = strings.TrimPrefix(word, "ipv6:") // RFC 5321 4.1.3
		for _, s := range []string{word, strings.Trim(word, "."), strings.Trim(word, ".:")} {
			if a, err := netip.ParseAddr(s); err == nil && a.Unmap() == local {
				return true
			}
		}
	}
	return false
}

// namesUs reports whether the text names us as we did in EHLO. A name of one label may be any word, and
// one that is a domain of the envelope may stand for that.
func (t *transaction) namesUs(text string) bool {
	name := strings.ToLower(t.c.hello)
	if !strings.Contains(name, ".") || t.env.From.Domain() == name {
		return false
	}
	for _, a := range t.env.To {
		if a.Domain() == name {
			return false
		}
	}
	words := strings.FieldsFunc(text, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '.' && r != '-' && r != '_'
	})
	for _, word := range words {
		if strings.Trim(word, ".") == name {
			return true
		}
	}
	return false
}
