package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
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

// TestExportTakesNoPlace: an export to a link writes the file behind it, one to a pipe or a device writes there, and neither stands in their place
// afterwards.
func TestExportTakesNoPlace(t *testing.T) {
	g := startGateway(t, learningGateway)
	ham := lessonsIn(t, g.dir, "ham", 5)
	g.says(t, func() error { return g.app.Learn(t.Context(), LearnOptions{Sources: []string{ham}}) }, "5 learned")
	at := func(name string) string { return filepath.Join(g.dir, name) }
	g.says(t, func() error { return g.app.LearnExport(t.Context(), at("file")) }, "")
	want, err := os.ReadFile(at("file"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(at("behind"), []byte("old"), 0o600), os.Symlink("behind", at("link")), syscall.Mkfifo(at("pipe"), 0o600)); err != nil {
		t.Fatal(err)
	}
	g.says(t, func() error { return g.app.LearnExport(t.Context(), at("link")) }, "")
	if got, err := os.ReadFile(at("behind")); !bytes.Equal(got, want) {
		t.Errorf("behind the link: %d octets of %d, %v", len(got), len(want), err)
	}
	read := make(chan []byte, 1)
	go func() {
		b, _ := os.ReadFile(at("pipe"))
		read <- b
	}()
	g.says(t, func() error { return g.app.LearnExport(t.Context(), at("pipe")) }, "")
	if info, err := os.Lstat(at("pipe")); err != nil || info.Mode().Type() != os.ModeNamedPipe {
		t.Fatalf("the pipe: %v, %v", info.Mode(), err)
	}
	if got := <-read; !bytes.Equal(got, want) {
		t.Errorf("from the pipe: %d octets of %d", len(got), len(want))
	}
	var exit *Exit
	if out, err := g.output(func() error { return g.app.LearnExport(t.Context(), g.dir) }); !errors.As(err, &exit) || exit.Code != ExitCannotWrite || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("to a folder: %q, %v", out, err)
	}
	if names, _ := filepath.Glob(at("*.new")); len(names) > 0 {
		t.Errorf("left: %v", names)
	}
	if _, err := g.output(func() error { return g.app.LearnImport(t.Context(), g.dir) }); !errors.As(err, &exit) || exit.Code != ExitData || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("a folder is imported: %v", err)
	}
}
