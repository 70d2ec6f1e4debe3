package upstream

import (
	"errors"
	"strings"
	"testing"

	"github.com/postern-mail/postern/mail"
)

func address(t testing.TB, s string) mail.Address {
	t.Helper()
	a, err := mail.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestTable(t *testing.T) {
	table, err := NewTable([]Rule{
		{To: []string{"Boss@Example.ORG"}, Route: Route{Upstream: "vip"}},
		{To: []string{"example.org", "*.example.org"}, Route: Route{Name: "main", Upstream: "exchange", Policy: "default"}},
		{To: []string{"deep.sub.example.org", "example.net", "bücher.example"}, Route: Route{Upstream: "postfix"}},
		{To: []string{"boss@example.net"}, Route: Route{Upstream: "never"}},
		{To: []string{"only@elsewhere.test"}, Route: Route{Upstream: "postfix"}},
		{To: []string{"*"}, Route: Route{Upstream: "smarthost"}},
		{To: []string{"late.test"}, Route: Route{Upstream: "late"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		to       string
		relay    bool
		upstream string // "" is none
		name     string
		ours     bool
	}{
		{to: "a@example.org", upstream: "exchange", name: "main", ours: true},
		{to: "BOSS@example.org", upstream: "vip", name: "Boss@Example.ORG", ours: true},
		{to: `"boss"@example.org`, upstream: "vip", name: "Boss@Example.ORG", ours: true},
		{to: "a@x.example.org", upstream: "exchange", name: "main", ours: true},
		{to: "a@deep.sub.example.org", upstream: "exchange", name: "main", ours: true},
		{to: "a@example.net", upstream: "postfix", name: "deep.sub.example.org", ours: true},
		{to: "boss@example.net", upstream: "postfix", name: "deep.sub.example.org", ours: true},
		{to: "a@xn--bcher-kva.example", upstream: "postfix", name: "deep.sub.example.org", ours: true},
		{to: "a@x.example.net"},
		{to: "a@notexample.org"},
		{to: "a@org"},
		{to: "only@elsewhere.test", upstream: "postfix", name: "only@elsewhere.test", ours: true},
		{to: "other@elsewhere.test"},
		{to: "a@late.test", upstream: "late", name: "late.test", ours: true},
		{to: "a@late.test", relay: true, upstream: "smarthost", name: "*"},
		{to: "a@foreign.test", relay: true, upstream: "smarthost", name: "*"},
		{to: "a@foreign.test"},
		{to: "a@example.org", relay: true, upstream: "exchange", name: "main", ours: true},
		{to: "postmaster"},
		{to: "postmaster", relay: true},
	} {
		t.Run(c.to, func(t *testing.T) {
			r, err := table.Route(Query{Recipient: address(t, c.to), Relay: c.relay})
			if c.upstream == "" {
				if !errors.Is(err, ErrNoRoute) {
					t.Fatalf("%+v, %v", r, err)
				}
				return
			}
			if err != nil || r.Upstream != c.upstream || r.Name != c.name || r.Ours != c.ours {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
	for domain, want := range map[string]bool{
		"example.org": true, "a.example.org": true, "example.net": true, "a.example.net": false,
		"elsewhere.test": true, "late.test": true, "foreign.test": false, "": false, "org": false,
	} {
		if table.Ours(domain) != want {
			t.Errorf("Ours(%q) is %v", domain, !want)
		}
	}
}

// TestReach: the mailbox that is to be reached goes by its own rule where there is one, whoever sends by the one given else, and nobody beside it.
func TestReach(t *testing.T) {
	table, err := NewTable([]Rule{
		{To: []string{"*"}, Route: Route{Name: "out"}},
		{To: []string{"x@other.example", "a@example.org"}, Listeners: []string{"inner"}, Route: Route{Name: "inner"}},
		{To: []string{"postmaster@named.example"}, Route: Route{Name: "named"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		reach, to string
		relay     bool
		route     string
		match     Match
	}{
		{"postmaster@example.org", "Postmaster@Example.org", false, "inner", Match{Rule: 1, To: 1}},
		{"postmaster@example.org", "postmaster@example.org", true, "out", Match{Rule: 0}},
		{"postmaster@example.org", "abuse@example.org", false, "", Match{}},
		{"postmaster@example.org", "postmaster@other.example", false, "", Match{}},
		{"postmaster@named.example", "postmaster@named.example", false, "named", Match{Rule: 2}},
	} {
		reach, to := address(t, c.reach), address(t, c.to)
		table.Reach(reach, 1, 1)
		route, err := table.Route(Query{Recipient: to, Relay: c.relay})
		if route.Name != c.route || (err != nil) != (c.route == "") || route.Ours != (c.route != "" && !c.relay) {
			t.Errorf("%s: %+v, %v", c.to, route, err)
		}
		if m, err := table.Match(Query{Recipient: to, Relay: c.relay}); m != c.match || (err != nil) != (c.route == "") {
			t.Errorf("%s: %+v, %v", c.to, m, err)
		}
	}
}

func TestTableErrors(t *testing.T) {
	for _, pattern := range []string{"", "*example.org", "a.*.org", "**", "*.", "a@", "@example.org", "a b.org", "exa mple", "*.*", "a@b@c d"} {
		_, err := NewTable([]Rule{{To: []string{"fine.test"}}, {To: []string{pattern}}})
		if err == nil || !strings.Contains(err.Error(), "routes[1]") || pattern != "" && !strings.Contains(err.Error(), pattern) {
			t.Errorf("%q: %v", pattern, err)
		}
	}
	if _, err := NewTable([]Rule{{}}); err == nil {
		t.Error("a rule without patterns")
	}
}

func TestSuspicious(t *testing.T) {
	for s, want := range map[string]bool{
		"a@x.test": false, "a+b@x.test": false, "a.b@x.test": false, "user%foreign@x.test": true,
		"foreign!user@x.test": true, `"user@foreign"@x.test`: true, `"a b"@x.test`: true, `"a@foreign> X"@x.test`: true,
	} {
		if Suspicious(address(t, s)) != want {
			t.Errorf("Suspicious(%s) is %v", s, !want)
		}
	}
}

// TestTableMatch asks for the very entry that a route goes by.
func TestTableMatch(t *testing.T) {
	table, err := NewTable([]Rule{
		{To: []string{"boss@example.org", "*", "vip.test"}},
		{To: []string{"*.example.org", "Ann@sub.example.org", "EXAMPLE.org"}},
		{To: []string{"*.test", "deep.x.test"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		to       string
		relay    bool
		rule, at int // at < 0: no route
	}{
		{"BOSS@example.org", false, 0, 0},
		{"a@vip.test", false, 0, 2},
		{"a@vip.test", true, 0, 2}, // not "*", which stands before it
		{"a@elsewhere.net", true, 0, 1},
		{"a@elsewhere.net", false, 0, -1},
		{"a@example.org", false, 1, 2},
		{"a@example.org", true, 0, 1},
		{"ann@sub.example.org", false, 1, 0},
		{"a@deep.x.test", false, 2, 0},
		{"a@test", false, 0, -1},
		{"postmaster", true, 0, -1},
		{"a@[192.0.2.1]", true, 0, 1},
	} {
		m, err := table.Match(Query{Recipient: address(t, c.to), Relay: c.relay})
		rule, at := m.Rule, m.To
		switch {
		case c.at < 0 && !errors.Is(err, ErrNoRoute):
			t.Errorf("%s (relay %v): %d, %d, %v; want no route", c.to, c.relay, rule, at, err)
		case c.at >= 0 && (err != nil || rule != c.rule || at != c.at):
			t.Errorf("%s (relay %v): %d, %d, %v; want %d, %d", c.to, c.relay, rule, at, err, c.rule, c.at)
		}
	}
}

// FuzzTableMatch holds Match against Route: the same rule, and an entry of it that fits.
func FuzzTableMatch(f *testing.F) {
	f.Add("boss@example.org\n*", "*.example.org example.org\n*.org", "BOSS@example.org", true)
	f.Add("*.test *", "deep.x.test", "a@deep.x.test", false)
	f.Add(`"a b"@example.org`, "bücher.example", `"a\ b"@example.org`, false)
	f.Add("[192.0.2.1]", "*.2.1", "a@[192.0.2.1]", true)
	f.Fuzz(func(t *testing.T, one, two, to string, relay bool) {
		var rules []Rule
		for i, to := range []string{one, two} {
			rules = append(rules, Rule{To: strings.Fields(to), Route: Route{Name: "r", Upstream: string(rune('0' + i))}})
		}
		table, err := NewTable(rules)
		if err != nil {
			return
		}
		a, err := mail.ParseAddress(to)
		if err != nil {
			return
		}
		q := Query{Recipient: a, Relay: relay}
		route, err := table.Route(q)
		m, err2 := table.Match(q)
		rule, entry := m.Rule, m.To
		if !errors.Is(err, err2) {
			t.Fatalf("%v, and %v", err, err2)
		}
		if err != nil {
			return
		}
		if rules[rule].Upstream != route.Upstream || entry < 0 || (rules[rule].To[entry] != "*") != route.Ours {
			t.Fatalf("%+v; rule %d, entry %d", route, rule, entry)
		}
		alone, err := NewTable([]Rule{{To: []string{rules[rule].To[entry]}}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := alone.Route(q); err != nil {
			t.Errorf("%s does not take %s", rules[rule].To[entry], a)
		}
	})
}

// TestNarrowRoutes: a rule for some senders or listeners does not take what comes from others, also where a later one names the
// same recipients.
func TestNarrowRoutes(t *testing.T) {
	table, err := NewTable([]Rule{
		{To: []string{"example.org"}, Listeners: []string{"inner"}, Route: Route{Name: "inner"}},
		{To: []string{"boss@example.org", "*.example.org"}, From: []string{"partner.example", "*.partner.example"}, Route: Route{Name: "partner"}},
		{To: []string{"example.org", "*.example.org"}, Route: Route{Name: "ours"}},
		{To: []string{"*"}, From: []string{"ann@example.org"}, Listeners: []string{"office"}, Route: Route{Name: "ann"}},
		{To: []string{"*"}, From: []string{"<>"}, Route: Route{Name: "reports"}},
		{To: []string{"*"}, Route: Route{Name: "out"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		to, from, listener string
		relay              bool
		want               string // "" for no route
	}{
		{"x@example.org", "a@sender.example", "public", false, "ours"},
		{"x@example.org", "a@sender.example", "inner", false, "inner"},
		{"boss@example.org", "a@sender.example", "public", false, "ours"},
		{"boss@example.org", "a@partner.example", "public", false, "partner"},
		{"boss@example.org", "a@partner.example", "inner", false, "inner"},
		{"x@sub.example.org", "a@x.partner.example", "public", false, "partner"},
		{"x@sub.example.org", "a@notpartner.example", "public", false, "ours"},
		{"x@elsewhere.example", "Ann@example.org", "office", true, "ann"},
		{"x@elsewhere.example", "ann@example.org", "public", true, "out"},
		{"x@elsewhere.example", "", "office", true, "reports"},
		{"x@elsewhere.example", "bob@example.org", "office", true, "out"},
		{"x@elsewhere.example", "ann@example.org", "office", false, ""},
	} {
		q := Query{Recipient: address(t, c.to), Listener: c.listener, Relay: c.relay}
		if c.from != "" {
			q.From = address(t, c.from)
		}
		route, err := table.Route(q)
		if route.Name != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%+v: %q, %v", c, route.Name, err)
		}
		if err != nil {
			continue
		}
		if m, err := table.Match(q); err != nil || table.rules[m.Rule].route.Name != c.want || !table.Admits(m.Rule, q) {
			t.Errorf("%+v: matches %+v, %v", c, m, err)
		}
		if route.Ours != strings.HasSuffix(c.to, "example.org") {
			t.Errorf("%+v: ours: %v", c, route.Ours)
		}
	}
	for _, bad := range []string{"*", "", "a@b@c"} {
		if _, err := NewTable([]Rule{{To: []string{"*"}, From: []string{bad}}}); err == nil {
			t.Errorf("from %q is taken", bad)
		}
	}
}
