package eval

import (
	"testing"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/rules/text"
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
		"vps7.a.example": false, "srv12.a.example": false, "old-host3.a.example": false, "mailhost3.a.example": true, "mx-static.a.example": true,
		"mail-out-02.a.example": true, "mx1-2.a.example": true, "smtp-prod-a.a.example": true, "lists.a.example": true,
		"john.a.example": false, "outlet.a.example": false, "mailman-smith.a.example": false, "mail1234.a.example": false, "mail.john.a.example": false,
		"mta.ba.example": false, "ba.example": false, "": false, ".a.example": false,
	} {
		if isServerOf(name, "a.example") != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
}

// proofOf is a message that came from a client of a name, and what is known of it.
func proofOf(t *testing.T, from, client string, facts ...filter.Fact) *Mail {
	t.Helper()
	c := mail.NewContent(mail.NewBlob([]byte("From: "+from+"\r\n\r\n")), mail.LineFaults{}, mail.Limits{})
	t.Cleanup(c.Release)
	m := &Mail{Text: text.Of(c, text.Options{Client: text.Client{Name: client}})}
	m.In = &filter.Input{Session: &filter.Session{}, Transaction: &filter.Transaction{}, Content: c}
	m.In.Transaction.Record(facts...)
	return m
}

// TestProofByName: a client's name proves its organisation only where that does not say otherwise.
func TestProofByName(t *testing.T) {
	spf := func(r auth.Result) filter.Fact {
		return auth.SPF.Of(auth.SPFResult{Result: r, Domain: "bounce.a.example", Identity: "mailfrom"})
	}
	dmarc := func(r auth.Result, record string) filter.Fact {
		return auth.DMARC.Of(auth.DMARCResult{Result: r, From: "a.example", Record: record})
	}
	for name, c := range map[string]struct {
		facts  []filter.Fact
		proven bool
	}{
		"nothing":           {nil, true},
		"no record":         {[]filter.Fact{spf(auth.None), dmarc(auth.None, "")}, true},
		"SPF fails":         {[]filter.Fact{spf(auth.Fail)}, false},
		"SPF fails softly":  {[]filter.Fact{spf(auth.SoftFail)}, false},
		"SPF says nothing":  {[]filter.Fact{spf(auth.Neutral)}, false},
		"SPF of others":     {[]filter.Fact{auth.SPF.Of(auth.SPFResult{Result: auth.Fail, Domain: "b.example", Identity: "mailfrom"})}, true},
		"DMARC fails":       {[]filter.Fact{spf(auth.None), dmarc(auth.Fail, "v=DMARC1")}, false},
		"SPF passes":        {[]filter.Fact{spf(auth.Pass)}, true},
		"DMARC alone fails": {[]filter.Fact{dmarc(auth.Fail, "v=DMARC1")}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := proofOf(t, "x@a.example", "mta1.a.example", c.facts...).claims().proven; got != c.proven {
				t.Errorf("proven: %v", got)
			}
		})
	}
}

// TestProvenHouses: of a name that many houses share a domain that begins shortly as theirs do is one that is proven, and one that
// asks for what opens an account is none.
func TestProvenHouses(t *testing.T) {
	pass := func(domain string) filter.Fact {
		return auth.DMARC.Of(auth.DMARCResult{Result: auth.Pass, From: domain, Record: "v=DMARC1"})
	}
	for _, c := range []struct {
		domain           string
		proven, unproven relation
	}{
		{"sparkasse-koelnbonn.de", owner, perhapsHouse},
		{"berliner-volksbank.de", owner, perhapsHouse},
		{"vr-bank-xyz.de", owner, perhapsHouse},
		{"vb-xyz.de", owner, foreign},
		{"ksk-xyz.de", owner, foreign},
		{"sparkasse.de", owner, owner},
		{"sparkasse-pushtan.de", foreign, foreign},
		{"vr-kundenservice.de", foreign, foreign},
		{"xyz-sparkasse.top", foreign, foreign},
		{"sparkasse-login.at", foreign, foreign},
	} {
		b := brandIndex().named([]byte("sparkasse"))
		from := "Sparkasse <x@" + c.domain + ">"
		if got := proofOf(t, from, "", pass(c.domain)).claims().relation(b); got != c.proven {
			t.Errorf("%s, proven: %v", c.domain, got)
		}
		if got := proofOf(t, from, "").claims().relation(b); got != c.unproven {
			t.Errorf("%s: %v", c.domain, got)
		}
	}
}

// TestProvenTops: ours at a cheap top level is ours for nobody, not for who has bought it either and proves that.
func TestProvenTops(t *testing.T) {
	for top, want := range map[string]bool{"top": false, "other": true} {
		check, err := Functions()["postern_lookalike"].Compile(posternSettings(t), []string{"domains", "sender", top})
		if err != nil {
			t.Fatal(err)
		}
		for _, client := range []string{"mta.example.top", "mta.other.example"} {
			if n, _ := check(proofOf(t, "x@example.top", client)); n > 0 != want {
				t.Errorf("%s, %s: %v", top, client, n > 0)
			}
		}
	}
}

// linkedFrom is a message from a sender with links to hosts, and what is known of it.
func linkedFrom(t *testing.T, from string, hosts []string, facts ...filter.Fact) *Mail {
	t.Helper()
	text := "From: " + from + "\n\n"
	for _, h := range hosts {
		text += "http://" + h + "/\n"
	}
	m := posternMail(t, text)
	m.In = &filter.Input{Session: &filter.Session{}, Transaction: &filter.Transaction{}, Content: m.Text.Content()}
	m.In.Transaction.Record(facts...)
	return m
}

// TestForgedHome: who is said not to be the owner of a name gains nothing by links to that. Where nothing is known of who sent a message,
// or another did for the author, links home count.
func TestForgedHome(t *testing.T) {
	spf := func(r auth.Result, domain string) filter.Fact {
		return auth.SPF.Of(auth.SPFResult{Result: r, Domain: domain, Identity: "mailfrom", Mechanism: "mx"})
	}
	dmarc := func(r auth.Result, policy, override string) filter.Fact {
		return auth.DMARC.Of(auth.DMARCResult{Result: r, From: "a.com", Record: "v=DMARC1", Policy: policy, Override: override})
	}
	dkim := func(r auth.Result, domain string) filter.Fact {
		return auth.DKIM.Of([]auth.DKIMResult{{Result: r, Domain: domain, KeyBits: 2048}})
	}
	tested := auth.DMARC.Of(auth.DMARCResult{Result: auth.Fail, From: "a.com", Record: "v=DMARC1", Policy: "reject", Testing: true})
	helo := auth.SPF.Of(auth.SPFResult{Result: auth.Fail, Domain: "a.com", Identity: "helo", Mechanism: "mx"})
	both := []string{"www.a.com", "b.com"}
	for name, c := range map[string]struct {
		hosts     []string
		facts     []filter.Fact
		elsewhere bool
		one       int // links to one host
	}{
		"nobody asked":                    {both, nil, false, 0},
		"nobody asked, none home":         {[]string{"b.com"}, nil, true, 1},
		"proven":                          {both, []filter.Fact{spf(auth.Pass, "mail.a.com")}, false, 0},
		"forged":                          {both, []filter.Fact{spf(auth.Fail, "a.com")}, true, 1},
		"forged, softly":                  {both, []filter.Fact{spf(auth.SoftFail, "mail.a.com")}, true, 1},
		"no record":                       {both, []filter.Fact{spf(auth.None, "a.com"), dmarc(auth.None, "", "")}, false, 0},
		"a record that says nothing":      {both, []filter.Fact{spf(auth.Neutral, "a.com")}, false, 0},
		"a record that can't be read":     {both, []filter.Fact{spf(auth.PermError, "a.com"), dmarc(auth.PermError, "", "")}, false, 0},
		"the DNS is out of order":         {both, []filter.Fact{spf(auth.TempError, "a.com"), dmarc(auth.TempError, "", "")}, false, 0},
		"it is, of a key":                 {both, []filter.Fact{spf(auth.Fail, "a.com"), dkim(auth.TempError, "mail.a.com")}, false, 0},
		"it is, of another's key":         {both, []filter.Fact{spf(auth.Fail, "a.com"), dkim(auth.TempError, "b.com")}, true, 1},
		"it is, of a key for DMARC":       {both, []filter.Fact{spf(auth.Fail, "a.com"), dmarc(auth.TempError, "reject", "")}, false, 0},
		"by way of a mailer":              {both, []filter.Fact{spf(auth.Pass, "m.com"), dkim(auth.Pass, "m.com")}, false, 0},
		"it, and DMARC wants nothing":     {both, []filter.Fact{spf(auth.Pass, "m.com"), dmarc(auth.Fail, "none", "")}, false, 0},
		"another's proof, against DMARC":  {both, []filter.Fact{spf(auth.Pass, "b.com"), dmarc(auth.Fail, "reject", "")}, true, 1},
		"the same, quarantined":           {both, []filter.Fact{spf(auth.Pass, "b.com"), dmarc(auth.Fail, "quarantine", "local_policy")}, true, 1},
		"a policy that is tested":         {both, []filter.Fact{spf(auth.Pass, "m.com"), tested}, false, 0},
		"forwarded by somebody trusted":   {both, []filter.Fact{spf(auth.Fail, "a.com"), dmarc(auth.Fail, "reject", "trusted_forwarder")}, false, 0},
		"a failure of another":            {both, []filter.Fact{spf(auth.Fail, "b.com")}, false, 0},
		"a failure of the client's name":  {both, []filter.Fact{helo}, false, 0},
		"no signature":                    {both, []filter.Fact{auth.DKIM.Of(nil)}, false, 0},
		"forged, all home":                {[]string{"www.a.com", "a.com"}, []filter.Fact{spf(auth.Fail, "a.com")}, false, 0},
		"forged, home and a firm's page":  {[]string{"www.a.com", "www.facebook.com"}, []filter.Fact{spf(auth.Fail, "a.com")}, false, 1},
		"forged, and proven by signature": {both, []filter.Fact{spf(auth.Fail, "a.com"), dkim(auth.Pass, "a.com")}, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			m := linkedFrom(t, "x@a.com", c.hosts, c.facts...)
			check, err := Functions()["postern_links_elsewhere"].Compile(posternSettings(t), nil)
			if err != nil {
				t.Fatal(err)
			}
			if n, _ := check(m); n > 0 != c.elsewhere {
				t.Errorf("elsewhere: %v", n > 0)
			}
			if n, host := linksToOneHost(m); n != c.one {
				t.Errorf("%d links to %s", n, host)
			}
		})
	}
}
