package queue

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postern-mail/postern/internal/store/storetest"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/upstream"
)

// TestPowerCut cuts the power at some moment of a queue's life, in every way that a disk may lose what was not synced: each
// message that was acknowledged has arrived, or is kept, once the gateway runs again; and one that was delivered more than a moment
// before is not delivered again.
func TestPowerCut(t *testing.T) {
	doubled := 0
	for seed := range uint64(60) {
		for _, loss := range storetest.Losses() {
			t.Run(fmt.Sprintf("%d/%d", seed, loss), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { doubled += cutPower(t, seed, loss) })
			})
		}
	}
	t.Logf("%d deliveries were doubled", doubled)
}

func cutPower(t *testing.T, seed uint64, loss storetest.Loss) (doubled int) {
	rnd := rand.New(rand.NewPCG(seed, uint64(loss)))
	b := newBench(t)
	defer b.stop()
	b.in.is(func(env mail.Envelope) upstream.Outcome {
		switch n := len(env.ID) + int(env.ID[2]); {
		case n%5 == 0:
			return refuses(map[string]mail.Reply{"y@example.org": mail.NewReply(550, 5, 1, 1, "no")})(env)
		case n%7 == 0:
			return refuses(map[string]mail.Reply{"x@example.org": mail.NewReply(452, 4, 2, 2, "full")})(env)
		}
		return refuses(nil)(env)
	})
	b.fs.CutAt(1 + rnd.IntN(500))
	acknowledged := map[string]bool{}
	cut := time.Now() // or later: so long there was power
	for i := range 30 {
		m := message{
			id: fmt.Sprintf("m-%c%02d", 'a'+rune(i%26), i), from: "a@sender.example", bounce: i%2 == 0,
			to: []string{"in x@example.org", "in y@example.org", "out z@elsewhere.example"},
		}
		if b.tryPut(m) == nil {
			acknowledged[m.id], cut = true, time.Now()
		}
		time.Sleep(time.Duration(rnd.IntN(500)) * time.Millisecond)
	}
	b.stopped = true
	b.q.Close(t.Context())
	_ = b.store.Close() // fails where the power is gone
	b.fs.Reboot(loss, seed)
	b.in.is(nil)
	b.start()
	sleep(3 * time.Hour)

	arrived := map[string]int{} // by id and recipient
	early := map[string]bool{}
	for _, g := range append(b.in.taken(), b.out.taken()...) {
		for _, to := range g.to {
			key := g.id + " " + to
			if arrived[key]++; arrived[key] > 1 {
				doubled++
				if early[key] {
					t.Errorf("%s was delivered long before the cut, and again", key)
				}
			}
			early[key] = cut.Sub(g.at) > 3*time.Second
		}
	}
	failed := map[string]bool{}
	for _, s := range b.noted(&b.ended) {
		failed[s] = true
	}
	for id := range acknowledged {
		for _, to := range []string{"x@example.org", "y@example.org", "z@elsewhere.example"} {
			if key := id + " " + to; arrived[key] == 0 && !failed[key+" failed"] && !failed[key+" kept"] {
				t.Errorf("%s was acknowledged, and has not reached %s", id, to)
			}
		}
	}
	if left := b.left(); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	return doubled
}
