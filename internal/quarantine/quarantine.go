// Package quarantine keeps mail that was held, and originals of mail that was changed, as plain files:
// synced before the reply, found again by id, released at most once. It knows neither filters nor SMTP.
//
// An entry is two files: ID.eml, the content as it came, and ID.json, the record. The record is written
// last and removed first: it is the commit point, and content without one is a leftover of a crash. A
// third file, ID.claim, stands while a release is on its way, see Release. Several processes may use one
// folder at once.
package quarantine

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postern-mail/postern/internal/store"
)

// Errors that callers tell apart.
var (
	ErrFull     = errors.New("quarantine: full")
	ErrNotFound = errors.New("quarantine: no such entry")
	ErrExists   = errors.New("quarantine: the id is taken")
	ErrReleased = errors.New("quarantine: already released")
	ErrBusy     = errors.New("quarantine: another process works on this entry")
	ErrInDoubt  = errors.New("quarantine: a release of this entry was cut short, and whether it was delivered is not known")
	ErrID       = errors.New("quarantine: malformed id")
	ErrDamaged  = errors.New("quarantine: damaged")
	ErrVersion  = errors.New("quarantine: written by a newer version of Postern")
)

// version is that of the folder's layout and of the records.
const version = 1

// The kinds of entries.
const (
	Held     = "quarantine" // held by a verdict
	Original = "original"   // as it came, before it was changed

	// Undeliverable is what was acknowledged and then given up, where its sender can't be told.
	Undeliverable = "undeliverable"
)

// Entry is the record of one message.
type Entry struct {
	Version    int             `json:"version"` // set by Keep
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
	Relay      bool            `json:"relay,omitempty"` // of a client that may relay: it is signed when it leaves
	SMTPUTF8   bool            `json:"smtputf8,omitempty"`
	Body8Bit   bool            `json:"body8bit,omitempty"`
	Findings   []Finding       `json:"findings,omitempty"`
	Filters    []FilterRun     `json:"filters,omitempty"`
	Edits      []string        `json:"edits,omitempty"`
	Parts      json.RawMessage `json:"parts,omitempty"`
	Trimmed    bool            `json:"trimmed,omitempty"` // parts, and more than a hundred findings and edits, were left out for their size
	Released   *time.Time      `json:"released,omitempty"`
	ReleasedTo string          `json:"released_to,omitempty"`

	// InDoubt says that a release began and has not ended. It is not part of the record.
	InDoubt bool `json:"-"`
}

// Finding is one thing that a filter found.
type Finding struct {
	Filter   string  `json:"filter"`
	Symbol   string  `json:"symbol,omitempty"`
	Strength float64 `json:"strength,omitempty"`
	Score    float64 `json:"score"`
	Detail   string  `json:"detail,omitempty"`
	Observed bool    `json:"observed,omitempty"`
	Waived   bool    `json:"waived,omitempty"`
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

// Usage is what a store holds, and what this process did to it since it opened it.
type Usage struct {
	Messages int
	Octets   int64
	Damaged  int // records that can't be read, as of the last look at the whole folder

	Kept, Full, Removed, Expired int64
}

// Reader reads a quarantine folder, and changes nothing. It is safe for concurrent use.
type Reader struct {
	dir string
	fs  store.FS
}

// OpenExisting opens a folder to read it, for which it takes no more than the permission to. A folder that is
// missing holds nothing, and is not made. One of a newer version is refused with ErrVersion.
func OpenExisting(dir string, o Options) (*Reader, error) {
	if o.FS == nil {
		o.FS = store.OS
	}
	r := &Reader{dir: dir, fs: o.FS}
	data, err := r.read(r.versionPath(), maxVersion)
	switch {
	case err == nil:
		err = checkVersion(data)
	case errors.Is(err, os.ErrNotExist): // not made yet, or not to its end
		err = nil
	default:
		err = fmt.Errorf("quarantine: %w", err)
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Store is a quarantine folder. It is safe for concurrent use.
type Store struct {
	Reader
	o Options // Keep and Size as they were at first

	keepFor atomic.Int64 // nanoseconds
	size    atomic.Int64 // octets

	// folder is held for reading by what adds or removes an entry and accounts for it, for writing by
	// what counts the folder anew.
	folder sync.RWMutex

	mu       sync.Mutex
	usage    Usage
	reserved int64     // octets of contents that are being written
	looked   time.Time // when the folder was swept for want of room
	known    known
}

// Open makes the folder where it is missing and counts what is there. A folder of a newer version is
// refused with ErrVersion.
func Open(dir string, o Options) (*Store, error) {
	if o.FS == nil {
		o.FS = store.OS
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Store{Reader: Reader{dir: dir, fs: o.FS}, o: o}
	s.Bound(o.Keep, o.Size)
	if err := s.prepare(); err != nil {
		return nil, err
	}
	if _, err := s.look(); err != nil {
		return nil, err
	}
	return s, nil
}

// Bound changes how long entries are kept and how many octets there may be; zero values bound nothing. It
// removes nothing by itself.
func (s *Store) Bound(keep time.Duration, size int64) {
	s.keepFor.Store(int64(keep))
	s.size.Store(size)
}

// prepare makes the folder and its version file, or checks it.
func (s *Store) prepare() error {
	path := s.versionPath()
	data, err := s.read(path, maxVersion)
	switch {
	case err == nil:
		return checkVersion(data)
	case !errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("quarantine: %w", err)
	}
	if err := s.o.FS.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("quarantine: %w", err)
	}
	// The folder above may be new as well; the one above that need not be ours to open.
	err = s.o.FS.SyncDir(filepath.Dir(s.dir))
	if above := s.o.FS.SyncDir(filepath.Dir(filepath.Dir(s.dir))); !errors.Is(above, os.ErrPermission) {
		err = errors.Join(err, above)
	}
	if err != nil {
		return fmt.Errorf("quarantine: %w", err)
	}
	// Two processes may do this at once, with names of their own for what is not yet whole.
	tmp := filepath.Join(s.dir, fmt.Sprintf("version-%d-%d%s", os.Getpid(), s.o.Now().UnixNano(), tmpSuffix))
	if err := s.write(tmp, path, []byte(fmt.Sprintf("%d\n", version))); err != nil {
		return fmt.Errorf("quarantine: %w", err)
	}
	return nil
}

func checkVersion(data []byte) error {
	var v int
	if _, err := fmt.Sscanf(string(data), "%d\n", &v); err != nil || v < 1 {
		return fmt.Errorf("%w: the version file says %q", ErrDamaged, data)
	}
	if v > version {
		return fmt.Errorf("%w: version %d, this one knows %d", ErrVersion, v, version)
	}
	return nil
}

const (
	contentSuffix = ".eml"
	recordSuffix  = ".json"
	claimSuffix   = ".claim"
	tmpSuffix     = ".tmp"
)

func (r *Reader) path(id, suffix string) string { return filepath.Join(r.dir, id+suffix) }

func (r *Reader) versionPath() string { return filepath.Join(r.dir, "version") }

// maxVersion bounds what is read of the version file.
const maxVersion = 64

// maxID is the length of the longest id, as the file systems' limit for names wants it.
const maxID = 100

// checkID lets ids be names of files, and nothing else.
func checkID(id string) error {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	if id == "" || len(id) > maxID || strings.Trim(id, letters+"-_") != "" || !strings.ContainsRune(letters, rune(id[0])) || id == "version" {
		return ErrID
	}
	return nil
}

// Usage tells what the store holds. It asks no disk: what other processes did is known since the last
// Sweep.
func (s *Store) Usage() Usage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.usage
}
