package doctor

import (
	"crypto/rand"
	"strings"

	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/upstream"
)

// foreign is a recipient that is nobody's: the domain is reserved (RFC 2606 3), and takes no mail.
const foreign = "postern-doctor@example.com"

// envelope asks about recipients, in transactions that end with RSET.
func (v *visit) envelope(d *dialog) {
	if v.domain != "" && !v.own(d) {
		return
	}
	if _, err := d.say("RSET"); err != nil {
		return
	}
	if !v.others(d) {
		return
	}
	v.step("relaying")
	v.relay(d)
}

// own asks about recipients of ours, as a bounce would come to them. False ends the dialog.
func (v *visit) own(d *dialog) bool {
	r, err := d.say("MAIL FROM:<>")
	if !v.accepted(d, r, err) {
		return false
	}
	postmaster, random := address("postmaster@"+v.domain), address("postern-"+strings.ToLower(rand.Text())+"@"+v.domain)
	known, err := d.say("RCPT TO:<%s>", postmaster)
	switch {
	case err != nil:
		v.find("broken", Fault, "to RCPT for %s %s", postmaster, said(known, err))
		return false
	case !known.Positive() && v.refusedUs(d, postmaster, known):
		return true
	}
	if r, err = d.say("RCPT TO:<%s>", random); err != nil {
		v.find("broken", Fault, "to RCPT for %s, which nobody can have, %s", random, said(r, err))
		return false
	}
	switch unclear := v.subject(d, mail.Address{}, random, r) == upstream.SubjectOther; {
	case known.Positive():
	case r.Permanent() && unclear && r.Code == known.Code && r.Text == known.Text:
		v.find("refuses", Fault, "for %s as for one that nobody can have it said %s", postmaster, words(known))
		return true
	default:
		v.find("postmaster-inside", Warning, "for %s it said %s", postmaster, words(known))
	}
	v.unknown(d, random, r)
	return true
}

const (
	// maxDomains is how many domains of a server are asked about, and maxPerMail how many in one transaction: RFC 5321
	// 4.5.3.1.8 has every server take 100 recipients.
	maxDomains = 200
	maxPerMail = 50
	// enough is how many domains are named that a server does not take mail for: each refusal may come late.
	enough = 5
)

// others asks whether mail for the other domains is taken at all: a server may have been told of the first alone.
func (v *visit) others(d *dialog) bool {
	denied := 0
	for i, domain := range v.server.Domains[min(1, len(v.server.Domains)):min(maxDomains, len(v.server.Domains))] {
		if i == 0 {
			v.step("other domains")
		}
		if i%maxPerMail == 0 {
			if _, err := d.say("RSET"); err != nil {
				return false
			}
			if r, err := d.say("MAIL FROM:<>"); err != nil || r.Code != 250 {
				return err == nil
			}
		}
		to := address("postmaster@" + domain)
		r, err := d.say("RCPT TO:<%s>", to)
		if err != nil {
			v.find("broken", Fault, "to RCPT for %s %s", to, said(r, err))
			return false
		}
		if !r.Positive() && v.subject(d, mail.Address{}, to, r) == upstream.SubjectRelay {
			v.find("relay-denied", Fault, "for %s, a domain of ours, it said %s", to, words(r))
			if denied++; denied == enough {
				break
			}
		}
	}
	_, err := d.say("RSET")
	return err == nil
}

// accepted looks at the reply to MAIL.
func (v *visit) accepted(d *dialog, r mail.Reply, err error) bool {
	if err == nil && d.took >= v.limits.Slow {
		v.find("slow", Warning, "its reply to MAIL came after %s", took(d.took))
	}
	switch {
	case err == nil && r.Code == 250:
		return true
	case r.Code == 452 || r.Enhanced[1] == 3 && r.Enhanced[0] == 4: // RFC 3463 3.4: the system is full, or short of something
		v.find("resources", Fault, "to MAIL %s", said(r, err))
	default:
		v.find("mail", Fault, "to MAIL FROM:<> %s", said(r, err))
	}
	return false
}

// refusedUs notes a refusal that is about us, and reports whether it was one.
func (v *visit) refusedUs(d *dialog, to mail.Address, r mail.Reply) bool {
	switch v.subject(d, mail.Address{}, to, r) {
	case upstream.SubjectRelay:
		v.find("relay-denied", Fault, "for %s, a domain of ours, it said %s", to, words(r))
	case upstream.SubjectHost:
		v.find("host", Fault, "for %s it said %s", to, words(r))
	case upstream.SubjectDialog:
		v.find("mail", Fault, "for %s it said %s", to, words(r))
	case upstream.SubjectOther:
		if !r.Temporary() {
			return false
		}
		v.find("deferred", Warning, "for %s it said %s", to, words(r))
	default:
		return false
	}
	return true
}

// unknown looks at the reply for a mailbox that nobody can have.
func (v *visit) unknown(d *dialog, to mail.Address, r mail.Reply) {
	s := v.server
	switch {
	case r.Positive() && s.Recipients == Listed:
		v.find("unknown-taken", Note, "it took %s, which nobody can have; our own list refuses such recipients before it", to)
	case r.Positive():
		v.find("unknown-taken", Fault, "it took %s, which nobody can have", to)
	case v.refusedUs(d, to, r):
	case r.Temporary():
		v.find("unknown-deferred", Warning, "for %s, which nobody can have, it said %s", to, words(r))
	case s.Recipients == Asked && d.took >= s.Callout:
		v.find("tarpit", Warning, "its refusal of %s took %s, and a client's RCPT waits %s for it", to, took(d.took), took(s.Callout))
	}
}

// relay asks whether mail for a domain that is not ours would be taken. The sender's domain is our own name, which no rule
// about senders of the domain behind can be for.
func (v *visit) relay(d *dialog) {
	from, to := address("postmaster@"+v.server.Hello), address(foreign)
	if from.IsZero() {
		return
	}
	r, err := d.say("MAIL FROM:<%s>", from)
	if err != nil || r.Code != 250 {
		v.find("sender", Warning, "to MAIL FROM:<%s>, our own name, %s", from, said(r, err))
		return
	}
	r, err = d.say("RCPT TO:<%s>", to)
	switch {
	case err != nil:
		v.find("broken", Fault, "to RCPT for %s %s", to, said(r, err))
		return
	case r.Positive() && !v.server.Outward:
		v.find("trusted", Fault, "it took %s, a domain that is not ours: it would relay anywhere what comes from us", to)
	case !r.Positive() && v.server.Outward && v.subject(d, from, to, r) != upstream.SubjectOther:
		v.find("relay-denied", Fault, "mail for everybody goes to this server, and for %s it said %s", to, words(r))
	}
	_, _ = d.say("RSET")
}

// address reads an address; the zero one stands for none.
func address(s string) mail.Address {
	a, err := mail.ParseAddress(s)
	if err != nil {
		return mail.Address{}
	}
	return a
}
