package auth

import (
	"strconv"
	"strings"

	"github.com/postern-mail/postern/filter"
)

// SendsFor gives the domain that the client sends for by the word of SPF: that of the reverse-path, or the HELO name in
// place of a null one; "" where SPF does not pass, or does so for everybody.
func SendsFor(in *filter.Input) string {
	r, ok := SPF.From(in)
	if !ok || r.Result != Pass || r.Everybody() {
		return ""
	}
	if from := in.Transaction.From; r.Identity == "mailfrom" && r.Domain != from.Domain() || r.Identity == "helo" && !from.IsZero() {
		return ""
	}
	return r.Domain
}

// Everybody reports whether the term that matched is one that matches every client, or nearly so: all (RFC 7208 5.1), and
// prefixes of less than eight bits. A pass by it shows nothing.
func (r SPFResult) Everybody() bool {
	if strings.EqualFold(strings.TrimPrefix(r.Mechanism, "+"), "all") {
		return true
	}
	for part := range strings.SplitSeq(r.Mechanism, "/") {
		if n, err := strconv.Atoi(part); err == nil && n < 8 {
			return true
		}
	}
	return false
}
