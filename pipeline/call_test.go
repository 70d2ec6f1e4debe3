package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/mail"
)

// after makes a filter that ignores its context for d.
func after(d time.Duration, res filter.Result, err error) filter.Filter {
	return filter.Func(func(context.Context, *filter.Input) (filter.Result, error) {
		time.Sleep(d)
		return res, err
	})
}

// obeys makes a filter that waits for its context to end.
var obeys = filter.Func(func(ctx context.Context, _ *filter.Input) (filter.Result, error) {
	<-ctx.Done()
	return filter.Result{}, ctx.Err()
})

func TestDeadlines(t *testing.T) {
	const limit = 2 * time.Second
	own := errors.New("no answer")
	for _, c := range []struct {
		name      string
		filter    filter.Filter
		outcome   Outcome
		err       error
		elapsed   time.Duration
		abandoned int64
	}{
		{"in time", after(time.Second, filter.Result{}, nil), Pass, nil, time.Second, 0},
		{"in time with an error", after(time.Second, filter.Result{}, own), Errored, own, time.Second, 0},
		{"not asked", after(0, filter.Result{}, fmt.Errorf("x: %w", filter.ErrBreakerOpen)), Resting, filter.ErrBreakerOpen, 0, 0},
		{"not asked at the deadline", after(limit, filter.Result{}, filter.ErrBreakerOpen), Resting, filter.ErrBreakerOpen, limit, 0},
		{"obeys its context", obeys, TimedOut, ErrDeadline, limit, 0},
		{"its error says why", obeys, TimedOut, context.DeadlineExceeded, limit, 0},
		{"a result just in time", after(limit-1, filter.Result{Propose: filter.Reject}, nil), Match, nil, limit - 1, 0},
		{"a result at the deadline", after(limit, filter.Result{}, nil), TimedOut, ErrDeadline, limit, 0},
		{"a result within the grace", after(limit+grace/2, filter.Result{Propose: filter.Reject}, nil), TimedOut, ErrDeadline, limit + grace/2, 0},
		{"an error within the grace", after(limit+grace/2, filter.Result{}, own), TimedOut, own, limit + grace/2, 0},
		{"ignores its context", after(time.Hour, filter.Result{Propose: filter.Reject}, nil), TimedOut, ErrDeadline, limit + grace, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stages := with(parse(t, "a data"), c.filter)
				stages[0].Timeout = limit
				r := mustCompile(t, stages).Run(t.Context(), filter.Data, input(t, "A: b\n\n"))[0]
				if r.Outcome != c.outcome || !errors.Is(r.Err, c.err) || r.Elapsed != c.elapsed {
					t.Errorf("got %v, %v, %v; want %v, %v, %v", r.Outcome, r.Err, r.Elapsed, c.outcome, c.err, c.elapsed)
				}
				if n := Abandoned(); n != c.abandoned {
					t.Errorf("%d abandoned, want %d", n, c.abandoned)
				}
				time.Sleep(2 * time.Hour)
				if n := Abandoned(); n != 0 {
					t.Errorf("%d abandoned when all have ended", n)
				}
				if !r.Outcome.Told() && (r.Result.Propose != filter.Continue || r.Err == nil) {
					t.Errorf("a failure with result %v and error %v", r.Result, r.Err)
				}
			})
		})
	}
}

func TestDefaultTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		mustCompile(t, with(parse(t, "a data"), obeys)).Run(t.Context(), filter.Data, input(t, "A: b\n\n"))
		if d := time.Since(began); d != 20*time.Second {
			t.Errorf("took %v", d)
		}
	})
}

// A wave takes as long as its slowest stage's deadline and one grace, however many ignore theirs, and a
// stage that came home after its deadline is not believed because another was waited for.
func TestWaveOfLateStages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reject := filter.Result{Propose: filter.Reject}
		stages := with(parse(t, "a data", "b data", "c data", "d data"),
			after(time.Hour, reject, nil), after(5*time.Second, reject, nil), after(time.Hour, reject, nil), nothing)
		for i, d := range []time.Duration{10 * time.Second, time.Second, 3 * time.Second, time.Second} {
			stages[i].Timeout = d
		}
		began := time.Now()
		rs := mustCompile(t, stages).Run(t.Context(), filter.Data, input(t, "A: b\n\n"))
		if got := outcomes(rs); got != "a:timeout b:timeout c:timeout d:pass" {
			t.Error(got)
		}
		if d := time.Since(began); d != 10*time.Second+grace {
			t.Errorf("the wave took %v", d)
		}
		if b := rs[1]; b.Elapsed != time.Second+grace {
			t.Errorf("b took %v", b.Elapsed)
		}
		time.Sleep(2 * time.Hour)
		if n := Abandoned(); n != 0 {
			t.Errorf("%d abandoned", n)
		}
	})
}

func TestSessionGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := errors.New("client gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(gone) })
		stages := with(parse(t, "a data", "b data", "c data"), obeys, after(time.Hour, filter.Result{}, nil), after(time.Hour, filter.Result{}, nil))
		began := time.Now()
		rs := mustCompile(t, stages).Run(ctx, filter.Data, input(t, "A: b\n\n"))
		if got := outcomes(rs); got != "a:error b:error c:error" {
			t.Error(got)
		}
		if !errors.Is(rs[1].Err, gone) {
			t.Errorf("error is %v", rs[1].Err)
		}
		if d := time.Since(began); d != time.Second+grace {
			t.Errorf("took %v", d)
		}
		time.Sleep(2 * time.Hour)
	})
}

func TestAbandonedAreCapped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stages := with(parse(t, "a data"), after(time.Hour, filter.Result{}, nil))
		stages[0].Timeout = time.Millisecond
		p := mustCompile(t, stages)
		in := input(t, "A: b\n\n")
		for range maxAbandoned {
			if r := p.Run(t.Context(), filter.Data, in)[0]; r.Outcome != TimedOut {
				t.Fatalf("%v, %v", r.Outcome, r.Err)
			}
		}
		began := time.Now()
		r := p.Run(t.Context(), filter.Data, in)[0]
		if r.Outcome != Errored || !errors.Is(r.Err, ErrAbandoned) || time.Since(began) != 0 {
			t.Errorf("above the cap: %v, %v after %v", r.Outcome, r.Err, time.Since(began))
		}
		if n := Abandoned(); n != maxAbandoned {
			t.Errorf("%d abandoned", n)
		}
		time.Sleep(2 * time.Hour)
		if r := p.Run(t.Context(), filter.Data, in)[0]; r.Outcome != TimedOut {
			t.Errorf("when they are gone: %v, %v", r.Outcome, r.Err)
		}
		time.Sleep(2 * time.Hour)
	})
}

// A filter that comes home at the very moment at which it is given up is counted out again, whichever
// of the two was first.
func TestAbandonedAtTheLastMoment(t *testing.T) {
	for range 300 {
		synctest.Test(t, func(t *testing.T) {
			stages := with(parse(t, "a data", "b data"), after(time.Second+grace, filter.Result{}, nil), after(time.Second+grace, filter.Result{}, nil))
			stages[0].Timeout, stages[1].Timeout = time.Second, time.Second
			for _, r := range mustCompile(t, stages).Run(t.Context(), filter.Data, input(t, "A: b\n\n")) {
				if r.Outcome != Pass && r.Outcome != TimedOut || r.Elapsed != time.Second+grace {
					t.Fatalf("%v, %v after %v", r.Outcome, r.Err, r.Elapsed)
				}
			}
			synctest.Wait()
			if n := Abandoned(); n != 0 {
				t.Fatalf("%d abandoned", n)
			}
		})
	}
}

func TestAbandonedKeepsTheContent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		late := make(chan error, 1)
		f := filter.Func(func(_ context.Context, in *filter.Input) (filter.Result, error) {
			time.Sleep(time.Hour)
			_, err := io.ReadAll(in.Content.Blob().Section(0, in.Content.Blob().Size()))
			late <- err
			return filter.Result{}, nil
		})
		stages := with(parse(t, "a data"), f)
		in := &filter.Input{Session: &filter.Session{}, Transaction: &filter.Transaction{}, Content: message(t, "A: b\n\n")}
		mustCompile(t, stages).Run(t.Context(), filter.Data, in)
		in.Content.Release()
		if err := <-late; err != nil {
			t.Errorf("an abandoned filter can't read: %v", err)
		}
		synctest.Wait()
		if _, err := in.Content.Blob().ReadAt(make([]byte, 1), 0); !errors.Is(err, mail.ErrReleased) {
			t.Errorf("it kept the content for ever: %v", err)
		}
	})
}

// readable reports whether the content's octets can still be read, which ends with its last reference.
func readable(c *mail.Content) bool {
	_, err := c.Blob().ReadAt(make([]byte, 1), 0)
	return err == nil
}

// A caller that uses its Input again takes nothing from a filter that was abandoned with it: the filter
// goes on with what it was given, and releases what was retained for it and nothing else.
func TestAbandonedKeepsItsInput(t *testing.T) {
	for _, c := range []struct {
		name         string
		phase        filter.Phase
		before, next string // contents of the Input at the call and after it, "" for none
	}{
		{"content follows none", filter.Mail, "", "B: c\n\n"},
		{"another content", filter.Data, "A: b\n\n", "B: c\n\n"},
		{"none follows content", filter.Data, "A: b\n\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				content := func(text string) *mail.Content {
					if text == "" {
						return nil
					}
					return message(t, text)
				}
				first, second := content(c.before), content(c.next)
				given := filter.Input{Phase: c.phase, Session: &filter.Session{ID: "s"}, Transaction: &filter.Transaction{ID: "t"}, Content: first}
				late := make(chan filter.Input, 1)
				stages := with(parse(t, "a "+c.phase.String()), filter.Func(func(_ context.Context, in *filter.Input) (filter.Result, error) {
					time.Sleep(time.Hour)
					late <- *in
					time.Sleep(time.Hour)
					return filter.Result{}, nil
				}))
				in := given
				if r := mustCompile(t, stages).Run(t.Context(), c.phase, &in)[0]; r.Outcome != TimedOut {
					t.Fatalf("%v, %v", r.Outcome, r.Err)
				}
				in = filter.Input{Session: &filter.Session{ID: "s2"}, Content: second}
				if first != nil {
					first.Release()
				}
				if got := <-late; !reflect.DeepEqual(got, given) {
					t.Errorf("the filter reads %+v, was given %+v", got, given)
				}
				synctest.Wait()
				if first != nil && !readable(first) {
					t.Error("the filter still runs and can't read")
				}
				time.Sleep(2 * time.Hour)
				if first != nil && readable(first) {
					t.Error("the filter has ended and keeps its content")
				}
				if second != nil && !readable(second) {
					t.Error("the filter released a content that it was not given")
				}
			})
		})
	}
}

// A filter can't take a content from those that run beside it, or after it, by writing to its Input.
func TestInputIsOfOneCall(t *testing.T) {
	vandal := filter.Func(func(_ context.Context, in *filter.Input) (filter.Result, error) {
		in.Content, in.Transaction = nil, nil
		return filter.Result{}, nil
	})
	looks := filter.Func(func(_ context.Context, in *filter.Input) (filter.Result, error) {
		if in.Content == nil || in.Transaction == nil {
			return filter.Result{}, errors.New("nothing to look at")
		}
		return filter.Result{}, nil
	})
	in := &filter.Input{Session: &filter.Session{}, Transaction: &filter.Transaction{}, Content: message(t, "A: b\n\n")}
	content := in.Content
	rs := mustCompile(t, with(parse(t, "a data gives=f", "b data", "c data needs=f"), vandal, looks, looks)).Run(t.Context(), filter.Data, in)
	if got := outcomes(rs); got != "a:pass b:pass c:pass" || in.Content != content {
		t.Errorf("%s, content %p", got, in.Content)
	}
	content.Release()
	if readable(content) {
		t.Error("a call did not release what it retained")
	}
}

// TestInputHasThePhase: a filter knows in which phase it is called, whatever its caller left in the Input.
func TestInputHasThePhase(t *testing.T) {
	var seen []filter.Phase
	f := filter.Func(func(_ context.Context, in *filter.Input) (filter.Result, error) {
		seen = append(seen, in.Phase)
		return filter.Result{}, nil
	})
	p := mustCompile(t, []Stage{{Spec: filter.Spec{Name: "see", Phases: filter.In(filter.AllPhases()...)}, Filter: f}})
	in := &filter.Input{Session: &filter.Session{}, Transaction: &filter.Transaction{}, Recipient: &filter.Recipient{}, Phase: filter.Data}
	for _, ph := range filter.AllPhases() {
		p.Run(t.Context(), ph, in)
	}
	if !slices.Equal(seen, filter.AllPhases()) {
		t.Errorf("saw %v", seen)
	}
}

func TestPanics(t *testing.T) {
	cause := errors.New("cause")
	for _, c := range []struct {
		name   string
		filter filter.Func
		text   string
	}{
		{"value", func(context.Context, *filter.Input) (filter.Result, error) { panic("boom") }, "boom"},
		{"error", func(context.Context, *filter.Input) (filter.Result, error) { panic(cause) }, "cause"},
		{"nil map", func(context.Context, *filter.Input) (filter.Result, error) {
			maps.Copy(map[string]int(nil), map[string]int{"x": 1})
			return filter.Result{}, nil
		}, "nil map"},
		{"exit", func(context.Context, *filter.Input) (filter.Result, error) {
			runtime.Goexit()
			return filter.Result{}, nil
		}, "ended its goroutine"},
		{"beside", func(context.Context, *filter.Input) (filter.Result, error) {
			var g filter.Group
			g.Go(func() { panic("boom beside") })
			g.Wait()
			return filter.Result{}, nil
		}, "boom beside"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := input(t, "A: b\n\n")
			r := mustCompile(t, with(parse(t, "a data"), c.filter)).Run(t.Context(), filter.Data, in)[0]
			var pe *PanicError
			if r.Outcome != Panicked || !errors.As(r.Err, &pe) {
				t.Fatalf("got %v, %v", r.Outcome, r.Err)
			}
			if !strings.Contains(pe.Error(), c.text) || len(pe.Stack) == 0 || strings.Contains(pe.Error(), "goroutine 1") {
				t.Errorf("error %q with %d octets of stack", pe, len(pe.Stack))
			}
			if c.name == "beside" && !strings.Contains(string(pe.Stack), "created by sync.(*WaitGroup).Go") {
				t.Errorf("it is not the stack of the goroutine that panicked:\n%s", pe.Stack)
			}
			if c.name == "error" && !errors.Is(r.Err, cause) {
				t.Error("the panic's error is hidden")
			}
			if v := (&Policy{}).Decide(Reports{r}); v.Action != filter.Defer || v.Reply.Code != 451 || strings.Contains(v.Reply.Text, c.text) {
				t.Errorf("a crash comes to %v %v", v.Action, v.Reply)
			}
		})
	}
}

func TestResultsAreChecked(t *testing.T) {
	for _, c := range []struct {
		name string
		res  filter.Result
		ph   filter.Phase
		ok   bool
	}{
		{"fine", filter.Result{
			Findings: []filter.Finding{{Symbol: "X", Strength: 1}, {Detail: "a mention"}},
			Facts:    []filter.Fact{factF.Of("v")}, Edits: []mail.Edit{mail.RemovePart{Path: "1"}},
		}, filter.Data, true},
		{"strength", filter.Result{Findings: []filter.Finding{{Symbol: "X", Strength: math.NaN()}}}, filter.Data, false},
		{"endless", filter.Result{Findings: []filter.Finding{{Symbol: "X", Strength: math.Inf(-1)}}}, filter.Data, false},
		{"symbol", filter.Result{Findings: []filter.Finding{{Symbol: "Z", Strength: 1}}}, filter.Data, false},
		{"fact", filter.Result{Facts: []filter.Fact{{Key: "g"}}}, filter.Data, false},
		{"action", filter.Result{Propose: 77}, filter.Data, false},
		{"nil edit", filter.Result{Edits: []mail.Edit{nil}}, filter.Data, false},
		{"early edit", filter.Result{Edits: []mail.Edit{mail.RemovePart{Path: "1"}}}, filter.Mail, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			stages := with(parse(t, "a mail,data gives=f"), says(c.res, nil))
			stages[0].Symbols = []filter.Symbol{{Name: "X"}}
			r := mustCompile(t, stages).Run(t.Context(), c.ph, input(t, "A: b\n\n"))[0]
			if ok := r.Err == nil; ok != c.ok || !ok && (!errors.Is(r.Err, ErrResult) || r.Outcome != Errored) {
				t.Errorf("got %v, %v", r.Outcome, r.Err)
			}
		})
	}
}

// The verdict does not depend on which stage is faster.
func TestVerdictDoesNotDependOnTiming(t *testing.T) {
	policy := &Policy{Reject: ptr(5.0), Weights: map[string]float64{"X": 1.7}}
	var first string
	for run := range 100 {
		synctest.Test(t, func(t *testing.T) {
			lines := []string{"last data needs=f0,f1,f2"}
			for i := range 8 {
				lines = append(lines, fmt.Sprintf("s%d data gives=f%d", i, i))
			}
			stages := parse(t, lines...)
			for i := 1; i < len(stages); i++ {
				res := filter.Result{
					Findings: []filter.Finding{{Symbol: "X", Strength: 0.1 * float64(i), Detail: stages[i].Name}},
					Propose:  []filter.Action{filter.Continue, filter.Defer, filter.Reject, filter.Tag}[i%4],
					Reply:    nil,
					Edits:    []mail.Edit{mail.RemovePart{Path: fmt.Sprint(i)}},
				}
				stages[i].Symbols = []filter.Symbol{{Name: "X", Weight: 1.7}}
				stages[i].Filter = after(time.Duration((run*7919+i*104729)%997)*time.Millisecond, res, nil)
			}
			rs := mustCompile(t, stages).Run(t.Context(), filter.Data, input(t, "A: b\n\n"))
			b, err := policy.Decide(rs).MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			if first == "" {
				first = string(b)
			} else if got := string(b); got != first {
				t.Fatalf("run %d: %s\nthe first: %s", run, got, first)
			}
		})
	}
	if !strings.Contains(first, `"because":"s1: X s1"`) {
		t.Error(first)
	}
}

func ptr[T any](v T) *T { return &v }
