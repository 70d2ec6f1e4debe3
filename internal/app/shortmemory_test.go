package app

import (
	"context"
	"fmt"
	"net"
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
		"filters: [greedy: {timeout: 1m}, rules: {timeout: 2s}, bayes: {autolearn: {ham: 1, spam: 12}, timeout: 2s, ", 1), greedy)
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

	if reply, took := send("large", large); !strings.HasPrefix(reply, "451 4.3.0") || took < time.Second || took > 30*time.Second {
		t.Errorf("a large one: %s after %s", reply, took)
	}
	if reply, took := send("small", 1000); !strings.HasPrefix(reply, "250") || took > time.Second {
		t.Errorf("a small one: %s after %s", reply, took)
	}
	hangUp(t, g.addr, content("gone", large), func() bool { return waiting() > 0 })
	for until := time.Now().Add(30 * time.Second); waiting() > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("who has hung up waits for ever")
		}
	}
	if now, _, _ := pipeline.Memory(); now != used {
		t.Errorf("%d octets are taken, and %d were", now, used)
	}

	again := make(chan string, 1)
	go func() {
		reply, _ := send("again", large)
		again <- reply
	}()
	for until := time.Now().Add(30 * time.Second); waiting() == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("it does not wait")
		}
	}
	close(free)
	if reply := <-again; !strings.HasPrefix(reply, "250") {
		t.Errorf("when there is room again: %s", reply)
	}
	if reply := <-ended; !strings.HasPrefix(reply, "250") {
		t.Errorf("who has had it: %s", reply)
	}
	want := learner.Counts{Ham: 2} // of what is too large for rules to see all of it nothing is learned
	for until := time.Now().Add(10 * time.Second); g.learnerStatus(t).Counts != want; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("it has learned %+v", g.learnerStatus(t).Counts)
		}
	}
	if now, waiting, _ := pipeline.Memory(); now != 0 || waiting != 0 {
		t.Errorf("%d octets are left, and %d waited for", now, waiting)
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
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	go func() { // replies, of which none is waited for
		b := make([]byte, 1000)
		for {
			if _, err := c.Read(b); err != nil {
				return
			}
		}
	}()
	for _, line := range []string{"EHLO client.test\r\n", "MAIL FROM:<a@client.test>\r\n", "RCPT TO:<bob@example.org>\r\n", "DATA\r\n"} {
		if _, err := c.Write([]byte(line)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	if _, err := c.Write(append(content, ".\r\n"...)); err != nil {
		t.Fatal(err)
	}
	for until := time.Now().Add(30 * time.Second); !now(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("it does not wait")
		}
	}
}
