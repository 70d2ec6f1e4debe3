//go:build accept

package accept

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/detection"
)

// draws of the bootstrap.
const draws = 300

// shares of the ham that may be called spam.
var shares = []float64{0.001, 0.005}

// TestAccuracy measures how well spam is told from mail, and writes docs/detection.md. POSTERN_DETECTION=quick leaves out
// SpamAssassin, which takes most of the time, and writes nothing down but what it measured.
func TestAccuracy(t *testing.T) {
	b := detectionBench(t)
	detectors := []detector{posternLearner{rules: true}, posternLearner{}, posternRules{}, bogofilter{}}
	quick := os.Getenv("POSTERN_DETECTION") == "quick"
	if !quick {
		detectors = append(detectors, spamassassin{})
	}
	var doc strings.Builder
	doc.WriteString("# How well spam is told from mail\n\nWritten by `make accept` (`go test -tags accept -run TestAccuracy ./internal/accept`); how it is measured, " +
		"and what the figures don't say, is in [ADR 37](adr/0037-how-accuracy-is-measured.md). Intervals are of 95 %.\n")
	if quick {
		doc.WriteString("\n*This run (`POSTERN_DETECTION=quick`) left out SpamAssassin: there are no figures of it here, and so none that say that Postern is better.*\n")
	}
	for _, g := range b.splits() {
		fmt.Fprintf(&doc, "\n## %s\n\n| | area under the curve | recall, 0.1 %% of the ham | recall, 0.5 %% of the ham |\n|---|---|---|---|\n", g.name)
		var by strings.Builder
		for _, j := range detectors {
			r := b.run(t, j, g)
			doc.WriteString(r.row(j.name()))
			by.WriteString(b.byCorpus(j.name(), r))
		}
		fmt.Fprintf(&doc, "\nAt 0.5 %%, by corpus:\n\n| | corpus | messages | called spam | |\n|---|---|---|---|---|\n%s", by.String())
	}
	fmt.Println(doc.String())
	if t.Failed() {
		return
	}
	if err := os.WriteFile(filepath.Join("..", "..", "docs", "detection.md"), []byte(doc.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// row gives the figures of a detector with their intervals.
func (r result) row(name string) string {
	figures := func(s []detection.Scored) []float64 {
		return []float64{detection.AUC(s), detection.Recall(s, shares[0]), detection.Recall(s, shares[1])}
	}
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
		return figures(drawn)
	})
	v := figures(r.scored)
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
