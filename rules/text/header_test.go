package text

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/mail"
)

// sampleHeader is a message with something for each selector.
const sampleHeader = "Return-Path: <bounce@list.example>\n" +
	"Received: from mx.example (mx.example [192.0.2.9])\n\tby in.example.net (Postfix) with ESMTP id AAA1\n\tfor <u@example.net>; Mon, 2 Jan 2006 15:04:06 +0000\n" +
	"X-Mine: 1\n" +
	"Received: from pc (pc.example [198.51.100.7]) by mx.example (Postfix) with ESMTP id BBB2; Mon, 2 Jan 2006 15:04:05 +0000\n" +
	"From: =?utf-8?q?J=C3=B6rg?= \"D.\" <Joerg@Example.ORG>\n" +
	"To: a@example.net,\n b@example.net\n" +
	"Cc: C <c@example.net>\n" +
	"Subject: =?iso-8859-1?Q?caf=E9?=\n =?iso-8859-1?Q?_au_?=\n\t=?iso-8859-1?Q?lait?= now\n" +
	"Message-ID: <1@example.org>\n" +
	"X-Message-Id: <0@example.org>\n" +
	"X-Empty:\n" +
	"X-Originating-IP: [203.0.113.5]\n" +
	"Date : Mon, 2 Jan 2006 15:04:05 +0000\n" +
	"not a field\n" +
	"\nbody\n"

func TestSelectors(t *testing.T) {
	m := Of(contentOf(t, strings.ReplaceAll(sampleHeader, "\n", "\r\n")), Options{})
	for _, c := range []struct{ selector, want string }{
		{"Subject", "café au lait now\n"},
		{"subject", "café au lait now\n"},
		{"Subject:raw", " =?iso-8859-1?Q?caf=E9?=\n =?iso-8859-1?Q?_au_?=\n\t=?iso-8859-1?Q?lait?= now\n"},
		{"From:addr", "Joerg@Example.ORG"},
		{"From:name", "Jörg D."},
		{"From:name:raw", "=?utf-8?q?J=C3=B6rg?= D. "},
		{"From:addr:host", "Example.ORG"},
		{"From:addr:domain", "example.org"},
		{"Message-ID:host", "example.org"},
		{"To", "a@example.net, b@example.net\n"},
		{"To:addr", "a@example.net\nb@example.net"},
		{"ToCc", "a@example.net, b@example.net\nC <c@example.net>\n"},
		{"ToCc:raw", " a@example.net, b@example.net\n C <c@example.net>\n"},
		{"tocc:addr", "a@example.net\nb@example.net\nc@example.net"},
		{"MESSAGEID", "<0@example.org>\n<1@example.org>\n"},
		{"MessageID", "-"},
		{"X-Empty", "\n"},
		{"X-Empty:addr", "-"},
		{"X-None", "-"},
		{"Date", "Mon, 2 Jan 2006 15:04:05 +0000\n"},
		{"X-Originating-IP:ip", "203.0.113.5"},
		{"X-Originating-IP:revip", "5.113.0.203"},
		{"Received:last", "from pc (pc.example [198.51.100.7]) by mx.example (Postfix) with ESMTP id BBB2; Mon, 2 Jan 2006 15:04:05 +0000\n"},
		{"Received:first:ip", "192.0.2.9"},
		{"EnvelopeFrom", "bounce@list.example"},
		{"EnvelopeFrom:addr:host", "list.example"},
		{"X-SenderDomain", "list.example"},
		{"X-AuthorDomain", "example.org"},
		{"X-Spam-Relays-Trusted", ""},
		{"X-Spam-Relays-Untrusted", "[ ip=192.0.2.9 rdns=mx.example helo=mx.example by=in.example.net ident= envfrom= intl=0 id=AAA1 auth= msa=0 ] " +
			"[ ip=198.51.100.7 rdns=pc.example helo=pc by=mx.example ident= envfrom= intl=0 id=BBB2 auth= msa=0 ] " +
			"[ ip=203.0.113.5 rdns= helo= by= ident= envfrom= intl=0 id= auth= msa=0 ]"},
	} {
		got := "-"
		if v, ok := m.Header(MustSelector(c.selector)); ok {
			got = string(v)
		}
		if got != c.want {
			t.Errorf("%s\n got %q\nwant %q", c.selector, got, c.want)
		}
	}
	all := string(m.Value(MustSelector("ALL")))
	if !strings.HasPrefix(all, "Return-Path: <bounce@list.example>\nReceived: from mx.example") || !strings.Contains(all, "\nDate: Mon") ||
		strings.Contains(all, "not a field") {
		t.Errorf("ALL is %q", all)
	}
	if raw := string(m.Value(MustSelector("ALL:raw"))); raw != strings.TrimSuffix(sampleHeader, "\nbody\n") {
		t.Errorf("ALL:raw is %q", raw)
	}
	if external := string(m.Value(MustSelector("ALL-EXTERNAL"))); !strings.HasPrefix(external, "Received: from mx.example") || !strings.Contains(external, "X-Mine") {
		t.Errorf("ALL-EXTERNAL is %q", external)
	}
	if trusted := string(m.Value(MustSelector("ALL-TRUSTED:raw"))); !strings.HasPrefix(trusted, "Return-Path") || strings.Contains(trusted, "X-Mine") {
		t.Errorf("ALL-TRUSTED:raw is %q", trusted)
	}
}

func TestBadSelectors(t *testing.T) {
	for _, s := range []string{"", ":addr", "From:adr", "a b", strings.Repeat("x", 2000)} {
		if _, err := ParseSelector(s); err == nil {
			t.Errorf("%.20q is taken", s)
		}
	}
	if s := MustSelector("From:addr"); s != MustSelector("From:addr") || s.String() != "From:addr" {
		t.Error("a selector is not the same twice")
	}
	if v, ok := Of(contentOf(t, "A: b\r\n\r\n"), Options{}).Header(Selector{}); ok {
		t.Errorf("the zero Selector gives %q", v)
	}
}

func TestHeaderSection(t *testing.T) {
	for _, c := range []struct {
		name, message, all string
		unclosed           bool
	}{
		{name: "mbox", message: "From joe Mon Jan  2\nA: b\n\nC: d\n", all: "A: b\n"},
		{name: "no body", message: "A: b\n", all: "A: b\n", unclosed: true},
		{name: "no line end", message: "A: b", all: "A: b\n", unclosed: true},
		{name: "boundary", message: "A: b\n--x\nC: d\n", all: "A: b\n", unclosed: true},
		{name: "three bad lines", message: "1\n2\n3\nA: b\n\n", all: "A: b\n"},
		{name: "four bad lines", message: "A: b\n1\n2\n3\n4\nC: d\n\n", all: "A: b\n", unclosed: true},
		{name: "continuation first", message: " x: y\nA: b\n\n", all: " x: y\nA: b\n"},
		{name: "long value", message: "A: " + strings.Repeat("b", 9000) + "\n\n", all: "A: " + strings.Repeat("b", maxValue-1) + "\n"},
		{name: "long name", message: strings.Repeat("a", 300) + ": b\n\n", all: strings.Repeat("a", 256) + ": b\n"},
		{name: "own name", message: "X-Spam-Relays-Trusted: [ ip=1.2.3.4 ]\nA: b\n\n", all: "A: b\n"},
		{name: "what filters tell", message: "X-Spam-Flag: YES\nx-spam-status : a\n b\nX-Spam: c\nX-Spam-: d\nA: b\n\n", all: "X-Spam: c\nA: b\n"},
		{name: "octets", message: "A: caf\xe9 \xc3\xa4\nB: caf\xc3\xa9\n\n", all: "A: café Ã¤\nB: café\n"},
		{name: "words", message: "A: =?utf-8?B?w6Q=?=x =?utf-8?Q?=C3?= =?utf-8?Q?=A4?= =?x?Q?a?\n\n", all: "A: äx ä =?x?Q?a?\n"},
	} {
		m := Of(contentOf(t, strings.ReplaceAll(c.message, "\n", "\r\n")), Options{})
		if got := string(m.Value(MustSelector("ALL"))); got != c.all {
			t.Errorf("%s: ALL is %.300q", c.name, got)
		}
		if unclosed := m.readHead().unclosed; unclosed != c.unclosed {
			t.Errorf("%s: unclosed %v", c.name, unclosed)
		}
	}
}

// The hop that hands the message over has no field in it, and is there all the same.
func TestClientIsTheNewestHop(t *testing.T) {
	from, err := mail.ParseAddress("s@sender.example")
	if err != nil {
		t.Fatal(err)
	}
	o := Options{
		Client: Client{
			Addr: netip.MustParseAddr("192.0.2.77"), Name: "out.sender.example", Helo: "hi there", ESMTP: true, TLS: true, By: "mx.example.net", ID: "mx-1",
			Time: time.Date(2006, 1, 2, 15, 4, 10, 0, time.UTC),
		},
		From: from, HasEnvelope: true,
	}
	m := Of(contentOf(t, strings.ReplaceAll(sampleHeader, "\n", "\r\n")), o)
	r := m.Relays()
	if len(r.Untrusted) != 4 || r.Untrusted[0].String() != "[ ip=192.0.2.77 rdns=out.sender.example helo=hi!there by=mx.example.net ident= "+
		"envfrom=s@sender.example intl=0 id=mx-1 auth= msa=0 ]" {
		t.Errorf("untrusted %q", writeRelays(r.Untrusted))
	}
	want := "from hi!there (out.sender.example [192.0.2.77]) by mx.example.net (Postern) with ESMTPS id mx-1; Mon, 02 Jan 2006 15:04:10 +0000\n"
	if got := string(m.Value(MustSelector("Received:first"))); got != want {
		t.Errorf("Received is %q", got)
	}
	if got := string(m.Value(MustSelector("EnvelopeFrom"))); got != "s@sender.example" {
		t.Errorf("EnvelopeFrom is %q", got)
	}
	if got := string(m.Value(MustSelector("ALL-EXTERNAL"))); !strings.HasPrefix(got, "Received: from hi!there") || !strings.Contains(got, "Return-Path") {
		t.Errorf("ALL-EXTERNAL is %q", got)
	}
	// What is written of the hop must be read as what is known of it.
	reader := receivedReader{}
	relay, v := reader.read([]byte(want))
	if v != readable || relay.IP != "192.0.2.77" || relay.RDNS != "out.sender.example" || relay.Helo != "hi!there" || relay.By != "mx.example.net" {
		t.Errorf("the field is read as %s", relay.String())
	}
	o.HasEnvelope, o.From, o.Client.Login = true, mail.Address{}, "joe"
	m = Of(contentOf(t, "A: b\r\n\r\n"), o)
	if v, ok := m.Header(MustSelector("EnvelopeFrom")); !ok || len(v) != 0 {
		t.Errorf("the null reverse-path is %q, %v", v, ok)
	}
	if r := m.Relays(); len(r.Trusted) != 1 || r.Trusted[0].Auth != "ESMTPSA" {
		t.Errorf("a user is not trusted: %q", writeRelays(r.Untrusted))
	}
}

func TestTrust(t *testing.T) {
	prefixes := func(s string) (all Networks) {
		for p := range strings.FieldsSeq(s) {
			all = append(all, Network{Prefix: netip.MustParsePrefix(p)})
		}
		return all
	}
	received := func(ip, with string) string {
		return fmt.Sprintf("Received: from a.example (a.example [%s]) by b.example (Postfix) with %s id X1Y2\r\n", ip, with)
	}
	for _, c := range []struct {
		name, trusted, internal, msa string
		hops                         []string
		want                         string // T or U, then I or E, of each hop
	}{
		{name: "nothing is known", hops: []string{"192.0.2.1 ESMTP", "10.0.0.1 ESMTP"}, want: "UE UE"},
		{name: "private", hops: []string{"10.0.0.1 ESMTP", "127.0.0.1 ESMTP", "192.0.2.1 ESMTP", "10.0.0.2 ESMTP"}, want: "TI TI UE UE"},
		{name: "authenticated", hops: []string{"192.0.2.1 ESMTPA", "192.0.2.2 ESMTP"}, want: "TI UE"},
		{name: "trusted alone", trusted: "192.0.2.0/24", hops: []string{"192.0.2.1 ESMTP", "198.51.100.1 ESMTP"}, want: "TI UE"},
		{name: "internal alone", internal: "192.0.2.0/24", hops: []string{"192.0.2.1 ESMTP", "198.51.100.1 ESMTP"}, want: "TI UE"},
		{
			name: "both", trusted: "192.0.2.0/24 198.51.100.0/24", internal: "192.0.2.0/24",
			hops: []string{"192.0.2.1 ESMTP", "198.51.100.1 ESMTP", "192.0.2.2 ESMTP", "203.0.113.1 ESMTP"}, want: "TI TE TE UE",
		},
		{
			name: "msa", trusted: "192.0.2.0/24", internal: "192.0.2.0/24", msa: "192.0.2.5/32",
			hops: []string{"192.0.2.5 ESMTP", "203.0.113.1 ESMTP"}, want: "TI TI",
		},
		{name: "private is not configured", trusted: "192.0.2.0/24", hops: []string{"10.0.0.1 ESMTP"}, want: "UE"},
		{name: "loopback always is", trusted: "192.0.2.0/24", hops: []string{"127.0.0.1 ESMTP", "192.0.2.1 ESMTP"}, want: "TI TI"},
	} {
		var b strings.Builder
		for _, h := range c.hops {
			ip, with, _ := strings.Cut(h, " ")
			b.WriteString(received(ip, with))
		}
		o := Options{Trusted: prefixes(c.trusted), Internal: prefixes(c.internal), MSA: prefixes(c.msa)}
		r := Of(contentOf(t, b.String()+"\r\n"), o).Relays()
		var got []string
		for i := range c.hops {
			word := "T"
			if i >= len(r.Trusted) {
				word = "U"
			}
			if i < len(r.Internal) {
				word += "I"
			} else {
				word += "E"
			}
			got = append(got, word)
		}
		if strings.Join(got, " ") != c.want || len(r.Trusted)+len(r.Untrusted) != len(c.hops) {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func FuzzHeader(f *testing.F) {
	f.Add([]byte(strings.ReplaceAll(sampleHeader, "\n", "\r\n")), "From:name")
	for _, s := range []string{"ALL", "ALL:raw", "ALL-EXTERNAL", "ToCc:addr:host", "MESSAGEID:raw", "EnvelopeFrom", "Received:ip", "X:first:revip", "A:domain"} {
		f.Add([]byte("From a\nA: =?utf-8*de?b?w6Q?= =?x?q?=\xff?=\n b@c.example\nReceived: from x by y\n\n"), s)
	}
	f.Fuzz(func(t *testing.T, b []byte, s string) {
		sel, err := ParseSelector(s)
		if err != nil || len(b) > 1<<16 {
			return
		}
		c := mail.NewContent(mail.NewBlob(b), mail.LineFaults{}, mail.Limits{})
		defer c.Release()
		m := Of(c, Options{})
		v, ok := m.Header(sel)
		if ok != (len(m.Values(sel)) > 0) || !ok && v != nil {
			t.Errorf("%q: %v, %q", s, ok, v)
		}
		h := m.readHead()
		for i := range h.fields {
			if f := &h.fields[i]; len(f.raw[0]) > maxValue || len(f.name) > maxNameLength || len(f.value[0]) == 0 || f.value[0][len(f.value[0])-1] != '\n' {
				t.Errorf("a field %q of %d octets", f.name, len(f.raw[0]))
			}
		}
		if len(h.all()) > maxAll {
			t.Errorf("ALL has %d octets", len(h.all()))
		}
	})
}

// stockSelectors are header selectors as the stock rules of SpamAssassin have them; those of fields that hardly any message has are
// left out, and come with the loop.
var stockSelectors = strings.Fields("ALL ALL-EXTERNAL ALL:raw CC Content-Type DKIM-Signature Date Date:raw EnvelopeFrom From From:addr From:name " +
	"From:name:raw From:raw In-Reply-To List-Id List-Unsubscribe MESSAGEID MIME-Version Message-ID Message-Id Organization Precedence Received " +
	"References Reply-To Reply-To:addr Reply-To:name Return-Path Return-Path:addr Sender Subject Subject:raw Thread-Index To To:addr To:raw ToCc " +
	"ToCc:addr User-Agent X-Envelope-From:addr X-Mailer X-MimeOLE X-Originating-IP X-Priority X-Spam-Relays-External X-Spam-Relays-Untrusted")

func BenchmarkHeader(b *testing.B) {
	var sels []Selector
	for _, s := range stockSelectors {
		sels = append(sels, MustSelector(s))
	}
	for i := len(sels); i < 112; i++ {
		sels = append(sels, MustSelector(fmt.Sprintf("X-Rare-%d", i)))
	}
	var msg strings.Builder
	for i := range 6 {
		fmt.Fprintf(&msg, "Received: from host%d.example.org (host%d.example.org [192.0.2.%d])\r\n\tby mx%d.example.net (Postfix) with ESMTPS id 4ABC%d\r\n"+
			"\tfor <user@example.net>; Mon, 2 Jan 2006 15:04:%02d +0000 (UTC)\r\n", i, i, i+1, i, i, 59-i)
	}
	for i := range 20 {
		fmt.Fprintf(&msg, "X-Field-%d: something of %d, with a few words and =?utf-8?q?more_=C3=A4?= than one\r\n", i, i)
	}
	msg.WriteString(strings.ReplaceAll(sampleHeader, "\n", "\r\n"))
	c := mail.NewContent(mail.NewBlob([]byte(msg.String())), mail.LineFaults{}, mail.Limits{})
	defer c.Release()
	b.ReportAllocs()
	for b.Loop() {
		m := newMessage(c, Options{}, &known{})
		for _, s := range sels {
			m.Header(s)
		}
	}
}
