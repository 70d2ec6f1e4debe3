package app

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/postern-mail/postern/internal/detection"
	"github.com/postern-mail/postern/rules"
)

// scoresFile is where the fitted scores of our own rules stand. Rules are fitted without it.
const scoresFile = "90_scores.cf"

// fitFolds is how many folds are held out in turn.
const fitFolds = 5

// RulesFitOptions say what is fitted, and on what.
type RulesFitOptions struct {
	Files   []string // patterns of paths of rules; none: our own
	Corpora []string // archives NAME.tar.gz with a manifest NAME.tsv, and folders of these
	Out     string   // the file of scores that is written; "" for standard output
	Most    float64  // the share of ham that may reach 5
	Command string   // how it was called, for the file
}

// RulesFit finds scores for rules: by a logistic regression over what they hit in labelled messages, with bounds. It writes
// them as a file of rules, and prints what each rule hit.
func (a *App) RulesFit(ctx context.Context, o RulesFitOptions) error {
	set, features, err := fitRules(o.Files)
	if err != nil {
		return &Exit{Code: ExitData, Err: fmt.Errorf("postern: %w", err)}
	}
	all, err := readCorpora(o.Corpora)
	if err != nil {
		return &Exit{Code: ExitData, Err: fmt.Errorf("postern: %w", err)}
	}
	progress := a.progress()
	hits, err := detection.RuleHits(ctx, set, features, all, func(n int) {
		if n%50 == 0 {
			progress(fmt.Sprintf("%d of %d messages", n, len(all)))
		}
	})
	progress("")
	if err != nil {
		return &Exit{Code: ExitData, Err: fmt.Errorf("postern: %w", err)}
	}
	rows := fitRows(all, hits)
	fitted, err := detection.Fit(features, rows, detection.FitOptions{Most: o.Most})
	if err != nil {
		return &Exit{Code: ExitData, Err: fmt.Errorf("postern: %w", err)}
	}
	text := scoresText(o.Command, features, fitted)
	if o.Out == "" {
		_, err = a.o.Stdout.Write(text)
	} else {
		err = os.WriteFile(o.Out, text, 0o644)
	}
	if err != nil {
		return &Exit{Code: ExitCannotWrite, Err: fmt.Errorf("postern: %w", err)}
	}
	return a.printFit(features, rows, all, fitted)
}

// fitRules loads the rules to be fitted, without scores that were fitted before.
func fitRules(files []string) (*rules.Set, []detection.Feature, error) {
	sources := rules.Default()
	if len(files) > 0 {
		var err error
		if sources, err = rules.ReadFiles(files); err != nil {
			return nil, nil, err
		}
	}
	sources = slices.DeleteFunc(sources, func(s rules.Source) bool { return filepath.Base(s.Name) == scoresFile })
	set, problems, err := rules.Load(sources, rules.Options{})
	if err != nil {
		return nil, nil, err
	}
	for _, p := range problems {
		if p.Severity == rules.Fault {
			return nil, nil, fmt.Errorf("%s", visible(p.String()))
		}
	}
	features, err := detection.RuleFeatures(set, sources)
	return set, features, err
}

// readCorpora reads archives, and folders of archives.
func readCorpora(paths []string) ([]detection.Message, error) {
	var all []detection.Message
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			return nil, err
		}
		var some []detection.Message
		if info.IsDir() {
			if some, err = detection.ReadArchives(p); err == nil && len(some) == 0 {
				err = fmt.Errorf("%s: no corpus: NAME.tar.gz is looked for, with NAME.tsv beside it, which tells ham from spam", visible(p))
			}
		} else if some, err = detection.ReadArchive(p); err == nil {
			detection.StripAll(some)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, nil
}

// fitRows makes rows of messages. Of a campaign that sent many nearly equal ones, all together count as much as the root of
// their number.
func fitRows(all []detection.Message, hits [][]int32) []detection.Row {
	clusters := detection.Clusters(all)
	folds := detection.Folds(all, clusters, fitFolds)
	size := map[int]float64{}
	for _, c := range clusters {
		size[c]++
	}
	rows := make([]detection.Row, len(all))
	for i := range all {
		rows[i] = detection.Row{Features: hits[i], Spam: all[i].Spam, Weight: 1 / math.Sqrt(size[clusters[i]]), Fold: folds[i]}
	}
	return rows
}

// scoresText writes the file of scores. A rule that came out as nothing keeps a hundredth: it is still shown, and the
// learner goes by it.
func scoresText(command string, features []detection.Feature, f *detection.Fitted) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Scores of the rules in the other files, written by\n#   %s\n# Bounds are the lines #cap and #prior of those files.\n\n", command)
	for i, x := range features {
		w := f.Weights[i]
		if w == 0 {
			w = 0.01
			if x.High == 0 {
				w = -0.01
			}
		}
		fmt.Fprintf(&b, "score %-24s %g\n", x.Name, w)
	}
	return b.Bytes()
}

// printFit prints what each rule hit, and what the scores come to in the messages that were held out.
func (a *App) printFit(features []detection.Feature, rows []detection.Row, all []detection.Message, f *detection.Fitted) error {
	spam, ham := make([]int, len(features)), make([]int, len(features))
	type count struct{ above, of int }
	corpora := map[string]*count{}
	var names []string
	for i, r := range rows {
		n := ham
		if r.Spam {
			n = spam
		}
		for _, h := range r.Features {
			n[h]++
		}
		c := corpora[all[i].Corpus]
		if c == nil {
			c = &count{}
			corpora[all[i].Corpus] = c
			names = append(names, all[i].Corpus)
		}
		if c.of++; f.Scores[i] >= 5 {
			c.above++
		}
	}
	tw := tabwriter.NewWriter(a.o.Stderr, 0, 8, 2, ' ', 0)
	fmt.Fprint(tw, "RULE\tSCORE\tAT MOST\tSPAM\tHAM\n")
	for i, x := range features {
		bound := x.High
		if bound == 0 {
			bound = x.Low
		}
		fmt.Fprintf(tw, "%s\t%g\t%g\t%d\t%d\n", visible(x.Name), f.Weights[i], bound, spam[i], ham[i])
	}
	fmt.Fprint(tw, "\nCORPUS (held out)\tSCORE 5 OR MORE\tOF\tSHARE\t\n")
	for _, n := range names {
		c := corpora[n]
		fmt.Fprintf(tw, "%s\t%d\t%d\t%.2f %%\t\n", visible(n), c.above, c.of, 100*float64(c.above)/float64(c.of))
	}
	fmt.Fprintf(tw, "\nL2 %g of losses %s\n", f.L2, strings.Trim(fmt.Sprintf("%.4f", f.Losses), "[]"))
	if err := tw.Flush(); err != nil {
		return &Exit{Code: ExitCannotWrite, Err: fmt.Errorf("postern: %w", err)}
	}
	return nil
}
