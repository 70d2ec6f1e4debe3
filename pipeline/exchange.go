package pipeline

import (
	"strconv"
	"strings"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/mail"
)

// The spam confidence levels that we give. Exchange moves a message into the Junk folder where the level is above
// SCLJunkThreshold, which is 4 by default; its content filter, where that is on, refuses from 7, and what we deliver is not
// to be refused behind us. A clean message gets none: Exchange makes up its own mind. None gets -1, which would switch its
// filters off.
const (
	sclField  = "X-MS-Exchange-Organization-SCL"
	sclLikely = 5 // marked
	sclSpam   = 6 // and nearer to the next threshold than to the one that marks
)

// confidence gives the field that tells Exchange of a message that is marked. A connector believes it where it was told to
// (ms-Exch-Accept-Headers-Organization), and drops it else.
func confidence(v Verdict, p *Policy, relay bool) []mail.Edit {
	if relay || v.Action < filter.Tag {
		return nil
	}
	level := sclLikely
	if p != nil && p.Tag != nil {
		next := p.Quarantine
		if next == nil {
			next = p.Reject
		}
		if next != nil && v.Score >= (*p.Tag+*next)/2 {
			level = sclSpam
		}
	}
	return []mail.Edit{mail.AddField{Name: sclField, Body: strconv.Itoa(level)}}
}

// ofOrganization reports whether a field, its name in lower case, is one that only the servers of an Exchange organization
// may write. Exchange believes these of whoever may submit to it, so that one of them sent from outside could switch off its
// own filters. All other fields of its make are for everybody, and senders sign them.
func ofOrganization(name string) bool {
	return strings.HasPrefix(name, "x-ms-exchange-organization-") || strings.HasPrefix(name, "x-ms-exchange-forest-")
}

// organization gives the removals of these fields alone. Like a result that bears our name they go also where filters only
// observe, or none runs: that is no matter of any filter's.
func organization(h *mail.Header) (edits []mail.Edit) {
	for i, f := range h.Fields() {
		if !f.MayBegin('x') {
			continue
		}
		if name, _ := f.Lenient(); ofOrganization(name) {
			edits = append(edits, mail.RemoveField{Index: i})
		}
	}
	return edits
}
