package dkim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
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

// mute answers for one name, and leaves every other question without an answer.
type mute struct{ name string }

func (m mute) LookupTXT(ctx context.Context, name string) ([]string, error) {
	if name == m.name {
		return nil, &net.DNSError{Name: name, IsNotFound: true}
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestSilentKeysHideNone: whoever forges a signature of a domain can't keep its key from being asked for by further
// signatures, however many are verified.
func TestSilentKeysHideNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all []*Signature
		for i := range 49 {
			all = append(all, &Signature{Domain: "silent.example", Selector: fmt.Sprintf("s%d", i)})
		}
		forged := &Signature{Domain: "example.org", Selector: "s"}
		k := NewKeys(mute{"s._domainkey.example.org"}, 0)
		k.Fetch(t.Context(), append(all, forged)...)
		var e *Error
		if _, err := k.Get(forged); !errors.As(err, &e) || e.Result != PermError {
			t.Errorf("got %v, want a permerror", err)
		}
		if _, err := k.Get(all[0]); !errors.As(err, &e) || e.Result != TempError {
			t.Errorf("got %v, want a temperror", err)
		}
	})
}
