package greylist

import (
	"strings"

	"github.com/postern-mail/postern/mail"
)

// Many senders write something into the reverse-path that is another one for each message or each day: a signature
// against forged bounces (BATV), the sender before them (SRS), the recipient (VERP), numbers of messages. A retry of one
// message has the same reverse-path in any case; that the next message is known is worth to take all this out. What is
// taken out too much does no harm but to tell two senders of one domain no more apart.

// maxNested is how many wrappings are taken off: BATV in SRS in BATV is seen, more is not.
const maxNested = 4

// plain gives the text by which a reverse-path, or a recipient, is remembered: without tags, in lower case. to is the
// recipient, whose address VERP may have put into it; it may be zero.
func plain(a, to mail.Address) string {
	if a.IsZero() {
		return "<>"
	}
	local, domain := mail.LowerASCII(a.Unquoted()), a.Domain()
	for range maxNested {
		inner, from, ok := unwrap(local)
		if !ok {
			break
		}
		if local = inner; from != "" { // whom it was forwarded for, by whom
			domain = from + ">" + domain
		}
	}
	local = withoutRecipient(local, to)
	if i := strings.IndexByte(local, '+'); i > 0 { // RFC 5233: what follows is a detail of the mailbox
		local = local[:i]
	}
	return withoutNumbers(local) + "@" + domain
}

// unwrap takes off one wrapping of a local part in lower case; from is the domain of the address within, "" where it is
// that of the outer one.
func unwrap(local string) (inner, from string, ok bool) {
	for _, scheme := range []string{"prvs=", "msprvs1=", "btv1=="} {
		rest, found := strings.CutPrefix(local, scheme)
		if !found {
			continue
		}
		// BATV: prvs=TAG=LOCAL; some have written prvs=LOCAL/TAG.
		if _, inner, ok = strings.Cut(rest, "="); !ok {
			inner, _, ok = strings.Cut(rest, "/")
		}
		inner = strings.TrimPrefix(inner, "=")
		return inner, "", ok && inner != ""
	}
	const sep = "=+-" // SRS allows each of them behind its name
	if len(local) > 5 && strings.IndexByte(sep, local[4]) >= 0 {
		switch rest := local[5:]; local[:4] {
		case "srs0": // SRS0=HASH=DAY=DOMAIN=LOCAL
			return srs0(rest)
		case "srs1": // SRS1=HASH=FORWARDER==HASH=DAY=DOMAIN=LOCAL
			parts := strings.SplitN(rest, "=", 3)
			if len(parts) == 3 && len(parts[2]) > 1 && strings.IndexByte(sep, parts[2][0]) >= 0 {
				return srs0(parts[2][1:])
			}
		}
	}
	// Exchange Online writes bounces+SRS=HASH=DAY, without the sender's address.
	if i := strings.Index(local, "+srs="); i > 0 {
		return local[:i], "", true
	}
	return "", "", false
}

// srs0 reads HASH=DAY=DOMAIN=LOCAL.
func srs0(s string) (local, domain string, ok bool) {
	parts := strings.SplitN(s, "=", 4)
	if len(parts) != 4 || parts[2] == "" || parts[3] == "" {
		return "", "", false
	}
	return parts[3], parts[2], true
}

// withoutRecipient takes out the recipient's address as VERP writes it, local=domain, with what leads to it.
func withoutRecipient(local string, to mail.Address) string {
	if to.Domain() != "" {
		needle := mail.LowerASCII(to.Unquoted()) + "=" + to.Domain()
		if i := strings.Index(local, needle); i >= 0 {
			return strings.TrimRight(local[:i], "-+_.=") + local[i+len(needle):]
		}
	}
	// Somebody else's, who was the recipient before it was forwarded.
	i := strings.LastIndexByte(local, '=')
	if i < 0 || !strings.Contains(local[i:], ".") {
		return local
	}
	return local[:max(strings.LastIndexAny(local[:i], "-+"), 0)]
}

// separators end the tokens of a local part.
const separators = "-_.+=#"

// withoutNumbers puts # in place of tokens that look like numbers or keys: 20260131, 0100018f2b3c4d5e, 7f3a.
func withoutNumbers(local string) string {
	var b strings.Builder
	b.Grow(len(local))
	for local != "" {
		n := strings.IndexAny(local, separators)
		if n < 0 {
			n = len(local)
		}
		if token := local[:n]; isKey(token) {
			b.WriteByte('#')
		} else {
			b.WriteString(token)
		}
		if local = local[n:]; local != "" {
			b.WriteByte(local[0])
			local = local[1:]
		}
	}
	return b.String()
}

// isKey reports whether a token is a number, or hexadecimal with a digit in it, or long with one.
func isKey(token string) bool {
	digits, hex := 0, true
	for i := range len(token) {
		switch c := token[i]; {
		case '0' <= c && c <= '9':
			digits++
		case c < 'a' || c > 'f':
			hex = false
		}
	}
	return digits > 0 && (digits == len(token) || hex && len(token) >= 4 || len(token) >= 20)
}
