package dkim

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// KeyBudget is the longest that all look-ups of keys may take together, where nothing else is asked for: less than the
// time that a stage has, so that a slow domain gets its result and is not taken for a fault of ours.
const KeyBudget = 15 * time.Second

// parallel is how many keys are asked for at a time: more than signatures are verified of a message, so that names of
// silent servers in some of them keep no key of another from being asked for.
const parallel = 64

// Keys asks for the keys of signatures, each once, several at a time, all within one budget of time. It is not safe
// for concurrent use.
type Keys struct {
	r     Resolver
	until time.Time
	found map[string]answer // by query name
}

type answer struct {
	key      *Key
	err      error
	panicked any
}

// NewKeys makes Keys that ask r for at most budget, from now on; 0 is KeyBudget.
func NewKeys(r Resolver, budget time.Duration) *Keys {
	if budget <= 0 {
		budget = KeyBudget
	}
	return &Keys{r: r, until: time.Now().Add(budget), found: map[string]answer{}}
}

// Fetch asks for the keys of signatures that were read without an error. It returns when all are known or the budget
// is spent; no goroutine outlives it if the Resolver heeds its context.
func (k *Keys) Fetch(ctx context.Context, signatures ...*Signature) {
	ctx, cancel := context.WithDeadline(ctx, k.until)
	defer cancel()
	var ask []*Signature
	asked := map[string]bool{}
	for _, s := range signatures {
		name := s.keyName()
		if _, known := k.found[name]; known || asked[name] {
			continue
		}
		asked[name] = true
		ask = append(ask, s)
	}
	// Each goroutine has a place of its own for its answer: what is known is not touched before all have ended.
	answers := make([]answer, len(ask))
	var wg sync.WaitGroup
	slots := make(chan struct{}, parallel)
	for i, s := range ask {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			answers[i] = k.ask(ctx, s)
		})
	}
	wg.Wait()
	for i, s := range ask {
		if p := answers[i].panicked; p != nil {
			panic(p) // where whoever called us is prepared for it
		}
		k.found[s.keyName()] = answers[i]
	}
}

func (k *Keys) ask(ctx context.Context, s *Signature) (a answer) {
	defer func() {
		if p := recover(); p != nil {
			a = answer{panicked: fmt.Sprintf("dkim: fetch a key: %v", p)}
		}
	}()
	a.key, a.err = FetchKey(ctx, k.r, s.Selector, s.Domain)
	return a
}

// Get gives what FetchKey gave for a signature.
func (k *Keys) Get(s *Signature) (*Key, error) {
	a, ok := k.found[s.keyName()]
	if !ok {
		return nil, &Error{TempError, "the key was not asked for"}
	}
	return a.key, a.err
}

func (s *Signature) keyName() string { return s.Selector + "._domainkey." + s.Domain }
