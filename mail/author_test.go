package mail

import (
	"slices"
	"strings"
	"testing"
)

func headerOf(t testing.TB, text string) *Header {
	t.Helper()
	b := strings.NewReader(text)
	h, _, err := readHeader(b, 0, int64(len(text)), 256<<10, 2000)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestReadAuthors(t *testing.T) {
	const attack, legit = "attack.example", "legit.example"
	for _, c := range []struct {
		name, header string
		flaw         AuthorFlaw
		domains      string // joined by blanks
	}{
		// What is in good order, or careless and nobody misreads it.
		{"bare", "From: a@attack.example\r\n", "", attack},
		{"brackets", "From: A B <a@attack.example>\r\n", "", attack},
		{"name in any case", "fROM: <a@Attack.Example>\r\n", "", attack},
		{"quoted name", "From: \"B, A\" <a@attack.example>\r\n", "", attack},
		{"comment", "From: a@attack.example (A B)\r\n", "", attack},
		{"comment at once", "From: a@attack.example(A)\r\n", "", attack},
		{"folded", "From: A\r\n <a@attack.example>\r\n", "", attack},
		{"encoded name", "From: =?utf-8?q?M=C3=BCller=2C_A?= <a@attack.example>\r\n", "", attack},
		{"raw octets in the name", "From: M\xfcller <a@attack.example>\r\n", "", attack},
		{"name with a comma", "From: Foo, Inc. <a@attack.example>\r\n", "", attack},
		{"name with brackets", "From: Foo [Bar] <a@attack.example>\r\n", "", attack},
		{"address for a name", "From: a@attack.example <a@attack.example>\r\n", "", attack},
		{"two of one domain", "From: a@attack.example, B <b@attack.example>\r\n", "", attack},
		{"other address in a quoted name", "From: \"a@legit.example via list\" <a@attack.example>\r\n", "", attack},
		{"other address in a comment", "From: a@attack.example (a@legit.example)\r\n", "", attack},
		{"other address in an encoded name", "From: =?utf-8?q?a=40legit.example_via_list?= <a@attack.example>\r\n", "", attack},
		{"address in brackets in its name", "From: \"A <a@attack.example>\" <a@attack.example>\r\n", "", attack},
		{"quoted local part", "From: \"a b\"@attack.example\r\n", "", attack},
		{"quoted local part in brackets", "From: A <\"a b\"@attack.example>\r\n", "", attack},
		{"dots in the local part", "From: a..b.@attack.example\r\n", "", attack},
		{"U-label", "From: a@b\u00fccher.example\r\n", "", "xn--bcher-kva.example"},
		{"final dot", "From: a@attack.example.\r\n", "", attack},
		{"empty members", "From: ,, a@attack.example,\r\n", "", attack},
		{"resent", "Resent-From: a@legit.example\r\nFrom: a@attack.example\r\n", "", attack},
		{"other fields", "From-X: a@legit.example\r\nX-From: a@legit.example\r\nFrom: a@attack.example\r\n", "", attack},
		{"copied fields", "DKIM-Signature: v=1;\r\n from:x@legit.example\r\nFrom: a@attack.example\r\n", "", attack},
		{"mbox line", "From a@legit.example Mon Jan  1 00:00:00 2024\r\nFrom: a@attack.example\r\n", "", attack},
		{"mbox line and a fold", "From a@legit.example\r\n x\r\nFrom: a@attack.example\r\n", "", attack},
		{"line end in an encoded name alone", "From: =?utf-8?q?A_B=0D=0A?= <a@attack.example>\r\n", "", attack},
		{"a name of a field", "To: x\r\n from: no address\r\nFrom: a@attack.example\r\n", "", attack},

		// No one field.
		{"none", "To: a@legit.example\r\n", NoFrom, ""},
		{"two", "From: a@attack.example\r\nFrom: a@legit.example\r\n", SeveralFrom, attack + " " + legit},
		{"two alike", "From: a@attack.example\r\nFrom: a@attack.example\r\n", SeveralFrom, attack},
		{"folded behind an mbox line", "From x\r\n From: a@legit.example\r\nFrom: a@attack.example\r\n", SeveralFrom, legit + " " + attack},
		{"folded twice behind an mbox line", "From x\r\n \r\n From: a@legit.example\r\nFrom: a@attack.example\r\n", SeveralFrom, legit + " " + attack},
		{"control within the name", "Fr\x01om: a@legit.example\r\nFrom: a@attack.example\r\n", SeveralFrom, legit + " " + attack},
		{"DEL within the name", "From: a@attack.example\r\nF\x7from: a@legit.example\r\n", SeveralFrom, attack + " " + legit},
		{"soft hyphen within the name", "Fr\u00adom: a@legit.example\r\nFrom: a@attack.example\r\n", SeveralFrom, legit + " " + attack},
		{"NUL in an encoded name", "From: =?utf-8?q?a=40legit.example=00?= <a@attack.example>\r\n", SeveralDomains, legit + " " + attack},
		{"line end in an encoded name", "From: =?utf-8?q?a=40legit.example=0D=0A?= <a@attack.example>\r\n", SeveralDomains, legit + " " + attack},
		{"quoted address behind the brackets", "From: <a@attack.example>\"a@legit.example\"\r\n", MalformedFrom, attack + " " + legit},
		{"encoded address before an address for a name", "From: =?utf-8?q?a=40legit.example?= a@attack.example <a@attack.example>\r\n", MalformedFrom, attack + " " + legit},
		{"encoded address and a square bracket", "From: =?utf-8?q?a=40legit.example?= ] <a@attack.example>\r\n", MalformedFrom, attack + " " + legit},
		{"encoded address and raw octets", "From: =?utf-8?q?a=40legit.example?= \u00e4 <a@attack.example>\r\n", MalformedFrom, attack + " " + legit},
		{"full-width @", "From: a\uff20legit.example@attack.example\r\n", MalformedFrom, attack},
		{"small @", "From: A <\"a\ufe6blegit.example\"@attack.example>\r\n", MalformedFrom, attack},
		{"second with a blank", "From: a@attack.example\r\nFrom : a@legit.example\r\n", SeveralFrom, attack + " " + legit},
		{"one with a blank", "From : a@legit.example\r\n", MalformedFrom, legit},
		{"first with a folded colon", "From\r\n : <a@attack.example>\r\nFrom: a@legit.example\r\n", SeveralFrom, attack + " " + legit},
		{"only a folded colon", "From\r\n : <a@attack.example>\r\nTo: x\r\n", MalformedFrom, attack},
		{"first with a blank before", " From: a@legit.example\r\nFrom: a@attack.example\r\n", SeveralFrom, legit + " " + attack},
		{"octet behind the name", "From\xff: a@legit.example\r\nFrom: a@attack.example\r\n", SeveralFrom, legit + " " + attack},
		{"quoted name of a field", "\"From\": a@legit.example\r\nFrom: a@attack.example\r\n", SeveralFrom, legit + " " + attack},
		{"folded into another field", "To: x\r\n From: a@legit.example\r\nFrom: a@attack.example\r\n", SeveralFrom, legit + " " + attack},
		{"folded behind a vertical tab", "To: x\r\n \vFrom: a@legit.example\r\nFrom: a@attack.example\r\n", SeveralFrom, legit + " " + attack},
		{"folded behind a wide blank", "To: x\r\n \u3000From\f: a@legit.example\r\nFrom: a@attack.example\r\n", SeveralFrom, legit + " " + attack},
		{"folded behind a byte order mark", "To: x\r\n \ufeffFrom: a@legit.example\r\nFrom: a@attack.example\r\n", SeveralFrom, legit + " " + attack},
		{"quoted in a folded line", "Subject: Fwd\r\n (From: a@legit.example)\r\nFrom: a@attack.example\r\n", "", attack},

		// No one domain.
		{"list", "From: a@attack.example, a@legit.example\r\n", SeveralDomains, attack + " " + legit},
		{"list in brackets", "From: <a@attack.example>, <a@legit.example>\r\n", SeveralDomains, attack + " " + legit},
		{"other address for a name", "From: a@legit.example <a@attack.example>\r\n", SeveralDomains, legit + " " + attack},
		{"brackets in a quoted name", "From: \"<a@legit.example>\" <a@attack.example>\r\n", SeveralDomains, attack + " " + legit},
		{"brackets in a comment", "From: (<a@legit.example>) a@attack.example\r\n", SeveralDomains, attack + " " + legit},
		{"brackets in an encoded name", "From: =?utf-8?q?=3Ca=40legit.example=3E?= <a@attack.example>\r\n", SeveralDomains, attack + " " + legit},
		{"address in an encoded word", "From: =?utf-8?b?YUBsZWdpdC5leGFtcGxl?=, <a@attack.example>\r\n", MalformedFrom, legit + " " + attack},
		{"subdomain is another", "From: a@attack.example, a@x.attack.example\r\n", SeveralDomains, attack + " x." + attack},

		// No one reading.
		{"backslash", "From: <a@legit.example>\\,<a@attack.example>\r\n", MalformedFrom, legit + " " + attack},
		{"text behind brackets", "From: <a@attack.example>a@legit.example\r\n", MalformedFrom, attack + " " + legit},
		{"two brackets", "From: <a@attack.example> <a@legit.example>\r\n", MalformedFrom, attack + " " + legit},
		{"two @", "From: <a@legit.example@attack.example>\r\n", MalformedFrom, attack + " " + legit},
		{"route", "From: <@legit.example:a@attack.example>\r\n", MalformedFrom, attack + " " + legit},
		{"octet in the domain", "From: <a@legit.example\xffattack.example>\r\n", MalformedFrom, legit + " legit.xn--exampleattack-9pb.example"},
		{"encoded word in the local part", "From: <=?utf-8?b?YUBsZWdpdC5leGFtcGxl?=@attack.example>\r\n", MalformedFrom, attack + " " + legit},
		{"quoted @", "From: \"a@legit.example\"@attack.example\r\n", MalformedFrom, attack + " " + legit},
		{"quoted @ in brackets", "From: <\"a@legit.example,\"@attack.example>\r\n", MalformedFrom, attack + " " + legit},
		{"quoted address alone", "From: \"a@legit.example\", <a@attack.example>\r\n", MalformedFrom, attack + " " + legit},
		{"open quote", "From: \"a <a@attack.example>, <a@legit.example>\r\n", MalformedFrom, attack + " " + legit},
		{"open comment", "From: a@attack.example (a@legit.example\r\n", MalformedFrom, attack + " " + legit},
		{"open bracket", "From: <a@attack.example\r\n", MalformedFrom, attack},
		{"group", "From: g: a@attack.example;\r\n", MalformedFrom, attack},
		{"blank in the domain", "From: <a@attack .example>\r\n", MalformedFrom, ""},
		{"comment in the address", "From: <a@legit.example(x).attack.example>\r\n", MalformedFrom, legit},
		{"two words", "From: a@legit.example x@attack.example\r\n", MalformedFrom, attack + " " + legit},
		{"next to a quote", "From: \"a\"a@attack.example\r\n", MalformedFrom, attack},
		{"right to left", "From: <\u202ea\u202d@attack.example>\r\n", MalformedFrom, attack},
		{"control character", "From: <a@attack.example>\x01<a@legit.example>\r\n", MalformedFrom, attack + " " + legit},

		{"nobody", "From: <>\r\n", NoAuthorDomain, ""},
		{"empty", "From:\r\n", NoAuthorDomain, ""},
		{"a name", "From: A B\r\n", NoAuthorDomain, ""},
		{"a literal", "From: a@[192.0.2.1]\r\n", NoAuthorDomain, ""},
		{"a literal beside", "From: a@[192.0.2.1], a@attack.example\r\n", NoAuthorDomain, attack},
		{"local", "From: <root>, a@attack.example\r\n", NoAuthorDomain, attack},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := ReadAuthors(headerOf(t, c.header+"Subject: x\r\n\r\n"))
			got, want := slices.Clone(a.Domains), strings.Fields(c.domains)
			slices.Sort(got)
			slices.Sort(want)
			if a.Flaw != c.flaw || !slices.Equal(got, want) {
				t.Errorf("got %q %q (%s), want %q %q", a.Flaw, got, a.Detail, c.flaw, want)
			}
			if (a.Domain() != "") != (c.flaw == "") {
				t.Errorf("one domain %q with the flaw %q", a.Domain(), a.Flaw)
			}
		})
	}
}

func TestReadAuthorsIsBounded(t *testing.T) {
	for name, text := range map[string]string{
		"fields":  strings.Repeat("From: a@attack.example\r\n", 1000),
		"domains": "From: " + strings.Repeat("a@x", 10000) + "\r\n",
		"quotes":  "From: " + strings.Repeat("\"", 200001) + "\r\n",
		"angles":  "From: " + strings.Repeat("<", 200000) + "\r\n",
		"words":   "From: " + strings.Repeat("=?utf-8?q?=3C?=", 15000) + "\r\n",
		"ats":     "From: " + strings.Repeat("@", 200000) + "\r\n",
		"open":    "From: " + strings.Repeat("(", 200000) + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			if a := ReadAuthors(headerOf(t, text+"\r\n")); a.Domain() != "" || len(a.Domains) > maxAuthorDomains {
				t.Errorf("%+v", a)
			}
		})
	}
}

// FuzzReadAuthors: where there is one domain, everybody who reads the field leniently finds that one, and a second
// field takes it away.
func FuzzReadAuthors(f *testing.F) {
	for _, s := range []string{
		"a@b.example", "A <a@b.example>", "\"x\" <a@b.example> (c)", "<a@b.example>,c@d.example", "=?utf-8?q?a=40b.example?= <c@d.example>",
		"\"a@b.example\"@d.example", "<@a.example:b@c.example>", "g: a@b.example;", "a@b.example\\,c@d.example",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		if strings.ContainsAny(body, "\r\n") {
			return
		}
		h := headerOf(t, "From: "+body+"\r\nTo: x\r\n\r\n")
		a := ReadAuthors(h)
		d := a.Domain()
		if d == "" {
			return
		}
		if clean, err := Domain(d); err != nil || clean != d {
			t.Errorf("%q gives the domain %q", body, d)
		}
		for _, box := range ParseMailboxes(h.Get("From")) {
			if o := box.Domain(); o != "" && o != d {
				t.Errorf("%q gives %q, and a lenient reader finds %q", body, d, o)
			}
		}
		if a := ReadAuthors(headerOf(t, "From: "+body+"\r\nFrom: x@other.example\r\n\r\n")); a.Domain() != "" {
			t.Errorf("two fields give the domain %q", a.Domain())
		}
	})
}
