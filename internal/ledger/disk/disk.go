// Package disk keeps a ledger's records in an SQLite database: the one room that knows SQLite. It keeps no record in
// memory and decides nothing.
//
// The database has one connection, which holds the file's lock as long as it is open (locking_mode=EXCLUSIVE): another
// process that opens the same file is told that it is busy, and there is no shared memory beside it. A commit is in the
// write-ahead log and not synced (synchronous=NORMAL): after a crash of the machine the last commits may be missing, and
// the rest is whole.
package disk

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"slices"

	"modernc.org/sqlite"

	"github.com/postern-mail/postern/internal/ledger"
)

// version is that of the schema, in the file's user_version.
const version = 1

// application marks the file as ours, in its application_id: "PsLg".
const application = 0x50734c67

// surroundings are the primary result codes of SQLite that speak of what is around the file: permissions, locks, the
// disk, memory. Whatever else it complains of is the file, since our statements are right.
var surroundings = []int{
	3 /* PERM */, 5 /* BUSY */, 6 /* LOCKED */, 7 /* NOMEM */, 8 /* READONLY */, 9 /* INTERRUPT */, 10, /* IOERR */
	13 /* FULL */, 14 /* CANTOPEN */, 15 /* PROTOCOL */, 22 /* NOLFS */, 23, /* AUTH */
}

// damagedSuffix is put behind the name of a damaged file; one that was set aside before makes room.
const damagedSuffix = ".damaged"

// File implements ledger.File.
type File struct {
	path   string
	db     *sql.DB
	conn   *sql.Conn
	put    *sql.Stmt
	remove *sql.Stmt
	tables map[string]int64 // by name
}

var _ ledger.File = (*File)(nil)

// New makes the File for a path; nothing is opened.
func New(path string) *File { return &File{path: path} }

// Name implements ledger.File.
func (f *File) Name() string { return f.path }

// Open implements ledger.File.
func (f *File) Open() error {
	if f.db != nil {
		return errors.New("disk: open already")
	}
	if err := f.open(); err != nil {
		return errors.Join(failure("open", err), f.Close())
	}
	return nil
}

func (f *File) open() error {
	// SQLite would let everybody read it.
	file, err := os.OpenFile(f.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file", f.path)
	}
	if f.db, err = sql.Open("sqlite", (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: f.path}).EscapedPath()}).String()); err != nil {
		return err
	}
	f.db.SetMaxOpenConns(1)
	if f.conn, err = f.db.Conn(context.Background()); err != nil {
		return err
	}
	if err := f.exec("PRAGMA busy_timeout=2000", "PRAGMA locking_mode=EXCLUSIVE"); err != nil {
		return err
	}
	if err := f.check(); err != nil {
		return err
	}
	return f.prepare()
}

// check looks whether the file is a ledger, and of a version that is known. An empty one is.
func (f *File) check() error {
	var id, v, objects int64
	for query, to := range map[string]*int64{
		"PRAGMA application_id": &id, "PRAGMA user_version": &v, "SELECT count(*) FROM sqlite_schema": &objects,
	} {
		if err := f.conn.QueryRowContext(context.Background(), query).Scan(to); err != nil {
			return err
		}
	}
	switch {
	case id == 0 && v == 0 && objects == 0:
		return nil
	case id != application:
		return fmt.Errorf("%w: the file is no ledger", ledger.ErrDamaged)
	case v > version:
		return fmt.Errorf("%w: version %d, this one knows %d", ledger.ErrVersion, v, version)
	}
	return nil
}

// prepare makes what is missing, and reads the names of the tables.
func (f *File) prepare() error {
	if err := f.exec("PRAGMA journal_mode=WAL", "PRAGMA synchronous=NORMAL", "PRAGMA temp_store=MEMORY",
		"PRAGMA journal_size_limit=16777216", "BEGIN EXCLUSIVE",
		"CREATE TABLE IF NOT EXISTS tables (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
		// Rows are found by number: the memory knows which is whose, and an index of keys would cost a page for each write.
		"CREATE TABLE IF NOT EXISTS records (id INTEGER PRIMARY KEY, tab INTEGER NOT NULL, key BLOB NOT NULL, first INTEGER NOT NULL, "+
			"last INTEGER NOT NULL, count INTEGER NOT NULL, expires INTEGER NOT NULL, updated INTEGER NOT NULL)",
		fmt.Sprintf("PRAGMA application_id=%d", application), fmt.Sprintf("PRAGMA user_version=%d", version), "COMMIT"); err != nil {
		return err
	}
	f.tables = map[string]int64{}
	ctx := context.Background()
	rows, err := f.conn.QueryContext(ctx, "SELECT id, name FROM tables")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		var name string
		if err := rows.Scan(&id, &name); err != nil {
			return err
		}
		f.tables[name] = id
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	if f.put, err = f.conn.PrepareContext(ctx, "INSERT OR REPLACE INTO records VALUES (?,?,?,?,?,?,?,?)"); err != nil {
		return err
	}
	f.remove, err = f.conn.PrepareContext(ctx, "DELETE FROM records WHERE id=?")
	return err
}

func (f *File) exec(statements ...string) error {
	for _, s := range statements {
		if _, err := f.conn.ExecContext(context.Background(), s); err != nil {
			return fmt.Errorf("%.40s: %w", s, err)
		}
	}
	return nil
}

// Load implements ledger.File. Rows that make no sense are passed over.
func (f *File) Load(each func(ledger.Row)) error {
	names := map[int64]string{}
	for name, id := range f.tables {
		names[id] = name
	}
	rows, err := f.conn.QueryContext(context.Background(), "SELECT id, tab, key, first, last, count, expires, updated FROM records ORDER BY id")
	if err != nil {
		return failure("read", err)
	}
	defer rows.Close()
	var r ledger.Row
	var id, table, expires, updated int64
	var key sql.RawBytes
	for rows.Next() {
		if rows.Scan(&id, &table, &key, &r.First, &r.Last, &r.Count, &expires, &updated) != nil {
			continue
		}
		r.Table = names[table]
		if id < 1 || !fits(id) || !fits(expires) || !fits(updated) || r.Table == "" || len(key) != len(r.Key) {
			continue
		}
		r.ID, r.Expires, r.Updated = uint32(id), uint32(expires), uint32(updated)
		copy(r.Key[:], key)
		each(r)
	}
	return failure("read", errors.Join(rows.Err(), rows.Close()))
}

// fits reports whether n is a number of 32 bits.
func fits(n int64) bool { return 0 <= n && n <= math.MaxUint32 }

// Write implements ledger.File.
func (f *File) Write(rows []ledger.Row) error {
	if err := f.exec("BEGIN IMMEDIATE"); err != nil {
		return failure("write", err)
	}
	err := f.write(rows)
	if err == nil {
		err = f.exec("COMMIT")
	}
	if err != nil {
		_ = f.exec("ROLLBACK") // SQLite may have done so; the file is closed after this
	}
	return failure("write", err)
}

func (f *File) write(rows []ledger.Row) error {
	ctx := context.Background()
	for i := range rows {
		r := &rows[i]
		if r.Gone {
			if _, err := f.remove.ExecContext(ctx, int64(r.ID)); err != nil {
				return err
			}
			continue
		}
		table, ok := f.tables[r.Table]
		if !ok {
			made, err := f.conn.ExecContext(ctx, "INSERT INTO tables (name) VALUES (?)", r.Table)
			if err != nil {
				return err
			}
			if table, err = made.LastInsertId(); err != nil {
				return err
			}
			f.tables[r.Table] = table
		}
		if _, err := f.put.ExecContext(ctx, int64(r.ID), table, r.Key[:], r.First, r.Last, r.Count, int64(r.Expires), int64(r.Updated)); err != nil {
			return err
		}
	}
	return nil
}

// SetAside implements ledger.File.
func (f *File) SetAside() (string, error) {
	_ = f.Close() // it is damaged
	name := f.path + damagedSuffix
	// What the log holds belongs to the file: SQLite would put it into the new one.
	for _, suffix := range []string{"-wal", "-shm", "-journal", ""} {
		err := os.Rename(f.path+suffix, name+suffix)
		switch {
		case err == nil:
		case !errors.Is(err, os.ErrNotExist):
			return "", fmt.Errorf("disk: set aside: %w", err)
		default: // nor may the one of an older damage be taken for this one's
			if err := os.Remove(name + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
				return "", fmt.Errorf("disk: set aside: %w", err)
			}
		}
	}
	dir, err := os.Open(filepath.Dir(f.path))
	if err != nil {
		return "", fmt.Errorf("disk: set aside: %w", err)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return "", fmt.Errorf("disk: set aside: %w", err)
	}
	return name, nil
}

// Close implements ledger.File.
func (f *File) Close() error {
	var all []error
	for _, s := range []*sql.Stmt{f.put, f.remove} {
		if s != nil {
			all = append(all, s.Close())
		}
	}
	if f.conn != nil {
		all = append(all, f.conn.Close())
	}
	if f.db != nil {
		all = append(all, f.db.Close())
	}
	*f = File{path: f.path}
	return failure("close", errors.Join(all...))
}

// failure names what failed, and marks an error that says that the file is damaged.
func failure(what string, err error) error {
	if err == nil {
		return nil
	}
	var coded *sqlite.Error
	if errors.As(err, &coded) && !slices.Contains(surroundings, coded.Code()&0xff) {
		err = fmt.Errorf("%w: %w", ledger.ErrDamaged, err)
	}
	return fmt.Errorf("disk: %s: %w", what, err)
}
