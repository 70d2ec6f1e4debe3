package filter_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
)

func TestPhases(t *testing.T) {
	all := filter.AllPhases()
	for i, p := range all {
		if int(p) != i || p.String() == "unknown" {
			t.Errorf("phase %d is %v", i, p)
		}
	}
	if got := filter.Phase(len(all)).String(); got != "unknown" {
		t.Errorf("the phase after the last is %s", got)
	}
	for _, c := range []struct {
		set   filter.Phases
		first filter.Phase
		has   []filter.Phase
	}{
		{filter.In(), filter.Data, nil},
		{filter.In(filter.Data, filter.Mail), filter.Mail, []filter.Phase{filter.Mail, filter.Data}},
		{filter.In(all...), filter.Connect, all},
	} {
		var has []filter.Phase
		for _, p := range all {
			if c.set.Has(p) {
				has = append(has, p)
			}
		}
		if !slices.Equal(has, c.has) || c.set.First() != c.first {
			t.Errorf("%b has %v, first %v; want %v, %v", c.set, has, c.set.First(), c.has, c.first)
		}
	}
}

func TestActionsAscend(t *testing.T) {
	var names []string
	for i, a := range filter.AllActions() {
		if int(a) != i {
			t.Errorf("action %d is %v", i, a)
		}
		b, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, string(b))
	}
	if want := []string{`"continue"`, `"tag"`, `"quarantine"`, `"defer"`, `"reject"`}; !slices.Equal(names, want) {
		t.Errorf("got %v, want %v", names, want)
	}
	if got := filter.Action(200).String(); got != "unknown" {
		t.Errorf("action 200 is %s", got)
	}
}

func TestFactOfTheNarrowestScope(t *testing.T) {
	key := filter.Key[string]("k")
	in := &filter.Input{Session: &filter.Session{}, Transaction: &filter.Transaction{}, Recipient: &filter.Recipient{}}
	want := func(value string, ok bool) {
		t.Helper()
		if v, found := key.From(in); v != value || found != ok {
			t.Errorf("got %q, %v; want %q, %v", v, found, value, ok)
		}
	}
	want("", false)
	in.Session.Record(key.Of("session"))
	want("session", true)
	in.Recipient.Record(key.Of("recipient"))
	want("recipient", true)
	in.Transaction.Record(key.Of("transaction"))
	want("recipient", true)
	in.Recipient = nil
	want("transaction", true)
	in.Transaction.Record(key.Of("newer"), filter.Key[string]("other").Of("x"))
	want("newer", true)
	// A fact of another type under the same name is no fact, and hides what is behind it.
	in.Transaction.Record(filter.Fact{Key: "k", Value: 7})
	want("", false)
	in.Transaction = nil
	want("session", true)
	in.Session = nil
	want("", false)
}

func TestFactAmong(t *testing.T) {
	facts := []filter.Fact{auth.SPF.Of(auth.SPFResult{Result: auth.Fail}), auth.DKIM.Of(nil), auth.SPF.Of(auth.SPFResult{Result: auth.Pass})}
	if r, ok := auth.SPF.Among(facts); !ok || r.Result != auth.Pass {
		t.Errorf("spf is %v, %v", r, ok)
	}
	if sigs, ok := auth.DKIM.Among(facts); !ok || len(sigs) != 0 {
		t.Errorf("dkim is %v, %v", sigs, ok)
	}
	if _, ok := auth.Parts.Among(facts); ok {
		t.Error("found parts")
	}
}

func TestNilScopeHasNoFacts(t *testing.T) {
	var s *filter.Scope
	if s.Facts() != nil {
		t.Error("a nil scope has facts")
	}
}

// A reader keeps the facts that it was given, whatever is recorded meanwhile, and no record is lost.
func TestScopeIsSafeForConcurrentUse(t *testing.T) {
	const writers, each = 8, 50
	var s filter.Scope
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				before := s.Facts()
				kept := slices.Clone(before)
				s.Record(filter.Fact{Key: fmt.Sprint(w), Value: i})
				if !slices.Equal(before, kept) {
					t.Error("a list of facts has changed")
				}
			}
		})
	}
	wg.Wait()
	if n := len(s.Facts()); n != writers*each {
		t.Errorf("%d facts, want %d", n, writers*each)
	}
	for w := range writers {
		if v, _ := filter.Key[int](fmt.Sprint(w)).Among(s.Facts()); v != each-1 {
			t.Errorf("the newest of %d is %d", w, v)
		}
	}
}

func ExampleFunc() {
	var f filter.Filter = filter.Func(func(_ context.Context, in *filter.Input) (filter.Result, error) {
		if in.Session.Helo == "" {
			return filter.Result{}, errors.New("no name yet")
		}
		return filter.Result{Findings: []filter.Finding{{Symbol: "HELO_SEEN", Strength: 1, Detail: in.Session.Helo}}}, nil
	})
	res, err := f.Check(context.Background(), &filter.Input{Session: &filter.Session{Helo: "host.example"}})
	fmt.Println(res.Findings[0].Symbol, res.Findings[0].Detail, err)
	// Output: HELO_SEEN host.example <nil>
}

// TestSessionWith: a session made of another one has every field of it, also one that is added to the struct later.
func TestSessionWith(t *testing.T) {
	s := &filter.Session{}
	v := reflect.ValueOf(s).Elem()
	for i := range v.NumField() {
		f := v.Field(i)
		switch v.Type().Field(i).Name {
		case "Scope":
			s.Record(filter.Key[int]("k").Of(1))
			continue
		case "TLS":
			s.TLS = &tls.ConnectionState{}
			continue
		case "Client", "Server":
			f.Set(reflect.ValueOf(netip.MustParseAddrPort("192.0.2.1:25")))
			continue
		case "Began":
			s.Began = time.Now()
			continue
		}
		switch f.Kind() {
		case reflect.String:
			f.SetString("x")
		case reflect.Bool:
			f.SetBool(true)
		default:
			t.Fatalf("give %s a value in this test", v.Type().Field(i).Name)
		}
	}
	c := s.With(func(*filter.Session) {})
	w := reflect.ValueOf(c).Elem()
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		if name != "Scope" && !reflect.DeepEqual(v.Field(i).Interface(), w.Field(i).Interface()) {
			t.Errorf("%s is not in the other one", name)
		}
	}
	if got, _ := filter.Key[int]("k").From(&filter.Input{Session: c}); got != 1 {
		t.Error("facts are not in the other one")
	}
	if d := s.With(func(x *filter.Session) { x.PTR = "y" }); s.PTR != "x" || d.PTR != "y" {
		t.Errorf("changed %q to %q", s.PTR, d.PTR)
	}
}
