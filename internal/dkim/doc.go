// Package dkim is the core that DKIM (RFC 6376, 8301, 8463) and ARC (RFC 8617) share: tag lists, canonicalisation,
// body hashes, the selection of fields, keys, and signatures, verified and made. It is no filter, knows no policy,
// and asks the DNS only through a Resolver that it is given.
//
// What it reads was written by strangers, so all its work is linear in the octets of the message and of the key
// records: a body is read once whatever the number of signatures, and a field is found by its name without a search.
//
//   - ParseTags, ParseSignature and ParseKey read; Fields selects; Bodies hashes the body; FetchKey asks for a key.
//   - Verify judges the DKIM signatures of a message; Judge judges signatures that the caller has chosen.
//   - Signer makes signatures; Seal makes any field that ends in b=.
package dkim

import "strings"

// Result is a result word of RFC 8601 2.7.1, as auth.Result is.
type Result string

// The result words that a signature can have.
const (
	Pass      Result = "pass"
	Fail      Result = "fail"      // RFC 6376 6.1.3: the hash or the signature does not match
	Policy    Result = "policy"    // it may verify, and is not accepted or was not looked at
	TempError Result = "temperror" // the key could not be asked for now
	PermError Result = "permerror" // RFC 6376 6.1: malformed, expired, or without a usable key
)

// Error says why a signature or a key is worth nothing.
type Error struct {
	Result Result
	Reason string // for people: what is wrong, with nothing of ours and at most textLimit octets of each thing of theirs
}

// Error gives the reason.
func (e *Error) Error() string { return "dkim: " + e.Reason }

func permError(reason string) *Error { return &Error{PermError, reason} }

// textLimit bounds, in octets, what is quoted of the message and the DNS: as much as a domain name may have.
const textLimit = 253

func clip(s string) string {
	if len(s) > textLimit {
		s = strings.ToValidUTF8(s[:textLimit], "") + "…"
	}
	return s
}
