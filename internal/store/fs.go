// Package store is the way to durable files: a file system that tests can take the power from, and the
// one way in which Postern makes a file durable. It does not know what the files mean.
package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// File is an open file of an FS.
type File interface {
	io.ReadWriteCloser
	io.ReaderAt
	Name() string
	Stat() (fs.FileInfo, error)
	Sync() error
	// Truncate cuts the file off, or fills it with zeros, to so many octets.
	Truncate(size int64) error
}

// FS is what Postern asks of a file system. Names are paths of the operating system.
type FS interface {
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	Rename(oldName, newName string) error
	// Link gives a file a second name, where nothing may be yet.
	Link(oldName, newName string) error
	Remove(name string) error
	MkdirAll(name string, perm fs.FileMode) error
	ReadDir(name string) ([]fs.DirEntry, error)
	Stat(name string) (fs.FileInfo, error)
	// SyncDir makes the creations, renames and removals in a folder durable.
	SyncDir(name string) error
	// Free tells how many octets there is room for at a name.
	Free(name string) (int64, error)
}

// OS is the file system of the machine.
var OS FS = osFS{}

type osFS struct{}

func (osFS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err // not a typed nil inside the interface
	}
	return f, nil
}

func (osFS) Rename(oldName, newName string) error         { return os.Rename(oldName, newName) }
func (osFS) Link(oldName, newName string) error           { return os.Link(oldName, newName) }
func (osFS) Remove(name string) error                     { return os.Remove(name) }
func (osFS) MkdirAll(name string, perm fs.FileMode) error { return os.MkdirAll(name, perm) }
func (osFS) ReadDir(name string) ([]fs.DirEntry, error)   { return os.ReadDir(name) }
func (osFS) Stat(name string) (fs.FileInfo, error)        { return os.Stat(name) }
func (osFS) Free(name string) (int64, error)              { return free(name) }

func (osFS) SyncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return closeSynced(d)
}

// closeSynced syncs a folder, where there is something to sync, and closes it.
func closeSynced(d interface {
	Sync() error
	Close() error
},
) error {
	err := d.Sync()
	if syncsNothing(err) {
		err = nil
	}
	return errors.Join(err, d.Close())
}

// Links tells how many names a file has; 1 where the system does not say.
func Links(info fs.FileInfo) int64 {
	if s, ok := info.Sys().(interface{ Links() int64 }); ok {
		return max(1, s.Links())
	}
	n, ok := links(info.Sys())
	if !ok {
		return 1
	}
	return max(1, n)
}

// SameFile reports whether two names that Stat has told of are of one file.
func SameFile(a, b fs.FileInfo) bool {
	if s, ok := a.Sys().(interface{ SameFile(sys any) bool }); ok {
		return s.SameFile(b.Sys())
	}
	return os.SameFile(a, b)
}

// WriteFile makes a durable file at path, whole or not at all: what write puts out goes to tmp, which is
// synced, renamed to path, and its folder synced. Both names must lie on one file system. A file that
// stands at path is replaced.
func WriteFile(fsys FS, tmp, path string, perm fs.FileMode, write func(io.Writer) error) error {
	f, err := fsys.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = fsys.Rename(tmp, path)
	}
	if err != nil {
		return fmt.Errorf("store: %w", errors.Join(err, fsys.Remove(tmp)))
	}
	if err := fsys.SyncDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}
