//go:build !race

package text_test

import (
	"bytes"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sort"
	"testing"

	"github.com/postern-mail/postern/internal/peertest"
	"github.com/postern-mail/postern/internal/peertest/spamassassin"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/rules/text"
)

// moreSelectors are asked beside those of the stock rules.
var moreSelectors = []string{
	"ALL-TRUSTED", "ALL-UNTRUSTED", "ALL-INTERNAL", "ALL-EXTERNAL:raw", "ALL-UNTRUSTED:raw", "ALL-TRUSTED:raw", "X-Spam-Relays-Trusted",
	"X-Spam-Relays-Internal", "EnvelopeFrom:addr", "MESSAGEID:raw", "ToCc:raw", "ToCc:name", "To:name", "Cc:addr", "Cc:name", "Received:raw",
	"Received:first", "Received:last", "Sender:addr", "Sender:name", "From:first:addr", "From:addr:host", "To:addr:host", "Reply-To:addr:host",
	"Subject:first", "Received:first:ip", "Received:last:revip", "X-Originating-IP:ip", "Bcc:addr", "List-Unsubscribe:raw", "Delivered-To:addr",
}

// relayLines and relayOptions say the same to both sides.
var networks = []struct {
	name    string
	lines   []string
	options text.Options
}{
	{name: "inferred"},
	{
		name:  "configured",
		lines: []string{"trusted_networks 194.125.0.0/16 192.168.0.0/16 66.35.250.0/24", "internal_networks 194.125.0.0/16 192.168.0.0/16", "msa_networks 66.35.250.0/24"},
		options: text.Options{
			Trusted:  text.NetworksOf(netip.MustParsePrefix("194.125.0.0/16"), netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("66.35.250.0/24")),
			Internal: text.NetworksOf(netip.MustParsePrefix("194.125.0.0/16"), netip.MustParsePrefix("192.168.0.0/16")),
			MSA:      text.NetworksOf(netip.MustParsePrefix("66.35.250.0/24")),
		},
	},
}

// TestHeaderOracle compares what header selectors give with what they give in SpamAssassin itself, over a sample of the
// corpora, or, with POSTERN_SAMPLES=all, over all of them.
func TestHeaderOracle(t *testing.T) {
	all := spamassassin.Corpus(t)
	if !peertest.Every() {
		all = sampled(all, 100)
	}
	selectors := append(spamassassin.Selectors(t), moreSelectors...)
	sort.Strings(selectors)
	selectors = slices.Compact(selectors)
	for _, n := range networks {
		t.Run(n.name, func(t *testing.T) {
			compare(t, all, selectors, n.lines, n.options)
		})
	}
}

// sampled takes about n messages, evenly.
func sampled(all []spamassassin.Message, n int) (some []spamassassin.Message) {
	for i := 0; i < len(all); i += max(1, len(all)/n) {
		some = append(some, all[i])
	}
	return some
}

func compare(t *testing.T, all []spamassassin.Message, selectors, lines []string, o text.Options) {
	values, differ := 0, map[string]int{}
	shown := map[string]int{}
	note := func(what, name string, got, want any) {
		differ[what]++
		if shown[what]++; shown[what] <= 3 {
			g, w := apart(fmt.Sprint(got), fmt.Sprint(want))
			t.Logf("%s: %s\n got …%q\nwant …%q", name, what, g, w)
		}
	}
	spamassassin.Heads(t, all, selectors, lines, func(msg spamassassin.Message, h spamassassin.Head) {
		c := mail.NewContent(mail.NewBlob(msg.CRLF), mail.LineFaults{}, mail.Limits{})
		defer c.Release()
		m := text.Of(c, o)
		for _, s := range selectors {
			sel, err := text.ParseSelector(s)
			if err != nil {
				t.Fatal(err)
			}
			got, ok := m.Header(sel)
			want := h.Get[s]
			values++
			if ok != (want != nil) || want != nil && !bytes.Equal(got, *want) {
				if want == nil {
					want = &[]byte{}
				}
				note(s, msg.Name, string(got), string(*want))
			}
		}
		r := m.Relays()
		for list, got := range map[string][]text.Relay{"trusted": r.Trusted, "untrusted": r.Untrusted, "internal": r.Internal, "external": r.External} {
			values++
			if g, w := lines1(got), lines2(h.Relays[list]); g != w {
				note("relays "+list, msg.Name, g, w)
			}
		}
		if values++; r.Unparseable != h.Unparseable {
			note("unparseable", msg.Name, r.Unparseable, h.Unparseable)
		}
	})
	bad := 0
	for _, k := range slices.Sorted(maps.Keys(differ)) {
		t.Logf("%5d %s", differ[k], k)
		bad += differ[k]
	}
	t.Logf("%d messages, %d values, %d differ: %.4f %% equal", len(all), values, bad, 100*float64(values-bad)/float64(values))
	if float64(bad) > 0.001*float64(values) {
		t.Errorf("less than 99.9 %% of the values are equal")
	}
}

// apart gives where two texts begin to differ.
func apart(a, b string) (string, string) {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	i = max(0, i-20)
	return a[i:min(len(a), i+160)], b[i:min(len(b), i+160)]
}

func lines1(all []text.Relay) (s string) {
	for _, r := range all {
		s += fmt.Sprintf("%s private=%t norDNS=%t\n", r.String(), r.Private, r.NoRDNS)
	}
	return s
}

func lines2(all []map[string][]byte) (s string) {
	for _, r := range all {
		env := string(r["envfrom"])
		if env == "0" {
			env = ""
		}
		s += fmt.Sprintf("[ ip=%s rdns=%s helo=%s by=%s ident=%s envfrom=%s intl=%s id=%s auth=%s msa=%s ] private=%t norDNS=%t\n", r["ip"], r["rdns"],
			r["helo"], r["by"], r["ident"], env, r["internal"], r["id"], r["auth"], r["msa"], len(r["ip_private"]) > 0, len(r["no_reverse_dns"]) > 0)
	}
	return s
}
