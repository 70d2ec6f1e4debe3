package filter

import (
	"fmt"
	"runtime/debug"
	"sync"
)

// Group runs functions of a filter side by side. Nobody but the pipeline is prepared for a filter that panics, and that in the
// filter's own goroutine only: a panic in any other one would end the program. Here it ends its function, and Wait panics with it.
// The zero value is ready for use.
type Group struct {
	running sync.WaitGroup
	mu      sync.Mutex
	first   *PanicError
}

// PanicError is what Wait panics with.
type PanicError struct {
	Value any    // what was given to panic
	Stack []byte // of the goroutine in which that was
}

// Error gives the panic's value, without the stack.
func (p *PanicError) Error() string { return fmt.Sprint(p.Value) }

// Unwrap gives the panic's value where it is an error.
func (p *PanicError) Unwrap() error {
	err, _ := p.Value.(error)
	return err
}

// Go runs a function in a goroutine of its own.
func (g *Group) Go(f func()) {
	g.running.Go(func() {
		returned := false
		defer func() {
			if returned {
				return
			}
			v := recover()
			p, ok := v.(*PanicError) // of a group within this one
			if !ok {
				if v == nil {
					v = "it ended its goroutine"
				}
				p = &PanicError{Value: v, Stack: debug.Stack()}
			}
			g.mu.Lock()
			defer g.mu.Unlock()
			if g.first == nil {
				g.first = p
			}
		}()
		f()
		returned = true
	})
}

// Wait waits for all functions. Where one has panicked it panics with a PanicError, that of the first.
func (g *Group) Wait() {
	g.running.Wait()
	g.mu.Lock()
	p := g.first
	g.mu.Unlock()
	if p != nil {
		panic(p)
	}
}
