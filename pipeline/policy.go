package pipeline

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/mail"
)

// Policy says what the reports about a message come to. It is read-only once it is in use, and safe for
// concurrent use.
type Policy struct {
	Name                    string
	Tag, Quarantine, Reject *float64           // score thresholds, reached by a score that is equal or greater; nil: none
	Weights                 map[string]float64 // score of each symbol at strength 1; one that is missing scores nothing
	Subject                 string             // the word that goes before the subject of what is marked; "" for none
	Off                     map[string]bool    // stages whose reports are ignored: for those that run before the policy is known
	Observe                 bool               // decide, but change nothing
	exempt                  bool
}

// ForExempt gives the policy for those who must always be reachable (postmaster, abuse and the like):
// score thresholds do not apply to them, and proposals that are held for the rcpt phase are dropped.
func (p *Policy) ForExempt() *Policy {
	q := *p
	q.exempt = true
	return &q
}

// The replies where a filter gave none. They are generic on purpose: the cause stands in the log and the
// record, under the id that goes with the reply.
var (
	deferReply   = mail.NewReply(451, 4, 3, 0, "temporary problem, please try again")
	rejectReply  = mail.NewReply(550, 5, 7, 1, "message refused by policy")
	failureReply = mail.NewReply(554, 5, 7, 1, "message refused by policy")
	scoreReply   = mail.NewReply(550, 5, 7, 1, "message looks like spam")
)

// Decide says what the reports come to. It is pure: the same reports in the same order give the same
// verdict.
//
// The greatest action wins: of what enforced stages propose, what their on_error asks for where they
// could not tell, and what the thresholds make of the score. Reply and reason are those of the first
// report that asks for it; a threshold comes last. A stage that was skipped because of a refusal that
// does not stand could not tell.
//
// What enforced stages waive (auth.Waivers) counts for nothing: see waivers.
func (p *Policy) Decide(rs Reports) Verdict {
	if p == nil {
		p = new(Policy)
	}
	if p.nothingIn(rs) {
		return Verdict{}
	}
	return p.decideAll(rs)
}

func (p *Policy) decideAll(rs Reports) Verdict {
	let := p.waivers(rs, false)
	v := Verdict{Findings: p.findings(rs, let), Waivers: let}
	tried, found := p.waivers(rs, true), v.Findings
	if len(tried) != len(let) {
		found = p.findings(rs, tried)
	}
	would := p.decide(rs, found, tried, true)
	v.Would, v.WouldBecause = would.action, would.because
	v.Score = total(v.Findings, false)
	v.WouldEdits, v.WouldRebuild = p.edits(rs, tried, true)
	if p.Observe {
		return v
	}
	r := p.decide(rs, v.Findings, let, false)
	v.Action, v.Reply, v.Because, v.Hold = r.action, r.reply, r.because, r.held
	v.Edits, v.Rebuild = p.edits(rs, let, false)
	return v
}

// nothingIn reports whether nothing was found and nobody wants anything, as in the phases in which no filter runs.
func (p *Policy) nothingIn(rs Reports) bool {
	for i := range rs {
		r, res := &rs[i], &rs[i].Result
		if r.Outcome != Pass || res.Propose != filter.Continue || res.Aggravated != filter.Continue || res.Rebuild ||
			len(res.Findings) > 0 || len(res.Edits) > 0 || len(res.Facts) > 0 {
			return false
		}
	}
	t := lowest(p)
	return t == nil || *t > 0
}

// edits gathers the changes that stages ask for, of observed ones only if all is set. What is serialised anew is no
// stage's wish: a message that can be read in several ways is never delivered as it is for a waiver's sake.
func (p *Policy) edits(rs Reports, let []auth.Waiver, all bool) (out []mail.Edit, rebuild bool) {
	for i := range rs {
		if r := &rs[i]; (all || !r.Observe) && !p.Off[r.Stage] && r.Outcome.Told() {
			if !waived(r, let) {
				out = append(out, r.Result.Edits...)
			}
			rebuild = rebuild || r.Result.Rebuild
		}
	}
	return out, rebuild
}

// findings lists what was found, with the score of each.
func (p *Policy) findings(rs Reports, let []auth.Waiver) []StageFinding {
	var out []StageFinding
	for i := range rs {
		r := &rs[i]
		if p.Off[r.Stage] || !r.Outcome.Told() {
			continue
		}
		spared := waived(r, let)
		for _, f := range r.Result.Findings {
			found := StageFinding{Stage: r.Stage, Finding: f, Score: p.score(f), Observed: r.Observe, Waived: spared}
			if spared {
				found.Score = 0
			}
			out = append(out, found)
		}
	}
	return out
}

func (p *Policy) score(f filter.Finding) float64 {
	if f.Symbol == "" {
		return 0
	}
	return round(p.Weights[f.Symbol] * f.Strength)
}

// round gives x to three decimals, so that sums are stable and can be read; what is no number scores
// nothing.
func round(x float64) float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return 0
	}
	return math.Round(x*1000)/1000 + 0 // no negative zero
}

// total adds up the scores, those of observed stages only if all is set.
func total(fs []StageFinding, all bool) float64 {
	sum := 0.0
	for _, f := range fs {
		if all || !f.Observed {
			sum += f.Score
		}
	}
	return round(sum)
}

// certain gives the findings that stand for what was found, and not for what could not be found out.
func certain(fs []StageFinding) []StageFinding {
	if !slices.ContainsFunc(fs, func(f StageFinding) bool { return f.Unknown }) {
		return fs
	}
	return slices.DeleteFunc(slices.Clone(fs), func(f StageFinding) bool { return f.Unknown })
}

// ruling is one possible outcome and what speaks for it.
type ruling struct {
	action  filter.Action
	reply   mail.Reply
	because string
	held    bool
	of      string // the stage, or auth.WaiveScore
}

// or gives the ruling that stands when next comes after r: the greater action, of equal ones the one
// that need not be held, else the earlier.
func (r ruling) or(next ruling) ruling {
	if next.action > r.action || next.action == r.action && r.held && !next.held {
		return next
	}
	return r
}

// rule decides from the enforced stages, or from all of them.
func (p *Policy) rule(rs Reports, fs []StageFinding, let []auth.Waiver, all bool) ruling {
	var best ruling
	_, free := auth.Waived(let, auth.WaiveScore)
	free = free || p.exempt
	early, skipped := true, false
	for i := range rs {
		r := &rs[i]
		early = early && r.Phase < filter.Rcpt
		if p.Off[r.Stage] || r.Observe && !all {
			continue
		}
		switch {
		case r.Outcome == Skipped:
			skipped = true
		case !r.Outcome.Told():
			best = best.or(p.failure(r))
		case p.exempt && r.Result.Hold, waived(r, let):
		default:
			best = best.or(p.proposal(r, r.Result.Propose))
			if r.Result.Aggravated > r.Result.Propose && !free && p.suspect(fs, r.Stage, all) {
				best = best.or(p.proposal(r, r.Result.Aggravated))
			}
		}
	}
	if !free {
		s := p.threshold(fs, all)
		s.held, s.of = early, auth.WaiveScore
		best = best.or(s)
	}
	if skipped && best.action < filter.Reject {
		for i := range rs {
			if r := &rs[i]; r.Outcome == Skipped && !p.Off[r.Stage] && (all || !r.Observe) {
				best = best.or(p.failure(r))
			}
		}
	}
	if best.action == filter.Continue {
		return ruling{}
	}
	return best
}

// failure is what a stage that could not tell asks for. Before the rcpt phase it is held, so that the
// log can name the recipients.
func (p *Policy) failure(r *Report) ruling {
	out := ruling{action: r.OnError.action(), held: r.Phase < filter.Rcpt, of: r.Stage}
	if r.Outcome == Skipped {
		out.action = filter.Defer // it did not fail: on_error does not speak of this
	}
	if out.action == filter.Reject {
		out.reply = failureReply
	} else if out.action == filter.Defer {
		out.reply = deferReply
	}
	why := r.Outcome.String()
	if r.Err != nil {
		why += ": " + strings.TrimPrefix(r.Err.Error(), "pipeline: ")
	}
	out.because = printable(r.Stage+": could not tell: "+why, maxBecause)
	return out
}

// suspect reports whether the score reaches the lowest threshold without the findings of a stage.
func (p *Policy) suspect(fs []StageFinding, stage string, all bool) bool {
	t := lowest(p)
	if t == nil {
		return false
	}
	others := slices.DeleteFunc(slices.Clone(fs), func(f StageFinding) bool { return f.Stage == stage })
	return total(certain(others), all) >= *t
}

// proposal is what the result of a stage asks for with the action a.
func (p *Policy) proposal(r *Report, a filter.Action) ruling {
	out := ruling{action: min(a, filter.Reject), held: r.Result.Hold, of: r.Stage}
	if out.action == filter.Continue {
		return ruling{}
	}
	// A reply of the other class would refuse for good what is to come back, or the reverse.
	own := r.Result.Reply
	if out.action == filter.Reject {
		out.reply = rejectReply
		if own != nil && own.Permanent() {
			out.reply = presentable(*own)
		}
	} else if out.action == filter.Defer {
		out.reply = deferReply
		if own != nil && own.Temporary() {
			out.reply = presentable(*own)
		}
	}
	out.because = printable(r.Stage+": "+p.evidence(r, a), maxBecause)
	return out
}

// evidence names what a proposal rests on: the finding that scores most, of equal ones the first, or the
// proposal itself where nothing was found.
func (p *Policy) evidence(r *Report, a filter.Action) string {
	best := -1
	for i, f := range r.Result.Findings {
		if best < 0 || p.score(f) > p.score(r.Result.Findings[best]) {
			best = i
		}
	}
	if best >= 0 {
		f := r.Result.Findings[best]
		if text := strings.TrimSpace(f.Symbol + " " + printable(f.Detail, maxDetailText)); text != "" {
			return text
		}
	}
	return "proposes " + a.String()
}

// threshold is what the score asks for. What was not found out counts for a mark, whichever threshold it reaches, and for nothing else.
func (p *Policy) threshold(fs []StageFinding, all bool) ruling {
	score := total(fs, all)
	known := min(score, total(certain(fs), all))
	reached := func(t *float64, score float64) bool { return t != nil && score >= *t }
	switch {
	case reached(p.Reject, known):
		return ruling{action: filter.Reject, reply: scoreReply, because: knownReason(score, known, "reject", *p.Reject, fs, all)}
	case reached(p.Quarantine, known) && reached(p.Reject, score):
		why := unknownReason(score, known, "reject", *p.Reject, fs, all) + ": quarantine " + number(*p.Quarantine)
		return ruling{action: filter.Quarantine, because: printable(why, maxBecause)}
	case reached(p.Quarantine, known):
		return ruling{action: filter.Quarantine, because: knownReason(score, known, "quarantine", *p.Quarantine, fs, all)}
	case reached(p.Reject, score):
		return ruling{action: filter.Tag, because: unknownReason(score, known, "reject", *p.Reject, fs, all)}
	case reached(p.Quarantine, score):
		return ruling{action: filter.Tag, because: unknownReason(score, known, "quarantine", *p.Quarantine, fs, all)}
	case reached(p.Tag, score):
		return ruling{action: filter.Tag, because: reason(number(score), "tag", *p.Tag, fs, all)}
	}
	return ruling{}
}

// knownReason says that a score reaches a threshold by what was found, whatever was not found out.
func knownReason(score, known float64, name string, threshold float64, fs []StageFinding, all bool) string {
	if known == score {
		return reason(number(score), name, threshold, fs, all)
	}
	return reason(number(known)+" without what is not known", name, threshold, certain(fs), all)
}

// unknownReason says that a score reaches a threshold by what was not found out.
func unknownReason(score, known float64, name string, threshold float64, fs []StageFinding, all bool) string {
	return printable(reason(number(score), name, threshold, fs, all)+", but "+number(known)+" without what is not known, which can only mark", maxBecause)
}

// maxNamed is the number of symbols that the reason for a score names.
const maxNamed = 5

// reason says that a score reaches a threshold, and which symbols brought it there, the greatest first.
func reason(score, name string, threshold float64, fs []StageFinding, all bool) string {
	type share struct {
		symbol string
		score  float64
	}
	var shares []share
	for _, f := range fs {
		if f.Score <= 0 || f.Observed && !all {
			continue
		}
		i := slices.IndexFunc(shares, func(s share) bool { return s.symbol == f.Symbol })
		if i < 0 {
			shares = append(shares, share{symbol: f.Symbol})
			i = len(shares) - 1
		}
		shares[i].score = round(shares[i].score + f.Score)
	}
	slices.SortStableFunc(shares, func(a, b share) int {
		switch {
		case a.score > b.score:
			return -1
		case a.score < b.score:
			return 1
		}
		return 0
	})
	var named []string
	for i, s := range shares {
		if i == maxNamed {
			named = append(named, "…")
			break
		}
		named = append(named, s.symbol+" "+number(s.score))
	}
	text := fmt.Sprintf("score %s reaches %s %s", score, name, number(threshold))
	if len(named) > 0 {
		text += " (" + strings.Join(named, ", ") + ")"
	}
	return printable(text, maxBecause)
}

// number writes a score for people: no more decimals than it has, and at most three.
func number(x float64) string { return strconv.FormatFloat(round(x), 'f', -1, 64) }

// presentable makes a filter's reply fit for the wire: printable ASCII and line ends are all that its
// text may hold, and RFC 5321 4.5.3.1.5 gives a reply line 512 octets, of which code and id take some.
func presentable(r mail.Reply) mail.Reply {
	r.Text = strings.Map(func(c rune) rune {
		switch {
		case c == '\n' || ' ' <= c && c <= '~':
			return c
		case c == '\r':
			return -1
		}
		return '?'
	}, r.Text)
	if len(r.Text) > maxReplyText {
		r.Text = r.Text[:maxReplyText]
	}
	return r
}
