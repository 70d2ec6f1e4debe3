package quarantine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/postern-mail/postern/internal/store"
	"github.com/postern-mail/postern/mail"
)

// relook is the least time between two sweeps for want of room: a full store must not make each message
// cost a look at the whole folder.
const relook = 10 * time.Second

// Keep stores a message and gives the id under which it is held. When the error is nil the entry is on disk
// and synced; when it is not the entry is not there, or whole. ErrFull means that the bound on size leaves no
// room, also without what has expired. Keep does not take over the caller's reference of b.
//
// A sender that was told to come back sends the same message again and again. A Held one whose content,
// reverse-path and recipients are those of an entry that this process kept, and that is still there, is not
// stored anew: the id is that entry's.
func (s *Store) Keep(ctx context.Context, e Entry, b *mail.Blob) (id string, err error) {
	if err := checkID(e.ID); err != nil {
		return "", err
	}
	if err := ctx.Err(); err != nil {
		return "", fmt.Errorf("quarantine: %w", err)
	}
	if e.SHA256, err = digest(b); err != nil {
		return "", fmt.Errorf("quarantine: content of %s: %w", e.ID, err)
	}
	if id := s.heldAs(e); id != "" {
		return id, nil
	}
	if err := s.store(ctx, e, b); err != nil {
		return "", err
	}
	if e.Kind == Held {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.known.add(keyOf(e), e.ID)
	}
	return e.ID, nil
}

// store is Keep for a message that is not held yet.
func (s *Store) store(ctx context.Context, e Entry, b *mail.Blob) error {
	e.Version, e.Size, e.Released, e.ReleasedTo = version, b.Size(), nil, ""
	if e.Time.IsZero() {
		e.Time = s.o.Now()
	}
	if e.To == nil {
		e.To = []string{}
	}
	record, err := encode(e)
	if err != nil {
		return err
	}
	need := b.Size() + int64(len(record))
	if !s.reserve(need) {
		if err := s.makeRoom(need); err != nil {
			return err
		}
	}
	s.folder.RLock()
	defer s.folder.RUnlock()
	err = s.keep(ctx, e, b)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reserved -= need
	if err != nil {
		return err
	}
	s.usage.Octets += need
	s.usage.Messages++
	s.usage.Kept++
	return nil
}

func (s *Store) reserve(need int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if size := s.size.Load(); size > 0 && s.usage.Octets+s.reserved+need > size {
		return false
	}
	s.reserved += need
	return true
}

// makeRoom sweeps what has expired, unless that was done just now, and reserves need or says ErrFull.
func (s *Store) makeRoom(need int64) error {
	now := s.o.Now()
	s.mu.Lock()
	due := now.Sub(s.looked) >= relook || now.Before(s.looked)
	if due {
		s.looked = now
	}
	s.mu.Unlock()
	if due {
		if _, err := s.Sweep(now); err != nil {
			return err
		}
	}
	if s.reserve(need) {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.usage.Full++
	return fmt.Errorf("%w: %d octets of %d are in use, %d are needed", ErrFull, s.usage.Octets+s.reserved, s.size.Load(), need)
}

// keep writes the content, then the record: content that is durable, and only then the record that says
// so.
func (s *Store) keep(ctx context.Context, e Entry, b *mail.Blob) error {
	for _, suffix := range []string{recordSuffix, contentSuffix} {
		if _, err := s.o.FS.Stat(s.path(e.ID, suffix)); err == nil {
			return fmt.Errorf("%w: %s", ErrExists, e.ID)
		} else if !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("quarantine: %w", err)
		}
	}
	content := s.path(e.ID, contentSuffix)
	err := store.WriteFile(s.o.FS, content+tmpSuffix, content, 0o600, func(w io.Writer) error {
		n, err := io.Copy(w, b.Section(0, b.Size()))
		if err == nil && n != b.Size() {
			err = io.ErrUnexpectedEOF
		}
		return err
	})
	if err == nil {
		err = ctx.Err() // the client may be gone: before the commit point, not after
	}
	if err == nil {
		err = s.writeRecord(e)
	}
	switch {
	case errors.Is(err, os.ErrExist):
		return fmt.Errorf("%w: %s", ErrExists, e.ID) // somebody else's files
	case err != nil:
		return fmt.Errorf("quarantine: %w", errors.Join(err, s.drop(e.ID)))
	}
	return nil
}

// drop removes what a failed Keep has left; what can't be removed now, Sweep removes. The record may stand
// already, not synced: it must be gone for good before its content goes.
func (s *Store) drop(id string) error {
	err := s.o.FS.Remove(s.path(id, recordSuffix))
	if err == nil {
		err = s.o.FS.SyncDir(s.dir)
	} else if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	if err == nil {
		if err = s.o.FS.Remove(s.path(id, contentSuffix)); errors.Is(err, os.ErrNotExist) {
			err = nil
		}
	}
	return err
}

// largeRecord is the size from which on a record leaves out what a hostile message can make large. It is far
// below maxRecord: what is kept must be readable.
const largeRecord = 4 << 20

// encode gives the octets of a record.
func encode(e Entry) ([]byte, error) {
	data, err := marshal(e)
	if err == nil && len(data) > largeRecord {
		const most = 100
		e.Parts, e.Findings, e.Edits = nil, e.Findings[:min(len(e.Findings), most)], e.Edits[:min(len(e.Edits), most)]
		e.Trimmed = true
		if data, err = marshal(e); err == nil && len(data) > maxRecord {
			err = fmt.Errorf("%d octets are too many", len(data))
		}
	}
	if err != nil {
		return nil, fmt.Errorf("quarantine: record of %s: %w", e.ID, err)
	}
	return data, nil
}

func marshal(e Entry) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(e)
	return b.Bytes(), err
}

func (s *Store) writeRecord(e Entry) error {
	data, err := encode(e)
	if err != nil {
		return err
	}
	path := s.path(e.ID, recordSuffix)
	return s.write(path+tmpSuffix, path, data)
}

func (s *Store) write(tmp, path string, data []byte) error {
	return store.WriteFile(s.o.FS, tmp, path, 0o600, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// read gives a small file whole; one of more than most octets is an error.
func (r *Reader) read(path string, most int64) ([]byte, error) {
	f, err := r.fs.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if int64(len(data)) > most {
		return nil, fmt.Errorf("%w: %s has more than %d octets", ErrDamaged, path, most)
	}
	return data, nil
}
