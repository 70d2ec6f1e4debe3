package rates

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/ledger"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		text string
		want Rate
		back string
	}{
		{"100/1h", Rate{100, time.Hour}, "100/1h"},
		{"100/h", Rate{100, time.Hour}, "100/1h"},
		{"500/30m", Rate{500, 30 * time.Minute}, "500/30m"},
		{"1/s", Rate{1, time.Second}, "1/1s"},
		{"2000/1d", Rate{2000, 24 * time.Hour}, "2000/1d"},
		{"2000/24h", Rate{2000, 24 * time.Hour}, "2000/1d"},
		{"1GiB/1w", Rate{1 << 30, 7 * 24 * time.Hour}, "1073741824/1w"},
		{"5M/d", Rate{5e6, 24 * time.Hour}, "5000000/1d"},
	} {
		got, err := Parse(c.text)
		if err != nil || got != c.want || got.String() != c.back {
			t.Errorf("%s: %+v, %s, %v", c.text, got, got, err)
		}
	}
	for _, text := range []string{
		"", "100", "/1h", "100/", "0/1h", "-1/1h", "1.5/1h", "100/0h", "100/-1h", "100/1", "100/1y", "100/400d", "99999999999999999999/1h",
		"9999999999999TiB/1h", "100/1h/2", " 100/1h", "100 /1h", "1e3/1h", "100/1h30m", "GiB/1d",
	} {
		if r, err := Parse(text); err == nil {
			t.Errorf("%q is %+v", text, r)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"100/1h", "100/h", "1GiB/1w", "0/1h", "99999999999999999999/1h", "1/99999999w"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := Parse(s)
		if err != nil {
			return
		}
		if r.Most <= 0 || r.Per <= 0 || r.Per > maxPer {
			t.Errorf("%q is %+v", s, r)
		}
		if again, err := Parse(r.String()); err != nil || again != r {
			t.Errorf("%q is %+v, and written %q it is %+v, %v", s, r, r, again, err)
		}
	})
}

func table() filter.Table { return ledger.New().Table("x", filter.TableOptions{}) }

func TestTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tab, r := table(), Rate{100, time.Hour}
		key := r.Key("a")
		take := func(n int64, ok bool, wait time.Duration) {
			t.Helper()
			if w, is := r.Room(tab, key, n); is != ok || (w-wait).Abs() > time.Millisecond {
				t.Errorf("room for %d: %v, %s", n, is, w)
			}
			if w, is := r.Take(tab, key, n); is != ok || (w-wait).Abs() > time.Millisecond {
				t.Errorf("%d: %v, %s", n, is, w)
			}
		}
		for range 100 {
			if _, ok := r.Take(tab, key, 1); !ok {
				t.Fatal("less than a hundred")
			}
		}
		take(1, false, 36*time.Second)
		take(10, false, 360*time.Second)
		if _, ok := r.Take(tab, r.Key("b"), 1); !ok {
			t.Error("another subject")
		}
		time.Sleep(36 * time.Second)
		if _, ok := r.Take(tab, key, 1); !ok {
			t.Error("one has come back")
		}
		take(1, false, 36*time.Second)
		r.Return(tab, key, 50)
		if _, ok := r.Take(tab, key, 50); !ok {
			t.Error("what was given back can be taken again")
		}
		take(1, false, 36*time.Second)
		take(1000, false, time.Hour) // more than there can ever be: when nothing is used
		time.Sleep(time.Hour)
		if _, ok := tab.Get(key); ok {
			t.Error("what is of no use is still there")
		}
		if _, ok := r.Take(tab, key, 1000); !ok {
			t.Error("more than there can ever be is never taken")
		}
		take(1, false, 9*time.Hour+36*time.Second)
		r.Return(tab, key, 5000)
		if _, ok := r.Take(tab, key, 1); !ok {
			t.Error("nothing is owed")
		}

		higher := Rate{200, time.Hour}
		for range 50 {
			r.Take(tab, r.Key("c"), 1)
		}
		for range 100 {
			if _, ok := higher.Take(tab, higher.Key("c"), 1); !ok {
				t.Fatal("a limit that was raised")
			}
		}
		if _, ok := higher.Take(tab, higher.Key("c"), 1); ok {
			t.Error("a limit that was raised begins anew")
		}
	})
}

func TestNoLimit(t *testing.T) {
	for range 1000 {
		if _, ok := (Rate{}).Take(nil, filter.Digest{}, 1); !ok {
			t.Fatal("the zero rate limits")
		}
		if _, ok := (Rate{1, time.Hour}).Take(filter.NoState{}.Table("", filter.TableOptions{}), filter.Digest{}, 1); !ok {
			t.Fatal("what can't be counted is limited")
		}
	}
}

// TestNeverMore: in no stretch of time is more taken than the bucket has and what comes back in it.
func TestNeverMore(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := Rate{rapid.Int64Range(1, 1000).Draw(rt, "most"), time.Duration(rapid.IntRange(1, 3600).Draw(rt, "per")) * time.Second}
		type step struct {
			Wait time.Duration
			N    int64
		}
		steps := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) step {
			return step{time.Duration(rapid.Int64Range(0, int64(r.Per)/4).Draw(rt, "wait")), rapid.Int64Range(1, r.Most).Draw(rt, "n")}
		}), 1, 60).Draw(rt, "steps")
		synctest.Test(t, func(*testing.T) {
			tab, key, began := table(), r.Key("x"), time.Now()
			taken := int64(0)
			for _, s := range steps {
				time.Sleep(s.Wait)
				wait, ok := r.Take(tab, key, s.N)
				if ok {
					taken += s.N
				} else if wait > r.Per {
					rt.Fatalf("wait %s for one of %s", wait, r)
				}
				most := float64(r.Most) * (1 + float64(time.Since(began))/float64(r.Per))
				if float64(taken) > most+float64(len(steps))*1e-3*float64(r.Most) {
					rt.Fatalf("%d of %s taken in %s", taken, r, time.Since(began))
				}
				if !ok && wait > 0 { // and what was promised is there
					time.Sleep(wait + time.Microsecond)
					if _, ok := r.Take(tab, key, s.N); !ok {
						rt.Fatalf("%d are not there after %s", s.N, wait)
					}
					taken += s.N
				}
			}
		})
	})
}

func TestTogether(t *testing.T) {
	tab, r := table(), Rate{1000, 24 * time.Hour}
	var group sync.WaitGroup
	var taken [8]int
	for g := range taken {
		group.Go(func() {
			for range 500 {
				if _, ok := r.Take(tab, r.Key("x"), 1); ok {
					taken[g]++
				}
			}
		})
	}
	group.Wait()
	sum := 0
	for _, n := range taken {
		sum += n
	}
	if sum != 1000 {
		t.Errorf("%d of 1000 taken", sum)
	}
}

func TestTimes(t *testing.T) {
	if r := (Rate{100, time.Hour}).Times(10); r.Most != 1000 || r.Per != time.Hour {
		t.Errorf("%+v", r)
	}
	if r := (Rate{1 << 62, time.Hour}).Times(10); r.Most <= 0 {
		t.Errorf("%+v", r)
	}
}
