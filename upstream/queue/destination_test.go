package queue

import (
	"testing"
	"time"
)

// TestFaultsOfOneMoment has many tries fail at once: they are one fault, and a server that could not be reached before is not held
// against one that answers.
func TestFaultsOfOneMoment(t *testing.T) {
	d, began := &destination{}, time.Now()
	now := began.Add(time.Second)
	for range 20 {
		d.failed(began, now, false, "no connection")
	}
	if wait := d.until.Sub(now); wait != unreachedPause {
		t.Errorf("20 tries without a connection: the next one after %s, not %s", wait, unreachedPause)
	}
	began, now = now.Add(2*time.Second), now.Add(3*time.Second)
	for range 20 {
		d.failed(began, now, true, "554 at the greeting")
	}
	if wait := d.until.Sub(now); wait > 2*faultFirst {
		t.Errorf("20 refusals at once: the next try after %s, in place of about %s", wait, faultFirst)
	}
	for range 4 {
		now = now.Add(time.Hour)
		d.failed(now.Add(-time.Second), now, true, "554 at the greeting")
	}
	if wait := d.until.Sub(now); wait < 8*faultFirst {
		t.Errorf("five refusals, one after the other: the next try after %s", wait)
	}
}
