package app

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/internal/learner"
	"github.com/postern-mail/postern/mail"
)

const learningGateway = `
hostname: mx.example.org
listeners: {public: {address: "127.0.0.1:0"}}
routes: [{to: [example.org], upstream: inside}]
upstreams: {inside: {maildir: "{{dir}}/mail"}}
filters: [bayes: {least: 20, samples: 1000}]
state: {directory: "{{dir}}/state"}
`

// lessonsIn writes so many messages of a class into a folder.
func lessonsIn(t testing.TB, dir, class string, n int) string {
	t.Helper()
	dir = filepath.Join(dir, class)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.eml", i)), messageOf(class, i), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func messageOf(class string, i int) []byte {
	body := "the minutes of our meeting about the budget are attached, please read them before the next one"
	if class == "spam" {
		body = "cheap pills for you, buy now without a prescription and save very much money today"
	}
	return fmt.Appendf(nil, "From: a%d@client.test\r\nSubject: %s\r\nMessage-ID: <%s%d@client.test>\r\n\r\n%s\r\n", i, body[:12], class, i, body)
}

// output gives what f prints.
func (g *testGateway) output(f func() error) (string, error) {
	var out lockedBuffer
	before := g.app.o
	g.app.o.Stdout, g.app.o.Stderr = &out, &out
	defer func() { g.app.o = before }()
	err := f()
	return out.String(), err
}

func (g *testGateway) says(t *testing.T, f func() error, want string) string {
	t.Helper()
	got, err := g.output(f)
	if err != nil || !strings.Contains(got, want) {
		t.Fatalf("%q, %v; not %q", got, err, want)
	}
	return got
}

func (g *testGateway) learnerStatus(t *testing.T) (s learner.Status) {
	t.Helper()
	out, err := g.output(func() error { return g.app.LearnStatus(t.Context(), true) })
	_, object, _ := strings.Cut("\n"+out, "\n{")
	if err != nil || json.Unmarshal([]byte("{"+object), &s) != nil {
		t.Fatalf("%s, %v", out, err)
	}
	return s
}

func TestGatewayIsTaught(t *testing.T) {
	g := startGateway(t, learningGateway)
	ham, spam := lessonsIn(t, g.dir, "ham", 40), lessonsIn(t, g.dir, "spam", 40)
	learn := func(o LearnOptions) func() error { return func() error { return g.app.Learn(t.Context(), o) } }
	g.says(t, learn(LearnOptions{Sources: []string{ham}, DryRun: true}), "40 messages read, nothing learned\n")
	g.says(t, learn(LearnOptions{Sources: []string{ham}}), "40 messages read: 40 learned as ham, 0 corrected, 0 known already\n")
	g.says(t, learn(LearnOptions{Spam: true, Sources: []string{ham, spam}}), "80 messages read: 40 learned as spam, 40 corrected, 0 known already\n")
	g.says(t, learn(LearnOptions{Sources: []string{ham}}), "40 messages read: 0 learned as ham, 40 corrected, 0 known already\n")
	g.says(t, learn(LearnOptions{Spam: true, Sources: []string{spam}}), "40 messages read: 0 learned as spam, 0 corrected, 40 known already\n")
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		if s := g.learnerStatus(t); s.Ready && s.FittedOf == (learner.Counts{Ham: 40, Spam: 40}) {
			break
		} else if time.Now().After(end) {
			t.Fatalf("%+v", s)
		}
	}
	for class, want := range map[string]string{"spam": "BAYES_SPAM", "ham": "BAYES_HAM"} {
		reply, err := sample{from: "a@client.test", to: "bob@example.org", content: messageOf(class, 1000)}.send(context.Background(), g.addr)
		if err != nil || reply[:3] != "250" || !strings.Contains(g.log.String(), want) {
			t.Errorf("%s: %s, %v", class, reply, err)
		}
	}
	g.says(t, func() error { return g.app.LearnExplain(t.Context(), filepath.Join(spam, "1.eml")) }, "prescription")
	export := filepath.Join(g.dir, "lessons")
	g.says(t, func() error { return g.app.LearnExport(t.Context(), export) }, "")

	g.close()
	// The commands go on without a gateway, and so does what was learned.
	g.says(t, func() error {
		return g.app.Scan(t.Context(), ScanOptions{File: filepath.Join(spam, "1.eml")})
	}, "BAYES_SPAM")
	g.says(t, learn(LearnOptions{Forget: true, Sources: []string{spam, ham}}), "80 messages read: 80 forgotten, 0 were not known\n")
	if s := g.learnerStatus(t); s.Counts != (learner.Counts{}) || s.Ready {
		t.Errorf("%+v", s)
	}
	g.says(t, func() error { return g.app.LearnImport(t.Context(), export) }, "working on the learner's store itself")
	if s := g.learnerStatus(t); s.Counts != (learner.Counts{Ham: 40, Spam: 40}) || !s.Ready {
		t.Errorf("%+v", s)
	}
	whole, err := os.ReadFile(export)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(export, whole[:len(whole)-1], 0o600); err != nil {
		t.Fatal(err)
	}
	var exit *Exit
	if _, err := g.output(func() error { return g.app.LearnImport(t.Context(), export) }); !errors.As(err, &exit) || exit.Code != ExitData {
		t.Errorf("an export that was cut: %v", err)
	}
}

func TestSourcesThatCannotBeRead(t *testing.T) {
	g := startGateway(t, learningGateway)
	out, err := g.output(func() error {
		return g.app.Learn(t.Context(), LearnOptions{Sources: []string{filepath.Join(g.dir, "nowhere"), lessonsIn(t, g.dir, "ham", 2)}})
	})
	var exit *Exit
	if !errors.As(err, &exit) || exit.Code != ExitData || !strings.Contains(out, "2 learned") || !strings.Contains(out, "nowhere") {
		t.Errorf("%q, %v", out, err)
	}
}

// TestOddFilesTeachNothing: what is no message is told by its name and counted, keeps no other from being learned, and shows in the exit code.
func TestOddFilesTeachNothing(t *testing.T) {
	g := startGateway(t, learningGateway)
	ham := lessonsIn(t, g.dir, "ham", 3)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	for i := range 4 {
		fmt.Fprintf(z, "From x\n%s\n", strings.ReplaceAll(string(messageOf("spam", i)), "\r", ""))
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	mbox := filepath.Join(g.dir, "spam.mbox.gz")
	for file, octets := range map[string][]byte{
		mbox: packed.Bytes(), filepath.Join(ham, "a.jpeg"): []byte("\xff\xd8\xff\xe0\x00\x10JFIF"), filepath.Join(ham, "b.txt"): []byte("some words\n"),
		filepath.Join(ham, "c.mbox"): []byte("From x\n\nwords\n\nFrom y\n" + strings.ReplaceAll(string(messageOf("ham", 9)), "\r", "")),
	} {
		if err := os.WriteFile(file, octets, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	g.says(t, func() error { return g.app.Learn(t.Context(), LearnOptions{Spam: true, Sources: []string{mbox}}) }, "4 messages read: 4 learned as spam")
	out, err := g.output(func() error { return g.app.Learn(t.Context(), LearnOptions{Sources: []string{ham}}) })
	var exit *Exit
	if !errors.As(err, &exit) || exit.Code != ExitData {
		t.Errorf("%v", err)
	}
	for _, want := range []string{"a.jpeg: no message: it is no text\n", "b.txt: no message: no header field", "c.mbox:1: no message: ", "4 messages read: 4 learned as ham", "\n2 files are no messages\n1 entry of an mbox is no message\n"} {
		if !strings.Contains(strings.ReplaceAll(out, "it has no header field", "no header field"), want) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}
	for source, want := range map[string]string{filepath.Join(ham, "a.jpeg"): "it is no text", mbox: "more than one message", g.dir + "/nowhere": "no such file"} {
		if out, err := g.output(func() error { return g.app.LearnExplain(t.Context(), source) }); !errors.As(err, &exit) || exit.Code != ExitData || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v", source, out, err)
		}
	}
}

func TestWithoutALearnerNobodyIsTaught(t *testing.T) {
	g := startGateway(t, strings.Replace(learningGateway, "bayes: {least: 20, samples: 1000}", "", 1))
	var exit *Exit
	if _, err := g.output(func() error { return g.app.LearnStatus(t.Context(), false) }); !errors.As(err, &exit) || exit.Code != ExitConfig {
		t.Errorf("%v", err)
	}
}

// TestQuarantineTeaches that what somebody releases to its recipients was wanted.
func TestQuarantineTeaches(t *testing.T) {
	holding := filter.Factory{Kind: "holding", New: func(filter.Env, func(any) error) (filter.Spec, filter.Filter, error) {
		check := func(context.Context, *filter.Input) (filter.Result, error) {
			return filter.Result{Propose: filter.Quarantine}, nil
		}
		return filter.Spec{Phases: filter.In(filter.Data)}, filter.Func(check), nil
	}}
	for name, c := range map[string]struct {
		to        []string
		unlearned bool
		want      int
	}{
		"learned":     {want: 1},
		"not learned": {unlearned: true},
		"to others":   {to: []string{"postmaster@example.org"}},
	} {
		t.Run(name, func(t *testing.T) {
			g := startGatewayWith(t, strings.Replace(learningGateway, "filters: [", "filters: [holding, ", 1), holding)
			if reply, err := (sample{from: "a@client.test", to: "bob@example.org", content: messageOf("ham", 1)}).send(context.Background(), g.addr); err != nil || reply[:3] != "550" {
				t.Fatalf("%s, %v", reply, err)
			}
			all, err := g.held.List()
			if err != nil || len(all) != 1 {
				t.Fatalf("%d held, %v", len(all), err)
			}
			g.says(t, func() error { return g.app.QuarantineRelease(t.Context(), []string{all[0].ID}, c.to, c.unlearned) }, "released")
			s := g.learnerStatus(t)
			if s.Ham != c.want || s.Ways["quarantine"] != c.want || s.Spam != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestReadLessonsIsBounded(t *testing.T) {
	var b bytes.Buffer
	e := learner.NewExport(&b)
	for i := range lessonBatch + 1 {
		if err := e.Add(learner.NewLesson(learner.Sample{Digest: learner.Digest{byte(i)}}, true, learner.FromPeople, time.Now())); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := readLessons(b.Bytes()); err == nil {
		t.Error("too many lessons are taken")
	}
}

// TestRefusedReloadLeavesTheLearner as it is.
func TestRefusedReloadLeavesTheLearner(t *testing.T) {
	g := startGateway(t, learningGateway)
	for _, c := range []struct {
		filters string
		want    int
	}{
		{"bayes: {least: 20, samples: 500}, external: {text: /nowhere}", 1000},
		{"bayes: {least: 20, samples: 500}", 500},
	} {
		text := strings.Replace(strings.ReplaceAll(learningGateway, "{{dir}}", g.dir), "bayes: {least: 20, samples: 1000}", c.filters, 1)
		if err := os.WriteFile(g.app.o.Config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		g.reload(t.Context())
		if s := g.learnerStatus(t); s.Samples != c.want {
			t.Errorf("%s: %d samples\n%s", c.filters, s.Samples, g.log.String())
		}
	}
}

// TestInterruptEndsTheFit, and what was learned is kept.
func TestInterruptEndsTheFit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "learner")
	open := func() localTeacher {
		s, err := learner.Open(dir, learner.StoreOptions{Options: learner.Options{Least: 20}})
		if err != nil {
			t.Fatal(err)
		}
		return localTeacher{s}
	}
	teacher := open()
	var all []learner.Lesson
	for i := range 40 {
		s := learner.Sample{Digest: learner.Digest{byte(i)}, Features: []uint32{uint32(i % 2), 7}}
		all = append(all, learner.NewLesson(s, i%2 == 0, learner.FromPeople, time.Now()))
	}
	ctx, interrupt := context.WithCancel(t.Context())
	if _, err := teacher.teach(ctx, all); err != nil {
		t.Fatal(err)
	}
	interrupt()
	if err := teacher.close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	teacher = open()
	if !teacher.s.Stale() || teacher.s.Usage().Counts != (learner.Counts{Ham: 20, Spam: 20}) {
		t.Errorf("%+v", teacher.s.Status())
	}
	if err := teacher.close(t.Context()); err != nil {
		t.Error(err)
	}
	teacher = open()
	if !teacher.s.Ready() || teacher.s.Stale() {
		t.Errorf("%+v", teacher.s.Status())
	}
	_ = teacher.close(t.Context())
}

func TestRoomIsTold(t *testing.T) {
	for want, o := range map[string]learner.Outcome{
		"":                                       {Learned: 1, Corrected: 1, Known: 1, Kept: 1, Forgotten: 1},
		", no room for 2":                        {Learned: 30, Crowded: 2},
		", 8 older ones gave way":                {Learned: 8, GaveWay: 8},
		", no room for 2, 8 older ones gave way": {Learned: 38, Crowded: 2, GaveWay: 8},
	} {
		if got := room(o); got != want {
			t.Errorf("%q, not %q", got, want)
		}
	}
}

// TestMarksTeachNothing: a copy that was delivered with our marks is the message that came, and its words are the sender's.
func TestMarksTeachNothing(t *testing.T) {
	tagging := filter.Factory{Kind: "tagging", New: func(filter.Env, func(any) error) (filter.Spec, filter.Filter, error) {
		check := func(context.Context, *filter.Input) (filter.Result, error) {
			return filter.Result{Propose: filter.Tag}, nil
		}
		return filter.Spec{Phases: filter.In(filter.Data)}, filter.Func(check), nil
	}}
	g := startGatewayWith(t, strings.Replace(learningGateway, "filters: [", "policies: {default: {tag: 50, subject: '[SPAM?]'}}\nfilters: [tagging, external: {subject: '[EXT]'}, ", 1), tagging)
	came := []byte("From: A <a@client.test>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nMessage-ID: <1@client.test>\r\nX-Spam-Flag: NO\r\nMIME-Version: 1.0\r\n" +
		"Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\n\r\nthe minutes of our meeting\r\n--b\r\nContent-Type: text/html; charset=utf-8\r\n" +
		"Content-Transfer-Encoding: 8bit\r\n\r\n<html><body><p>the minutes of our m\u00fceting</p></body></html>\r\n--b--\r\n")
	if reply, err := (sample{from: "a@client.test", to: "bob@example.org", content: came}).send(context.Background(), g.addr); err != nil || reply[:3] != "250" {
		t.Fatalf("%s, %v", reply, err)
	}
	boxes, err := filepath.Glob(filepath.Join(g.dir, "mail", "new", "*"))
	if err != nil || len(boxes) != 1 {
		t.Fatalf("%v, %v", boxes, err)
	}
	delivered, err := os.ReadFile(boxes[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, mark := range []string{"[SPAM?] [EXT] ", "This message came from outside, from a@client.test", "X-Spam-Flag: YES"} {
		if !strings.Contains(string(delivered), mark) {
			t.Fatalf("it has no %q:\n%s", mark, delivered)
		}
	}
	cfg, err := g.app.load()
	if err != nil {
		t.Fatal(err)
	}
	r, err := g.app.sampleReader(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	want, got := r.sample(t.Context(), came), r.sample(t.Context(), delivered)
	if want.Digest != got.Digest || !slices.Equal(want.Features, got.Features) {
		t.Errorf("another message: %d features, not %d\n%s", len(got.Features), len(want.Features), delivered)
	}
	file := filepath.Join(g.dir, "came.eml")
	if err := os.WriteFile(file, came, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ source, want string }{{file, "1 learned"}, {filepath.Join(g.dir, "mail"), "0 learned as ham, 0 corrected, 1 known"}} {
		g.says(t, func() error { return g.app.Learn(t.Context(), LearnOptions{Sources: []string{c.source}}) }, c.want)
	}
}

// TestMarksOfTheSenderTeachNothing: a lesson of rules is corrected by the message that came and by the copy that was delivered, also where the
// sender's own subject begins with our word.
func TestMarksOfTheSenderTeachNothing(t *testing.T) {
	sure := filter.Factory{Kind: "sure", New: func(filter.Env, func(any) error) (filter.Spec, filter.Filter, error) {
		spam := auth.Tally{Points: 20, Header: 10, Body: 10, Score: 20}
		check := func(context.Context, *filter.Input) (filter.Result, error) {
			return filter.Result{Facts: []filter.Fact{
				auth.RuleHits.Of([]auth.RuleHit{{Name: "A_RULE", Score: 20, Count: 1}}), auth.RulesTeach.Of(auth.Teaching{Least: spam, Most: spam}),
			}}, nil
		}
		return filter.Spec{Phases: filter.In(filter.Data), Provides: []string{string(auth.RuleHits), string(auth.RulesTeach)}}, filter.Func(check), nil
	}}
	config := strings.Replace(learningGateway, "filters: [bayes: {", "policies: {default: {tag: 50, subject: '[SPAM]'}}\nfilters: [sure, bayes: {autolearn: {ham: -1, spam: 12}, ", 1)
	g := startGatewayWith(t, config, sure)
	came := []byte("From: A <a@client.test>\r\nSubject: [SPAM] offer\r\nMessage-ID: <1@client.test>\r\n\r\ncheap pills\r\n")
	if reply, err := (sample{from: "a@client.test", to: "bob@example.org", content: came}).send(context.Background(), g.addr); err != nil || reply[:3] != "250" {
		t.Fatalf("%s, %v", reply, err)
	}
	if !comesTrue(func() bool { return g.learnerStatus(t).Spam == 1 }) {
		t.Fatal("it is not learned")
	}
	file := filepath.Join(g.dir, "came.eml")
	if err := os.WriteFile(file, came, 0o600); err != nil {
		t.Fatal(err)
	}
	g.says(t, func() error { return g.app.Learn(t.Context(), LearnOptions{Sources: []string{file}}) }, "0 learned as ham, 1 corrected")
	g.says(t, func() error {
		return g.app.Learn(t.Context(), LearnOptions{Forget: true, Sources: []string{filepath.Join(g.dir, "mail")}})
	}, "1 forgotten")
}

// TestPoliciesTakeOffOneBanner: a message was marked for one policy, however many there are; what stands behind that is the sender's.
func TestPoliciesTakeOffOneBanner(t *testing.T) {
	const policies = "policies: {default: {}, a: {filters: {external: {subject: '[A]'}}}, b: {filters: {external: {exempt: [b.test]}}}, c: {filters: {external: {subject: '[A]'}}}}\n"
	g := startGateway(t, strings.Replace(learningGateway, "filters: [", policies+"filters: [external, ", 1))
	cfg, err := g.app.load()
	if err != nil {
		t.Fatal(err)
	}
	r, err := g.app.sampleReader(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(r.marks.stages[0].filters); n != 3 {
		t.Errorf("%d filters for three kinds of options", n)
	}
	const head, banner = "From: A <a@client.test>\r\nSubject: ", "[ This message came from outside, from a@client.test.\r\n  Be careful with links and attachments if you do not know the sender. ]\r\n\r\n"
	want := r.sample(t.Context(), []byte(head+"x\r\n\r\nhello\r\n"))
	for marked, same := range map[string]bool{head + "x\r\n\r\n" + banner + "hello\r\n": true, head + "[A] x\r\n\r\n" + banner + "hello\r\n": true, head + "x\r\n\r\n" + banner + banner + "hello\r\n": false} {
		if got := r.sample(t.Context(), []byte(marked)); (got.Digest == want.Digest) != same {
			t.Errorf("the same: %v\n%s", !same, marked)
		}
	}
}

// TestBigMessagesAtArrival are held in memory only where they are small or have no marks.
func TestBigMessagesAtArrival(t *testing.T) {
	u := unmarker{words: []string{"[SPAM]"}}
	for _, c := range []struct {
		subject string
		size    int
		want    bool
	}{{"[SPAM] x", 100, true}, {"[SPAM] x", maxUnmarked, false}, {"x", maxUnmarked, true}} {
		content := mail.NewContent(mail.NewBlob([]byte("Subject: "+c.subject+"\r\n\r\n"+strings.Repeat("x", c.size))), mail.LineFaults{}, mail.Limits{})
		bare, err := u.bare(content)
		if err != nil || (bare != nil) != c.want {
			t.Errorf("%q, %d octets: %v, %v", c.subject, c.size, bare != nil, err)
		}
		if bare != nil {
			if s := bare.Header().Get("Subject"); s != "x" {
				t.Errorf("%q", s)
			}
			bare.Release()
		}
		content.Release()
	}
}

// TestPipesThatGiveNothing do not keep an interrupted command.
func TestPipesThatGiveNothing(t *testing.T) {
	g := startGateway(t, learningGateway)
	in, out := io.Pipe()
	defer out.Close()
	fifo := filepath.Join(g.dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = out.Write(append([]byte("From x\n"), messageOf("ham", 1)...)) }()
	g.app.o.Stdin = in
	for source, after := range map[string]time.Duration{"-": 100 * time.Millisecond, fifo: 100 * time.Millisecond, lessonsIn(t, g.dir, "spam", 3): 0} {
		ctx, interrupt := context.WithCancel(t.Context())
		if after == 0 { // before anything is done
			interrupt()
		}
		time.AfterFunc(after, interrupt)
		said, err := g.output(func() error {
			return g.app.Learn(ctx, LearnOptions{Sources: []string{lessonsIn(t, g.dir, "ham", 3), source}})
		})
		var exit *Exit
		if !errors.As(err, &exit) || exit.Code != ExitUnavailable || strings.Contains(said, "postern: postern") || strings.Contains(err.Error(), "postern: postern") {
			t.Errorf("%s: %q, %v", source, said, err)
		}
	}
	if f, err := os.OpenFile(fifo, os.O_RDWR, 0); err == nil { // whoever waits there goes; and where nobody does, nor does this
		_ = f.Close()
	}
}

// TestExportsStandInNoWay: what an export left behind that was killed stops no other; and what can't be written is told as that.
func TestExportsStandInNoWay(t *testing.T) {
	g := startGateway(t, learningGateway)
	path := filepath.Join(g.dir, "lessons")
	if err := os.WriteFile(path+".new", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	g.says(t, func() error { return g.app.LearnExport(t.Context(), path) }, "")
	var exit *Exit
	if err := g.app.LearnExport(t.Context(), filepath.Join(g.dir, "nowhere", "x")); !errors.As(err, &exit) || exit.Code != ExitCannotWrite || strings.Contains(err.Error(), "postern: postern") {
		t.Errorf("%v", err)
	}
	if left, err := filepath.Glob(filepath.Join(g.dir, "lessons*")); err != nil || len(left) != 2 {
		t.Errorf("%v, %v", left, err)
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	g.app.o.Stdout = full
	if err := g.app.LearnExport(t.Context(), "-"); !errors.As(err, &exit) || exit.Code != ExitCannotWrite {
		t.Errorf("%v", err)
	}
}
