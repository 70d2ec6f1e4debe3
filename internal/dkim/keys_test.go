package dkim

import (
	"context"
	"fmt"
	"testing"
)

// instant answers before it is asked twice.
type instant struct{}

func (instant) LookupTXT(_ context.Context, name string) ([]string, error) {
	return []string{"v=DKIM1; p=" + name}, nil
}

// The keys of many signatures are asked for side by side, and some answers come while the next is still to be asked.
func TestFetchSideBySide(t *testing.T) {
	var all []*Signature
	for i := range 2000 {
		all = append(all, &Signature{Domain: "example.org", Selector: fmt.Sprintf("s%d", i/2)})
	}
	k := NewKeys(instant{}, 0)
	k.Fetch(t.Context(), all[:1000]...)
	k.Fetch(t.Context(), all...)
	for _, s := range all {
		if a, ok := k.found[s.keyName()]; !ok || a.err == nil {
			t.Fatalf("%s: %+v", s.keyName(), a)
		}
	}
}
