package limits

import (
	"sync"
	"testing"
)

func TestBudget(t *testing.T) {
	const mib = 1 << 20
	b := NewBudget(10 * mib)
	one, two := b.Share(), b.Share()
	if !one.Reserve(6 * mib) {
		t.Fatal("6 of 10 could not be had")
	}
	if b.Fits(5*mib) || !b.Fits(4*mib) {
		t.Error("what fits is wrong")
	}
	if two.Reserve(5 * mib) {
		t.Error("5 more could be had")
	}
	if !two.Reserve(4*mib) || b.Used() != 10*mib {
		t.Errorf("4 more could not be had; %d are used", b.Used())
	}
	if one.Reserve(7 * mib) {
		t.Error("one more could be had")
	}
	if !one.Reserve(5*mib) || b.Used() != 10*mib {
		t.Error("what is held already could not be had")
	}
	two.Release()
	two.Release()
	if b.Used() != 6*mib {
		t.Errorf("%d are used", b.Used())
	}
	one.Release()
	if b.Used() != 0 {
		t.Errorf("%d are used", b.Used())
	}
}

// TestOneAlwaysFits: a message larger than the budget goes through when it is alone.
func TestOneAlwaysFits(t *testing.T) {
	b := NewBudget(1000)
	if !b.Fits(5000) {
		t.Error("it is refused though nothing is held")
	}
	s := b.Share()
	for range 50 {
		if !s.Use(100) {
			t.Fatal("it was stopped halfway")
		}
	}
	other := b.Share()
	if other.Use(1) || b.Fits(1) {
		t.Error("a second one fits")
	}
	s.Release()
	if !other.Use(1) || !other.Reserve(9000) {
		t.Error("another one does not fit when the first is gone")
	}
	other.Release()
}

func TestBudgetGrows(t *testing.T) {
	b := NewBudget(4 * step)
	s, other := b.Share(), b.Share()
	if !s.Use(10) || b.Used() != 10+step {
		t.Errorf("%d are used", b.Used())
	}
	if !other.Use(2*step) || b.Used() > 4*step {
		t.Errorf("%d are used", b.Used())
	}
	n := 0
	for s.Use(1000) {
		n += 1000
	}
	if total := s.used - 1000 + other.used; total < 4*step-2*step-2000 || total > 4*step {
		t.Errorf("%d came in", total)
	}
	s.Release()
	other.Release()
	if b.Used() != 0 {
		t.Errorf("%d are used", b.Used())
	}
	b.Resize(0)
	if !b.Fits(1 << 60) {
		t.Error("no limit is a limit")
	}
	var none *Budget
	free := none.Share()
	if !none.Fits(1<<60) || !free.Use(1<<30) {
		t.Error("no budget is a limit")
	}
	free.Release()
}

func TestBudgetConcurrent(t *testing.T) {
	b := NewBudget(8 * step)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 500 {
				s := b.Share()
				_ = s.Reserve(step)
				for range 20 {
					if !s.Use(step / 8) {
						break
					}
				}
				s.Release()
			}
		})
	}
	wg.Wait()
	if b.Used() != 0 {
		t.Errorf("%d are left", b.Used())
	}
}
