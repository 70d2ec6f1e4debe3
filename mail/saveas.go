package mail

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// SaveAs puts the content under path, where nothing may be yet (the error is fs.ErrExist then), readable
// by the owner only and writable by nobody. When it returns nil both the file and its folder are synced.
// Until then nothing stands under path, so that a crash leaves the whole content there or nothing.
//
// Content that lies in an unnamed file on path's file system is given the name; nothing is copied. The
// file under path and the Blob are then the same octets: whoever opens it for writing changes both.
func (b *Blob) SaveAs(path string) error {
	if !b.acquire() {
		return ErrReleased
	}
	defer b.Release()
	err := b.LinkTo(path)
	if err == nil {
		return publish(path)
	}
	if !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	// Another file system, or no /proc: a copy does as well.
	err = b.copyTo(path, openUnnamed, linkUnnamed)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		err = b.copyTo(path, openNamed, linkNamed)
	}
	if err != nil {
		return fmt.Errorf("mail: save content: %w", err)
	}
	return publish(path)
}

// LinkTo gives the file in which the content lies the name path, where nothing may be yet (the error is fs.ErrExist then).
// The content is synced, the name is not: that is the caller's to do. The error is errors.ErrUnsupported where the content
// lies in no file that can get that name: in memory, on another file system, in one that has no such files.
func (b *Blob) LinkTo(path string) error {
	if !b.acquire() {
		return ErrReleased
	}
	defer b.Release()
	f, ok := b.file.(*os.File)
	if !ok || !b.unnamed {
		return fmt.Errorf("mail: link content: %w", errors.ErrUnsupported)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("mail: save content: %w", err)
	}
	switch err := linkUnnamed(f, path); {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("mail: save content: %w", err)
	default:
		return fmt.Errorf("mail: link content: %w (%w)", errors.ErrUnsupported, err)
	}
}

// copyTo writes the content to a file that open makes in path's folder, syncs it, and has link put it
// under path.
func (b *Blob) copyTo(path string, open func(dir string) (*os.File, error), link func(*os.File, string) error) error {
	f, err := open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer f.Close()
	err = b.view(0, b.size, func(p []byte) error {
		_, err := f.Write(p)
		return err
	})
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		discard(f)
		return err
	}
	return link(f, path)
}

// publish syncs the folder of path, or takes the name away again: a caller who is told that saving failed
// may try the same path once more.
func publish(path string) error {
	dir, err := os.Open(filepath.Dir(path))
	if err == nil {
		if err = dir.Sync(); errors.Is(err, syscall.EINVAL) {
			err = nil // a file system that syncs no folders (fsync(2))
		}
		_ = dir.Close() // was opened for reading: nothing can be lost
	}
	if err != nil {
		_ = os.Remove(path)
		return fmt.Errorf("mail: save content: %w", err)
	}
	return nil
}

// openNamed makes a file with a name that is nobody's.
func openNamed(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, ".content-*")
	if err != nil {
		return nil, err
	}
	if err := f.Chmod(0o400); err != nil {
		f.Close()
		discard(f)
		return nil, err
	}
	return f, nil
}

// linkNamed moves a file of openNamed to path, where nothing may be yet.
func linkNamed(f *os.File, path string) error {
	defer discard(f)
	return os.Link(f.Name(), path)
}

// discard takes away the name of a file of openNamed; unnamed files have none to lose.
func discard(f *os.File) {
	if f.Name() != unnamedFile {
		_ = os.Remove(f.Name())
	}
}

// unnamedFile is what files without a name are called in error texts.
const unnamedFile = "content"

// openTemp makes a file without a name in dir. Whether it can be given one later is reported.
func openTemp(dir string) (f *os.File, unnamed bool, err error) {
	if f, err = openUnnamed(dir); err == nil {
		return f, true, nil
	}
	f, err = openUnlinked(dir) // no O_TMPFILE here: a name for a moment does as well
	return f, false, err
}

// openUnlinked makes a file in dir that had a name for a moment, and can't get one any more.
func openUnlinked(dir string) (*os.File, error) {
	f, err := openNamed(dir)
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
