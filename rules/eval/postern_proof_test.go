package eval

import (
	"testing"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
)

// TestProof: whoever writes that a message came by way of a list gains nothing, unless SPF or DKIM say that the list or the author sent it.
func TestProof(t *testing.T) {
	const message = "From: Ann <ann@b.example>\nMessage-ID: <1@c.example>\nList-Id: Talk <talk.lists.d.example>\nPrecedence: list\n\n"
	spf := func(domain, mechanism string) filter.Fact {
		return auth.SPF.Of(auth.SPFResult{Result: auth.Pass, Domain: domain, Identity: "mailfrom", Mechanism: mechanism})
	}
	dkim := func(r auth.DKIMResult) filter.Fact { return auth.DKIM.Of([]auth.DKIMResult{r}) }
	for name, c := range map[string]struct {
		fact         filter.Fact
		list, proven bool
	}{
		"nothing":                     {spf("e.example", "mx"), false, false},
		"the list by SPF":             {spf("lists.d.example", "mx"), true, false},
		"the list, as all the world":  {spf("lists.d.example", "+all"), false, false},
		"the list by DKIM":            {dkim(auth.DKIMResult{Result: auth.Pass, Domain: "d.example", KeyBits: 2048}), true, false},
		"the list, by a weak key":     {dkim(auth.DKIMResult{Result: auth.Pass, Domain: "d.example", KeyBits: 512}), false, false},
		"a part of what the list had": {dkim(auth.DKIMResult{Result: auth.Pass, Domain: "d.example", KeyBits: 2048, Limited: true}), false, false},
		"a signature that fails":      {dkim(auth.DKIMResult{Result: auth.Fail, Domain: "d.example", KeyBits: 2048}), false, false},
		"the author by DKIM":          {dkim(auth.DKIMResult{Result: auth.Pass, Domain: "mail.b.example", KeyBits: 2048}), true, true},
		"the author by DMARC":         {auth.DMARC.Of(auth.DMARCResult{Result: auth.Pass, From: "b.example", Record: "v=DMARC1"}), true, true},
	} {
		t.Run(name, func(t *testing.T) {
			m := posternMail(t, message)
			m.In = &filter.Input{Session: &filter.Session{}, Transaction: &filter.Transaction{}, Content: m.Text.Content()}
			m.In.Transaction.Record(c.fact)
			for call, want := range map[string]bool{"postern_list": c.list, "postern_proven": c.proven, "postern_message_id_differs": !c.list} {
				check, err := Functions()[call].Compile(posternSettings(t), nil)
				if err != nil {
					t.Fatal(err)
				}
				if n, _ := check(m); n > 0 != want {
					t.Errorf("%s: %v", call, n > 0)
				}
			}
		})
	}
}

func TestServers(t *testing.T) {
	for name, want := range map[string]bool{
		"mta2.a.example": true, "a.example": true, "out-1.A.example.": true, "192-0-2-7.a.example": false, "x.dsl.a.example": false,
		"mta.ba.example": false, "ba.example": false, "": false, ".a.example": false,
	} {
		if isServerOf(name, "a.example") != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
}
