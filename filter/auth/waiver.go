package auth

import (
	"fmt"
	"slices"
)

// Waiver says that checks do not count for a message, since what it claims to be was proved. It comes
// from an entry that somebody wrote.
type Waiver struct {
	Domain string   `json:"domain"` // of the entry
	Proof  string   `json:"proof"`  // dkim, spf, network or certificate
	Waives []string `json:"waives"` // names of filters, "score", "attachments/CLASS"
	Entry  string   `json:"entry"`  // file:line
	Note   string   `json:"note,omitempty"`
}

// WaiveScore is the word of Waiver.Waives for the thresholds of the score.
const WaiveScore = "score"

// WaiveClass gives the word of Waiver.Waives for a class of files (PartReport.Class).
func WaiveClass(class string) string { return "attachments/" + class }

// String names the entry and what was proved: "allow:17 (dkim example.com)".
func (w Waiver) String() string { return fmt.Sprintf("%s (%s %s)", w.Entry, w.Proof, w.Domain) }

// Waived gives the first of the waivers that names what: a stage, WaiveScore or a WaiveClass.
func Waived(all []Waiver, what string) (Waiver, bool) {
	i := slices.IndexFunc(all, func(w Waiver) bool { return slices.Contains(w.Waives, what) })
	if i < 0 {
		return Waiver{}, false
	}
	return all[i], true
}

// PartClasses lists the classes of PartReport.Class.
func PartClasses() []string {
	return []string{
		"executable", "script", "shortcut", "macro_auto", "macro", "disk_image", "active_html", "active_pdf", "partial",
		"encrypted", "sealed", "unreadable", "bomb",
	}
}
