package tell

import (
	"slices"
	"strings"

	"github.com/postern-mail/postern/internal/archive"
)

// Limits of what one container may say: a hostile one has a thousand entries with the same fault. A kind of which
// nothing was said yet is outside of them.
const (
	perTopic = 3
	perKind  = 8
	inAll    = 20
	maxWhy   = 1000 // octets
)

// Most is how many signs one container can have at most.
const Most = inAll + 11 // kinds

// Signs collects signs. The zero Signs is empty.
type Signs struct {
	all    []archive.Sign
	topics map[topic]int
	given  int
}

type topic struct {
	kind archive.Kind
	what string // "" for all of the kind
}

// Add adds a sign unless it is there, or enough is there of its kind and topic. "" is no topic.
func (s *Signs) Add(kind archive.Kind, what, why string) {
	if s.topics == nil {
		s.topics = map[topic]int{}
	}
	k, t := topic{kind, ""}, topic{kind, what}
	if n := s.topics[k]; n >= perKind || n > 0 && (len(s.all) >= inAll || what != "" && s.topics[t] >= perTopic) {
		return
	}
	if len(why) > maxWhy {
		why = strings.ToValidUTF8(why[:maxWhy], "") + "…"
	}
	sign := archive.Sign{Kind: kind, Why: why}
	if slices.Contains(s.all, sign) {
		return
	}
	s.topics[k]++
	if what != "" {
		s.topics[t]++
	}
	s.all = append(s.all, sign)
}

// All gives what was added, in order.
func (s *Signs) All() []archive.Sign { return s.all }

// Give hands the signs that were not handed on yet to v.
func (s *Signs) Give(v archive.Visitor) error {
	for s.given < len(s.all) {
		s.given++
		if err := v.Sign(s.all[s.given-1]); err != nil {
			return err
		}
	}
	return nil
}
