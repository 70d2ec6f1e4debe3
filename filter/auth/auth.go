// Package auth holds the keys and types of the facts that filters share: what SPF and DKIM found, and
// what each part of the content is. It checks nothing itself.
package auth

import "github.com/postern-mail/postern/filter"

// The keys, which are also the names that filters give in Needs, Wants and Provides.
const (
	SPF   filter.Key[SPFResult]    = "spf"
	DKIM  filter.Key[[]DKIMResult] = "dkim"
	Parts filter.Key[[]PartReport] = "parts"
	// KeepOriginal is false where a filter's configuration says that a message whose parts it has
	// removed need not be kept as it came.
	KeepOriginal filter.Key[bool] = "keep_original"
)

// Result is a result word of RFC 8601 2.7.
type Result string

// The result words.
const (
	None      Result = "none"
	Pass      Result = "pass"
	Fail      Result = "fail"
	SoftFail  Result = "softfail"
	Neutral   Result = "neutral"
	Policy    Result = "policy"
	TempError Result = "temperror"
	PermError Result = "permerror"
)

// SPFResult is the outcome of one SPF check (RFC 7208).
type SPFResult struct {
	Result   Result
	Domain   string // the domain checked, A-labels
	Identity string // "mailfrom" or "helo" (RFC 7208 2.3, 2.4)
	Sender   string // the identity's value: the reverse-path, or the HELO name
	Reason   string // why, for people
}

// DKIMResult is the outcome of one DKIM signature (RFC 6376).
type DKIMResult struct {
	Result    Result
	Domain    string // d=, lower case
	Selector  string // s=
	Algorithm string // a=
	Identity  string // i=, as signed
	Prefix    string // the first octets of b= (RFC 6008: eight, or all)
	Reason    string // why, for people; empty for a pass
}

// PartReport says what a part of the content is and what is to become of it.
type PartReport struct {
	Path   string   `json:"path"`
	Type   string   `json:"type"`   // declared media type
	Names  []string `json:"names"`  // names that some reading gives it, at most five
	Size   int64    `json:"size"`   // decoded octets
	SHA256 string   `json:"sha256"` // of the decoded octets, hex
	Class  string   `json:"class"`  // "" for nothing special
	Reason string   `json:"reason,omitempty"`
	Action string   `json:"action"` // pass, tag, strip, quarantine, reject

	Defects   []string `json:"defects,omitempty"`   // departures from the RFCs, by name; docs/mime-defects.md
	Ambiguous bool     `json:"ambiguous,omitempty"` // programs may read it in different ways
}
