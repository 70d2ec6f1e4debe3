package upstream

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/postern-mail/postern/mail"
)

func parseReply(s string) (mail.Reply, error) {
	return readReply(bufio.NewReaderSize(strings.NewReader(s), maxReplyLine), 0)
}

func TestReadReply(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     mail.Reply
		err      error
	}{
		{name: "plain", in: "250 Ok\r\n", want: mail.Reply{Code: 250, Text: "Ok"}},
		{name: "no text", in: "354\r\n", want: mail.Reply{Code: 354}},
		{name: "empty text", in: "354 \r\n", want: mail.Reply{Code: 354}},
		{name: "enhanced", in: "550 5.1.1 no\r\n", want: mail.NewReply(550, 5, 1, 1, "no")},
		{name: "enhanced alone", in: "550 5.1.1\r\n", want: mail.NewReply(550, 5, 1, 1, "")},
		{name: "enhanced of another class", in: "550 4.1.1 no\r\n", want: mail.Reply{Code: 550, Text: "4.1.1 no"}},
		{name: "enhanced too long", in: "550 5.1000.1 no\r\n", want: mail.Reply{Code: 550, Text: "5.1000.1 no"}},
		{name: "enhanced with a sign", in: "550 5.+1.1 no\r\n", want: mail.Reply{Code: 550, Text: "5.+1.1 no"}},
		{name: "an address is no enhanced code", in: "220 10.1.0.9 ready\r\n", want: mail.Reply{Code: 220, Text: "10.1.0.9 ready"}},
		{
			name: "several lines", in: "550-5.7.1 one\r\n550-5.7.1 two\r\n550 5.7.1 three\r\n",
			want: mail.NewReply(550, 5, 7, 1, "one\ntwo\nthree"),
		},
		{name: "not printable", in: "250 a\x00b\tc\xff\x1b[1m\r\n", want: mail.Reply{Code: 250, Text: "a?b?c??[1m"}},
		{name: "eight bit", in: "250 grün\r\n", want: mail.Reply{Code: 250, Text: "grün"}},
		{name: "bare CR within", in: "250 a\rb\r\n", want: mail.Reply{Code: 250, Text: "a?b"}},
		{name: "codes differ", in: "250-a\r\n550 b\r\n", err: errProtocol},
		{name: "bare LF", in: "250 a\n", err: errProtocol},
		{name: "no digits", in: "2x0 a\r\n", err: errProtocol},
		{name: "class 1", in: "150 a\r\n", err: errProtocol},
		{name: "class 6", in: "650 a\r\n", err: errProtocol},
		{name: "four digits", in: "2500 a\r\n", err: errProtocol},
		{name: "empty line", in: "\r\n", err: errProtocol},
		{name: "cut short", in: "250-a\r\n250", err: io.EOF},
		{name: "nothing", in: "", err: io.EOF},
		{
			name: "longest line", in: "250 " + strings.Repeat("x", maxReplyLine-6) + "\r\n",
			want: mail.Reply{Code: 250, Text: strings.Repeat("x", maxReplyLine-6)},
		},
		{name: "line too long", in: "250 " + strings.Repeat("x", maxReplyLine-5) + "\r\n", err: errProtocol},
		{
			name: "most lines", in: strings.Repeat("250-\r\n", maxReplyLines-1) + "250 \r\n",
			want: mail.Reply{Code: 250, Text: strings.Repeat("\n", maxReplyLines-1)},
		},
		{name: "too many lines", in: strings.Repeat("250-\r\n", maxReplyLines) + "250 \r\n", err: errProtocol},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := parseReply(c.in)
			if !errors.Is(err, c.err) {
				t.Fatalf("error %v, want %v", err, c.err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestHopedReply: only a reply of one line with the code that is hoped for loses its text, and every other is as it is.
func TestHopedReply(t *testing.T) {
	for in, want := range map[string]mail.Reply{
		"250 2.1.0 Ok\r\n":         {Code: 250},
		"250\r\n":                  {Code: 250},
		"251 2.1.5 Ok\r\n":         mail.NewReply(251, 2, 1, 5, "Ok"),
		"550 5.1.1 no\r\n":         mail.NewReply(550, 5, 1, 1, "no"),
		"250-2.1.0 a\r\n250 b\r\n": mail.NewReply(250, 2, 1, 0, "a\nb"),
	} {
		got, err := readReply(bufio.NewReaderSize(strings.NewReader(in), maxReplyLine), 250)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%q: %v, %s", in, err, diff)
		}
	}
	for _, in := range []string{"250 a\n", "2500 a\r\n", "250-a\r\n550 b\r\n", "250+a\r\n"} {
		if got, err := readReply(bufio.NewReaderSize(strings.NewReader(in), maxReplyLine), 250); !errors.Is(err, errProtocol) {
			t.Errorf("%q: %+v, %v", in, got, err)
		}
	}
}

func TestParseExtensions(t *testing.T) {
	r, err := parseReply("250-PIPELINING is only a greeting here\r\n250-size 100\r\n250-8BitMime\r\n250-AUTH=LOGIN\r\n250 STARTTLS\r\n")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := parseExtensions(r), (extensions{size: true, maxSize: 100, eightBit: true, startTLS: true}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	for line, want := range map[string]extensions{
		"SIZE": {size: true}, "SIZE 0": {size: true}, "SIZE  52428800 ": {size: true, maxSize: 52428800}, "SIZE x": {size: true},
		"SIZE -5": {size: true}, "SIZE 99999999999999999999": {size: true},
	} {
		r := mail.Reply{Code: 250, Text: "greeting\n" + line}
		if got := parseExtensions(r); got != want {
			t.Errorf("%q: %+v", line, got)
		}
	}
}

// FuzzReply: whatever comes, a reply is well formed, printable, and just its lines are taken.
func FuzzReply(f *testing.F) {
	for _, s := range []string{"250 Ok\r\n", "550-5.1.1 a\r\n550 5.1.1 b\r\n", "354\r\n250 x\r\n", "250-a\r\n550 b\r\n", "\r\n", "250\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		br := bufio.NewReaderSize(bytes.NewReader(in), maxReplyLine)
		r, err := readReply(br, 0)
		if err != nil {
			return
		}
		if r.Code < 200 || r.Code > 599 || r.Enhanced[0] != 0 && r.Enhanced[0] != r.Code/100 {
			t.Errorf("%+v", r)
		}
		if strings.ContainsAny(r.Text, "\r\x00\x1b\t") || strings.Count(r.Text, "\n") >= maxReplyLines {
			t.Errorf("text %q", r.Text)
		}
		rest, err := io.ReadAll(br)
		taken := in[:len(in)-len(rest)]
		if lines := bytes.Count(taken, []byte("\n")); err != nil || !bytes.HasSuffix(taken, []byte("\r\n")) ||
			lines != 1+strings.Count(r.Text, "\n") {
			t.Errorf("%v, took %q for %q", err, taken, r)
		}
		again := bufio.NewReaderSize(bytes.NewReader(in), maxReplyLine)
		if hoped, err := readReply(again, 250); err != nil || hoped.Code != r.Code || hoped != r && (r.Code != 250 || hoped != (mail.Reply{Code: 250})) {
			t.Errorf("%+v, hoped for %+v, %v", r, hoped, err)
		}
		parseExtensions(r)
		for _, o := range []Outcome{{Kind: Refused, Reply: r}, {Kind: RecipientRefused, Reply: r}, {Reply: r}} {
			if c := o.ClientReply("ID", true); c.Code/100 == 5 && !r.Permanent() {
				t.Errorf("%v became %v", r, c)
			}
		}
	})
}
