package spool

import (
	"fmt"
	"io"
	"time"

	"github.com/postern-mail/postern/internal/store"
	"github.com/postern-mail/postern/mail"
)

// tooLarge reports whether a log has grown to where it is worth being written anew: what may be tried for days must not fill
// the disk with what it was told.
func (s *Store) tooLarge(id string, size int64) bool {
	if size < largeLog {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return size >= 2*s.logs[id]
}

// setShrunk notes how large a log was when this was tried last: it is tried again at twice the size.
func (s *Store) setShrunk(id string, size int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logs[id] = size
}

// shrinkLog writes a log anew, with what its marks came to.
func (s *Store) shrinkLog(id string) error {
	e, err := s.Load(id)
	if err != nil {
		return err
	}
	lines, err := s.summary(&e)
	if err != nil {
		return err
	}
	path := s.path(id, logSuffix)
	before, err := s.fs.Stat(path)
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	if err := s.remove(path + tmpSuffix); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	err = store.WriteFile(s.fs, path+tmpSuffix, path, 0o600, func(w io.Writer) error {
		_, err := w.Write(lines)
		return err
	})
	if err != nil { // it may be in its place all the same
		if now, err := s.fs.Stat(path); err == nil {
			s.account(0, now.Size()-before.Size())
		}
		return fmt.Errorf("spool: %w", err)
	}
	s.account(0, int64(len(lines))-before.Size())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logs[id] = int64(len(lines))
	delete(s.torn, id)
	return nil
}

// outcome is what marks have told of a recipient.
type outcome struct {
	state  State
	reply  mail.Reply
	server string
	cause  string
	last   time.Time
}

// summary gives the lines that make of an entry as it was put what it is now.
func (s *Store) summary(e *Entry) ([]byte, error) {
	var lines []byte
	add := func(n note) error {
		n.Time = s.now()
		line, err := n.encode()
		lines = append(lines, line...)
		return err
	}
	for i := range e.Groups {
		g := &e.Groups[i]
		n := note{Mark: Mark{Group: i, Next: g.Next, Warned: g.Warned}, Attempts: g.Attempts}
		if g.Held {
			n.Held = &g.Held
		}
		if err := add(n); err != nil {
			return nil, err
		}
		same := map[outcome][]int{}
		var order []outcome
		for j, r := range g.To {
			o := outcome{r.State, r.Reply, r.Server, r.Cause, r.Last}
			if o == (outcome{}) {
				continue
			}
			if same[o] == nil {
				order = append(order, o)
			}
			same[o] = append(same[o], j)
		}
		for _, o := range order {
			m := Mark{Group: i, To: same[o], State: o.state, Reply: o.reply, Server: o.server, Cause: o.cause}
			if err := add(note{Mark: m, Last: o.last}); err != nil {
				return nil, err
			}
		}
	}
	return lines, nil
}
