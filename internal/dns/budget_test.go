package dns

import (
	"testing"
	"time"
)

// TestBudgetCountsWaitingOnce: the time in which somebody waits, however many do, and no other.
func TestBudgetCountsWaitingOnce(t *testing.T) {
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	b := NewBudget(1, 10*time.Second)
	enter := func(s, want int) {
		t.Helper()
		left, ok := b.enter(at(s))
		if left != time.Duration(want)*time.Second || ok != (want > 0) {
			t.Errorf("at %d s: %s left, %v; want %d s", s, left, ok, want)
		}
	}
	enter(0, 10)
	enter(1, 9)
	enter(2, 8)
	b.leave(at(3))
	b.leave(at(4))
	b.leave(at(5)) // five seconds in which one to three waited
	enter(1000, 5) // and a long time in which none did
	b.leave(at(1004))
	enter(2000, 1)
	b.leave(at(2003)) // who waits may come back a little late
	enter(2004, 0)
	if !b.spend() || b.spend() {
		t.Error("the one question")
	}
	if !b.report(LimitTime) || b.report(LimitTime) || !b.report(LimitQuestions) {
		t.Error("each limit is told once")
	}
	var none *Budget
	if _, ok := none.enter(start); !ok || !none.spend() {
		t.Error("no budget is no limit")
	}
	none.leave(start)
}
