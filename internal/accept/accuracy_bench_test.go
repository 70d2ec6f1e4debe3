//go:build accept

package accept

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/postern-mail/postern/internal/detection"
	"github.com/postern-mail/postern/internal/peertest"
)

// foldCount is how many folds the corpora are put in.
const foldCount = 5

// A detector is something that learns from labelled messages, and scores others.
type detector interface {
	// name is what the tables call it.
	name() string
	// version changes with whatever its scores may depend on, beside the messages.
	version(t *testing.T) string
	// scores learns from the split's messages, beginning with nothing, and gives a score for each of those to be judged,
	// in their order: the higher, the likelier spam.
	scores(t *testing.T, b *bench, s detection.Split) []float64
}

// bench is what is measured on: the same for everybody.
type bench struct {
	all             []detection.Message
	clusters, folds []int
	sums            []string // of each message's octets
	dir             string   // where each message lies as a file
}

// corpora reads the bench once.
var corpora = sync.OnceValues(func() (*bench, error) {
	dir := filepath.Join("..", "..", "..", "shared", "suites", "spam")
	all, err := detection.ReadArchives(dir)
	if err != nil {
		return nil, err
	}
	b := &bench{all: all, clusters: detection.Clusters(all), sums: make([]string, len(all))}
	b.folds = detection.Folds(all, b.clusters, foldCount)
	if b.dir, err = filepath.Abs(filepath.Join("..", "..", ".cache", "detection", "messages")); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		return nil, err
	}
	for i := range all {
		octets := all[i].Delivered()
		sum := sha256.Sum256(octets)
		b.sums[i] = hex.EncodeToString(sum[:12])
		if info, err := os.Stat(b.file(i)); err == nil && info.Size() == int64(len(octets)) {
			continue
		}
		if err := os.WriteFile(b.file(i), octets, 0o644); err != nil {
			return nil, err
		}
	}
	return b, nil
})

// detectionBench gives the bench, and skips where the corpora are not there.
func detectionBench(t *testing.T) *bench {
	t.Helper()
	peertest.Shared(t, "suites", "spam")
	b, err := corpora()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// file gives where message i lies, as the detectors get it.
func (b *bench) file(i int) string { return filepath.Join(b.dir, b.sums[i]+".eml") }

// splits gives all tasks. Those of one group are judged as one set: each message in it is judged once.
func (b *bench) splits() (groups []group) {
	var g group
	name := func(prefix string) func(int) string {
		return func(f int) string { return fmt.Sprintf("%s %d", prefix, f+1) }
	}
	g = group{name: "five folds", splits: detection.CrossSplits(b.folds, foldCount, name("fold"))}
	groups = append(groups, g)

	g = group{name: "phish of 2022–2025 never learned", splits: detection.CrossSplits(b.folds, foldCount, name("no phishing_pot, fold"))}
	for i := range g.splits {
		var train []int
		for _, m := range g.splits[i].Train {
			if b.all[m].Source != "phishing_pot" {
				train = append(train, m)
			}
		}
		g.splits[i].Train = train
	}
	groups = append(groups, g)

	from := func(source string) func(*detection.Message) bool {
		return func(m *detection.Message) bool { return m.Source == source }
	}
	for _, p := range [][2]string{{"spamassassin", "csdmc2010"}, {"csdmc2010", "spamassassin"}} {
		n := p[0] + " → " + p[1]
		groups = append(groups, group{name: n, splits: []detection.Split{detection.SourceSplit(n, b.all, b.clusters, from(p[0]), from(p[1]))}})
	}
	return groups
}

// group is a set of splits whose judgements are taken as one.
type group struct {
	name   string
	splits []detection.Split
}

// result is what a detector said to a group's messages.
type result struct {
	index  []int // of the messages
	scored []detection.Scored
}

// run has a detector do a group's splits; what it said before, to the same messages, is not asked again.
func (b *bench) run(t *testing.T, j detector, g group) (r result) {
	t.Helper()
	for _, s := range g.splits {
		for k, v := range b.cached(t, j, s) {
			m := s.Test[k]
			r.index = append(r.index, m)
			r.scored = append(r.scored, detection.Scored{Spam: b.all[m].Spam, Score: v, Cluster: b.clusters[m]})
		}
	}
	return r
}

// cached gives the scores of a split's messages: from .cache/detection where the detector, its version and all messages are
// the same, else newly made.
func (b *bench) cached(t *testing.T, j detector, s detection.Split) []float64 {
	t.Helper()
	file := b.keptAs(t, j.name(), j.version(t), s)
	var scores []float64
	if readKept(file, &scores) && len(scores) == len(s.Test) {
		return scores
	}
	scores = j.scores(t, b, s)
	if len(scores) != len(s.Test) {
		t.Fatalf("%s, %s: %d scores for %d messages", j.name(), s.Name, len(scores), len(s.Test))
	}
	distinct := map[float64]bool{}
	for _, v := range scores {
		distinct[v] = true
	}
	if len(distinct) < 20 { // who learned nothing says the same to all
		t.Fatalf("%s, %s: %d different scores for %d messages", j.name(), s.Name, len(distinct), len(scores))
	}
	keep(t, file, scores)
	return scores
}

// keptAs gives the file that keeps what a detector of this version says to a split.
func (b *bench) keptAs(t *testing.T, name, version string, s detection.Split) string {
	t.Helper()
	h := sha256.New()
	fmt.Fprintln(h, name, version)
	for _, m := range s.Train {
		fmt.Fprintln(h, b.sums[m], b.all[m].Spam)
	}
	if strings.HasPrefix(name, "postern") && s.Known != nil { // the others come as they are
		fmt.Fprintln(h, "known")
		for _, m := range s.Known {
			fmt.Fprintln(h, b.sums[m], b.all[m].Spam)
		}
	}
	fmt.Fprintln(h, "judged")
	for _, m := range s.Test {
		fmt.Fprintln(h, b.sums[m])
	}
	return filepath.Join(filepath.Dir(b.dir), fmt.Sprintf("%s-%x.json", name, h.Sum(nil)[:8]))
}

// untouched is from which fold on nobody looked into messages when rules were written.
const untouched = 3

// part gives what was said to the messages of which a condition holds.
func (r result) part(of func(message int) bool) (some result) {
	for k, m := range r.index {
		if of(m) {
			some.index, some.scored = append(some.index, m), append(some.scored, r.scored[k])
		}
	}
	return some
}

// readKept reads a cached value, if it is there and whole.
func readKept(file string, v any) bool {
	b, err := os.ReadFile(file)
	return err == nil && json.Unmarshal(b, v) == nil
}

// keep stores a value for readKept; a run that is broken off leaves the old one or none.
func keep(t *testing.T, file string, v any) {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file+".new", b, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}
