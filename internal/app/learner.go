package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/postern-mail/postern/filter/bayes"
	"github.com/postern-mail/postern/internal/config"
	"github.com/postern-mail/postern/internal/control"
	"github.com/postern-mail/postern/internal/learner"
	"github.com/postern-mail/postern/internal/store"
)

func learnerDir(cfg *config.Config) string { return filepath.Join(cfg.State.Directory, "learner") }

// learnerOptions gives what the configuration says of the learner; false where no filter asks it. The error is that of the filter's options.
func learnerOptions(cfg *config.Config) (o learner.Options, asked bool, err error) {
	for _, f := range cfg.Filters {
		if f.Kind == bayes.Kind {
			o, err := bayes.LearnerOptions(func(v any) error { return f.DecodeFor(config.DefaultPolicy, v) })
			if err != nil {
				return o, true, asConfigErrors(err, f, config.DefaultPolicy)
			}
			return o, true, nil
		}
	}
	return learner.Options{}, false, nil
}

// learnerReadable tells whether what was learned can be read, where the configuration asks for a learner, and there is a store that we may look
// into; a gateway may have it open. Errors are Exits.
func learnerReadable(cfg *config.Config) error {
	if _, asked, err := learnerOptions(cfg); err != nil || !asked {
		return nil // what is wrong with the options is told with all that is
	}
	if err := learner.Readable(store.OS, learnerDir(cfg)); err != nil && !errors.Is(err, fs.ErrPermission) {
		return &Exit{Code: ExitConfig, Err: fmt.Errorf("postern: %w", err)}
	}
	return nil
}

// openLearnerStore opens the store of what was learned, which nobody else may have open. Errors are Exits.
func openLearnerStore(cfg *config.Config, o learner.Options, log *slog.Logger) (*learner.Store, error) {
	s, err := learner.Open(learnerDir(cfg), learner.StoreOptions{Options: o, Log: log})
	code := ExitCannotWrite
	switch {
	case err == nil:
		return s, nil
	case errors.Is(err, learner.ErrVersion):
		code = ExitConfig
	case errors.Is(err, learner.ErrInUse):
		code = ExitUnavailable
	}
	return nil, &Exit{Code: code, Err: fmt.Errorf("postern: %w", err)}
}

// keptLearner is the learner of a gateway.
type keptLearner struct {
	store atomic.Pointer[learner.Store] // nil: none was configured yet
	stop  context.CancelFunc
	tends sync.WaitGroup
}

// configureLearner tells the learner that is open what the configuration says of it.
func (g *gateway) configureLearner(cfg *config.Config) {
	if o, ok, err := learnerOptions(cfg); ok && err == nil && g.learner.store.Load() != nil {
		g.learner.store.Load().Configure(o)
	}
}

// openLearner opens the learner where the configuration asks for one and none is open. One that is not asked for any more stays
// open: a reload may ask for it again.
func (g *gateway) openLearner(cfg *config.Config) error {
	o, ok, err := learnerOptions(cfg)
	if !ok || err != nil { // install tells what is wrong, with all that is
		return nil
	}
	if g.learner.store.Load() != nil {
		return nil
	}
	s, err := openLearnerStore(cfg, o, g.log)
	if err != nil {
		return err
	}
	g.learner.store.Store(s)
	g.app.desk.Use(s)
	g.metrics.Learner(s.Usage)
	ctx, stop := context.WithCancel(context.Background())
	g.learner.stop = stop
	g.learner.tends.Go(func() { s.Tend(ctx) })
	return nil
}

// closeLearner ends the learner. What was learned is on disk.
func (g *gateway) closeLearner() {
	s := g.learner.store.Load()
	if s == nil {
		return
	}
	g.learner.stop()
	g.learner.tends.Wait()
	if err := s.Close(); err != nil {
		g.log.Error("the learner's store", "error", err)
	}
}

// Requests and answers of the learner over the control socket.
type (
	taughtLessons struct {
		Lessons []byte `json:"lessons"` // an export of at most lessonBatch
	}
	forgetRequest struct {
		Digests []learner.Digest `json:"digests"`
	}
	weighed struct {
		Ready  bool            `json:"ready"`
		Odds   float64         `json:"odds"` // logarithm
		Shares []learner.Share `json:"shares"`
	}
)

// answerLearner lets commands teach and ask the learner.
func (g *gateway) answerLearner(mux *http.ServeMux) {
	local := func(f func(localTeacher, http.ResponseWriter, *http.Request) error) http.Handler {
		return control.Handle(func(w http.ResponseWriter, r *http.Request) error {
			s := g.learner.store.Load()
			if s == nil {
				return control.Errorf(control.Config, "no filter of the kind bayes is configured: there is nobody to teach")
			}
			return f(localTeacher{s}, w, r)
		})
	}
	mux.Handle("POST /v1/learn", local(func(t localTeacher, w http.ResponseWriter, r *http.Request) error {
		var in taughtLessons
		if err := control.Receive(r, &in); err != nil {
			return err
		}
		lessons, err := readLessons(in.Lessons)
		if err != nil {
			return control.Errorf(control.Data, "%v", err)
		}
		return sendOutcome(w)(t.teach(r.Context(), lessons))
	}))
	mux.Handle("POST /v1/learn/forget", local(func(t localTeacher, w http.ResponseWriter, r *http.Request) error {
		var in forgetRequest
		if err := control.Receive(r, &in); err != nil {
			return err
		}
		return sendOutcome(w)(t.forget(r.Context(), in.Digests))
	}))
	mux.Handle("POST /v1/learn/weigh", local(func(t localTeacher, w http.ResponseWriter, r *http.Request) error {
		var in taughtLessons
		if err := control.Receive(r, &in); err != nil {
			return err
		}
		lessons, err := readLessons(in.Lessons)
		if err != nil || len(lessons) != 1 {
			return control.Errorf(control.Data, "one lesson is asked about: %v", err)
		}
		answer, err := t.weigh(r.Context(), learner.Sample{Digest: lessons[0].Digest, Features: lessons[0].Features(nil)})
		if err != nil {
			return err
		}
		return control.Send(w, answer)
	}))
	mux.Handle("GET /v1/learn", local(func(t localTeacher, w http.ResponseWriter, _ *http.Request) error {
		return control.Send(w, t.s.Status())
	}))
	mux.Handle("GET /v1/learn/export", local(func(t localTeacher, w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Content-Type", "application/octet-stream")
		return t.s.Export(w)
	}))
}

func sendOutcome(w http.ResponseWriter) func(learner.Outcome, error) error {
	return func(o learner.Outcome, err error) error {
		switch {
		case errors.As(err, new(*writeError)):
			return control.Errorf(control.CannotWrite, "%v", err)
		case err != nil:
			return control.Errorf(control.Unavailable, "%v", err)
		}
		return control.Send(w, o)
	}
}

// scanLearner lets the filters of a scan ask what was learned last. The store may be open elsewhere: it is only read. The error is one of
// the configuration.
func (a *App) scanLearner(cfg *config.Config) error {
	o, ok, err := learnerOptions(cfg)
	if !ok || err != nil {
		return err
	}
	if s, err := learner.ReadSnapshot(store.OS, learnerDir(cfg), o); err == nil {
		a.desk.Use(s)
	}
	marks, err := a.unmarker(cfg)
	if err != nil {
		return err
	}
	a.desk.Unmark(marks.bare)
	return nil
}
