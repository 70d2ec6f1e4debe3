package edge

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/mail"
)

func TestSplitCommand(t *testing.T) {
	for _, c := range []struct{ line, verb, arg string }{
		{"MAIL FROM:<a@b>\r\n", "MAIL", "FROM:<a@b>"},
		{"mail from:<a@b>\n", "MAIL", "from:<a@b>"},
		{"STARTTLS\r\n", "STARTTLS", ""},
		{"starttls now\r\n", "STARTTLS", "now"},
		{"STARTTLSX\r\n", "STARTTLS", "X"},
		{"\u017ftarttls\r\n", "STARTTLS", "s"}, // what the engine's Unicode folding makes STARTTLS of
		{"BDAT 5\r\n", "BDAT", "5"},
		{"BDAT\r\n", "BDAT", ""},
		{"NONSENSEVERB x\r\n", VerbOther, ""},
		{"EOD\r\n", VerbOther, ""},
		{"\r\n", VerbOther, ""},
	} {
		if verb, arg := splitCommand([]byte(c.line)); verb != c.verb || arg != c.arg {
			t.Errorf("%q: got %q, %q", c.line, verb, arg)
		}
	}
}

func TestCommandPath(t *testing.T) {
	for _, c := range []struct{ line, want, parameters string }{
		{"MAIL FROM:<a@b.example> SIZE=1\r\n", "<a@b.example>", "SIZE=1"},
		{"MAIL FROM: <a@b.example>\r\n", "<a@b.example>", ""},
		{"MAIL FROM:<>\r\n", "<>", ""},
		{"MAIL FROM:a@b.example BODY=7BIT\r\n", "a@b.example", "BODY=7BIT"},
		{`RCPT TO:<"a> b"@c.example> X` + "\n", `<"a> b"@c.example>`, "X"},
		{`RCPT TO:<"a\"> b"@c.example>` + "\n", `<"a\"> b"@c.example>`, ""},
		{`RCPT TO:<"a` + "\r\n", `<"a`, ""},
		{`RCPT TO:<"a\`, `<"a\`, ""},
		{"RCPT TO:<@x,@y:a@b.example>\r\n", "<@x,@y:a@b.example>", ""},
		{"RCPT\r\n", "", ""},
	} {
		got, behind := linePath([]byte(c.line))
		if behind = strings.TrimSpace(behind); got != c.want || behind != c.parameters {
			t.Errorf("%q: got %q and %q, want %q and %q", c.line, got, behind, c.want, c.parameters)
		}
	}
}

func TestEngineError(t *testing.T) {
	for _, c := range []struct {
		name    string
		in      mail.Reply
		code    int
		message string
	}{
		{"plain", mail.NewReply(550, 5, 7, 1, "no"), 550, "5.7.1 no"},
		{"several lines", mail.NewReply(550, 5, 7, 1, "a\r\nb"), 550, "5.7.1 a\n5.7.1 b"},
		{"injected", mail.NewReply(450, 4, 7, 1, "a\r250 ok\x00\xff\u00fc"), 450, "4.7.1 a250 ok???"},
		{"no enhanced code", mail.Reply{Code: 550, Text: "x"}, 550, "5.0.0 x"},
		{"class that is not the reply's", mail.NewReply(450, 5, 7, 1, "x"), 450, "4.0.0 x"},
		{"no reply at all", mail.Reply{}, 451, "4.3.0 " + replyLocal.Text},
		{"354", mail.Reply{Code: 354}, 451, "4.3.0 " + replyLocal.Text},
		{"long", mail.NewReply(550, 5, 7, 1, strings.Repeat("x", 2000)), 550, "5.7.1 " + strings.Repeat("x", maxReplyLine)},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got *smtp.SMTPError
			if !errors.As(engineError(c.in), &got) {
				t.Fatal("not an SMTPError")
			}
			if got.Code != c.code || got.Message != c.message || got.EnhancedCode != smtp.NoEnhancedCode {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestReceived(t *testing.T) {
	to, err := mail.ParseAddress("b@ours.example")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))
	secured := &tls.ConnectionState{Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256}
	v6 := netip.MustParseAddrPort("[2001:db8::1]:99")
	for _, c := range []struct {
		name string
		s    *filter.Session
		utf8 bool
		to   []mail.Address
		want string
	}{
		{
			"SMTP", &filter.Session{Helo: "h", Client: v6}, false,
			[]mail.Address{to},
			"from h (unknown [IPv6:2001:db8::1])\r\n\tby us with SMTP id I\r\n\tfor <b@ours.example>;\r\n\tFri, 2 Jan 2026 03:04:05 +0100",
		},
		{
			"name", &filter.Session{Helo: "[192.0.2.1]", PTR: "c.example", Client: v6, ESMTP: true}, false, nil,
			"from [192.0.2.1] (c.example [IPv6:2001:db8::1])\r\n\tby us with ESMTP id I;\r\n\tFri, 2 Jan 2026 03:04:05 +0100",
		},
		{
			"everything", &filter.Session{Helo: "a b\r\nX: y", Client: v6, ESMTP: true, TLS: secured, User: "u"}, true, nil,
			"from a?b??X:?y (unknown [IPv6:2001:db8::1])\r\n\t(using TLS 1.3 with cipher TLS_AES_128_GCM_SHA256)\r\n\tby us with UTF8SMTPSA id I;\r\n\tFri, 2 Jan 2026 03:04:05 +0100",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := Received("us", c.s, &filter.Transaction{ID: "I", SMTPUTF8: c.utf8}, c.to, now)
			if got.Name != "Received" || got.Body != c.want {
				t.Errorf("got  %q\nwant %q", got.Body, c.want)
			}
		})
	}
}

func TestPrivacy(t *testing.T) {
	a, err := mail.ParseAddress("Bob@ours.example")
	if err != nil {
		t.Fatal(err)
	}
	if got := PrivacyFull.Show(a); got != "Bob@ours.example" {
		t.Error(got)
	}
	if got := PrivacyDomain.Show(a); got != "*@ours.example" {
		t.Error(got)
	}
	if got := PrivacyHash.Show(a); len(got) != 16+len("@ours.example") || strings.Contains(got, "ob") && strings.HasPrefix(got, "Bob") {
		t.Error(got)
	}
	if got := PrivacyHash.Show(mail.Address{}); got != "" {
		t.Error(got)
	}
	if got := PrivacyHash.words("550 5.1.1 <bob@x> unknown"); got != "550 5.1.1" {
		t.Error(got)
	}
	if got := PrivacyDomain.words("250 bob has it"); got != "250" {
		t.Error(got)
	}
}

func TestStorageReply(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{fmt.Errorf("x: %w", syscall.ENOSPC), 452},
		{fmt.Errorf("x: %w", syscall.EDQUOT), 452},
		{errors.New("disk on fire"), 451},
	} {
		if got := storageReply(c.err); got.Code != c.want {
			t.Errorf("%v: got %v", c.err, got)
		}
	}
}

func TestAddressesAreUnmapped(t *testing.T) {
	got := addrPort(&net.TCPAddr{IP: net.ParseIP("::ffff:192.0.2.1"), Port: 25})
	if want := netip.MustParseAddrPort("192.0.2.1:25"); got != want {
		t.Errorf("got %v", got)
	}
}
