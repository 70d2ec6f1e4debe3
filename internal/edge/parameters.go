package edge

import (
	"errors"
	"strconv"
	"strings"

	"github.com/emersion/go-smtp"

	"github.com/postern-mail/postern/mail"
)

// offer is what a client may ask for with MAIL and RCPT.
type offer struct {
	limit int64 // octets of content
	auth  bool
	dsn   bool
}

// splitPath cuts "MAIL FROM:<path> parameters", or the same with RCPT, into the path as it stands on the wire and
// the parameters. Blanks between the colon and the path, which RFC 5321 3.3 does not allow, are overlooked, as
// they are everywhere.
func splitPath(line []byte, command string) (path, parameters string, ok bool) {
	if len(line) < len(command) || !strings.EqualFold(string(line[:len(command)]), command) {
		return "", "", false
	}
	rest := strings.TrimLeft(string(line[len(command):]), " \t")
	path = commandPath(rest)
	rest = rest[len(path):]
	switch {
	case path == "", rest != "" && rest[0] != ' ' && rest[0] != '\t':
		return "", "", false
	case path[0] == '<' && path[len(path)-1] != '>', path[0] != '<' && strings.IndexByte(path, '@') < 0:
		return "", "", false // what was cut off at a blank is no parameter
	}
	return path, rest, true
}

// parameters goes through the parameters of a command (RFC 5321 4.1.1.11), each of which may stand once. take gives
// the reply to one that is refused, and "" else.
func parameters(s string, take func(keyword, value string, has bool) string) string {
	var seen []string
	for _, word := range strings.Fields(s) {
		keyword, value, has := strings.Cut(word, "=")
		keyword = strings.ToUpper(keyword)
		for _, k := range seen {
			if k == keyword {
				return "501 5.5.4 " + keyword + " given twice"
			}
		}
		seen = append(seen, keyword)
		if no := take(keyword, value, has); no != "" {
			return no
		}
	}
	return ""
}

// mailParameters reads those of MAIL, and gives the reply where they are refused.
func mailParameters(s string, offered offer) (*smtp.MailOptions, string) {
	o := &smtp.MailOptions{}
	no := parameters(s, func(keyword, value string, has bool) string {
		switch keyword {
		case "SIZE":
			return mailSize(o, value, offered.limit)
		case "BODY": // RFC 6152 2
			switch v := strings.ToUpper(value); v {
			case "7BIT", "8BITMIME":
				o.Body = smtp.BodyType(v)
				return ""
			}
			return "501 5.5.4 BODY is 7BIT or 8BITMIME"
		case "SMTPUTF8": // RFC 6531 3.4
			if has {
				return "501 5.5.4 SMTPUTF8 takes no value"
			}
			o.UTF8 = true
			return ""
		case "AUTH": // RFC 4954 5
			if !offered.auth {
				break
			}
			return mailIdentity(o, value)
		case "RET", "ENVID":
			if offered.dsn {
				return mailDSN(o, keyword, value)
			}
		}
		return "555 5.5.4 Unknown MAIL parameter"
	})
	if no != "" {
		return nil, no
	}
	return o, ""
}

// mailIdentity reads AUTH= (RFC 4954 5): a mailbox, or "<>", as xtext.
func mailIdentity(o *smtp.MailOptions, value string) string {
	identity, ok := decodeXtext(value)
	if identity == "<>" {
		identity = ""
	} else if a, err := mail.ParseAddress(identity); err != nil || a.Domain() == "" {
		ok = false
	}
	if !ok {
		return "501 5.5.4 Malformed AUTH parameter"
	}
	o.Auth = &identity
	return ""
}

// mailSize reads SIZE= (RFC 1870 3).
func mailSize(o *smtp.MailOptions, value string, limit int64) string {
	if value == "" || strings.Trim(value, "0123456789") != "" {
		return "501 5.5.4 Malformed SIZE parameter"
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if errors.Is(err, strconv.ErrRange) || n > limit {
		return "552 5.3.4 Message size exceeds the limit" // RFC 1870 6.1
	}
	o.Size = n
	return ""
}

// rcptParameters reads those of RCPT.
func rcptParameters(s string, dsn bool) (*smtp.RcptOptions, string) {
	o := &smtp.RcptOptions{}
	no := parameters(s, func(keyword, value string, _ bool) string {
		switch {
		case dsn && keyword == "NOTIFY":
			return rcptNotify(o, value)
		case dsn && keyword == "ORCPT":
			return rcptOriginal(o, value)
		}
		return "555 5.5.4 Unknown RCPT parameter"
	})
	if no != "" {
		return nil, no
	}
	return o, ""
}

// decodeXtext decodes xtext (RFC 3461 4).
func decodeXtext(s string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '+':
			if i+2 >= len(s) || strings.Trim(s[i+1:i+3], "0123456789ABCDEF") != "" {
				return "", false
			}
			n, _ := strconv.ParseUint(s[i+1:i+3], 16, 8)
			b.WriteByte(byte(n))
			i += 2
		case c <= ' ' || c > '~' || c == '=':
			return "", false
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), true
}
