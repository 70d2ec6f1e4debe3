package app

import (
	"testing"

	"github.com/postern-mail/postern/internal/edge"
)

// What a release goes by is in the record of the message that is held.
func TestEntryRemembers(t *testing.T) {
	for _, yes := range []bool{false, true} {
		e := entry(edge.Held{Relay: yes, SMTPUTF8: yes, Body8Bit: yes}, "mx")
		if e.Relay != yes || e.SMTPUTF8 != yes || e.Body8Bit != yes {
			t.Errorf("%v: %+v", yes, e)
		}
	}
}
