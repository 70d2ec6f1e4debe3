package dns

import (
	"context"
	"sync"
	"time"
)

// What one message may ask for by default, beside the checks that have budgets of their own (SPF, DMARC). Honest mail needs
// some twenty questions (keys of signatures, names of the client, block lists); who hides many signatures in one is cut off.
const (
	MessageQuestions = 200
	MessageTime      = 30 * time.Second
)

// The limits of a Budget, as metrics name them.
const (
	LimitQuestions = "questions"
	LimitTime      = "time"
)

// BudgetLimits lists the limits.
func BudgetLimits() []string { return []string{LimitQuestions, LimitTime} }

// Budget is what the look-ups for one message may cost, whoever makes them: how many questions go out, and
// how long anybody waits for answers. Time in which several wait counts once; what is in the cache costs
// nothing. A nil *Budget has no limits. It is safe for concurrent use.
type Budget struct {
	mu        sync.Mutex
	questions int
	left      time.Duration // of the time, up to since
	waiting   int
	since     time.Time // from when on somebody has been waiting
	reported  map[string]bool
}

// NewBudget makes a budget of so many questions and so much time.
func NewBudget(questions int, wait time.Duration) *Budget {
	return &Budget{questions: questions, left: wait}
}

// MessageBudget makes the budget that one message has by default.
func MessageBudget() *Budget { return NewBudget(MessageQuestions, MessageTime) }

type budgetKey struct{}

// WithBudget gives a context whose look-ups are paid from a budget. Several contexts may share one.
func WithBudget(ctx context.Context, b *Budget) context.Context {
	return context.WithValue(ctx, budgetKey{}, b)
}

func budgetOf(ctx context.Context) *Budget {
	b, _ := ctx.Value(budgetKey{}).(*Budget)
	return b
}

// enter lets somebody wait, for as long as it gives; false: the time is used up.
func (b *Budget) enter(now time.Time) (time.Duration, bool) {
	if b == nil {
		return 0, true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.settle(now)
	if b.left <= 0 {
		return 0, false
	}
	b.waiting++
	return b.left, true
}

// leave ends what enter began.
func (b *Budget) leave(now time.Time) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.settle(now)
	b.waiting--
}

// settle takes the time that was waited off the budget.
func (b *Budget) settle(now time.Time) {
	if b.waiting > 0 {
		b.left -= now.Sub(b.since)
	}
	b.since = now
}

// spend pays for one question; false: there are none left.
func (b *Budget) spend() bool {
	if b == nil {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.questions <= 0 {
		return false
	}
	b.questions--
	return true
}

// report tells whether this is the first time that a limit was hit.
func (b *Budget) report(limit string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	first := !b.reported[limit]
	if b.reported == nil {
		b.reported = map[string]bool{}
	}
	b.reported[limit] = true
	return first
}
