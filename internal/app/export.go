package app

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/postern-mail/postern/internal/control"
)

// QueueExport writes messages as they came, ID.eml, and what is known of them, ID.json, to a folder. They stay in the queue.
func (a *App) QueueExport(ctx context.Context, dir string, s QueueSelection) error {
	f, err := s.filter()
	if err != nil {
		return err
	}
	q, err := a.operator(ctx)
	if err != nil {
		return err
	}
	defer q.close()
	t := a.newTally("exported", s.All)
	ids, err := s.ids(ctx, q, f, t)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return exit(ExitCannotWrite, "%v", err)
	}
	for _, id := range ids {
		err := export(ctx, q, dir, id)
		var fault *control.Error
		if err != nil && !errors.As(err, &fault) {
			return errors.Join(t.end(nil), exit(ExitCannotWrite, "%s: %v", id, err)) // the next would fare no better
		}
		t.add(id, err)
	}
	if t.done > 0 {
		if err := syncFolder(dir); err != nil {
			return exit(ExitCannotWrite, "%v", err)
		}
	}
	return t.end(nil)
}

// export writes one message. Its files take no other's place.
func export(ctx context.Context, q operator, dir, id string) error {
	m, err := q.get(ctx, id)
	if err != nil {
		return err
	}
	if m.ID != id || !isID(id) {
		return control.Errorf(control.Missing, "%s: not in the queue", id)
	}
	content, err := q.content(ctx, id)
	if err != nil {
		return err
	}
	defer content.Close()
	if err := writeNew(filepath.Join(dir, id+".eml"), content); err != nil {
		return err
	}
	record, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return writeNew(filepath.Join(dir, id+".json"), strings.NewReader(string(record)+"\n"))
}

// writeNew makes a file of what r gives, synced. On an error there is none, unless there was one before.
func writeNew(path string, r io.Reader) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(path) // it is not whole
	}
	return err
}

// syncFolder makes the names in a folder durable.
func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// exportedIn gives the ids of the messages that lie whole in a folder: the record is written last.
func exportedIn(dir string) (ids []string, err error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, exit(ExitData, "--exported: %v", err)
	}
	for _, f := range files {
		id, isRecord := strings.CutSuffix(f.Name(), ".json")
		if !isRecord || !isID(id) {
			continue
		}
		var known struct {
			ID   string `json:"id"`
			Size int64  `json:"size"`
		}
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			return nil, exit(ExitData, "--exported: %v", err)
		}
		info, err := os.Stat(filepath.Join(dir, id+".eml"))
		if json.Unmarshal(b, &known) != nil || known.ID != id || err != nil || info.Size() != known.Size {
			return nil, exit(ExitData, "--exported: %s: there is no whole export of this message: nothing is removed; export it anew, or take its files away",
				visible(filepath.Join(dir, id)))
		}
		ids = append(ids, id)
	}
	return ids, nil
}
