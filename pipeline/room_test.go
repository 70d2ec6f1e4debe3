package pipeline

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/mail"
)

// hold asks for a share in a goroutine of its own, and gives where it tells that it has it.
func hold(t *testing.T, s *share, octets int64) <-chan error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- s.Hold(t.Context(), octets) }()
	synctest.Wait()
	return done
}

func granted(t *testing.T, what string, done <-chan error, want bool) {
	t.Helper()
	synctest.Wait()
	select {
	case err := <-done:
		if !want || err != nil {
			t.Fatalf("%s: came back with %v", what, err)
		}
	default:
		if want {
			t.Fatalf("%s: waits", what)
		}
	}
}

// empty checks that nobody has or waits for anything.
func empty(t *testing.T, r *room) {
	t.Helper()
	if r.used != 0 || r.holding != 0 || len(r.queue) != 0 || len(r.views) != 0 {
		t.Errorf("left: %+v", r)
	}
}

func TestRoom(t *testing.T) {
	const unit = 2 * little
	for name, test := range map[string]func(t *testing.T, r *room, a, b, c *share){
		"the first first": func(t *testing.T, r *room, a, b, c *share) {
			granted(t, "a", hold(t, a, 6*unit), true)
			atB := hold(t, b, 7*unit)
			atC := hold(t, c, 2*unit) // there would be room for it, but b came first
			granted(t, "b", atB, false)
			granted(t, "c", atC, false)
			granted(t, "small", hold(t, &share{of: r}, smallest-1), true)
			a.release()
			granted(t, "b after a", atB, true)
			granted(t, "c after a", atC, true)
		},
		"more than there is is most of what there is": func(t *testing.T, r *room, a, b, c *share) {
			granted(t, "a", hold(t, a, unit), true)
			granted(t, "b beside a", hold(t, b, 100*unit), true)
			granted(t, "more for b", hold(t, b, 200*unit), true)
			atC := hold(t, c, 2*unit)
			granted(t, "c", atC, false)
			b.release()
			granted(t, "c after b", atC, true)
		},
		"some who want little pass": func(t *testing.T, r *room, a, b, c *share) {
			granted(t, "a", hold(t, a, 3*unit), true)
			atB := hold(t, b, 7*unit+1)
			granted(t, "b", atB, false)
			for i := range maxPassing {
				s := &share{of: r}
				granted(t, "little "+strconv.Itoa(i), hold(t, s, little), true)
				s.release()
			}
			atC := hold(t, c, little)
			granted(t, "one too many", atC, false)
			a.release()
			granted(t, "b after a", atB, true)
			granted(t, "c after a", atC, true)
			atD := hold(t, a, 9*unit)
			granted(t, "after its call", atD, true)
			d, e := &share{of: r}, &share{of: r}
			atD = hold(t, d, 7*unit)
			granted(t, "d", atD, false)
			granted(t, "little again, before another", hold(t, e, little), true)
			b.release()
			granted(t, "d after b", atD, true)
			d.release()
			e.release()
		},
		"those who pass have a share": func(t *testing.T, r *room, a, b, c *share) {
			granted(t, "a", hold(t, a, 3*unit), true)
			atB := hold(t, b, 7*unit+1)
			var all []*share
			for range 10 * unit / littleShare / little {
				all = append(all, &share{of: r})
				granted(t, "little", hold(t, all[len(all)-1], little), true)
			}
			atC := hold(t, c, 2<<20)
			granted(t, "one too many", atC, false)
			all[0].release()
			granted(t, "when another is gone", atC, true)
			d := &share{of: r}
			atD := hold(t, d, little)
			granted(t, "one too many again", atD, false)
			granted(t, "b", atB, false)
			a.release()
			granted(t, "b, though they are there", atB, true)
			for _, s := range append(all[1:], d) {
				s.release()
			}
		},
		"who passes and comes again lets no more pass": func(t *testing.T, r *room, a, b, c *share) {
			granted(t, "a", hold(t, a, 3*unit), true)
			atB := hold(t, b, 7*unit+1)
			granted(t, "b", atB, false)
			passed := 0
			for range 10 * maxPassing {
				s := &share{of: r}
				at := hold(t, s, little/2)
				if len(at) == 0 { // it waits, as all do from now on
					s.release()
					break
				}
				granted(t, "more for it", hold(t, s, little), true)
				s.release()
				passed++
			}
			if passed != maxPassing {
				t.Errorf("%d have passed b", passed)
			}
			a.release()
			granted(t, "b after a", atB, true)
		},
		"nobody waits for ever for those who wait": func(t *testing.T, r *room, a, b, c *share) {
			granted(t, "a", hold(t, a, 5*unit), true)
			granted(t, "b", hold(t, b, 5*unit), true)
			atC := hold(t, c, unit)
			moreA := hold(t, a, 7*unit)
			granted(t, "more for a", moreA, false)
			moreB := hold(t, b, 7*unit)
			granted(t, "more for a, when b waits too", moreA, true)
			granted(t, "more for b", moreB, false)
			granted(t, "c", atC, false)
			a.release()
			granted(t, "more for b after a", moreB, true)
			granted(t, "c after a", atC, true)
			if r.used != 8*unit || r.holding != 2 {
				t.Errorf("used %d, by %d", r.used, r.holding)
			}
		},
		"nor for those who wait for him": func(t *testing.T, r *room, a, b, c *share) {
			granted(t, "a", hold(t, a, 5*unit), true)
			granted(t, "b", hold(t, b, 5*unit), true)
			moreA := hold(t, a, 6*unit)
			granted(t, "more for a", moreA, false)
			slot := make(chan bool)
			go b.Aside(func() { <-slot }) // which a has
			granted(t, "more for a, when b waits for a", moreA, true)
			close(slot)
			synctest.Wait()
			if r.holding != 2 {
				t.Errorf("holding: %d", r.holding)
			}
		},
		"given up": func(t *testing.T, r *room, a, b, c *share) {
			granted(t, "a", hold(t, a, 6*unit), true)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			done := make(chan error, 1)
			go func() { done <- b.Hold(ctx, 7*unit) }()
			synctest.Wait()
			atC := hold(t, c, 2*unit)
			if err := <-done; !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error %v", err)
			}
			granted(t, "c after b has given up", atC, true)
			b.release()
			if r.used != 8*unit || r.holding != 2 {
				t.Errorf("used %d, by %d", r.used, r.holding)
			}
			a.release()
			granted(t, "after the call", hold(t, a, 100*unit), true)
			if r.used != 2*unit {
				t.Errorf("used %d", r.used)
			}
		},
		"given back before the end": func(t *testing.T, r *room, a, b, c *share) {
			granted(t, "a", hold(t, a, 6*unit), true)
			atB, atC := hold(t, b, 6*unit), hold(t, c, 4*unit)
			granted(t, "less for a", hold(t, a, 4*unit), true)
			granted(t, "b", atB, true)
			granted(t, "c", atC, false)
			granted(t, "nothing for a", hold(t, a, 0), true)
			granted(t, "c after a", atC, true)
		},
		"a call that ends while it waits": func(t *testing.T, r *room, a, b, c *share) {
			granted(t, "a", hold(t, a, 5*unit), true)
			granted(t, "b", hold(t, b, 5*unit), true)
			moreA, atC := hold(t, a, 7*unit), hold(t, c, 6*unit)
			a.release()
			granted(t, "more for a, which is not kept", moreA, true)
			granted(t, "c", atC, false)
			if r.used != 5*unit || r.holding != 1 {
				t.Errorf("used %d, by %d", r.used, r.holding)
			}
			b.release()
			granted(t, "c after b", atC, true)
		},
		"a call that hangs": func(t *testing.T, r *room, a, b, c *share) {
			granted(t, "a", hold(t, a, 7*unit), true)
			atB, atC := hold(t, b, 7*unit), hold(t, c, 7*unit)
			granted(t, "b", atB, false)
			a.abandon()
			granted(t, "b beyond the bound", atB, true)
			granted(t, "c", atC, false)
			if r.used != 14*unit || r.holding != 1 {
				t.Errorf("used %d, by %d", r.used, r.holding)
			}
			b.release()
			granted(t, "c", atC, true)
			granted(t, "more for the one that hangs", hold(t, a, 8*unit), true)
			if r.used != 14*unit {
				t.Errorf("used %d", r.used)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &room{most: 10 * unit}
				a, b, c := &share{of: r}, &share{of: r}, &share{of: r}
				test(t, r, a, b, c)
				for _, s := range []*share{a, b, c} {
					s.release()
				}
				empty(t, r)
			})
		})
	}
}

// TestRoomOfViews: what was made of a content is there as long as somebody counts for it, and no longer.
func TestRoomOfViews(t *testing.T) {
	c := mail.NewContent(mail.NewBlob([]byte("Subject: x\r\n\r\nx\r\n")), mail.LineFaults{}, mail.Limits{})
	defer c.Release()
	made := 0
	view := func() { mail.Memo(c, "view", func() int { made++; return made }) }
	r := &room{most: 100 << 20}
	a, b := &share{of: r, content: c}, &share{of: r, content: c}
	for _, step := range []struct {
		what string
		do   func()
		want int
	}{
		{"a has room", func() { _ = a.Hold(t.Context(), little) }, 1},
		{"b has, too", func() { _ = b.Hold(t.Context(), little) }, 1},
		{"a has less", func() { _ = a.Hold(t.Context(), smallest) }, 1},
		{"a has none", a.release, 1},
		{"b gives it back", func() { _ = b.Hold(t.Context(), 0) }, 2},
		{"b has some again", func() { _ = b.Hold(t.Context(), little) }, 2},
		{"b has none", b.release, 3},
		{"who has none is done", (&share{of: r, content: c}).release, 3},
	} {
		step.do()
		if view(); made != step.want {
			t.Errorf("%s: made %d times, want %d", step.what, made, step.want)
		}
	}
	empty(t, r)
}

// TestRoomOfCalls: what filters hold is bounded over all runs, given back by those that panic, and asked for in vain until the
// deadline is an error, never "nothing found".
func TestRoomOfCalls(t *testing.T) {
	defer SetRoom(0)
	SetRoom(10 * smallest)
	var inside, most atomic.Int64
	plan := func(timeout time.Duration, check filter.Func) *Plan {
		p, err := Compile([]Stage{{Spec: filter.Spec{Name: "x", Phases: filter.In(filter.Data)}, Filter: check, Timeout: timeout}})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	run := func(p *Plan) Report {
		c := mail.NewContent(mail.NewBlob([]byte("Subject: x\r\n\r\nx\r\n")), mail.LineFaults{}, mail.Limits{})
		defer c.Release()
		return p.Run(t.Context(), filter.Data, &filter.Input{Session: &filter.Session{}, Transaction: &filter.Transaction{}, Content: c})[0]
	}
	busy := plan(time.Minute, func(ctx context.Context, _ *filter.Input) (filter.Result, error) {
		if err := filter.Hold(ctx, 4*smallest); err != nil {
			return filter.Result{}, err
		}
		n := inside.Add(1)
		defer inside.Add(-1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		time.Sleep(time.Millisecond)
		if n == 2 {
			panic("a filter's own")
		}
		return filter.Result{}, nil
	})
	reports := make(chan Report)
	for range 20 {
		go func() { reports <- run(busy) }()
	}
	outcomes := map[Outcome]int{}
	for range 20 {
		outcomes[(<-reports).Outcome]++
	}
	if most.Load() != 2 || outcomes[Pass]+outcomes[Panicked] != 20 {
		t.Errorf("%d at once; %v", most.Load(), outcomes)
	}
	if inMemory.used != 0 || inMemory.holding != 0 {
		t.Errorf("left: %d octets of %d", inMemory.used, inMemory.holding)
	}

	_, _, limit := Memory()
	if limit != 10*smallest {
		t.Errorf("limit %d", limit)
	}
	taken, free := make(chan bool), make(chan bool)
	greedy := plan(time.Minute, func(ctx context.Context, _ *filter.Input) (filter.Result, error) {
		err := filter.Hold(ctx, 10*smallest)
		close(taken)
		<-free
		return filter.Result{}, err
	})
	go func() { reports <- run(greedy) }()
	<-taken
	late := run(plan(20*time.Millisecond, func(ctx context.Context, _ *filter.Input) (filter.Result, error) {
		return filter.Result{}, filter.Hold(ctx, 4*smallest)
	}))
	if late.Outcome != TimedOut || late.Err == nil {
		t.Errorf("in vain: %v, %v", late.Outcome, late.Err)
	}
	close(free)
	if r := <-reports; r.Outcome != Pass {
		t.Errorf("%v, %v", r.Outcome, r.Err)
	}
}

// TestRoomOfAbandoned: a filter that ignores its deadline keeps what it has, but nobody waits for it.
func TestRoomOfAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old := inMemory
		defer func() { inMemory = old }()
		inMemory = &room{most: 10 * smallest}
		free := make(chan bool)
		run := func(check filter.Func) Report {
			p, err := Compile([]Stage{{Spec: filter.Spec{Name: "x", Phases: filter.In(filter.Data)}, Filter: check, Timeout: time.Second}})
			if err != nil {
				t.Fatal(err)
			}
			c := mail.NewContent(mail.NewBlob([]byte("Subject: x\r\n\r\nx\r\n")), mail.LineFaults{}, mail.Limits{})
			defer c.Release()
			return p.Run(t.Context(), filter.Data, &filter.Input{Session: &filter.Session{}, Transaction: &filter.Transaction{}, Content: c})[0]
		}
		r := run(func(ctx context.Context, _ *filter.Input) (filter.Result, error) {
			err := filter.Hold(ctx, 7*smallest)
			<-free
			return filter.Result{}, err
		})
		if r.Outcome != TimedOut || inMemory.used != 7*smallest {
			t.Errorf("%v, %d octets", r.Outcome, inMemory.used)
		}
		r = run(func(ctx context.Context, _ *filter.Input) (filter.Result, error) {
			return filter.Result{}, filter.Hold(ctx, 7*smallest)
		})
		if r.Outcome != Pass || inMemory.used != 7*smallest {
			t.Errorf("beside it: %v, %v, %d octets", r.Outcome, r.Err, inMemory.used)
		}
		close(free)
		synctest.Wait()
		empty(t, inMemory)
	})
}

// TestViewsWhileAnotherWaits: what a filter has made of a message is not kept, uncounted, while another one of the same message waits
// for others.
func TestViewsWhileAnotherWaits(t *testing.T) {
	made := 0
	view := func(c *mail.Content) { mail.Memo(c, "view", func() int { made++; return made }) }
	read := make(chan bool)
	data := filter.In(filter.Data)
	p, err := Compile([]Stage{
		{Spec: filter.Spec{Name: "reads", Phases: data}, Timeout: time.Minute, Filter: filter.Func(func(ctx context.Context, in *filter.Input) (filter.Result, error) {
			defer close(read)
			err := filter.Hold(ctx, little)
			view(in.Content)
			return filter.Result{}, err
		})},
		{Spec: filter.Spec{Name: "waits", Phases: data}, Timeout: time.Minute, Filter: filter.Func(func(_ context.Context, in *filter.Input) (filter.Result, error) {
			<-read
			for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
				if view(in.Content); made == 2 {
					return filter.Result{}, nil
				}
				time.Sleep(time.Millisecond) // the other may not have come home yet
			}
			return filter.Result{}, errors.New("the view is still there")
		})},
	})
	if err != nil {
		t.Fatal(err)
	}
	c := mail.NewContent(mail.NewBlob([]byte("Subject: x\r\n\r\nx\r\n")), mail.LineFaults{}, mail.Limits{})
	defer c.Release()
	for _, r := range p.Run(t.Context(), filter.Data, &filter.Input{Session: &filter.Session{}, Transaction: &filter.Transaction{}, Content: c}) {
		if r.Outcome != Pass {
			t.Errorf("%s: %v, %v", r.Stage, r.Outcome, r.Err)
		}
	}
}

// TestRoomIsFair: ten minutes of wishes, large and little, of which some come again for more, by filters that have 20 seconds. Where there
// is hardly room for all, all get what they want; where there is not, of each kind more than a quarter.
func TestRoomIsFair(t *testing.T) {
	for name, c := range map[string]struct {
		every time.Duration
		least int // of a hundred
	}{"hardly room for all": {70 * time.Millisecond, 100}, "more than there is room for": {50 * time.Millisecond, 25}} {
		t.Run(name, func(t *testing.T) { fair(t, c.every, c.least) })
	}
}

func fair(t *testing.T, every time.Duration, least int) {
	synctest.Test(t, func(t *testing.T) {
		const unit = 2 * little
		r := &room{most: 10 * unit}
		var mu sync.Mutex
		came, done := map[string]int{}, map[string]int{}
		var all sync.WaitGroup
		client := func(kind string, asks ...int64) {
			came[kind]++
			all.Go(func() {
				s := &share{of: r}
				defer s.release()
				ctx, cancel := context.WithTimeout(t.Context(), defaultTimeout)
				defer cancel()
				for _, octets := range asks {
					if s.Hold(ctx, octets) != nil {
						return
					}
					time.Sleep(time.Second / 2)
				}
				mu.Lock()
				done[kind]++
				mu.Unlock()
			})
		}
		for n := range int(10 * time.Minute / every) {
			time.Sleep(every)
			client("little", little/2, little)
			if n%100 == 0 {
				client("large", 3*unit, 7*unit)
			}
			if n%100 == 50 {
				client("larger than there is", 100*unit)
			}
		}
		all.Wait()
		empty(t, r)
		for kind, n := range came {
			t.Logf("%s: %d of %d", kind, done[kind], n)
			if 100*done[kind] < least*n {
				t.Errorf("%s: %d of %d have got it", kind, done[kind], n)
			}
		}
	})
}
