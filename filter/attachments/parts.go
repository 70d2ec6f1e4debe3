package attachments

import (
	"fmt"
	"slices"

	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/internal/archive"
)

// The bounds of the fact, which goes into logs, records and other programs. What is found out about a part rests on
// all of its names.
const (
	maxReports     = 500 // parts
	maxReportNames = 5   // names of one part
	maxReportText  = 256 // octets of a name or media type
)

// parts gives the fact: every part, those that hold others too.
func (o *outcome) parts() []auth.PartReport {
	reports := []auth.PartReport{}
	for _, x := range o.exams {
		a := x.action
		if x.carried != "" {
			a = max(a, strip)
		}
		var defects []string
		for _, d := range x.part.Defects {
			defects = append(defects, string(d.Kind))
		}
		if x.ambiguous != "" && !slices.Contains(defects, string(x.ambiguous)) {
			defects = append(defects, string(x.ambiguous))
		}
		names := []string{}
		for _, n := range x.part.Names[:min(len(x.part.Names), maxReportNames)] {
			names = append(names, clipped(n, maxReportText))
		}
		reports = append(reports, auth.PartReport{
			Path: x.part.Path, Type: clipped(x.part.Type, maxReportText), Names: names, Size: x.size, SHA256: x.sum,
			Class: string(x.class()), Reason: x.reason(), Action: a.String(), By: x.by(),
			Defects: defects, Ambiguous: x.ambiguous != "",
		})
	}
	return bounded(reports)
}

// by is what decided about a part; "" where nothing was found.
func (x *exam) by() string {
	if len(x.hits) == 0 {
		return ""
	}
	return x.hits[0].by
}

// unpackLimits names the limits that were reached.
func unpackLimits(reached archive.Limit) (all []string) {
	for _, l := range []struct {
		is   archive.Limit
		word string
	}{{archive.Depth, auth.LimitDepth}, {archive.Files, auth.LimitFiles}, {archive.Octets, auth.LimitOctets}, {archive.Ratio, auth.LimitRatio}} {
		if reached&l.is != 0 {
			all = append(all, l.word)
		}
	}
	return all
}

// bounded cuts the reports to maxReports and one that stands for the rest, with their size and the strictest action
// among them. Parts that pass are left out first.
func bounded(reports []auth.PartReport) []auth.PartReport {
	if len(reports) <= maxReports {
		return reports
	}
	passing := maxReports // how many of those that pass have room
	for _, r := range reports {
		if r.Action != pass.String() {
			passing = max(0, passing-1)
		}
	}
	kept := make([]auth.PartReport, 0, maxReports+1)
	rest := auth.PartReport{Names: []string{}, Action: pass.String(), Reason: fmt.Sprintf("and %d more parts", len(reports)-maxReports)}
	for _, r := range reports {
		room := len(kept) < maxReports
		if r.Action == pass.String() {
			room = passing > 0
			passing--
		}
		if room {
			kept = append(kept, r)
			continue
		}
		rest.Size += r.Size
		if slices.Index(actionNames, r.Action) > slices.Index(actionNames, rest.Action) {
			rest.Action = r.Action
		}
	}
	return append(kept, rest)
}
