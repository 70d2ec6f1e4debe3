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

// relax puts the connection under another context than it was attached to. It reports false where the first has just ended.
func (c *conn) relax(ctx context.Context) bool {
	if c.stop != nil && !c.stop() || c.cut || c.ctx.Err() != nil {
		c.broken = true
		return false
	}
	c.stop, c.soon = nil, time.Time{}
	c.attach(ctx)
	return !c.cut
}
