package text

import (
	"strconv"
	"strings"
	"sync"
	"testing"
)

// TestRecent: names that share places take these from each other, and none is given what is another's, whoever asks beside.
func TestRecent(t *testing.T) {
	var r recent[string]
	asked := 0
	find := func(name string) string { return "of " + name }
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 8000 {
				name := strings.Repeat("x", i%400) + strconv.Itoa(i%3000)
				if got := r.get(name, find); got != "of "+name {
					t.Errorf("%q for %q", got, name)
				}
				if got := r.getOctets([]byte(name), find); got != "of "+name {
					t.Errorf("%q for the octets of %q", got, name)
				}
			}
		})
	}
	wg.Wait()
	for range 10 {
		r.get("example.com", func(string) string { asked++; return "" })
	}
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
}

// TestLazyPanics: who asks for what could not be computed is never given something else.
func TestLazyPanics(t *testing.T) {
	var l lazy[int]
	for range 3 {
		func() {
			defer func() {
				if got := recover(); got != "broken" {
					t.Errorf("panics with %v", got)
				}
			}()
			t.Errorf("gave %d", l.get(func() int { panic("broken") }))
		}()
	}
}
