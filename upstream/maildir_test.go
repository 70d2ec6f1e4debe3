package upstream

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/postern-mail/postern/internal/store/storetest"
	"github.com/postern-mail/postern/mail"
)

func message(t testing.TB, content string) *mail.Message {
	t.Helper()
	blob := mail.NewBlob([]byte(content))
	m := mail.NewMessage(blob)
	blob.Release()
	t.Cleanup(m.Release)
	return m
}

func TestMaildir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mail")
	d, err := NewMaildir(dir)
	if err != nil {
		t.Fatal(err)
	}
	const content = ".Subject: x\r\n\r\n.\r\nno line end"
	env := mail.Envelope{To: []mail.Address{address(t, "b@y.test"), address(t, `"c d"@y.test`)}}
	const copies = 20
	var wg sync.WaitGroup
	for range copies {
		wg.Go(func() {
			o := d.Deliver(context.Background(), env, message(t, content))
			if o.Kind != Delivered || o.ClientReply("ID", false).String() != "250 2.0.0 Ok: queued as ID" {
				t.Errorf("%+v", o)
			}
		})
	}
	wg.Wait()
	env.From = address(t, "a@x.test")
	if o := d.Deliver(t.Context(), env, message(t, content)); o.Kind != Delivered || !o.Final || o.DSN {
		t.Errorf("%+v", o)
	}
	files, err := os.ReadDir(filepath.Join(dir, "new"))
	if err != nil || len(files) != copies+1 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	name := regexp.MustCompile(`^\d+\.M\d{6}P\d+Q\d+\.[^/:]+,S=(\d+)$`)
	withSender := 0
	for _, f := range files {
		octets, err := os.ReadFile(filepath.Join(dir, "new", f.Name()))
		if m := name.FindStringSubmatch(f.Name()); err != nil || m == nil || m[1] != strconv.Itoa(len(octets)) {
			t.Errorf("%s: %v, %d octets", f.Name(), err, len(octets))
		}
		rest := "Delivered-To: b@y.test\r\nDelivered-To: \"c d\"@y.test\r\n" + content
		switch string(octets) {
		case "Return-Path: <a@x.test>\r\n" + rest:
			withSender++
		case "Return-Path: <>\r\n" + rest:
		default:
			t.Errorf("%s: %q", f.Name(), octets)
		}
	}
	if withSender != 1 {
		t.Errorf("%d with the sender", withSender)
	}
	if left, err := os.ReadDir(filepath.Join(dir, "tmp")); err != nil || len(left) > 0 {
		t.Errorf("left in tmp: %v, %v", left, err)
	}
}

// TestMaildirFailures lets each operation of a delivery fail in turn, and the power go at each: the
// reply is a 4yz, or the message survives whatever happens next.
func TestMaildirFailures(t *testing.T) {
	const content = "Subject: x\r\n\r\nHello\r\n"
	env := mail.Envelope{From: address(t, "a@x.test"), To: []mail.Address{address(t, "b@y.test")}}
	open := func(fsys *storetest.FS) *Maildir {
		d, err := NewMaildirOn(fsys, "/var/mail")
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	fsys := storetest.New()
	d := open(fsys)
	before := fsys.Ops()
	if o := d.Deliver(t.Context(), env, message(t, content)); o.Kind != Delivered {
		t.Fatalf("%+v", o)
	}
	ops := fsys.Ops() - before
	for _, c := range []struct {
		name string
		err  error
		want string
	}{
		{"disk full", syscall.ENOSPC, "452 4.3.1 insufficient system storage, please try again later (ID)"},
		{"quota", syscall.EDQUOT, "452 4.3.1 insufficient system storage, please try again later (ID)"},
		{"bad disk", syscall.EIO, "451 4.3.0 local error, please try again later (ID)"},
	} {
		for n := 1; n <= ops; n++ {
			fsys := storetest.New()
			d := open(fsys)
			faults := 0
			d.Hooks.Fault = func(string, Stage, mail.Reply, error) { faults++ }
			fsys.FailAt(n, c.err, n%2 == 0)
			o := d.Deliver(t.Context(), env, message(t, content))
			if got := o.ClientReply("ID", false).String(); o.Kind != OurFault || got != c.want || faults != 1 {
				t.Errorf("%s at %d: %v %s, %d faults (%v)", c.name, n, o.Kind, got, faults, fsys.Log())
			}
		}
	}
	for n := 1; n <= ops+1; n++ {
		for _, loss := range storetest.Losses() {
			for seed := range uint64(4) {
				fsys := storetest.New()
				d := open(fsys)
				fsys.CutAt(n)
				o := d.Deliver(t.Context(), env, message(t, content))
				fsys.Reboot(loss, seed)
				entries, err := fsys.ReadDir("/var/mail/new")
				if err != nil {
					t.Fatalf("power at %d: %v", n, err)
				}
				if o.Kind == Delivered && len(entries) != 1 {
					t.Errorf("power at %d, loss %v: acknowledged and lost", n, loss)
				}
				for _, e := range entries {
					f, err := fsys.OpenFile("/var/mail/new/"+e.Name(), os.O_RDONLY, 0)
					if err != nil {
						t.Fatal(err)
					}
					if octets, err := io.ReadAll(f); err != nil || !strings.HasSuffix(string(octets), content) {
						t.Errorf("power at %d, loss %v: new has %q, %v", n, loss, octets, err)
					}
				}
			}
		}
	}
}

func TestMaildirContentGone(t *testing.T) {
	d, err := NewMaildir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	m := message(t, "Subject: x\r\n\r\n")
	m.Release()
	env := mail.Envelope{To: []mail.Address{address(t, "b@y.test")}}
	o := d.Deliver(t.Context(), env, m)
	if o.Kind != OurFault || o.ClientReply("ID", false).Code != 451 {
		t.Errorf("%+v", o)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if o := d.Deliver(canceled, env, message(t, "x")); o.Kind != OurFault || !errors.Is(o.Err, context.Canceled) {
		t.Errorf("%+v", o)
	}
	if files, err := os.ReadDir(filepath.Join(d.dir, "new")); err != nil || len(files) > 0 {
		t.Errorf("%v, %v", files, err)
	}
}
