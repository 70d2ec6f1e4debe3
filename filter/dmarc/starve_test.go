package dmarc

import (
	"fmt"
	"strings"
	"testing"

	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/mail"
)

// costly publishes an SPF record of a domain that costs all that RFC 7208 allows: ten mx of ten hosts.
func costly(domain string) string {
	var b, terms strings.Builder
	for i := range 10 {
		fmt.Fprintf(&terms, " mx:m%d.%s", i, domain)
		for j := range 10 {
			fmt.Fprintf(&b, "m%d.%s MX 10 h%d-%d.%s\nh%d-%d.%s A 198.51.100.1\n", i, domain, i, j, domain, i, j, domain)
		}
	}
	return fmt.Sprintf("%s TXT v=spf1%s -all\n", domain, terms.String()) + b.String()
}

// TestCostlySender: records of the sender's own that use up what look-ups may cost are no way around the policy of the
// domain that it claims to write for, be it with a signature in its name that nobody can be asked about any more.
func TestCostlySender(t *testing.T) {
	zones := costly("evil.example") + costly("helo.example") +
		"victim.example A 192.0.2.9\n_dmarc.victim.example TXT v=DMARC1; p=reject\ntest._domainkey.victim.example TXT v=DKIM1; p=\n"
	text := "From: boss@victim.example\nSubject: pay\nDate: Thu, 26 Nov 2026 01:00:00 +0000\nMessage-ID: <1@evil.example>\n\npay\n"
	text = signature(t, "victim.example", text) + text
	c := newChain(t, zones, "")
	from, err := mail.ParseAddress("x@evil.example")
	if err != nil {
		t.Fatal(err)
	}
	_, fact := c.run(t, "192.0.2.66", "helo.example", from, text)
	if fact.Result != auth.Fail || fact.Policy != reject {
		t.Errorf("got %s, policy %s: %s", fact.Result, fact.Policy, fact.Reason)
	}
}
