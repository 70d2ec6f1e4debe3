package spool

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/postern-mail/postern/mail"
)

// ID.log has one line for each mark: the CRC-32C of what follows, in eight hexadecimal digits; a blank; the version; a blank;
// the mark as JSON. A line that is not whole or whose checksum is another is left out, and those behind it are not: each
// says something that is true without the others.

const (
	maxLog  = 8 << 20 // octets of a log that are read
	maxLine = 1 << 20 // octets of a line
	sumSize = 8       // octets of the checksum

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
	if err := s.appendLog(s.path(id, logSuffix), lines, settled); err != nil {
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
		line, err := encodeMark(&m)
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

func encodeMark(m *Mark) ([]byte, error) {
	data, err := json.Marshal(m)
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

// appendLog adds lines, and syncs them and the name of a new file where durable is set.
func (s *Store) appendLog(path string, lines []byte, durable bool) error {
	f, err := s.fs.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil {
		if info.Size() == 0 {
			lines = lines[1:]
		}
		_, err = f.Write(lines)
	}
	if err == nil && durable {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	s.account(0, int64(len(lines)))
	if durable {
		return s.names.wait()
	}
	return nil
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
		m, err := parseMark(line)
		switch {
		case errors.Is(err, ErrVersion):
			return torn, fmt.Errorf("spool: marks of %s: %w", id, err)
		case err != nil || !m.applyTo(e):
			torn++
		}
	}
	return torn, nil
}

// parseMark reads a line. The error is ErrDamaged, or ErrVersion for one that is whole and of a newer version.
func parseMark(line []byte) (Mark, error) {
	var m Mark
	if len(line) < sumSize+1 || line[sumSize] != ' ' {
		return m, fmt.Errorf("%w: no mark", ErrDamaged)
	}
	text := line[sumSize+1:]
	if string(line[:sumSize]) != fmt.Sprintf("%08x", checksum(text)) {
		return m, fmt.Errorf("%w: a mark's checksum", ErrDamaged)
	}
	number, text, _ := bytes.Cut(text, []byte(" "))
	if v, err := strconv.Atoi(string(number)); err != nil || v < 1 {
		return m, fmt.Errorf("%w: a mark's version", ErrDamaged)
	} else if v > version {
		return m, fmt.Errorf("%w: version %d, this one knows %d", ErrVersion, v, version)
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return m, fmt.Errorf("%w: a mark: %w", ErrDamaged, err)
	}
	return m, nil
}

// applyTo does to an entry what the mark says, and reports whether it speaks of the entry at all.
func (m *Mark) applyTo(e *Entry) bool {
	if m.Group < 0 || m.Group >= len(e.Groups) {
		return false
	}
	g := &e.Groups[m.Group]
	for _, i := range m.To {
		if i < 0 || i >= len(g.To) {
			return false
		}
	}
	if m.Tried {
		g.Attempts++
	}
	if !m.Next.IsZero() {
		g.Next = m.Next
	}
	g.Warned = g.Warned || m.Warned
	if m.Held != nil {
		g.Held = *m.Held
	}
	for _, i := range m.To {
		m.applyToRecipient(&g.To[i])
	}
	return true
}

func (m *Mark) applyToRecipient(r *Recipient) {
	if r.State != Waiting {
		return // what is final was first
	}
	r.State = m.State
	if m.Tried {
		r.Last = m.Time
	}
	if m.Tried || m.Reply != (mail.Reply{}) || m.Server != "" || m.Cause != "" {
		r.Reply, r.Server, r.Cause = m.Reply, m.Server, m.Cause
	}
}
