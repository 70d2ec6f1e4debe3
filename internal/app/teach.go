package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/postern-mail/postern/internal/config"
	"github.com/postern-mail/postern/internal/control"
	"github.com/postern-mail/postern/internal/learner"
)

// teacher is the learner as commands see it: that of the gateway that runs, or else the store itself.
type teacher interface {
	teach(ctx context.Context, lessons []learner.Lesson) (learner.Outcome, error)
	forget(ctx context.Context, digests []learner.Digest) (learner.Outcome, error)
	status(ctx context.Context) (learner.Status, error)
	weigh(ctx context.Context, s learner.Sample) (weighed, error)
	export(ctx context.Context, w io.Writer) error
	close(ctx context.Context) error // has what was learned count, unless the context ends before
}

// lessonBatch is how many lessons are taught in one go: what the store syncs, it syncs once for all of them.
const lessonBatch = 32

// teacher finds the learner. The error is an Exit.
func (a *App) teacher(ctx context.Context, cfg *config.Config) (teacher, error) {
	o, ok, err := learnerOptions(cfg)
	if err != nil {
		return nil, &Exit{Code: ExitConfig, Err: err}
	}
	if !ok {
		return nil, exit(ExitConfig, "%s: no filter of the kind bayes is configured: there is nobody to teach", a.o.Config)
	}
	c, err := a.running(ctx, cfg)
	switch {
	case err == nil:
		return remoteTeacher{c}, nil
	case !errors.Is(err, control.ErrNotRunning):
		return nil, err
	}
	if err := rootMay(learnerDir(cfg)); err != nil {
		return nil, err
	}
	s, err := openLearnerStore(cfg, o, a.warnings())
	if err != nil {
		return nil, err
	}
	fmt.Fprintln(a.o.Stderr, "postern: no gateway runs: working on the learner's store itself")
	return localTeacher{s}, nil
}

// localTeacher is the store of this process.
type localTeacher struct{ s *learner.Store }

func (t localTeacher) teach(_ context.Context, lessons []learner.Lesson) (learner.Outcome, error) {
	o, err := t.s.Add(lessons)
	return o, kept(err)
}

// kept tells what the store itself could not do from what a gateway did not answer, or is about to end.
func kept(err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, fs.ErrClosed) {
		return err
	}
	return &writeError{err: err}
}

func (t localTeacher) forget(_ context.Context, digests []learner.Digest) (learner.Outcome, error) {
	o, err := t.s.Forget(digests)
	return o, kept(err)
}

func (t localTeacher) status(context.Context) (learner.Status, error) { return t.s.Status(), nil }

// mostShares is how many shares of a message are told.
const mostShares = 4096

func (t localTeacher) weigh(_ context.Context, s learner.Sample) (weighed, error) {
	return weighed{Ready: t.s.Ready(), Odds: t.s.Score(s), Shares: t.s.Heaviest(s, mostShares)}, nil
}

func (t localTeacher) export(_ context.Context, w io.Writer) error { return t.s.Export(w) }

func (t localTeacher) close(ctx context.Context) error {
	var err error
	if t.s.Stale() {
		err = t.s.Fit(ctx)
	}
	return kept(errors.Join(err, t.s.Close()))
}

// remoteTeacher is the learner of a gateway that runs.
type remoteTeacher struct{ c *control.Client }

func (t remoteTeacher) teach(ctx context.Context, lessons []learner.Lesson) (sum learner.Outcome, err error) {
	for len(lessons) > 0 {
		n := min(len(lessons), lessonBatch)
		b, err := writeLessons(lessons[:n])
		if err != nil {
			return sum, err
		}
		var o learner.Outcome
		if err := t.c.Post(ctx, "/v1/learn", taughtLessons{b}, &o); err != nil {
			return sum, err
		}
		sum.Add(o)
		lessons = lessons[n:]
	}
	return sum, nil
}

func (t remoteTeacher) forget(ctx context.Context, digests []learner.Digest) (o learner.Outcome, err error) {
	return o, t.c.Post(ctx, "/v1/learn/forget", forgetRequest{digests}, &o)
}

func (t remoteTeacher) status(ctx context.Context) (s learner.Status, err error) {
	return s, t.c.Get(ctx, "/v1/learn", &s)
}

func (t remoteTeacher) weigh(ctx context.Context, s learner.Sample) (w weighed, err error) {
	b, err := writeLessons([]learner.Lesson{learner.NewLesson(s, false, learner.FromPeople, time.Now())})
	if err != nil {
		return w, err
	}
	return w, t.c.Post(ctx, "/v1/learn/weigh", taughtLessons{b}, &w)
}

func (t remoteTeacher) export(ctx context.Context, w io.Writer) error {
	r, err := t.c.Open(ctx, "/v1/learn/export")
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(w, r)
	return err
}

func (t remoteTeacher) close(context.Context) error {
	t.c.Close()
	return nil
}

func writeLessons(lessons []learner.Lesson) ([]byte, error) {
	var b bytes.Buffer
	e := learner.NewExport(&b)
	for i := range lessons {
		if err := e.Add(lessons[i]); err != nil {
			return nil, err
		}
	}
	err := e.Close()
	return b.Bytes(), err
}

func readLessons(b []byte) (lessons []learner.Lesson, err error) {
	err = learner.Import(bytes.NewReader(b), func(l learner.Lesson) error {
		if len(lessons) == lessonBatch {
			return fmt.Errorf("more than %d lessons at once", lessonBatch)
		}
		lessons = append(lessons, l)
		return nil
	})
	return lessons, err
}
