//go:build linux || darwin || freebsd

package store

import (
	"errors"
	"syscall"
	"testing"
)

type folder struct{ sync, close error }

func (f folder) Sync() error  { return f.sync }
func (f folder) Close() error { return f.close }

// TestSyncsNothing: a file system that syncs no folders is no fault; any other error is.
func TestSyncsNothing(t *testing.T) {
	for _, c := range []struct {
		folder
		want error
	}{
		{folder{}, nil},
		{folder{sync: syscall.EINVAL}, nil},
		{folder{sync: syscall.EIO}, syscall.EIO},
		{folder{sync: syscall.EINVAL, close: syscall.EIO}, syscall.EIO},
	} {
		if err := closeSynced(c.folder); !errors.Is(err, c.want) {
			t.Errorf("%+v: %v", c.folder, err)
		}
	}
}
