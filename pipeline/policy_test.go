package pipeline

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/mail"
)

func found(symbol string, strength float64, detail string) filter.Result {
	return filter.Result{Findings: []filter.Finding{{Symbol: symbol, Strength: strength, Detail: detail}}}
}

func proposes(a filter.Action, reply *mail.Reply) filter.Result {
	return filter.Result{Propose: a, Reply: reply}
}

func reply(code, class, subject, detail int, text string) *mail.Reply {
	r := mail.NewReply(code, class, subject, detail, text)
	return &r
}

// told makes the report of a stage that came to a result, in the data phase.
func told(stage string, res filter.Result) Report {
	return Report{Stage: stage, Phase: filter.Data, Outcome: outcomeOf(&res), Result: res}
}

func failed(stage string, o OnError) Report {
	return Report{Stage: stage, Phase: filter.Data, Outcome: Errored, Err: errors.New("clamd: no\nanswer"), OnError: o}
}

func at(ph filter.Phase, r Report) Report    { r.Phase = ph; return r }
func observed(r Report) Report               { r.Observe = true; return r }
func held(r Report) Report                   { r.Result.Hold = true; return r }
func edited(r Report, e ...mail.Edit) Report { r.Result.Edits = e; r.Outcome = Match; return r }
func outcome(o Outcome, r Report) Report     { r.Outcome = o; return r }
func detailed(r Report, f filter.Finding) Report {
	r.Result.Findings = append(r.Result.Findings, f)
	return r
}

// unsure makes the report of a stage that could not find out something that it counts.
func unsure(stage string, score float64) Report {
	return told(stage, filter.Result{Findings: []filter.Finding{{Symbol: "A", Strength: score, Unknown: true}}})
}

func TestDecide(t *testing.T) {
	limits := Policy{
		Tag: ptr(5.0), Quarantine: ptr(10.0), Reject: ptr(15.0),
		Weights: map[string]float64{"A": 1, "B": 4, "C": 0.1, "W": -3, "BIG": 15.2},
	}
	observing, off := limits, limits
	observing.Observe = true
	off.Off = map[string]bool{"x": true}
	exempt := *limits.ForExempt()
	own := reply(550, 5, 7, 23, "SPF says no")
	soft := reply(450, 4, 7, 1, "greylisted")
	for _, c := range []struct {
		name    string
		policy  Policy
		reports Reports
		action  filter.Action
		reply   string
		score   float64
		because string
		would   filter.Action
		why     string // WouldBecause, where it is not Because
		hold    bool
	}{
		{name: "nothing", policy: limits},
		{name: "clean", policy: limits, reports: Reports{told("a", filter.Result{})}},
		{name: "below tag", policy: limits, reports: Reports{told("a", found("B", 1.249, ""))}, score: 4.996},
		{
			name: "tag", policy: limits, reports: Reports{told("a", found("B", 1, "x")), told("b", found("A", 1, ""))},
			action: filter.Tag, score: 5, because: "score 5 reaches tag 5 (B 4, A 1)",
		},
		{
			name: "quarantine threshold", policy: limits, reports: Reports{told("a", found("B", 2.5, ""))},
			action: filter.Quarantine, score: 10, because: "score 10 reaches quarantine 10 (B 10)",
		},
		{
			name: "reject threshold", policy: limits, reports: Reports{told("a", found("BIG", 1, "")), told("b", found("C", 1, ""))},
			action: filter.Reject, reply: "550 5.7.1 message looks like spam", score: 15.3, because: "score 15.3 reaches reject 15 (BIG 15.2, C 0.1)",
		},
		{
			name: "decimals that binary has not", policy: Policy{Tag: ptr(0.3), Weights: map[string]float64{"C": 0.1}},
			reports: Reports{told("a", found("C", 1, "")), told("b", found("C", 1, "")), told("c", found("C", 1, ""))},
			action:  filter.Tag, score: 0.3, because: "score 0.3 reaches tag 0.3 (C 0.3)",
		},
		{
			name: "white findings count and are not named", policy: limits, reports: Reports{told("a", found("W", 1, "")), told("b", found("B", 2, ""))},
			action: filter.Tag, score: 5, because: "score 5 reaches tag 5 (B 8)",
		},
		{name: "unknown symbol", policy: limits, reports: Reports{told("a", found("NEW", 100, ""))}},
		{name: "mention", policy: limits, reports: Reports{told("a", found("BIG", 0, ""))}},
		{
			name: "no number", policy: limits, reports: Reports{told("a", found("A", math.NaN(), "")), told("b", found("B", math.Inf(1), "")), told("c", found("B", 2, ""))},
			action: filter.Tag, score: 8, because: "score 8 reaches tag 5 (B 8)",
		},
		{
			name: "aggravated, and nothing else found", policy: limits,
			reports: Reports{detailed(told("dmarc", filter.Result{Propose: filter.Tag, Aggravated: filter.Reject}), filter.Finding{Symbol: "B", Strength: 3})},
			action:  filter.Quarantine, score: 12, because: "score 12 reaches quarantine 10 (B 12)",
		},
		{
			name: "aggravated by what others found", policy: limits,
			reports: Reports{detailed(told("dmarc", filter.Result{Propose: filter.Tag, Aggravated: filter.Reject}), filter.Finding{Symbol: "A", Strength: 1}), told("b", found("B", 1.25, ""))},
			action:  filter.Reject, reply: "550 5.7.1 message refused by policy", score: 6, because: "dmarc: A",
		},
		{
			name: "not quite aggravated", policy: limits,
			reports: Reports{told("dmarc", filter.Result{Propose: filter.Tag, Aggravated: filter.Reject}), told("b", found("B", 1.249, ""))},
			action:  filter.Tag, score: 4.996, because: "dmarc: proposes tag",
		},
		{
			name: "aggravated without thresholds", policy: Policy{Weights: limits.Weights},
			reports: Reports{told("dmarc", filter.Result{Aggravated: filter.Reject}), told("b", found("BIG", 1, ""))}, score: 15.2,
		},
		{name: "no thresholds", policy: Policy{Weights: limits.Weights}, reports: Reports{told("a", found("BIG", 9, ""))}, score: 136.8},

		{
			name: "proposal", policy: limits, reports: Reports{detailed(told("attachments", proposes(filter.Reject, nil)), filter.Finding{Symbol: "ATTACHMENT_EXECUTABLE", Detail: "invoice.exe"})},
			action: filter.Reject, reply: "550 5.7.1 message refused by policy", because: "attachments: ATTACHMENT_EXECUTABLE invoice.exe",
		},
		{
			name: "the finding that weighs most", policy: limits, reports: Reports{detailed(detailed(told("a", proposes(filter.Tag, nil)), filter.Finding{Symbol: "A", Strength: 1}), filter.Finding{Symbol: "B", Strength: 1, Detail: "it"})},
			action: filter.Tag, score: 5, because: "a: B it",
		},
		{
			name: "own reply", policy: limits, reports: Reports{told("spf", proposes(filter.Reject, own))},
			action: filter.Reject, reply: "550 5.7.23 SPF says no", because: "spf: proposes reject",
		},
		{
			name: "soft own reply", policy: limits, reports: Reports{told("grey", proposes(filter.Defer, soft))},
			action: filter.Defer, reply: "450 4.7.1 greylisted", because: "grey: proposes defer",
		},
		{
			name: "soft proposal without reply", policy: limits, reports: Reports{told("grey", proposes(filter.Defer, nil))},
			action: filter.Defer, reply: "451 4.3.0 temporary problem, please try again", because: "grey: proposes defer",
		},
		{
			name: "reply of the wrong class", policy: limits, reports: Reports{told("a", proposes(filter.Defer, own))},
			action: filter.Defer, reply: "451 4.3.0 temporary problem, please try again", because: "a: proposes defer",
		},
		{
			name: "reject with a soft reply", policy: limits, reports: Reports{told("a", proposes(filter.Reject, soft))},
			action: filter.Reject, reply: "550 5.7.1 message refused by policy", because: "a: proposes reject",
		},
		{
			name: "reply that breaks out", policy: limits, reports: Reports{told("a", proposes(filter.Reject, reply(550, 5, 7, 1, "no\r\n\x00grün")))},
			action: filter.Reject, reply: "550 5.7.1 no ?gr?n", because: "a: proposes reject",
		},
		{
			name: "endless reply", policy: limits, reports: Reports{told("a", proposes(filter.Reject, reply(550, 5, 7, 1, strings.Repeat("x", 5000))))},
			action: filter.Reject, reply: "550 5.7.1 " + strings.Repeat("x", maxReplyText), because: "a: proposes reject",
		},
		{
			name: "what is not known marks", policy: limits, reports: Reports{unsure("a", 5)},
			action: filter.Tag, score: 5, because: "score 5 reaches tag 5 (A 5)",
		},
		{
			name: "what is not known holds nothing", policy: limits, reports: Reports{unsure("a", 5), told("b", found("B", 2, ""))},
			action: filter.Tag, score: 13, because: "score 13 reaches quarantine 10 (B 8, A 5), but 8 without what is not known, which can only mark",
		},
		{
			name: "what is not known refuses nothing", policy: limits, reports: Reports{unsure("a", 5), told("b", found("A", 9.999, ""))},
			action: filter.Tag, score: 14.999, because: "score 14.999 reaches quarantine 10 (A 14.999), but 9.999 without what is not known, which can only mark",
		},
		{
			name: "what is not known, beside what is enough", policy: limits, reports: Reports{unsure("a", 2), told("b", found("B", 3, ""))},
			action: filter.Quarantine, score: 14, because: "score 12 without what is not known reaches quarantine 10 (B 12)",
		},
		{
			name: "what is not known, beside what is refused", policy: limits, reports: Reports{unsure("a", 5), told("b", found("B", 4, ""))},
			action: filter.Reject, reply: "550 5.7.1 message looks like spam", score: 21, because: "score 16 without what is not known reaches reject 15 (B 16)",
		},
		{
			name: "what is not known, beside what holds it", policy: limits, reports: Reports{unsure("a", 5), told("b", found("B", 2.5, ""))},
			action: filter.Quarantine, score: 15, because: "score 15 reaches reject 15 (B 10, A 5), but 10 without what is not known, which can only mark: quarantine 10",
		},
		{
			name: "what is not known, where nothing is marked", policy: Policy{Reject: ptr(15.0), Weights: limits.Weights}, reports: Reports{unsure("a", 20)},
			action: filter.Tag, score: 20, because: "score 20 reaches reject 15 (A 20), but 0 without what is not known, which can only mark",
		},
		{
			name: "what is not known aggravates nothing", policy: limits,
			reports: Reports{told("dmarc", filter.Result{Propose: filter.Tag, Aggravated: filter.Reject}), unsure("b", 5)},
			action:  filter.Tag, score: 5, because: "dmarc: proposes tag",
		},
		{
			name: "what is not known, with a weight that takes off", policy: limits,
			reports: Reports{detailed(told("a", filter.Result{}), filter.Finding{Symbol: "W", Strength: 1, Unknown: true}), told("b", found("A", 16, ""))},
			action:  filter.Quarantine, score: 13, because: "score 13 reaches quarantine 10 (A 16)",
		},
		{
			name: "finding without words", policy: limits, reports: Reports{detailed(told("a", proposes(filter.Tag, nil)), filter.Finding{})},
			action: filter.Tag, because: "a: proposes tag",
		},
		{
			name: "skipped with on_error", policy: off, reports: Reports{told("x", proposes(filter.Reject, own)), {Stage: "b", Phase: filter.Data, Outcome: Skipped, OnError: ContinueOnError}},
			action: filter.Defer, reply: "451 4.3.0 temporary problem, please try again", because: "b: could not tell: skipped",
		},
		{
			name: "quarantine has no reply", policy: limits, reports: Reports{told("a", proposes(filter.Quarantine, own))},
			action: filter.Quarantine, because: "a: proposes quarantine",
		},

		{
			name: "error defers", policy: limits, reports: Reports{failed("clam", Defer)},
			action: filter.Defer, reply: "451 4.3.0 temporary problem, please try again", because: "clam: could not tell: error: clamd: no answer",
		},
		{name: "error continues", policy: limits, reports: Reports{failed("clam", ContinueOnError)}},
		{
			name: "error rejects", policy: limits, reports: Reports{failed("clam", RejectOnError)},
			action: filter.Reject, reply: "554 5.7.1 message refused by policy", because: "clam: could not tell: error: clamd: no answer",
		},
		{
			name: "unknown on_error", policy: limits, reports: Reports{failed("clam", 9)},
			action: filter.Defer, reply: "451 4.3.0 temporary problem, please try again", because: "clam: could not tell: error: clamd: no answer",
		},
		{
			name: "time-out", policy: limits, reports: Reports{outcome(TimedOut, failed("clam", Defer))},
			action: filter.Defer, reply: "451 4.3.0 temporary problem, please try again", because: "clam: could not tell: timeout: clamd: no answer",
		},
		{
			name: "a failure's result does not count", policy: limits, reports: Reports{
				edited(outcome(Errored, told("a", found("BIG", 1, ""))), mail.RemovePart{Path: "1"}),
				outcome(Panicked, told("b", proposes(filter.Reject, own))),
			}[1:],
			action: filter.Defer, reply: "451 4.3.0 temporary problem, please try again", because: "b: could not tell: panic",
		},

		{
			name: "reject beats error", policy: limits, reports: Reports{failed("clam", Defer), told("spf", proposes(filter.Reject, own))},
			action: filter.Reject, reply: "550 5.7.23 SPF says no", because: "spf: proposes reject",
		},
		{
			name: "defer beats quarantine", policy: limits, reports: Reports{told("a", proposes(filter.Quarantine, nil)), failed("clam", Defer)},
			action: filter.Defer, reply: "451 4.3.0 temporary problem, please try again", because: "clam: could not tell: error: clamd: no answer",
		},
		{
			name: "score beats a lesser proposal", policy: limits, reports: Reports{told("a", proposes(filter.Tag, nil)), told("b", found("BIG", 1, ""))},
			action: filter.Reject, reply: "550 5.7.1 message looks like spam", score: 15.2, because: "score 15.2 reaches reject 15 (BIG 15.2)",
		},
		{
			name: "the first of equals", policy: limits, reports: Reports{told("a", proposes(filter.Reject, own)), told("b", proposes(filter.Reject, nil)), told("c", found("BIG", 1, ""))},
			action: filter.Reject, reply: "550 5.7.23 SPF says no", score: 15.2, because: "a: proposes reject",
		},
		{
			name: "skipped after a refusal", policy: limits, reports: Reports{told("a", proposes(filter.Reject, own)), outcome(Skipped, told("b", filter.Result{}))},
			action: filter.Reject, reply: "550 5.7.23 SPF says no", because: "a: proposes reject",
		},
		{
			name: "skipped after a refusal that is off", policy: off, reports: Reports{told("x", proposes(filter.Reject, own)), outcome(Skipped, told("b", filter.Result{}))},
			action: filter.Defer, reply: "451 4.3.0 temporary problem, please try again", because: "b: could not tell: skipped",
		},

		{
			name: "observed stage", policy: limits, reports: Reports{observed(told("a", proposes(filter.Reject, own))), observed(told("b", found("BIG", 1, ""))), told("c", found("A", 1, ""))},
			score: 1, would: filter.Reject, why: "a: proposes reject",
		},
		{
			name: "observed score", policy: limits, reports: Reports{observed(told("b", found("B", 1, ""))), told("c", found("A", 1, ""))},
			score: 1, would: filter.Tag, why: "score 5 reaches tag 5 (B 4, A 1)",
		},
		{
			name: "observed error", policy: limits, reports: Reports{observed(failed("clam", RejectOnError))},
			would: filter.Reject, why: "clam: could not tell: error: clamd: no answer",
		},
		{
			name: "observing policy", policy: observing, reports: Reports{told("a", found("BIG", 1, "")), edited(told("b", filter.Result{}), mail.RemovePart{Path: "1"})},
			score: 15.2, would: filter.Reject, why: "score 15.2 reaches reject 15 (BIG 15.2)",
		},
		{name: "stage that is off", policy: off, reports: Reports{told("x", found("BIG", 1, "")), failed("x", Defer), told("y", found("A", 1, ""))}, score: 1},

		{name: "exempt from scores", policy: exempt, reports: Reports{told("a", found("BIG", 1, ""))}, score: 15.2},
		{name: "exempt from what is held", policy: exempt, reports: Reports{at(filter.Connect, held(told("dnsbl", proposes(filter.Reject, own))))}},
		{
			name: "not exempt from the rest", policy: exempt, reports: Reports{held(told("dnsbl", proposes(filter.Reject, own))), told("clam", proposes(filter.Quarantine, nil))},
			action: filter.Quarantine, because: "clam: proposes quarantine",
		},
		{
			name: "not exempt from the unknown", policy: exempt, reports: Reports{failed("clam", Defer)},
			action: filter.Defer, reply: "451 4.3.0 temporary problem, please try again", because: "clam: could not tell: error: clamd: no answer",
		},

		{
			name: "held", policy: limits, reports: Reports{at(filter.Connect, held(told("dnsbl", proposes(filter.Reject, own))))},
			action: filter.Reject, reply: "550 5.7.23 SPF says no", because: "dnsbl: proposes reject", hold: true,
		},
		{
			name: "not held", policy: limits, reports: Reports{at(filter.Connect, told("acl", proposes(filter.Reject, own)))},
			action: filter.Reject, reply: "550 5.7.23 SPF says no", because: "acl: proposes reject",
		},
		{
			name: "one that need not be held", policy: limits, reports: Reports{at(filter.Connect, held(told("dnsbl", proposes(filter.Reject, own)))), at(filter.Connect, told("acl", proposes(filter.Reject, nil)))},
			action: filter.Reject, reply: "550 5.7.1 message refused by policy", because: "acl: proposes reject",
		},
		{
			name: "early error is held", policy: limits, reports: Reports{at(filter.Mail, failed("spf", Defer))},
			action: filter.Defer, reply: "451 4.3.0 temporary problem, please try again", because: "spf: could not tell: error: clamd: no answer", hold: true,
		},
		{
			name: "early score is held", policy: limits, reports: Reports{at(filter.Helo, told("a", found("BIG", 1, "")))},
			action: filter.Reject, reply: "550 5.7.1 message looks like spam", score: 15.2, because: "score 15.2 reaches reject 15 (BIG 15.2)", hold: true,
		},
		{
			name: "late score is not", policy: limits, reports: Reports{at(filter.Helo, told("a", found("BIG", 1, ""))), told("b", filter.Result{})},
			action: filter.Reject, reply: "550 5.7.1 message looks like spam", score: 15.2, because: "score 15.2 reaches reject 15 (BIG 15.2)",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := c.policy.Decide(c.reports)
			said := ""
			if !v.Reply.IsZero() {
				said = v.Reply.String()
			}
			if v.Action != c.action || said != c.reply || v.Score != c.score || v.Because != c.because || v.Hold != c.hold {
				t.Errorf("got  %v %q score %v hold %v: %s\nwant %v %q score %v hold %v: %s",
					v.Action, said, v.Score, v.Hold, v.Because, c.action, c.reply, c.score, c.hold, c.because)
			}
			would, why := c.would, c.why
			if why == "" {
				would, why = c.action, c.because
			}
			if v.Would != would || v.WouldBecause != why {
				t.Errorf("would be %v: %s, want %v: %s", v.Would, v.WouldBecause, would, why)
			}
		})
	}
}

func TestReasonNamesTheGreatest(t *testing.T) {
	p := Policy{Reject: ptr(1.0), Weights: map[string]float64{}}
	var rs Reports
	for i := range 8 {
		name := string(rune('A' + i))
		p.Weights[name] = float64(i%4 + 1)
		rs = append(rs, told("s", found(name, 1, "")))
	}
	if got, want := p.Decide(rs).Because, "score 20 reaches reject 1 (D 4, H 4, C 3, G 3, B 2, …)"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestEditsOfEnforcedStagesOnly(t *testing.T) {
	one, two, three := mail.RemovePart{Path: "1"}, mail.AddField{Name: "X", Body: "y"}, mail.RemovePart{Path: "3"}
	rs := Reports{
		edited(told("a", filter.Result{}), one, two), observed(edited(told("b", filter.Result{}), mail.RemovePart{Path: "2"})),
		edited(told("x", filter.Result{}), mail.RemovePart{Path: "4"}), edited(told("c", proposes(filter.Tag, nil)), three),
	}
	p := &Policy{Off: map[string]bool{"x": true}}
	if diff := cmp.Diff([]mail.Edit{one, two, three}, p.Decide(rs).Edits); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	p.Observe = true
	if e := p.Decide(rs).Edits; len(e) > 0 {
		t.Errorf("an observing policy has edits %v", e)
	}
	var none *Policy
	if v := none.Decide(rs); v.Action != filter.Tag || len(v.Edits) != 4 {
		t.Errorf("no policy gives %v with %v", v.Action, v.Edits)
	}
}

func TestVerdictJSON(t *testing.T) {
	p := &Policy{Reject: ptr(1.0), Weights: map[string]float64{"A": 1.5}}
	v := p.Decide(Reports{edited(told("a", found("A", 1, "why")), mail.RemovePart{Path: "2"}), observed(told("b", found("A", 1, "")))})
	got, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"action":"reject","reply":"550 5.7.1 message looks like spam","score":1.5,"because":"score 1.5 reaches reject 1 (A 1.5)",` +
		`"findings":[{"filter":"a","symbol":"A","strength":1,"detail":"why","score":1.5},{"filter":"b","symbol":"A","strength":1,"score":1.5,"observed":true}],` +
		`"edits":[{"op":"remove_part","path":"2"}],"would":"reject","would_because":"score 3 reaches reject 1 (A 3)"}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	got, err = json.Marshal((&Policy{}).Decide(nil))
	if want := `{"action":"continue","score":0,"because":"","findings":[],"edits":[],"would":"continue"}`; err != nil || string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestWouldEdits tells of the changes that observed stages, and an observing policy, do not make.
func TestWouldEdits(t *testing.T) {
	edit := mail.RemovePart{Path: "1"}
	report := func(observe bool) Reports {
		return Reports{{Stage: "a", Phase: filter.Data, Outcome: Match, Observe: observe, Result: filter.Result{Edits: []mail.Edit{edit}}}}
	}
	for name, c := range map[string]struct {
		policy      Policy
		rs          Reports
		made, would int
	}{
		"enforced":          {Policy{}, report(false), 1, 1},
		"observed stage":    {Policy{}, report(true), 0, 1},
		"observing policy":  {Policy{Observe: true}, report(false), 0, 1},
		"stage that is off": {Policy{Observe: true, Off: map[string]bool{"a": true}}, report(false), 0, 0},
	} {
		if v := c.policy.Decide(c.rs); len(v.Edits) != c.made || len(v.WouldEdits) != c.would {
			t.Errorf("%s: %d made, %d would be; want %d, %d", name, len(v.Edits), len(v.WouldEdits), c.made, c.would)
		}
	}
}
