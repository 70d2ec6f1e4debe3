package filter

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"time"
)

// State is what the gateway remembers from one session to the next, and over restarts: small records of numbers, in
// tables. It is a convenience. It answers at once, from memory; it has forgotten what expired, what had to give way to
// newer records, and perhaps the last seconds before a crash. Whoever uses it must do without.
type State interface {
	// Table gives the table of that name, which is made where there is none; of one that is there the options are
	// changed. A name is words of a-z, 0-9, . _ - with slashes between them; a filter's tables begin with Env.Name, so
	// that those of two stages are not mixed up.
	Table(name string, o TableOptions) Table
	// Flush returns when all that was updated before is in the file, or could not be written: for the rare record whose
	// loss in a crash would harm somebody. It takes a disk's time.
	Flush(ctx context.Context) error
}

// TableOptions bound a table.
type TableOptions struct {
	Most int // records, about; one more makes that give way which was updated longest ago. 0 is 100 000.
	// Fresh is the age up to which no record gives way: a table full of such takes no new one (ErrTableFull), so that
	// a flood makes the table useless for newcomers and leaves the others alone.
	Fresh time.Duration
	// Lazy is for counters, which change with each message and lose little in a crash: they are written twice a minute,
	// others every other second.
	Lazy bool
}

// Table is one table of a State. It is safe for concurrent use.
type Table interface {
	// Get gives the record of a key, if there is one that has not expired.
	Get(key Digest) (Record, bool)
	// Update puts what change makes of the record in its place, and gives that. Nobody else reads or changes the record
	// meanwhile; change must be quick and must not use the State. known is false where there is no record, or an
	// expired one. A result that has expired removes the record. The error is ErrTableFull, and then nothing is kept.
	Update(key Digest, change func(r Record, known bool) Record) (Record, error)
}

// ErrTableFull says that a table is full of records that are too young to give way to a new one.
var ErrTableFull = errors.New("filter: the table is full of fresh records")

// Record is what a table has under a key. What the numbers mean is the owner's matter. Times are kept to the
// microsecond; the zero Time is kept as such.
type Record struct {
	First   time.Time
	Last    time.Time
	Count   int64
	Expires time.Time // from then on the record is not there any more; it must be set
}

// Digest names a record. What it was made of can't be read from it: no table holds an address.
type Digest [16]byte

// DigestOf makes the name of a record from texts: of the same texts in the same order the same, of any others another
// one.
func DigestOf(texts ...string) Digest {
	var room [512]byte
	b := room[:0]
	for _, s := range texts {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	sum := sha256.Sum256(b)
	return Digest(sum[:16])
}

// NoState is a State that remembers nothing: its tables are empty, and full. It serves where one message is looked at
// and no other will follow.
type NoState struct{}

// Table implements State.
func (NoState) Table(string, TableOptions) Table { return noTable{} }

// Flush implements State.
func (NoState) Flush(context.Context) error { return nil }

type noTable struct{}

// Get implements Table.
func (noTable) Get(Digest) (Record, bool) { return Record{}, false }

// Update implements Table.
func (noTable) Update(Digest, func(Record, bool) Record) (Record, error) {
	return Record{}, ErrTableFull
}
