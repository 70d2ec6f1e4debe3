package edge

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/emersion/go-smtp"

	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/upstream"
)

// The parameters of RFC 3461, and what becomes of them: they are handed on, for the next server to obey.

// mailDSN reads RET and ENVID (RFC 3461 4.3, 4.4).
func mailDSN(o *smtp.MailOptions, keyword, value string) string {
	if keyword == "RET" {
		switch v := smtp.DSNReturn(strings.ToUpper(value)); v {
		case smtp.DSNReturnFull, smtp.DSNReturnHeaders:
			o.Return = v
			return ""
		}
		return "501 5.5.4 RET is FULL or HDRS"
	}
	id, ok := decodeXtext(value)
	if !ok || value == "" || len(value) > 100 || !printableASCII(id) {
		return "501 5.5.4 Malformed ENVID parameter"
	}
	o.EnvelopeID = id
	return ""
}

// rcptNotify reads NOTIFY (RFC 3461 4.1): NEVER stands alone.
func rcptNotify(o *smtp.RcptOptions, value string) string {
	for word := range strings.SplitSeq(value, ",") {
		w := smtp.DSNNotify(strings.ToUpper(word))
		switch w {
		case smtp.DSNNotifyNever, smtp.DSNNotifySuccess, smtp.DSNNotifyFailure, smtp.DSNNotifyDelayed:
		default:
			return "501 5.5.4 NOTIFY is NEVER, or of SUCCESS, FAILURE, DELAY"
		}
		if slices.Contains(o.Notify, w) || len(o.Notify) > 0 && (w == smtp.DSNNotifyNever || o.Notify[0] == smtp.DSNNotifyNever) {
			return "501 5.5.4 NOTIFY contradicts itself"
		}
		o.Notify = append(o.Notify, w)
	}
	return ""
}

// rcptOriginal reads ORCPT (RFC 3461 4.2, RFC 6533 3).
func rcptOriginal(o *smtp.RcptOptions, value string) string {
	kind, text, _ := strings.Cut(value, ";")
	address, ok := "", false
	if kind = strings.ToUpper(kind); kind == string(smtp.DSNAddressTypeUTF8) {
		address, ok = decodeUTF8Address(text)
	} else {
		address, ok = decodeXtext(text)
		if ok && kind == string(smtp.DSNAddressTypeRFC822) && !isASCII([]byte(address)) && utf8.ValidString(address) {
			// Postfix writes rfc822 and xtext where RFC 6533 3 asks for utf-8, for each recipient who is not ASCII.
			kind = string(smtp.DSNAddressTypeUTF8)
			ok = !strings.ContainsFunc(address, unicode.IsControl)
		} else {
			ok = ok && printableASCII(address)
		}
	}
	if !ok || address == "" || !isAtom(kind) || len(value) > 500 {
		return "501 5.5.4 Malformed ORCPT parameter"
	}
	o.OriginalRecipientType, o.OriginalRecipient = smtp.DSNAddressType(kind), address
	return ""
}

// decodeUTF8Address decodes utf-8-addr-xtext and utf-8-addr-unitext (RFC 6533 3).
func decodeUTF8Address(s string) (string, bool) {
	var b strings.Builder
	for s != "" {
		if rest, ok := strings.CutPrefix(s, `\x{`); ok {
			digits, behind, closed := strings.Cut(rest, "}")
			n, err := strconv.ParseUint(digits, 16, 32)
			if !closed || err != nil || len(digits) < 2 || n < 0x20 || n == 0x7f || !utf8.ValidRune(rune(n)) {
				return "", false
			}
			b.WriteRune(rune(n))
			s = behind
			continue
		}
		c, size := utf8.DecodeRuneInString(s)
		if c <= ' ' || c == 0x7f || strings.ContainsRune(`+=\`, c) || c == utf8.RuneError && size < 2 {
			return "", false
		}
		b.WriteRune(c)
		s = s[size:]
	}
	return b.String(), true
}

func printableASCII(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c > '~' })
}

// isAtom reports whether s is an atom (RFC 5322 3.2.3).
func isAtom(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return c <= ' ' || c > '~' || strings.ContainsRune(`()<>[]:;@\,."`, c)
	})
}

// notifications gives what the client asked about notifications for some recipients, nil for nothing.
func (t *transaction) notifications(to []*recipient) *mail.DSN {
	asked := t.dsn.Return != "" || t.dsn.EnvelopeID != ""
	for _, r := range to {
		asked = asked || r.notify != mail.Notify{}
	}
	if !asked {
		return nil
	}
	d := &mail.DSN{Return: t.dsn.Return, EnvelopeID: t.dsn.EnvelopeID}
	for _, r := range to {
		d.Notify = append(d.Notify, r.notify)
	}
	return d
}

// notify tells the sender of a message that the next server has it, where the client asked for that and the server offers no
// DSN (RFC 3461 5.2.2, 5.2.3). The client's reply is what it is, whatever becomes of this.
func (s *session) notify(t *transaction, j *judged, out *upstream.Outcome) {
	if out.DSN || t.gw.Spool == nil || !slices.ContainsFunc(j.all, func(r *recipient) bool { return strings.Contains(r.notify.When, "SUCCESS") }) {
		return
	}
	var err error
	defer func() {
		if v := recover(); v != nil {
			t.gw.metrics().Panic()
			t.gw.Log.Error("notification panicked", KeyID, t.in.ID, t.gw.fault(v), KeyStack, string(debug.Stack()))
		} else if err != nil {
			t.gw.Log.Error("sender can't be told", KeyID, t.in.ID, t.gw.fault(err))
		}
	}()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.w.ctx), spoolTime)
	defer cancel()
	err = t.gw.Spool.HandedOn(ctx, s.entry(t, []*judged{j}), out, j.content.Blob())
}

// parameter gives the value of a parameter of the last MAIL or RCPT as it came, which the engine has read and taken.
func (w *wire) parameter(keyword string) (value string) {
	for word := range strings.FieldsSeq(w.params) {
		if k, v, _ := strings.Cut(word, "="); strings.EqualFold(k, keyword) {
			value = v // of several the engine go-smtp takes the last
		}
	}
	return value
}

// dsnOf gives what is asked for the whole message. RFC 3461 5.2.1 a, b: the values are handed on as they came.
func (w *wire) dsnOf(o *smtp.MailOptions) mail.DSN {
	d := mail.DSN{Return: string(o.Return)}
	if o.EnvelopeID != "" {
		d.EnvelopeID = w.parameter("ENVID")
	}
	return d
}

// notifyOf gives what is asked for one recipient.
func (w *wire) notifyOf(o *smtp.RcptOptions) (n mail.Notify) {
	if o == nil || len(o.Notify) == 0 && o.OriginalRecipientType == "" {
		return n
	}
	words := make([]string, len(o.Notify))
	for i, word := range o.Notify {
		words[i] = string(word)
	}
	n.When = strings.Join(words, ",")
	if o.OriginalRecipientType == "" {
		return n
	}
	n.Original = w.parameter("ORCPT") // RFC 3461 5.2.1 d: identical
	if o.OriginalRecipientType == smtp.DSNAddressTypeUTF8 && !strings.EqualFold(n.Original[:min(6, len(n.Original))], "utf-8;") {
		n.Original = "utf-8;" + encodeUTF8Address(o.OriginalRecipient) // of Postfix, see rcptOriginal: others would refuse it
	}
	return n
}

// encodeUTF8Address writes an address as utf-8-addr-xtext (RFC 6533 3).
func encodeUTF8Address(s string) string {
	var buf []byte
	for _, c := range s {
		if '!' <= c && c <= '~' && !strings.ContainsRune(`+=\`, c) {
			buf = append(buf, byte(c))
		} else {
			buf = fmt.Appendf(buf, "\\x{%02X}", c)
		}
	}
	return string(buf)
}
