package mail

import (
	"strconv"
)

// Enhanced is an enhanced mail system status code (RFC 3463): class, subject, detail. The zero value
// means that there is none.
type Enhanced [3]int

// String gives the code in its dotted form, and "" for the zero value.
func (e Enhanced) String() string {
	if e == (Enhanced{}) {
		return ""
	}
	return string(e.append(make([]byte, 0, len("5.999.999"))))
}

func (e Enhanced) append(b []byte) []byte {
	b = append(strconv.AppendInt(b, int64(e[0]), 10), '.')
	b = append(strconv.AppendInt(b, int64(e[1]), 10), '.')
	return strconv.AppendInt(b, int64(e[2]), 10)
}

// Reply is an SMTP reply (RFC 5321 4.2) with its enhanced code (RFC 2034). It is a value, not an error:
// only internal/edge turns it into what go-smtp wants. Text is one line or several, separated by "\n",
// without codes.
type Reply struct {
	Code     int
	Enhanced Enhanced
	Text     string
}

// NewReply makes a Reply; the enhanced code is given as its three numbers.
func NewReply(code, class, subject, detail int, text string) Reply {
	return Reply{Code: code, Enhanced: Enhanced{class, subject, detail}, Text: text}
}

// IsZero reports whether r says nothing at all.
func (r Reply) IsZero() bool { return r.Code == 0 }

// Positive reports whether r is a 2yz reply.
func (r Reply) Positive() bool { return r.Code/100 == 2 }

// Temporary reports whether r is a 4yz reply.
func (r Reply) Temporary() bool { return r.Code/100 == 4 }

// Permanent reports whether r is a 5yz reply.
func (r Reply) Permanent() bool { return r.Code/100 == 5 }

// Soft gives the 4yz reply that stands for a 5yz one, digit for digit as Postfix's soft_bounce does, and
// any other reply unchanged.
func (r Reply) Soft() Reply {
	if !r.Permanent() {
		return r
	}
	r.Code -= 100
	if r.Enhanced[0] == 5 {
		r.Enhanced[0] = 4
	}
	return r
}

// String gives the reply on one line: code, enhanced code, text. That of the zero Reply is empty.
func (r Reply) String() string {
	if r.IsZero() {
		return ""
	}
	b := make([]byte, 0, len("250 5.999.999 ")+len(r.Text))
	b = strconv.AppendInt(b, int64(r.Code), 10)
	if r.Enhanced != (Enhanced{}) {
		b = r.Enhanced.append(append(b, ' '))
	}
	if r.Text != "" {
		b = append(append(b, ' '), r.Text...)
	}
	for i, c := range b {
		if c == '\n' {
			b[i] = ' '
		}
	}
	return string(b)
}
