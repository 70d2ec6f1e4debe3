package authres

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestBearing(t *testing.T) {
	for _, c := range []struct {
		name, id, body string
		want           bool
	}{
		{"plain", "mx.example.org", " mx.example.org; spf=pass", true},
		{"other", "mx.example.org", " other.example; spf=pass", false},
		{"no blank", "mx.example.org", "mx.example.org;spf=pass", true},
		{"case", "mx.example.org", " MX.Example.ORG; spf=pass", true},
		{"encoded word", "mx.example.org", " =?utf-8?q?=6Dx.example.org?=; dkim=pass", true},
		{"encoded word in base64", "mx.example.org", " =?utf-8?b?bXguZXhhbXBsZS5vcmc=?=; dkim=pass", true},
		{"encoded word of another", "mx.example.org", " =?utf-8?q?=6Dy.example.org?=; dkim=pass", false},
		{"our own name in capitals", "MX.Example.org", " mx.example.org; spf=pass", true},
		{"folded", "mx.example.org", "\r\n\t mx.example.org\r\n ;\r\n spf=pass", true},
		{"comment before", "mx.example.org", " (hi) mx.example.org; spf=pass", true},
		{"nested comments", "mx.example.org", " (a (b (c)) d)(e)\r\n (f) mx.example.org (g) ; spf=pass", true},
		{"comment with quoted pairs", "mx.example.org", ` (a \) \( ;) mx.example.org; spf=pass`, true},
		{"comment attached", "mx.example.org", " mx.example.org(x); spf=pass", true},
		{"quoted", "mx.example.org", ` "mx.example.org"; spf=pass`, true},
		{"quoted pairs", "mx.example.org", ` "m\x.ex\ample.org"; spf=pass`, true},
		{"quoted in pieces", "mx.example.org", ` mx."example".org; spf=pass`, true},
		{"quoted pairs without quotes", "mx.example.org", ` mx\.example.org; spf=pass`, true},
		{"blanks within", "mx.example.org", " mx . example (x) . org; spf=pass", true},
		{"quoted with a semicolon", "mx.example.org", ` "mx.example.org; spf=pass"; none`, true},
		{"version", "mx.example.org", " mx.example.org 1; spf=pass", true},
		{"version and comments", "mx.example.org", " mx.example.org (v) 12 (x); spf=pass", true},
		{"version of a split name", "mx.example.org", " mx. example.org 1; spf=pass", true},
		{"slash version", "mx.example.org", " mx.example.org/1; spf=pass", true},
		{"final dot", "mx.example.org", " mx.example.org.; spf=pass", true},
		{"final dot of ours", "mx.example.org.", " mx.example.org; spf=pass", true},
		{"no semicolon", "mx.example.org", " mx.example.org", true},
		{"results at once", "mx.example.org", " mx.example.org spf=pass", true},
		{"U-labels", "xn--mx-yka.example", " mxü.example; spf=pass", true},
		{"U-labels in capitals", "xn--mx-yka.example", " MXÜ.example; spf=pass", true},
		{"U-labels and results at once", "xn--mx-yka.example", " mxü.example spf=pass; x", true},
		{"ours in U-labels", "mxü.example", " xn--mx-yka.EXAMPLE; spf=pass", true},
		{"unclosed comment", "mx.example.org", " (x mx.example.org; spf=pass", true},
		{"unclosed quote", "mx.example.org", ` "x mx.example.org; spf=pass`, true},
		{"for a reader without nested comments", "mx.example.org", " (a (b) mx.example.org; spf=pass) other.example; none", true},
		{"for a reader without quoted pairs", "mx.example.org", ` (a \) mx.example.org; spf=pass) other.example; none`, true},
		{"longer name before", "mx.example.org", " smx.example.org; spf=pass", false},
		{"subdomain", "mx.example.org", " a.mx.example.org; spf=pass", false},
		{"longer name after", "mx.example.org", " mx.example.organic; spf=pass", false},
		{"domain below", "mx.example.org", " mx.example.org.example; spf=pass", false},
		{"digit is no version", "mx", " mx2; spf=pass", false},
		{"only in the results", "mx.example.org", " other.example; spf=pass smtp.mailfrom=x@mx.example.org", false},
		{"only in a later comment", "mx.example.org", " other.example; (mx.example.org) none", false},
		{"longer, then ours", "mx.example.org", " (a.mx.example.org mx.example.org) b; none", true},
		{"empty", "mx.example.org", "", false},
		{"two final dots", "mx.example.org", " mx.example.org..; spf=pass", true},
		{"a dot before", "mx.example.org", " .mx.example.org; spf=pass", true},
		{"controls before, within and after", "mx.example.org", " \x01m\x02x.example\x7f.org\x1f; spf=pass", true},
		{"form feed for a blank", "mx.example.org", "\fmx.example.org\v1; spf=pass", true},
		{"NUL", "mx.example.org", " mx.example.org\x00other; spf=pass", true},
		{"nothing before the first semicolon", "mx.example.org", " ; mx.example.org; spf=pass", true},
		{"nothing before many semicolons", "mx.example.org", " ;;(x); ; mx.example.org; spf=pass", true},
		{"another after nothing", "mx.example.org", " ;; other.example; mx.example.org", false},
		{"Exchange Online's: no id", "mx.example.org", " spf=pass (sender IP is 192.0.2.1)\r\n smtp.mailfrom=y.example; dkim=none", false},
		{"no id, and ours in the first result", "mx.example.org", " spf=pass (mx.example.org: designates) smtp.mailfrom=y.example; x", true},
		{"two encoded words", "mx.example.org", " =?utf-8?q?mx=2E?= =?utf-8?q?example.org?=; dkim=pass", true},
		{"encoded word in quotes", "mx.example.org", ` "=?us-ascii?Q?mx.example.org?="; dkim=pass`, true},
		{"ideographic full stops", "mx.example.org", " mx\u3002example\uff0eorg; spf=pass", true},
		{"full width", "mx.example.org", " \uff4d\uff58.example.org; spf=pass", true},
		{"no-break space behind", "mx.example.org", " mx.example.org\u00a0; spf=pass", true},
		{"no-break space of Latin-1 behind", "mx.example.org", " mx.example.org\xa0; spf=pass", true},
		{"override of direction behind", "mx.example.org", " mx.example.org\u202e; spf=pass", true},
		{"one dot leaders", "mx.example.org", " mx\u2024example\u2024org; spf=pass", true},
		{"zero width space and more behind", "mx.example.org", " mx.example.org\u200bx; spf=pass", true},
		{"encoded word and more behind", "mx.example.org", " =?utf-8?q?mx.example.org?=x; spf=pass", true},
		{"encoded word in base64 and more behind", "mx.example.org", " =?utf-8?b?bXguZXhhbXBsZS5vcmc=?=x; spf=pass", true},
		{"encoded word behind more", "mx.example.org", " mx=?utf-8?q?.example.org?=; spf=pass", true},
		{"quoted pair of a quote in front", "mx.example.org", ` \"mx\.example.org; spf=pass`, true},
		{"soft hyphen", "mx.example.org", " m\u00adx.example.org; spf=pass", true},
		{"zero width joiner in capitals", "mx.example.org", " MX.EXAMPLE\u200b.ORG; spf=pass", true},
		{"U-labels in a comment", "xn--mx-yka.example", " (mx\u00fc.example) other.example; spf=pass", true},
		{"A-labels in capitals in a comment", "xn--mx-yka.example", " (XN--MX-YKA.EXAMPLE) other.example; spf=pass", true},
		{"decomposed U-label", "xn--mx-yka.example", " mxu\u0308.example; spf=pass", true},
		{"like ours in another script", "mx.example.org", " m\u0445.example.org; spf=pass", false},
		{"of one label", "gateway", " GATEWAY; spf=pass", true},
		{"in angle brackets", "mx.example.org", " <mx.example.org>; spf=pass", true},
		{"in square brackets", "mx.example.org", " [mx.example.org]; spf=pass", true},
		{"as a mailbox", "mx.example.org", " postmaster@mx.example.org; spf=pass", true},
		{"only folds", "mx.example.org", "\r\n \r\n\t", false},
		{"only comments", "mx.example.org", " (x)", false},
		{"no id", "", " ; spf=pass", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := bearing(c.id)(c.body); got != c.want {
				t.Errorf("got %v of %q", got, fmt.Sprint(readID(c.body)))
			}
		})
	}
}

// TestKeep: with a list, only fields of the names in it come through.
func TestKeep(t *testing.T) {
	list := []string{"Relay.partner.example", "m\u00fcller.example"}
	for _, c := range []struct {
		name, body     string
		all, some, two bool // gone with all kept, with the empty list, with the list
	}{
		{"ours", " mx.example.org; spf=pass", true, true, true},
		{"foreign", " other.example; spf=pass", false, true, true},
		{"trusted", " relay.partner.example; spf=pass", false, true, false},
		{"trusted, with all trimmings", " (x) \"RELAY.partner.example\" (y) 1 ; spf=pass", false, true, false},
		{"trusted in U-labels", " m\u00fcller.example; spf=pass", false, true, false},
		{"trusted in A-labels", " xn--mller-kva.example; spf=pass", false, true, false},
		{"trusted, and ours in a comment", " relay.partner.example (mx.example.org); spf=pass", true, true, true},
		{"trusted in one reading", " relay.partner.example spf=pass; x", false, true, true},
		{"trusted in a comment", " (relay.partner.example); spf=pass", false, true, true},
		{"trusted in an encoded word", " =?utf-8?q?relay.partner.example?=; spf=pass", false, true, true},
		{"below a trusted one", " a.relay.partner.example; spf=pass", false, true, true},
		{"no id", " spf=pass smtp.mailfrom=relay.partner.example; dkim=none", false, true, true},
		{"empty", "", false, true, true},
		{"version 1", " relay.partner.example 1; spf=pass", false, true, false},
		{"version 1 with a nought", " relay.partner.example 01; spf=pass", false, true, false},
		{"of a version that nobody knows", " relay.partner.example (x) 2 ; spf=pass", true, true, true},
		{"of version 0", " relay.partner.example 0; spf=pass", true, true, true},
		{"foreign, of a version that nobody knows", " other.example 10; spf=pass", true, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := claims(testID, nil)(c.body); got != c.all {
				t.Errorf("all kept: gone %v", got)
			}
			if got := claims(testID, []string{})(c.body); got != c.some {
				t.Errorf("empty list: gone %v", got)
			}
			if got := claims(testID, list)(c.body); got != c.two {
				t.Errorf("list: gone %v", got)
			}
		})
	}
	if claims("", list)(" other.example; x") {
		t.Error("removed without an id of ours")
	}
}

// TestHostileBodiesAreLinear: nobody makes us read long for what he sends.
func TestHostileBodiesAreLinear(t *testing.T) {
	const size = 256 << 10 // all that a header may have
	ours := bearing(testID)
	for name, piece := range map[string]string{
		"semicolons": ";", "comments": "()", "opening": "(", "quotes": `"`, "backslashes": `\`, "names": "a.b ", "U-labels": "\u00fc.b ",
		"encoded words": "=?utf-8?q?=41?= ", "half encoded words": "=?", "dots": ".", "blanks": " ", "almost ours": "mx.example.or ",
	} {
		body := strings.Repeat(piece, size/len(piece))
		began := time.Now()
		ours(body)
		took := time.Since(began)
		t.Logf("%s: %v", name, took)
		if took > 10*time.Second {
			t.Errorf("%s: %d octets took %v", name, len(body), took)
		}
	}
}

func FuzzClaims(f *testing.F) {
	for _, s := range []string{" mx.example.org; spf=pass", "(a (b) \\) mx.example.org 1;", `"mx.example.org`, "mxü.example;", "\\", "(((((", "xn--;"} {
		f.Add(s)
	}
	ours, listed := bearing(testID), claims(testID, []string{"other.example"})
	f.Fuzz(func(t *testing.T, s string) {
		was := ours(s)
		if was != ours(s) {
			t.Error("two answers")
		}
		// What goes before the id as comment, fold or capital does not matter.
		for _, forged := range []string{"mx.example.org;" + s, " (x\\)(y)) \r\n\tMX.example.ORG 1 ;" + s, "\"mx.example.org\" (" + s} {
			if !ours(forged) {
				t.Errorf("not recognised: %q", forged)
			}
		}
		if was && !listed(s) {
			t.Errorf("a list keeps %q", s)
		}
		if was && !ours("(c)\r\n "+s) {
			t.Errorf("a comment hides %q", s)
		}
	})
}
