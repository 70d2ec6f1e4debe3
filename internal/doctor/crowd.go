package doctor

import (
	"context"
	"sync"
	"time"
)

// settle is how long servers may take to count off a connection that has ended: Postfix asks another process to.
const settle = 200 * time.Millisecond

// crowd opens as many connections at once as the gateway would, waits for their greetings, and takes leave. A gateway that
// is running has connections of its own meanwhile, which servers count as well.
func (v *visit) crowd(ctx context.Context) {
	n := v.server.Connections
	if n < 2 || ctx.Err() != nil {
		return
	}
	v.step("connections at once")
	select {
	case <-ctx.Done():
		return
	case <-time.After(settle):
	}
	var (
		opened = make([]*dialog, n)
		words  = make([]string, n)
		all    sync.WaitGroup
	)
	for i := range n {
		all.Go(func() {
			d, err := v.dial(ctx)
			if err != nil {
				words[i] = errText(err)
				return
			}
			opened[i] = d
			if r, err := d.reply(); err != nil || r.Code != 220 {
				words[i] = said(r, err)
			}
		})
	}
	all.Wait()
	refused, first := 0, ""
	for i, d := range opened {
		if d != nil {
			d.close()
		}
		if words[i] != "" {
			refused++
			first = words[i]
		}
	}
	if refused > 0 {
		v.find("connections", Warning, "of %d connections at once it took %d; to one of the others, %s", n, n-refused, first)
	}
}
