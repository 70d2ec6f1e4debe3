package rules

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/rules/eval"
	"github.com/postern-mail/postern/rules/text"
)

// holding is who counts the memory of filters: what a content's filters keep is dropped when they give it back, as pipeline does.
type holding struct {
	content *mail.Content
	held    int64
	free    chan struct{} // closed when all was given back
}

func (h *holding) Hold(_ context.Context, octets int64) error {
	if h.held > 0 && octets == 0 {
		h.content.Forget()
		close(h.free)
	}
	h.held = octets
	return nil
}

func (h *holding) Aside(do func()) { do() }

// waitingDNS answers nothing before all memory was given back, and tells how much lives then.
type waitingDNS struct {
	fakeDNS
	free chan struct{}
	live uint64
}

func (w *waitingDNS) LookupIPAddr(ctx context.Context, name string) ([]net.IPAddr, error) {
	select {
	case <-w.free:
		w.live = live()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return w.fakeDNS.LookupIPAddr(ctx, name)
}

func live() uint64 {
	var m runtime.MemStats
	for range 3 { // what is pooled goes with the second
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestLetGo: while the DNS is waited for, nothing is kept of what was made of a large message, and what is shown of it is what is
// shown without.
func TestLetGo(t *testing.T) {
	const lines = `header LISTED eval:check_rbl('s-lastexternal', 'bl.example.')
tflags LISTED net
body B /wonder\w+/
rawbody R /<b>bo\w+/
full F /In-Full: \w+/
uri U /linked\.example/
header H Subject =~ /s\w+t/
header __HIDDEN Subject =~ /ubjec/
body __WORD /wonderful (?<WHAT>\w+)/
body USES /of %{WHAT}/
meta M __HIDDEN && LISTED

mimeheader P Content-Type =~ /ht\w+/
`
	raw := "Received: from b.example (b.example [203.0.113.8])\r\n\tby a.example (Postfix) with ESMTP id 1; Thu, 26 Nov 2026 12:00:00 +0000\r\n" +
		"Subject: subject\r\nIn-Full: yes\r\nContent-Type: text/html\r\n\r\n<b>bold</b> wonderful kinds of kinds <a href=\"http://linked.example/\">x</a>\r\n" +
		strings.Repeat("<p>some of all the words</p> &amp;\r\n", 4<<20/35)
	s, _, err := Load([]Source{{Name: "t.cf", Octets: []byte(lines)}}, Options{Network: true})
	if err != nil {
		t.Fatal(err)
	}
	from, err := mail.ParseAddress("x@envelope.example")
	if err != nil {
		t.Fatal(err)
	}
	o := text.Options{HasEnvelope: true, From: from, Client: text.Client{Addr: netip.MustParseAddr("203.0.113.7"), Helo: "helo.example", By: "mx.example", ID: "1"}}
	var shown [2][]string
	for i, waits := range []bool{false, true} {
		c := mail.NewContent(mail.NewBlob([]byte(raw)), mail.LineFaults{}, mail.Limits{})
		dns := &waitingDNS{fakeDNS: fakeDNS{names: map[string]string{"7.113.0.203.bl.example": "127.0.0.2"}}, free: make(chan struct{})}
		ctx, m := t.Context(), &eval.Mail{Text: text.Of(c, o), DNS: dns}
		want := m.Text.Memory()
		before := live()
		if h := (&holding{content: c, free: dns.free}); waits {
			ctx = filter.WithHolder(ctx, h)
			if err := filter.Hold(ctx, want); err != nil {
				t.Fatal(err)
			}
		} else {
			close(dns.free)
		}
		res, err := s.Run(ctx, m)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range res.Hits {
			shown[i] = append(shown[i], fmt.Sprintf("%s %d %q", h.Rule.Name, h.Count, h.Text))
		}
		if m.Text.Cut()&text.CutBody == 0 {
			t.Error("it is not told any more that the text was cut")
		}
		if kept := int64(dns.live) - int64(before); waits && kept > want/20 {
			t.Errorf("%d KiB of some %d are kept while the DNS is waited for", kept>>10, want>>10)
		}
		c.Release()
	}
	for _, name := range []string{"LISTED", "B", "R", "F", "U", "H", "USES", "M", "P"} {
		if !slices.ContainsFunc(shown[0], func(hit string) bool { return strings.HasPrefix(hit, name+" ") }) {
			t.Errorf("%s has not hit: %q", name, shown[0])
		}
	}
	if !slices.Equal(shown[0], shown[1]) {
		t.Errorf("%q is shown, and %q where memory was given back", shown[0], shown[1])
	}
}
