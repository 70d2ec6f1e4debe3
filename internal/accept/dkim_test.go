//go:build accept

package accept

import (
	"strconv"
	"testing"

	"github.com/postern-mail/postern/internal/peertest/dkimpeers"
)

// TestDKIM signs a thousand random messages each way with each of two other implementations, and has each verify what the
// other has signed.
func TestDKIM(t *testing.T) {
	var rows [][]string
	for _, c := range dkimpeers.Run(t, 1000) {
		rows = append(rows, []string{
			c.Peer, c.Algorithm, c.Canons, strconv.Itoa(c.Ours), strconv.Itoa(c.OursPass), strconv.Itoa(c.Theirs),
			strconv.Itoa(c.TheirsPass), strconv.Itoa(c.TheirsBad), strconv.Itoa(c.Broken), strconv.Itoa(c.BrokenAgreed),
		})
	}
	table(t, "DKIM signatures, each way", "go test -tags accept -run TestDKIM$ ./internal/accept", []string{
		"peer", "algorithm", "canonicalisation", "signed here", "verified there", "signed there", "verified here",
		"verified neither here nor there", "changed by an octet", "same word on them",
	}, rows)
}

// TestDKIMChanged changes signed messages in one place each, and asks for the same word as two other implementations,
// or a reason that is known.
func TestDKIMChanged(t *testing.T) {
	var rows [][]string
	for _, a := range dkimpeers.Changed(t, 1400) {
		rows = append(rows, []string{a.Peer, a.Change, strconv.Itoa(a.Changed), strconv.Itoa(a.Pass), strconv.Itoa(a.Fail), strconv.Itoa(a.Explained)})
	}
	table(t, "DKIM signatures of changed messages", "go test -tags accept -run TestDKIMChanged ./internal/accept", []string{
		"peer", "change", "messages", "pass with both", "pass with neither", "another word, for a known reason",
	}, rows)
}
