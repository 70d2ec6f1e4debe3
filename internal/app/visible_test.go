package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/metrics"
)

// What is printed tells a terminal nothing, and JSON means what it meant.
func TestVisible(t *testing.T) {
	const hostile = "a\x1b[2J\u0085\u009b\u061c\u200b\u2028\u2029\u202e\u2066\ufeff\tü\"\\"
	if got, want := visible(hostile), `a\u001b[2J\u0085\u009b\u061c\u200b\u2028\u2029\u202e\u2066\ufeff\u0009ü"\`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	var b bytes.Buffer
	if err := jsonTo(&b).Encode(map[string]string{"x": hostile}); err != nil {
		t.Fatal(err)
	}
	var back map[string]string
	if err := json.Unmarshal(b.Bytes(), &back); err != nil || back["x"] != hostile {
		t.Errorf("%q: %q %v", b.String(), back["x"], err)
	}
	if i := strings.IndexFunc(b.String(), obeyed); i != b.Len()-1 { // the end of the line
		t.Errorf("a terminal obeys what stands at %d of %q", i, b.String())
	}
}

// One id that is wrong keeps no other from what is to be done to it.
func TestEachHeld(t *testing.T) {
	var out, errs bytes.Buffer
	a := &App{o: Options{Stdout: &out, Stderr: &errs}}
	err := a.eachHeld([]string{"a", "b", "c", "d"}, "removed", func(id string) error {
		if id == "b" || id == "c" {
			return errors.New("wrong")
		}
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "c: wrong") || out.String() != "a: removed\nd: removed\n" || errs.String() != "postern: b: wrong\n" {
		t.Errorf("%v %q %q", err, out.String(), errs.String())
	}
}

// A panic in an answer to a command counts like any other.
func TestControlPanic(t *testing.T) {
	g := &gateway{metrics: metrics.New(metrics.Options{})}
	h := g.countingPanics(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("x") }))
	func() {
		defer func() {
			if recover() == nil {
				t.Error("net/http would not log it")
			}
		}()
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	}()
	w := httptest.NewRecorder()
	g.metrics.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if !strings.Contains(w.Body.String(), "postern_panics_total 1") {
		t.Error("not counted")
	}
}
