package rar

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/postern-mail/postern/internal/archive"
)

// endless is a decoder that does not come back until it is let go.
type endless struct{ let chan struct{} }

func (e endless) next() error { return nil }

func (e endless) Read(p []byte) (int, error) {
	<-e.let
	return len(p), nil
}

// A decoder that takes too long is left to itself, reads nothing any more, and keeps others from being begun while there
// are too many of its kind.
func TestEndless(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		let := make(chan struct{})
		for range maxLeft {
			s := &source{r: endless{let}, parts: []io.Reader{strings.NewReader("of ours")}}
			c := &content{ctx: t.Context(), s: s}
			if n, err := c.Read(make([]byte, 10)); n != 0 || !errors.Is(err, errSlow) {
				t.Errorf("%d octets, %v", n, err)
			}
			if _, err := s.Read(make([]byte, 10)); !errors.Is(err, errLeft) {
				t.Errorf("it still reads: %v", err)
			}
		}
		if err := (&source{}).do(t.Context(), func() error { return nil }); !errors.Is(err, errBusy) {
			t.Errorf("another was begun: %v", err)
		}
		close(let)
		synctest.Wait()
		if err := (&source{}).do(t.Context(), func() error { return nil }); err != nil {
			t.Errorf("no other was begun afterwards: %v", err)
		}
	})
}

// Nor is it waited for when the context ends.
func TestEndlessContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		let := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		c := &content{ctx: ctx, s: &source{r: endless{let}}}
		if n, err := c.Read(make([]byte, 10)); n != 0 || !errors.Is(err, context.Canceled) {
			t.Errorf("%d octets, %v", n, err)
		}
		close(let)
		synctest.Wait()
	})
}

// There is one decoder that may have a model: another message waits for it, an archive within the same one does without.
func TestModels(t *testing.T) {
	ours, others := archive.NewBudget(archive.Limits{}, 1), archive.NewBudget(archive.Limits{}, 1)
	k := &block{models: true}
	outer := &walk{ctx: t.Context(), b: ours}
	for range 2 {
		if problem, err := outer.take(k); problem != nil || err != nil {
			t.Fatal(problem, err)
		}
	}
	inner := &walk{ctx: t.Context(), b: ours}
	if problem, err := inner.take(k); problem != errNested || err != nil {
		t.Error(problem, err)
	}
	if problem, err := inner.take(&block{}); problem != nil || err != nil {
		t.Error(problem, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	other := &walk{ctx: ctx, b: others}
	if problem, err := other.take(k); problem != nil || !errors.Is(err, context.Canceled) {
		t.Error(problem, err)
	}
	other.ctx = t.Context()
	waiting, stepped := make(chan error), make(aside)
	others.Counted(stepped)
	go func() {
		_, err := other.take(k)
		waiting <- err
	}()
	<-stepped // so that the first may wait for memory that the second has
	outer.release()
	if err := <-waiting; err != nil || !other.holds || outer.holds {
		t.Error(err, other.holds, outer.holds)
	}
	other.release()
	other.release()
}

// aside is told of each wait for others as it begins.
type aside chan bool

func (a aside) Taking(_ int64, do func() error) error { return do() }

func (a aside) Aside(do func()) {
	a <- true
	do()
}
