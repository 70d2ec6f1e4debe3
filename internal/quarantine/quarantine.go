// Package quarantine keeps mail that was held, and originals of mail that was changed, as plain files:
// synced before the reply, found again by id, released at most once. It knows neither filters nor SMTP.
package quarantine

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/postern-mail/postern/internal/store"
	"github.com/postern-mail/postern/mail"
)

// Errors that callers tell apart.
var (
	ErrFull     = errors.New("quarantine: full")
	ErrNotFound = errors.New("quarantine: no such entry")
	ErrReleased = errors.New("quarantine: already released")
	ErrBusy     = errors.New("quarantine: another process works on this entry")
	ErrID       = errors.New("quarantine: malformed id")
	ErrVersion  = errors.New("quarantine: written by a newer version of Postern")
)

// The kinds of entries.
const (
	Held     = "quarantine" // held by a verdict
	Original = "original"   // as it came, before it was changed
)

// Entry is the record of one message.
type Entry struct {
	Version    int             `json:"version"`
	ID         string          `json:"id"`
	Time       time.Time       `json:"time"`
	Node       string          `json:"node,omitempty"`
	Kind       string          `json:"kind"`
	Client     string          `json:"client,omitempty"`
	Helo       string          `json:"helo,omitempty"`
	From       string          `json:"from"` // reverse-path, "" for the null one
	To         []string        `json:"to"`
	Route      string          `json:"route,omitempty"`
	Upstream   string          `json:"upstream,omitempty"`
	Policy     string          `json:"policy,omitempty"`
	Size       int64           `json:"size"`   // octets; set by Keep
	SHA256     string          `json:"sha256"` // of the content, hex; set by Keep
	MessageID  string          `json:"message_id,omitempty"`
	Subject    string          `json:"subject,omitempty"`
	Action     string          `json:"action,omitempty"`
	Because    string          `json:"because,omitempty"`
	Score      float64         `json:"score"`
	SMTPUTF8   bool            `json:"smtputf8,omitempty"`
	Body8Bit   bool            `json:"body8bit,omitempty"`
	Findings   []Finding       `json:"findings,omitempty"`
	Filters    []FilterRun     `json:"filters,omitempty"`
	Edits      []string        `json:"edits,omitempty"`
	Parts      json.RawMessage `json:"parts,omitempty"`
	Released   *time.Time      `json:"released,omitempty"`
	ReleasedTo string          `json:"released_to,omitempty"`
}

// Finding is one thing that a filter found.
type Finding struct {
	Filter   string  `json:"filter"`
	Symbol   string  `json:"symbol,omitempty"`
	Strength float64 `json:"strength,omitempty"`
	Score    float64 `json:"score"`
	Detail   string  `json:"detail,omitempty"`
	Observed bool    `json:"observed,omitempty"`
}

// FilterRun is one run of one filter.
type FilterRun struct {
	Filter  string  `json:"filter"`
	Phase   string  `json:"phase,omitempty"`
	Outcome string  `json:"outcome"`
	Error   string  `json:"error,omitempty"`
	MS      float64 `json:"ms"` // milliseconds
}

// Options bound a store. Zero values of Keep and Size bound nothing.
type Options struct {
	Keep time.Duration    // age at which Sweep removes entries
	Size int64            // octets of contents and records together
	FS   store.FS         // nil: store.OS
	Now  func() time.Time // nil: time.Now
}

// Usage is what a store holds.
type Usage struct {
	Messages int
	Octets   int64
	Damaged  int
	// What this process did since it opened the store.
	Kept, Full, Released, Removed, Expired int64
}

// Store is a quarantine folder. Several processes may use one folder at once.
type Store struct{ o Options }

// Open makes the folder where it is missing and reads what is there.
func Open(dir string, o Options) (*Store, error) { return &Store{o: o}, nil }

// Keep stores a message, synced when it returns nil. It does not take over the caller's reference.
func (s *Store) Keep(ctx context.Context, e Entry, b *mail.Blob) error { return errors.ErrUnsupported }

// List gives the entries, oldest first.
func (s *Store) List() ([]Entry, error) { return nil, nil }

// Get gives one entry.
func (s *Store) Get(id string) (Entry, error) { return Entry{}, ErrNotFound }

// Content opens the message of an entry.
func (s *Store) Content(id string) (io.ReadCloser, error) { return nil, ErrNotFound }

// Release hands an entry to deliver, exactly once.
func (s *Store) Release(ctx context.Context, id string, deliver func(Entry, *mail.Blob) error) error {
	return ErrNotFound
}

// Remove removes an entry.
func (s *Store) Remove(id string) error { return ErrNotFound }

// Sweep removes what is older than Keep and what crashes left behind, and tells how many entries went.
func (s *Store) Sweep(now time.Time) (int, error) { return 0, nil }

// Usage tells what the store holds.
func (s *Store) Usage() Usage { return Usage{} }
