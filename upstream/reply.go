package upstream

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/postern-mail/postern/mail"
)

const (
	maxReplyLine  = 4 << 10 // octets of a line with its CRLF; RFC 5321 4.5.3.1.5 asks for 512
	maxReplyLines = 100
)

// errProtocol is the cause where the next server said what is no SMTP reply, or not one that may stand
// there. What it says afterwards can't be matched with what we ask: the connection is of no more use.
var errProtocol = errors.New("protocol error")

var crlf = []byte("\r\n")

// readReply reads one reply of one or several lines (RFC 5321 4.2). br must have a buffer of
// maxReplyLine octets. The enhanced code (RFC 2034) is taken off each line where its class agrees with
// the reply's. Of a reply of one line with the code hoped nothing but that is kept. Errors are errProtocol or what reading
// the connection gave.
func readReply(br *bufio.Reader, hoped int) (mail.Reply, error) {
	var r mail.Reply
	for n := 0; n < maxReplyLines; n++ {
		line, err := br.ReadSlice('\n')
		if err != nil {
			if errors.Is(err, bufio.ErrBufferFull) {
				err = fmt.Errorf("%w: reply line longer than %d octets", errProtocol, maxReplyLine)
			}
			return mail.Reply{}, err
		}
		code, text, more, ok := splitLine(line)
		switch {
		case !ok:
			return mail.Reply{}, fmt.Errorf("%w: not a reply line: %.80q", errProtocol, line)
		case n > 0 && code != r.Code:
			return mail.Reply{}, fmt.Errorf("%w: code %d within a reply with code %d", errProtocol, code, r.Code)
		case n == 0 && !more && code == hoped:
			return mail.Reply{Code: code}, nil
		}
		enhanced, text := splitEnhanced(text, code)
		if n == 0 {
			r = mail.Reply{Code: code, Enhanced: enhanced, Text: printable(text)}
		} else {
			r.Text += "\n" + printable(text)
		}
		if !more {
			return r, nil
		}
	}
	return mail.Reply{}, fmt.Errorf("%w: reply of more than %d lines", errProtocol, maxReplyLines)
}

// splitLine takes a reply line apart: code, text, and whether more lines follow.
func splitLine(line []byte) (code int, text []byte, more, ok bool) {
	line, ok = bytes.CutSuffix(line, crlf)
	if !ok || len(line) < 3 || line[0] < '2' || line[0] > '5' || !isDigit(line[1]) || !isDigit(line[2]) {
		return 0, nil, false, false
	}
	code = int(line[0]-'0')*100 + int(line[1]-'0')*10 + int(line[2]-'0')
	if len(line) == 3 {
		return code, nil, false, true // RFC 5321 4.2: a line without text should be taken
	}
	if line[3] != ' ' && line[3] != '-' {
		return 0, nil, false, false
	}
	return code, line[4:], line[3] == '-', true
}

// splitEnhanced takes the enhanced code off the text (RFC 2034 4: class, subject and detail, then a
// blank). One that contradicts the code is left where it stands.
func splitEnhanced(text []byte, code int) (mail.Enhanced, []byte) {
	word, rest, _ := bytes.Cut(text, []byte(" "))
	if len(word) > len("5.999.999") || bytes.Count(word, []byte(".")) != 2 {
		return mail.Enhanced{}, text
	}
	var e mail.Enhanced
	for i := range e {
		var digits []byte
		digits, word, _ = bytes.Cut(word, []byte("."))
		// RFC 3463 2: subject and detail are of one to three digits.
		if len(digits) == 0 || len(digits) > 3 {
			return mail.Enhanced{}, text
		}
		for _, d := range digits {
			if !isDigit(d) {
				return mail.Enhanced{}, text
			}
			e[i] = e[i]*10 + int(d-'0')
		}
	}
	if e[0] != code/100 {
		return mail.Enhanced{}, text
	}
	return e, bytes.TrimLeft(rest, " ")
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// printable makes text of a reply fit for a log and for a reply of ours: whatever is not printable
// becomes a question mark.
func printable(text []byte) string {
	if !slices.ContainsFunc(text, func(c byte) bool { return c < ' ' || c > '~' }) {
		return string(text)
	}
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, string(text))
}

// extensions are what a server offers in its reply to EHLO.
type extensions struct {
	pipelining, eightBit, utf8, startTLS, size, dsn bool
	chunking                                        bool
	maxSize                                         int64 // RFC 1870 4: octets of the largest message; 0: no limit is said
	xforward, xclient                               attributes
	auth                                            mechanisms
}

// parseExtensions reads the reply to EHLO; keywords are compared without case (RFC 5321 4.1.1.1).
func parseExtensions(r mail.Reply) extensions {
	var e extensions
	_, lines, _ := strings.Cut(r.Text, "\n") // the first line is the greeting
	for line := range strings.SplitSeq(lines, "\n") {
		keyword, value, _ := strings.Cut(line, " ")
		switch strings.ToUpper(keyword) {
		case "PIPELINING":
			e.pipelining = true
		case "8BITMIME":
			e.eightBit = true
		case "SMTPUTF8":
			e.utf8 = true
		case "AUTH":
			e.auth = parseMechanisms(value)
		case "XFORWARD":
			e.xforward = parseAttributes(value, attributeNames[:])
		case "XCLIENT":
			e.xclient = parseAttributes(value, xclientNames[:])
		case "CHUNKING":
			e.chunking = true
		case "DSN":
			e.dsn = true
		case "STARTTLS":
			e.startTLS = true
		case "SIZE":
			e.size = true
			if n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64); err == nil && n > 0 {
				e.maxSize = n
			}
		}
	}
	return e
}
