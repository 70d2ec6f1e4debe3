package filter

import "sync"

// Kept is what filters keep of one message, for as long as it is judged. It is safe for concurrent use.
type Kept struct{ all sync.Map } // of *T by keptKey[T]

// keptKey is a key under which a *T is kept: the same name with another type is another key.
type keptKey[T any] string

// KeptBy gives what the stage of that name keeps of the message: the zero T at first, and then the same for each policy that asks about it.
// A filter that counts a message or learns from it finds there whether it has done so for another policy. T is to be safe for concurrent
// use. Where nothing is kept, it is always new.
func KeptBy[T any](in *Input, stage string) *T {
	if in.Kept == nil {
		return new(T)
	}
	v, _ := in.Kept.all.LoadOrStore(keptKey[T](stage), new(T))
	return v.(*T)
}
