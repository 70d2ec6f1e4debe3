package auth

import "github.com/postern-mail/postern/filter"

// Lists is the key of what DNS lists say in one phase; the results of a later phase take the place of those of an
// earlier one.
const Lists filter.Key[[]ListResult] = "lists"

// ListResult is what one DNS list (RFC 5782) says of a client or of a name.
type ListResult struct {
	List   string   // its name in the configuration
	Of     string   // whom it was asked about: "client", "helo" or "sender"
	Result string   // one of ListWords
	Codes  []string // the addresses that it answered with, ascending
	Reason string   // for a listing the list's own words where they were asked for, else why it could not tell
}

// The results of a DNS list. Only ListListed says anything about whom the list was asked about.
const (
	ListListed    = "listed"
	ListClean     = "clean"      // no such entry
	ListOtherCode = "other_code" // an entry with a code that the configuration does not name
	ListErrorCode = "error_code" // it does not answer us: the "entry" is an error
	ListTimeout   = "timeout"    // silence
	ListFailed    = "failed"     // another failure of the DNS, or a listing of a list that is not proved yet
	ListResting   = "resting"    // it was not asked, having failed again and again
	ListOff       = "off"        // it lists what no list may: its word does not count
)

// ListWords lists the values of ListResult.Result.
func ListWords() []string {
	return []string{ListListed, ListClean, ListOtherCode, ListErrorCode, ListTimeout, ListFailed, ListResting, ListOff}
}
