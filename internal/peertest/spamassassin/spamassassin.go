// Package spamassassin has SpamAssassin itself judge messages, for comparisons: Debian's, unpacked by scripts/peers,
// with its stock rules and plugins, without the network, Bayes and anybody's preferences. What it said of a message
// is kept below .cache, for it takes a tenth of a second each. It is no part of the gateway.
package spamassassin

import (
	"bufio"
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/peertest"
)

//go:embed judge.pl
var program []byte

// Verdict is what SpamAssassin says of a message.
type Verdict struct {
	Score float64 `json:"score"`
	// Hits holds the value of each rule that hit, sub-rules too: how often a rule with tflags multiple matched, and what a meta
	// comes to. A few metas have fractions.
	Hits map[string]float64 `json:"hits"`
}

// Shown is a verdict with what rules of each kind see.
type Shown struct {
	Verdict
	Show struct {
		Body    [][]byte            `json:"body"`
		RawBody [][]byte            `json:"rawbody"`
		Full    [][]byte            `json:"full"`
		URI     [][]byte            `json:"uri"`
		HTML    map[string]any      `json:"html"`   // strings, lists of strings or tables, their values in base64
		Detail  map[string][][]byte `json:"detail"` // a URI as found, and what it was cleaned to
		Types   map[string][]string `json:"types"`  // where a URI was found
	} `json:"show"`
	Get map[string]*[]byte `json:"get"` // by selector; nil where there is nothing
}

// Rule is a rule as SpamAssassin has it once all files are read.
type Rule struct {
	Type     string  `json:"type"`
	Text     []byte  `json:"text"`
	Pattern  []byte  `json:"pattern"` // as Perl shows the compiled pattern; empty where the rule has none
	Score    float64 `json:"score"`   // in the set that is in use
	Tflags   string  `json:"tflags"`
	Priority float64 `json:"priority"`
}

// Match asks how often a rule's pattern matches a text.
type Match struct {
	Rule string `json:"rule"`
	Text []byte `json:"text"`
}

// Judge is a running SpamAssassin. It is not safe for concurrent use.
type Judge struct {
	Version string

	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Scanner
	said bytes.Buffer
	file string // the message that is asked about
}

// maxAnswer bounds the answer to one question: that for all rules is some 2 MB, what a big message is like several times
// its size.
const maxAnswer = 256 << 20

// Installed gives the folder below which SpamAssassin stands: that of the peers. Without it the test skips.
func Installed(t testing.TB) string {
	t.Helper()
	peertest.File(t, "usr/share/perl5/Mail/SpamAssassin.pm")
	return peertest.Root(t)
}

// Rules gives the folder of the stock rules.
func Rules(t testing.TB) string { return filepath.Join(Installed(t), "usr/share/spamassassin") }

// Start starts a SpamAssassin that lives until the test ends, with some lines of rules beside the stock ones.
func Start(t testing.TB, lines ...string) *Judge {
	t.Helper()
	root := Installed(t)
	dir := t.TempDir()
	script := filepath.Join(dir, "judge.pl")
	if err := os.WriteFile(script, program, 0o600); err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(dir, "state")
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	j := &Judge{file: filepath.Join(dir, "message")}
	j.cmd = peertest.Command(t, "perl", append([]string{script, root, state}, lines...)...)
	j.cmd.Env = append(j.cmd.Env, "PERL_HASH_SEED=0", "LC_ALL=C", "TZ=UTC")
	j.cmd.Stderr = &j.said
	in, err := j.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := j.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := j.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	j.in, j.out = in, bufio.NewScanner(out)
	j.out.Buffer(make([]byte, 64<<10), maxAnswer)
	t.Cleanup(func() {
		_ = j.in.Close()
		_ = j.cmd.Process.Kill()
		_ = j.cmd.Wait()
	})
	var hello struct{ Version string }
	if err := j.read(&hello); err != nil {
		t.Fatal(err)
	}
	j.Version = hello.Version
	return j
}

func (j *Judge) ask(question, answer any) error {
	b, err := json.Marshal(question)
	if err != nil {
		return err
	}
	if _, err := j.in.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("spamassassin: %w: %s", err, j.said.String())
	}
	return j.read(answer)
}

func (j *Judge) read(answer any) error {
	if !j.out.Scan() {
		return fmt.Errorf("spamassassin: %w: %s", errors.Join(io.ErrUnexpectedEOF, j.out.Err()), j.said.String())
	}
	var failed struct{ Error string }
	if err := json.Unmarshal(j.out.Bytes(), &failed); err != nil {
		return fmt.Errorf("spamassassin: %w", err)
	}
	if failed.Error != "" {
		return fmt.Errorf("spamassassin: %s", strings.TrimSpace(failed.Error))
	}
	return json.Unmarshal(j.out.Bytes(), answer)
}

// Judge has a message judged. Its line ends are to be LF.
func (j *Judge) Judge(message []byte) (Verdict, error) {
	var v Verdict
	err := j.about(message, map[string]any{}, &v)
	return v, err
}

// Show has a message judged and shown, with what some header selectors give.
func (j *Judge) Show(message []byte, selectors ...string) (Shown, error) {
	var s Shown
	question := map[string]any{"show": true}
	if len(selectors) > 0 {
		question["get"] = selectors
	}
	err := j.about(message, question, &s)
	return s, err
}

func (j *Judge) about(message []byte, question map[string]any, answer any) error {
	if err := os.WriteFile(j.file, message, 0o600); err != nil {
		return err
	}
	question["path"] = j.file
	return j.ask(question, answer)
}

// Rules gives all rules by name.
func (j *Judge) Rules() (map[string]Rule, error) {
	var answer struct{ Rules map[string]Rule }
	err := j.ask(map[string]bool{"rules": true}, &answer)
	return answer.Rules, err
}

// Plugins gives the names of the plugins that are loaded.
func (j *Judge) Plugins() ([]string, error) {
	var answer struct{ Plugins []string }
	err := j.ask(map[string]bool{"settings": true}, &answer)
	return answer.Plugins, err
}

// Matches says how often each pattern matches its text: at most 1000, and -1 where the rule has no pattern.
func (j *Judge) Matches(all []Match) ([]int, error) {
	var answer struct{ Counts []int }
	err := j.ask(map[string]any{"match": all}, &answer)
	return answer.Counts, err
}
