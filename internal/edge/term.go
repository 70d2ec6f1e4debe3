package edge

import (
	"context"
	"sync"
	"time"
)

// term is a context that ends with its parent or at a time, as those of context.WithDeadline do, and makes one of these only
// when somebody waits for its end: a delivery to a server that answers does not.
type term struct {
	context.Context // the parent, of which it has the values
	limit           time.Time

	mu     sync.Mutex
	waited context.Context // nil until somebody waits
	cancel context.CancelFunc
	over   bool
}

func newTerm(parent context.Context, limit time.Time) *term {
	return &term{Context: parent, limit: limit}
}

// Deadline implements context.Context. The parent has none.
func (t *term) Deadline() (time.Time, bool) { return t.limit, true }

// Done implements context.Context.
func (t *term) Done() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.begin().Done()
}

// begin gives the context that is waited for.
func (t *term) begin() context.Context {
	if t.waited == nil {
		t.waited, t.cancel = context.WithDeadline(t.Context, t.limit)
		if t.over {
			t.cancel()
		}
	}
	return t.waited
}

// Err implements context.Context.
func (t *term) Err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.waited == nil && !t.over && t.Context.Err() == nil && time.Now().Before(t.limit) {
		return nil
	}
	return t.begin().Err()
}

// Value implements context.Context. Through it, contexts that are made from this one find the one that is waited for.
func (t *term) Value(key any) any {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.waited != nil {
		return t.waited.Value(key)
	}
	return t.Context.Value(key)
}

// end ends it.
func (t *term) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
	if t.cancel != nil {
		t.cancel()
	}
}
