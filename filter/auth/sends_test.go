package auth

import (
	"testing"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/mail"
)

func TestSendsFor(t *testing.T) {
	bob, err := mail.ParseAddress("bob@example.com")
	if err != nil {
		t.Fatal(err)
	}
	pass := SPFResult{Result: Pass, Domain: "example.com", Identity: "mailfrom", Mechanism: "ip4:192.0.2.0/24"}
	with := func(change func(*SPFResult)) SPFResult {
		r := pass
		change(&r)
		return r
	}
	for _, c := range []struct {
		name string
		from mail.Address
		spf  SPFResult
		want string
	}{
		{"pass", bob, pass, "example.com"},
		{"fail", bob, with(func(r *SPFResult) { r.Result = Fail }), ""},
		{"of another domain", bob, with(func(r *SPFResult) { r.Domain = "example.org" }), ""},
		{"of the HELO name, with a reverse-path", bob, with(func(r *SPFResult) { r.Identity = "helo" }), ""},
		{"of the HELO name, without one", mail.Address{}, with(func(r *SPFResult) { r.Identity, r.Domain = "helo", "mx.example.com" }), "mx.example.com"},
		{"for everybody", bob, with(func(r *SPFResult) { r.Mechanism = "+all" }), ""},
		{"for everybody, in other words", bob, with(func(r *SPFResult) { r.Mechanism = "ip4:0.0.0.0/0" }), ""},
		{"for half of the world", bob, with(func(r *SPFResult) { r.Mechanism = "a:x.example/1" }), ""},
		{"for all of IPv6", bob, with(func(r *SPFResult) { r.Mechanism = "a/24//0" }), ""},
		{"for a /8", bob, with(func(r *SPFResult) { r.Mechanism = "ip4:10.0.0.0/8" }), "example.com"},
	} {
		in := &filter.Input{Session: &filter.Session{}, Transaction: &filter.Transaction{From: c.from}}
		if got := SendsFor(in); got != "" {
			t.Errorf("%s: %q without a result", c.name, got)
		}
		in.Transaction.Record(SPF.Of(c.spf))
		if got := SendsFor(in); got != c.want {
			t.Errorf("%s: %q", c.name, got)
		}
	}
}
