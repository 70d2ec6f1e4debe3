//go:build accept

package accept

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/detection"
	"github.com/postern-mail/postern/internal/peertest"
)

// rspamd is Debian's with its own rules, scores and learner, without the network.
type rspamd struct{}

func (rspamd) name() string { return "rspamd" }

func (rspamd) version(t *testing.T) string {
	out, err := peertest.Command(t, "rspamd", "--version").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return digestOf(t, strings.TrimSpace(string(out)), "../peertest/rspamd.go", "accuracy_rspamd_test.go")
}

// atOnce is how many messages it is given at once.
const atOnce = 4

func (j rspamd) scores(t *testing.T, b *bench, s detection.Split) (out []float64) {
	// One rspamd for each task, and its end before the next.
	ok := t.Run(strings.ReplaceAll(s.Name, " ", "-"), func(t *testing.T) {
		scan, learn := peertest.StartLearningRspamd(t)
		teacher, scanner := overSocket(learn), overSocket(scan)
		learned := map[string]int{}
		var mu sync.Mutex
		b.each(t, s.Train, func(_, m int) error {
			verb := "learnham"
			if b.all[m].Spam {
				verb = "learnspam"
			}
			code, body, err := j.ask(teacher, "http://rspamd/"+verb, b, m)
			mu.Lock()
			defer mu.Unlock()
			if code == http.StatusOK {
				learned[verb]++
			} else if err == nil && code != http.StatusAlreadyReported && code != http.StatusNoContent {
				err = fmt.Errorf("%s: %d %s", verb, code, body)
			}
			return err
		})
		// Near-duplicates it does not learn twice, and texts of a few words not at all.
		if n := learned["learnham"] + learned["learnspam"]; n < len(s.Train)*8/10 || min(learned["learnham"], learned["learnspam"]) < 100 {
			t.Fatalf("rspamd has learned %v of %d messages", learned, len(s.Train))
		}
		out = make([]float64, len(s.Test))
		bayes := 0
		b.each(t, s.Test, func(k, m int) error {
			code, body, err := j.ask(scanner, "http://rspamd/checkv2", b, m)
			if err != nil {
				return err
			}
			var said struct {
				Score   *float64
				Symbols map[string]any
			}
			if err := json.Unmarshal(body, &said); err != nil || code != http.StatusOK || said.Score == nil {
				return fmt.Errorf("rspamd says %d %s", code, body)
			}
			mu.Lock()
			defer mu.Unlock()
			out[k] = *said.Score
			if said.Symbols["BAYES_SPAM"] != nil || said.Symbols["BAYES_HAM"] != nil {
				bayes++
			}
			return nil
		})
		if bayes < len(s.Test)/2 {
			t.Fatalf("rspamd's learner has said something to %d of %d messages only", bayes, len(s.Test))
		}
	})
	if !ok {
		t.FailNow()
	}
	return out
}

func overSocket(path string) *http.Client {
	return &http.Client{
		Timeout: time.Minute,
		Transport: &http.Transport{MaxIdleConnsPerHost: atOnce, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		}},
	}
}

// ask has it learn or scan a message.
func (rspamd) ask(c *http.Client, url string, b *bench, m int) (code int, body []byte, err error) {
	octets, err := os.ReadFile(b.file(m))
	if err != nil {
		return 0, nil, err
	}
	req, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(octets))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Password", "q1")
	req.Header.Set("Learn-Type", "bulk") // also what it is sure of
	if b.all[m].HasSender {
		req.Header.Set("From", b.all[m].Sender.String())
	}
	req.Header.Set("Rcpt", detection.Recipient)
	resp, err := c.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}

// each calls f for each of some messages, for some at once.
func (b *bench) each(t *testing.T, messages []int, f func(k, m int) error) {
	t.Helper()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failed error
	next := make(chan int)
	for range atOnce {
		wg.Go(func() {
			for k := range next {
				if err := f(k, messages[k]); err != nil {
					mu.Lock()
					failed = fmt.Errorf("%s: %w", b.all[messages[k]].Path, err)
					mu.Unlock()
				}
			}
		})
	}
	for k := range messages {
		next <- k
	}
	close(next)
	wg.Wait()
	if failed != nil {
		t.Fatal(failed)
	}
}
