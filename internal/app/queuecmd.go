package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/postern-mail/postern/internal/control"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/pipeline"
	"github.com/postern-mail/postern/upstream/queue"
)

// QueueSelection says which messages of the queue a command is about.
type QueueSelection struct {
	IDs      []string
	All      bool   // those that Flags mean, in place of IDs
	Exported string // those that an export has written to this folder whole, in place of IDs; of them what Flags mean
	Flags    QueueFlags
}

// many reports whether more messages may be meant than there are any more.
func (s *QueueSelection) many() bool { return s.All || s.Exported != "" }

// QueueListOptions say what of the queue is listed.
type QueueListOptions struct {
	Flags QueueFlags
	After string // the message behind which the list begins: its id, or its place as the end of a list tells it
	Limit int    // of messages; 0 for all, less than 0 for as many as are of use to people, and all with JSON
	JSON  bool
}

// pageOfQueue is how many messages people are shown at once.
const pageOfQueue = 100

// QueueList prints what is in the queue, oldest first.
func (a *App) QueueList(ctx context.Context, o QueueListOptions) error {
	if o.Limit < 0 {
		if o.Limit = pageOfQueue; o.JSON {
			o.Limit = 0
		}
	}
	f, err := o.Flags.filter()
	if err != nil {
		return err
	}
	q, err := a.operator(ctx)
	if err != nil {
		return err
	}
	defer q.close()
	if err := q.knows(ctx, f.Upstream); err != nil {
		return answered(err)
	}
	// Where the spool is ours alone meanwhile, a gateway that starts can't have it: it is given back before anybody reads.
	var out io.Writer = a.o.Stdout
	var kept bytes.Buffer
	if !q.shared() {
		out = &kept
	}
	ask := o.Limit
	if ask > 0 {
		ask++ // to know whether there are more
	}
	print := newQueuePrinter(out, o.JSON)
	var last queue.Listed
	n := 0
	err = q.list(ctx, f, o.After, ask, func(m queue.Listed) error {
		if n++; o.Limit > 0 && n > o.Limit {
			return nil
		}
		last = m
		return print.message(m)
	})
	q.close()
	if err := print.end(); err != nil {
		return err
	}
	if _, err := kept.WriteTo(a.o.Stdout); err != nil {
		return err
	}
	if o.Limit > 0 && n > o.Limit {
		fmt.Fprintf(a.o.Stderr, "postern: there are more: --after %s\n", queue.Place{Taken: last.Time, ID: last.ID})
	}
	return answered(err)
}

// queuePrinter prints a list.
type queuePrinter struct {
	json *json.Encoder // nil: for people
	rows *tabwriter.Writer
	n    int
}

func newQueuePrinter(w io.Writer, asJSON bool) *queuePrinter {
	if asJSON {
		return &queuePrinter{json: jsonTo(w)}
	}
	p := &queuePrinter{rows: tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)}
	fmt.Fprint(p.rows, "ID\tTIME\tSTATE\tUPSTREAM\tFROM\tTO\tSIZE\tTRIES\tNEXT\tBECAUSE\n")
	return p
}

func (p *queuePrinter) message(m queue.Listed) error {
	if p.json != nil {
		return p.json.Encode(m)
	}
	printQueued(p.rows, m)
	if p.n++; p.n%pageOfQueue == 0 { // columns are as wide as those of a page want them: no long list has to be in memory for that
		return p.rows.Flush()
	}
	return nil
}

func (p *queuePrinter) end() error {
	if p.rows == nil {
		return nil
	}
	return p.rows.Flush()
}

// printQueued prints one line for each group of a message.
func printQueued(w io.Writer, m queue.Listed) {
	for _, g := range m.Groups {
		if g.State == queue.StateOver {
			continue
		}
		var to []string
		because := g.Cause
		for _, r := range g.To {
			if r.State != recipientWaits {
				continue
			}
			to = append(to, r.Address)
			if because == "" {
				because = said(r)
			}
		}
		whom := strings.Join(to[:min(len(to), 1)], "")
		if len(to) > 1 {
			whom += fmt.Sprintf(" +%d", len(to)-1)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t<%s>\t%s\t%d\t%d\t%s\t%s\n", m.ID, m.Time.Local().Format(time.DateTime), g.State, g.Upstream,
			visible(m.From), visible(whom), m.Size, g.Attempts, clock(g.Next), visible(cut(because, 80)))
	}
}

// recipientWaits is the state of a recipient who is still to get the message.
const recipientWaits = "waiting"

// said is the last that is known of a recipient.
func said(r queue.ListedRecipient) string {
	if r.Reply != "" {
		return r.Reply
	}
	return r.Cause
}

func cut(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

func clock(t *time.Time) string {
	if t == nil || t.IsZero() {
		return "-"
	}
	return t.Local().Format(time.DateTime)
}

// QueueShow prints what is known of a message in the queue, or the message itself as it came.
func (a *App) QueueShow(ctx context.Context, id string, asJSON, content bool) error {
	q, err := a.operator(ctx)
	if err != nil {
		return err
	}
	defer q.close()
	if content {
		r, err := q.content(ctx, id)
		if err != nil {
			return answered(err)
		}
		// Read to the end before the first octet is printed: neither the gateway nor the spool waits for a pager.
		whole, err := io.ReadAll(r)
		r.Close()
		q.close()
		if err != nil {
			return answered(err)
		}
		return a.printContent(whole)
	}
	m, err := q.get(ctx, id)
	q.close()
	if err != nil {
		return answered(err)
	}
	if asJSON {
		enc := jsonTo(a.o.Stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(m)
	}
	return a.printMessage(m)
}

func (a *App) printMessage(m queue.Listed) error {
	w := tabwriter.NewWriter(a.o.Stdout, 0, 8, 2, ' ', 0)
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s\t%s\n", name, visible(value))
		}
	}
	row("id", m.ID)
	row("time", m.Time.Local().Format(time.RFC3339))
	row("from", "<"+m.From+">")
	row("subject", mail.DecodeWords(m.Subject))
	row("message-id", m.MessageID)
	row("size", fmt.Sprint(m.Size))
	row("client", m.Client)
	row("helo", m.Helo)
	row("user", m.User)
	row("listener", m.Listener)
	switch {
	case m.Report:
		row("report", "of our own")
	case m.Bounce:
		row("failure", "its sender is told")
	default:
		row("failure", "it is held: its sender can't be told")
	}
	for _, g := range m.Groups {
		fmt.Fprint(w, "\n")
		row("upstream", g.Upstream)
		row("route", g.Route)
		row("policy", g.Policy)
		row("action", g.Action)
		row("because", g.Because)
		row("score", pipeline.Tenths(g.Score))
		row("state", g.State)
		row("tries", fmt.Sprint(g.Attempts))
		if g.Next != nil {
			row("next", clock(g.Next))
		}
		row("waits for", g.Cause)
		fmt.Fprint(w, "\nTO\tSTATE\tLAST\tSERVER\tSAID\n")
		for _, r := range g.To {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", visible(r.Address), r.State, clock(r.Last), visible(r.Server), visible(said(r)))
		}
	}
	return w.Flush()
}

// QueueRetry lets messages be tried now.
func (a *App) QueueRetry(ctx context.Context, s QueueSelection) error {
	return a.operate(ctx, queue.Retry, "to be tried now", s)
}

// QueueHold keeps messages from being tried until they are released.
func (a *App) QueueHold(ctx context.Context, s QueueSelection) error {
	return a.operate(ctx, queue.Hold, "held", s)
}

// QueueRelease lets messages that were held be tried again.
func (a *App) QueueRelease(ctx context.Context, s QueueSelection) error {
	return a.operate(ctx, queue.Release, "released", s)
}

// QueueRemove removes messages; nobody is told. Everything is removed only by who says yes to that.
func (a *App) QueueRemove(ctx context.Context, s QueueSelection, yes bool) error {
	if s.All && s.Flags == (QueueFlags{}) && len(s.IDs) == 0 && !yes {
		return exit(ExitUsage, "that is all mail in the queue, and nobody would be told: narrow it by --from, --to, --upstream or --state, or add --yes")
	}
	return a.operate(ctx, queue.Remove, "removed", s)
}

// operate does one thing to all messages that are meant.
func (a *App) operate(ctx context.Context, o queue.Order, done string, s QueueSelection) error {
	f, err := s.filter()
	if err != nil {
		return err
	}
	q, err := a.operator(ctx)
	if err != nil {
		return err
	}
	defer q.close()
	t := a.newTally(done, s.many())
	ids, err := s.ids(ctx, q, f, t)
	if err != nil {
		return err
	}
	t.ofOthers = "%d of them for others too, since all of a message for one upstream is tried at once; recipients who were not meant: %d"
	if o == queue.Remove {
		t.ofOthers = "%d of them in part; recipients who still wait: %d"
	}
	err = q.operate(ctx, o, ids, f, func(r operated) error { t.did(o, &r); return nil })
	return t.end(err)
}

// filter gives the filter that is meant, once it is clear which messages are.
func (s *QueueSelection) filter() (queue.Filter, error) {
	none := queue.Filter{}
	ways := 0
	for _, is := range []bool{len(s.IDs) > 0, s.All, s.Exported != ""} {
		if is {
			ways++
		}
	}
	switch {
	case ways > 1:
		return none, exit(ExitUsage, "one of these: ids, --all, --exported")
	case !s.many() && s.Flags != (QueueFlags{}):
		return none, exit(ExitUsage, "what is selected by --from, --to, --upstream or --state takes --all")
	case ways == 0:
		return none, exit(ExitUsage, "name ids, or --all")
	}
	return s.Flags.filter()
}

// ids gives the messages that are meant. What can't be read stops no other: the tally has it.
func (s *QueueSelection) ids(ctx context.Context, q operator, f queue.Filter, t *tally) ([]string, error) {
	t.total = len(s.IDs)
	if !s.many() {
		return s.IDs, nil
	}
	if err := q.knows(ctx, f.Upstream); err != nil {
		return nil, answered(err)
	}
	if s.Exported != "" {
		all, err := exportedIn(s.Exported)
		t.total = len(all)
		return all, err
	}
	var all []string
	err := q.list(ctx, f, "", 0, func(m queue.Listed) error {
		all = append(all, m.ID)
		return nil
	})
	t.total = len(all)
	var fault *control.Error
	if errors.As(err, &fault) && fault.Kind == control.Data {
		t.total++
		t.fail(err)
		return all, nil
	}
	return all, answered(err)
}

// tally counts what has been done, tells it, and on a terminal shows how far it is.
type tally struct {
	a              *App
	what           string
	ofOthers       string // what is said of partly and others
	all            bool   // a message that has gone meanwhile is no fault, and one line tells of the many
	terminal       bool
	total          int
	done, gone     int
	failed         int
	partly, others int   // messages that not all was meant of, and who was not meant of them
	held, busy     int   // groups that were not touched
	worst          error // the fault that gives the exit code
	shown          time.Time
	progressOnLine bool
}

func (a *App) newTally(what string, all bool) *tally {
	f, ok := a.o.Stderr.(*os.File)
	return &tally{a: a, what: what, all: all, terminal: ok && isTerminal(f), shown: time.Now()}
}

// did takes in what came of an operation on one message.
func (t *tally) did(o queue.Order, r *operated) {
	if r.Fault == nil {
		if r.Others > 0 {
			t.partly, t.others = t.partly+1, t.others+r.Others
		}
		if o == queue.Retry && r.Recipients == 0 { // all of it
			why := "is being tried at this moment"
			if r.Busy == 0 {
				t.held, why = t.held+1, "stays on hold until it is released"
			} else {
				t.busy++
			}
			if !t.all {
				t.clear()
				fmt.Fprintf(t.a.o.Stdout, "%s: %s\n", visible(r.ID), why)
			}
			t.progress()
			return
		}
	}
	t.add(r.ID, r.err())
}

// add takes in what came of one message.
func (t *tally) add(id string, err error) {
	var fault *control.Error
	switch {
	case err == nil:
		if t.done++; !t.all {
			t.clear()
			fmt.Fprintf(t.a.o.Stdout, "%s: %s\n", visible(id), t.what)
		}
	case t.all && errors.As(err, &fault) && fault.Kind == control.Missing:
		t.gone++ // delivered since the list was made; what is there and can't be read is a fault
	default:
		t.fail(err)
	}
	t.progress()
}

// finished is of how many messages it is known what came of them.
func (t *tally) finished() int { return t.done + t.gone + t.held + t.busy + t.failed }

// progress shows on a terminal how far it is.
func (t *tally) progress() {
	if n := t.finished(); t.terminal && t.total > 1 && time.Since(t.shown) > 100*time.Millisecond {
		fmt.Fprintf(t.a.o.Stderr, "\r%d of %d", n, t.total)
		t.shown, t.progressOnLine = time.Now(), true
	}
}

// fail tells a fault.
func (t *tally) fail(err error) {
	t.failed++
	t.clear()
	fmt.Fprintf(t.a.o.Stderr, "%s\n", visible(err.Error()))
	var fault *control.Error
	if t.worst == nil || !errors.As(err, &fault) || fault.Kind != control.Data && fault.Kind != control.Missing {
		t.worst = err
	}
}

// clear takes the progress off the terminal.
func (t *tally) clear() {
	if t.progressOnLine {
		fmt.Fprint(t.a.o.Stderr, "\r\x1b[K")
		t.progressOnLine = false
	}
}

// end tells the sum, and gives the error for the exit code. err is what has cut it short.
func (t *tally) end(err error) error {
	t.clear()
	if t.all || t.failed > 0 && t.total > 1 || err != nil {
		fmt.Fprintf(t.a.o.Stdout, "%d %s", t.done, t.what)
		if t.gone > 0 {
			fmt.Fprintf(t.a.o.Stdout, ", %d gone meanwhile", t.gone)
		}
		if t.failed > 0 {
			fmt.Fprintf(t.a.o.Stdout, ", %d failed", t.failed)
		}
		if t.held > 0 {
			fmt.Fprintf(t.a.o.Stdout, ", %d on hold", t.held)
		}
		if t.busy > 0 {
			fmt.Fprintf(t.a.o.Stdout, ", %d being tried", t.busy)
		}
		if n := t.total - t.finished(); n > 0 {
			fmt.Fprintf(t.a.o.Stdout, ", %d not done", n)
		}
		fmt.Fprintln(t.a.o.Stdout)
	}
	if t.partly > 0 {
		fmt.Fprintf(t.a.o.Stdout, t.ofOthers+"\n", t.partly, t.others)
	}
	if err != nil {
		return answered(err)
	}
	var end *Exit
	if errors.As(answered(t.worst), &end) {
		return &Exit{Code: end.Code} // each fault has been told
	}
	return nil
}
