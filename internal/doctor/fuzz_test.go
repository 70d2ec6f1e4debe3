package doctor

import (
	"context"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/postern-mail/postern/upstream"
)

// FuzzServer examines a server that says what it likes. Whatever that is, the examination ends, delivers nothing, and what
// it tells is fit for a terminal and known to the documents.
func FuzzServer(f *testing.F) {
	const hello = "220 mx ESMTP Postfix\r\n250-mx\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-LIMITS RCPTMAX=1\r\n250-AUTH PLAIN\r\n250 X-EXPS\r\n"
	for _, seed := range []string{
		hello + "250 2.1.0 Ok\r\n550 5.1.1 unknown\r\n250 2.1.5 Ok\r\n250 Ok\r\n250 Ok\r\n250 Ok\r\n",
		hello + "250 Ok\r\n554 5.7.1 Client host [127.0.0.1] blocked\r\n", hello + "452 4.3.1 full\r\n", hello + "530 5.7.57 no\r\n",
		"220 mx\r\n500 what\r\n250 mx\r\n", "220-a\r\n220 b\r\n250-\x1b[2J\r\n250 SIZE \x00\r\n", "554 no\r\n", "250-\r\n", "220 " + strings.Repeat("x", 9000), "",
		"220 mx\r\n250 STARTTLS\r\n220 go\r\n\x16\x03\x01",
	} {
		f.Add(seed, uint8(0))
		f.Add(seed, uint8(0xff))
	}
	f.Fuzz(func(t *testing.T, says string, how uint8) {
		said := make(chan string, 64)
		connect := func(context.Context, []netip.Addr, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go func() {
				_, _ = io.WriteString(theirs, says)
				_ = theirs.Close()
			}()
			return &listened{Conn: ours, said: said}, nil
		}
		s := Server{
			Upstream: "x", Address: "x:25", LMTP: how&1 > 0, TLS: upstream.TLSMode(how >> 1 & 3), Exchange: how&8 > 0, Hello: "mx.example.org",
			Domains: []string{"example.org"}, Outward: how&16 > 0, Identity: []string{"none", "proxy"}[how>>5&1], Recipients: Recipients(how >> 6 & 1),
		}
		r := Examination{Servers: []Server{s}, Limits: Limits{Reply: time.Second}, connect: connect}.Run(t.Context())
		for _, f := range r.Findings {
			if !slices.Contains(Codes(), f.Code) || f.Why == "" || f.Seen == "" || len(f.Seen) > maxSeen+10 || strings.ContainsFunc(f.Seen, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("%+v", f)
			}
		}
		for len(said) > 0 {
			if line := <-said; strings.HasPrefix(line, "DATA") || strings.HasPrefix(line, "BDAT") {
				t.Errorf("it said %q", line)
			}
		}
	})
}

// listened is a connection of which it is noted what is said over it; nobody reads that.
type listened struct {
	net.Conn
	said chan string
}

func (l *listened) Write(b []byte) (int, error) {
	select {
	case l.said <- string(b):
	default:
	}
	return len(b), nil
}
