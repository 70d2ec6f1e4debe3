// Package leaks fails the tests of a package that leave goroutines behind.
package leaks

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience is how long goroutines that are about to end may take: goleak gives them half a second, which on a busy machine is little.
const patience = 30 * time.Second

// Main runs the tests, for TestMain, and fails where goroutines are left that do not end.
func Main(m *testing.M) { goleak.VerifyTestMain(run{m}) }

// run is a run of tests whose goroutines have had time to end.
type run struct{ m *testing.M }

// Run implements goleak.TestingM.
func (r run) Run() int {
	code := r.m.Run()
	if code == 0 {
		for end := time.Now().Add(patience); goleak.Find() != nil && time.Now().Before(end); {
			time.Sleep(10 * time.Millisecond)
		}
	}
	return code
}
