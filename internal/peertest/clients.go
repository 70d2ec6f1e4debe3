package peertest

import (
	_ "embed"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Client is a program that sends mail and has no queue.
type Client struct {
	Name    string
	Partial bool // sends to those recipients that were accepted where others were not
	UTF8    bool // knows SMTPUTF8
	Slow    bool // a heavy process for each message
	Chunks  bool // knows CHUNKING, and doubles in chunks, too, the dots that lead lines (Jakarta Mail 2.0.0)

	send func(testing.TB, Session) []Answer
}

// Session is what a client is to send over one path; whether that takes one connection is up to the client.
type Session struct {
	Addr       string
	TLS        string // none, starttls, implicit
	User       string // "": without AUTH
	Password   string
	Chunking   bool // BDAT in place of DATA, by clients that can
	Submission []Submission
}

// Submission is one message.
type Submission struct {
	From    string
	To      []string
	UTF8    bool
	Content string // with CRLF line ends
}

// Answer is what the client says came of a submission.
type Answer struct {
	Sent bool   // to all recipients, as the client has it
	Said string // its report, with the replies of the server
}

// Clients gives all.
func Clients() []Client {
	return []Client{
		{Name: "swaks", Partial: true, Slow: true, send: swaks},
		{Name: "msmtp", send: msmtp},
		{Name: "smtplib", Partial: true, UTF8: true, send: smtplib},
		{Name: "Jakarta Mail", Partial: true, UTF8: true, Chunks: true, send: jakartaMail},
	}
}

// Send has the client send, and gives one answer for each submission.
func (c Client) Send(t testing.TB, s Session) []Answer {
	t.Helper()
	answers := c.send(t, s)
	if len(answers) != len(s.Submission) {
		t.Fatalf("%s gave %d answers to %d submissions", c.Name, len(answers), len(s.Submission))
	}
	return answers
}

// one runs a program that sends one message.
func one(cmd *exec.Cmd) Answer {
	out, err := cmd.CombinedOutput()
	return Answer{Sent: err == nil, Said: string(out)}
}

func swaks(t testing.TB, s Session) (all []Answer) {
	t.Helper()
	for _, m := range s.Submission {
		file := filepath.Join(t.TempDir(), "message")
		text := strings.ReplaceAll(m.Content, "\r\n", "\n")
		must(t, os.WriteFile(file, []byte(strings.TrimSuffix(text, "\n")), 0o600)) // swaks puts a line end behind it
		args := []string{
			"--server", s.Addr, "--ehlo", "client.test", "--from", m.From, "--to", strings.Join(m.To, ","),
			"--data", "@" + file, "--pipeline",
		}
		switch s.TLS {
		case "starttls":
			args = append(args, "--tls")
		case "implicit":
			args = append(args, "--tls-on-connect")
		}
		if s.User != "" {
			args = append(args, "--auth", "PLAIN", "--auth-user", s.User, "--auth-password", s.Password)
		}
		all = append(all, one(Command(t, "swaks", args...)))
	}
	return all
}

func msmtp(t testing.TB, s Session) (all []Answer) {
	t.Helper()
	for _, m := range s.Submission {
		host, port, _ := strings.Cut(s.Addr, ":")
		args := []string{
			"-C", "/dev/null", "--host=" + host, "--port=" + port, "--domain=client.test", "--timeout=30", "--debug",
			"--from=" + m.From, "--tls=off", "--auth=off",
		}
		if s.TLS != "none" {
			args = append(args, "--tls=on", "--tls-certcheck=off", "--tls-starttls="+map[bool]string{true: "on", false: "off"}[s.TLS == "starttls"])
		}
		if s.User != "" {
			args = append(args, "--auth=login", "--user="+s.User, "--passwordeval=echo "+s.Password)
		}
		cmd := Command(t, "msmtp", append(append(args, "--"), m.To...)...)
		cmd.Stdin = strings.NewReader(strings.ReplaceAll(m.Content, "\r\n", "\n"))
		all = append(all, one(cmd))
	}
	return all
}

//go:embed smtplib.py
var smtplibProgram string

func smtplib(t testing.TB, s Session) []Answer {
	t.Helper()
	order, err := json.Marshal(s)
	must(t, err)
	cmd := Command(t, "python3", "-c", smtplibProgram)
	cmd.Stdin = strings.NewReader(string(order))
	return answers(t, cmd)
}

//go:embed jakarta.bsh
var jakartaProgram string

func jakartaMail(t testing.TB, s Session) []Answer {
	t.Helper()
	// BeanShell has no JSON: the session is a folder of files.
	dir := t.TempDir()
	write := func(name, text string) { must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600)) }
	write("program", jakartaProgram)
	host, port, _ := strings.Cut(s.Addr, ":")
	args := []string{
		"bsh.Interpreter", filepath.Join(dir, "program"), host, port, s.TLS, s.User, s.Password,
		map[bool]string{true: "100000", false: "-1"}[s.Chunking],
	}
	for i, m := range s.Submission {
		base := filepath.Join(dir, string(rune('a'+i)))
		must(t, os.WriteFile(base, []byte(m.Content), 0o600))
		args = append(args, base, m.From, strings.Join(m.To, ","), map[bool]string{true: "true", false: "false"}[m.UTF8])
	}
	var path []string
	for _, jar := range []string{"bsh.jar", "jakarta-mail.jar", "jakarta-activation.jar"} {
		path = append(path, javaArchive(t, jar))
	}
	return answers(t, java(t, append([]string{"-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Dfile.encoding=UTF-8", "-cp", strings.Join(path, ":")}, args...)...))
}

// javaArchive gives the path of an archive of classes, from the unpacked packages first, else from the machine.
func javaArchive(t testing.TB, name string) string {
	t.Helper()
	for _, root := range []string{Root(t), "/"} {
		path := filepath.Join(root, "usr/share/java", name)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	Missing(t, "POSTERN_PEERS", "no "+name+" of Java: run scripts/peers")
	return ""
}

// java makes a command of the machine's Java, or of the unpacked one.
func java(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	if path, err := exec.LookPath("java"); err == nil {
		return exec.Command(path, args...)
	}
	found, _ := filepath.Glob(filepath.Join(Root(t), "usr/lib/jvm/*/bin/java"))
	if len(found) == 0 {
		Missing(t, "POSTERN_PEERS", "no program java")
	}
	cmd := exec.Command(found[0], args...)
	cmd.Env = append(os.Environ(), environment(Root(t))...)
	return cmd
}

// answers runs a program that prints a line of JSON for each submission.
func answers(t testing.TB, cmd *exec.Cmd) (all []Answer) {
	t.Helper()
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s\n%s", err, out, complaint.String())
	}
	for line := range strings.Lines(string(out)) {
		sent, said, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		all = append(all, Answer{Sent: sent == "sent", Said: said})
	}
	return all
}
