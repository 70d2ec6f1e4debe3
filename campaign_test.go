package postern

import (
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/peertest/campaign"
)

// TestKills kills the program at random instants, under load for its spool, and starts it again on the same state: nothing that
// was acknowledged is lost, and only that comes twice which the server had taken when the kill fell.
func TestKills(t *testing.T) {
	binary, err := built()
	if err != nil {
		t.Fatal(err)
	}
	a := campaign.Kills(t, binary, 10, 250)
	t.Logf("%+v", a)
	if a.Lost > 0 || a.Refused > 0 || a.Wrong > 0 || a.ByReply > 0 || a.PutOff > 0 || a.Broken > 0 {
		t.Errorf("%+v\n%s", a, strings.Join(a.Details, "\n"))
	}
	if a.ByCrash > a.Delivered/2 { // how long it takes to mark a delivery is the machine's; what is not marked at once comes again after each kill
		t.Errorf("%d of %d deliveries were not marked when the kill fell", a.ByCrash, a.Delivered)
	}
	if a.Acknowledged < 250 {
		t.Errorf("%d recipients are no campaign", a.Acknowledged)
	}
}

// TestBackendFaults sends mail, over the spool and past it, to servers that restart, lose replies, and cut connections in
// every state, while the name servers come and go.
func TestBackendFaults(t *testing.T) {
	binary, err := built()
	if err != nil {
		t.Fatal(err)
	}
	more, during := campaign.Names(t)
	a := campaign.Faults(t, binary, 2000, 20, more, during)
	t.Logf("%+v", a)
	if a.Lost > 0 || a.Refused > 0 || a.Wrong > 0 || a.Broken > 0 {
		t.Errorf("%+v\n%s", a, strings.Join(a.Details, "\n"))
	}
	if a.Messages < 2000 {
		t.Errorf("%d messages were taken", a.Messages)
	}
}
