package dkim_test

import (
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/peertest/dkimpeers"
)

// TestPeers: what is signed here verifies with python3-dkim and opendkim, and what they sign here. `make accept` takes
// a thousand messages.
func TestPeers(t *testing.T) {
	for _, c := range dkimpeers.Run(t, 40) {
		// libopendkim's own Ed25519 signatures over a simple header verify nowhere, not with itself either.
		flaw := c.Peer == "opendkim" && c.Algorithm == "ed25519-sha256" && strings.HasPrefix(c.Canons, "simple/")
		if c.Ours != 5 || c.OursPass != 5 || c.Theirs != 5 || c.TheirsPass != 5 && !flaw {
			t.Errorf("%+v", c)
		}
	}
}
