package rules

import (
	"context"
	"fmt"
	"time"

	"github.com/postern-mail/postern/rules/eval"
)

// Measure runs each rule but metas over a message alone, and tells add how long that took. It is much slower than Run, which looks for all
// patterns at once: it tells which rules would be dear, or are.
func (s *Set) Measure(ctx context.Context, m *eval.Mail, add func(*Rule, time.Duration)) error {
	st := s.begin(ctx, m)
	defer s.end(st)
	st.sampled = false
	var links *linkFacts
	for _, r := range s.rules {
		if !r.active || r.Class == Meta || r.Class == MIMEHeader {
			continue
		}
		var segs [][]byte
		switch p := r.pattern(); {
		case r.test.eval != nil:
			began := time.Now()
			r.test.eval.check(m)
			add(r, time.Since(began))
			continue
		case r.test.links != nil:
			if links == nil {
				links = factsOf(m.Text.URIs())
			}
			began := time.Now()
			st.lookLinks(r, links)
			add(r, time.Since(began))
			continue
		case p == nil || p.pattern == nil:
			continue
		case r.test.header != nil:
			value, ok := m.Text.Header(r.test.header.selector)
			if !ok {
				continue
			}
			segs = [][]byte{value}
		default:
			segs = st.segments(r.Class)
		}
		began := time.Now()
		st.lookFor(r, r.pattern().pattern, segs, 0)
		add(r, time.Since(began))
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("rules: %w", err)
		}
	}
	return nil
}

// Warm scans texts such as messages have, so that the tables that grow with use are there when the first message comes.
func (s *Set) Warm(m *eval.Mail) {
	_, _ = s.Run(context.Background(), m)
}
