package peertest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

const clamdConfig = `Foreground yes
LocalSocket {dir}/s
DatabaseDirectory {dir}/db
TemporaryDirectory {dir}/tmp
SelfCheck 3600
AlertExceedsMax yes
{more}
`

// StartClamd starts a clamd that ends with the test, with a base of signatures of the test's own: file names, such as
// t.hdb, and their contents. more has further lines of its configuration.
func StartClamd(t testing.TB, base map[string]string, more string) *Daemon {
	t.Helper()
	dir, err := os.MkdirTemp("", "clamd") // the path of a socket must be short
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	for _, d := range []string{"db", "tmp"} {
		must(t, os.Mkdir(filepath.Join(dir, d), 0o755))
	}
	for name, text := range base {
		write(t, filepath.Join(dir, "db", name), text)
	}
	write(t, filepath.Join(dir, "conf"), fill(clamdConfig, "dir", dir, "more", more))
	socket := filepath.Join(dir, "s")
	return StartDaemon(t, socket, func() *exec.Cmd {
		return Command(t, "clamd", "-c", filepath.Join(dir, "conf"))
	})
}
