package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/learner"
	"github.com/postern-mail/postern/internal/mailbox"
	"github.com/postern-mail/postern/internal/store/storetest"
)

// TestFullDiskIsTold: where a gateway's disk is full, the command says so and how much was learned before, by an exit code of its own, and learns the
// rest when it is called again.
func TestFullDiskIsTold(t *testing.T) {
	g := startGateway(t, learningGateway)
	disk := storetest.New()
	s, err := learner.Open("/learner", learner.StoreOptions{Options: learner.Options{Least: 20, Samples: 1000}, FS: disk})
	if err != nil {
		t.Fatal(err)
	}
	old := g.learner.store.Swap(s)
	defer func() {
		g.learner.store.Store(old)
		_ = s.Close()
	}()
	spam, ham := lessonsIn(t, g.dir, "spam", 3), lessonsIn(t, g.dir, "ham", lessonBatch+5)
	g.says(t, func() error { return g.app.Learn(t.Context(), LearnOptions{Spam: true, Sources: []string{spam}}) }, "3 messages read: 3 learned")
	disk.Fill(100)
	full := func(what string, f func() error, want string) {
		t.Helper()
		out, err := g.output(f)
		var exit *Exit
		if !errors.As(err, &exit) || exit.Code != ExitCannotWrite || out != want {
			t.Errorf("%s: %q, %v", what, out, err)
		}
	}
	learn := func() error { return g.app.Learn(t.Context(), LearnOptions{Sources: []string{ham}}) }
	forget := func() error {
		return g.app.Learn(t.Context(), LearnOptions{Spam: true, Forget: true, Sources: []string{spam, ham}})
	}
	full("learned", learn, "0 messages read: 0 learned as ham, 0 corrected, 0 known already\n")
	disk.Fill(20)
	full("forgotten", forget, "0 messages read: 0 forgotten, 0 were not known\n")
	disk.Fill(-1)
	g.says(t, learn, "37 messages read: 37 learned")
	g.says(t, learn, "37 messages read: 0 learned as ham, 0 corrected, 37 known")
}

// taughtBy takes down what it is taught.
type taughtBy struct {
	teacher
	lessons []learner.Lesson
}

func (d *taughtBy) teach(_ context.Context, lessons []learner.Lesson) (learner.Outcome, error) {
	d.lessons = append(d.lessons, lessons...)
	return learner.Outcome{Learned: len(lessons)}, nil
}

// TestInterruptedReadingTeachesNothing: a message whose rules were interrupted is not learned without their hits, since it would not be learned again.
func TestInterruptedReadingTeachesNothing(t *testing.T) {
	g := startGateway(t, learningGateway)
	ctx, interrupt := context.WithCancel(t.Context())
	var to taughtBy
	rules := filter.Func(func(ctx context.Context, _ *filter.Input) (filter.Result, error) {
		interrupt()
		return filter.Result{}, ctx.Err()
	})
	l := &lesson{
		a: g.app, ctx: ctx, t: &to, reader: &sampleReader{rules: rules},
		batch: []mailbox.Message{{Name: "1", Octets: messageOf("ham", 1)}, {Name: "2", Octets: messageOf("ham", 2)}},
	}
	if err := l.teach(); !errors.Is(err, context.Canceled) || len(to.lessons) > 0 || l.messages > 0 || l.faults > 0 {
		t.Errorf("%v; %d lessons, %d messages, %d faults", err, len(to.lessons), l.messages, l.faults)
	}
}

// TestLearningAsksNoDNS: who teaches a mailbox asks no list about it, and waits for none; what that leaves out is told.
func TestLearningAsksNoDNS(t *testing.T) {
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	file := filepath.Join(t.TempDir(), "a.cf")
	rules := "uridnsbl BLACK black.test. A\nbody BLACK eval:check_uridnsbl('BLACK')\ntflags BLACK net a\nscore BLACK 3\n" +
		"header FROM eval:check_rbl_from_host('w', 'list.test.')\nscore FROM 2\nbody MINUTES /minutes/\nscore MINUTES 1\n"
	if err := os.WriteFile(file, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	g := startGatewayWith(t, strings.Replace(learningGateway, "filters: [",
		fmt.Sprintf("dns: {servers: [%q]}\nfilters: [rules: {default: false, scores: network, files: [%q]}, ", silent.LocalAddr(), file), 1))
	g.close() // it asks for names of its own
	buf := make([]byte, 1000)
	for {
		_ = silent.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if _, _, err := silent.ReadFrom(buf); err != nil {
			break
		}
	}
	ham := lessonsIn(t, g.dir, "ham", 5)
	g.says(t, func() error { return g.app.Learn(t.Context(), LearnOptions{Sources: []string{ham}}) }, "5 learned")
	g.says(t, func() error { return g.app.LearnExplain(t.Context(), filepath.Join(ham, "1.eml")) }, "but for what rules find of the client, and in the DNS")
	_ = silent.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, _, err := silent.ReadFrom(buf); err == nil {
		t.Errorf("it asks: %q", buf[:n])
	}
}
