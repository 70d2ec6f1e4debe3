package upstream

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postern-mail/postern/mail"
)

// answering is a server that answers each RCPT by a function, and everything else well. It notes what it hears.
type answering struct {
	mu    sync.Mutex
	rcpt  func(command string) string // "" is silence, "close" closes
	heard []string
}

func (a *answering) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	go a.serve(server)
	return client, nil
}

func (a *answering) answer(rcpt string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.rcpt = func(string) string { return rcpt }
}

func (a *answering) asked() (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.heard {
		if strings.HasPrefix(s, "RCPT") {
			n++
		}
	}
	return n
}

func (a *answering) serve(nc net.Conn) {
	defer nc.Close() //nolint:errcheck // a test's
	r := bufio.NewReader(nc)
	for reply := "220 s"; ; {
		if _, err := io.WriteString(nc, reply+"\r\n"); err != nil {
			return
		}
		for reply = ""; reply == ""; {
			line, err := r.ReadString('\n')
			if err != nil || line == "QUIT\r\n" {
				return
			}
			line = strings.TrimSpace(line)
			a.mu.Lock()
			a.heard = append(a.heard, line)
			switch {
			case strings.HasPrefix(line, "EHLO"), strings.HasPrefix(line, "LHLO"):
				reply = "250-s\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250 SMTPUTF8"
			case strings.HasPrefix(line, "RCPT"):
				rcpt := a.rcpt
				a.mu.Unlock()
				reply = rcpt(line)
				a.mu.Lock()
			case strings.HasPrefix(line, "DATA"):
				reply = "554 5.5.1 there was no data to come"
			default:
				reply = "250 ok"
			}
			a.mu.Unlock()
		}
		if reply == "close" {
			return
		}
	}
}

// asking is an Ask of a server, and what its hook is told.
func asking(t *testing.T, a *answering, servers ...string) (Ask, func() []Asked) {
	t.Helper()
	var mu sync.Mutex
	var told []Asked
	if servers == nil {
		servers = []string{"s1.test:25"}
	}
	p := pool(t, Config{Servers: servers, Dial: a.dial, Hooks: Hooks{Asked: func(r Asked) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, r)
	}}})
	return Ask{Pool: p, Positive: 12 * time.Hour, Negative: 5 * time.Minute}, func() []Asked {
		mu.Lock()
		defer mu.Unlock()
		all := told
		told = nil
		return all
	}
}

func TestAskAnswers(t *testing.T) {
	for _, c := range []struct {
		name, rcpt string
		want       Known
		told       Asked
	}{
		{"accepted", "250 2.1.5 ok", Yes, AskedYes},
		{"Postfix", "550 5.1.1 <bob@y.test>: Recipient address rejected: User unknown in virtual mailbox table", No, AskedNo},
		{"Exchange", "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup", No, AskedNo},
		{"Exchange Online", "550 5.4.1 Recipient address rejected: Access denied. AS(201806281)", No, AskedNo},
		{"no enhanced code", "550 No such user here", No, AskedNo},
		{"5.7.1 for an unknown one", "550 5.7.1 <bob@y.test>... User unknown", No, AskedNo},
		{"about the sender", "554 5.7.1 <>: Sender address rejected: Access denied", NoSource, AskedUnsure},
		{"sender unknown", "550 5.0.0 sender address rejected: user unknown", NoSource, AskedUnsure},
		{"full", "552 5.2.2 mailbox is full", NoSource, AskedUnsure},
		{"not for everybody", "550 5.7.133 RESOLVER.RST.SenderNotAuthenticatedForGroup", NoSource, AskedUnsure},
		{"relay denied", "554 5.7.1 <bob@y.test>: Relay access denied", NoSource, AskedFailed},
		{"blocked", "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using bl.test", NoSource, AskedFailed},
		{"not authenticated", "530 5.7.57 SMTP; Client was not authenticated to send anonymous mail during MAIL FROM", NoSource, AskedFailed},
		{"put off", "450 4.2.0 greylisted", NoSource, AskedFailed},
		{"unknown for now", "450 4.1.1 <bob@y.test>: Recipient address rejected: unverified", NoSource, AskedFailed},
		{"closing", "421 4.3.2 going down", NoSource, AskedFailed},
		{"closed", "close", NoSource, AskedFailed},
		{"nonsense", "what?", NoSource, AskedFailed},
		{"silent", "", NoSource, AskedFailed},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &answering{}
				a.answer(c.rcpt)
				k, told := asking(t, a)
				start := time.Now()
				known, err := k.Lookup(t.Context(), address(t, "bob@y.test"))
				if took := time.Since(start); took > askFor {
					t.Errorf("after %v", took)
				}
				if known != c.want || (err != nil) != (c.told == AskedFailed) {
					t.Errorf("%v, %v", known, err)
				}
				if got := told(); !slices.Equal(got, []Asked{c.told}) {
					t.Errorf("told %v", got)
				}
			})
		})
	}
}

// TestAskDialog: what goes over the wire, twice over one connection.
func TestAskDialog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &answering{}
		a.answer("250 ok")
		k, _ := asking(t, a)
		for _, s := range []string{"bob@y.test", "jörg@y.test", "x%z.test@y.test"} {
			known, err := k.Lookup(t.Context(), address(t, s))
			if want := map[bool]Known{true: NoSource, false: Yes}[strings.Contains(s, "%")]; known != want || err != nil {
				t.Errorf("%s: %v, %v", s, known, err)
			}
		}
		want := []string{
			"EHLO gw.test", "MAIL FROM:<>", "RCPT TO:<bob@y.test>", "RSET",
			"MAIL FROM:<> SMTPUTF8", "RCPT TO:<jörg@y.test>", "RSET",
		}
		if !slices.Equal(a.heard, want) {
			t.Errorf("heard %q", a.heard)
		}
	})
}

// TestAskLMTP: a server that speaks LMTP is asked in the same way.
func TestAskLMTP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &answering{}
		a.answer("550 5.1.1 no such user")
		p := pool(t, Config{Servers: []string{"s1.test:24"}, Dial: a.dial, LMTP: true})
		known, err := Ask{Pool: p, Positive: time.Hour, Negative: time.Hour}.Lookup(t.Context(), address(t, "bob@y.test"))
		if want := []string{"LHLO gw.test", "MAIL FROM:<>", "RCPT TO:<bob@y.test>", "RSET"}; known != No || err != nil || !slices.Equal(a.heard, want) {
			t.Errorf("%v, %v, heard %q", known, err, a.heard)
		}
	})
}

// TestAskFrom: who is to be named as the sender is, and what a server minds about him is no word about the mailbox.
func TestAskFrom(t *testing.T) {
	for _, c := range []struct {
		rcpt string
		from string
		want Known
	}{
		{"250 ok", "probe@gw.test", Yes},
		{"550 5.1.1 no such user", "probe@gw.test", No},
		{"550 5.1.1 <bob@y.test>: Recipient address rejected: User unknown", "probe@gw.test", No},
		{"550 5.1.1 <Probe@gw.test>: User unknown", "probe@gw.test", NoSource},
		{"550 5.1.1 Sender address rejected: User unknown", "probe@gw.test", NoSource},
		{"550 5.1.1 Sender address rejected: User unknown", "", No}, // the null one is nobody's address
	} {
		synctest.Test(t, func(t *testing.T) {
			a := &answering{}
			a.answer(c.rcpt)
			k, _ := asking(t, a)
			if c.from != "" {
				k.From = address(t, c.from)
			}
			known, err := k.Lookup(t.Context(), address(t, "bob@y.test"))
			if known != c.want || err != nil || !slices.Contains(a.heard, "MAIL FROM:<"+c.from+">") {
				t.Errorf("%+v: %v, %v, heard %q", c, known, err, a.heard)
			}
			if _, _, err := k.AcceptsAny(t.Context(), "y.test"); err != nil || slices.Contains(a.heard, "MAIL FROM:<>") != (c.from == "") {
				t.Errorf("%+v: a trial: %v, heard %q", c, err, a.heard)
			}
		})
	}
}

// TestAcceptsAny: one random mailbox tells whether asking tells anything.
func TestAcceptsAny(t *testing.T) {
	for _, c := range []struct {
		rcpt        string
		any, failed bool
	}{
		{"250 ok", true, false},
		{"550 5.1.1 no such user", false, false},
		{"550 5.7.1 go away", false, false},
		{"450 4.7.1 later", false, true},
		{"554 5.7.1 relay access denied", false, true},
		{"", false, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			a := &answering{}
			a.answer(c.rcpt)
			k, _ := asking(t, a)
			got, server, err := k.AcceptsAny(t.Context(), "y.test")
			if got != c.any || err == nil && server != k.Pool.servers[0].address || (err != nil) != c.failed || len(k.Pool.asked.yes.young) > 0 {
				t.Errorf("%s: %v, %v", c.rcpt, got, err)
			}
		})
	}
}

// TestAcceptsAnyGivenUp: what is given up says nothing about the server.
func TestAcceptsAnyGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, _ := asking(t, &answering{})
		k.Pool.cfg.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, _, err := k.AcceptsAny(ctx, "y.test"); !errors.Is(err, context.Canceled) || k.Pool.servers[0].isDown(time.Now()) {
			t.Error(err)
		}
	})
}

// TestAskRemembers: answers hold for their time, and a mailbox that is known serves on while the server does not answer.
func TestAskRemembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &answering{}
		k, told := asking(t, a)
		check := func(what, to string, known Known, result Asked) {
			t.Helper()
			got, err := k.Lookup(t.Context(), address(t, to))
			if r := told(); got != known || (err != nil) != (result == AskedFailed) || !slices.Equal(r, []Asked{result}) {
				t.Errorf("%s: %v, %v, told %v", what, got, err, r)
			}
		}
		const unknown = "550 5.1.1 no such user"
		a.answer("250 ok")
		check("first", "bob@y.test", Yes, AskedYes)
		a.answer(unknown)
		check("another case", "Bob@y.test", Yes, AskedBefore)
		check("unknown", "carl@y.test", No, AskedNo)
		a.answer("250 ok")
		time.Sleep(k.Negative - time.Second)
		check("still unknown", "carl@y.test", No, AskedBefore)
		time.Sleep(time.Second)
		check("asked again", "carl@y.test", Yes, AskedYes)
		time.Sleep(k.Positive - k.Negative - time.Second)
		a.answer("")
		check("still known", "bob@y.test", Yes, AskedBefore)
		time.Sleep(time.Second)

		start := time.Now()
		check("known from before", "bob@y.test", Yes, AskedStale)
		if took := time.Since(start); took != askFor {
			t.Errorf("after %v", took)
		}
		start = time.Now()
		check("the server is not asked for each", "bob@y.test", Yes, AskedBefore)
		check("not known from before", "dora@y.test", NoSource, AskedFailed)
		check("and no failure is remembered", "dora@y.test", NoSource, AskedFailed)
		if took := time.Since(start); took != 2*askFor {
			t.Errorf("after %v", took)
		}
		time.Sleep(keepKnown)
		check("too long ago", "bob@y.test", NoSource, AskedFailed)
		a.answer("250 ok")
		check("well again", "bob@y.test", Yes, AskedYes)

		// A delivery hears that the mailbox is gone.
		a.answer(unknown)
		check("known", "bob@y.test", Yes, AskedBefore)
		if o := k.Pool.Deliver(t.Context(), envelope(t, "bob@y.test"), message(t, "x\r\n")); o.Kind != RecipientRefused {
			t.Errorf("%+v", o)
		}
		check("gone", "bob@y.test", No, AskedNo)
	})
}

// TestAskOnce: many who ask for one mailbox at the same time are one question; many mailboxes are few at a time.
func TestAskOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &answering{}
		a.answer("")
		k, told := asking(t, a)
		lookups := func(n int, name func(i int) string) {
			start := time.Now()
			var all sync.WaitGroup
			for i := range n {
				all.Go(func() {
					if known, err := k.Lookup(t.Context(), address(t, name(i))); err == nil {
						t.Errorf("%v", known)
					}
				})
			}
			all.Wait()
			if took := time.Since(start); took != askFor {
				t.Errorf("%d lookups: %v", n, took)
			}
		}
		lookups(50, func(int) string { return "bob@y.test" })
		if n, r := a.asked(), told(); n != 1 || len(r) != 1 {
			t.Errorf("%d questions, told %v", n, r)
		}
		lookups(askWaiting+100, func(i int) string { return fmt.Sprintf("u%d@y.test", i) })
		if n := a.asked(); n != 1+askAtOnce {
			t.Errorf("%d questions", n)
		}
		if n := len(k.Pool.asked.flights); n != 0 {
			t.Errorf("%d questions are left", n)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		a.answer("250 ok")
		if known, err := k.Lookup(gone, address(t, "bob@y.test")); known != Yes || err != nil {
			t.Errorf("whoever asks first asks for all: %v, %v", known, err)
		}
	})
}

// TestAskHarvest: who tries a million names pushes out no mailbox that is known.
func TestAskHarvest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &answering{}
		a.answer("250 ok")
		k, told := asking(t, a)
		if known, err := k.Lookup(t.Context(), address(t, "bob@y.test")); known != Yes || err != nil {
			t.Fatal(known, err)
		}
		for i := range 1_000_000 {
			k.Pool.found(&flight{}, fmt.Sprintf("u%d@y.test", i), No, keepKnown)
		}
		if n := len(k.Pool.asked.no.young) + len(k.Pool.asked.no.elder); n > 2*maxAnswers {
			t.Errorf("%d names are remembered", n)
		}
		told()
		if known, err := k.Lookup(t.Context(), address(t, "bob@y.test")); known != Yes || err != nil || !slices.Equal(told(), []Asked{AskedBefore}) {
			t.Error(known, err)
		}
	})
}

// TestAskServers: a server that swallows packets does not speak for the others, and is asked last after that.
func TestAskServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &answering{}
		a.answer("250 ok")
		k, _ := asking(t, a, "s1.test:25", "s2.test:25", "s3.test:25")
		well := k.Pool.cfg.Dial
		k.Pool.cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			switch address {
			case "s1.test:25":
				<-ctx.Done()
				return nil, ctx.Err()
			case "s2.test:25":
				return nil, errors.New("refused")
			}
			return well(ctx, network, address)
		}
		for i, most := range []time.Duration{askFor / 3, 10 * time.Millisecond} {
			start := time.Now()
			known, err := k.Lookup(t.Context(), address(t, fmt.Sprintf("u%d@y.test", i)))
			if took := time.Since(start); known != Yes || err != nil || took > most {
				t.Errorf("%v, %v after %v", known, err, took)
			}
		}
		if !k.Pool.servers[0].isDown(time.Now()) || !k.Pool.servers[1].isDown(time.Now()) || k.Pool.servers[2].isDown(time.Now()) {
			t.Error("not the right servers are marked down")
		}
	})
}

// TestForgetMeanwhile: the answer to a question that was under way when it was to be forgotten is not remembered.
func TestForgetMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &answering{}
		a.rcpt = func(string) string {
			time.Sleep(time.Second)
			return "550 5.1.1 no such user"
		}
		k, _ := asking(t, a)
		bob := address(t, "bob@y.test")
		var first sync.WaitGroup
		first.Go(func() {
			if known, err := k.Lookup(t.Context(), bob); known != No || err != nil {
				t.Errorf("who asked before: %v, %v", known, err)
			}
		})
		time.Sleep(time.Second / 2)
		k.Pool.Forget(bob)
		a.answer("250 ok")
		for range 2 {
			if known, err := k.Lookup(t.Context(), bob); known != Yes || err != nil {
				t.Errorf("who asks afterwards: %v, %v", known, err)
			}
			first.Wait()
		}
		if n := a.asked(); n != 2 || len(k.Pool.asked.flights) != 0 {
			t.Errorf("asked %d times, %d under way", n, len(k.Pool.asked.flights))
		}
	})
}

// TestAskExchanges: however many servers there are, the first one has the time for an answer that comes after a tarpit, and
// the time for all is not longer than with three.
func TestAskExchanges(t *testing.T) {
	for _, quiet := range []int{0, 1, 2, 7} {
		synctest.Test(t, func(t *testing.T) {
			var silent atomic.Int64
			silent.Store(int64(quiet))
			var servers []string
			for i := range 7 {
				servers = append(servers, fmt.Sprintf("s%d.test:25", i+1))
			}
			a := &answering{}
			a.rcpt = func(string) string {
				if silent.Add(-1) >= 0 {
					return ""
				}
				time.Sleep(5 * time.Second) // as long as the tarpit lasts
				return "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup"
			}
			all := quiet == len(servers)
			p := pool(t, Config{Servers: servers, Timeouts: ExchangeTimeouts(len(servers)), Dial: a.dial})
			start := time.Now()
			known, err := Ask{Pool: p, Positive: time.Hour, Negative: time.Hour}.Lookup(t.Context(), address(t, "bob@y.test"))
			took := time.Since(start)
			if all && (err == nil || took != 3*exchangeTarpit) || !all && (known != No || err != nil) {
				t.Errorf("%d of %d are silent: %v, %v after %v", quiet, len(servers), known, err, took)
			}
		})
	}
}

// FuzzSpeaksOfMailbox: no reply of a server's is taken for "no such mailbox" but a permanent one.
func FuzzSpeaksOfMailbox(f *testing.F) {
	f.Add("550 5.1.1 user unknown")
	f.Add("550-5.7.1 <a@b>\r\n550 5.7.1 no such user")
	f.Add("450 4.1.1 unknown user")
	f.Fuzz(func(t *testing.T, in string) {
		r, err := readReply(bufio.NewReaderSize(strings.NewReader(in+"\r\n"), maxReplyLine), 0)
		if err == nil && speaksOfMailbox(r) && (!r.Permanent() || r.Enhanced == (mail.Enhanced{}) && strings.Contains(strings.ToLower(withoutAddresses(r.Text)), "sender")) {
			t.Errorf("%+v", r)
		}
	})
}
