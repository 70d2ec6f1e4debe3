package spf

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/internal/dns"
	"github.com/postern-mail/postern/internal/dns/zone"
)

// counter counts the questions that go out.
type counter struct{ questions atomic.Int64 }

func (c *counter) DNSQuery(dns.Query) { c.questions.Add(1) }
func (c *counter) DNSCache(bool)      {}
func (c *counter) DNSBudget(string)   {}

// costly publishes a record that costs as much as RFC 7208 4.6.4 lets one: ten "mx" of ten hosts each, ten names of the
// client for a macro, and an explanation.
func costly(domain string) string {
	var b, terms strings.Builder
	for i := range 10 {
		fmt.Fprintf(&terms, " mx:m%d.%s", i, domain)
		for j := range 10 {
			fmt.Fprintf(&b, "m%d.%s MX 10 h%d-%d.%s\nh%d-%d.%s A 198.51.100.1\n", i, domain, i, j, domain, i, j, domain)
		}
	}
	return fmt.Sprintf("%s TXT v=spf1%s -all exp=%%{p1}.why.%s\nunknown.why.%s TXT asked %s\n", domain, terms.String(), domain, domain, domain) + b.String()
}

// TestOwnBudget: the greatest record is evaluated though others have used up what look-ups for the message may cost, takes
// nothing from them, and leaves too little for a second one, of the HELO name.
func TestOwnBudget(t *testing.T) {
	zones := costly("example.org") + costly("mail.example.org")
	for i := range 10 {
		zones += fmt.Sprintf("1.2.0.192.in-addr.arpa PTR n%d.example\nn%d.example A 198.51.100.2\n", i, i)
	}
	s, err := zone.Serve(zones)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r, err := dns.New([]netip.AddrPort{netip.MustParseAddrPort(s.Addr())})
	if err != nil {
		t.Fatal(err)
	}
	count := new(counter)
	r.Observe(count)
	_, f := build(t, r, "")
	got, err := f.Check(dns.WithBudget(t.Context(), dns.NewBudget(0, time.Hour)), input(t, "user@example.org"))
	if err != nil {
		t.Fatal(err)
	}
	fact, _ := auth.SPF.Among(got.Facts)
	if fact.Result != auth.Fail || fact.Explanation != "asked example.org" {
		t.Errorf("got %s %q: %s", fact.Result, fact.Explanation, fact.Reason)
	}
	fact, _ = auth.HeloSPF.Among(got.Facts)
	if fact.Result != auth.TempError || !strings.Contains(fact.Reason, "asked enough") {
		t.Errorf("HELO: got %s: %s", fact.Result, fact.Reason)
	}
	if n := count.questions.Load(); n != questions {
		t.Errorf("%d questions went out, not %d", n, questions)
	}
}

// starvedDNS has an empty budget for the client's names, or for their addresses.
type starvedDNS struct {
	fakeDNS
	names []string
}

func (d starvedDNS) LookupAddr(context.Context, string) ([]string, error) {
	if d.names == nil {
		return nil, fmt.Errorf("wrapped: %w", dns.ErrBudget)
	}
	return d.names, nil
}

func (d starvedDNS) LookupIPAddr(context.Context, string) ([]net.IPAddr, error) {
	return nil, fmt.Errorf("wrapped: %w", dns.ErrBudget)
}

// TestStarvedNamesAreNoMismatch: RFC 7208 5.5 takes failures of the client's names for no match; that we would not ask
// is no such failure.
func TestStarvedNamesAreNoMismatch(t *testing.T) {
	for _, names := range [][]string{nil, {"a.example.org."}} {
		d := starvedDNS{fakeDNS{txt: map[string][]string{"example.org": {"v=spf1 ptr -all"}}}, names}
		_, f := build(t, d, "")
		got, err := f.Check(t.Context(), input(t, "user@example.org"))
		if err != nil {
			t.Fatal(err)
		}
		if fact, _ := auth.SPF.Among(got.Facts); fact.Result != auth.TempError {
			t.Errorf("%q: got %s: %s", names, fact.Result, fact.Reason)
		}
	}
}
