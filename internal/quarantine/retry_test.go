package quarantine

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/postern-mail/postern/mail"
)

// TestKeepAgain: a message that comes again is held once, for as long as it is there.
func TestKeepAgain(t *testing.T) {
	c := newClock()
	f := disk()
	f.Now = c.now
	s := open(t, f, Options{Keep: time.Hour, Now: c.now})
	put := func(id, text string, change func(*Entry)) string {
		t.Helper()
		b := mail.NewBlob([]byte(text))
		defer b.Release()
		e := entryOf(id)
		e.From, e.To = "a@example.net", []string{"b@example.org", "c@example.org"}
		if change != nil {
			change(&e)
		}
		held, err := s.Keep(t.Context(), e, b)
		if err != nil {
			t.Fatal(err)
		}
		return held
	}
	put("first", "x\r\n", nil)
	before := len(f.Files())
	for _, change := range []func(*Entry){nil, func(e *Entry) { slices.Reverse(e.To); e.Score = 99; e.Client = "192.0.2.2" }} {
		if got := put("again", "x\r\n", change); got != "first" {
			t.Errorf("held as %s", got)
		}
	}
	if u := s.Usage(); len(f.Files()) != before || u.Messages != 1 || u.Kept != 1 {
		t.Errorf("%q, %+v", f.Files(), u)
	}
	for id, change := range map[string]func(*Entry){
		"sender":     func(e *Entry) { e.From = "" },
		"recipients": func(e *Entry) { e.To = e.To[:1] },
		"original":   func(e *Entry) { e.Kind = Original },
	} {
		if got := put(id, "x\r\n", change); got != id {
			t.Errorf("%s: held as %s", id, got)
		}
	}
	if got := put("content", "y\r\n", nil); got != "content" {
		t.Errorf("other content held as %s", got)
	}
	if err := s.Remove("first"); err != nil {
		t.Fatal(err)
	}
	if got := put("second", "x\r\n", nil); got != "second" {
		t.Errorf("held as %s, which was removed", got)
	}
	if got := put("again", "x\r\n", nil); got != "second" {
		t.Errorf("held as %s", got)
	}
	c.advance(2 * time.Hour)
	if _, err := s.Sweep(c.now()); err != nil {
		t.Fatal(err)
	}
	if got := put("third", "x\r\n", nil); got != "third" {
		t.Errorf("held as %s, which has expired", got)
	}
	f.Put(dir+"/third.eml", nil)
	if got := put("fourth", "x\r\n", nil); got != "fourth" {
		t.Errorf("held as %s, whose content is damaged", got)
	}
}

func TestKnownIsBounded(t *testing.T) {
	var k known
	key := func(i int) messageKey { return keyOf(Entry{From: fmt.Sprint(i)}) }
	for i := range maxKnown + 5 {
		k.add(key(i), fmt.Sprint(i))
		k.add(key(i), fmt.Sprint(i))
	}
	if len(k.ids) != maxKnown || len(k.keys) != maxKnown {
		t.Errorf("%d ids, %d keys", len(k.ids), len(k.keys))
	}
	if k.ids[key(4)] != "" || k.ids[key(5)] != "5" || k.ids[key(maxKnown+4)] == "" {
		t.Error("the wrong ones are forgotten")
	}
}
