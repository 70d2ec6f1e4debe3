package app

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/peertest"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/upstream"
)

// chunkingServers are servers of other makes that offer CHUNKING, and how they log that it was used for three messages.
var chunkingServers = map[string]struct {
	start func(testing.TB, peertest.MTAOptions) *peertest.MTA
	used  string
}{
	"Postfix": {peertest.StartPostfix, `bdat=4 .*commands=`}, // the big one comes in two chunks
	"Exim":    {peertest.StartExim, ` K `},
}

// TestChunking: real servers store what they get by BDAT octet for octet, and the connection serves several messages.
func TestChunking(t *testing.T) {
	t.Parallel()
	for name, s := range chunkingServers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := s.start(t, peertest.MTAOptions{Domain: "example.org"})
			p, err := upstream.NewPool(upstream.Config{Name: "inside", Servers: []string{m.Addr}, Chunking: true, Hello: "gw.test"})
			if err != nil {
				t.Fatal(err)
			}
			var contents []string
			for i, body := range []string{
				"\r\n.\r\n..\r\n.dot\r\nR\xc3\xbccken\r\n.\r\n", "\r\n" + strings.Repeat(strings.Repeat("0123456789", 7)+"\r\n", 10<<20/72), "\r\nno line end",
			} {
				contents = append(contents, fmt.Sprintf("X-Number: %d\r\n", i)+body)
				if o := deliver(t, p, contents[i]); o.Kind != upstream.Delivered {
					t.Fatalf("%d: %+v", i, o)
				}
			}
			p.Close()
			for _, stored := range m.Messages(t, len(contents)) {
				at := bytes.Index(stored, []byte("X-Number: "))
				if at < 0 {
					t.Fatalf("%.500s", stored)
				}
				want := contents[stored[at+len("X-Number: ")]-'0']
				_, wantBody, _ := strings.Cut(want, "\r\n\r\n")
				_, body, _ := strings.Cut(string(stored), "\r\n\r\n") // Postfix adds fields below
				if strings.TrimSuffix(body, "\r\n") != strings.TrimSuffix(wantBody, "\r\n") {
					t.Errorf("stored with %d octets, not %d: %.200q", len(body), len(wantBody), body)
				}
			}
			if !comesTrue(func() bool { return regexp.MustCompile(s.used).MatchString(m.Log()) }) {
				t.Errorf("BDAT was not used:\n%s", m.Log())
			}
		})
	}
}

func deliver(t testing.TB, p *upstream.Pool, content string) upstream.Outcome {
	from, _ := mail.ParseAddress("ann@client.test")
	to, _ := mail.ParseAddress("bob@example.org")
	b := mail.NewBlob([]byte(content))
	m := mail.NewMessage(b)
	b.Release()
	defer m.Release()
	return p.Deliver(t.Context(), mail.Envelope{ID: "ID", From: from, To: []mail.Address{to}, Body8Bit: true}, m)
}

// BenchmarkChunking delivers to real servers, by DATA and by BDAT, over one connection to a recipient that is known to be good.
func BenchmarkChunking(b *testing.B) {
	for name, s := range chunkingServers {
		b.Run(name, func(b *testing.B) {
			m := s.start(b, peertest.MTAOptions{Domain: "example.org"})
			for _, size := range []int{4 << 10, 1 << 20} {
				content := "Subject: x\r\n\r\n" + strings.Repeat(strings.Repeat("0123456789", 7)+"\r\n", size/72)
				for _, chunking := range []bool{false, true} {
					p, err := upstream.NewPool(upstream.Config{Name: "inside", Servers: []string{m.Addr}, Chunking: chunking, MaxUses: 1 << 30})
					if err != nil {
						b.Fatal(err)
					}
					b.Run(fmt.Sprintf("%dKiB/chunking=%v", size>>10, chunking), func(b *testing.B) {
						for b.Loop() {
							if o := deliver(b, p, content); o.Kind != upstream.Delivered {
								b.Fatalf("%+v", o)
							}
						}
					})
					p.Close()
				}
			}
		})
	}
}
