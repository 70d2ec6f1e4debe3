package pipeline

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/mail"
)

// losing gives a content on disk, and a way to lose its octets as a failing disk would: the file, which
// has no name, is found among the descriptors of this process and cut to nothing.
func losing(t *testing.T, text string) (*mail.Content, func()) {
	t.Helper()
	dir := t.TempDir()
	g := mail.NewIngest(mail.IngestOptions{Dir: dir, Memory: 1})
	if _, err := g.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	blob, faults, err := g.Blob()
	if err != nil {
		t.Fatal(err)
	}
	if _, inMemory := blob.Bytes(); inMemory {
		t.Fatal("the content is in memory")
	}
	c := mail.NewContent(blob, faults, mail.Limits{})
	t.Cleanup(c.Release)
	return c, func() {
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		for _, fd := range fds {
			path := "/proc/self/fd/" + fd.Name()
			if target, err := os.Readlink(path); err == nil && strings.HasPrefix(target, dir+"/") {
				if err := os.Truncate(path, 0); err != nil {
					t.Fatal(err)
				}
				return
			}
		}
		t.Fatal("no such descriptor")
	}
}

func TestUnreadableContentIsUnknown(t *testing.T) {
	for _, o := range []OnError{Defer, ContinueOnError, RejectOnError} {
		t.Run(fmt.Sprint(o), func(t *testing.T) {
			c, lose := losing(t, "Subject: x\r\n\r\n"+strings.Repeat("text\r\n", 20000))
			in := input(t, "")
			in.Content = c
			stages := with(parse(t, "a data gives=f", "b data needs=f", "c data observe"),
				filter.Func(func(context.Context, *filter.Input) (filter.Result, error) {
					return filter.Result{Facts: []filter.Fact{factF.Of("v")}}, nil
				}),
				filter.Func(func(_ context.Context, in *filter.Input) (filter.Result, error) {
					lose()
					in.Content.Root()
					return filter.Result{Propose: filter.Reject}, nil
				}))
			for i := range stages {
				stages[i].OnError = o
			}
			rs := mustCompile(t, stages).Run(t.Context(), filter.Data, in)
			if got := outcomes(rs); got != "a:error b:error c:error" {
				t.Fatalf("%s, content: %v", got, c.Err())
			}
			for _, r := range rs {
				if !errors.Is(r.Err, ErrContent) || r.Result.Propose != filter.Continue {
					t.Errorf("%s: %v, %v", r.Stage, r.Err, r.Result)
				}
			}
			if v := (&Policy{}).Decide(rs); v.Action != filter.Defer || v.Reply.Code != 451 {
				t.Errorf("our disk comes to %v %v", v.Action, v.Reply)
			}
		})
	}
}
