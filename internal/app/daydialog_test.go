package app

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// dayDialog is one connection of a sender's.
type dayDialog struct {
	c       net.Conn
	r       *bufio.Reader
	offered string
}

// say sends lines and reads the reply to each.
func (d *dayDialog) say(lines ...string) (replies []string, err error) {
	if _, err = io.WriteString(d.c, strings.Join(lines, "\r\n")+"\r\n"); err != nil {
		return nil, err
	}
	for range lines {
		reply, err := d.read()
		if err != nil {
			return replies, err
		}
		replies = append(replies, reply)
	}
	return replies, nil
}

// read gives one reply with all of its lines.
func (d *dayDialog) read() (string, error) {
	var all strings.Builder
	for {
		line, err := d.r.ReadString('\n')
		if err != nil {
			return "", err
		}
		all.WriteString(line)
		if len(line) > 3 && line[3] == ' ' {
			return strings.TrimSuffix(all.String(), "\r\n"), nil
		}
	}
}

// want is say for one line, with the reply that there has to be.
func (d *dayDialog) want(code, line string) error {
	replies, err := d.say(line)
	if err == nil && !strings.HasPrefix(replies[0], code) {
		err = fmt.Errorf("%.40q: %s", line, replies[0])
	}
	return err
}

// try makes one transaction, from one host, and gives the fate of each recipient: the reply to it, or that to the content.
func (s sender) try(addr, host, id, from string, to []string) (replies []string, err error) {
	replies = make([]string, len(to))
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return replies, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(2 * time.Minute))
	if _, err := fmt.Fprintf(c, "PROXY TCP4 %s 127.0.0.1 40000 25\r\n", host); err != nil {
		return replies, err
	}
	d := &dayDialog{c: c, r: bufio.NewReader(c)}
	greeting, err := d.read()
	if err == nil && strings.HasPrefix(greeting, "421") { // too many at once: its mail server tries again later
		for i := range replies {
			replies[i] = greeting
		}
		return replies, nil
	}
	if err != nil || !strings.HasPrefix(greeting, "220") {
		return replies, fmt.Errorf("greeting %q: %v", greeting, err)
	}
	if err := s.hello(d); err != nil {
		return replies, err
	}
	commands := []string{"MAIL FROM:<" + from + ">"}
	for _, r := range to {
		commands = append(commands, "RCPT TO:<"+r+">")
	}
	said, err := d.batch(commands, strings.Contains(d.offered, "PIPELINING"))
	if err != nil {
		return replies, err
	}
	if !strings.HasPrefix(said[0], "2") {
		return replies, fmt.Errorf("MAIL: %s", said[0])
	}
	accepted := 0
	for i := range to {
		replies[i] = said[1+i]
		if replies[i][0] == '2' {
			accepted++
		}
	}
	if accepted > 0 {
		end, err := s.content(d, id, from, to[0])
		if err != nil {
			return replies, err
		}
		for i := range to {
			if replies[i][0] == '2' {
				replies[i] = end
			}
		}
	}
	_, err = d.say("QUIT")
	return replies, err
}

// hello says EHLO or HELO, begins TLS and logs in, as the sender does.
func (s sender) hello(d *dayDialog) error {
	if !s.esmtp {
		return d.want("250", "HELO "+s.helo)
	}
	ehlo := func() error {
		replies, err := d.say("EHLO " + s.helo)
		if err == nil {
			d.offered = replies[0]
		}
		return err
	}
	if err := ehlo(); err != nil {
		return err
	}
	if s.tls {
		if err := d.want("220", "STARTTLS"); err != nil {
			return err
		}
		c := tls.Client(d.c, &tls.Config{InsecureSkipVerify: true})
		d.c, d.r = c, bufio.NewReader(c)
		if err := ehlo(); err != nil {
			return err
		}
	}
	if s.user {
		return d.want("235", "AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00"+password)))
	}
	return nil
}

// batch sends commands at once where that is allowed, else one by one.
func (d *dayDialog) batch(commands []string, pipelining bool) (replies []string, err error) {
	if pipelining {
		return d.say(commands...)
	}
	for _, line := range commands {
		reply, err := d.say(line)
		if err != nil {
			return replies, err
		}
		replies = append(replies, reply...)
	}
	return replies, nil
}

// content sends the message and gives the reply to its end.
func (s sender) content(d *dayDialog, id, from, to string) (string, error) {
	head := ""
	if !s.plain {
		head = fmt.Sprintf("Date: Thu, 26 Nov 2026 10:00:00 +0000\r\nMessage-ID: <%s@%s>\r\n", id, from[strings.LastIndex(from, "@")+1:])
	}
	text := fmt.Sprintf("From: <%s>\r\nTo: <%s>\r\nSubject: for today\r\nX-Day: %s\r\n%s\r\nGood morning\r\n", from, to, id, head)
	if s.bdat && strings.Contains(d.offered, "CHUNKING") {
		first, last := text[:20], text[20:]
		if _, err := fmt.Fprintf(d.c, "BDAT %d\r\n%s", len(first), first); err != nil {
			return "", err
		}
		if reply, err := d.read(); err != nil || reply[0] != '2' {
			return reply, err
		}
		if _, err := fmt.Fprintf(d.c, "BDAT %d LAST\r\n%s", len(last), last); err != nil {
			return "", err
		}
		return d.read()
	}
	if err := d.want("354", "DATA"); err != nil {
		return "", err
	}
	replies, err := d.say(text + ".")
	if err != nil {
		return "", err
	}
	return replies[0], nil
}
