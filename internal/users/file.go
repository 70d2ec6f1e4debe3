package users

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/postern-mail/postern/internal/lines"
)

// List is what a file of users says. It is immutable.
type List struct {
	all   []*User
	byKey map[string]*User
}

// All gives the users in the order of the file.
func (l *List) All() []*User { return l.all }

// Find gives a user by name, nil if there is none.
func (l *List) Find(name string) *User {
	key, err := canonical(name)
	if err != nil {
		return nil
	}
	return l.byKey[key]
}

// decoy gives the hash that a password is held against where there is no user of the name: one that a user could have,
// and for the same name always the same, so that the time it takes tells nothing.
func (l *List) decoy(key string) Hash {
	if len(l.all) == 0 {
		return Hash{memory: newMemory, time: newTime, threads: newThreads, salt: "no salt is needed", sum: string(make([]byte, newSum))}
	}
	sum := sha256.Sum256([]byte(key))
	return l.all[binary.BigEndian.Uint64(sum[:])%uint64(len(l.all))].hash
}

// Parse reads the lines of a file; name is for errors, which are of the form name:line: what.
func Parse(name string, r io.Reader) (*List, error) {
	l := &List{byKey: map[string]*User{}}
	err := lines.Each(name, r, func(n int, entry, _ string) error {
		u, err := parseUser(entry)
		if err != nil {
			return err
		}
		if first := l.byKey[u.key]; first != nil {
			return fmt.Errorf("%s is there already, in line %d", u.Name, first.line)
		}
		u.line = n
		l.byKey[u.key] = u
		l.all = append(l.all, u)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

// File is a file of users, one a line: NAME HASH send=… [rate=…], and comments from a '#' at the line's beginning or after
// a blank. HASH is Argon2id in the PHC string format.
//
// It is read again when it changed, as lines.File has it: one that can't be used leaves the last good list in force, and so
// does one that has become empty, until a reload.
type File struct{ list *lines.File[*List] }

// Open reads the file at path. Its errors are of the form path:line: what. Afterwards report is told of each change: an
// error when a changed file can't be used, nil when it is in force again or anew. It may be nil.
func Open(path string, report func(error)) (*File, error) {
	f, err := lines.Open(path, lines.Source[*List]{Prefix: "users: ", Parse: Parse, Doubt: becameEmpty, Report: report})
	if err != nil {
		return nil, err
	}
	return &File{list: f}, nil
}

func becameEmpty(before, now *List) error {
	if len(now.all) > 0 || len(before.all) == 0 {
		return nil
	}
	return fmt.Errorf("nobody in it, %d are in force: a list that became empty is taken at a reload only", len(before.all))
}

// List gives the users in force, after a look at the file where one is due.
func (f *File) List() *List { return f.list.Get() }

// Still gives the user that u, of an earlier list, is now; nil if he is gone or has another password.
func (l *List) Still(u *User) *User {
	if now := l.byKey[u.key]; now != nil && now.hash == u.hash {
		return now
	}
	return nil
}

// Reload reads the file now, and takes it on the caller's word that it is whole. On an error the last good list stays in
// force.
func (f *File) Reload() error { return f.list.Reload() }
