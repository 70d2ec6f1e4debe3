package edge

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/postern-mail/postern/upstream"
)

// TestExplainerSaysWhatTheDoorSays compares each answer with what a client is told.
func TestExplainerSaysWhatTheDoorSays(t *testing.T) {
	id := regexp.MustCompile(` \([^ ()]+\)$`)
	paths := append(slices.DeleteFunc(slices.Clone(waysOut), func(s string) bool { return strings.ContainsAny(s, " \x00\r") }),
		"<Bob@OURS.example>", "bob@ours.example", "<bob@second.example>", "<postmaster>", "<PostMaster@mx.example.org>", "<abuse@ours.example>",
		"<known@file.example>", "<who@file.example>", "<odd%name@file.example>", "<odd%other@file.example>", "<abuse@file.example>",
		"<@a.example,@b.example:bob@ours.example>", "<bob@lost.example>", "<bob@policyless.example>", "<böb@ours.example>", "<bob@bücher.example>")
	for name, c := range map[string]struct {
		relay  bool
		change func(*door, *ListenerConfig)
	}{
		"stranger":    {false, nil},
		"soft bounce": {false, func(d *door, _ *ListenerConfig) { d.gw.SoftBounce = true }},
		"no directory": {false, func(d *door, _ *ListenerConfig) {
			d.gw.Recipients["file"] = fakeRecipients{err: errors.New("down")}
		}},
		"no way out": {false, func(d *door, _ *ListenerConfig) { d.gw.Postmaster = "admin@nowhere.example" }},
		"relay":      {true, func(d *door, cfg *ListenerConfig) { d.gw.Router, cfg.Relay.Networks = outward(t), loopback }},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDoor(t, nil, func(d *door, cfg *ListenerConfig) {
				cfg.Limits.Errors = 1000
				if c.change != nil {
					c.change(d, cfg)
				}
			})
			client, e := begin(t, d), NewExplainer(d.gw, "public")
			for _, path := range paths {
				client.steps("C: RSET\nS: 250\nC: MAIL FROM:<a@ours.example> SMTPUTF8\nS: 250")
				client.where = path
				client.send("RCPT TO:" + path + "\r\n")
				want := id.ReplaceAllString(client.reply(), "")
				if got := e.Explain(t.Context(), RecipientQuery{Path: path, Relay: c.relay}).Reply.String(); got != want {
					t.Errorf("%s: %s; a client is told %s", path, got, want)
				}
			}
			if n := len(d.relay.all()) + len(d.second.all()); n != 0 {
				t.Errorf("%d delivered", n)
			}
		})
	}
}

// TestExplainer looks at what stands beside the reply.
func TestExplainer(t *testing.T) {
	d := newDoor(t, []string{"rcpt propose reject"}, nil)
	e := NewExplainer(d.gw, "public")
	for _, c := range []struct {
		path, address, route, upstream string
		known                          upstream.Known
		exempt, apart                  bool
		because                        string
	}{
		{path: "@a.example:Bob@Sub.OURS.example", address: "Bob@sub.ours.example", route: "ours", upstream: "one"},
		{path: "postmaster", address: "admin@ours.example", route: "ours", upstream: "one", exempt: true, apart: true},
		{path: "bob@second.example", address: "bob@second.example", route: "second", upstream: "two", apart: true},
		{path: "known@file.example", address: "known@file.example", route: "file", upstream: "one", known: upstream.Yes},
		{path: "who@file.example", address: "who@file.example", route: "file", upstream: "one", known: upstream.No, because: "no such mailbox"},
		{path: "abuse@file.example", address: "abuse@file.example", route: "file", upstream: "one", exempt: true, apart: true},
		{path: "x@foreign.example", address: "x@foreign.example", because: "no route"},
		{path: "nowhere@", because: "malformed address"},
		{path: "", because: "malformed address"},
	} {
		a := e.Explain(t.Context(), RecipientQuery{Path: c.path})
		if a.Address.String() != c.address || a.Route.Name != c.route || a.Route.Upstream != c.upstream || a.Known != c.known ||
			a.Exempt != c.exempt || a.Because != c.because || a.Together.IsZero() == c.apart {
			t.Errorf("%s: %+v", c.path, a)
		}
	}
}

// TestExplainerOfLMTP: of several recipients only the first goes to a server of LMTP.
func TestExplainerOfLMTP(t *testing.T) {
	d := newDoor(t, nil, func(d *door, _ *ListenerConfig) { d.relay.one = true })
	e := NewExplainer(d.gw, "public")
	for _, c := range []struct{ path, together string }{
		{"a@ours.example", ""}, {"a@ours.example", ""}, {"b@ours.example", replyAlone.String()}, {"b@second.example", replySplit.String()},
	} {
		a := e.Explain(t.Context(), RecipientQuery{Path: c.path})
		if a.Together.IsZero() != (c.together == "") || c.together != "" && a.Together.String() != c.together {
			t.Errorf("%s: %s, not %q", c.path, a.Together, c.together)
		}
	}
}
