package edge

import "time"

// How slowly a client may send content. Whoever sends an octet a second holds a place as long as he is let; whoever has a slow line
// brings all the same what a modem could. So content may take as long as a client may be silent, and as much longer as it has
// come at a kilobyte a second: to dribble gains nothing over being silent. Beyond Limits.Data it has to come faster, and then may
// take an hour.
const (
	paceLeast = 1 << 10  // octets a second
	paceLong  = 16 << 10 // octets a second of what takes longer than Limits.Data
	paceStep  = 30 * time.Second
)

// pace is how content comes.
type pace struct {
	first time.Time // when it began
	began time.Time // the same, but for the pauses between chunks, which are not counted
	since time.Time // when the last chunk ended; zero amid content
	came  int64     // octets
}

// begin starts anew, with new content.
func (p *pace) begin() { *p = pace{first: time.Now(), began: time.Now()} }

// goOn begins a further chunk (RFC 3030).
func (p *pace) goOn() {
	if !p.since.IsZero() {
		p.began = p.began.Add(time.Since(p.since))
		p.since = time.Time{}
	}
}

// stop ends a chunk.
func (p *pace) stop() { p.since = time.Now() }

// ends gives the time by which more must have come, of a client who may be silent for so long.
func (p *pace) ends(l *Limits, silent time.Duration) time.Time {
	// In steps, so that the socket's deadline need not be moved for each block.
	least := silent + (time.Duration(p.came/paceLeast)*time.Second + paceStep - 1).Truncate(paceStep)
	whole := min(max(l.Data, time.Duration(p.came/paceLong)*time.Second), sessionLife)
	return earlier(p.began.Add(least), p.first.Add(whole))
}

// contentDeadline is that of the next read of content.
func (w *wire) contentDeadline() time.Time {
	silent := w.idle()
	return earlier(time.Now().Add(silent), w.pace.ends(&w.cfg.Limits, silent))
}

// How long a stranger may be silent while there are few places left: between transactions, and within one.
const (
	crowdedIdle = 30 * time.Second
	crowdedBusy = 2 * time.Minute
)

// idle is how long the client may be silent.
func (w *wire) idle() time.Duration {
	most := w.cfg.Limits.Idle
	switch {
	case w.known || w.server == nil || !w.server.crowded.Load():
		return most
	case w.isBusy():
		return min(most, crowdedBusy)
	}
	return min(most, crowdedIdle)
}
