package edge

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/pipeline"
	"github.com/postern-mail/postern/upstream"
)

// fates notes what a filter of all phases is told.
type fates struct {
	mu    sync.Mutex
	owed  int
	heard []string
}

func (f *fates) stage() pipeline.Stage {
	return pipeline.Stage{
		Spec: filter.Spec{Name: "fates", Phases: filter.In(filter.Mail, filter.Rcpt, filter.Data)},
		Filter: filter.Func(func(_ context.Context, in *filter.Input) (filter.Result, error) {
			what := "mail"
			var r filter.Result
			switch {
			case in.Recipient != nil:
				what = in.Recipient.Address.Local()
				if what == "later" {
					r.Propose = filter.Defer
				} else if what == "never" {
					r.Propose = filter.Reject
				}
			case in.Content != nil:
				what = "data"
				if slices.ContainsFunc(in.Transaction.Recipients, func(a mail.Address) bool { return a.Local() == "held" }) {
					r.Propose = filter.Quarantine
				} else if slices.ContainsFunc(in.Transaction.Recipients, func(a mail.Address) bool { return a.Local() == "marked" }) {
					r.Propose = filter.Tag
				}
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			f.owed++
			r.Settle = func(fate filter.Fate) {
				f.mu.Lock()
				f.heard = append(f.heard, what+" "+map[filter.Fate]string{filter.Unfinished: "unfinished", filter.Taken: "taken", filter.Refused: "refused", filter.Held: "held", filter.Doubted: "doubted"}[fate])
				f.mu.Unlock()
				if what == "crash" {
					panic("broken")
				}
			}
			return r, nil
		}),
	}
}

// TestFates: each filter learns once how it ended for each recipient and for the message.
func TestFates(t *testing.T) {
	deferred := func(mail.Envelope) upstream.Outcome {
		return upstream.Outcome{Kind: upstream.Unreachable}
	}
	refused := func(mail.Envelope) upstream.Outcome {
		return upstream.Outcome{Kind: upstream.Refused, Reply: mail.NewReply(550, 5, 7, 1, "no")}
	}
	for _, c := range []struct {
		name   string
		answer func(mail.Envelope) upstream.Outcome
		steps  string
		want   []string
	}{
		{"taken", nil, "MAIL FROM:<a@client.test>\nRCPT TO:<one@ours.example>\nRCPT TO:<two@ours.example>\nDATA\n.\n", []string{"mail taken", "one taken", "two taken", "data taken"}},
		{"a recipient comes later", nil, "MAIL FROM:<a@client.test>\nRCPT TO:<later@ours.example>\nRCPT TO:<two@ours.example>\nRCPT TO:<never@ours.example>\nDATA\n.\n", []string{"later unfinished", "never refused", "mail taken", "two taken", "data taken"}},
		{"nobody is there", deferred, "MAIL FROM:<a@client.test>\nRCPT TO:<one@ours.example>\nDATA\n.\n", []string{"mail unfinished", "one unfinished", "data unfinished"}},
		{"refused inside", refused, "MAIL FROM:<a@client.test>\nRCPT TO:<one@ours.example>\nDATA\n.\n", []string{"mail refused", "one refused", "data refused"}},
		{"broken off", nil, "MAIL FROM:<a@client.test>\nRCPT TO:<one@ours.example>\nRSET\nMAIL FROM:<a@client.test>\nEHLO x\n", []string{"mail unfinished", "one unfinished", "mail unfinished"}},
		{"gone", nil, "MAIL FROM:<a@client.test>\nRCPT TO:<one@ours.example>\nQUIT\n", []string{"mail unfinished", "one unfinished"}},
		{"in the quarantine", nil, "MAIL FROM:<a@client.test>\nRCPT TO:<held@ours.example>\nDATA\n.\n", []string{"mail held", "held held", "data held"}},
		{"marked", nil, "MAIL FROM:<a@client.test>\nRCPT TO:<marked@ours.example>\nDATA\n.\n", []string{"mail doubted", "marked doubted", "data doubted"}},
		{"observed", nil, "MAIL FROM:<a@client.test>\nRCPT TO:<held@ours.example>\nDATA\n.\n", []string{"mail doubted", "held doubted", "data doubted"}},
		{"a filter that breaks", nil, "MAIL FROM:<a@client.test>\nRCPT TO:<crash@ours.example>\nDATA\n.\n", []string{"mail taken", "crash taken", "data taken"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var f fates
			stage := f.stage()
			stage.Observe = c.name == "observed"
			plan, err := pipeline.Compile([]pipeline.Stage{stage})
			if err != nil {
				t.Fatal(err)
			}
			d := newDoor(t, nil, func(d *door, _ *ListenerConfig) {
				d.gw.Plan, d.gw.Policies["default"].Plan = plan, plan
				d.gw.Policies["default"].QuarantineReply = QuarantineAccept
				d.relay.answer = c.answer
			})
			var steps strings.Builder
			for line := range strings.Lines(c.steps) {
				fmt.Fprintf(&steps, "C: %sS: [2345]\n", line)
			}
			begin(t, d).steps(steps.String())
			d.stop()
			f.mu.Lock()
			defer f.mu.Unlock()
			if !slices.Equal(f.heard, c.want) || f.owed != len(c.want) {
				t.Errorf("heard %q, not %q; %d were owed", f.heard, c.want, f.owed)
			}
		})
	}
}

// TestWhatIsObservedSplitsNothing: recipients about whom an observing filter, or a filter under an observing policy, finds
// different things share a message.
func TestWhatIsObservedSplitsNothing(t *testing.T) {
	for _, c := range []struct {
		name          string
		stage, policy bool
		second        string
	}{
		{"enforced", false, false, "452"},
		{"observing filter", true, false, "250"},
		{"observing policy", false, true, "250"},
	} {
		t.Run(c.name, func(t *testing.T) {
			stage := scripted(t, "rcpt rcptscore one FIRST")
			stage.Observe = c.stage
			plan, err := pipeline.Compile([]pipeline.Stage{stage})
			if err != nil {
				t.Fatal(err)
			}
			d := newDoor(t, nil, func(d *door, _ *ListenerConfig) {
				d.gw.Policies["default"].Plan = plan
				d.gw.Policies["default"].Policy = &pipeline.Policy{Observe: c.policy}
			})
			begin(t, d).steps("C: MAIL FROM:<a@client.test>\nS: 250\nC: RCPT TO:<one@ours.example>\nS: 250\nC: RCPT TO:<two@ours.example>\nS: " + c.second)
		})
	}
}
