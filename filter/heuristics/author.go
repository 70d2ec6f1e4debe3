package heuristics

import (
	"regexp"
	"strings"

	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/mail"
)

// address is what a reader would take for one in a display name.
var address = regexp.MustCompile(`[A-Za-z0-9._%+-]+@(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}`)

// lookalikes of the "@" that mail programs show as one.
var atSigns = strings.NewReplacer("＠", "@", "﹫", "@")

// author looks at the From field: whom the reader takes for the sender.
func (m *message) author() {
	switch n := m.header.Count("From"); {
	case n == 0:
		if m.lacks("From") {
			m.find(missingFrom, 1, "")
		}
		return
	case n > 1:
		m.find(multipleFrom, 1, "")
	}
	some := false
	for _, box := range m.from {
		some = some || box.Domain() != ""
	}
	if !some {
		m.find(fromNoAddress, 1, m.header.Get("From"))
	}
	for _, box := range m.from {
		if shown := misleading(box); shown != "" {
			m.find(fromDisplayAddress, 1, shown+" for <"+box.Address+">")
			return
		}
	}
}

// misleading gives the address that a mailbox shows in its name though mail to it goes to another domain, or nowhere.
func misleading(box mail.Mailbox) string {
	real := box.Domain()
	for _, shown := range addressesIn(box.Name) {
		if real == "" || !related(domainOf(shown), real) {
			return shown
		}
	}
	return ""
}

// addressesIn lists what a reader would take for addresses in a text.
func addressesIn(text string) []string { return address.FindAllString(atSigns.Replace(text), maxShown) }

// maxShown bounds the addresses that are looked at in one display name.
const maxShown = 10

// domainOf gives the domain of an address as written; "" where there is none.
func domainOf(addr string) string { return mail.Mailbox{Address: addr}.Domain() }

// related reports whether two domains are the same, or one lies below the other.
func related(a, b string) bool {
	return mail.Within(a, b) || mail.Within(b, a)
}

// claims lists the domains that the message says it comes from. Where a mailbox has no address that is one, readers
// show what looks like one.
func (m *message) claims() []string {
	claims := []string{m.in.Transaction.From.Domain()}
	for _, box := range m.from {
		if d := box.Domain(); d != "" {
			claims = append(claims, d)
			continue
		}
		for _, shown := range addressesIn(box.Name + " " + box.Address) {
			claims = append(claims, domainOf(shown))
		}
	}
	return claims
}

// ownDomain looks for mail from outside that claims to come from here. It takes the word of both SPF and DKIM that
// nothing proves the claim: where one was not asked, or could not tell, there is no finding.
func (c *check) ownDomain(m *message) {
	if m.in.Session.Exempt {
		return
	}
	spf, haveSPF := auth.SPF.From(m.in)
	dkim, haveDKIM := auth.DKIM.From(m.in)
	if !haveSPF || !haveDKIM || spf.Result == auth.TempError {
		return
	}
	for _, domain := range m.claims() {
		if domain == "" || !c.ours(domain) {
			continue
		}
		proven := spf.Result == auth.Pass && related(spf.Domain, domain)
		for _, sig := range dkim {
			proven = proven || sig.Result == auth.TempError || sig.Result == auth.Pass && related(sig.Domain, domain)
		}
		if !proven {
			m.find(ownDomainUnproven, 1, domain)
			return
		}
	}
}
