package app

import (
	"io"
	"log/slog"
	"math"
	"reflect"
	"slices"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/config"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/pipeline"
)

// unmarker takes off messages what this gateway has put on them: a message that comes back from a mailbox is to be the one that came in.
type unmarker struct {
	authservID string
	words      []string // that policies put before subjects
	stages     []*markingStage
	limits     mail.Limits
}

// markingStage is a filter that puts on marks, once for all policies that have the same options for it.
type markingStage struct {
	filters []filter.Unmarker
	options []any // of each
}

// unmarker gives the one that the configuration asks for. Filters that put on marks are made for it. Errors are config.Errors.
func (a *App) unmarker(cfg *config.Config) (u unmarker, err error) {
	u.authservID = cfg.AuthRes.ID
	s := surroundings{factories: a.factories, state: filter.NoState{}, log: slog.New(slog.DiscardHandler)}
	for _, l := range cfg.Listeners {
		u.limits.HeaderOctets = max(u.limits.HeaderOctets, l.Limits.Header)
	}
	for i := range cfg.Policies {
		if p := &cfg.Policies[i]; p.Subject != "" {
			u.words = append(u.words, p.Subject)
		}
	}
	for _, f := range cfg.Filters {
		if !a.marks(f.Kind) {
			continue
		}
		m := new(markingStage)
		for i := range cfg.Policies {
			p := &cfg.Policies[i]
			if off, has := p.Overlays(f.Name); off || !has && p.Name != config.DefaultPolicy {
				continue
			}
			var options any
			stage, err := s.stage(cfg, f, nil, func(v any) error {
				err := f.DecodeFor(p.Name, v)
				options = reflect.Indirect(reflect.ValueOf(v)).Interface()
				return err
			})
			if err != nil {
				return u, asConfigErrors(err, f, p.Name)
			}
			known := slices.ContainsFunc(m.options, func(o any) bool { return reflect.DeepEqual(o, options) })
			if f, ok := stage.Filter.(filter.Unmarker); ok && !known {
				m.filters, m.options = append(m.filters, f), append(m.options, options)
			}
		}
		u.stages = append(u.stages, m)
	}
	return u, nil
}

// marks reports whether filters of a kind put on marks.
func (a *App) marks(kind string) bool {
	for _, f := range a.factories {
		if f.Kind == kind {
			return f.Marks
		}
	}
	return false
}

// unmarked gives a content without the marks: the same one where it has none. What is given is the caller's to release, and c no more. The
// error is one of reading, and then c is released.
func (u *unmarker) unmarked(c *mail.Content) (*mail.Content, error) {
	return u.unmarkedOf(c, math.MaxInt64)
}

// unmarkedOf is unmarked of a content of so many octets at most: nil of what has marks and more octets.
func (u *unmarker) unmarkedOf(c *mail.Content, most int64) (*mail.Content, error) {
	// As they were put on: the filters' marks, and what Stamp puts above them.
	off := []func(*mail.Content) ([]mail.Edit, error){func(c *mail.Content) ([]mail.Edit, error) {
		return pipeline.Unstamp(c.Header(), u.authservID, u.words), nil
	}}
	for _, m := range u.stages {
		off = append(off, m.unmark)
	}
	for _, f := range off {
		edits, err := f(c)
		if err == nil && len(edits) > 0 {
			if c.Blob().Size() > most {
				c.Release()
				return nil, nil
			}
			var bare *mail.Content
			if bare, err = edited(c, edits, u.limits); err == nil {
				c.Release()
				c = bare
			}
		}
		if err != nil {
			c.Release()
			return nil, err
		}
	}
	return c, nil
}

// unmark gives the edits that take off the marks of one policy, the one that has put on most of them: none marks a message twice.
func (m *markingStage) unmark(c *mail.Content) (most []mail.Edit, err error) {
	for _, f := range m.filters {
		edits, err := f.Unmark(c)
		if err != nil {
			return nil, err
		}
		if len(edits) > len(most) {
			most = edits
		}
	}
	return most, nil
}

// maxUnmarked is how many octets a message with marks has at most that is looked at without them at its arrival: it is held in memory.
const maxUnmarked = 4 << 20

// bare is unmarked for a filter, which keeps c. It gives nil for what is too big.
func (u *unmarker) bare(c *mail.Content) (*mail.Content, error) {
	return u.unmarkedOf(c.Retain(), maxUnmarked)
}

// edited gives a content with edits carried out, in memory.
func edited(c *mail.Content, edits []mail.Edit, limits mail.Limits) (*mail.Content, error) {
	m, err := mail.Rewrite(c, edits, false)
	if err != nil {
		return nil, err
	}
	defer m.Release()
	r := m.Open()
	defer func() { _ = r.Close() }()
	octets, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	return mail.NewContent(mail.NewBlob(octets), mail.LineFaults{}, limits), nil
}
