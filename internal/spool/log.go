package spool

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/postern-mail/postern/mail"
)

// ID.log has one line for each mark: the CRC-32C of what follows, in eight hexadecimal digits; a blank; the version; a blank;
// the mark as JSON. A line that is not whole or whose checksum is another is left out, and those behind it are not: each
// says something that is true without the others.

const (
	maxLog   = 64 << 20 // octets of a log that are read
	maxLine  = 1 << 20  // octets of a line
	sumSize  = 8        // octets of the checksum
	largeLog = 1 << 20  // octets of a log that is worth being written anew

	// What a next server has said is kept up to here.
	maxText = 2 << 10
	maxName = 300
)

// Mark notes what has happened to recipients of an entry. When it returns nil and one of the marks is Settled they are on
// disk; else they are written and survive a crash of this process, but perhaps not one of the machine. The error is
// ErrNotFound where there is no such entry.
func (s *Store) Mark(id string, marks ...Mark) error {
	if len(marks) == 0 {
		return nil
	}
	lines, settled, err := s.encodeMarks(marks)
	if err != nil {
		return err
	}
	letGo, err := s.hold(id)
	if err != nil {
		return err
	}
	defer letGo()
	if _, err := s.fs.Stat(s.path(id, messageSuffix)); errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w: %s", ErrNotFound, id)
	} else if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	size, err := s.appendLog(s.path(id, logSuffix), lines, settled)
	if errors.Is(err, errLogFull) {
		if err = s.shrinkLog(id); err == nil {
			size, err = s.appendLog(s.path(id, logSuffix), lines, settled)
		}
	}
	if err == nil && s.tooLarge(id, size) {
		if s.shrinkLog(id) != nil { // the marks are there, and that is what was asked for
			s.setShrunk(id, size)
		}
	}
	if err != nil {
		return fmt.Errorf("spool: mark %s: %w", id, err)
	}
	return nil
}

func (s *Store) encodeMarks(marks []Mark) (lines []byte, settled bool, err error) {
	lines = append(lines, '\n') // ends a line that a crash has torn; a blank one says nothing
	for _, m := range marks {
		settled = settled || m.Settled()
		if m.Time.IsZero() {
			m.Time = s.now()
		}
		m.Reply.Text, m.Cause, m.Server = clip(m.Reply.Text, maxText), clip(m.Cause, maxText), clip(m.Server, maxName)
		line, err := (&note{Mark: m}).encode()
		if err != nil {
			return nil, false, err
		}
		lines = append(lines, line...)
	}
	return lines, settled, nil
}

// clip cuts a text off where a character ends.
func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && s[most]&0xc0 == 0x80 {
		most--
	}
	return s[:most]
}

// note is a line of a log: a mark, or what many marks came to.
type note struct {
	Mark
	Attempts int       `json:"attempts,omitempty"` // so many tries have ended, without what a try that is Tried does
	Last     time.Time `json:"last,omitzero"`      // of the recipients
}

func (n *note) encode() ([]byte, error) {
	data, err := json.Marshal(n)
	if err != nil {
		return nil, fmt.Errorf("spool: mark: %w", err)
	}
	line := make([]byte, sumSize, sumSize+4+len(data))
	line = append(line, ' ')
	line = strconv.AppendInt(line, version, 10)
	line = append(append(line, ' '), data...)
	copy(line, fmt.Sprintf("%08x", checksum(line[sumSize+1:])))
	if len(line) > maxLine {
		return nil, fmt.Errorf("spool: mark: %d octets are too many", len(line))
	}
	return append(line, '\n'), nil
}

// errLogFull says that a log would become larger than one that is read.
var errLogFull = errors.New("the log is full")

// appendLog adds lines, and syncs them and the file's name, which may be new, where durable is set. It tells how large the
// file is.
func (s *Store) appendLog(path string, lines []byte, durable bool) (size int64, err error) {
	f, err := s.fs.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return 0, err
	}
	info, err := f.Stat()
	if err == nil {
		if size = info.Size(); size == 0 {
			lines = lines[1:]
		}
		if size+int64(len(lines)) > maxLog {
			err = errLogFull
		}
	}
	if err == nil {
		var n int
		n, err = f.Write(lines)
		s.account(0, int64(n)) // part of it may be there although there was an error
	}
	if err == nil && durable {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return 0, err
	}
	if durable {
		err = s.names.wait()
	}
	return size + int64(len(lines)), err
}

// apply reads the log of an entry and does to it what the marks say. It tells how many lines were left out.
func (s *Store) apply(id string, e *Entry) (torn int, err error) {
	data, err := s.read(s.path(id, logSuffix), maxLog)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("spool: marks of %s: %w", id, err)
	}
	for len(data) > 0 {
		var line []byte
		line, data, _ = bytes.Cut(data, []byte("\n"))
		if len(line) == 0 {
			continue
		}
		n, err := parseNote(line)
		switch {
		case errors.Is(err, ErrVersion):
			return torn, fmt.Errorf("spool: marks of %s: %w", id, err)
		case err != nil || !n.applyTo(e):
			torn++
		}
	}
	return torn, nil
}

// parseNote reads a line. The error is ErrDamaged, or ErrVersion for one that is whole and of a newer version.
func parseNote(line []byte) (note, error) {
	var n note
	if len(line) < sumSize+1 || line[sumSize] != ' ' {
		return n, fmt.Errorf("%w: no mark", ErrDamaged)
	}
	text := line[sumSize+1:]
	if string(line[:sumSize]) != fmt.Sprintf("%08x", checksum(text)) {
		return n, fmt.Errorf("%w: a mark's checksum", ErrDamaged)
	}
	number, text, _ := bytes.Cut(text, []byte(" "))
	v, err := strconv.ParseUint(string(number), 10, 32)
	if err != nil {
		return n, fmt.Errorf("%w: a mark's version", ErrDamaged)
	}
	if err := checkNumber(uint32(v)); err != nil {
		return n, err
	}
	if err := json.Unmarshal(text, &n); err != nil {
		return n, fmt.Errorf("%w: a mark: %w", ErrDamaged, err)
	}
	return n, nil
}

// Apply does to an entry what marks say, as Load does with those that are on disk.
func (e *Entry) Apply(marks ...Mark) {
	for _, m := range marks {
		(&note{Mark: m}).applyTo(e)
	}
}

// applyTo does to an entry what the note says, and reports whether it speaks of the entry at all.
func (n *note) applyTo(e *Entry) bool {
	if n.Group < 0 || n.Group >= len(e.Groups) {
		return false
	}
	g := &e.Groups[n.Group]
	for _, i := range n.To {
		if i < 0 || i >= len(g.To) {
			return false
		}
	}
	if n.Tried && !n.Next.IsZero() {
		g.Attempts++
	}
	g.Attempts += max(0, n.Attempts)
	if !n.Next.IsZero() {
		g.Next = n.Next
	}
	g.Warned = g.Warned || n.Warned
	if n.Held != nil {
		g.Held = *n.Held
	}
	for _, i := range n.To {
		n.applyToRecipient(&g.To[i])
	}
	return true
}

func (n *note) applyToRecipient(r *Recipient) {
	if r.State != Waiting {
		return // what is final was first
	}
	r.State = n.State
	if n.Tried {
		r.Last = n.Time
	} else if !n.Last.IsZero() {
		r.Last = n.Last
	}
	if n.Tried || n.Reply != (mail.Reply{}) || n.Server != "" || n.Cause != "" {
		r.Reply, r.Server, r.Cause = n.Reply, n.Server, n.Cause
	}
}
