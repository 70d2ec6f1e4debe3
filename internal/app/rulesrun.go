package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/postern-mail/postern/internal/mailbox"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/rules"
	"github.com/postern-mail/postern/rules/eval"
	"github.com/postern-mail/postern/rules/text"
)

// RulesTest runs the lines "test" of the files, and the messages in folders: NAME.hit.eml is a message that the rule NAME has to hit,
// NAME.miss.eml one that it must not; between hit or miss and .eml there may be more. It ends with 65 where one fails.
func (a *App) RulesTest(ctx context.Context, o RulesOptions, folders []string) error {
	l, texts, err := a.loadRulesAndTexts(o)
	if err != nil {
		return err
	}
	t := &rulesTest{app: a, set: l.Set, texts: texts}
	for _, line := range l.Set.Tests() {
		ok, err := l.Set.Try(line)
		want := "a match"
		if !line.Hit {
			want = "no match"
		}
		t.note(ok, err, line.At.String()+": "+line.Rule, want)
	}
	for _, folder := range folders {
		if err := t.folder(ctx, folder); err != nil {
			return err
		}
	}
	fmt.Fprintf(a.o.Stdout, "%d tests, %d failed\n", t.run, t.failed)
	if t.failed > 0 {
		return &Exit{Code: ExitData}
	}
	return nil
}

type rulesTest struct {
	app         *App
	set         *rules.Set
	texts       text.Options
	run, failed int
}

func (t *rulesTest) note(ok bool, err error, what, want string) {
	t.run++
	switch {
	case err != nil:
		t.failed++
		fmt.Fprintf(t.app.o.Stdout, "FAIL %s: %s\n", visible(what), visible(err.Error()))
	case !ok:
		t.failed++
		fmt.Fprintf(t.app.o.Stdout, "FAIL %s: %s was wanted\n", visible(what), want)
	}
}

func (t *rulesTest) folder(ctx context.Context, folder string) error {
	names, err := filepath.Glob(filepath.Join(folder, "*.eml"))
	if err == nil && len(names) == 0 {
		err = fmt.Errorf("%s holds no .eml file", folder)
	}
	if err != nil {
		return &Exit{Code: ExitData, Err: fmt.Errorf("postern: %w", err)}
	}
	for _, name := range names {
		rule, kind, ok := strings.Cut(filepath.Base(name), ".")
		kind, _, _ = strings.Cut(kind, ".")
		if !ok || kind != "hit" && kind != "miss" {
			t.note(false, errors.New("its name is not NAME.hit.eml or NAME.miss.eml"), name, "")
			continue
		}
		if t.set.Rule(rule) == nil {
			t.note(false, fmt.Errorf("there is no rule %s", rule), name, "")
			continue
		}
		hit, err := t.hits(ctx, name, rule)
		t.note(hit == (kind == "hit"), err, name, "a "+kind)
	}
	return nil
}

func (t *rulesTest) hits(ctx context.Context, path, rule string) (bool, error) {
	c, err := t.app.ingest(path, mail.IngestOptions{}, 0)
	if err != nil {
		return false, err
	}
	defer c.Release()
	m := text.Of(c, t.texts)
	res, err := t.set.Run(ctx, &eval.Mail{Text: m})
	switch {
	case err != nil:
	case m.Err() != nil:
		err = m.Err()
	case res.Ended || slices.ContainsFunc(res.GaveUp, func(r *rules.Rule) bool { return r.Name == rule }):
		err = errors.New("it took more work than it may, and so nobody knows whether it hits")
	}
	return slices.ContainsFunc(res.Hits, func(h rules.Hit) bool { return h.Rule.Name == rule }), err
}

// RulesBenchOptions say how rules are timed.
type RulesBenchOptions struct {
	RulesOptions
	Paths []string // as those that are learned: messages, folders of them, mbox files, Maildirs
	Warm  int      // messages that are looked at before the clock runs
	Alone int      // messages for which each rule is timed alone
	Top   int      // rules in the table of the slowest
}

// maxBench is how many messages are looked at.
const maxBench = 100_000

// RulesBench tells how fast the rules are on messages, one after the other on one core, each for the first time, and which rules are dear.
func (a *App) RulesBench(ctx context.Context, o RulesBenchOptions) error {
	if o.Warm < 0 || o.Alone < 0 || o.Top < 0 {
		return exit(ExitUsage, "--warm, --alone and --top are numbers of messages and rules, none below 0")
	}
	tendCollector() // as a gateway has it
	began := time.Now()
	l, texts, err := a.loadRulesAndTexts(o.RulesOptions)
	if err != nil {
		return err
	}
	b := &rulesBench{app: a, o: o, set: l.Set, texts: texts, alone: map[*rules.Rule]*cost{}, load: time.Since(began), tell: a.progress()}
	for _, p := range o.Paths {
		if err := b.source(ctx, p); err != nil {
			return err
		}
	}
	b.tell("")
	if b.messages == 0 {
		return exit(ExitData, "no messages")
	}
	if err := b.print(a, o.Top); err != nil {
		return err
	}
	b.none.tell(a.o.Stdout)
	if b.faults > 0 {
		return &Exit{Code: ExitData}
	}
	return nil
}

// errEnough ends the reading of messages.
var errEnough = errors.New("enough messages")

// source looks at the messages of a file or a folder.
func (b *rulesBench) source(ctx context.Context, path string) error {
	skipped := func(err error) error {
		b.faults++
		b.none.count(err)
		b.tell("")
		fmt.Fprintf(b.app.o.Stderr, "postern: %s\n", visible(err.Error()))
		return nil
	}
	err := mailbox.Read(path, func(m mailbox.Message) error {
		if b.messages == maxBench {
			return errEnough
		}
		if b.messages%50 == 0 {
			b.tell(fmt.Sprintf("%d messages", b.messages))
		}
		c, err := ingestFrom(bytes.NewReader(m.Octets), mail.IngestOptions{}, 0)
		if err != nil {
			return &Exit{Code: ExitData, Err: fmt.Errorf("postern: %w", err)}
		}
		defer c.Release()
		n := b.messages
		b.messages++
		if err := b.message(ctx, c, n < b.o.Warm, n >= b.o.Warm && n < b.o.Warm+b.o.Alone); err != nil {
			return &Exit{Code: ExitSoftware, Err: fmt.Errorf("postern: %s: %w", m.Name, err)}
		}
		return nil
	}, skipped)
	switch {
	case errors.Is(err, errEnough):
		return nil
	case errors.As(err, new(*Exit)):
		b.tell("")
		return err
	case err != nil:
		return skipped(err)
	}
	return nil
}

type cost struct {
	messages int
	total    time.Duration
	worst    time.Duration
	gaveUp   int // messages
}

// rulesBench is what was measured.
type rulesBench struct {
	app  *App
	o    RulesBenchOptions
	tell func(string) // how far it is

	messages, faults int
	none             noMessages

	set     *rules.Set
	texts   text.Options
	load    time.Duration
	spent   time.Duration // by the processors, on the messages
	octets  int64
	times   []time.Duration
	classes rules.Timings
	gaveUp  map[string]int
	ended   int // messages that took all the work that one may
	hits    int
	alone   map[*rules.Rule]*cost
}

func (b *rulesBench) message(ctx context.Context, c *mail.Content, warm, alone bool) error {
	began, spent := time.Now(), cpuTime()
	m := &eval.Mail{Text: text.Of(c, b.texts)}
	res, err := b.set.Run(ctx, m)
	took := time.Since(began)
	if err != nil || warm {
		return err
	}
	b.spent += cpuTime() - spent
	b.times = append(b.times, took)
	b.octets += c.Blob().Size()
	b.hits += len(res.Hits)
	for i, d := range res.Timings {
		b.classes[i] += d
	}
	for _, r := range res.GaveUp {
		if b.gaveUp == nil {
			b.gaveUp = map[string]int{}
		}
		b.gaveUp[r.Name]++
	}
	if res.Ended {
		b.ended++
	}
	if !alone {
		return nil
	}
	return b.set.Measure(ctx, m, func(r *rules.Rule, d time.Duration, gaveUp bool) {
		k := b.alone[r]
		if k == nil {
			k = &cost{}
			b.alone[r] = k
		}
		k.messages++
		k.total += d
		k.worst = max(k.worst, d)
		if gaveUp {
			k.gaveUp++
		}
	})
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func (b *rulesBench) print(a *App, top int) error {
	tw := tabwriter.NewWriter(a.o.Stdout, 0, 8, 2, ' ', 0)
	n := len(b.times)
	if n == 0 {
		return exit(ExitData, "all messages were used to warm up")
	}
	slices.Sort(b.times)
	var sum time.Duration
	for _, t := range b.times {
		sum += t
	}
	fmt.Fprintf(tw, "rules\t%d, read in %.0f ms\n", len(b.set.Rules()), milliseconds(b.load))
	fmt.Fprintf(tw, "messages\t%d of %.1f KB on average\n", n, float64(b.octets)/float64(n)/1000)
	if b.spent > 0 { // what others do on this machine does not count
		fmt.Fprintf(tw, "per second and core\t%.0f (%.3f ms of processor time a message)\n", float64(n)/b.spent.Seconds(), milliseconds(b.spent)/float64(n))
	}
	fmt.Fprintf(tw, "ms a message\t%.3f on average, half below %.3f, 99 %% below %.3f, the slowest %.3f\n", milliseconds(sum)/float64(n),
		milliseconds(b.times[n/2]), milliseconds(b.times[n*99/100]), milliseconds(b.times[n-1]))
	fmt.Fprintf(tw, "hits a message\t%.1f\n", float64(b.hits)/float64(n))
	fmt.Fprint(tw, "\nCLASS\tMS A MESSAGE\n")
	for i, d := range b.classes {
		if d > 0 {
			fmt.Fprintf(tw, "%s\t%.3f\n", rules.Class(i), milliseconds(d)/float64(n)) //nolint:gosec // at most the number of classes
		}
	}
	for _, name := range slices.Sorted(maps.Keys(b.gaveUp)) {
		fmt.Fprintf(tw, "%s reached the limit of steps in %d messages\n", name, b.gaveUp[name])
	}
	if b.ended > 0 {
		fmt.Fprintf(tw, "%d messages took all the work that one may: the filter fails on them\n", b.ended)
	}
	b.printAlone(tw, top)
	if err := tw.Flush(); err != nil {
		return &Exit{Code: ExitCannotWrite, Err: fmt.Errorf("postern: %w", err)}
	}
	return nil
}

// printAlone prints the rules that take longest when each is looked for by itself.
func (b *rulesBench) printAlone(tw *tabwriter.Writer, top int) {
	all := make([]*rules.Rule, 0, len(b.alone))
	for r := range b.alone {
		all = append(all, r)
	}
	slices.SortFunc(all, func(x, y *rules.Rule) int { return int(b.alone[y].total - b.alone[x].total) })
	for i, r := range all[:min(top, len(all))] {
		if i == 0 {
			fmt.Fprint(tw, "\nSLOWEST ALONE\tCLASS\tMS A MESSAGE\tWORST\tGAVE UP\tAT\n")
		}
		k := b.alone[r]
		fmt.Fprintf(tw, "%s\t%s\t%.3f\t%.3f\t%d of %d\t%s\n", r.Name, r.Class, milliseconds(k.total)/float64(k.messages), milliseconds(k.worst),
			k.gaveUp, k.messages, visible(r.At.String()))
	}
}
