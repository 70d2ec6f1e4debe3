package app

import (
	"io"
	"log/slog"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/config"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/pipeline"
)

// unmarker takes off messages what this gateway has put on them: a message that comes back from a mailbox is to be the one that came in.
type unmarker struct {
	authservID string
	words      []string // that policies put before subjects
	filters    []filter.Unmarker
}

// unmarker gives the one that the configuration asks for. Filters that put on marks are made for it, once for each policy that has
// options of its own for them.
func (a *App) unmarker(cfg *config.Config) (u unmarker, err error) {
	u.authservID = cfg.AuthRes.ID
	s := surroundings{factories: a.factories, state: filter.NoState{}, log: slog.New(slog.DiscardHandler)}
	for i := range cfg.Policies {
		p := &cfg.Policies[i]
		if p.Subject != "" {
			u.words = append(u.words, p.Subject)
		}
		for _, f := range cfg.Filters {
			off, has := p.Overlays(f.Name)
			if off || !has && p.Name != config.DefaultPolicy || !a.marks(f.Kind) {
				continue
			}
			stage, err := s.stage(cfg, f, nil, func(v any) error { return f.DecodeFor(p.Name, v) })
			if err != nil {
				return u, &Exit{Code: ExitConfig, Err: err}
			}
			if m, ok := stage.Filter.(filter.Unmarker); ok {
				u.filters = append(u.filters, m)
			}
		}
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
func (u *unmarker) unmarked(c *mail.Content, limits mail.Limits) (*mail.Content, error) {
	// As they were put on: the filters' marks, and what Stamp puts above them.
	off := []func(*mail.Content) ([]mail.Edit, error){func(c *mail.Content) ([]mail.Edit, error) {
		return pipeline.Unstamp(c.Header(), u.authservID, u.words), nil
	}}
	for _, f := range u.filters {
		off = append(off, f.Unmark)
	}
	for _, f := range off {
		edits, err := f(c)
		if err == nil && len(edits) > 0 {
			var bare *mail.Content
			if bare, err = edited(c, edits, limits); err == nil {
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
