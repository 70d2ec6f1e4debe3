package exchange

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// session is one connection.
type session struct {
	s     *Server
	nc    net.Conn
	br    *bufio.Reader
	began time.Time
	tls   bool
	login bool
	hello bool
	mail  *Message // the transaction
	over  bool
}

func (s *Server) serve(nc net.Conn) {
	counted := s.enter(nc)
	c := &session{s: s, nc: nc, br: bufio.NewReader(nc), began: time.Now()}
	defer func() {
		s.leave(nc, counted) // before the client can know that it is over
		_ = c.nc.Close()
	}()
	if !counted {
		c.say("421 4.3.2 The maximum number of concurrent connections has exceeded a limit, closing transmission channel")
		return
	}
	s.pause(s.o.Slow)
	if s.o.Refuse != "" {
		c.say(s.o.Refuse)
		return
	}
	c.say("220 " + s.o.Host + " Microsoft ESMTP MAIL Service ready at " + c.began.Format(time.RFC1123Z))
	for !c.over {
		line, ok := c.line()
		if !ok {
			return
		}
		c.command(line)
	}
}

// line reads a command, for as long as a client may take.
func (c *session) line() (string, bool) {
	end := time.Now().Add(c.s.o.Idle)
	if last := c.began.Add(c.s.o.Session); last.Before(end) {
		end = last
	}
	_ = c.nc.SetReadDeadline(end)
	line, err := c.br.ReadString('\n')
	if err != nil {
		if !time.Now().Before(end) {
			c.say("421 4.4.1 Connection timed out")
		}
		return "", false
	}
	return strings.TrimRight(line, "\r\n"), true
}

// say sends a reply, a refusal after the tarpit's pause.
func (c *session) say(lines ...string) {
	if lines[0][0] == '5' {
		c.s.pause(c.s.o.Tarpit)
	}
	_, _ = io.WriteString(c.nc, strings.Join(lines, "\r\n")+"\r\n")
}

func (c *session) command(line string) {
	c.s.mu.Lock()
	c.s.commands = append(c.s.commands, line)
	c.s.mu.Unlock()
	verb, rest, _ := strings.Cut(line, " ")
	switch strings.ToUpper(verb) {
	case "EHLO":
		c.ehlo()
	case "HELO":
		c.hello, c.mail = true, nil
		c.say("250 " + c.s.o.Host + " Hello [" + c.peer() + "]")
	case "STARTTLS":
		c.startTLS()
	case "AUTH":
		c.auth(rest)
	case "MAIL":
		c.from(rest)
	case "RCPT":
		c.rcpt(rest)
	case "DATA":
		c.data()
	case "BDAT":
		c.bdat(rest)
	case "RSET":
		c.mail = nil
		c.say("250 2.0.0 Resetting")
	case "NOOP":
		c.say("250 2.0.0 OK")
	case "QUIT":
		c.over = true
		c.say("221 2.0.0 Service closing transmission channel")
	default:
		c.say("500 5.3.3 Unrecognized command '" + verb + "'")
	}
}

func (c *session) peer() string {
	host, _, _ := net.SplitHostPort(c.nc.RemoteAddr().String())
	return host
}

func (c *session) ehlo() {
	o := &c.s.o
	c.hello, c.mail = true, nil
	all := []string{"PIPELINING", "DSN", "ENHANCEDSTATUSCODES"}
	if o.Size > 0 {
		all = append([]string{"SIZE " + strconv.FormatInt(o.Size, 10)}, all...)
	}
	if o.Cert != nil && !c.tls {
		all = append(all, "STARTTLS")
	}
	mechanisms := "AUTH NTLM"
	if o.Login[0] != "" && c.tls {
		mechanisms += " LOGIN"
	}
	all = append(all, "X-ANONYMOUSTLS", mechanisms, "X-EXPS GSSAPI NTLM", "8BITMIME", "BINARYMIME", "CHUNKING")
	if o.OldStyle {
		all = append(all, "XEXCH50", "XRDST", "XSHADOW")
	} else {
		all = append(all, "SMTPUTF8", "XRDST")
	}
	lines := []string{o.Host + " Hello [" + c.peer() + "]"}
	for _, e := range all {
		if keyword, _, _ := strings.Cut(e, " "); !slices.Contains(o.Lacks, keyword) {
			lines = append(lines, e)
		}
	}
	for i := range lines {
		sep := "-"
		if i == len(lines)-1 {
			sep = " "
		}
		lines[i] = "250" + sep + lines[i]
	}
	c.say(lines...)
}

func (c *session) startTLS() {
	if c.s.o.Cert == nil || c.tls {
		c.say("500 5.3.3 Unrecognized command")
		return
	}
	c.say("220 2.0.0 SMTP server ready")
	cfg := &tls.Config{Certificates: []tls.Certificate{*c.s.o.Cert}, MinVersion: tls.VersionTLS10, MaxVersion: c.s.o.TLSMax} //nolint:gosec // a fault that is to be found
	secure := tls.Server(c.nc, cfg)
	_ = c.nc.SetDeadline(time.Now().Add(10 * time.Second))
	if err := secure.Handshake(); err != nil {
		c.over = true
		return
	}
	_ = c.nc.SetDeadline(time.Time{})
	c.nc, c.br, c.tls, c.hello, c.mail = secure, bufio.NewReader(secure), true, false, nil
}

func (c *session) auth(rest string) {
	if strings.ToUpper(rest) != "LOGIN" || c.s.o.Login[0] == "" || !c.tls {
		c.say("504 5.7.4 Unrecognized authentication type")
		return
	}
	var said [2]string
	for i, prompt := range []string{"334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6"} {
		c.say(prompt)
		line, ok := c.line()
		if !ok {
			c.over = true
			return
		}
		b, _ := base64.StdEncoding.DecodeString(line)
		said[i] = string(b)
	}
	if said != c.s.o.Login {
		c.say("535 5.7.3 Authentication unsuccessful")
		return
	}
	c.login = true
	c.say("235 2.7.0 Authentication successful")
}

// path gives the path of MAIL or RCPT, and what stands behind it.
func path(rest, keyword string) (address, options string, ok bool) {
	if len(rest) < len(keyword) || !strings.EqualFold(rest[:len(keyword)], keyword) {
		return "", "", false
	}
	rest = strings.TrimSpace(rest[len(keyword):])
	end := strings.IndexByte(rest, '>')
	if !strings.HasPrefix(rest, "<") || end < 0 {
		return "", "", false
	}
	return rest[1:end], strings.TrimSpace(rest[end+1:]), true
}

func (c *session) from(rest string) {
	o := &c.s.o
	address, options, ok := path(rest, "FROM:")
	c.s.pause(o.BackPressure)
	switch {
	case !c.hello:
		c.say("503 5.5.2 Send hello first")
	case c.mail != nil:
		c.say("503 5.5.2 Sender already specified")
	case !ok:
		c.say("501 5.5.4 Invalid arguments")
	case o.BackPressure > 0:
		c.say("452 4.3.1 Insufficient system resources")
	case o.NoAnonymous && !c.login:
		c.say("530 5.7.57 SMTP; Client was not authenticated to send anonymous mail during MAIL FROM")
	case c.tooLarge(sizeOf(options)):
		c.say(tooLarge)
	default:
		c.mail = &Message{From: address, Options: options}
		c.say("250 2.1.0 Sender OK")
	}
}

const tooLarge = "552 5.3.4 Message size exceeds fixed maximum message size"

// tooLarge reports whether a message has too many octets. Servers of the organization have no limit.
func (c *session) tooLarge(octets int64) bool {
	return !c.s.o.Internal && c.s.o.Size > 0 && octets > c.s.o.Size
}

func sizeOf(options string) int64 {
	for word := range strings.FieldsSeq(strings.ToUpper(options)) {
		if n, ok := strings.CutPrefix(word, "SIZE="); ok {
			size, _ := strconv.ParseInt(n, 10, 64)
			return size
		}
	}
	return 0
}

func (c *session) rcpt(rest string) {
	o := &c.s.o
	address, _, ok := path(rest, "TO:")
	_, domain, _ := strings.Cut(strings.ToLower(address), "@")
	ours := slices.Contains(o.Domains, domain)
	switch {
	case c.mail == nil:
		c.say("503 5.5.2 Need mail command")
	case !ok || address == "":
		c.say("501 5.5.4 Invalid arguments")
	case len(c.mail.To) >= o.Recipients:
		c.say("452 4.5.3 Too many recipients")
	case !ours && !o.Internal && !c.login:
		c.say("550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain")
	case ours && !c.s.exists(address) && o.Unknown == AtRcpt:
		c.say("550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup")
	default:
		c.mail.To = append(c.mail.To, address)
		c.say("250 2.1.5 Recipient OK")
	}
}

// exists reports whether there is a mailbox, or the address is another domain's.
func (s *Server) exists(address string) bool {
	address = strings.ToLower(address)
	_, domain, _ := strings.Cut(address, "@")
	return len(s.o.Mailboxes) == 0 || !slices.Contains(s.o.Domains, domain) || slices.Contains(s.o.Mailboxes, address)
}

func (c *session) data() {
	if c.mail == nil || len(c.mail.To) == 0 {
		c.say("503 5.5.2 Need rcpt command")
		return
	}
	c.say("354 Start mail input; end with <CRLF>.<CRLF>")
	_ = c.nc.SetReadDeadline(time.Now().Add(c.s.o.Session))
	var content strings.Builder
	for {
		line, err := c.br.ReadString('\n')
		if err != nil {
			c.over = true
			return
		}
		if line == ".\r\n" {
			break
		}
		content.WriteString(strings.TrimPrefix(line, "."))
	}
	c.end(content.String())
}

// bdat takes content in chunks (RFC 3030).
func (c *session) bdat(rest string) {
	size, last, _ := strings.Cut(rest, " ")
	n, err := strconv.ParseInt(size, 10, 32)
	if err != nil || slices.Contains(c.s.o.Lacks, "CHUNKING") {
		c.over = true
		c.say("501 5.5.4 Invalid arguments")
		return
	}
	chunk := make([]byte, n)
	_ = c.nc.SetReadDeadline(time.Now().Add(c.s.o.Session))
	if _, err := io.ReadFull(c.br, chunk); err != nil {
		c.over = true
		return
	}
	if c.mail == nil || len(c.mail.To) == 0 {
		c.say("503 5.5.2 Need rcpt command")
		return
	}
	c.mail.Content += string(chunk)
	if strings.EqualFold(last, "LAST") {
		c.end(c.mail.Content)
		return
	}
	c.say(fmt.Sprintf("250 2.6.0 CHUNK received OK, %d octets", n))
}

// end takes the message, or refuses it.
func (c *session) end(content string) {
	m := *c.mail
	c.mail = nil
	for _, to := range m.To {
		if c.s.exists(to) {
			continue
		}
		if c.s.o.Unknown == AtData {
			c.say("550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup")
			return
		}
		m.Bounced = true
	}
	if c.tooLarge(int64(len(content))) {
		c.say(tooLarge)
		return
	}
	m.Content = c.s.firewall(content)
	c.s.pause(c.s.o.Acknowledges)
	c.s.mu.Lock()
	c.s.taken = append(c.s.taken, m)
	n := len(c.s.taken)
	c.s.mu.Unlock()
	c.say(fmt.Sprintf("250 2.6.0 <%d@%s> [InternalId=%d, Hostname=%s] Queued mail for delivery", n, c.s.o.Host, n, c.s.o.Host))
}

// firewall takes out of a header what only the organization's own servers may write (X-MS-Exchange-Organization-) and
// what only those of the forest may (X-MS-Exchange-Forest-).
func (s *Server) firewall(content string) string {
	if s.o.Internal || s.o.Organization {
		return content
	}
	header, body, found := strings.Cut(content, "\r\n\r\n")
	var b strings.Builder
	drop := false
	for line := range strings.SplitSeq(header, "\r\n") {
		if !strings.HasPrefix(line, " ") && !strings.HasPrefix(line, "\t") {
			low := strings.ToLower(line)
			drop = strings.HasPrefix(low, "x-ms-exchange-organization-") || strings.HasPrefix(low, "x-ms-exchange-forest-")
		}
		if !drop {
			b.WriteString(line + "\r\n")
		}
	}
	if !found {
		return b.String()
	}
	return b.String() + "\r\n" + body
}

// SCL gives the spam confidence level that a message brings along, 0 where it has none (-1 is one that no filter of
// Exchange looks at). A level above 4 leads to the Junk folder.
func (m Message) SCL() int {
	header, _, _ := strings.Cut(m.Content, "\r\n\r\n")
	for line := range strings.SplitSeq(header, "\r\n") {
		name, body, _ := strings.Cut(line, ":")
		if strings.EqualFold(name, "X-MS-Exchange-Organization-SCL") {
			n, _ := strconv.Atoi(strings.TrimSpace(body))
			return n
		}
	}
	return 0
}
