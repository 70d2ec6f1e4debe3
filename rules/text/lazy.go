package text

import "sync"

// lazy is a value that is computed once, when it is first asked for. A panic is handed on to each who asks.
type lazy[T any] struct {
	once   sync.Once
	value  T
	known  bool
	broken any
}

func (l *lazy[T]) get(compute func() T) T {
	l.once.Do(func() {
		defer func() {
			if !l.known {
				l.broken = recover()
			}
		}()
		l.value = compute()
		l.known = true
	})
	if !l.known {
		panic(l.broken)
	}
	return l.value
}
