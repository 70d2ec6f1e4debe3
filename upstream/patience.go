package upstream

import (
	"context"
	"time"
)

// hasty is the context of a delivery until a server has asked for the content; from then on it is whole.
type hasty struct {
	context.Context
	whole context.Context //nolint:containedctx // both are of the one Deliver
}

func hurry(ctx context.Context, d time.Duration) (*hasty, context.CancelFunc) {
	soon, cancel := context.WithTimeout(ctx, d)
	return &hasty{soon, ctx}, cancel
}

// overdue reports whether an outcome came when our own time was over, which is no fault of the server's. From the content on that is
// the whole of it.
func overdue(ctx context.Context, o *Outcome) bool {
	if h, ok := ctx.(*hasty); ok && (o.Stage == StageBody || o.Stage == StageDot) {
		ctx = h.whole
	}
	return over(ctx)
}

// relax puts the connection under another context than it was attached to. It reports false where the first has just ended.
func (c *conn) relax(ctx context.Context) bool {
	if c.stop != nil && !c.stop() || c.isCut() || c.ctx.Err() != nil {
		c.broken = true
		return false
	}
	c.stop, c.soon = nil, time.Time{}
	c.attach(ctx)
	return !c.isCut()
}

// isCut reports whether the connection was interrupted, as it can be at any time where its server is found down.
func (c *conn) isCut() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cut
}
