package app

import (
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/config"
	"github.com/postern-mail/postern/upstream"
)

// TestMarksThatCannotBeMade: a configuration whose marks can't be taken off again is refused before anything is made that would have to be closed.
func TestMarksThatCannotBeMade(t *testing.T) {
	made := 0
	marking := filter.Factory{Kind: "marking", Marks: true, New: func(filter.Env, func(any) error) (filter.Spec, filter.Filter, error) {
		if made++; made > 1 {
			return filter.Spec{}, nil, errors.New("it can be made once")
		}
		return filter.Spec{Phases: filter.In(filter.Data)}, filter.Func(nil), nil
	}}
	a, err := New(Options{Factories: []filter.Factory{marking}})
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Parse("test", []byte(standard+"filters: [marking]\n"), a.kinds)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	if _, err := a.prepare(cfg, nil, log, nil, upstream.Hooks{}, nil, nil); err == nil || !strings.Contains(err.Error(), "it can be made once") {
		t.Errorf("%v", err)
	}
}
