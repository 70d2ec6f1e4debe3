package app

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/config"
	"github.com/postern-mail/postern/internal/learner"
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

// TestMarksWeighNothing: what the gateway puts on messages counts for nothing where a sender has put in the same, and the filter, a scan and learn
// explain say the same of it.
func TestMarksWeighNothing(t *testing.T) {
	g := startGateway(t, strings.Replace(learningGateway, "filters: [", "policies: {default: {subject: '[SPAM]', tag: 100}}\nfilters: [external: {subject: '[EXT]'}, ", 1))
	for class, spam := range map[string]bool{"ham": false, "spam": true} {
		source := lessonsIn(t, g.dir, class, 40)
		g.says(t, func() error { return g.app.Learn(t.Context(), LearnOptions{Spam: spam, Sources: []string{source}}) }, "40 learned")
	}
	for end := time.Now().Add(time.Minute); g.learnerStatus(t).FittedOf != (learner.Counts{Ham: 40, Spam: 40}); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not speak")
		}
	}
	plain := messageOf("spam", 1000)
	marked := bytes.Replace(plain, []byte("Subject: "), []byte("Subject: [SPAM] [EXT] "), 1)
	marked = bytes.Replace(marked, []byte("\r\n\r\n"), []byte("\r\n\r\n[ This message came from outside, from a1000@client.test.\r\n  Be careful with links and attachments if you do not know the sender. ]\r\n\r\n"), 1)
	said := regexp.MustCompile(`probability of (0\.\d+)`)
	answers, from := map[string]string{}, "a1000@client.test"
	for name, octets := range map[string][]byte{"plain": plain, "marked": marked} {
		file := filepath.Join(g.dir, name+".eml")
		if err := os.WriteFile(file, octets, 0o600); err != nil {
			t.Fatal(err)
		}
		before := len(g.log.String())
		if reply, err := (sample{from: "a1000@client.test", to: "bob@example.org", content: octets}).send(context.Background(), g.addr); err != nil || reply[:3] != "250" {
			t.Fatalf("%s: %s, %v", name, reply, err)
		}
		answers["filter, "+name] = g.log.String()[before:]
		for command, f := range map[string]func() error{
			"explain": func() error { return g.app.LearnExplain(t.Context(), file) },
			"scan":    func() error { return g.app.Scan(t.Context(), ScanOptions{File: file, From: &from}) },
		} {
			answers[command+", "+name], _ = g.output(f)
		}
	}
	want := said.FindStringSubmatch(answers["filter, plain"])
	if want == nil {
		t.Fatal("the filter says nothing")
	}
	for who, answer := range answers {
		if got := said.FindStringSubmatch(answer); got == nil || got[1] != want[1] {
			t.Errorf("%s: %q, not %s", who, got, want[1])
		}
	}
}
