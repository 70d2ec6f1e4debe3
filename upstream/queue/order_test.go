package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/spool"
	"github.com/postern-mail/postern/mail"
)

// TestOperate: what an operator may do.
func TestOperate(t *testing.T) {
	run(t, func(t *testing.T, b *bench) {
		b.in.is(down)
		for i := range 5 {
			b.put(message{id: fmt.Sprintf("m-%d", i), from: fmt.Sprintf("u%d@sender.example", i), to: []string{"in x@example.org"}})
			sleep(time.Second)
		}
		list := func(f Filter, after string) (ids []string) {
			place, _ := b.q.PlaceOf(after)
			_, _, err := b.q.List(t.Context(), f, place, 0, func(l Listed) bool { ids = append(ids, l.ID); return len(ids) < 3 })
			if err != nil {
				t.Fatal(err)
			}
			return ids
		}
		equal(t, "first page", list(Filter{}, ""), "m-0", "m-1", "m-2")
		equal(t, "second page", list(Filter{}, "m-2"), "m-3", "m-4")
		equal(t, "by sender", list(Filter{From: "U3@sender.example"}, ""), "m-3")
		equal(t, "by domain", list(Filter{To: "@example.org", State: StateDeferred}, "m-3"), "m-4")
		equal(t, "by another", list(Filter{Upstream: "out"}, ""))
		if _, err := b.q.Do(Hold, "m-1", Filter{}); err != nil {
			t.Fatal(err)
		}
		equal(t, "held", list(Filter{State: StateHold}, ""), "m-1")
		if _, err := b.q.Do(Remove, "m-2", Filter{}); err != nil {
			t.Fatal(err)
		}
		if _, err := b.q.Do(Remove, "m-2", Filter{}); !errors.Is(err, spool.ErrNotFound) {
			t.Errorf("removed twice: %v", err)
		}
		u := b.q.Usage()
		if len(u) != 2 || u[0].Messages+u[1].Messages != 4 {
			t.Errorf("%+v", u)
		}
		b.in.is(nil)
		b.restart()
		sleep(time.Hour)
		equal(t, "left", b.left(), "m-1")
		if _, err := b.q.Do(Release, "m-1", Filter{}); err != nil {
			t.Fatal(err)
		}
		sleep(time.Second)
		equal(t, "left", b.left())

		b.in.is(refuses(map[string]mail.Reply{"x@example.org": mail.NewReply(452, 4, 2, 2, "full")}))
		b.put(message{id: "n-1", from: "a@sender.example", to: []string{"in x@example.org"}})
		sleep(10 * time.Minute)
		b.in.is(nil)
		if _, err := b.q.Do(Retry, "n-1", Filter{}); err != nil {
			t.Fatal(err)
		}
		sleep(time.Second)
		equal(t, "left", b.left())
		if _, err := b.q.Do(Retry, "n-1", Filter{}); !errors.Is(err, spool.ErrNotFound) {
			t.Errorf("%v", err)
		}
	})
}

// TestPlace: a list goes on where it ended, whatever has become of the message there, and whatever its id looks like.
func TestPlace(t *testing.T) {
	run(t, func(t *testing.T, b *bench) {
		b.in.is(down)
		for _, id := range []string{"z-1", "a-1", "m-1", "b-1"} { // as other nodes of a cluster might have named them
			b.put(message{id: id, from: "a@sender.example", to: []string{"in x@example.org"}})
			sleep(time.Second)
		}
		page := func(after string, most time.Duration, n int) (ids []string, reached string, end bool) {
			var p Place
			if after != "" {
				var err error
				if p, err = ParsePlace(after); err != nil {
					t.Fatal(err)
				}
			}
			at, end, err := b.q.List(t.Context(), Filter{}, p, most, func(l Listed) bool {
				ids = append(ids, l.ID)
				time.Sleep(time.Second)
				return len(ids) != n
			})
			if err != nil {
				t.Fatal(err)
			}
			return ids, at.String(), end
		}
		ids, at, end := page("", 0, 2)
		equal(t, "first page", ids, "z-1", "a-1")
		if _, err := b.q.Do(Remove, "a-1", Filter{}); err != nil || end {
			t.Fatal(err, end)
		}
		ids, _, end = page(at, 0, 0)
		equal(t, "the rest", ids, "m-1", "b-1")
		if !end {
			t.Error("that is not the end")
		}
		ids, at, end = page("", 500*time.Millisecond, 0)
		equal(t, "what there is time for", ids, "z-1")
		if end || !strings.HasSuffix(at, "/z-1") {
			t.Errorf("reached %s, %v", at, end)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, end, err := b.q.List(ctx, Filter{From: "nobody@sender.example"}, Place{}, 0, nil); !errors.Is(err, context.Canceled) || end {
			t.Errorf("after its client has gone: %v", err)
		}
		for _, bad := range []string{"", "a b", "x/y", "2026-11-26T09:00:00Z/", "../x", "2026-11-26T09:00:00Z/a/b", "ü"} {
			if _, err := ParsePlace(bad); !errors.Is(err, spool.ErrID) {
				t.Errorf("%q: %v", bad, err)
			}
		}
	})
}

// TestUsageDown: what waits for an upstream that is down is deferred, and its age does not leap when the oldest is tried.
func TestUsageDown(t *testing.T) {
	run(t, func(t *testing.T, b *bench) {
		b.in.is(down)
		b.put(message{id: "m-1", from: "a@sender.example", to: []string{"in x@example.org"}})
		sleep(time.Minute)
		b.in.slow(time.Hour)
		sleep(2 * time.Second)
		if l, err := b.q.Get("m-1"); err != nil || l.Groups[0].State != StateActive {
			t.Fatalf("it is not being tried: %+v %v", l, err)
		}
		if u := b.q.Usage(); len(u) != 1 || u[0].State != StateDeferred || u[0].Messages != 1 {
			t.Errorf("%+v", u)
		}
		b.in.slow(0)
		b.in.is(nil)
		sleep(2 * time.Hour)
	})
}

// TestRemoveDurable: what an operator was told is removed does not come back with a power cut.
func TestRemoveDurable(t *testing.T) {
	run(t, func(t *testing.T, b *bench) {
		b.in.is(down)
		b.put(message{id: "m-1", from: "a@sender.example", to: []string{"in x@example.org"}})
		sleep(time.Minute)
		if _, err := b.q.Do(Remove, "m-1", Filter{}); err != nil {
			t.Fatal(err)
		}
		ops := b.fs.Log()
		removed := slices.IndexFunc(ops, func(op string) bool {
			return strings.Contains(op, "m-1.msg") && strings.Contains(strings.ToLower(op), "remove")
		})
		if removed < 0 || !slices.ContainsFunc(ops[removed:], func(op string) bool { return strings.Contains(strings.ToLower(op), "sync") }) {
			t.Errorf("no sync behind the removal: %q", ops[max(0, len(ops)-6):])
		}
	})
}

// TestRemovePart: only who is meant is removed; the others get the message, and after a restart, too.
func TestRemovePart(t *testing.T) {
	run(t, func(t *testing.T, b *bench) {
		b.in.is(down)
		b.out.is(down)
		to := []string{"in x@example.org", "in y@example.org", "out z@elsewhere.example"}
		b.put(message{id: "m-1", from: "a@sender.example", to: to})
		b.put(message{id: "m-2", from: "a@sender.example", to: to})
		sleep(time.Second)
		for _, c := range []struct {
			id   string
			f    Filter
			want Ordered
			err  error
		}{
			{"m-1", Filter{To: "x@example.org"}, Ordered{To: []string{"x@example.org"}, Others: 2}, nil},
			{"m-1", Filter{To: "x@example.org"}, Ordered{}, ErrNotMeant},
			{"m-1", Filter{Upstream: "in", State: StateHold}, Ordered{}, ErrNotMeant},
			{"m-1", Filter{From: "b@sender.example"}, Ordered{}, ErrNotMeant},
			{"m-1", Filter{Upstream: "out"}, Ordered{To: []string{"z@elsewhere.example"}, Others: 1}, nil},
			{"m-2", Filter{To: "@example.org"}, Ordered{To: []string{"x@example.org", "y@example.org"}, Others: 1}, nil},
			{"m-2", Filter{To: "@elsewhere.example"}, Ordered{To: []string{"z@elsewhere.example"}}, nil},
			{"m-2", Filter{}, Ordered{}, spool.ErrNotFound},
		} {
			got, err := b.q.Do(Remove, c.id, c.f)
			if !errors.Is(err, c.err) || !slices.Equal(got.To, c.want.To) || got.Others != c.want.Others {
				t.Errorf("%s %+v: %+v %v, want %+v %v", c.id, c.f, got, err, c.want, c.err)
			}
		}
		sleep(time.Second)
		equal(t, "left", b.left(), "m-1")
		b.restart()
		b.in.is(nil)
		b.out.is(nil)
		sleep(time.Minute)
		in, out := b.in.taken(), b.out.taken()
		if len(in) != 1 || !slices.Equal(in[0].to, []string{"y@example.org"}) || len(out) != 0 {
			t.Errorf("delivered: %+v %+v", in, out)
		}
		equal(t, "left", b.left())
	})
}

// TestRetryDown: many messages that are to be tried now are no reason to ask a server that is down for each of them.
func TestRetryDown(t *testing.T) {
	run(t, func(t *testing.T, b *bench) {
		b.in.is(down)
		for i := range 100 {
			b.put(message{id: fmt.Sprintf("m-%02d", i), from: "a@sender.example", to: []string{"in x@example.org"}})
		}
		sleep(time.Minute)
		before := b.in.tries
		for i := range 100 {
			if _, err := b.q.Do(Retry, fmt.Sprintf("m-%02d", i), Filter{}); err != nil {
				t.Fatal(err)
			}
			sleep(time.Millisecond)
		}
		b.q.Wake("in")
		sleep(time.Millisecond)
		if n := b.in.tries - before; n < 1 || n > 2 {
			t.Errorf("asked %d times", n)
		}
	})
}

// TestRemoveBusy: what is being delivered can't be taken away from under it.
func TestRemoveBusy(t *testing.T) {
	run(t, func(t *testing.T, b *bench) {
		b.in.slow(time.Minute)
		b.put(message{id: "m-1", from: "a@sender.example", to: []string{"in x@example.org"}})
		sleep(time.Second)
		if _, err := b.q.Do(Remove, "m-1", Filter{}); !errors.Is(err, ErrBusy) {
			t.Errorf("%v", err)
		}
		sleep(time.Hour)
		equal(t, "left", b.left())
	})
}

// FuzzPlace: what is read as a place is written as one that is read as the same.
func FuzzPlace(f *testing.F) {
	for _, seed := range []string{
		"mx-000000000000000001", "2026-11-26T09:00:00.123456789Z/mx-1", "2026-11-26T10:00:00+01:00/a", "9999-12-31T23:59:59-01:00/a", "0000-01-01T00:00:00+01:00/a", "/", "x/y/z",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePlace(s)
		if err != nil {
			return
		}
		again, err := ParsePlace(p.String())
		if err != nil || again.ID != p.ID || !again.Taken.Equal(p.Taken) {
			t.Errorf("%q: %+v, and again %+v %v", s, p, again, err)
		}
	})
}
