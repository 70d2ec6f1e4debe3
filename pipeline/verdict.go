package pipeline

import (
	"encoding/json"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/mail"
)

// Verdict is what a policy made of the reports.
type Verdict struct {
	Action       filter.Action  // what is done; Continue under an observing policy
	Reply        mail.Reply     // the answer for Defer and Reject; zero else
	Score        float64        // of the enforced findings, to three decimals
	Because      string         // one printable line: the stage and its evidence, or the threshold, that decided, and what a waiver spared it; "" for Continue without one
	Hold         bool           // only what is held decided: before the rcpt phase, answer at each RCPT
	Edits        []mail.Edit    // of the enforced stages, in order; none under an observing policy
	Rebuild      bool           // of the enforced stages: ambiguous parts are serialised anew
	Findings     []StageFinding // of all stages that are not off, in order
	Would        filter.Action  // what would be done if everything that observes were enforced
	WouldBecause string         // the same line for Would
	WouldEdits   []mail.Edit    // the changes then; those of Edits are among them
	WouldRebuild bool           // Rebuild then
	Waivers      []auth.Waiver  // of the enforced stages: what does not count for this message
}

// StageFinding is a finding, the stage that made it, and what it counts.
type StageFinding struct {
	Stage string `json:"filter"`
	filter.Finding
	Score    float64 `json:"score"`
	Observed bool    `json:"observed,omitempty"` // counts for Verdict.Would only
	Waived   bool    `json:"waived,omitempty"`   // scores nothing, by a waiver of Verdict.Waivers
}

// MarshalJSON writes the verdict for logs, records and people: action and would as words, the reply as
// one line.
func (v Verdict) MarshalJSON() ([]byte, error) {
	out := struct {
		Action       filter.Action  `json:"action"`
		Reply        string         `json:"reply,omitempty"`
		Score        float64        `json:"score"`
		Because      string         `json:"because"`
		Hold         bool           `json:"hold,omitempty"`
		Findings     []StageFinding `json:"findings"`
		Edits        []mail.Edit    `json:"edits"`
		Rebuild      bool           `json:"rebuild,omitempty"`
		Would        filter.Action  `json:"would"`
		WouldBecause string         `json:"would_because,omitempty"`
		WouldEdits   []mail.Edit    `json:"would_edits,omitempty"`
		WouldRebuild bool           `json:"would_rebuild,omitempty"`
		Waivers      []auth.Waiver  `json:"waivers,omitempty"`
	}{
		Action: v.Action, Score: v.Score, Because: v.Because, Hold: v.Hold,
		Findings: v.Findings, Edits: v.Edits, Would: v.Would, WouldBecause: v.WouldBecause, WouldEdits: v.WouldEdits,
		Rebuild: v.Rebuild, WouldRebuild: v.WouldRebuild && !v.Rebuild,
		Waivers: v.Waivers,
	}
	if !v.Reply.IsZero() {
		out.Reply = v.Reply.String()
	}
	if out.Findings == nil {
		out.Findings = []StageFinding{}
	}
	if len(v.WouldEdits) == len(v.Edits) {
		out.WouldEdits = nil // nothing that is only observed
	}
	if out.Edits == nil {
		out.Edits = []mail.Edit{}
	}
	return json.Marshal(out)
}
