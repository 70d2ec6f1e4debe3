package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/postern-mail/postern/upstream/queue"
)

func TestQueueExport(t *testing.T) {
	eitherWay(t, 20, func(t *testing.T, o *operatedApp) {
		ctx, dir := t.Context(), filepath.Join(t.TempDir(), "a", "b")
		if out, errs := o.did(t, 0, o.QueueExport(ctx, dir, QueueSelection{All: true, Flags: flags(queue.Filter{From: "a@one.example"})})); out != "10 exported\n" || errs != "" {
			t.Errorf("%q %q", out, errs)
		}
		files, err := os.ReadDir(dir)
		if err != nil || len(files) != 20 {
			t.Fatalf("%d files: %v", len(files), err)
		}
		content, err := os.ReadFile(filepath.Join(dir, o.ids[2]+".eml"))
		if err != nil || string(content) != "Subject: =?utf-8?q?n=C2=B0?= 2\r\n\r\nbody\r\n" {
			t.Errorf("%q %v", content, err)
		}
		record, err := os.ReadFile(filepath.Join(dir, o.ids[2]+".json"))
		var m queue.Listed
		if err != nil || json.Unmarshal(record, &m) != nil || m.ID != o.ids[2] || len(m.Groups) != 2 {
			t.Errorf("%s %v", record, err)
		}
		if err := os.WriteFile(filepath.Join(dir, o.ids[1]+".eml"), []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
		out, errs := o.did(t, ExitCannotWrite, o.QueueExport(ctx, dir, QueueSelection{IDs: o.ids[1:3]}))
		if out != o.ids[2]+": exported\n1 exported, 1 failed\n" || !strings.Contains(errs, o.ids[1]+".eml exists") {
			t.Errorf("over what is there: %q %q", out, errs)
		}
		if b, err := os.ReadFile(filepath.Join(dir, o.ids[1]+".eml")); string(b) != "mine" {
			t.Errorf("written over: %q %v", b, err)
		}
		if out, _ := o.did(t, ExitData, o.QueueExport(ctx, dir, QueueSelection{IDs: []string{"mx-nobody", o.ids[3]}})); out != o.ids[3]+": exported\n1 exported, 1 failed\n" {
			t.Errorf("%q", out)
		}
		if got := o.listed(t, QueueListOptions{}); len(got) != 20 {
			t.Errorf("in the queue: %d", len(got))
		}
	})
}

// spoil changes one octet of a message's file in the spool.
func (o *operatedApp) spoil(t *testing.T, id, where string) {
	t.Helper()
	found := 0
	err := filepath.WalkDir(spoolDir(o.cfg), func(path string, d os.DirEntry, err error) error {
		if err != nil || !strings.HasPrefix(d.Name(), id) {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		found++
		b[bytes.Index(b, []byte(where))] ^= 1
		return errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, b, 0o600))
	})
	if err != nil || found != 1 {
		t.Fatalf("%d files: %v", found, err)
	}
}

// An export that was cut short goes on where it ended, and leaves no half of a message under its name.
func TestQueueExportAgain(t *testing.T) {
	eitherWay(t, 6, func(t *testing.T, o *operatedApp) {
		dir := t.TempDir()
		all := QueueSelection{All: true}
		o.did(t, 0, o.QueueExport(t.Context(), dir, QueueSelection{IDs: o.ids[:2]}))
		if err := os.Remove(filepath.Join(dir, o.ids[1]+".json")); err != nil { // it ended between the two
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		o.App.o.Stdout = writerFunc(func(p []byte) (int, error) {
			cancel()
			return o.out.Write(p)
		})
		out, errs := o.did(t, ExitUnavailable, o.QueueExport(ctx, dir, QueueSelection{IDs: o.ids}))
		if out != o.ids[0]+": exported\n1 exported, 5 not done\n" || !strings.Contains(errs, "interrupted") {
			t.Errorf("interrupted: %q %q", out, errs)
		}
		if out, errs := o.did(t, 0, o.QueueExport(t.Context(), dir, all)); out != "6 exported\n" || errs != "" {
			t.Errorf("again: %q %q", out, errs)
		}
		files, err := os.ReadDir(dir)
		if err != nil || len(files) != 12 {
			t.Errorf("%d files: %v", len(files), err)
		}
	})
}

// A fault of what is read leaves nothing under the name, and is no fault of the place.
func TestWriteNew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.eml")
	wrong := errors.New("wrong")
	var write *writeError
	if err := writeNew(path, io.MultiReader(strings.NewReader("half"), iotest.ErrReader(wrong))); !errors.Is(err, wrong) || errors.As(err, &write) {
		t.Errorf("%v", err)
	}
	if files, err := os.ReadDir(filepath.Dir(path)); err != nil || len(files) > 0 {
		t.Errorf("left: %v %v", files, err)
	}
	if err := writeNew(filepath.Join(path, "y"), strings.NewReader("")); !errors.As(err, &write) {
		t.Errorf("a place that is none: %v", err)
	}
	if err := writeNew(path, strings.NewReader("all")); err != nil {
		t.Fatal(err)
	}
	if err := writeNew(path, strings.NewReader("other")); !errors.Is(err, os.ErrExist) {
		t.Errorf("what is there: %v", err)
	}
	if b, err := os.ReadFile(path); string(b) != "all" || err != nil {
		t.Errorf("%q %v", b, err)
	}
}

// What could not be exported is not removed with what was: that it is damaged does not make it gone.
func TestQueueExportDamaged(t *testing.T) {
	eitherWay(t, 6, func(t *testing.T, o *operatedApp) {
		ctx, dir := t.Context(), t.TempDir()
		o.spoil(t, o.ids[1], "?= 1\r\n")
		out, errs := o.did(t, ExitData, o.QueueExport(ctx, dir, QueueSelection{All: true}))
		if out != "5 exported, 1 failed\n" || !strings.Contains(errs, o.ids[1]) || !strings.Contains(errs, "damaged") {
			t.Errorf("export: %q %q", out, errs)
		}
		if _, err := os.Stat(filepath.Join(dir, o.ids[1]+".json")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a record of what was not exported: %v", err)
		}
		o.did(t, 0, o.QueueHold(ctx, QueueSelection{IDs: o.ids[4:5]}))
		held := flags(queue.Filter{State: queue.StateHold})
		if out, _ := o.did(t, 0, o.QueueRemove(ctx, QueueSelection{Exported: dir, Flags: held}, false)); out != "1 removed, 4 gone meanwhile\n" {
			t.Errorf("rm of what is held: %q", out)
		}
		if out, _ := o.did(t, 0, o.QueueRemove(ctx, QueueSelection{Exported: dir}, false)); out != "4 removed, 1 gone meanwhile\n" {
			t.Errorf("rm: %q", out)
		}
		if got := o.listed(t, QueueListOptions{}); !slices.Equal(got, o.ids[1:2]) {
			t.Errorf("left: %v", got)
		}
		if err := os.Truncate(filepath.Join(dir, o.ids[2]+".eml"), 3); err != nil {
			t.Fatal(err)
		}
		if _, errs := o.did(t, ExitData, o.QueueRemove(ctx, QueueSelection{Exported: dir}, false)); !strings.Contains(errs, "no whole export") {
			t.Errorf("of half an export: %s", errs)
		}
		o.did(t, ExitData, o.QueueRemove(ctx, QueueSelection{Exported: filepath.Join(dir, "none")}, false))
		o.did(t, ExitUsage, o.QueueRemove(ctx, QueueSelection{Exported: dir, All: true}, true))
	})
}
