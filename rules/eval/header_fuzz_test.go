package eval

import (
	"bytes"
	"testing"
	"time"

	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/rules/text"
)

// headCalls are functions on header fields with arguments.
var headCalls = []string{
	"check_illegal_chars ALL 0.01 2", "similar_recipients 0.65 undef", "check_for_shifted_date undef -96", "check_for_to_in_subject user",
	"check_for_to_in_subject address", "check_header_count_range Subject 2 999", "check_from_in_list X", "check_freemail_replyto reply",
	"check_freemail_header Reply-To", "check_for_from_domain_in_received_headers x.example true", "check_dkim_adsp A", "check_replyto_in_list X", "check_to_in_list X",
}

// FuzzHeaderFunctions has all functions on header fields look at octets: none panics, and none takes long.
func FuzzHeaderFunctions(f *testing.F) {
	f.Add([]byte("Received: from a (b [192.0.2.1]) by c.example with SMTP id AB12 for <a@b.example>; Mon, 2 Jan 2006 12:00:00 +0000\nFrom: \"x@y.com\" <a@hotmail.com>\n" +
		"To: a@b.example\nReply-To: b@mail.com\nSubject: A, %XX\nDate: 31 Feb 06 1:02 EST\nMESSAGE-ID: <0000c60f95ff$00000000$01000000@x>\n\nc@mail.com wrote: d@mail.com"))
	f.Add([]byte("To: aa@b.example, ab@b.example, ac@b.example, ad@b.example, ae@b.example\nFrom: a@juno.com\nMailing-List: contact a@b; run by ezmlm\n\n"))
	s := linesOf(f, "freemail_domains mail.com *.free", "enlist_addrlist (X) *@*.example", "welcomelist_from_rcvd *@b.example [192.0.2.0/24]", "adsp_override *.example all")
	var checks []Check
	for _, table := range [][]Function{headerFunctions, relayFunctions, listFunctions, freemailFunctions, spoofFunctions, authFunctions} {
		for _, fn := range table {
			if c, err := fn.Compile(s, nil); err == nil {
				checks = append(checks, c)
			}
		}
	}
	for _, call := range headCalls {
		words := bytes.Fields([]byte(call))
		var args []string
		for _, w := range words[1:] {
			args = append(args, string(w))
		}
		c, err := Functions()[string(words[0])].Compile(s, args)
		if err != nil {
			f.Fatal(err)
		}
		checks = append(checks, c)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<16 {
			return
		}
		c := mail.NewContent(mail.NewBlob(b), mail.LineFaults{}, mail.Limits{})
		defer c.Release()
		m := &Mail{Text: text.Of(c, text.Options{})}
		begin := time.Now()
		for _, check := range checks {
			check(m)
		}
		if d := time.Since(begin); d > 10*time.Second {
			t.Errorf("took %v", d)
		}
	})
}

func FuzzParseDate(f *testing.F) {
	f.Add([]byte("Mon, 02 Jan 2006 15:04:05 +0100"))
	f.Add([]byte("Jan 2 15:04:05 2006 EST"))
	f.Add([]byte("99999999999999999999 feb 99 1:1:1 -9999"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, ok := parseDate(b); ok && (s < -400*24*3600 || s > 3e9) {
			t.Errorf("%q is %d", b, s)
		}
	})
}

// BenchmarkHeaderFunctions has all functions on header fields look at one message.
func BenchmarkHeaderFunctions(b *testing.B) {
	s := linesOf(b, "freemail_domains mail.com *.free", "enlist_addrlist (X) *@*.example", "welcomelist_from_rcvd *@b.example [192.0.2.0/24]")
	var checks []Check
	for _, table := range [][]Function{headerFunctions, relayFunctions, listFunctions, freemailFunctions, authFunctions} {
		for _, fn := range table {
			if c, err := fn.Compile(s, nil); err == nil {
				checks = append(checks, c)
			}
		}
	}
	msg := received("a.example", "a.example", "192.0.2.1", "b.example", noon) + received("c.example", "c.example", "192.0.2.2", "d.example", noon) +
		"From: \"A B\" <a@x.example>\nTo: b@y.example\nSubject: something or other\nDate: " + noon + "\nMessage-ID: <1@x.example>\n\n" +
		"A text with a few words, and an address c@mail.com in it.\n\n"
	c := mail.NewContent(mail.NewBlob([]byte(msg)), mail.LineFaults{}, mail.Limits{})
	defer c.Release()
	t := text.Of(c, text.Options{})
	t.Body()
	t.URIs()
	b.ReportAllocs()
	for b.Loop() {
		m := &Mail{Text: t}
		for _, check := range checks {
			check(m)
		}
	}
}
