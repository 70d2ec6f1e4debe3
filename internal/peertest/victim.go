package peertest

import (
	"bufio"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"
)

// Kill runs the test's own program once more, as one that the environment variable makes a victim with this folder, hands on each line that
// it prints, and kills it at an instant by chance behind the 20th of these and at most so many more.
func Kill(t testing.TB, variable, folder string, more int, line func(string)) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), variable+"="+folder)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for end := 20 + rand.IntN(more); lines.Scan(); end-- {
		line(lines.Text())
		if end == 0 {
			time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond)
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
	}
	_ = cmd.Wait() // killed
}
