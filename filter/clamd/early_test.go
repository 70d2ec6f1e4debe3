package clamd

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/scanner"
)

// hasty is a clamd that says something when a stream begins, and the usual thing when it ends.
func hasty(t *testing.T, early func(net.Conn, int)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	serve := func(c net.Conn) {
		defer func() { _ = c.Close() }()
		r := bufio.NewReader(c)
		for number := 0; ; {
			command, err := r.ReadString(0)
			switch {
			case err != nil:
				return
			case command == "zVERSION\x00":
				number++
				_, _ = fmt.Fprintf(c, "%d: ClamAV 1.4.3\x00", number)
				continue
			case command != "zINSTREAM\x00":
				continue
			}
			number++
			for first := true; ; first = false {
				var n uint32
				if binary.Read(r, binary.BigEndian, &n) != nil {
					return
				}
				if first {
					early(c, number)
				}
				if n == 0 {
					break
				}
				if _, err := io.CopyN(io.Discard, r, int64(n)); err != nil {
					return
				}
			}
			_, _ = fmt.Fprintf(c, "%d: stream: OK\x00", number)
		}
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serve(c)
		}
	}()
	return l.Addr().String()
}

// TestEarlyReplies: what clamd says of a stream before it has all of it is no finding, in its session or in the next part.
func TestEarlyReplies(t *testing.T) {
	say := func(text string) func(net.Conn, int) {
		return func(c net.Conn, n int) {
			for _, b := range []byte(strings.ReplaceAll(strings.ReplaceAll(text, "{n}", fmt.Sprint(n)), "{next}", fmt.Sprint(n+1))) {
				_, _ = c.Write([]byte{b})
			}
		}
	}
	for _, c := range []struct {
		name  string
		early func(net.Conn, int)
		want  string // "": an error
		why   string
	}{
		{"nothing", func(net.Conn, int) {}, "continue", ""},
		{"OK", say("{n}: stream: OK\x00"), "", "before it had all"},
		{"a virus", say("{n}: stream: Virus.One FOUND\x00"), "", "before it had all"},
		{"OK of the next stream", say("{next}: stream: OK\x00"), "", "before it had all"},
		{"half of OK", say("{n}: str"), "", "a reply that makes no sense"},
		{"too long", say("INSTREAM size limit exceeded. ERROR\x00"), "", "a reply that makes no sense"},
		{"too long, with its number", say("{n}: INSTREAM size limit exceeded. ERROR\x00"), "defer; VIRUS_UNSCANNED? 1 the message: 15000006 octets, and clamd takes fewer (its StreamMaxLength); 451", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newCheck(t, io.Discard, nil, hasty(t, c.early))
			limit := time.Minute
			if c.name == "half of OK" { // the other half is waited for
				limit = 10 * time.Second
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			// It is longer than what a connection holds: by its last octets the answer is here.
			r, err := f.Check(ctx, input("A:\n\n"+strings.Repeat("12345678\n", 1_500_000)))
			switch {
			case c.want == "" && err == nil, c.want != "" && (err != nil || shown(r) != c.want):
				t.Errorf("got %s, %v", shown(r), err)
			case err != nil && !strings.Contains(err.Error(), c.why):
				t.Errorf("it explains itself with %v", err)
			case err != nil && f.(*check).pool.State() != scanner.Closed:
				t.Error("one fault opens the breaker")
			}
		})
	}
}

// TestTwoReplies: a reply behind that to a command is none to the next one.
func TestTwoReplies(t *testing.T) {
	f := startFake(t, func(c net.Conn, n int, command string, _ []byte) bool {
		if command == "zINSTREAM" {
			_, _ = fmt.Fprintf(c, "%d: stream: OK\x00%d: stream: OK\x00", n, n+1)
		}
		return command == "zINSTREAM"
	})
	r, err := checkIt(t, newCheck(t, io.Discard, nil, f.addr), input(fmt.Sprintf(mixed, "", "YWJj", "")))
	if err == nil || !strings.Contains(err.Error(), "nothing was asked") {
		t.Errorf("got %s, %v", shown(r), err)
	}
}
