package rules

import (
	"context"
	"fmt"
	"time"

	"github.com/postern-mail/postern/rules/eval"
	"github.com/postern-mail/postern/rules/pattern"
)

// Measure runs each rule but metas over a message alone, and tells add how long that took, and whether the rule gave up. It is much slower
// than Run, which looks for all patterns at once: it tells which rules would be dear, or are. Each may do as much work as a message may.
func (s *Set) Measure(ctx context.Context, m *eval.Mail, add func(r *Rule, took time.Duration, gaveUp bool)) error {
	st := s.begin(ctx, m)
	defer s.end(st)
	st.sampled = false
	var links *linkFacts
	fields := map[mimeField][][]byte{}
	for _, r := range s.rules {
		if !r.active || r.Class == Meta {
			continue
		}
		var segs [][]byte
		switch p := r.pattern(); {
		case r.test.eval != nil:
			began := time.Now()
			r.test.eval.check(m)
			add(r, time.Since(began), false)
			continue
		case r.test.links != nil:
			if links == nil {
				links = factsOf(m.Text.URIs())
			}
		case p == nil || p.pattern == nil:
			continue
		case r.test.header != nil:
			value, ok := m.Text.Header(r.test.header.selector)
			if !ok {
				continue
			}
			segs = [][]byte{value}
		case r.test.mime != nil:
			field := r.test.mime.field
			if _, known := fields[field]; !known {
				fields[field] = field.ofAll(st.parts())
			}
			segs = r.test.mime.texts(fields[field])
		default:
			segs = st.segments(r.Class)
		}
		st.work, st.gave = pattern.NewWork(ctx, 0), st.gave[:0]
		began := time.Now()
		if r.test.links != nil {
			st.lookLinks(r, links)
		} else {
			st.lookFor(r, r.pattern().pattern, segs, 0)
		}
		took := time.Since(began)
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("rules: %w", err)
		}
		add(r, took, len(st.gave) > 0)
	}
	return nil
}

// Warm scans texts such as messages have, so that the tables that grow with use are there when the first message comes.
func (s *Set) Warm(m *eval.Mail) {
	_, _ = s.Run(context.Background(), m)
}
