//go:build accept

package accept

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/postern-mail/postern/internal/detection"
	"github.com/postern-mail/postern/internal/peertest"
)

// niceness of the programs: they have most of an hour to work.
const niceness = "10"

// nice gives a command of a peer that leaves the machine to others.
func nice(t *testing.T, name string, args ...string) *exec.Cmd {
	cmd := peertest.Command(t, name, args...)
	if path, err := exec.LookPath("nice"); err == nil {
		cmd.Args = append([]string{"nice", "-n", niceness, cmd.Path}, cmd.Args[1:]...)
		cmd.Path = path
	}
	return cmd
}

// bogofilter is Debian's, with its own settings.
type bogofilter struct{}

func (bogofilter) name() string { return "bogofilter" }

func (bogofilter) version(t *testing.T) string {
	out, err := peertest.Command(t, "bogofilter-bdb", "-V").CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(string(out))[:3], " ")
}

func (bogofilter) scores(t *testing.T, b *bench, s detection.Split) []float64 {
	dir := t.TempDir()
	run := func(messages []int, args ...string) string {
		cmd := nice(t, "bogofilter-bdb", append([]string{"-C", "-d", dir, "-b"}, args...)...)
		var list strings.Builder
		for _, m := range messages {
			list.WriteString(b.file(m) + "\n")
		}
		cmd.Stdin = strings.NewReader(list.String())
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if exit, ok := err.(*exec.ExitError); err != nil && (!ok || exit.ExitCode() > 2) { // 0 spam, 1 ham, 2 unsure
			t.Fatalf("bogofilter %v: %v", args, err)
		}
		return string(out)
	}
	spam, ham := b.labels(s.Train)
	run(spam, "-s")
	run(ham, "-n")
	// Its six digits would make equals of all that it is sure of.
	out := run(s.Test, "-t", "--terse-format=%p", "--spamicity-formats=%.17f, %.17f, %.17f")
	return numbers(t, out, len(s.Test))
}

// labels divides messages.
func (b *bench) labels(messages []int) (spam, ham []int) {
	for _, m := range messages {
		if b.all[m].Spam {
			spam = append(spam, m)
		} else {
			ham = append(ham, m)
		}
	}
	return spam, ham
}

// numbers reads the number that each line begins with.
func numbers(t *testing.T, text string, n int) []float64 {
	t.Helper()
	var out []float64
	for line := range strings.Lines(text) {
		v, err := strconv.ParseFloat(strings.Fields(line + " ?")[0], 64)
		if err != nil {
			t.Fatalf("no number: %q", line)
		}
		out = append(out, v)
	}
	if len(out) != n {
		t.Fatalf("%d answers to %d questions", len(out), n)
	}
	return out
}

// spamassassin is Debian's with its own rules and scores, without the network. With learns, it has its learner beside
// its rules, and the scores that go with that.
type spamassassin struct{}

func (spamassassin) name() string { return "spamassassin" }

// rulesScript and bayesScript run its rules and its learner.
const (
	rulesScript = "testdata/spamassassin-rules.pl"
	bayesScript = "testdata/spamassassin-bayes.pl"
)

func (j spamassassin) version(t *testing.T) string {
	return digestOf(t, j.program(t), rulesScript, bayesScript)
}

// digestOf gives a digest of a program's version, and of the files by which it is run.
func digestOf(t *testing.T, version string, files ...string) string {
	t.Helper()
	h := sha256.New()
	io.WriteString(h, version)
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		h.Write(b)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// program gives the version of Debian's package.
func (spamassassin) program(t *testing.T) string {
	root := peertest.Root(t)
	b, err := os.ReadFile(filepath.Join(root, "usr/share/perl5/Mail/SpamAssassin.pm"))
	if err != nil {
		peertest.Missing(t, "POSTERN_PEERS", err.Error())
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "our $VERSION = "); ok {
			v, _, _ = strings.Cut(v, ";")
			return "SpamAssassin " + strings.Trim(v, "\" ")
		}
	}
	t.Fatal("SpamAssassin tells no version")
	return ""
}

// perl is a running spamassassin.pl.
type perl struct {
	in    io.WriteCloser
	lines *bufio.Scanner
	cmd   *exec.Cmd
}

func startPerl(t *testing.T, script string, more ...string) *perl {
	t.Helper()
	root := peertest.Root(t)
	script, err := filepath.Abs(script)
	if err != nil {
		t.Fatal(err)
	}
	cmd := nice(t, "perl", append([]string{script, filepath.Join(root, "usr/share/spamassassin"), filepath.Join(root, "etc/spamassassin"), t.TempDir()}, more...)...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &perl{in: in, lines: bufio.NewScanner(out), cmd: cmd}
	p.lines.Buffer(nil, 1<<20)
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v\n%s", filepath.Base(script), err, said.String())
		}
	})
	return p
}

// ask gives the answer to a command.
func (p *perl) ask(command string) (string, error) {
	if _, err := io.WriteString(p.in, command+"\n"); err != nil {
		return "", err
	}
	if !p.lines.Scan() {
		return "", fmt.Errorf("no answer to %q: %w", command, p.lines.Err())
	}
	return p.lines.Text(), nil
}

// ruled is what SpamAssassin's rules say to a message: they don't depend on what was learned, so each is asked once.
type ruled struct {
	Score float64
	Names string
}

// rules asks SpamAssassin's rules about all messages, with as many processes as there are processors, and keeps it.
func (j spamassassin) rules(t *testing.T, b *bench) map[string]ruled {
	t.Helper()
	file := filepath.Join(filepath.Dir(b.dir), "spamassassin-rules-"+digestOf(t, j.program(t), rulesScript)+".json")
	known := map[string]ruled{}
	readKept(file, &known)
	var todo []int
	for i := range b.all {
		if _, ok := known[b.sums[i]]; !ok {
			todo = append(todo, i)
		}
	}
	if len(todo) == 0 {
		return known
	}
	askAll(t, b, rulesScript, file, todo, known, func(answer string) (ruled, error) {
		number, names, _ := strings.Cut(answer, " ")
		score, err := strconv.ParseFloat(number, 64)
		return ruled{score, names}, err
	})
	return known
}

// askAll asks a script about messages, with as many processes as there are processors, adds to known what read makes of each
// answer, by the message's sum, and keeps that in the file.
func askAll[A any](t *testing.T, b *bench, script, file string, messages []int, known map[string]A, read func(answer string) (A, error)) {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	var failed error
	next := make(chan int)
	for range runtime.NumCPU() {
		p := startPerl(t, script)
		wg.Go(func() {
			for m := range next {
				answer, err := p.ask(b.file(m))
				made, bad := read(answer)
				mu.Lock()
				if err = errors.Join(err, bad); err != nil {
					failed = fmt.Errorf("%s: %q: %w", b.all[m].Path, answer, err)
				} else if known[b.sums[m]] = made; len(known)%250 == 0 {
					keep(t, file, known)
				}
				mu.Unlock()
			}
		})
	}
	for _, m := range messages {
		next <- m
	}
	close(next)
	wg.Wait()
	if failed != nil {
		t.Fatal(failed)
	}
	keep(t, file, known)
}

func (j spamassassin) scores(t *testing.T, b *bench, s detection.Split) []float64 {
	rules := j.rules(t, b)
	l := startLearner(t, b)
	if n := l.teach(b, s); min(n["ham"], n["spam"]) < 200 {
		t.Fatalf("SpamAssassin has learned %v of %d messages", n, len(s.Train))
	}
	var said strings.Builder
	silent := 0
	for _, m := range s.Test {
		answer := l.ask("bayes " + b.file(m))
		if strings.HasSuffix(answer, " -") {
			silent++
		}
		said.WriteString(answer + "\n")
	}
	if silent > len(s.Test)/10 {
		t.Fatalf("SpamAssassin's learner says nothing of %d of %d messages", silent, len(s.Test))
	}
	scores := numbers(t, said.String(), len(s.Test))
	for k, m := range s.Test {
		scores[k] += rules[b.sums[m]].Score
	}
	return scores
}

// spamassassinLearner is a running learner of SpamAssassin's, without its rules.
type spamassassinLearner struct {
	t *testing.T
	p *perl
}

func startLearner(t *testing.T, b *bench) spamassassinLearner {
	t.Helper()
	tokens := filepath.Join(filepath.Dir(b.dir), "spamassassin-tokens-"+spamassassin{}.version(t))
	if err := os.MkdirAll(tokens, 0o755); err != nil {
		t.Fatal(err)
	}
	return spamassassinLearner{t, startPerl(t, bayesScript, tokens)}
}

func (l spamassassinLearner) ask(command string) string {
	out, err := l.p.ask(command)
	if err != nil {
		l.t.Fatal(err)
	}
	return out
}

// teach has it learn a split's messages, and tells how many of each class it took.
func (l spamassassinLearner) teach(b *bench, s detection.Split) map[string]int {
	learned := map[string]int{}
	for _, m := range s.Train {
		verb := "ham"
		if b.all[m].Spam {
			verb = "spam"
		}
		if l.ask(verb+" "+b.file(m)) == "1" {
			learned[verb]++
		}
	}
	return learned
}
