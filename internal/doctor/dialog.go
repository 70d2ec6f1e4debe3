package doctor

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/upstream"
)

// dialog is one connection with a server.
type dialog struct {
	nc   net.Conn
	br   *bufio.Reader
	wait time.Duration // for each reply
	stop func() bool   // ends the watch over the examination's time
	ext  map[string]string
	took time.Duration // of the last reply
	tls  bool
}

// replyBuffer is what upstream.ReadReply wants.
const replyBuffer = 4096

// dial connects, and says the PROXY header where one is due.
func (v *visit) dial(ctx context.Context) (*dialog, error) {
	dialing, cancel := context.WithTimeout(ctx, v.limits.Reply)
	defer cancel()
	nc, err := v.connect(dialing, v.server.Source, v.server.Address)
	if err != nil {
		return nil, err
	}
	d := &dialog{nc: nc, br: bufio.NewReaderSize(nc, replyBuffer), wait: v.limits.Reply}
	d.stop = context.AfterFunc(ctx, func() { _ = nc.Close() })
	if v.server.Identity == "proxy" {
		_ = nc.SetWriteDeadline(time.Now().Add(d.wait))
		if _, err := nc.Write(upstream.LocalProxyHeader()); err != nil {
			d.close()
			return nil, fmt.Errorf("the PROXY header: %w", err)
		}
	}
	return d, nil
}

// reply reads a reply.
func (d *dialog) reply() (mail.Reply, error) {
	start := time.Now()
	_ = d.nc.SetReadDeadline(start.Add(d.wait))
	r, err := upstream.ReadReply(d.br)
	d.took = time.Since(start)
	return r, err
}

// say says a command and reads its reply.
func (d *dialog) say(format string, args ...any) (mail.Reply, error) {
	_ = d.nc.SetWriteDeadline(time.Now().Add(d.wait))
	if _, err := io.WriteString(d.nc, fmt.Sprintf(format, args...)+"\r\n"); err != nil {
		return mail.Reply{}, err
	}
	return d.reply()
}

// close takes leave, without waiting for the answer.
func (d *dialog) close() {
	d.stop()
	_ = d.nc.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = io.WriteString(d.nc, "QUIT\r\n")
	_ = d.nc.Close()
}

// leave is close for those whose next connection must not be counted together with this one.
func (d *dialog) leave() {
	_ = d.nc.SetDeadline(time.Now().Add(time.Second))
	_, _ = io.WriteString(d.nc, "QUIT\r\n")
	_, _ = io.Copy(io.Discard, io.LimitReader(d.br, 64<<10))
	d.stop()
	_ = d.nc.Close()
}

// learn reads what an EHLO offers.
func (d *dialog) learn(r mail.Reply) {
	d.ext = map[string]string{}
	_, lines, _ := strings.Cut(r.Text, "\n")
	for line := range strings.SplitSeq(lines, "\n") {
		keyword, value, _ := strings.Cut(line, " ")
		if keyword = strings.ToUpper(keyword); keyword != "" {
			d.ext[keyword] = strings.TrimSpace(value)
		}
	}
}

func (d *dialog) offers(keyword string) bool {
	_, ok := d.ext[keyword]
	return ok
}

// said words what came in place of a good reply.
func said(r mail.Reply, err error) string {
	switch {
	case errors.Is(err, io.EOF):
		return "it closed the connection"
	case err != nil:
		return errText(err)
	}
	return "it said " + words(r)
}

// words gives a reply as it came, cut off where it is long.
func words(r mail.Reply) string { return fmt.Sprintf("%.300s", r.String()) }

func asNet(err error, target *net.Error) bool { return errors.As(err, target) }
