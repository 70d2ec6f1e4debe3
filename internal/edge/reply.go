package edge

import (
	"strings"

	"github.com/emersion/go-smtp"

	"github.com/postern-mail/postern/mail"
)

// The replies that are ours. Their texts are generic: what went wrong stands in the log, under the id.
var (
	replyLocal      = mail.NewReply(451, 4, 3, 0, "Local error, please try again later")
	replyConfig     = mail.NewReply(451, 4, 3, 5, "System not configured for this, please try again later")
	replyFull       = mail.NewReply(452, 4, 3, 1, "Insufficient system storage, please try again later")
	replyBusy       = mail.NewReply(452, 4, 3, 1, "Too much mail is coming in at the moment, please try again later")
	replyTooBigHere = mail.NewReply(550, 5, 2, 3, "Message size exceeds the limit of this recipient")
	replyTooBig     = mail.NewReply(552, 5, 3, 4, "Message size exceeds the limit")
	replySequence   = mail.NewReply(503, 5, 5, 1, "A transaction is open already")
	replySender     = mail.NewReply(501, 5, 1, 7, "Malformed sender address")
	replyRecipient  = mail.NewReply(501, 5, 1, 3, "Malformed recipient address")
	replyMailUTF8   = mail.NewReply(550, 5, 6, 7, "This address needs SMTPUTF8") // RFC 6531 3.5
	replyRcptUTF8   = mail.NewReply(553, 5, 6, 7, "This address needs SMTPUTF8")
	replyRelay      = mail.NewReply(554, 5, 7, 1, "Relay access denied")
	replyRouted     = mail.NewReply(550, 5, 7, 1, "Relay access denied")
	replyUnknown    = mail.NewReply(550, 5, 1, 1, "No such mailbox here")
	replyDirectory  = mail.NewReply(451, 4, 4, 3, "Recipient can not be verified now, please try again later")
	replyRecipients = mail.NewReply(452, 4, 5, 3, "Too many recipients")
	replySplit      = mail.NewReply(452, 4, 5, 3, "Please send to this recipient in a transaction of its own")
	replyAlone      = mail.NewReply(452, 4, 5, 3, "One recipient at a time here, please send to this one in a transaction of its own")
	replyTimeout    = mail.NewReply(421, 4, 4, 2, "Content did not arrive in time")
	replyClosing    = mail.NewReply(421, 4, 3, 2, "Service shutting down")
	replyLost       = mail.NewReply(421, 4, 4, 2, "Connection lost")
	replyNoAuth     = mail.NewReply(502, 5, 5, 1, "AUTH is not offered")
	replyAuthEHLO   = mail.NewReply(503, 5, 5, 1, "EHLO first")
	replyAuthAgain  = mail.NewReply(503, 5, 5, 1, "Authenticated already")
	replyAuthOpen   = mail.NewReply(503, 5, 5, 1, "Not during a mail transaction")
	replyAuthTLS    = mail.NewReply(538, 5, 7, 11, "Encryption required: must issue a STARTTLS command first")
	replyMechanism  = mail.NewReply(504, 5, 5, 4, "Mechanism not supported")
	replyAuthSyntax = mail.NewReply(501, 5, 5, 2, "Malformed response")
	replyAuthWrong  = mail.NewReply(535, 5, 7, 8, "Authentication credentials invalid")
	replyAuthBusy   = mail.NewReply(454, 4, 7, 0, "Temporary authentication failure, please try again later")
	replyRcptOk     = mail.NewReply(250, 2, 1, 5, "Recipient ok")
	replyPanic      = mail.NewReply(451, 4, 3, 0, "Internal error, please try again later")
	replyPanicEnd   = mail.NewReply(421, 4, 3, 0, "Internal error, closing the connection")
)

// recipientOk is replyRcptOk on the wire.
var recipientOk = replyRcptOk.String()

// Replies to guessing, after too many failures before and after too many on one connection, and to senders who are not
// as they should be.
var (
	replyAuthThrottled = mail.NewReply(454, 4, 7, 0, "Too many failed logins, please try again later")
	replyAuthEnough    = mail.NewReply(421, 4, 7, 0, "Too many failed logins, closing the connection")
	replyAuthGone      = mail.NewReply(421, 4, 7, 0, "Your login does not hold any more, please log in again")
	replyNeedsTLS      = mail.NewReply(530, 5, 7, 0, "Must issue a STARTTLS command first")

	replyNeedsCertificate = mail.NewReply(550, 5, 7, 1, "Mail of this sender must come with the certificate that was agreed on")
	replyNotYours         = mail.NewReply(553, 5, 7, 1, "You may not send as this sender")
)

// The bounds of a reply text. RFC 5321 4.5.3.1.5: a reply line has at most 512 octets.
const (
	maxReplyLine  = 450
	maxReplyLines = 20
)

// named puts the id into a refusal that does not have it yet: with it the log, the record and `postern
// explain` tell what the reply does not.
func named(r mail.Reply, id string) mail.Reply {
	if r.Positive() || strings.Contains(r.Text, id) {
		return r
	}
	r.Text = strings.TrimRight(r.Text, "\r\n ")
	if len(r.Text) > maxReplyLine/2 {
		r.Text += "\n(" + id + ")" // its own line is not cut
	} else {
		r.Text += " (" + id + ")"
	}
	return r
}

// What `postern scan` says as well.

// ReplyTooBig is the answer to a message above the listener's limit.
func ReplyTooBig() mail.Reply { return replyTooBig }

// ReplyRelay is the answer to a recipient for whom no route takes mail.
func ReplyRelay() mail.Reply { return replyRelay }

// ReplySplit is the answer to a recipient who can't be in one transaction with those before.
func ReplySplit() mail.Reply { return replySplit }

// ReplyAlone is the answer to a second recipient of an upstream that speaks LMTP.
func ReplyAlone() mail.Reply { return replyAlone }

// soften applies soft_bounce.
func (gw *Gateway) soften(r mail.Reply) mail.Reply {
	if gw.SoftBounce {
		return r.Soft()
	}
	return r
}

// engineError is the one way from a reply to what the engine sends. The engine looks for the type
// *smtp.SMTPError itself, not for what an error wraps, and makes a 554 of everything else.
//
// The engine would put the enhanced code on the last line only; RFC 2034 4 wants it on each.
func engineError(r mail.Reply) error {
	if r.Code < 200 || r.Code > 599 || r.Code/100 == 3 {
		r = replyLocal
	}
	if r.Enhanced[0] != r.Code/100 {
		r.Enhanced = mail.Enhanced{r.Code / 100, 0, 0}
	}
	prefix := r.Enhanced.String() + " "
	if !strings.Contains(r.Text, "\n") {
		return &smtp.SMTPError{Code: r.Code, EnhancedCode: smtp.NoEnhancedCode, Message: prefix + replyText(r.Text)}
	}
	lines := strings.Split(r.Text, "\n")
	if len(lines) > maxReplyLines {
		lines = lines[:maxReplyLines]
	}
	for i, l := range lines {
		lines[i] = prefix + replyText(l)
	}
	return &smtp.SMTPError{Code: r.Code, EnhancedCode: smtp.NoEnhancedCode, Message: strings.Join(lines, "\n")}
}

// replyText makes one line of text fit for a reply: RFC 5321 4.2 allows tab and printable ASCII.
func replyText(s string) string {
	if len(s) > maxReplyLine {
		s = s[:maxReplyLine]
	}
	if isPrintable(s) {
		return s
	}
	return strings.Map(func(c rune) rune {
		switch {
		case c == '\r':
			return -1
		case c == '\t' || ' ' <= c && c <= '~':
			return c
		}
		return '?'
	}, s)
}

func isPrintable(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// settle softens a reply line where soft_bounce wants that, and takes note of the last line of a reply.
func (w *wire) settle(line []byte) {
	code := codeOf(line)
	if line[0] == '5' && w.gateway().SoftBounce && w.verb != "AUTH" { // a login bounces nothing
		line[0] = '4'
		if len(line) > 5 && line[4] == '5' && line[5] == '.' {
			line[4] = '4'
		}
	}
	if line[3] != '-' {
		w.answered(code)
	}
}

func codeOf(line []byte) int {
	return int(line[0]-'0')*100 + int(line[1]-'0')*10 + int(line[2]-'0')
}

// answered takes note of the reply to a command.
func (w *wire) answered(code int) {
	if w.verb == "" {
		return // the greeting, or a goodbye that nobody asked for
	}
	w.gateway().metrics().Command(w.cfg.Name, w.verb, code)
	if (code/100 == 5 || w.refused) && w.verb != VerbEOD {
		w.offended()
	}
	w.refused = false
	w.verb = ""
	switch code {
	case 334:
		w.verb, w.sasl = "AUTH", true
	case 354:
		w.verb = VerbEOD
	case 421:
		w.hangUp() // RFC 5321 3.8: whoever says 421 closes
	}
}
