package filter

import "context"

// Holder counts the memory of filters.
type Holder interface {
	// Hold waits until one filter may have so many octets in all, what it was let have before among them: of that it gives back
	// what is more. The error is that of the context, which ended before.
	Hold(ctx context.Context, octets int64) error
	// Aside does what may wait for other filters, which may wait in Hold.
	Aside(do func())
}

type holderKey struct{}

// WithHolder gives the context in which Hold asks h. It is for those who call filters.
func WithHolder(ctx context.Context, h Holder) context.Context {
	return context.WithValue(ctx, holderKey{}, h)
}

// Hold is called by a filter that is about to take much more memory than a message usually costs: for a text that it reads whole, a
// document, a dictionary. It waits while others have what there is. octets is about how much it is going to have in all. Less than before
// gives back the rest, for which nothing is waited; what the filter has at the end is given back when Check returns. Where the error is
// not nil the filter goes home with it.
func Hold(ctx context.Context, octets int64) error {
	if h, ok := ctx.Value(holderKey{}).(Holder); ok {
		return h.Hold(ctx, octets)
	}
	return nil
}

// Aside is called by a filter for what may wait until another filter is done, as for a thing of which there is one in the process. Those
// who wait for memory do not wait for this filter meanwhile.
func Aside(ctx context.Context, do func()) {
	if h, ok := ctx.Value(holderKey{}).(Holder); ok {
		h.Aside(do)
		return
	}
	do()
}
