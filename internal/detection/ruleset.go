package detection

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync"

	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/rules"
	"github.com/postern-mail/postern/rules/eval"
	"github.com/postern-mail/postern/rules/text"
)

// Bounds of the weights of rules that have no line of their own, in points of a score of which 5 is spam: no rule alone
// makes a message spam, and each that nothing is known of weighs a little.
const (
	defaultHigh      = 3.5
	defaultLow       = -2
	defaultPrior     = 0.4
	defaultNicePrior = -0.3
)

// RuleFeatures gives the features that the rules of a set are to a fit: those with a score of their own, in the order of
// their files. Rules with the flag "nice" are signs of wanted mail. Comments in the files bound a weight, or say what it is
// where the corpora don't show:
//
//	#cap   NAME 0.8     at most 0.8 points; of a nice rule, at least -0.8
//	#prior NAME 2       2 points, as far as nothing speaks for another weight
func RuleFeatures(set *rules.Set, sources []rules.Source) ([]Feature, error) {
	caps, priors := map[string]float64{}, map[string]float64{}
	for _, s := range sources {
		n := 0
		for line := range bytes.Lines(s.Octets) {
			n++
			words := strings.Fields(string(line))
			if len(words) == 0 || words[0] != "#cap" && words[0] != "#prior" {
				continue
			}
			into := map[string]map[string]float64{"#cap": caps, "#prior": priors}[words[0]]
			v, err := 0.0, error(nil)
			if len(words) == 3 {
				v, err = strconv.ParseFloat(words[2], 64)
			}
			if len(words) != 3 || err != nil || set.Rule(words[1]) == nil {
				return nil, fmt.Errorf("detection: %s:%d: not %s, the name of a rule and a number", s.Name, n, words[0])
			}
			into[words[1]] = v
		}
	}
	var all []Feature
	for _, r := range set.Rules() {
		if r.Hidden() || !set.Active(r) {
			continue
		}
		f := Feature{Name: r.Name, Prior: defaultPrior, High: defaultHigh}
		if c, ok := caps[r.Name]; ok {
			f.High = c
		}
		if r.Flag("nice") {
			f.Low, f.High, f.Prior = defaultLow, 0, defaultNicePrior
			if c, ok := caps[r.Name]; ok {
				f.Low = -c
			}
		}
		if p, ok := priors[r.Name]; ok {
			f.Prior = p
		}
		f.Prior = min(f.High, max(f.Low, f.Prior))
		all = append(all, f)
	}
	return all, nil
}

// Content makes of a message's octets what filters look at.
func Content(octets []byte) (*mail.Content, error) {
	in := mail.NewIngest(mail.IngestOptions{Memory: 2*len(octets) + 1<<10})
	if _, err := in.Write(octets); err != nil {
		in.Abort()
		return nil, fmt.Errorf("detection: %w", err)
	}
	blob, faults, err := in.Blob()
	if err != nil {
		return nil, fmt.Errorf("detection: %w", err)
	}
	return mail.NewContent(blob, faults, mail.Limits{}), nil
}

// RuleHits runs a set over messages, and gives for each which of the features it has. It calls done, if that is not nil,
// with how many are done.
func RuleHits(ctx context.Context, set *rules.Set, features []Feature, all []Message, done func(n int)) ([][]int32, error) {
	index := map[string]int32{}
	for i, f := range features {
		index[f.Name] = int32(i)
	}
	out := make([][]int32, len(all))
	var (
		wg     sync.WaitGroup
		mu     sync.Mutex
		failed error
		n      int
	)
	next := make(chan int)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := range next {
				hits, err := hitsOf(ctx, set, index, &all[i])
				mu.Lock()
				out[i] = hits
				if err != nil && failed == nil {
					failed = fmt.Errorf("%s: %w", all[i].Path, err)
				}
				if n++; done != nil {
					done(n)
				}
				mu.Unlock()
			}
		})
	}
	for i := range all {
		next <- i
	}
	close(next)
	wg.Wait()
	return out, failed
}

func hitsOf(ctx context.Context, set *rules.Set, index map[string]int32, msg *Message) ([]int32, error) {
	c, err := Content(msg.Octets)
	if err != nil {
		return nil, err
	}
	defer c.Release()
	r, err := set.Run(ctx, &eval.Mail{Text: text.Of(c, msg.Options())})
	if err != nil {
		return nil, err
	}
	var hits []int32
	for _, h := range r.Hits {
		if i, ok := index[h.Rule.Name]; ok {
			hits = append(hits, i)
		}
	}
	return hits, nil
}
