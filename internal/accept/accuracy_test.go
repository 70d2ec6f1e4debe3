//go:build accept

package accept

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/detection"
)

// draws of the bootstrap.
const draws = 300

// shares of the ham that may be called spam.
var shares = []float64{0.001, 0.005}

// TestAccuracy measures how well spam is told from mail, and writes docs/detection.md. POSTERN_DETECTION=quick leaves out
// SpamAssassin and rspamd, which take most of the time: then nothing is said of who is best.
func TestAccuracy(t *testing.T) {
	b := detectionBench(t)
	ours := []detector{posternSum{}, posternLearner{rules: true}, posternLearner{}, posternRules{}}
	peers := []detector{bogofilter{}}
	quick := os.Getenv("POSTERN_DETECTION") == "quick"
	if !quick {
		peers = append(peers, spamassassin{}, rspamd{})
	}
	var tables, goalRows strings.Builder
	for _, g := range b.splits() {
		results := map[string]result{}
		for _, j := range append(slices.Clone(ours), peers...) {
			results[j.name()] = b.run(t, j, g)
		}
		b.tables(&tables, g.name, ours, peers, results)
		some := func(m int) bool { return b.folds[m] >= untouched }
		if len(g.splits) == foldCount || strings.HasSuffix(g.name, "→ spamassassin") { // rules were written with a look into the others
			parts := map[string]result{}
			for name, r := range results {
				parts[name] = r.part(some)
			}
			b.tables(&tables, g.name+": folds 4 and 5 alone", ours, peers, parts)
		}
		goalRows.WriteString(b.goals(t, g.name, peers, results))
	}
	streamers := []streamer{posternStream{"ham: 0.1, spam: 12"}, posternStream{"ham: 0.5, spam: 8"}, posternStream{}}
	if !quick {
		streamers = append(streamers, spamassassinStream{})
	}
	groups := b.splits()
	b.streams(t, &tables, groups[len(groups)-1].splits[0], streamers)
	var doc strings.Builder
	doc.WriteString("# How well spam is told from mail\n\nWritten by `make accept` (`go test -tags accept -run TestAccuracy ./internal/accept`); how it is measured, " +
		"and what the figures don't say, is in [ADR 37](adr/0037-how-accuracy-is-measured.md). Intervals are of 95 %.\n")
	if quick {
		doc.WriteString("\n*This run (`POSTERN_DETECTION=quick`) left out SpamAssassin and rspamd: there are no figures of them here, and so none that say that Postern is better.*\n")
	}
	doc.WriteString("\n`postern` is the sum that the gateway makes: the scores of the rules that hit, and what the learner's finding counts, which learned from the " +
		"same messages. `postern-rules` are the rules alone, `postern-learner-hits` the learner alone, which knows what rules hit, and `postern-learner` a learner that does not.\n")
	doc.WriteString("\n## Goals\n\n| goal | measured | |\n|---|---|---|\n" + goalRows.String() + tables.String())
	fmt.Println(doc.String())
	if err := os.WriteFile(filepath.Join("..", "..", "docs", "detection.md"), []byte(doc.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// tables writes the tables of one group of tasks.
func (b *bench) tables(w io.Writer, name string, ours, peers []detector, results map[string]result) {
	fmt.Fprintf(w, "\n## %s\n\n| | area under the curve | recall, 0.1 %% of the ham | recall, 0.5 %% of the ham |\n|---|---|---|---|\n", name)
	for _, j := range append(slices.Clone(ours), peers...) {
		io.WriteString(w, results[j.name()].row(j.name()))
	}
	sum := results[posternSum{}.name()]
	for _, j := range peers {
		io.WriteString(w, sum.difference(j.name(), results[j.name()]))
	}
	fmt.Fprintf(w, "\nAt 0.5 %%, by corpus:\n\n| | corpus | messages | called spam | |\n|---|---|---|---|---|\n")
	for _, j := range append(slices.Clone(ours), peers...) {
		io.WriteString(w, b.byCorpus(j.name(), results[j.name()]))
	}
}

// goals says which of the goals of a group of tasks are met.
func (b *bench) goals(t *testing.T, name string, peers []detector, results map[string]result) string {
	sum := results[posternSum{}.name()]
	v := sum.figures()
	var out strings.Builder
	row := func(what string, met bool, measured string) {
		var g goals
		g.want(t, met, what, "%s: missed: %s (%s)", name, what, measured)
		fmt.Fprintf(&out, "| %s: %s | %s | %s |\n", name, what, measured, g.String())
	}
	switch {
	case strings.Contains(name, "→"):
		row("recall of 92 % or more at 0.5 %", v[2] >= 0.92, fmt.Sprintf("%.1f %%", 100*v[2]))
	case strings.Contains(name, "phish"):
		threshold := detection.Threshold(sum.scored, shares[1])
		above, of := detection.Above(sum.part(func(m int) bool { return b.all[m].Source == "phishing_pot" }).scored, true, threshold)
		row("90 % or more of the phish at 0.5 %", float64(above) >= 0.9*float64(of), fmt.Sprintf("%.1f %%", 100*float64(above)/float64(of)))
	default:
		for k, what := range []string{"area under the curve", "recall at 0.1 %", "recall at 0.5 %"} {
			best, of := 0.0, ""
			for _, j := range peers {
				if f := results[j.name()].figures()[k]; f > best {
					best, of = f, j.name()
				}
			}
			row(what+" above the best of the others", v[k] > best, fmt.Sprintf("%.5f; %s %.5f", v[k], of, best))
		}
	}
	return out.String()
}

// figures gives the area under the curve, and the recall at each of the shares.
func (r result) figures() []float64 { return figuresOf(r.scored) }

func figuresOf(s []detection.Scored) []float64 {
	return []float64{detection.AUC(s), detection.Recall(s, shares[0]), detection.Recall(s, shares[1])}
}

// difference gives how much better r is than what another said to the same messages, with the interval of what the same draws
// give for both.
func (r result) difference(name string, other result) string {
	clusters := make([]int, len(r.scored))
	for i, s := range r.scored {
		clusters[i] = s.Cluster
	}
	one, two := make([]detection.Scored, 0, 2*len(clusters)), make([]detection.Scored, 0, 2*len(clusters))
	less := func(a, b []float64) []float64 {
		for i := range a {
			a[i] -= b[i]
		}
		return a
	}
	spans := detection.Bootstrap(len(clusters), clusters, draws, func(picked []int) []float64 {
		one, two = one[:0], two[:0]
		for _, i := range picked {
			one, two = append(one, r.scored[i]), append(two, other.scored[i])
		}
		return less(figuresOf(one), figuresOf(two))
	})
	v := less(r.figures(), other.figures())
	return fmt.Sprintf("| postern less %s | %+.5f (%+.5f to %+.5f) | %+.1f (%+.1f to %+.1f) | %+.1f (%+.1f to %+.1f) |\n", name, v[0], spans[0].Low, spans[0].High,
		100*v[1], 100*spans[1].Low, 100*spans[1].High, 100*v[2], 100*spans[2].Low, 100*spans[2].High)
}

// row gives the figures of a detector with their intervals.
func (r result) row(name string) string {
	clusters := make([]int, len(r.scored))
	for i, s := range r.scored {
		clusters[i] = s.Cluster
	}
	drawn := make([]detection.Scored, 0, 2*len(clusters))
	spans := detection.Bootstrap(len(clusters), clusters, draws, func(picked []int) []float64 {
		drawn = drawn[:0]
		for _, i := range picked {
			drawn = append(drawn, r.scored[i])
		}
		return figuresOf(drawn)
	})
	v := r.figures()
	return fmt.Sprintf("| %s | %.5f (%.5f–%.5f) | %.1f %% (%.1f–%.1f) | %.1f %% (%.1f–%.1f) |\n", name, v[0], spans[0].Low, spans[0].High,
		100*v[1], 100*spans[1].Low, 100*spans[1].High, 100*v[2], 100*spans[2].Low, 100*spans[2].High)
}

// byCorpus gives how much of each corpus is above the threshold for the greater of the shares.
func (b *bench) byCorpus(name string, r result) string {
	threshold := detection.Threshold(r.scored, shares[1])
	above, of := map[string]int{}, map[string]int{}
	var names []string
	for k, i := range r.index {
		c := b.all[i].Corpus
		if of[c] == 0 {
			names = append(names, c)
		}
		of[c]++
		if r.scored[k].Score > threshold {
			above[c]++
		}
	}
	var out strings.Builder
	for _, c := range names {
		w := detection.Wilson(above[c], of[c])
		fmt.Fprintf(&out, "| %s | %s | %d | %d | %.1f %% (%.1f–%.1f) |\n", name, c, of[c], above[c], 100*float64(above[c])/float64(of[c]), 100*w.Low, 100*w.High)
	}
	return out.String()
}
