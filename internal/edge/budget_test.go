package edge

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/dns"
	"github.com/postern-mail/postern/internal/dns/zone"
	"github.com/postern-mail/postern/pipeline"
)

// asked counts the questions that go out.
type asked struct {
	questions atomic.Int64
	exceeded  atomic.Int64
}

func (a *asked) DNSQuery(dns.Query) { a.questions.Add(1) }
func (a *asked) DNSCache(bool)      {}
func (a *asked) DNSBudget(string)   { a.exceeded.Add(1) }

// TestOneBudgetForEachMessage: all phases and filters of a transaction share one budget of look-ups, EHLO has its own, and
// the next transaction begins anew.
func TestOneBudgetForEachMessage(t *testing.T) {
	s, err := zone.Serve("example.org A 192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r, err := dns.New([]netip.AddrPort{netip.MustParseAddrPort(s.Addr())})
	if err != nil {
		t.Fatal(err)
	}
	r.SetTimeout(longWait) // a question that is put again would count twice
	count := new(asked)
	r.Observe(count)
	var names, refused atomic.Int64
	curious := filter.Func(func(ctx context.Context, _ *filter.Input) (filter.Result, error) {
		for range 60 {
			_, err := r.LookupTXT(ctx, fmt.Sprintf("n%d.example", names.Add(1)))
			if errors.Is(err, dns.ErrBudget) {
				refused.Add(1)
			}
		}
		return filter.Result{}, nil
	})
	all := filter.In(filter.Helo, filter.Mail, filter.Rcpt, filter.Data)
	plan, err := pipeline.Compile([]pipeline.Stage{
		{Spec: filter.Spec{Name: "one", Phases: all}, Filter: curious},
		{Spec: filter.Spec{Name: "two", Phases: all}, Filter: curious},
	})
	if err != nil {
		t.Fatal(err)
	}
	d := newDoor(t, nil, func(d *door, _ *ListenerConfig) {
		d.gw.Plan, d.gw.Policies["default"].Plan = plan, plan
	})
	c := begin(t, d)
	if n := count.questions.Load(); n != 120 {
		t.Errorf("%d questions at EHLO, not 120", n)
	}
	for i := range int64(2) {
		c.steps(oneMessage)
		if n := count.questions.Load() - 120; n != (i+1)*dns.MessageQuestions {
			t.Errorf("%d questions after %d messages, not %d each", n, i+1, dns.MessageQuestions)
		}
	}
	// 360 are asked for by each message.
	if n := refused.Load(); n != 2*(360-dns.MessageQuestions) || count.exceeded.Load() != 2 {
		t.Errorf("%d look-ups were refused, %d messages told", n, count.exceeded.Load())
	}
}
