package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/postern-mail/postern/internal/control"
	"github.com/postern-mail/postern/internal/quarantine"
	"github.com/postern-mail/postern/internal/spool"
	"github.com/postern-mail/postern/upstream/queue"
)

// Explain shows the decision about a message: from the quarantine's record, and from the log where one is given; and where it
// is, if it waits in the spool. Each tells also where another can't be read.
func (a *App) Explain(ctx context.Context, id, logFile string) error {
	found, err := a.explainHeld(id)
	waits, fault := a.explainQueued(ctx, id)
	if err == nil {
		err = fault
	} else if fault != nil && fault.Error() != err.Error() {
		fmt.Fprintln(a.o.Stderr, fault)
	}
	if found = found || waits; err != nil {
		if logFile == "" && !found {
			return err
		}
		fmt.Fprintln(a.o.Stderr, err)
	}
	if logFile != "" {
		lines, err := a.logLines(id, logFile)
		if err != nil {
			return &Exit{Code: ExitData, Err: fmt.Errorf("postern: %w", err)}
		}
		if len(lines) > 0 && found {
			fmt.Fprintln(a.o.Stdout)
		}
		for _, l := range lines {
			a.printLogLine(l)
			found = true
		}
	}
	switch {
	case found:
		return nil
	case logFile == "":
		return exit(ExitData, "%s: nothing is held under this id, and nothing waits in the spool; what has ended stands in the log alone: "+
			"name the log with --log, or grep it for the id", id)
	}
	return exit(ExitData, "%s: neither held, nor in the spool, nor in %s", id, logFile)
}

// explainHeld shows the quarantine's record of a message, if it has one.
func (a *App) explainHeld(id string) (found bool, err error) {
	_, r, err := a.heldToRead()
	if err != nil {
		return false, err
	}
	e, err := r.Get(id)
	switch {
	case errors.Is(err, quarantine.ErrNotFound), errors.Is(err, quarantine.ErrID):
		return false, nil
	case err != nil:
		return false, heldError(id, err)
	}
	return true, a.printRecord(e)
}

// logLines finds the lines of the log that are about a message.
func (a *App) logLines(id, path string) ([][]byte, error) {
	in, closeIn, err := a.openInput(path)
	if err != nil {
		return nil, err
	}
	defer closeIn()
	var all [][]byte
	err = eachLine(in, func(line []byte) {
		var about struct{ ID string }
		if bytes.Contains(line, []byte(id)) && json.Unmarshal(line, &about) == nil && about.ID == id {
			all = append(all, bytes.Clone(line))
		}
	})
	return all, err
}

// explainQueued shows where a message is that waits in the spool. It asks the gateway. Where none runs it looks for the message's
// file and no further: who opens the spool keeps a gateway from starting.
func (a *App) explainQueued(ctx context.Context, id string) (found bool, err error) {
	if !isID(id) {
		return false, nil
	}
	cfg, err := a.load()
	if err != nil {
		return false, err
	}
	c, err := a.running(ctx, cfg)
	if errors.Is(err, control.ErrNotRunning) {
		return a.explainUnowned(spoolDir(cfg), id)
	}
	if err != nil {
		return false, err
	}
	q := remoteQueue{c, upstreamNames(cfg)}
	defer q.close()
	m, err := q.get(ctx, id)
	var fault *control.Error
	switch {
	case errors.As(err, &fault) && fault.Kind == control.Missing:
		return false, nil
	case err != nil:
		return false, answered(err)
	}
	return true, a.printWaiting(m)
}

func (a *App) explainUnowned(dir, id string) (found bool, err error) {
	switch found, err = spool.Has(dir, id); {
	case errors.Is(err, spool.ErrID):
		return false, nil
	case err != nil:
		return false, exit(ExitUnavailable, "%v", err)
	case found:
		fmt.Fprintf(a.o.Stdout, "spool  it waits, and no gateway runs; all of it: postern queue show %s\n", id)
	}
	return found, nil
}

// mostShown is how many recipients of a message in the spool are shown.
const mostShown = 20

// printWaiting tells in short what the queue knows of a message.
func (a *App) printWaiting(m queue.Listed) error {
	w := tabwriter.NewWriter(a.o.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintf(w, "spool\tsince %s, from <%s>; all of it: postern queue show %s\n", m.Time.Local().Format(time.DateTime), visible(m.From), m.ID)
	n := 0
	for _, g := range m.Groups {
		state := fmt.Sprintf("%s, tries: %d", g.State, g.Attempts)
		if g.Next != nil {
			state += ", next: " + clock(g.Next)
		}
		fmt.Fprintf(w, "%s\t%s\n", g.Upstream, state)
		if g.Cause != "" {
			fmt.Fprintf(w, "\t%s\n", visible(g.Cause))
		}
		for _, r := range g.To {
			if n++; n <= mostShown {
				fmt.Fprintf(w, "\t%s\n", visible(strings.TrimSuffix(fmt.Sprintf("<%s> %s: %s", r.Address, r.State, said(r)), ": ")))
			}
		}
	}
	if n > mostShown {
		fmt.Fprintf(w, "\tand %d more\n", n-mostShown)
	}
	return w.Flush()
}
