package app

import (
	"bufio"
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/postern-mail/postern/internal/dns/zone"
	"github.com/postern-mail/postern/internal/edge"
	"github.com/postern-mail/postern/internal/quarantine"
)

// samples are the demo's messages, its configuration and its zones.
//
//go:embed samples
var samples embed.FS

// DemoOptions change the demo.
type DemoOptions struct {
	Once bool   // end after the table
	Dir  string // "" is a new temporary folder
}

// sample is one message of the demo and its envelope.
type sample struct {
	name, about string
	from, to    string
	content     []byte // CRLF, unless the sample is about line ends
}

// demoResult is what became of a sample.
type demoResult struct {
	sample
	reply  string
	id     string
	action string
	why    string
}

// Demo runs a whole gateway on loopback: an embedded destination, a DNS of its own, and sample mail sent
// through the real listener. It prints what became of each message, and goes on until its context ends.
func (a *App) Demo(ctx context.Context, o DemoOptions) error {
	dir, err := demoDir(o.Dir)
	if err != nil {
		return &Exit{Code: ExitCannotWrite, Err: fmt.Errorf("postern: %w", err)}
	}
	zones, err := samples.ReadFile("samples/zones.txt")
	if err != nil {
		return err
	}
	names, err := zone.Serve(string(zones))
	if err != nil {
		return &Exit{Code: ExitOS, Err: fmt.Errorf("postern: the demo's DNS: %w", err)}
	}
	defer names.Close()

	logFile, err := os.OpenFile(filepath.Join(dir, "postern.log"), os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o600)
	if err != nil {
		return &Exit{Code: ExitCannotWrite, Err: err}
	}
	defer logFile.Close()
	log := slog.New(slog.NewJSONHandler(logFile, nil))
	// The usual ports where they are free; another demo may have taken them a moment ago.
	g, err := a.startDemo(ctx, log, dir, names.Addr(), "127.0.0.1:2525", "127.0.0.1:9797")
	if errors.Is(err, syscall.EADDRINUSE) {
		g, err = a.startDemo(ctx, log, dir, names.Addr(), "127.0.0.1:0", "127.0.0.1:0")
	}
	if err != nil {
		return err
	}
	defer g.close()

	addr := g.listeners[0].net.Addr().String()
	fmt.Fprintf(a.o.Stdout, "A gateway for postern.example listens on %s. Sending it sample mail …\n\n", addr)
	all, err := readSamples()
	if err != nil {
		return err
	}
	var results []demoResult
	for _, s := range all {
		reply, err := s.send(ctx, addr)
		if err != nil {
			return fmt.Errorf("demo: %s: %w", s.name, err)
		}
		results = append(results, demoResult{sample: s, reply: reply})
	}
	if err := explainResults(logFile.Name(), results); err != nil {
		return err
	}
	a.printDemo(dir, g, results)
	if o.Once {
		return nil
	}
	fmt.Fprintf(a.o.Stdout, "\nThe gateway goes on: send it mail on %s for bob@postern.example. End it with ^C.\n", addr)
	<-ctx.Done()
	fmt.Fprintf(a.o.Stdout, "\nStopped. What the demo made lies in %s\n", dir)
	return nil
}

// demoDir makes the demo's folder, with the list of mailboxes that exist.
func demoDir(dir string) (string, error) {
	var err error
	if dir == "" {
		dir, err = os.MkdirTemp("", "postern-demo-")
	} else {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return "", err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return "", err
	}
	list := "# The mailboxes of the demo, one a line.\nbob@postern.example\ndirector@postern.example\n"
	return dir, os.WriteFile(filepath.Join(dir, "recipients"), []byte(list), 0o600)
}

// startDemo starts the demo's gateway, and leaves its configuration in the folder, to be read and changed.
func (a *App) startDemo(ctx context.Context, log *slog.Logger, dir, resolver, smtp, metrics string) (*gateway, error) {
	text, err := samples.ReadFile("samples/postern.yaml")
	if err != nil {
		return nil, err
	}
	filled := strings.NewReplacer(
		"{{dir}}", filepath.ToSlash(dir), "{{dns}}", resolver, "{{smtp}}", smtp, "{{metrics}}", metrics,
	).Replace(string(text))
	file := filepath.Join(dir, "postern.yaml")
	if err := os.WriteFile(file, []byte(filled), 0o600); err != nil {
		return nil, &Exit{Code: ExitCannotWrite, Err: fmt.Errorf("postern: %w", err)}
	}
	a.o.Config, a.o.ConfigGiven = file, true
	cfg, err := a.load()
	if err != nil {
		return nil, err
	}
	return a.start(ctx, cfg, log)
}

// readSamples reads the embedded messages: lines of "key: value", a blank line, the message.
func readSamples() ([]sample, error) {
	files, err := fs.Glob(samples, "samples/*.eml")
	if err != nil {
		return nil, err
	}
	var all []sample
	for _, f := range files {
		raw, err := samples.ReadFile(f)
		if err != nil {
			return nil, err
		}
		head, content, _ := bytes.Cut(raw, []byte("\n\n"))
		s := sample{name: strings.TrimSuffix(path.Base(f), ".eml")}
		asIs := false
		for line := range strings.Lines(string(head)) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			switch key {
			case "about":
				s.about = value
			case "from":
				s.from = value
			case "to":
				s.to = value
			case "line-ends":
				asIs = true
			}
		}
		now := []byte(time.Now().Format(time.RFC1123Z))
		s.content = bytes.ReplaceAll(content, []byte("{{date}}"), now)
		if !asIs {
			s.content = bytes.ReplaceAll(s.content, []byte("\n"), []byte("\r\n"))
		}
		all = append(all, s)
	}
	return all, nil
}

// send hands the sample to the listener, as any client would, and gives the reply that decided.
func (s sample) send(ctx context.Context, addr string) (string, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return "", err
	}
	r := bufio.NewReader(c)
	if _, err := readReply(r); err != nil { // the greeting
		return "", err
	}
	stuffed := bytes.ReplaceAll(append([]byte("\r\n"), s.content...), []byte("\r\n."), []byte("\r\n.."))[2:]
	for _, step := range [][]byte{
		[]byte("EHLO client.example\r\n"),
		fmt.Appendf(nil, "MAIL FROM:<%s>\r\n", s.from),
		fmt.Appendf(nil, "RCPT TO:<%s>\r\n", s.to),
		[]byte("DATA\r\n"),
		append(stuffed, ".\r\n"...),
	} {
		if _, err := c.Write(step); err != nil {
			return "", err
		}
		reply, err := readReply(r)
		if err != nil {
			return "", err
		}
		if reply[0] > '3' {
			return reply, nil
		}
		if bytes.HasSuffix(step, []byte("\n.\r\n")) {
			return reply, nil
		}
	}
	return "", errors.New("no reply to the content")
}

// readReply reads a reply and gives its last line.
func readReply(r *bufio.Reader) (string, error) {
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return "", err
		}
		line = strings.TrimRight(line, "\r\n")
		if len(line) < 4 {
			return "", fmt.Errorf("malformed reply %q", line)
		}
		if line[3] == ' ' {
			return line, nil
		}
	}
}

// explainResults finds, in the gateway's own log, what was decided about each sample and why. The log has one
// line per recipient, in the order in which the samples were sent, and one per judged message before it.
func explainResults(logFile string, results []demoResult) error {
	f, err := os.Open(logFile)
	if err != nil {
		return err
	}
	defer f.Close()
	evidence := map[string]string{} // by id, of messages that were changed
	i := 0
	err = eachLine(f, func(text []byte) {
		var line struct {
			Msg, ID, Action, Because string
			Edits                    []string
			Findings                 []quarantine.Finding
		}
		if i == len(results) || json.Unmarshal(text, &line) != nil {
			return
		}
		switch line.Msg {
		case edge.MsgVerdict:
			if len(line.Edits) > 0 {
				evidence[line.ID] = "removed: " + firstOf(line.Findings, "ATTACHMENT_")
			} else if detail := firstOf(line.Findings, "BARE_"); detail != "" {
				evidence[line.ID] = detail
			}
		case edge.MsgDelivery:
			r := &results[i]
			r.id, r.action, r.why = line.ID, line.Action, line.Because
			if r.why == "" {
				r.why = evidence[line.ID]
			}
			i++
		}
	})
	if err == nil && i < len(results) {
		err = fmt.Errorf("demo: the log tells of %d messages, not %d", i, len(results))
	}
	return err
}

// firstOf gives the first finding whose symbol begins so.
func firstOf(all []quarantine.Finding, prefix string) string {
	for _, f := range all {
		if strings.HasPrefix(f.Symbol, prefix) {
			return strings.TrimSpace(f.Symbol + " " + f.Detail)
		}
	}
	return ""
}

// becomes says in a word what became of a sample.
func (r demoResult) becomes() string {
	switch {
	case !strings.HasPrefix(r.reply, "2"):
		if r.action == "quarantine" {
			return "held"
		}
		return "refused"
	case strings.HasPrefix(r.why, "removed: "):
		return "delivered, cleaned"
	case r.action == "tag":
		return "delivered, tagged"
	}
	return "delivered"
}

// printDemo prints the table, where things lie, and what to try next.
func (a *App) printDemo(dir string, g *gateway, results []demoResult) {
	w := tabwriter.NewWriter(a.o.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprint(w, "SAMPLE\tREPLY\tBECAME\tBECAUSE\n")
	held, cleaned := "ID", "ID"
	for _, r := range results {
		why := r.why
		if why == "" {
			why = "nothing against it"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.about, code(r.reply), r.becomes(), shorten(visible(why), 78))
		switch {
		case r.action == "quarantine":
			held = r.id
		case strings.HasPrefix(r.why, "removed: ") && cleaned == "ID":
			cleaned = r.id
		}
	}
	w.Flush()
	self := "postern"
	if exe, err := os.Executable(); err == nil {
		self = exe
	}
	fmt.Fprintf(a.o.Stdout, `
Delivered mail    %[1]s/mail/new
Held mail         %[1]s/state/quarantine
Log               %[1]s/postern.log
Configuration     %[1]s/postern.yaml
`, dir)
	if g.web != nil {
		fmt.Fprintf(a.o.Stdout, "Metrics           http://%s/metrics\n", g.web.addr)
	}
	fmt.Fprintf(a.o.Stdout, `
Try next:
  %[1]s -c %[2]s/postern.yaml quarantine ls
  %[1]s -c %[2]s/postern.yaml quarantine release %[3]s
  %[1]s -c %[2]s/postern.yaml explain --log %[2]s/postern.log %[4]s
  %[1]s -c %[2]s/postern.yaml check
  printf 'Subject: hello\n\nhello\n' | %[1]s -c %[2]s/postern.yaml scan --rcpt bob@postern.example -
`, self, dir, held, cleaned)
}

// code gives the two codes of a reply.
func code(reply string) string {
	fields := strings.Fields(reply)
	return strings.Join(fields[:min(2, len(fields))], " ")
}

// shorten cuts text for the table.
func shorten(s string, limit int) string {
	if r := []rune(s); len(r) > limit {
		return string(r[:limit-1]) + "…"
	}
	return s
}
