// Package auth holds the keys and types of the facts that filters share: what SPF, DKIM, DMARC, ARC and
// iprev found, what is waived for whom, and what each part of the content is. It checks nothing itself.
package auth

import (
	"time"

	"github.com/postern-mail/postern/filter"
)

// The keys, which are also the names that filters give in Needs, Wants and Provides.
const (
	SPF     filter.Key[SPFResult]    = "spf"
	HeloSPF filter.Key[SPFResult]    = "helo_spf" // the HELO name, where SPF is about the reverse-path
	DKIM    filter.Key[[]DKIMResult] = "dkim"
	ARC     filter.Key[ARCResult]    = "arc"
	DMARC   filter.Key[DMARCResult]  = "dmarc"
	IPRev   filter.Key[IPRevResult]  = "iprev"
	Waivers filter.Key[[]Waiver]     = "waivers"
	Parts   filter.Key[[]PartReport] = "parts"
	// KeepOriginal is false where a filter's configuration says that a message whose parts it has
	// removed need not be kept as it came.
	KeepOriginal filter.Key[bool] = "keep_original"
	// UnpackLimits are the limits that the containers of a message ran into, each once: UnpackLimitWords.
	UnpackLimits filter.Key[[]string] = "unpack_limits"

	// UserLimits is how many recipients the user who has logged in may have in a time, where that is said of him and not
	// of users at large. It is a fact of the session, recorded at the login.
	UserLimits filter.Key[[]UserLimit] = "user_limits"
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

// UserLimit is so many recipients in a time.
type UserLimit struct {
	Recipients int64
	Per        time.Duration
}

// SPFResult is the outcome of one SPF check (RFC 7208).
type SPFResult struct {
	Result      Result
	Domain      string // the domain checked, A-labels
	Identity    string // "mailfrom" or "helo" (RFC 7208 2.3, 2.4)
	Sender      string // the identity's value: the reverse-path, or the HELO name
	LocalPart   bool   // a record that was evaluated looks at the local part: the result is about the mailbox, not the domain
	Reason      string // why, for people
	Mechanism   string // the term that matched, as in the record; "" for none
	Explanation string // what the domain has to say of a fail (RFC 7208 6.2), printable ASCII; "" for nothing
	Received    string // the body of a Received-SPF field (RFC 7208 9.1), where the configuration asks for one
}

// DKIMResult is the outcome of one DKIM signature (RFC 6376).
type DKIMResult struct {
	Result     Result
	Domain     string    // d=, A-labels, lower case
	Selector   string    // s=
	Algorithm  string    // a=
	Identity   string    // i=, as signed
	Prefix     string    // the first octets of b= (RFC 6008 4: eight, or as many more as tell it from others)
	Reason     string    // why, for people; empty for a pass
	KeyBits    int       // of the RSA modulus, 256 for Ed25519; 0 where the key is not known
	Testing    bool      // the key says t=y: the domain tests DKIM
	Signed     time.Time // t=; zero for none
	Expires    time.Time // x=; zero for none
	OverSigned []string  // fields, lower case, that h= names more often than they stand: nobody can add one unseen
	Limited    bool      // it has an l=: what stands behind the signed octets of the body may be anybody's
	Unsigned   []string  // fields that readers show or go by, lower case, of which none is signed: each may be anybody's
	Added      []string  // fields that readers show, lower case, of which more stand than are signed: one may have been added
}

// ARCResult is the outcome of the validation of a message's ARC chain (RFC 8617).
type ARCResult struct {
	Result    Result   // None, Pass, Fail; TempError where a key could not be asked for
	Sealers   []string // d= of the seals, that of instance 1 first; as far as they could be read
	OldestAMS int      // the lowest instance of which this and all later message signatures verify; 0: all
	Trusted   bool     // the chain passes and ends in sealers that the configuration trusts
	Vouched   []string // author domains, lower case, with dmarc=pass by the word of a trusted sealer
	Reason    string   // why, for people; empty for a pass
}

// DMARCResult is the outcome of the DMARC check (RFC 9989), with what an aggregate report (RFC 9990) will need.
type DMARCResult struct {
	Result       Result
	From         string      // Author Domain, A-labels; "" where there is no one domain
	Organization string      // its Organizational Domain; "" if not known
	PolicyDomain string      // where the record was found; "" for none
	Record       string      // as published
	Published    DMARCRecord // its other tags, with the defaults of those that are absent or malformed
	Policy       string      // the requested handling of this domain: none, quarantine, reject; "" without a record
	PolicyTag    string      // where it stands: p, sp or np
	Testing      bool        // t=y
	ADKIM, ASPF  string      // "r" or "s"
	SPFAligned   bool        // SPF passes with a domain that is aligned
	DKIMAligned  bool        // a signature that verifies has a domain that is aligned
	Disposition  string      // what we propose: none, quarantine, reject
	Override     string      // why that is not Policy: local_policy, mailing_list, trusted_forwarder, policy_test_mode, other; "" where it is
	Reason       string      // why, for people
}

// DMARCRecord holds the other tags of a DMARC Policy Record (RFC 9989 4.7). RUA and RUF stand as published: nobody has
// asked yet whether mail may be sent there (RFC 9990).
type DMARCRecord struct {
	P, SP, NP    string // none, quarantine, reject; "" for absent
	FO, RUA, RUF string // FO is "0" unless ruf is there too
}

// IPRevResult is the outcome of the check of the client's reverse name (RFC 8601 3).
type IPRevResult struct {
	Result    Result // Pass, Fail, TempError, PermError
	Client    string // the address
	Name      string // a name that leads back to the address, without a final dot; "" for none
	Published string // where Name is "", a name that the address has all the same; "" for none
	Reason    string // why, for people
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
	Action string   `json:"action"` // pass, score, tag, strip, quarantine, reject
	By     string   `json:"-"`      // by what Action was decided: one of PartReasons; "" where nothing was found

	Defects   []string `json:"defects,omitempty"`   // departures from the RFCs, by name; docs/mime-defects.md
	Ambiguous bool     `json:"ambiguous,omitempty"` // programs may read it in different ways
}

// By what it was decided what becomes of a part.
const (
	PartByContent  = "magic"  // what it is by its content
	PartByName     = "ext"    // what its name says, or the type from which clients make up a name
	PartByInside   = "inside" // what looking into it has found
	PartByNameRule = "name"   // a pattern for names of the configuration
	PartByTypeRule = "type"   // one for media types
)

// PartReasons lists them.
func PartReasons() []string {
	return []string{PartByContent, PartByName, PartByInside, PartByNameRule, PartByTypeRule}
}

// The limits on looking into containers, as the configuration calls them.
const (
	LimitDepth  = "depth"
	LimitFiles  = "files"
	LimitOctets = "octets"
	LimitRatio  = "ratio"
)

// UnpackLimitWords lists them.
func UnpackLimitWords() []string { return []string{LimitDepth, LimitFiles, LimitOctets, LimitRatio} }
