// Package signs keeps what one container shows about itself short: a hostile one has a thousand entries with the
// same fault. It is not where signs are judged.
package signs

import (
	"slices"

	"github.com/postern-mail/postern/internal/archive"
)

// Limits of what one container may say.
const (
	perTopic = 3
	inAll    = 20
)

// List collects signs. The zero List is empty.
type List struct {
	all    []archive.Sign
	topics map[topic]int
	given  int
}

type topic struct {
	kind archive.Kind
	what string
}

// Add adds a sign unless it was said, or enough was said of its kind and topic. A kind that was not said yet is always added.
func (l *List) Add(kind archive.Kind, what, why string) {
	if l.topics == nil {
		l.topics = map[topic]int{}
	}
	k, t := topic{kind: kind}, topic{kind, what}
	fresh := l.topics[k] == 0
	if !fresh && (len(l.all) >= inAll || l.topics[t] >= perTopic) {
		return
	}
	s := archive.Sign{Kind: kind, Why: why}
	if slices.Contains(l.all, s) {
		return
	}
	l.topics[k]++
	if what != "" {
		l.topics[t]++
	}
	l.all = append(l.all, s)
}

// All gives what was added, in order.
func (l *List) All() []archive.Sign { return l.all }

// Give hands the signs that were not handed on yet to v.
func (l *List) Give(v archive.Visitor) error {
	for l.given < len(l.all) {
		l.given++
		if err := v.Sign(l.all[l.given-1]); err != nil {
			return err
		}
	}
	return nil
}
