package edge

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/emersion/go-smtp"

	"github.com/postern-mail/postern/mail"
)

// dialog is our own engine: the server's side of SMTP (RFC 5321) on one wire. It reads commands, sees to their
// order and syntax, and calls the session, which decides. Its vocabulary is go-smtp's, so that the session does not
// know which engine runs it.
//
// What it holds to:
//
//   - a command counts when its line is there, and content ends at <CRLF>.<CRLF> or with a chunk's octets: nothing that a
//     time-out or a lost connection cut off is a command, and no content is read as one;
//   - what a client may not send before it has our answer (RFC 2920 3.1) ends the connection when it is there already:
//     whoever does that does not listen, or speaks with a voice that is not its own;
//   - replies are sent when the client is waited for, all of one turn in one write.
type dialog struct {
	w       *wire
	host    netip.Addr   // that the connection comes from, whoever it speaks for
	session smtp.Session // nil before EHLO
	open    bool         // MAIL was accepted
	rcpts   int          // accepted
	size    int64        // that MAIL has declared
	arrival *arrival     // content that is coming, nil while there is none
	reads   reads
	chunk   int64 // its octets
	left    int64 // those that have not come
	last    bool  // it is the last one
	deep    bool  // the stack has been made as large as serving a message needs it
}

// reads is what a dialog reads next.
type reads uint8

const (
	readsLine    reads = iota // a command
	readsContent              // content up to the dot
	readsChunk                // a chunk
	skipsChunk                // one that nobody wants
	readsHello                // what TLS begins with
)

// newDialog begins with the greeting, or with TLS where that comes first.
func newDialog(w *wire) *dialog {
	d := &dialog{w: w, host: w.client.Addr()}
	if w.hello {
		d.reads = readsHello
	} else {
		d.greet()
	}
	return d
}

func (d *dialog) greet() { d.w.say("220 " + d.w.gateway().Hostname + " ESMTP ready") }

// run serves the client until the connection is ended by either side, or until the client is silent for a moment: then
// it is to be run again when there is something to read.
func (d *dialog) run() (dozes bool) {
	returned := false
	defer func() {
		d.w.broken = d.w.broken || !returned
		if !dozes {
			d.logout()
		}
	}()
	d.deep = false // this goroutine's stack is new
	for {
		if err := d.step(); err != nil {
			returned = true
			return errors.Is(err, errDoze)
		}
	}
}

// step reads what comes next, and serves it.
func (d *dialog) step() error {
	w := d.w
	if d.reads == readsLine && w.lieDown() {
		return errDoze
	}
	w.mayDoze = true
	line, err := d.read()
	w.mayDoze = false
	if errors.Is(err, errDoze) {
		return err
	}
	was := d.reads
	d.reads = readsLine
	switch {
	case was == readsContent:
		d.arrived(err)
	case was == readsHello:
		d.handshake(err)
	case err != nil:
		if was != readsLine {
			w.sayGoodbye(err)
		}
		return err
	case was == readsLine:
		d.command(line)
	default:
		d.chunkRead(was)
	}
	return nil
}

// grow makes the stack as large as a message needs it, in one step while there is little on it: to grow it again and again
// with ever more on it takes a tenth of the time of a short connection. Who brings no mail needs less.
func (d *dialog) grow() {
	if !d.deep {
		d.deep = true
		deepen(0)
	}
}

//go:noinline
func deepen(i int) byte {
	var room [8 << 10]byte
	return room[i]
}

func (d *dialog) read() (line []byte, err error) {
	w := d.w
	switch d.reads {
	case readsContent:
		return nil, w.copyContent(d.arrival)
	case readsChunk:
		return nil, w.copyChunk(d.arrival, &d.left)
	case skipsChunk:
		return nil, w.copyChunk(io.Discard, &d.left)
	case readsHello:
		return nil, w.wait(w.helloEnds)
	case readsLine:
	}
	return w.readLine()
}

// handshake makes the TLS handshake whose beginning is there, or lost. Then nothing that was said in clear counts any
// more (RFC 3207 4.2).
func (d *dialog) handshake(lost error) {
	w := d.w
	switch {
	case w.secure(lost) != nil:
	case w.cfg.Implicit:
		d.greet()
	default:
		d.logout()
		w.helo, w.esmtp = "", false
	}
}

func (d *dialog) logout() {
	d.reset()
	if d.session != nil {
		_ = d.session.Logout()
		d.session = nil
	}
}

// reset ends the transaction.
func (d *dialog) reset() {
	d.arrival.abort()
	d.open, d.rcpts, d.arrival = false, 0, nil
	if d.session != nil {
		d.session.Reset()
	}
}

// command serves one command line.
func (d *dialog) command(line []byte) {
	w := d.w
	text, ok := bytes.CutSuffix(line, crlf)
	if !ok {
		text = line[:len(line)-1] // RFC 5321 2.3.8 wants CRLF; see docs/quirks.md
	}
	word, arg, _ := bytes.Cut(text, []byte(" "))
	verb := knownVerb(word)
	w.verb, w.last = verb, verb
	switch {
	case w.enough(verb), verb == VerbOther && w.strayHeader(text):
		return
	case !ok && w.cfg.RejectBare:
		w.say("500 5.5.2 Lines end in CRLF")
		return
	case verb != VerbOther && hasControl(text): // RFC 5321 4.1.2
		w.say("501 5.5.2 Control characters in a command")
		return
	}
	d.dispatch(verb, text, bytes.Trim(arg, " \t"))
}

func hasControl(line []byte) bool {
	for _, c := range line {
		if c < ' ' && c != '\t' || c == 0x7f {
			return true
		}
	}
	return false
}

// dispatch serves a command. text is its line without the line end, arg what stands behind the verb.
func (d *dialog) dispatch(verb string, text, arg []byte) {
	switch verb {
	case "MAIL":
		d.mail(text)
	case "RCPT":
		d.rcpt(text)
	case "DATA":
		d.data(arg)
	case "EHLO", "HELO":
		d.hello(verb, arg)
	case "RSET":
		if d.bare(arg) {
			d.reset()
			d.w.say("250 2.0.0 Reset")
		}
	case "NOOP": // RFC 5321 4.1.1.9: a parameter is ignored
		if d.inTurn() {
			d.w.say("250 2.0.0 Ok")
		}
	case "QUIT":
		if d.bare(arg) {
			d.w.say("221 2.0.0 Bye")
			_ = d.w.end(errEnded)
		}
	case "VRFY":
		d.verify(arg)
	case "STARTTLS":
		if d.w.offerTLS(string(arg)) {
			d.reads = readsHello
		}
	case "AUTH":
		d.auth(string(arg))
	case "XCLIENT":
		d.xclient(string(arg))
	case "BDAT":
		d.bdat(string(arg))
	case "HELP":
		d.w.say("214 2.0.0 Commands: EHLO HELO MAIL RCPT DATA RSET NOOP VRFY STARTTLS QUIT; see RFC 5321")
	default:
		d.w.say(unknownCommand(text))
	}
}

// bare reports whether a command that takes no argument has none (RFC 5321 4.1.1).
func (d *dialog) bare(arg []byte) bool {
	if len(arg) == 0 {
		return true
	}
	d.w.say("501 5.5.4 " + d.w.verb + " takes no argument")
	return false
}

// inTurn reports whether nothing has come behind a command whose answer the client has to wait for (RFC 2920
// 3.1: such a command is the last of its group). Otherwise the connection ends.
func (d *dialog) inTurn() bool {
	w := d.w
	if w.buffered() == 0 {
		return true
	}
	w.gateway().Log.Info("client talks out of turn", KeyListener, w.cfg.Name, KeyClient, w.client.Addr().String(), KeyHelo, cut(w.helo, maxHello), KeyVerb, w.verb)
	w.say("554 5.5.0 SMTP synchronization error: wait for the reply to " + w.verb)
	w.discard()
	w.hangUp()
	return false
}

// hello serves EHLO and HELO (RFC 5321 4.1.1.1).
func (d *dialog) hello(verb string, arg []byte) {
	w := d.w
	switch {
	case len(arg) == 0:
		w.say("501 5.5.4 " + verb + " wants a domain or an address")
		return
	case !isASCII(arg):
		w.say("501 5.5.4 " + verb + " wants a domain in A-labels") // RFC 6531 3.7.1
		return
	case !d.inTurn():
		return
	}
	d.logout() // RFC 5321 4.1.4: as RSET does
	w.hellos++
	w.esmtp, w.helo = verb == "EHLO", string(arg)
	session, err := newSession(w, func() {})
	if err != nil {
		d.answer(err, "")
		return
	}
	d.session = session
	if verb == "HELO" {
		w.say("250 " + w.gateway().Hostname)
		return
	}
	w.say("250-" + w.gateway().Hostname)
	for _, keyword := range d.keywords() {
		w.say("250-" + keyword)
	}
	w.say("250 HELP")
}

// keywords lists what EHLO offers, but for HELP.
func (d *dialog) keywords() []string {
	w := d.w
	all := []string{
		"PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES",
		"SIZE " + strconv.FormatInt(w.maxSize(), 10),
		"LIMITS RCPTMAX=" + strconv.Itoa(w.cfg.Limits.Recipients), // RFC 9422
	}
	if w.tls == nil && w.cfg.TLS != nil {
		all = append(all, "STARTTLS")
	}
	if mechanisms := d.mechanisms(); len(mechanisms) > 0 {
		all = append(all, "AUTH "+strings.Join(mechanisms, " "))
	}
	if d.mayXclient() {
		all = append(all, "XCLIENT "+strings.Join(xclientAttributes, " "))
	}
	if w.cfg.DSN {
		all = append(all, "DSN")
	}
	if w.cfg.Chunking {
		all = append(all, "CHUNKING")
	}
	return all
}

// mail serves MAIL (RFC 5321 4.1.1.2).
func (d *dialog) mail(text []byte) {
	w := d.w
	switch {
	case d.session == nil:
		w.say("503 5.5.1 EHLO first")
		return
	case w.noMore():
		return
	}
	d.grow()
	path, rest, ok := splitPath(text, "MAIL FROM:")
	if !ok {
		w.say("501 5.5.4 Syntax: MAIL FROM:<address>")
		return
	}
	w.most = w.maxSize()
	o, no := mailParameters(rest, offer{limit: w.most, auth: len(d.mechanisms()) > 0, dsn: w.cfg.DSN})
	if no != "" {
		w.say(no)
		return
	}
	w.path, w.params = path, rest
	if err := d.session.Mail(path, o); err != nil {
		d.answer(err, "")
		return
	}
	d.open, d.size = true, o.Size
	w.say("250 2.1.0 Sender ok")
}

// rcpt serves RCPT (RFC 5321 4.1.1.3).
func (d *dialog) rcpt(text []byte) {
	w := d.w
	switch {
	case !d.open:
		w.say("503 5.5.1 MAIL first")
		return
	case d.arrival != nil:
		w.say("503 5.5.1 Content has begun")
		return
	}
	path, rest, ok := splitPath(text, "RCPT TO:")
	if !ok {
		w.say("501 5.5.4 Syntax: RCPT TO:<address>")
		return
	}
	o, no := rcptParameters(rest, w.cfg.DSN)
	if no != "" {
		w.say(no)
		return
	}
	w.path, w.params = path, rest
	if err := d.session.Rcpt(path, o); err != nil {
		d.answer(err, "")
		return
	}
	d.rcpts++
	w.say(recipientOk)
}

// data serves DATA (RFC 5321 4.1.1.4).
func (d *dialog) data(arg []byte) {
	w := d.w
	switch {
	case !d.bare(arg):
		return
	case d.arrival != nil: // RFC 3030 2
		w.say("503 5.5.1 Content has begun by BDAT")
		return
	case !d.open:
		w.say("503 5.5.1 MAIL first")
		return
	case d.rcpts == 0: // RFC 5321 3.3, RFC 2920 3.1: also where it was pipelined
		w.say("503 5.5.1 No valid recipients")
		return
	case !d.inTurn():
		return
	}
	w.say("354 End data with <CR><LF>.<CR><LF>")
	d.arrival = newArrival(w, d.size, true)
	d.reads, w.body = readsContent, true
}

// arrived lets the session take the content, or learn that it was lost, and answers for the message.
func (d *dialog) arrived(lost error) {
	w := d.w
	w.body = false
	w.arrival, d.arrival = d.arrival, nil
	w.arrival.lost = lost
	err := d.session.Data(eof{})
	w.arrival.abort() // where a panic kept the session from it
	w.arrival = nil
	d.reset()
	d.answer(err, "250 2.0.0 Ok")
}

// eof is what the session finds in the reader that it does not read: it takes content from the wire.
type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

// verify serves VRFY. RFC 5321 7.3: a server that does not tell answers 252.
func (d *dialog) verify(arg []byte) {
	switch {
	case len(arg) == 0:
		d.w.say("501 5.5.4 VRFY wants a name")
	case d.inTurn():
		d.w.say("252 2.1.5 Not told; send some mail, and see")
	}
}

// answer sends what the session said, ok where it said nothing.
func (d *dialog) answer(err error, ok string) {
	if err == nil {
		d.w.say(ok)
		return
	}
	e, is := err.(*smtp.SMTPError) //nolint:errorlint // engineError makes it, and nothing wraps it
	if !is {
		e = engineError(replyLocal).(*smtp.SMTPError) //nolint:errorlint,forcetypeassert // as above
	}
	enhanced := ""
	if e.EnhancedCode != smtp.NoEnhancedCode {
		enhanced = mail.Enhanced(e.EnhancedCode).String() + " "
	}
	code := strconv.Itoa(e.Code)
	for more, text := true, e.Message; more; {
		var line string
		line, text, more = strings.Cut(text, "\n")
		mark := " "
		if more {
			mark = "-"
		}
		d.w.say(code + mark + enhanced + line)
	}
}

// knownVerb gives a verb in upper case, VerbOther if it is none of ours.
func knownVerb(word []byte) string {
	var up [8]byte
	if len(word) > len(up) {
		return VerbOther
	}
	for i, c := range word {
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		up[i] = c
	}
	i := slices.Index(dialogVerbs, string(up[:len(word)]))
	if i < 0 {
		return VerbOther
	}
	return dialogVerbs[i]
}

// dialogVerbs are the commands that are served, the most frequent first.
var dialogVerbs = []string{"RCPT", "MAIL", "DATA", "EHLO", "QUIT", "RSET", "STARTTLS", "HELO", "AUTH", "BDAT", "NOOP", "VRFY", "HELP", "XCLIENT"}

func isASCII(b []byte) bool {
	return !bytes.ContainsFunc(b, func(c rune) bool { return c > 0x7f })
}
