package quarantine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/postern-mail/postern/internal/store"
	"github.com/postern-mail/postern/mail"
)

// Release hands an entry to deliver, once in the life of the entry.
//
// Two processes can't do so at once: the content file is locked meanwhile (ErrBusy). A crash can't make
// two deliveries of it either: before deliver is called a claim is put beside the entry, and synced; it
// goes when deliver has failed, or when the record, with the time of the release, is synced. Who finds a
// claim that nobody holds can't know whether the message was delivered, and neither can any protocol tell
// (RFC 1047): the release is refused with ErrInDoubt until somebody has looked and calls Settle.
//
// If deliver fails, the entry is as it was, and Release gives deliver's error; if that error is an
// ErrInDoubt (the connection was lost after the final dot), the claim stays. Content that is not what was
// kept is never delivered: ErrDamaged.
func (s *Store) Release(ctx context.Context, id string, deliver func(Entry, *mail.Blob) error) error {
	return s.ReleaseTo(ctx, id, "", deliver)
}

// ReleaseTo is Release, and notes in the record to whom the message went: to, or the entry's own recipients
// where it is empty.
func (s *Store) ReleaseTo(ctx context.Context, id, to string, deliver func(Entry, *mail.Blob) error) error {
	if err := checkID(id); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("quarantine: %w", err)
	}
	e, f, err := s.lock(id)
	if err != nil {
		return err
	}
	defer f.Close()
	switch {
	case e.Released != nil:
		return fmt.Errorf("%w: %s, %s", ErrReleased, id, e.Released.Format(time.RFC3339))
	case e.InDoubt:
		return fmt.Errorf("%w: %s", ErrInDoubt, id)
	}
	b, err := s.blob(e, f)
	if err != nil {
		return err
	}
	defer b.Release()
	if err := s.claim(id, to); err != nil {
		return err
	}
	if err := deliver(e, b); err != nil {
		if errors.Is(err, ErrInDoubt) {
			return err
		}
		return errors.Join(err, s.unclaim(id))
	}
	return s.settle(e, to)
}

// Settle ends the doubt about an entry whose release was cut short: it was delivered, or it was not and may
// be released again.
func (s *Store) Settle(id string, delivered bool) error {
	if err := checkID(id); err != nil {
		return err
	}
	e, f, err := s.lock(id)
	if err != nil {
		return err
	}
	defer f.Close()
	switch {
	case e.Released != nil:
		return fmt.Errorf("%w: %s", ErrReleased, id)
	case !e.InDoubt:
		return nil
	case delivered:
		return s.settle(e, s.claimedFor(id))
	}
	return s.unclaim(id)
}

// lock takes an entry for this process, and reads its record while it has it. Closing the file lets go.
func (s *Store) lock(id string) (Entry, store.File, error) {
	if _, err := s.Get(id); err != nil {
		return Entry{}, nil, err
	}
	f, err := s.o.FS.OpenFile(s.path(id, contentSuffix), os.O_RDONLY, 0)
	if err != nil {
		return Entry{}, nil, fmt.Errorf("%w: content of %s: %w", ErrDamaged, id, err)
	}
	free, err := store.TryLock(f)
	if err == nil && !free {
		err = fmt.Errorf("%w: %s", ErrBusy, id)
	}
	var e Entry
	if err == nil {
		e, err = s.Get(id) // as it is now: who had the lock before may have changed or removed it
	}
	if err != nil {
		return Entry{}, nil, errors.Join(err, f.Close())
	}
	return e, f, nil
}

// blob reads the content, and makes sure that it is what was kept.
func (s *Store) blob(e Entry, f store.File) (*mail.Blob, error) {
	limits := mail.IngestOptions{Limit: e.Size + 1}
	if s.o.FS == store.OS {
		limits.Dir = s.dir
	}
	in := mail.NewIngest(limits)
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(in, sum), io.LimitReader(f, e.Size+1))
	if err != nil {
		in.Abort()
		return nil, fmt.Errorf("quarantine: content of %s: %w", e.ID, err)
	}
	if n != e.Size || hex.EncodeToString(sum.Sum(nil)) != e.SHA256 {
		in.Abort()
		return nil, fmt.Errorf("%w: the content of %s is not what was kept", ErrDamaged, e.ID)
	}
	b, _, err := in.Blob()
	if err != nil {
		return nil, fmt.Errorf("quarantine: content of %s: %w", e.ID, err)
	}
	if b.Size() != e.Size {
		b.Release()
		return nil, fmt.Errorf("%w: the content of %s is not canonical", ErrDamaged, e.ID)
	}
	return b, nil
}

// claim notes that a release begins: when, by which process, and to whom.
func (s *Store) claim(id, to string) error {
	path := s.path(id, claimSuffix)
	var text bytes.Buffer
	fmt.Fprintf(&text, "%s %d %s\n", s.o.Now().UTC().Format(time.RFC3339), os.Getpid(), to)
	// What a crash has left of an earlier claim, not yet whole, is of no more use: the lock is ours.
	if err := s.o.FS.Remove(path + tmpSuffix); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("quarantine: %w", err)
	}
	if err := s.write(path+tmpSuffix, path, text.Bytes()); err != nil {
		return fmt.Errorf("quarantine: claim of %s: %w", id, errors.Join(err, s.unclaim(id)))
	}
	return nil
}

// claimedFor gives to whom the release goes that an entry's claim is of; "" for its own recipients.
func (s *Store) claimedFor(id string) string {
	data, err := s.read(s.path(id, claimSuffix), maxRecord)
	if words := strings.SplitN(string(data), " ", 3); err == nil && len(words) == 3 {
		return strings.TrimSpace(words[2])
	}
	return ""
}

func (s *Store) unclaim(id string) error {
	err := s.o.FS.Remove(s.path(id, claimSuffix))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = s.o.FS.SyncDir(s.dir)
	}
	if err != nil {
		return fmt.Errorf("quarantine: claim of %s: %w", id, err)
	}
	return nil
}

// settle writes that the entry was delivered, and then removes the claim. Where that fails the claim stays:
// the entry is in doubt, and is not delivered again.
func (s *Store) settle(e Entry, to string) error {
	now := s.o.Now()
	if to == "" {
		to = strings.Join(e.To, ", ")
	}
	e.Released, e.ReleasedTo = &now, to
	tmp := s.path(e.ID, recordSuffix) + tmpSuffix
	if err := s.o.FS.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("quarantine: %s was delivered, and that could not be noted: %w", e.ID, err)
	}
	if err := s.writeRecord(e); err != nil {
		return fmt.Errorf("quarantine: %s was delivered, and that could not be noted: %w", e.ID, err)
	}
	_ = s.unclaim(e.ID) // beside a record that says released it says nothing more
	return nil
}
