package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/internal/config"
	"github.com/postern-mail/postern/internal/learner"
	"github.com/postern-mail/postern/internal/mailbox"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/rules/text"
	"github.com/postern-mail/postern/upstream"
)

// LearnOptions are what is taught.
type LearnOptions struct {
	Spam    bool
	Sources []string // mbox files, Maildirs, folders, messages, packed with gzip or bzip2 or not; "-" is standard input
	Forget  bool     // take back what was taught of them, whatever it was
	DryRun  bool
}

// class names what is taught.
func (o LearnOptions) class() string {
	if o.Spam {
		return "spam"
	}
	return "ham"
}

// Learn teaches the learner that all messages of some sources are spam, or ham. What can't be read makes the exit code ExitData;
// the rest is learned all the same.
func (a *App) Learn(ctx context.Context, o LearnOptions) error {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	reader, err := a.sampleReader(ctx, cfg)
	if err != nil {
		return answered(err)
	}
	l := &lesson{a: a, o: o, reader: reader, ctx: ctx}
	for _, s := range o.Sources {
		if s != "-" {
			l.total += mailbox.Size(s)
		}
	}
	if !o.DryRun {
		if l.t, err = a.teacher(ctx, cfg); err != nil {
			return answered(err)
		}
	}
	f, ok := a.o.Stderr.(*os.File)
	l.terminal = ok && isTerminal(f)
	err = l.all()
	l.clear()
	if l.t != nil {
		if fault := l.t.close(ctx); err == nil { // else it says the same again
			err = fault
		}
	}
	l.tell()
	switch {
	case err != nil:
		return answered(err)
	case l.faults > 0:
		return &Exit{Code: ExitData}
	}
	return nil
}

// lesson is one run of Learn.
type lesson struct {
	a      *App
	o      LearnOptions
	ctx    context.Context //nolint:containedctx // of one command
	t      teacher         // nil: nothing is taught
	reader *sampleReader
	batch  []mailbox.Message
	octets int // of batch

	total, before, read int64 // octets: of all sources, of those that are done, of the one that is read
	messages, faults    int
	none                noMessages
	sum                 learner.Outcome
	terminal, shown     bool
	last                time.Time
}

func (l *lesson) all() error {
	for _, s := range l.o.Sources {
		err := l.source(s)
		if err != nil && (errors.Is(err, errTaught) || l.ctx.Err() != nil) {
			return err
		} else if err != nil {
			l.fault(err)
		}
		l.before, l.read = l.before+l.read, 0
	}
	return l.teach()
}

// source reads one source. A terminal or a pipe may never give anything: where the context ends before it does, whoever reads it is left behind,
// and teaches nothing any more.
func (l *lesson) source(s string) error {
	var mu sync.Mutex
	over := false
	take := func(m mailbox.Message) error {
		mu.Lock()
		defer mu.Unlock()
		if over {
			return context.Canceled
		}
		return l.take(m)
	}
	skipped := func(err error) error {
		mu.Lock()
		defer mu.Unlock()
		if over {
			return context.Canceled
		}
		l.fault(err)
		return nil
	}
	done := make(chan error, 1)
	stdin := l.a.o.Stdin // it may be read when the lesson is over
	go func() {
		if s == "-" {
			done <- mailbox.ReadFrom(stdin, "-", take, skipped)
		} else {
			done <- mailbox.Read(s, take, skipped)
		}
	}()
	select {
	case err := <-done:
		return err
	case <-l.ctx.Done():
		mu.Lock() // behind what is being taught
		defer mu.Unlock()
		over = true
		return l.ctx.Err()
	}
}

// batchOctets is how many octets of messages wait at most, beside the last one, until they are learned together.
const batchOctets = 16 << 20

// errTaught marks an error of the learner among those of reading.
var errTaught = errors.New("not learned")

func (l *lesson) take(m mailbox.Message) error {
	if l.ctx.Err() != nil {
		return l.ctx.Err()
	}
	l.read = m.Read
	l.batch = append(l.batch, m)
	l.octets += len(m.Octets)
	if len(l.batch) == lessonBatch || l.octets >= batchOctets {
		return l.teach()
	}
	return nil
}

// teach hands the messages that wait to the learner.
func (l *lesson) teach() error {
	if len(l.batch) == 0 {
		return nil
	}
	samples := make([]*learner.Sample, len(l.batch))
	var wait sync.WaitGroup
	const readers = 4
	for w := range readers {
		wait.Go(func() {
			for i := w; i < len(l.batch); i += readers {
				samples[i] = l.reader.sample(l.ctx, l.batch[i].Octets)
			}
		})
	}
	wait.Wait()
	if l.ctx.Err() != nil { // they may be without the hits of rules, and would stay so: what is known is not learned again
		return l.ctx.Err()
	}
	var lessons []learner.Lesson
	var digests []learner.Digest
	now := time.Now()
	for i, s := range samples {
		if s == nil {
			l.fault(fmt.Errorf("%s: can't be read", l.batch[i].Name))
			continue
		}
		lessons = append(lessons, learner.NewLesson(*s, l.o.Spam, learner.FromPeople, now))
		digests = append(digests, s.Digest)
	}
	clear(l.batch)
	l.batch, l.octets = l.batch[:0], 0
	var out learner.Outcome
	var err error
	switch {
	case l.t == nil:
	case l.o.Forget:
		out, err = l.t.forget(l.ctx, digests)
	default:
		out, err = l.t.teach(l.ctx, lessons)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errTaught, err) // whether these were learned is not known
	}
	l.messages += len(lessons)
	l.sum.Add(out)
	l.progress()
	return nil
}

func (l *lesson) fault(err error) {
	l.faults++
	l.none.count(err)
	l.clear()
	fmt.Fprintf(l.a.o.Stderr, "postern: %s\n", visible(err.Error()))
}

// progress shows on a terminal how far it is.
func (l *lesson) progress() {
	if !l.terminal || time.Since(l.last) < 100*time.Millisecond {
		return
	}
	l.last, l.shown = time.Now(), true
	if l.total == 0 {
		fmt.Fprintf(l.a.o.Stderr, "\r%d messages", l.messages)
		return
	}
	const width = 30
	part := min(float64(l.before+l.read)/float64(l.total), 1)
	done := int(part * width)
	fmt.Fprintf(l.a.o.Stderr, "\r[%s%s] %3.0f %% %d messages", strings.Repeat("#", done), strings.Repeat(".", width-done), part*100, l.messages)
}

func (l *lesson) clear() {
	if l.shown {
		fmt.Fprint(l.a.o.Stderr, "\r\x1b[K")
		l.shown = false
	}
}

// tell prints what came of it.
func (l *lesson) tell() {
	s := l.sum
	switch {
	case l.t == nil:
		fmt.Fprintf(l.a.o.Stdout, "%d messages read, nothing learned\n", l.messages)
	case l.o.Forget:
		fmt.Fprintf(l.a.o.Stdout, "%d messages read: %d forgotten, %d were not known\n", l.messages, s.Forgotten, l.messages-s.Forgotten)
	default:
		fmt.Fprintf(l.a.o.Stdout, "%d messages read: %d learned as %s, %d corrected, %d known already%s\n",
			l.messages, s.Learned, l.o.class(), s.Corrected, s.Known+s.Kept, room(s))
	}
	l.none.tell(l.a.o.Stdout)
}

// noMessages counts what was no message.
type noMessages struct{ files, entries int }

func (n *noMessages) count(err error) {
	var none *mailbox.NoMessageError
	switch {
	case !errors.As(err, &none):
	case none.Entry:
		n.entries++
	default:
		n.files++
	}
}

func (n *noMessages) tell(w io.Writer) {
	for _, c := range []struct {
		n         int
		one, many string
	}{{n.files, "file is no message", "files are no messages"}, {n.entries, "entry of an mbox is no message", "entries of mbox files are no messages"}} {
		switch {
		case c.n == 1:
			fmt.Fprintln(w, "1", c.one)
		case c.n > 1:
			fmt.Fprintln(w, c.n, c.many)
		}
	}
}

// room tells what there was no room for.
func room(o learner.Outcome) (s string) {
	if o.Crowded > 0 {
		s += fmt.Sprintf(", no room for %d", o.Crowded)
	}
	if o.GaveWay > 0 {
		s += fmt.Sprintf(", %d older ones gave way", o.GaveWay)
	}
	return s
}

// sampleReader makes samples of messages, as the filter does.
type sampleReader struct {
	marks unmarker
	rules filter.Filter // gives the hits of rules; nil where none run
}

// sampleReader makes the reader that the configuration describes.
func (a *App) sampleReader(ctx context.Context, cfg *config.Config) (*sampleReader, error) {
	r := &sampleReader{}
	var err error
	if r.marks, err = a.unmarker(cfg); err != nil {
		return nil, &Exit{Code: ExitConfig, Err: err}
	}
	for _, f := range cfg.Filters {
		if f.Kind != "rules" {
			continue
		}
		p, err := a.prepare(cfg, nil, a.warnings(), nil, upstream.Hooks{}, nil, nil)
		if err != nil {
			return nil, &Exit{Code: ExitConfig, Err: err}
		}
		s := surroundings{factories: a.factories, ours: p.table.Ours, state: filter.NoState{}, log: slog.New(slog.DiscardHandler)}
		stage, err := s.stage(cfg, f, nil, func(v any) error { return f.DecodeFor(config.DefaultPolicy, v) })
		if err != nil {
			return nil, &Exit{Code: ExitConfig, Err: err}
		}
		if slices.Contains(stage.Provides, string(auth.RuleHits)) {
			r.rules = stage.Filter
			break
		}
	}
	return r, ctx.Err()
}

// sample reads a message; nil where it can't be read.
func (r *sampleReader) sample(ctx context.Context, octets []byte) *learner.Sample {
	c := r.content(octets)
	if c == nil {
		return nil
	}
	return r.sampleOf(ctx, c)
}

// sampleOf is sample of a content, which it releases.
func (r *sampleReader) sampleOf(ctx context.Context, c *mail.Content) *learner.Sample {
	c, err := r.marks.unmarked(c)
	if err != nil {
		return nil
	}
	defer c.Release()
	m := text.Of(c, text.Options{})
	s := learner.FromMessage(m, r.hits(ctx, c))
	if m.Err() != nil {
		return nil
	}
	return &s
}

// content takes a message in as a listener would.
func (r *sampleReader) content(octets []byte) *mail.Content {
	g := mail.NewIngest(mail.IngestOptions{Memory: len(octets) + len(octets)/8 + 1<<10, Size: int64(len(octets))})
	if _, err := g.Write(octets); err != nil {
		g.Abort()
		return nil
	}
	b, faults, err := g.Blob()
	if err != nil {
		return nil
	}
	return mail.NewContent(b, faults, r.marks.limits)
}

// hits gives the rules that hit a message, as far as that can be told without the connection that it came over and without the DNS: its
// lists tell of today and not of when the message came, and are not to be asked about mailboxes.
func (r *sampleReader) hits(ctx context.Context, c *mail.Content) []auth.RuleHit {
	if r.rules == nil {
		return nil
	}
	in := &filter.Input{Phase: filter.Data, Session: &filter.Session{}, Transaction: &filter.Transaction{}, Content: c}
	res, err := r.rules.Check(ctx, in)
	if err != nil {
		return nil
	}
	hits, _ := auth.RuleHits.Among(res.Facts)
	return hits
}

// warnings is a log for commands: warnings and errors, on standard error.
func (a *App) warnings() *slog.Logger {
	return slog.New(slog.NewTextHandler(a.o.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// LearnStatus prints how the learner is.
func (a *App) LearnStatus(ctx context.Context, asJSON bool) error {
	return a.withTeacher(ctx, func(_ *config.Config, t teacher) error {
		s, err := t.status(ctx)
		if err != nil {
			return err
		}
		if asJSON {
			enc := jsonTo(a.o.Stdout)
			enc.SetIndent("", "  ")
			return enc.Encode(s)
		}
		w := tabwriter.NewWriter(a.o.Stdout, 0, 8, 2, ' ', 0)
		ready := "yes"
		switch {
		case s.Ready:
		case min(s.Ham, s.Spam) < s.Least:
			ready = fmt.Sprintf("no: it takes %d of each", s.Least)
		default:
			ready = "not yet: it is still learning from them"
		}
		fmt.Fprintf(w, "ham\t%d\nspam\t%d\nspeaks\t%s\nat most\t%d of each\n", s.Ham, s.Spam, ready, s.Samples)
		for _, h := range slices.Backward(learner.Ways()) {
			fmt.Fprintf(w, "taught by %s\t%d\n", h, s.Ways[h.String()])
		}
		if !s.Oldest.IsZero() {
			fmt.Fprintf(w, "from\t%s\nto\t%s\n", s.Oldest.Local().Format(time.DateTime), s.Newest.Local().Format(time.DateTime))
		}
		if !s.Fitted.IsZero() {
			fmt.Fprintf(w, "fitted\t%s, to %d ham and %d spam, in %.1f s\nfeatures\t%d\n", s.Fitted.Local().Format(time.DateTime), s.FittedOf.Ham, s.FittedOf.Spam, s.Seconds, s.Features)
		}
		fmt.Fprintf(w, "size\t%d octets\nstore\t%s\n", s.Octets, visible(s.Directory))
		return w.Flush()
	})
}

// withTeacher finds the learner, and hands it to f.
func (a *App) withTeacher(ctx context.Context, f func(*config.Config, teacher) error) error {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	t, err := a.teacher(ctx, cfg)
	if err != nil {
		return err
	}
	err = f(cfg, t)
	if fault := t.close(ctx); err == nil {
		err = fault
	}
	return answered(err)
}
