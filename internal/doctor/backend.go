package doctor

import (
	"strconv"
	"strings"
	"time"

	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/upstream"
)

// greeting waits for the server's first words.
func (v *visit) greeting(d *dialog) bool {
	r, err := d.reply()
	if err != nil || r.Code != 220 {
		v.find("greeting", Fault, "after %s, in place of a greeting, %s", took(d.took), said(r, err))
		return false
	}
	if d.took >= v.limits.Slow {
		v.find("slow", Warning, "the greeting came after %s", took(d.took))
	}
	v.software = guess(r.Text, v.software)
	return true
}

// guess tells servers by their words.
func guess(text string, before Software) Software {
	text = strings.ToLower(text)
	for _, s := range []Software{"exchange", "postfix", "exim", "dovecot"} {
		if words := string(s); strings.Contains(text, words) || s == "exchange" && strings.Contains(text, "microsoft esmtp") {
			return s
		}
	}
	return before
}

// hello says EHLO or LHLO, in clear.
func (v *visit) hello(d *dialog) bool {
	verb := "EHLO"
	if v.server.LMTP {
		verb = "LHLO"
	}
	r, err := d.say("%s %s", verb, v.server.Hello)
	switch {
	case err == nil && r.Code == 250:
		d.learn(r)
		return true
	case v.server.Identity == "proxy":
		v.find("identity", Fault, "after a PROXY header, to %s, %s", verb, said(r, err))
	case err == nil && !v.server.LMTP && r.Permanent():
		if h, err := d.say("HELO %s", v.server.Hello); err == nil && h.Code == 250 {
			v.find("extensions", Warning, "to EHLO %s; it knows HELO alone", said(r, nil))
			d.ext = map[string]string{}
			return true
		}
		v.find("protocol", Fault, "to EHLO and to HELO %s", said(r, nil))
	default:
		v.find("protocol", Fault, "to %s %s", verb, said(r, err))
	}
	return false
}

// profile compares what the server seems to be with what the configuration calls it.
func (v *visit) profile(d *dialog) {
	for _, keyword := range []string{"X-EXPS", "X-ANONYMOUSTLS", "XRDST"} {
		if d.offers(keyword) {
			v.software = "exchange"
		}
	}
	switch {
	case v.software == "exchange" && !v.server.Exchange:
		v.find("profile", Note, "the server is an Exchange, and the upstream has no profile: exchange")
	case v.software != "exchange" && v.software != "" && v.server.Exchange:
		v.find("profile", Note, "the upstream has profile: exchange, and the server calls itself %s", v.software)
	}
}

// headRoom is what the gateway keeps of a server's limit for what it puts on top of a message.
const headRoom = 64 << 10

// extensions compares what the server offers with what our clients may use.
func (v *visit) extensions(d *dialog) {
	s := v.server
	v.size(d)
	if !d.offers("8BITMIME") {
		v.find("8bitmime", Warning, "8BITMIME is not among what it offers")
	}
	if !d.offers("PIPELINING") {
		v.find("pipelining", Warning, "PIPELINING is not among what it offers")
	}
	if !d.offers("SMTPUTF8") {
		v.find("smtputf8", Note, "SMTPUTF8 is not among what it offers")
	}
	if !d.offers("ENHANCEDSTATUSCODES") {
		v.find("codes", Note, "ENHANCEDSTATUSCODES is not among what it offers")
	}
	if s.DSN && !d.offers("DSN") {
		v.find("dsn", Warning, "DSN is not among what it offers, and a listener offers it")
	}
	// RFC 9422 4: RCPTMAX is how many recipients one transaction may have.
	for word := range strings.FieldsSeq(d.ext["LIMITS"]) {
		if n, err := strconv.Atoi(strings.TrimPrefix(strings.ToUpper(word), "RCPTMAX=")); err == nil && n > 0 && n < s.Most {
			v.find("recipients", Warning, "it takes %d recipients in one transaction, and a listener takes %d", n, s.Most)
		}
	}
	switch keyword := strings.ToUpper(s.Identity); keyword {
	case "XFORWARD", "XCLIENT":
		if !d.offers(keyword) {
			v.find("identity", Fault, "identity: %s, and it does not offer %s to us", s.Identity, keyword)
		}
	}
}

// size compares the largest messages (RFC 1870).
func (v *visit) size(d *dialog) {
	said, ok := d.ext["SIZE"]
	n, err := strconv.ParseInt(said, 10, 64)
	switch {
	case !ok && v.server.LMTP:
	case !ok:
		v.find("size", Note, "SIZE is not among what it offers: how much it takes shows when it refuses")
	case err != nil || n <= 0: // RFC 1870 4: no fixed limit
	case n-min(headRoom, n/8) < v.server.Message:
		v.find("size", Warning, "it takes %s (SIZE %d, files of %s within a message), and a listener takes %s",
			megabytes(n), n, megabytes(n/137*100), megabytes(v.server.Message))
	}
}

func megabytes(n int64) string {
	return strconv.FormatFloat(float64(n)/(1<<20), 'f', 1, 64) + " MiB"
}

func took(d time.Duration) string {
	if d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(100 * time.Millisecond).String()
}

// subject says what a refused RCPT was about.
func (v *visit) subject(d *dialog, from, to mail.Address, r mail.Reply) upstream.Subject {
	return upstream.SubjectOf(d.nc, v.server.Hello, mail.Envelope{From: from, To: []mail.Address{to}}, r)
}
