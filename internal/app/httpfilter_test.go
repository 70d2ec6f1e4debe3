package app

import (
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postern-mail/postern/docs/examples/ownfilter"
	"github.com/postern-mail/postern/internal/peertest"
)

// TestHTTPFilters has the examples of docs in front of the mailbox: what they find, what they refuse, and how they fail.
func TestHTTPFilters(t *testing.T) {
	t.Parallel()
	example := filepath.Join("..", "..", "docs", "examples", "httpfilter")
	program := filepath.Join(t.TempDir(), "httpfilter")
	if out, err := exec.Command("go", "build", "-o", program, "./"+example).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, command := range map[string]func(t *testing.T, host, port string) *exec.Cmd{
		"go": func(_ *testing.T, host, port string) *exec.Cmd { return exec.Command(program, host+":"+port) },
		"python": func(t *testing.T, host, port string) *exec.Cmd {
			return peertest.Command(t, "python3", filepath.Join(example, "httpfilter.py"), host, port)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr := peertest.FreeAddr(t)
			host, port, err := net.SplitHostPort(addr)
			if err != nil {
				t.Fatal(err)
			}
			d := peertest.StartDaemon(t, addr, func() *exec.Cmd { return command(t, host, port) })
			options := `http: {name: own, servers: ["http://` + addr + `/check"], symbols: {SHOUTS: 20}`
			g := startScanned(t, options)
			bad := fmt.Sprintf(plainText, "FREE MONEY", "x")
			g.wantsAtLast(t, "shouts", bad, "550")
			if want := `"symbol":"SHOUTS","strength":1,"detail":"FREE MONEY","score":20`; !strings.Contains(g.log.String(), want) {
				t.Errorf("no %s in the log", want)
			}
			scannerFails(t, g, options, d, "own", fmt.Sprintf(plainText, "hello", "x"), bad)
		})
	}
}

// TestOwnFilter has the example of a filter in Go in front of the mailbox.
func TestOwnFilter(t *testing.T) {
	t.Parallel()
	g := startGatewayWith(t, fmt.Sprintf(scannerGateway, `ownfilter: {letters: 4}`), ownfilter.Factory)
	g.wants(t, "shouts", fmt.Sprintf(plainText, "FREE MONEY", "x"), "250")
	if all := g.stored(t); len(all) != 1 || !strings.Contains(all[0], "tests=SUBJECT_SHOUTS") {
		t.Errorf("stored: %q", all)
	}
}
