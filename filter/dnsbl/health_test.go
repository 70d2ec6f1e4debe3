package dnsbl

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postern-mail/postern/filter"
)

const one = "lists: {bl.example: {weight: 2}}"

const listed = "DNSBL_BL_EXAMPLE*1 203.0.113.7: bl.example 127.0.0.2"

// TestListsTheWorld: a list that has an entry for every name counts nothing, is told of, and counts again when it has
// become honest.
func TestListsTheWorld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, one, "*.bl.example=127.0.0.2")
		const off = "DNSBL_UNKNOWN?*1 bl.example 127.0.0.2: off: it lists what no list may"
		if got := l.client("203.0.113.7"); got != off {
			t.Errorf("got %s", got)
		}
		if got, want := l.said(), "level=ERROR msg=\"DNS list lists what no list may (RFC 5782 5): nothing of it counts until that ends\" list=bl.example\n"; got != want {
			t.Errorf("said %s, want %s", got, want)
		}
		l.dns.questions()
		if got := l.client("203.0.113.7"); got != "DNSBL_UNKNOWN?*1 bl.example: off: it lists what no list may" {
			t.Errorf("got %s", got)
		}
		if q := l.dns.questions(); len(q) > 0 {
			t.Errorf("asked %q while it is off", q)
		}
		for range 7 { // told again once an hour
			time.Sleep(retestEvery)
			l.client("203.0.113.7")
		}
		if got := strings.Count(l.said(), "no list may"); got != 1 {
			t.Errorf("told %d times in 70 minutes", got)
		}
		delete(l.dns.names, "*.bl.example")
		l.dns.set("7.113.0.203.bl.example", "127.0.0.2")
		time.Sleep(retestEvery)
		if got := l.client("203.0.113.7"); got != listed {
			t.Errorf("got %s", got)
		}
		if got := l.said(); !strings.Contains(got, "honest again") || strings.Count(got, "lacks the test entry") != 1 {
			t.Errorf("said %s", got)
		}
		for range 13 { // and that, too, once an hour
			time.Sleep(retestEvery)
			l.client("203.0.113.7")
		}
		if got := strings.Count(l.said(), "lacks the test entry"); got != 2 {
			t.Errorf("told %d times in 130 minutes", got)
		}
	})
}

// TestBecomesDishonest: what was proved is proved again from time to time, by one client, whom it costs no more time.
func TestBecomesDishonest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, one, append(honest("bl.example"), "7.113.0.203.bl.example=127.0.0.2")...)
		for range 3 {
			if got := l.client("203.0.113.7"); got != listed {
				t.Errorf("got %s", got)
			}
		}
		if got := len(l.dns.questions()); got != 5 {
			t.Errorf("%d questions for three clients", got)
		}
		l.dns.set("1.0.0.127.bl.example", "127.0.0.2")
		time.Sleep(retestEvery - time.Second)
		if got := l.client("203.0.113.7"); got != listed {
			t.Errorf("got %s", got)
		}
		time.Sleep(time.Second)
		if got := l.client("203.0.113.7"); got != "DNSBL_UNKNOWN?*1 bl.example 127.0.0.2: off: it lists what no list may" {
			t.Errorf("got %s", got)
		}
	})
}

// TestTestFails: as long as nothing was proved no listing counts; what was proved stands while a test can't be made.
func TestTestFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, fault := range []string{"SERVFAIL", "SILENT", "BUDGET"} {
			l := newLab(t, one, append(honest("bl.example"), "7.113.0.203.bl.example=127.0.0.2", "1.0.0.127.bl.example="+fault)...)
			began := time.Now()
			for range 2 {
				if got := l.client("203.0.113.7"); got != "DNSBL_UNKNOWN?*1 bl.example 127.0.0.2: not proved: its test entry could not be asked for" {
					t.Errorf("%s: got %s", fault, got)
				}
			}
			if took := time.Since(began); took > 2*defaultBudget {
				t.Errorf("%s: took %s", fault, took)
			}
			delete(l.dns.names, "1.0.0.127.bl.example")
			if got := l.client("203.0.113.7"); got != listed {
				t.Errorf("%s: got %s", fault, got)
			}
			l.dns.set("1.0.0.127.bl.example", fault)
			time.Sleep(retestEvery)
			if got := l.client("203.0.113.7"); got != listed {
				t.Errorf("%s: got %s", fault, got)
			}
			if got := l.said(); got != "" {
				t.Errorf("%s: said %s", fault, got)
			}
		}
	})
}

// TestRefuses: a list that answers us with errors is told of once an hour, and asked no more than its test.
func TestRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, code := range []string{"127.255.255.254", "198.51.100.80"} {
			l := newLab(t, one, "*.bl.example="+code)
			for range 7 {
				for range 3 {
					if got := l.client("203.0.113.7"); !strings.HasPrefix(got, "DNSBL_UNKNOWN?*1 bl.example") {
						t.Errorf("got %s", got)
					}
				}
				time.Sleep(retestEvery)
			}
			if got := len(l.dns.questions()); got != 7*3 {
				t.Errorf("%d questions", got)
			}
			got := l.said()
			if strings.Count(got, "\n") != 2 || !strings.Contains(got, "level=WARN msg=\"DNS list answers with an error") || !strings.Contains(got, "code="+code) {
				t.Errorf("said %s", got)
			}
		}
	})
}

// TestRests: a list that does not answer costs a few clients the budget, and then one from time to time.
func TestRests(t *testing.T) {
	for _, fault := range []string{"SILENT", "SERVFAIL"} {
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t, one, "*.bl.example="+fault)
			began := time.Now()
			for range 100 {
				if got := l.client("203.0.113.7"); !strings.HasPrefix(got, "DNSBL_UNKNOWN?*1 bl.example: ") {
					t.Errorf("got %s", got)
				}
			}
			if took := time.Since(began); took > maxFailures*defaultBudget {
				t.Errorf("100 clients waited %s", took)
			}
			if got, want := l.said(), "level=WARN msg=\"DNS list has no answers: it is not asked for a while\" list=bl.example pause=1m0s\n"; got != want {
				t.Errorf("said %s, want %s", got, want)
			}
			asked := len(l.dns.questions())
			for range 600 { // of the next hour, one every six seconds
				time.Sleep(6 * time.Second)
				l.client("203.0.113.7")
			}
			if asked != 3*maxFailures || len(l.dns.questions()) > 3*7 {
				t.Errorf("%d questions, and %d in an hour", asked, len(l.dns.questions()))
			}
			l.said()
			delete(l.dns.names, "*.bl.example")
			l.dns.set("7.113.0.203.bl.example", "127.0.0.2")
			time.Sleep(maxRest)
			for range 3 {
				if got := l.client("203.0.113.7"); got != listed {
					t.Errorf("got %s", got)
				}
			}
			if got := l.said(); !strings.Contains(got, "msg=\"DNS list answers again\" list=bl.example") {
				t.Errorf("said %s", got)
			}
		})
	}
}

// TestLogIsToldWithoutTheLock: a log that is slow holds up nobody else who asks.
func TestLogIsToldWithoutTheLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, one, "*.bl.example=127.0.0.2")
		told := 0
		l.onLog = func() {
			told++
			h := &l.f.(*check).lists[filter.Connect][0].health
			if !h.mu.TryLock() {
				t.Error("the lock is held")
				return
			}
			h.mu.Unlock()
		}
		l.client("203.0.113.7")
		l.dns.set("*.bl.example", "127.255.255.254")
		time.Sleep(2 * retestEvery)
		l.client("203.0.113.7")
		l.dns.set("*.bl.example", "SILENT")
		for range 3 * maxFailures {
			time.Sleep(2 * retestEvery)
			l.client("203.0.113.7")
		}
		delete(l.dns.names, "*.bl.example")
		time.Sleep(2 * retestEvery)
		l.client("203.0.113.7")
		said := l.said()
		for _, want := range []string{"no list may", "answers with an error", "has no answers", "answers again", "lacks the test entry"} {
			if !strings.Contains(said, want) {
				t.Errorf("%q was not told: %s", want, said)
			}
		}
		if told == 0 {
			t.Error("nothing was told")
		}
	})
}

// panicDNS is a resolver with a fault.
type panicDNS struct{ fakeDNS }

func (*panicDNS) LookupIPAddr(context.Context, string) ([]net.IPAddr, error) { panic("a fault") }

func (*panicDNS) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) { panic("a fault") }

// TestLookupPanics: a panic of a look-up is one of the filter, and not of the program.
func TestLookupPanics(t *testing.T) {
	l := &lab{t: t}
	if err := l.open(one, &panicDNS{}); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err, _ := recover().(*filter.PanicError); err == nil || err.Error() != "a fault" {
			t.Errorf("panic %v", err)
		}
	}()
	r, err := l.f.Check(t.Context(), &filter.Input{Phase: filter.Connect, Session: client("203.0.113.7")})
	t.Errorf("got %+v, %v", r, err)
}

// TestFailsLate: a client that began to wait before the rest makes it no longer.
func TestFailsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, one, "*.bl.example=SILENT")
		late := make(chan error)
		go func() {
			_, err := l.f.Check(t.Context(), &filter.Input{Phase: filter.Connect, Session: client("203.0.113.8")})
			late <- err
		}()
		synctest.Wait()
		l.dns.set("*.bl.example", "SERVFAIL")
		for range maxFailures {
			l.client("203.0.113.7")
		}
		if err := <-late; err != nil {
			t.Error(err)
		}
		time.Sleep(firstRest - defaultBudget)
		l.dns.questions()
		l.client("203.0.113.7")
		if len(l.dns.questions()) == 0 {
			t.Error("nobody tries")
		}
	})
}

// TestManyFailAtOnce: clients that wait at the same time make no longer rest than one after another.
func TestManyFailAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, one, "*.bl.example=SILENT")
		done := make(chan error)
		for i := range 200 {
			go func() {
				_, err := l.f.Check(t.Context(), &filter.Input{Phase: filter.Connect, Session: client(fmt.Sprintf("203.0.113.%d", i))})
				done <- err
			}()
		}
		for range 200 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		l.dns.set("*.bl.example", "SERVFAIL")
		l.dns.questions()
		time.Sleep(firstRest)
		l.client("203.0.113.7")
		if n := len(l.dns.questions()); n != 3 {
			t.Errorf("%d questions after a minute", n)
		}
	})
}

// TestOneTries: while one client finds out whether a list answers again, the others do not wait for it.
func TestOneTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, one, "*.bl.example=SILENT")
		for range maxFailures {
			l.client("203.0.113.7")
		}
		time.Sleep(firstRest)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			_, _ = l.f.Check(ctx, &filter.Input{Phase: filter.Connect, Session: client("203.0.113.8")})
		}()
		synctest.Wait()
		began := time.Now()
		if got := l.client("203.0.113.7"); got != "DNSBL_UNKNOWN?*1 bl.example: not asked: it has had no answers for a while" || time.Since(began) > 0 {
			t.Errorf("got %s after %s", got, time.Since(began))
		}
		cancel() // whoever tried is gone: another one will
		time.Sleep(firstRest)
		l.dns.questions()
		l.client("203.0.113.7")
		if len(l.dns.questions()) == 0 {
			t.Error("nobody tries")
		}
	})
}
