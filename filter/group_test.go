package filter

import (
	"errors"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
)

// TestGroup: all functions run to their end whatever becomes of others, and a panic, of a group within too, is that of Wait.
func TestGroup(t *testing.T) {
	boom := errors.New("boom")
	for name, c := range map[string]struct {
		run  func(*Group)
		want string // "": no panic
	}{
		"all well": {func(*Group) {}, ""},
		"a panic":  {func(g *Group) { g.Go(func() { panic(boom) }) }, "boom"},
		"within": {func(g *Group) {
			g.Go(func() {
				var inner Group
				inner.Go(func() { panic(boom) })
				inner.Wait()
			})
		}, "boom"},
		"an ended goroutine": {func(g *Group) { g.Go(runtime.Goexit) }, "it ended its goroutine"},
	} {
		t.Run(name, func(t *testing.T) {
			var g Group
			var done atomic.Int64
			c.run(&g)
			for range 10 {
				g.Go(func() { done.Add(1) })
			}
			got := func() (err error) {
				defer func() { err, _ = recover().(error) }()
				g.Wait()
				return nil
			}()
			if done.Load() != 10 {
				t.Errorf("%d of 10 have run", done.Load())
			}
			var p *PanicError
			switch {
			case c.want == "" && got == nil:
			case !errors.As(got, &p) || got.Error() != c.want || !strings.Contains(string(p.Stack), "group_test.go") && c.want == "boom":
				t.Errorf("got %v", got)
			case c.want == "boom" && !errors.Is(got, boom):
				t.Errorf("%v is another error", got)
			}
		})
	}
}
