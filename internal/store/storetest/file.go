package storetest

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

type file struct {
	fs     *FS
	n      *inode
	path   string
	flag   int
	off    int64
	holds  bool
	closed bool
}

func (h *file) Name() string { return h.path }

func (h *file) Stat() (fs.FileInfo, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	return infoOf(filepath.Base(h.path), h.n), nil
}

func (h *file) Read(p []byte) (int, error) {
	n, err := h.ReadAt(p, h.off)
	h.off += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

func (h *file) ReadAt(p []byte, off int64) (int, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	switch {
	case h.closed:
		return 0, pathError("read", h.path, fs.ErrClosed)
	case off >= int64(len(h.n.data)):
		return 0, io.EOF
	}
	n := copy(p, h.n.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (h *file) Write(p []byte) (int, error) {
	f := h.fs
	f.mu.Lock()
	defer f.mu.Unlock()
	if h.closed || h.flag&(os.O_WRONLY|os.O_RDWR) == 0 {
		return 0, pathError("write", h.path, fs.ErrClosed)
	}
	err := f.op("write", h.path)
	if err != nil && (!f.short || errors.Is(err, ErrPower)) {
		return 0, err
	}
	n := len(p)
	if err != nil {
		n /= 2
	}
	if f.space >= 0 && int64(n) > f.space {
		n, err = int(f.space), pathError("write", h.path, syscall.ENOSPC)
	}
	if f.space >= 0 {
		f.space -= int64(n)
	}
	if h.flag&os.O_APPEND != 0 {
		h.off = int64(len(h.n.data))
	}
	if grow := h.off + int64(n) - int64(len(h.n.data)); grow > 0 {
		h.n.data = append(h.n.data, make([]byte, grow)...)
	}
	copy(h.n.data[h.off:], p[:n])
	h.n.dirty = append(h.n.dirty, [2]int64{h.off, h.off + int64(n)})
	h.off += int64(n)
	h.n.modified = f.now()
	return n, err
}

// Truncate is not durable before Sync.
func (h *file) Truncate(size int64) error {
	f := h.fs
	f.mu.Lock()
	defer f.mu.Unlock()
	if h.closed || h.flag&(os.O_WRONLY|os.O_RDWR) == 0 {
		return pathError("truncate", h.path, fs.ErrClosed)
	}
	if err := f.op("truncate", h.path); err != nil {
		return err
	}
	old := int64(len(h.n.data))
	if size > old {
		h.n.data = append(h.n.data, make([]byte, size-old)...)
		h.n.dirty = append(h.n.dirty, [2]int64{old, size})
	}
	h.n.data = h.n.data[:size:size]
	h.n.modified = f.now()
	return nil
}

// Sync makes the content durable; the name is SyncDir's matter. What a Sync could not write no later one will: it is taken for
// clean, stays to be seen, and is gone with the power, as on the systems that there are.
func (h *file) Sync() error {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if h.closed {
		return pathError("sync", h.path, fs.ErrClosed)
	}
	err := h.fs.op("sync", h.path)
	if err != nil && (!h.fs.short || errors.Is(err, ErrPower)) {
		if !errors.Is(err, ErrPower) {
			h.n.dirty = nil
		}
		return err
	}
	h.n.synced, h.n.dirty = h.n.written(), nil
	return err
}

func (h *file) Close() error {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if h.closed {
		return pathError("close", h.path, fs.ErrClosed)
	}
	h.closed = true
	if h.holds {
		h.n.locked = false
	}
	return nil
}

// TryLock takes the file's exclusive lock until Close, and tells whether it was free: flock(2) for files
// in memory.
func (h *file) TryLock() (bool, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if h.closed {
		return false, pathError("lock", h.path, fs.ErrClosed)
	}
	if h.n.locked {
		return false, nil
	}
	h.n.locked, h.holds = true, true
	return true, nil
}
