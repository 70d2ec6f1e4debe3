package limits

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestLoad(t *testing.T) {
	used, asked := 0.1, 0
	l := NewLoad(100, func() float64 { asked++; return used })
	for range 90 {
		if !l.Enter() {
			t.Fatal("no place")
		}
	}
	if p := l.Pressure(start); p != Easy {
		t.Errorf("pressure %d with 90 of 100", p)
	}
	for range 10 {
		l.Enter()
	}
	if p := l.Pressure(start); p != Tight || l.Enter() {
		t.Errorf("pressure %d with 100 of 100, or a place more", p)
	}
	for range 100 {
		l.Leave()
	}
	for i, tt := range []struct {
		used float64
		want Pressure
	}{{0.74, Easy}, {0.76, Tight}, {0.95, Spent}, {0.2, Easy}} {
		used = tt.used
		if p := l.Pressure(start.Add(time.Duration(i+1) * time.Second)); p != tt.want {
			t.Errorf("pressure %d with %g of the memory", p, tt.used)
		}
	}
	if l.open.Load() != 0 || asked != 5 {
		t.Errorf("%d are open; asked %d times", l.open.Load(), asked)
	}
	used = 1
	if p := l.Pressure(start.Add(4*time.Second + time.Millisecond)); p != Easy || asked != 5 {
		t.Error("asked more often than once a second")
	}
	var none *Load
	if !none.Enter() || none.Pressure(start) != Easy {
		t.Error("no load is a limit")
	}
	none.Leave()
}

func TestLiveMemory(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	debug.SetMemoryLimit(1 << 40)
	runtime.GC()
	if got := LiveMemory(); got <= 0 || got > 0.1 {
		t.Errorf("share of a TiB: %g", got)
	}
	held := make([]byte, 64<<20)
	debug.SetMemoryLimit(100 << 20)
	runtime.GC()
	if got := LiveMemory(); got < 0.6 || got > 1.5 {
		t.Errorf("share with 64 of 100 MiB held: %g", got)
	}
	runtime.KeepAlive(held)
}
