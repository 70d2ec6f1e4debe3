//go:build accept

package accept

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/peertest"
)

// starter is a small process that starts programs and measures them. On Linux the peak of a program's memory begins with that of
// who starts it, and the tests themselves hold whole corpora: what they start would seem to need as much.
type starter struct {
	to   *json.Encoder
	from *json.Decoder
}

// starterVariable, where it is set, makes this program a starter.
const starterVariable = "POSTERN_ACCEPT_STARTER"

// ran is what a program did, and what it took.
type ran struct {
	Code      int
	Wall, CPU time.Duration
	RSS       int64 // the peak of its resident memory, in octets
	Out, Err  []byte
	Failed    string // why it was not run
}

// newStarter starts a starter, which ends with the test. It is not for concurrent use.
func newStarter(t *testing.T) *starter {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), starterVariable+"=1")
	cmd.Stderr = os.Stderr
	in, out := peertest.Piped(t, cmd)
	return &starter{json.NewEncoder(in), json.NewDecoder(out)}
}

// run runs a program to its end. It may be called by another goroutine than the test's.
func (s *starter) run(args ...string) (r ran, err error) {
	if err := s.to.Encode(args); err != nil {
		return r, err
	}
	if err := s.from.Decode(&r); err != nil {
		return r, err
	}
	if r.Failed != "" {
		return r, errors.New(r.Failed)
	}
	return r, nil
}

// serveStarts is what a starter does until there is nothing more to read.
func serveStarts(in io.Reader, out io.Writer) error {
	from, to := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var args []string
		if err := from.Decode(&args); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := to.Encode(startOne(args)); err != nil {
			return err
		}
	}
}

func startOne(args []string) ran {
	cmd := exec.Command(args[0], args[1:]...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	begin := time.Now()
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return ran{Failed: err.Error()}
	}
	p := cmd.ProcessState
	return ran{
		Code: p.ExitCode(), Wall: time.Since(begin), CPU: p.UserTime() + p.SystemTime(),
		RSS: p.SysUsage().(*syscall.Rusage).Maxrss << 10, Out: stdout.Bytes(), Err: stderr.Bytes(),
	}
}

// TestStarter: what this process holds does not count as memory of what a starter starts.
func TestStarter(t *testing.T) {
	held := make([]byte, 200<<20)
	for i := 0; i < len(held); i += os.Getpagesize() {
		held[i] = 1
	}
	r, err := newStarter(t).run(binary(t), "--help")
	if err != nil || r.Code != 0 || len(r.Out) == 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	if r.RSS > 100<<20 || r.RSS < 5<<20 {
		t.Errorf("help takes %d MiB", r.RSS>>20)
	}
	if held[0] != 1 {
		t.Error("nothing was held")
	}
}
