package milter

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/scanner"
	"github.com/postern-mail/postern/mail"
)

// dialog is one session with a milter: the whole of an SMTP session told after the event, as the content is here.
type dialog struct {
	wire
	in       *filter.Input
	gateway  string
	version  uint32
	options  uint32
	verdict  verdict
	finished bool // nothing more is to be said
}

// verdict is what a milter says.
type verdict struct {
	action  filter.Action
	reply   *mail.Reply
	said    []string // what it did, for people
	changes []change
	kept    int      // octets of changes
	ignored []string // what it wants and does not get
	body    bool     // it wants another body, or another structure
}

// change is a field to be added, changed or removed.
type change struct {
	op          byte // actAddHeader, actInsert, actChange
	index       int
	name, value string
	fault       string // why there is none of it
}

// run holds a session.
func (d *dialog) run() error {
	if err := d.negotiate(); err != nil {
		return err
	}
	steps := []func() error{d.connect, d.helo, d.mail, d.rcpt, d.data, d.header, d.body, d.end}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
		if d.finished {
			break
		}
	}
	_ = d.send(cmdQuit, nil)
	return nil
}

// negotiate agrees on what is said.
func (d *dialog) negotiate() error {
	var b [12]byte
	binary.BigEndian.PutUint32(b[:], version)
	binary.BigEndian.PutUint32(b[4:], offeredActions)
	binary.BigEndian.PutUint32(b[8:], offeredOptions)
	if err := d.send(cmdNegotiate, b[:]); err != nil {
		return err
	}
	cmd, data, err := d.read()
	if err != nil {
		return err
	}
	if cmd != cmdNegotiate || len(data) < 12 {
		return wrong("%q to the offer", cmd)
	}
	v, options := binary.BigEndian.Uint32(data), binary.BigEndian.Uint32(data[8:])
	switch {
	case v < 2 || v > version:
		return wrong("version %d", v)
	case options&^offeredOptions != 0:
		return wrong("options %#x, which were not offered", options)
	}
	d.version, d.options = v, options
	return nil
}

// say sends a command with its macros and, unless the milter does not answer it, obeys what it answers.
func (d *dialog) say(cmd byte, data []byte, no, nr uint32, macros ...string) error {
	if d.options&no != 0 {
		return nil
	}
	if err := d.macros(cmd, macros); err != nil {
		return err
	}
	if err := d.send(cmd, data); err != nil {
		return err
	}
	if d.options&nr != 0 {
		return nil
	}
	_, err := d.hear(cmd)
	return err
}

// macros sends names and values by turns; those without a value are left out.
func (d *dialog) macros(cmd byte, all []string) error {
	b := []byte{cmd}
	for i := 0; i+1 < len(all); i += 2 {
		if value := clean(all[i+1]); value != "" {
			b = append(b, texts(all[i], value)...)
		}
	}
	if len(b) == 1 {
		return nil
	}
	return d.send(cmdMacro, b)
}

// clean gives a text without what would break out of its place.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, s)
}

// hear reads up to the answer to a command, and obeys it. skip says that the milter has seen enough of the body.
func (d *dialog) hear(cmd byte) (skip bool, err error) {
	for {
		act, data, err := d.read()
		if err != nil {
			return false, err
		}
		switch act {
		case actProgress:
			continue
		case actContinue:
			return false, nil
		case actSkip:
			if cmd != cmdBody || d.options&skips == 0 {
				return false, wrong("skip, to %q", cmd)
			}
			return true, nil
		case actAccept:
			d.finished = true
			return false, nil
		case actReject, actTempFail, actDiscard, actReplyCode:
			d.finished = true
			return false, d.verdict.ends(act, data)
		case actShutdown, actConnFail:
			return false, errors.New("milter: it shuts down")
		}
		if cmd != cmdEnd {
			return false, wrong("%q, to %q", act, cmd)
		}
		if err := d.verdict.wants(act, data); err != nil {
			return false, err
		}
	}
}

// session gives the client's session, which may be unknown.
func (d *dialog) session() *filter.Session {
	if d.in.Session == nil {
		return new(filter.Session)
	}
	return d.in.Session
}

func (d *dialog) connect() error {
	s := d.session()
	host := s.PTR
	data := []byte{'U'}
	addr := s.Client.Addr().WithZone("")
	if s.Client.IsValid() {
		family := byte('4')
		if addr.Is6() {
			family = '6'
		}
		data = append([]byte{family}, byte(s.Client.Port()>>8), byte(s.Client.Port()))
		data = append(data, texts(addr.String())...)
		if host == "" {
			host = "[" + addr.String() + "]"
		}
	}
	if host == "" {
		host = "unknown"
	}
	name, client, port, resolved := "unknown", "", "", "FAIL"
	if s.PTR != "" {
		name, resolved = s.PTR, "OK"
	}
	if s.Client.IsValid() {
		client, port = addr.String(), fmt.Sprint(s.Client.Port())
	}
	return d.say(cmdConnect, append(texts(clean(host)), data...), noConnect, nrConnect,
		"j", d.gateway, "{daemon_name}", s.Listener, "v", "Postern", "_", host+" ["+client+"]",
		"{client_addr}", client, "{client_port}", port, "{client_name}", name, "{client_ptr}", name, "{client_resolve}", resolved)
}

func (d *dialog) helo() error {
	s := d.session()
	var ver, cipher string
	if s.TLS != nil {
		ver, cipher = strings.ReplaceAll(tls.VersionName(s.TLS.Version), "TLS ", "TLSv"), tls.CipherSuiteName(s.TLS.CipherSuite)
	}
	return d.say(cmdHelo, texts(clean(s.Helo)), noHelo, nrHelo, "{tls_version}", ver, "{cipher}", cipher)
}

// transaction gives the transaction, which may be unknown.
func (d *dialog) transaction() *filter.Transaction {
	if d.in.Transaction == nil {
		return new(filter.Transaction)
	}
	return d.in.Transaction
}

func (d *dialog) mail() error {
	t, s := d.transaction(), d.session()
	protocol := "SMTP"
	if s.ESMTP {
		protocol = "ESMTP"
	}
	args := []string{"<" + t.From.String() + ">"}
	if t.Size > 0 {
		args = append(args, fmt.Sprintf("SIZE=%d", t.Size))
	}
	if t.Body8Bit {
		args = append(args, "BODY=8BITMIME")
	}
	if t.SMTPUTF8 {
		args = append(args, "SMTPUTF8")
	}
	began := t.Began
	if began.IsZero() {
		began = time.Now()
	}
	return d.say(cmdMail, texts(args...), noMail, nrMail, "i", t.ID, "r", protocol, "b", began.Format(time.RFC1123Z), "s", s.Helo,
		"{auth_authen}", s.User, "{mail_addr}", t.From.String(), "{mail_host}", t.From.Domain(), "{mail_mailer}", "esmtp")
}

func (d *dialog) rcpt() error {
	for _, to := range d.transaction().Recipients {
		err := d.say(cmdRcpt, texts("<"+to.String()+">"), noRcpt, nrRcpt,
			"{rcpt_addr}", to.String(), "{rcpt_host}", to.Domain(), "{rcpt_mailer}", "esmtp")
		if err != nil || d.finished {
			return err
		}
	}
	return nil
}

func (d *dialog) data() error {
	if d.version < 4 { // it does not know that command
		return nil
	}
	return d.say(cmdData, nil, noData, nrData, "i", d.transaction().ID)
}

// header tells the fields. A line that is no field is told as a lenient reader takes it.
func (d *dialog) header() error {
	h := d.in.Content.Header()
	if h.Truncated() {
		return scanner.Blameless(errors.New("milter: the header is too long to be handed on"))
	}
	if err := d.in.Content.Err(); err != nil {
		return scanner.Blameless(err)
	}
	for _, f := range h.Fields() {
		name := f.Name
		if name == "" {
			name, _ = f.Lenient()
		}
		_, value, ok := strings.Cut(strings.TrimSuffix(f.Raw, "\r\n"), ":")
		if name == "" || !ok {
			continue
		}
		if d.options&leadingPass == 0 {
			value = strings.TrimPrefix(value, " ")
		}
		if len(name)+len(value) > chunk {
			return scanner.Blameless(fmt.Errorf("milter: field %.80q is too long to be handed on", name))
		}
		if err := d.say(cmdHeader, texts(name, strings.ReplaceAll(value, "\r\n", "\n")), noHeader, nrHeader); err != nil || d.finished {
			return err
		}
	}
	return d.say(cmdEndHeader, nil, noEndHeader, nrEndHeader)
}

// body sends the body as it is.
func (d *dialog) body() error {
	if d.options&noBody != 0 {
		return nil
	}
	b := d.in.Content.Blob()
	off := d.in.Content.Header().Octets()
	r := b.Section(off, b.Size()-off)
	buf := make([]byte, chunk)
	for {
		n, err := io.ReadFull(r, buf)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return scanner.Blameless(err)
		}
		if n > 0 {
			if err := d.send(cmdBody, buf[:n]); err != nil {
				return err
			}
			if d.options&nrBody == 0 {
				if skip, err := d.hear(cmdBody); err != nil || skip || d.finished {
					return err
				}
			}
		}
		if err != nil {
			return nil
		}
	}
}

// end says that this was all, and hears what the milter wants.
func (d *dialog) end() error {
	if err := d.macros(cmdEnd, []string{"i", d.transaction().ID}); err != nil {
		return err
	}
	if err := d.send(cmdEnd, nil); err != nil {
		return err
	}
	_, err := d.hear(cmdEnd)
	return err
}

// talk holds a session with a server.
func talk(ctx context.Context, s *scanner.Server, in *filter.Input, gateway string) (verdict, error) {
	c, err := s.Dial(ctx)
	if err != nil {
		return verdict{}, err
	}
	defer func() { _ = c.Close() }()
	d := dialog{wire: wire{conn: c}, in: in, gateway: gateway}
	err = d.run()
	return d.verdict, err
}
