package app

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/pipeline"
)

// scanOutput is what `scan --json` prints.
type scanOutput struct {
	Action       filter.Action      `json:"action"`
	Reply        string             `json:"reply"`
	Score        float64            `json:"score"`
	Because      string             `json:"because"`
	Would        *filter.Action     `json:"would,omitempty"` // what would be done if nothing were observed only
	WouldBecause string             `json:"would_because,omitempty"`
	Policy       string             `json:"policy"`
	Waivers      []auth.Waiver      `json:"waivers,omitempty"` // what does not count, and by which entry
	Findings     []scanFinding      `json:"findings"`
	Edits        []mail.Edit        `json:"edits"`
	Rebuild      bool               `json:"rebuild,omitempty"`     // parts that programs read in different ways are serialised anew
	WouldEdits   []mail.Edit        `json:"would_edits,omitempty"` // those of Edits and of what is observed only
	Parts        []auth.PartReport  `json:"parts"`
	Timings      map[string]float64 `json:"timings"` // milliseconds, by filter
	Errors       map[string]string  `json:"errors,omitempty"`
	Signed       string             `json:"signed,omitempty"`     // the signatures on what --trace --out wrote, or why there are none
	Recipients   []scanOutcome      `json:"recipients,omitempty"` // what each gets, where there are several
	Others       []scanOutput       `json:"others,omitempty"`     // the judgements of those for whom this is not
}

type scanFinding struct {
	Symbol   string  `json:"symbol"`
	Score    float64 `json:"score"`
	Strength float64 `json:"strength"`
	Detail   string  `json:"detail"`
	Filter   string  `json:"filter"`
	Observed bool    `json:"observed,omitempty"`
	Waived   bool    `json:"waived,omitempty"`
	Unknown  bool    `json:"unknown,omitempty"` // it stands for what could not be found out
}

func (s *scan) output() scanOutput {
	v := s.verdict
	out := scanOutput{
		Action: v.Action, Reply: s.reply.String(), Score: v.Score, Because: v.Because, Policy: s.policy.policy.Name,
		Waivers: v.Waivers, Findings: []scanFinding{}, Edits: []mail.Edit{}, Parts: s.parts(), Timings: map[string]float64{}, Signed: s.signed,
		Recipients: s.outcomes,
	}
	for _, o := range s.others {
		out.Others = append(out.Others, o.output())
	}
	if v.Would != v.Action {
		out.Would, out.WouldBecause = &v.Would, v.WouldBecause
	}
	for _, f := range v.Findings {
		out.Findings = append(out.Findings, scanFinding{
			Symbol: f.Symbol, Score: f.Score, Strength: f.Strength, Detail: f.Detail, Filter: f.Stage, Observed: f.Observed, Waived: f.Waived, Unknown: f.Unknown,
		})
	}
	out.Edits, out.Rebuild = append(out.Edits, v.Edits...), v.Rebuild
	if len(v.WouldEdits) > len(v.Edits) {
		out.WouldEdits = v.WouldEdits
	}
	for _, r := range s.reports.Summaries() {
		out.Timings[r.Stage] += r.MS
		if r.Error != "" {
			if out.Errors == nil {
				out.Errors = map[string]string{}
			}
			out.Errors[r.Stage] = r.Error
		}
	}
	return out
}

// print prints the verdict, for people or as JSON.
func (s *scan) print(w io.Writer, o ScanOptions) error {
	out := s.output()
	if o.JSON {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		return enc.Encode(out)
	}
	return s.printTo(w, &out, o.Trace)
}

// printTo prints a judgement for people, and those of others below.
func (s *scan) printTo(w io.Writer, out *scanOutput, trace bool) error {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintf(tw, "action\t%s\n", out.Action)
	fmt.Fprintf(tw, "reply\t%s\n", out.Reply)
	fmt.Fprintf(tw, "score\t%s\n", s.scoreLine())
	if out.Because != "" {
		fmt.Fprintf(tw, "because\t%s\n", visible(out.Because))
	}
	if out.Would != nil {
		fmt.Fprintf(tw, "would be\t%s (%s)\n", out.Would, visible(out.WouldBecause))
	}
	fmt.Fprintf(tw, "policy\t%s\n", out.Policy)
	for _, w := range out.Waivers {
		fmt.Fprintf(tw, "waived\t%s\n", visible(strings.Join(w.Waives, ", ")+" by "+w.String()))
	}
	if out.Signed != "" {
		fmt.Fprintf(tw, "signed\t%s\n", visible(out.Signed))
	}
	printOutcomes(tw, out.Recipients)
	if len(out.Findings) > 0 {
		fmt.Fprint(tw, "\nFILTER\tSYMBOL\tSCORE\tDETAIL\n")
		for _, f := range out.Findings {
			note := ""
			if f.Observed {
				note = " (observed)"
			}
			if f.Waived {
				note += " (waived)"
			}
			if f.Unknown {
				note += " (not known)"
			}
			fmt.Fprintf(tw, "%s\t%s\t%s\t%s%s\n", f.Filter, f.Symbol, pipeline.Tenths(f.Score), visible(f.Detail), note)
		}
	}
	if len(out.Parts) > 0 {
		printParts(tw, out.Parts)
	}
	printEdits(tw, "EDITS", out.Edits)
	if out.Rebuild {
		if len(out.Edits) == 0 {
			fmt.Fprint(tw, "\nEDITS\n")
		}
		fmt.Fprint(tw, "serialise ambiguous parts anew\n")
	}
	printEdits(tw, "EDITS IF ENFORCED", out.WouldEdits)
	if trace {
		fmt.Fprint(tw, "\nFILTER\tPHASE\tOUTCOME\tMS\tERROR\n")
		for _, r := range s.reports.Summaries() {
			fmt.Fprintf(tw, "%s\t%s\t%s\t%.3f\t%s\n", r.Stage, r.Phase, r.Outcome, r.MS, visible(r.Error))
		}
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for i, other := range s.others {
		if _, err := fmt.Fprintf(w, "\nfor recipients of the policy %s:\n\n", out.Others[i].Policy); err != nil {
			return err
		}
		if err := other.printTo(w, &out.Others[i], trace); err != nil {
			return err
		}
	}
	return nil
}

// printOutcomes prints what each of several recipients gets.
func printOutcomes(w io.Writer, all []scanOutcome) {
	for i, o := range all {
		if i == 0 {
			fmt.Fprint(w, "\nRECIPIENT\tPOLICY\tACTION\tREPLY\tBECAUSE\n")
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", visible(o.To), o.Policy, o.Action, o.Reply, visible(o.Because))
	}
}

// printParts prints the tree of parts: what each is, what was made of it and why, and what is odd about the way it is
// written ("!" before what programs read in different ways).
func printParts(w io.Writer, parts []auth.PartReport) {
	fmt.Fprint(w, "\nPART\tTYPE\tSIZE\tNAME\tCLASS\tACTION\tREADING\tREASON\n")
	for _, p := range parts {
		reading := strings.Join(p.Defects, ", ")
		if p.Ambiguous {
			reading = "! " + reading
		}
		indent := strings.Repeat("  ", strings.Count(p.Path, "."))
		if p.Path != "0" && p.Path != "" {
			indent += "  "
		}
		fmt.Fprintf(w, "%s%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\n", indent, p.Path, visible(p.Type), p.Size,
			visible(strings.Join(p.Names, ", ")), p.Class, p.Action, reading, visible(p.Reason))
	}
}

func printEdits(w io.Writer, title string, edits []mail.Edit) {
	for i, e := range edits {
		if i == 0 {
			fmt.Fprintf(w, "\n%s\n", title)
		}
		fmt.Fprintf(w, "%v\n", e)
	}
}

// scoreLine gives the score beside the thresholds of the policy.
func (s *scan) scoreLine() string {
	line := pipeline.Tenths(s.verdict.Score)
	p := s.policy.policy
	for _, t := range []struct {
		name  string
		value *float64
	}{{"tag", p.Tag}, {"quarantine", p.Quarantine}, {"reject", p.Reject}} {
		if t.value != nil {
			line += fmt.Sprintf("  (%s %g)", t.name, *t.value)
		}
	}
	return line
}

// visible makes text of a message safe for a terminal and for a table: control octets, and what turns the
// direction of writing, are shown as escapes.
func visible(s string) string { return escaped(s, "") }

// escaped gives s with each character that a terminal obeys, or that hides or turns others around, in the form of JSON; but for those in keep.
func escaped(s, keep string) string {
	var b strings.Builder
	for _, r := range s {
		if obeyed(r) && !strings.ContainsRune(keep, r) {
			fmt.Fprintf(&b, "\\u%04x", r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func obeyed(r rune) bool {
	switch {
	case r < ' ', r >= 0x7f && r < 0xa0, r == 0xfffd:
		return true
	case r == 0x061c, r >= 0x200b && r <= 0x200f, r >= 0x2028 && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0xfeff:
		return true // marks of direction, ends of lines, characters without width
	}
	return false
}

// jsonTo gives an encoder for values in which others may have put anything: what a terminal obeys is escaped.
func jsonTo(w io.Writer) *json.Encoder { return json.NewEncoder(escapingWriter{w, "\n"}) }

// escapingWriter escapes what a terminal obeys. A write must end where a character does.
type escapingWriter struct {
	w    io.Writer
	keep string
}

// Write implements io.Writer.
func (e escapingWriter) Write(p []byte) (int, error) {
	if _, err := io.WriteString(e.w, escaped(string(p), e.keep)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// printContent prints a message, as it is into files and pipes; a terminal obeys nothing of it.
func (a *App) printContent(content []byte) error {
	w := a.o.Stdout
	if f, ok := w.(*os.File); ok && isTerminal(f) {
		w = escapingWriter{w, "\n\t"}
		content = bytes.ReplaceAll(content, []byte("\r\n"), []byte("\n"))
	}
	_, err := w.Write(content)
	return err
}

// describe reports on a part of which no filter has said anything.
func describe(p *mail.Part) auth.PartReport {
	h := sha256.New()
	n, _ := io.Copy(h, p.Open()) // a part that can't be read shows in Content.Err
	return auth.PartReport{
		Path: p.Path, Type: p.Type, Names: p.Names, Size: n,
		SHA256: hex.EncodeToString(h.Sum(nil)), Action: "pass",
	}
}
