package upstream

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/postern-mail/postern/internal/store"
	"github.com/postern-mail/postern/mail"
)

// maildirServer stands for a host:port in the outcomes and metrics of a Maildir.
const maildirServer = "maildir"

// deliveries makes the names of files unique within the process, whatever the number of Maildirs.
var deliveries atomic.Uint64

// Maildir is the embedded destination: a Relay that puts each message into one folder in the maildir
// format (https://cr.yp.to/proto/maildir.html), one file for all recipients of the transaction. The
// content is stored octet for octet, its line ends are CRLF; Return-Path and one Delivered-To for each
// recipient are put on top.
type Maildir struct {
	Hooks Hooks // set before the first Deliver

	dir  string
	host string
	fs   store.FS
}

// NewMaildir opens the maildir at dir, and creates it where it is missing.
func NewMaildir(dir string) (*Maildir, error) { return NewMaildirOn(store.OS, dir) }

// NewMaildirOn is NewMaildir on a file system of the caller's.
func NewMaildirOn(fsys store.FS, dir string) (*Maildir, error) {
	if err := makeFolders(fsys, dir); err != nil {
		return nil, fmt.Errorf("upstream: maildir: %w", err)
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("upstream: maildir: %w", err)
	}
	host = strings.NewReplacer("/", `\057`, ":", `\072`).Replace(host)
	return &Maildir{dir: dir, host: host, fs: fsys}, nil
}

// makeFolders makes what is missing of the maildir, durably: a synced message in a folder that the power
// takes away is lost with it.
func makeFolders(fsys store.FS, dir string) error {
	changed := []string{dir}
	for p := dir; ; p = filepath.Dir(p) {
		if _, err := fsys.Stat(p); err == nil || filepath.Dir(p) == p {
			break
		}
		changed = append(changed, filepath.Dir(p))
	}
	for _, sub := range []string{"tmp", "new", "cur"} {
		if err := fsys.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return err
		}
	}
	for _, p := range changed {
		if err := fsys.SyncDir(p); err != nil {
			return err
		}
	}
	return nil
}

// Deliver stores the message, synced, before it says Delivered. A disk that fails is a fault of ours.
func (d *Maildir) Deliver(ctx context.Context, env mail.Envelope, m *mail.Message) Outcome {
	start := time.Now()
	o := Outcome{Kind: Delivered, Stage: StageStore, Server: maildirServer, Final: true}
	if err := d.deliver(ctx, env, m); err != nil {
		o.Kind, o.Err = OurFault, fmt.Errorf("upstream: maildir: %w", err)
		d.Hooks.fault(&o)
	} else {
		o.Reply = mail.NewReply(250, 2, 0, 0, "stored")
	}
	o.Elapsed = time.Since(start)
	d.Hooks.phase(o.Server, o.Stage, o.Elapsed)
	d.Hooks.result(&o)
	return o
}

func (d *Maildir) deliver(ctx context.Context, env mail.Envelope, m *mail.Message) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	top := trace(env)
	name := d.name(time.Now(), int64(len(top))+m.Size())
	tmp, path := filepath.Join(d.dir, "tmp", name), filepath.Join(d.dir, "new", name)
	return store.WriteFile(d.fs, tmp, path, 0o600, func(w io.Writer) error {
		if _, err := io.WriteString(w, top); err != nil {
			return err
		}
		n, err := m.WriteTo(w)
		if err == nil && n != m.Size() {
			err = fmt.Errorf("%w: %d octets of %d", errContent, n, m.Size())
		}
		return err
	})
}

// trace gives the fields that final delivery puts on top.
func trace(env mail.Envelope) string {
	var b strings.Builder
	// RFC 5321 4.4: the server that makes the final delivery inserts the reverse-path.
	fmt.Fprintf(&b, "Return-Path: <%s>\r\n", env.From)
	for _, to := range env.To {
		fmt.Fprintf(&b, "Delivered-To: %s\r\n", to)
	}
	return b.String()
}

// name gives a file name that nobody has had: time, process, counter, host, and the size, which readers
// of maildirs would otherwise ask the file for.
func (d *Maildir) name(now time.Time, size int64) string {
	return fmt.Sprintf("%d.M%06dP%dQ%d.%s,S=%d", now.Unix(), now.Nanosecond()/1000, os.Getpid(),
		deliveries.Add(1), d.host, size)
}
