package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/postern-mail/postern/internal/config"
	"github.com/postern-mail/postern/internal/learner"
	"github.com/postern-mail/postern/mail"
)

// releasedMail is what was released of the quarantine, for the learner.
type releasedMail []*mail.Blob

// add takes a content over, if there is one, which was released without an error.
func (r *releasedMail) add(b *mail.Blob, err error) {
	switch {
	case b == nil:
	case err != nil:
		b.Release()
	default:
		*r = append(*r, b)
	}
}

func (r *releasedMail) release() {
	for _, b := range *r {
		b.Release()
	}
}

// learnReleased teaches the learner that what was released is wanted. What goes wrong is told.
func (a *App) learnReleased(ctx context.Context, cfg *config.Config, all releasedMail) {
	if _, ok, _ := learnerOptions(cfg); !ok || len(all) == 0 {
		return
	}
	o, err := a.teachReleased(ctx, cfg, all)
	if err != nil {
		fmt.Fprintf(a.o.Stderr, "postern: released, and not learned: %v\n", err)
		return
	}
	if n := o.Learned + o.Corrected; n > 0 {
		fmt.Fprintf(a.o.Stderr, "postern: %d learned as ham\n", n)
	}
}

func (a *App) teachReleased(ctx context.Context, cfg *config.Config, all releasedMail) (o learner.Outcome, err error) {
	reader, err := a.sampleReader(ctx, cfg)
	if err != nil {
		return o, err
	}
	t, err := a.teacher(ctx, cfg)
	if err != nil {
		return o, err
	}
	defer func() { err = errors.Join(err, t.close(ctx)) }()
	var lessons []learner.Lesson
	for _, b := range all {
		c := mail.NewContent(b.Retain(), mail.LineFaults{}, reader.marks.limits)
		if s := reader.sampleOf(ctx, c); s != nil {
			lessons = append(lessons, learner.NewLesson(*s, false, learner.FromQuarantine, time.Now()))
		}
	}
	return t.teach(ctx, lessons)
}
