package sheet

import (
	"bytes"
	"context"
	"io"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/tell"
)

// block is how much text is read at once, reach how far apart the start of a formula and the call in it may be. A
// cell of Excel has 32767 characters at most, a formula 8192.
const (
	block = 64 << 10
	reach = 8192
)

// walkCells looks for cells that are formulas with a call by Dynamic Data Exchange, as in =cmd|'/c calc'!A0. Whether
// a quotation mark is open is of no interest: a cell begins wherever some reader may see one begin.
func walkCells(ctx context.Context, r io.Reader, t *tell.Teller) error {
	buf := make([]byte, 0, block+2*reach)
	part := make([]byte, block)
	separator, first := byte(','), true
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := readFull(r, part)
		if err != nil || n == 0 {
			return err
		}
		// NUL and the marks of byte order go, so that UTF-16 is read like ASCII.
		for _, c := range part[:n] {
			if c != 0 && c != 0xff && c != 0xfe {
				buf = append(buf, c)
			}
		}
		if first {
			separator = separatorOf(buf)
		}
		if bytes.IndexByte(buf, '!') >= 0 || bytes.IndexByte(buf, '(') >= 0 {
			if err := scanCells(buf, separator, first, t); err != nil {
				return err
			}
		}
		first = false
		if n := len(buf) - 2*reach; n > 0 {
			buf = append(buf[:0], buf[n:]...)
		}
	}
}

// separatorOf reads the line sep=x, with which a text tells Excel its separator.
func separatorOf(head []byte) byte {
	head = bytes.TrimPrefix(head, []byte("\xef\xbb\xbf"))
	head = bytes.TrimLeft(head, "\" ")
	if len(head) > 4 && bytes.EqualFold(head[:4], []byte("sep=")) {
		return head[4]
	}
	return ','
}

// scanCells looks through a part of a text; first says that it is the start.
func scanCells(p []byte, separator byte, first bool, t *tell.Teller) error {
	at := -1       // where a formula begins
	begin := first // a cell may begin here
	quoted := false
	for i, c := range p {
		switch {
		case c == '\r' || c == '\n':
			if begin = true; !quoted {
				at = -1
			}
			continue
		case c == separator, c == ',', c == ';', c == '\t', c == '|' && at < 0:
			begin = true
		case begin && (c <= ' ' || c == '"' || c == '\'' || c >= 0x80):
			quoted = c == '"' || quoted && c <= ' '
			continue
		case begin && (c == '=' || c == '+' || c == '-' || c == '@'):
			at, begin = i, false
		default:
			if begin {
				begin = false
				quoted = quoted && at >= 0
			}
		}
		if at >= 0 && (isControl(rune(c)) || i-at > reach) {
			at = -1 // no formula has such characters
		}
		if at < 0 || !(c == '|' && isCall(p, i) || c == '(' && isFunction(p[at:i])) {
			continue
		}
		if err := t.Sign(archive.MacroAuto, "a cell starts a program by DDE: %.200q", p[at:min(len(p), i+100)]); err != nil {
			return err
		}
	}
	return nil
}

// isCall reports whether the bar at i stands between a service and a topic, with an item behind: service|'topic'!item.
func isCall(p []byte, i int) bool {
	before := bytes.TrimRight(p[max(0, i-256):i], " \t\r\n'\"")
	if len(before) == 0 || !isName(before[len(before)-1]) {
		return false
	}
	rest := p[i+1 : min(len(p), i+1+reach)]
	if quoted := bytes.TrimLeft(rest, " \t\r\n\""); len(quoted) > 0 && quoted[0] == '\'' {
		end := bytes.IndexByte(quoted[1:], '\'')
		for end >= 0 {
			quoted = quoted[1+end+1:]
			if len(quoted) == 0 || quoted[0] != '\'' {
				break
			}
			end = bytes.IndexByte(quoted[1:], '\'') // two of them stand for one
		}
		if end < 0 || bytes.ContainsFunc(rest[:len(rest)-len(quoted)], isControl) {
			return false
		}
		quoted = bytes.TrimLeft(quoted, " \t\r\n\"")
		return len(quoted) > 0 && quoted[0] == '!'
	}
	// Without quotation marks the topic is one word, and close by.
	for j, c := range rest {
		switch {
		case c == '!':
			return j > 0 && j+1 < len(rest) && (isName(rest[j+1]) || rest[j+1] == '\'' || rest[j+1] == '$')
		case c <= ' ' || c == '|' || c == ',' || c == '"' || j == 256:
			return false
		}
	}
	return false
}

// isFunction reports whether a formula ends with the name of the function of LibreOffice that does the same.
func isFunction(formula []byte) bool {
	name := bytes.TrimRight(formula, " \t")
	n := len(name) - 3
	return n > 0 && bytes.EqualFold(name[n:], []byte("DDE")) && !isName(name[n-1])
}

// isControl reports whether a character stands in no cell.
func isControl(r rune) bool { return r < ' ' && r != '\t' && r != '\r' && r != '\n' }

func isName(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c == '_' || c == '.'
}
