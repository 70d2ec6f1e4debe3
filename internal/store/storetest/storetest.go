// Package storetest is a file system in memory for tests of durable stores: it fails when it is told to,
// runs full, and forgets what was not synced when its power is cut. It is no model of one particular
// disk: it allows itself everything that POSIX allows one.
package storetest

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/postern-mail/postern/internal/store"
)

// ErrPower is what every operation gives once the power is cut.
var ErrPower = errors.New("storetest: the power is cut")

// inode is a file or a folder. A folder's entries are kept twice, and so is a file's content: as
// programs see it, and as the disk has it.
type inode struct {
	dir          bool
	data, synced []byte
	dirty        [][2]int64 // from where to where data was written since the last Sync, whatever became of that
	kids, onDisk map[string]*inode
	modified     time.Time
	locked       bool
	links        int64 // names of a file
}

func newDir(t time.Time) *inode {
	return &inode{dir: true, kids: map[string]*inode{}, onDisk: map[string]*inode{}, modified: t}
}

// written gives what the disk has if all that is dirty is written to it.
func (n *inode) written() []byte {
	all := make([]byte, len(n.data))
	copy(all, n.synced)
	for _, r := range n.dirty {
		end := min(r[1], int64(len(n.data)))
		if r[0] < end {
			copy(all[r[0]:end], n.data[r[0]:end])
		}
	}
	return all
}

// torn gives what the disk has if of what is dirty each block is written or not, by chance; what was never written is zero.
func (n *inode) torn(rnd *rand.Rand) []byte {
	const block = 64
	all, now := make([]byte, len(n.data)), n.written()
	copy(all, n.synced)
	for at := 0; at < len(all); at += block {
		if end := min(at+block, len(all)); rnd.IntN(2) == 0 {
			copy(all[at:end], now[at:end])
		}
	}
	return all
}

// FS is a file system in memory. It is safe for concurrent use.
type FS struct {
	Now func() time.Time // of modification times; nil is time.Now

	mu     sync.Mutex
	root   *inode
	ops    int
	failAt int
	fails  int // so many operations from failAt on
	fail   error
	cutAt  int
	space  int64 // octets that may still be written; below zero: no bound
	short  bool  // the failing operation, where it is a write, writes half; where it is a sync, it was carried out
	log    []string
}

var _ store.FS = (*FS)(nil)

// New gives an empty file system with a root folder.
func New() *FS { return &FS{root: newDir(time.Time{}), space: -1} }

// Ops counts the operations up to now. Reading an open file is none.
func (f *FS) Ops() int { f.mu.Lock(); defer f.mu.Unlock(); return f.ops }

// Log lists the operations up to now, for the messages of failing tests.
func (f *FS) Log() []string { f.mu.Lock(); defer f.mu.Unlock(); return slices.Clone(f.log) }

// FailAt lets the nth operation from now fail with err, once; short lets it write half if it is a write, and do all of what
// it says it could not if it is a sync.
func (f *FS) FailAt(n int, err error, short bool) { f.FailFrom(n, 1, err, short) }

// FailFrom lets operations fail as FailAt does, times of them.
func (f *FS) FailFrom(n, times int, err error, short bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failAt, f.fails, f.fail, f.short = f.ops+n, times, err, short
}

// CutAt cuts the power at the nth operation from now: neither it nor any later one is carried out, until
// Reboot.
func (f *FS) CutAt(n int) { f.mu.Lock(); defer f.mu.Unlock(); f.cutAt = f.ops + n }

// Fill leaves room for n more octets; a write beyond fails with ENOSPC when it has written what there
// was room for. Below zero there is no bound.
func (f *FS) Fill(n int64) { f.mu.Lock(); defer f.mu.Unlock(); f.space = n }

// Loss is what becomes of the things that were not synced when the power went.
type Loss int

// The ways to lose.
const (
	All     Loss = iota // nothing of them is there
	Content             // every name is there, the contents are not: a rename overtook the data
	Names               // every content is there, the names are not
	Some                // each name and each content for itself, by chance; of contents the beginning, or some blocks
	Zeros               // every name is there, and as many octets as there were, but zeros
)

// Losses lists the ways to lose.
func Losses() []Loss { return []Loss{All, Content, Names, Some, Zeros} }

// Reboot brings the power back: what was not synced is lost in the given way, seed decides for Some.
// Open files of before are dead and locks are free.
func (f *FS) Reboot(loss Loss, seed uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	rnd := rand.New(rand.NewPCG(seed, 1))
	f.root = reborn(f.root, loss, rnd, map[*inode]*inode{})
	f.failAt, f.cutAt, f.space = 0, 0, -1
	f.log = append(f.log, "reboot")
}

func reborn(old *inode, loss Loss, rnd *rand.Rand, done map[*inode]*inode) *inode {
	if n, ok := done[old]; ok {
		return n
	}
	n := &inode{dir: old.dir, modified: old.modified}
	done[old] = n
	if !old.dir {
		n.data = slices.Clone(old.synced)
		switch {
		case loss == Names, loss == Some && rnd.IntN(3) == 0:
			n.data = old.written()
		case loss == Zeros:
			n.data = make([]byte, len(old.data))
			copy(n.data, old.synced)
		case loss == Some && rnd.IntN(3) == 0:
			n.data = old.torn(rnd)
		case loss == Some && rnd.IntN(2) == 0 && len(old.data) > len(old.synced):
			n.data = old.written()[:len(old.synced)+rnd.IntN(len(old.data)-len(old.synced))]
		}
		n.synced = slices.Clone(n.data)
		return n
	}
	names := map[string]*inode{}
	maps.Copy(names, old.onDisk)
	all := slices.Sorted(maps.Keys(old.kids))
	for gone := range old.onDisk {
		if old.kids[gone] == nil {
			all = append(all, gone)
		}
	}
	slices.Sort(all)
	for _, name := range all {
		if loss == Content || loss == Zeros || loss == Some && rnd.IntN(2) == 0 {
			if now := old.kids[name]; now != nil {
				names[name] = now
			} else {
				delete(names, name)
			}
		}
	}
	n.kids, n.onDisk = map[string]*inode{}, map[string]*inode{}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		kid := reborn(names[name], loss, rnd, done)
		kid.links++
		n.kids[name], n.onDisk[name] = kid, kid
	}
	return n
}

// op counts an operation, and gives the error that it must fail with.
func (f *FS) op(name, path string) error {
	f.ops++
	f.log = append(f.log, fmt.Sprintf("%d %s %s", f.ops, name, path))
	switch {
	case f.cutAt > 0 && f.ops >= f.cutAt:
		return &fs.PathError{Op: name, Path: path, Err: ErrPower}
	case f.failAt > 0 && f.ops >= f.failAt && f.ops < f.failAt+f.fails:
		return &fs.PathError{Op: name, Path: path, Err: f.fail}
	}
	return nil
}

func (f *FS) now() time.Time {
	if f.Now != nil {
		return f.Now()
	}
	return time.Now()
}

func steps(path string) []string {
	return strings.FieldsFunc(filepath.Clean(path), func(r rune) bool { return r == '/' })
}

func (f *FS) find(path string) *inode {
	n := f.root
	for _, s := range steps(path) {
		if n == nil || !n.dir {
			return nil
		}
		n = n.kids[s]
	}
	return n
}

func (f *FS) parent(path string) *inode {
	if d := f.find(filepath.Dir(path)); d != nil && d.dir {
		return d
	}
	return nil
}

func pathError(op, path string, err error) error { return &fs.PathError{Op: op, Path: path, Err: err} }

// OpenFile is os.OpenFile.
func (f *FS) OpenFile(path string, flag int, _ fs.FileMode) (store.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.op("open", path); err != nil {
		return nil, err
	}
	dir, n := f.parent(path), f.find(path)
	switch {
	case dir == nil, n == nil && flag&os.O_CREATE == 0:
		return nil, pathError("open", path, fs.ErrNotExist)
	case n != nil && flag&(os.O_CREATE|os.O_EXCL) == os.O_CREATE|os.O_EXCL:
		return nil, pathError("open", path, fs.ErrExist)
	case n != nil && n.dir && flag&(os.O_WRONLY|os.O_RDWR) != 0:
		return nil, pathError("open", path, syscall.EISDIR)
	case n == nil:
		n = &inode{modified: f.now(), links: 1}
		dir.kids[filepath.Base(path)] = n
	}
	if flag&os.O_TRUNC != 0 {
		n.data = nil
	}
	return &file{fs: f, n: n, path: path, flag: flag}, nil
}

// Rename is os.Rename.
func (f *FS) Rename(oldPath, newPath string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.op("rename", oldPath+" "+newPath); err != nil {
		return err
	}
	from, to, n := f.parent(oldPath), f.parent(newPath), f.find(oldPath)
	if from == nil || to == nil || n == nil {
		return pathError("rename", oldPath, fs.ErrNotExist)
	}
	delete(from.kids, filepath.Base(oldPath))
	if over := to.kids[filepath.Base(newPath)]; over != nil {
		over.links--
	}
	to.kids[filepath.Base(newPath)] = n
	return nil
}

// Link is os.Link.
func (f *FS) Link(oldPath, newPath string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.op("link", oldPath+" "+newPath); err != nil {
		return err
	}
	to, n := f.parent(newPath), f.find(oldPath)
	switch {
	case to == nil || n == nil || n.dir:
		return pathError("link", oldPath, fs.ErrNotExist)
	case f.find(newPath) != nil:
		return pathError("link", newPath, fs.ErrExist)
	}
	to.kids[filepath.Base(newPath)] = n
	n.links++
	return nil
}

// Remove is os.Remove.
func (f *FS) Remove(path string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.op("remove", path); err != nil {
		return err
	}
	n := f.find(path)
	switch {
	case n == nil || n == f.root:
		return pathError("remove", path, fs.ErrNotExist)
	case n.dir && len(n.kids) > 0:
		return pathError("remove", path, syscall.ENOTEMPTY)
	}
	delete(f.parent(path).kids, filepath.Base(path))
	n.links--
	return nil
}

// MkdirAll is os.MkdirAll.
func (f *FS) MkdirAll(path string, _ fs.FileMode) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.op("mkdir", path); err != nil {
		return err
	}
	n := f.root
	for _, s := range steps(path) {
		next := n.kids[s]
		if next == nil {
			next = newDir(f.now())
			n.kids[s] = next
		}
		if !next.dir {
			return pathError("mkdir", path, syscall.ENOTDIR)
		}
		n = next
	}
	return nil
}

// ReadDir is os.ReadDir.
func (f *FS) ReadDir(path string) ([]fs.DirEntry, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.op("readdir", path); err != nil {
		return nil, err
	}
	n := f.find(path)
	if n == nil || !n.dir {
		return nil, pathError("readdir", path, fs.ErrNotExist)
	}
	var all []fs.DirEntry
	for _, name := range slices.Sorted(maps.Keys(n.kids)) {
		all = append(all, fs.FileInfoToDirEntry(infoOf(name, n.kids[name])))
	}
	return all, nil
}

// Stat is os.Stat.
func (f *FS) Stat(path string) (fs.FileInfo, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.op("stat", path); err != nil {
		return nil, err
	}
	n := f.find(path)
	if n == nil {
		return nil, pathError("stat", path, fs.ErrNotExist)
	}
	return infoOf(filepath.Base(path), n), nil
}

// SyncDir makes the names in a folder durable.
func (f *FS) SyncDir(path string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.op("syncdir", path)
	if err != nil && (!f.short || errors.Is(err, ErrPower)) {
		return err
	}
	n := f.find(path)
	if n == nil || !n.dir {
		return pathError("syncdir", path, fs.ErrNotExist)
	}
	n.onDisk = maps.Clone(n.kids)
	return err
}

// Free tells what Fill has left, and very much where there is no bound. It is no operation.
func (f *FS) Free(string) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.space < 0 {
		return math.MaxInt64, nil
	}
	return f.space, nil
}

// Put makes a durable file and the folders above it, past all faults.
func (f *FS) Put(path string, data []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.root
	all := steps(path)
	for _, s := range all[:len(all)-1] {
		if n.kids[s] == nil {
			n.kids[s] = newDir(f.now())
			n.onDisk[s] = n.kids[s]
		}
		n = n.kids[s]
	}
	kid := &inode{data: slices.Clone(data), synced: slices.Clone(data), modified: f.now(), links: 1}
	n.kids[all[len(all)-1]], n.onDisk[all[len(all)-1]] = kid, kid
}

// Files gives the content of every file by its path, as programs see it, past all faults.
func (f *FS) Files() map[string][]byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := map[string][]byte{}
	var walk func(string, *inode)
	walk = func(path string, n *inode) {
		if !n.dir {
			all[path] = slices.Clone(n.data)
			return
		}
		for name, kid := range n.kids {
			walk(path+"/"+name, kid)
		}
	}
	walk("", f.root)
	return all
}

type info struct {
	name string
	size int64
	mode fs.FileMode
	mod  time.Time

	links int64
	of    *inode
}

func infoOf(name string, n *inode) info {
	i := info{name, int64(len(n.data)), 0o600, n.modified, n.links, n}
	if n.dir {
		i.mode = fs.ModeDir | 0o700
	}
	return i
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) Mode() fs.FileMode  { return i.mode }
func (i info) ModTime() time.Time { return i.mod }
func (i info) IsDir() bool        { return i.mode.IsDir() }
func (i info) Sys() any           { return i }

// SameFile is what store.SameFile asks.
func (i info) SameFile(sys any) bool {
	other, ok := sys.(info)
	return ok && i.of == other.of
}

// Links is what store.Links asks.
func (i info) Links() int64 { return i.links }
