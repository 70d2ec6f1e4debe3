package app

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/learner"
	"github.com/postern-mail/postern/pipeline"
)

// TestMemoryIsShort: while one message has all the memory that there is for looking into mail, large mail is asked to come again when the
// filter's time is over, whoever waits for that; nothing of it is delivered, learned or called clean. Ordinary mail passes meanwhile.
// When there is room again, who waits is served at once.
func TestMemoryIsShort(t *testing.T) {
	pipeline.SetRoom(64 << 20)
	defer pipeline.SetRoom(0)
	has, free := make(chan bool, 1), make(chan bool)
	greedy := filter.Factory{Kind: "greedy", New: func(filter.Env, func(any) error) (filter.Spec, filter.Filter, error) {
		check := func(ctx context.Context, in *filter.Input) (filter.Result, error) {
			if in.Content.Header().Get("Subject") != "greedy" {
				return filter.Result{}, nil
			}
			err := filter.Hold(ctx, 64<<20) // and gets three quarters
			has <- err == nil
			<-free
			return filter.Result{}, err
		}
		return filter.Spec{Phases: filter.In(filter.Data)}, filter.Func(check), nil
	}}
	g := startGatewayWith(t, strings.Replace(learningGateway, "filters: [bayes: {",
		"filters: [greedy: {timeout: 1m}, rules: {timeout: 6s}, bayes: {autolearn: {ham: 1, spam: 12}, timeout: 6s, ", 1), greedy)
	content := func(subject string, octets int) []byte {
		return fmt.Appendf(nil, "From: A <a@client.test>\r\nTo: bob@example.org\r\nSubject: %s\r\nDate: Fri, 27 Nov 2026 10:00:00 +0000\r\nMessage-ID: <%s.20261127@client.test>\r\n\r\n%s",
			subject, subject, strings.Repeat("the minutes of our meeting are ready\r\n", octets/38))
	}
	send := func(subject string, octets int) (string, time.Duration) {
		began := time.Now()
		reply, err := sample{from: "a@client.test", to: "bob@example.org", content: content(subject, octets)}.send(context.Background(), g.addr)
		if err != nil {
			t.Error(err)
		}
		return reply, time.Since(began)
	}
	ended := make(chan string, 1)
	go func() {
		reply, _ := send("greedy", 0)
		ended <- reply
	}()
	if !<-has {
		t.Fatal("there is no memory to begin with")
	}
	const large = 3 << 20
	waiting := func() int64 {
		_, waiting, _ := pipeline.Memory()
		return waiting
	}
	used, _, _ := pipeline.Memory()

	if reply, took := send("large", large); !strings.HasPrefix(reply, "451 4.3.0") || took < 5*time.Second || took > time.Minute {
		t.Errorf("a large one: %s after %s", reply, took)
	}
	if reply, took := send("small", 1000); !strings.HasPrefix(reply, "250") || took > 5*time.Second { // it waits for no time to be over
		t.Errorf("a small one: %s after %s", reply, took)
	}
	hangUp(t, g.addr, content("gone", large), func() bool { return waiting() > 0 })
	if !comesTrue(func() bool { return waiting() == 0 }) {
		t.Fatal("who has hung up waits for ever")
	}
	taken := func() int64 {
		now, _, _ := pipeline.Memory()
		return now
	}
	if !comesTrue(func() bool { return taken() == used }) {
		t.Errorf("%d octets are taken, and %d were", taken(), used)
	}

	again := make(chan string, 1)
	go func() {
		reply, _ := send("again", large)
		again <- reply
	}()
	if !comesTrue(func() bool { return waiting() > 0 }) {
		t.Fatal("it does not wait")
	}
	close(free)
	if reply := <-again; !strings.HasPrefix(reply, "250") {
		t.Errorf("when there is room again: %s", reply)
	}
	if reply := <-ended; !strings.HasPrefix(reply, "250") {
		t.Errorf("who has had it: %s", reply)
	}
	want := learner.Counts{Ham: 2} // of what is too large for rules to see all of it nothing is learned
	if !comesTrue(func() bool { return g.learnerStatus(t).Counts == want }) {
		t.Fatalf("it has learned %+v", g.learnerStatus(t).Counts)
	}
	if !comesTrue(func() bool { return taken() == 0 && waiting() == 0 }) {
		t.Errorf("%d octets are left, and %d waited for", taken(), waiting())
	}
	files, err := os.ReadDir(filepath.Join(g.dir, "mail", "new"))
	if err != nil || len(files) != 3 {
		t.Errorf("%d are delivered, %v", len(files), err)
	}
	if said := g.log.String(); strings.Count(said, "no memory to look into it came free") == 0 {
		t.Error("nobody is told why")
	}
}

// hangUp sends a message and hangs up when the time has come.
func hangUp(t *testing.T, addr string, content []byte, now func() bool) {
	t.Helper()
	c := connect(t, addr)
	defer c.Close()
	c.say("EHLO client.test", "250")
	c.say("MAIL FROM:<a@client.test>", "250")
	c.say("RCPT TO:<bob@example.org>", "250")
	c.say("DATA", "354")
	if _, err := c.Write(append(content, ".\r\n"...)); err != nil {
		t.Fatal(err)
	}
	if !comesTrue(now) {
		t.Fatal("it does not wait")
	}
}
