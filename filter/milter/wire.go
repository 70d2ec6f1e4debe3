package milter

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	"github.com/postern-mail/postern/internal/scanner"
	"github.com/postern-mail/postern/mail"
)

// The protocol is that of libmilter, version 6, as MTAs speak it: packets of a length, a letter and data. Texts in them end
// with NUL.

// What an MTA says.
const (
	cmdNegotiate = 'O'
	cmdMacro     = 'D'
	cmdConnect   = 'C'
	cmdHelo      = 'H'
	cmdMail      = 'M'
	cmdRcpt      = 'R'
	cmdData      = 'T'
	cmdHeader    = 'L'
	cmdEndHeader = 'N'
	cmdBody      = 'B'
	cmdEnd       = 'E'
	cmdQuit      = 'Q'
)

// What a milter answers.
const (
	actAccept      = 'a'
	actContinue    = 'c'
	actDiscard     = 'd'
	actConnFail    = 'f'
	actProgress    = 'p'
	actReject      = 'r'
	actSkip        = 's'
	actTempFail    = 't'
	actReplyCode   = 'y'
	actShutdown    = '0'
	actAddRcpt     = '+'
	actDelRcpt     = '-'
	actAddRcptPar  = '2'
	actReplaceBody = 'b'
	actChangeFrom  = 'e'
	actAddHeader   = 'h'
	actInsert      = 'i'
	actChange      = 'm'
	actQuarantine  = 'q'
)

// Version, and what we offer: every action, since libmilter ends a session in which something is not offered that a
// milter may come to use; and every protocol option but large packets.
const (
	version        = 6
	offeredActions = 0x1ff
	offeredOptions = 0x1fffff
)

// Options of the protocol: commands that a milter does not want, and those that it does not answer.
const (
	noConnect   = 0x1
	noHelo      = 0x2
	noMail      = 0x4
	noRcpt      = 0x8
	noBody      = 0x10
	noHeader    = 0x20
	noEndHeader = 0x40
	nrHeader    = 0x80
	noData      = 0x200
	skips       = 0x400
	nrConnect   = 0x1000
	nrHelo      = 0x2000
	nrMail      = 0x4000
	nrRcpt      = 0x8000
	nrData      = 0x10000
	nrEndHeader = 0x40000
	nrBody      = 0x80000
	leadingPass = 0x100000 // values of fields with the blank behind the colon
)

// Bounds of what a milter may send.
const (
	maxPacket = 1 << 20
	maxTotal  = 64 << 20 // octets of one session
	maxCount  = 20000    // packets of one session
	chunk     = 65535    // octets of the body in one packet
)

var errPacket = errors.New("milter: a packet that makes no sense")

func wrong(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errPacket, fmt.Sprintf(format, args...))
}

// wire is a connection to a milter.
type wire struct {
	conn  net.Conn
	total int64
	count int
}

// send sends a packet.
func (w *wire) send(cmd byte, data []byte) error {
	b := make([]byte, 5, 5+len(data))
	binary.BigEndian.PutUint32(b, uint32(1+len(data)))
	b[4] = cmd
	if cmd != cmdQuit {
		// What it says by now answers nothing. Taken for the answer to the next command, each would be that to the one before, and
		// the last that to a message which it has not seen whole.
		early := make([]byte, 16)
		if n := scanner.Early(w.conn, early); n > 0 {
			return wrong("%q before it had all", early[:n])
		}
	}
	_, err := w.conn.Write(append(b, data...))
	return err
}

// read reads a packet.
func (w *wire) read() (byte, []byte, error) {
	var head [5]byte
	if _, err := io.ReadFull(w.conn, head[:]); err != nil {
		return 0, nil, ended(err)
	}
	n := binary.BigEndian.Uint32(head[:4])
	if n == 0 || n > maxPacket {
		return 0, nil, wrong("%d octets", n)
	}
	w.total += int64(n)
	if w.count++; w.total > maxTotal || w.count > maxCount {
		return 0, nil, wrong("more than %d octets or %d packets", maxTotal, maxCount)
	}
	// The length is only believed as far as octets come.
	var data bytes.Buffer
	if _, err := io.CopyN(&data, w.conn, int64(n-1)); err != nil {
		return 0, nil, ended(err)
	}
	return head[4], data.Bytes(), nil
}

func ended(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("milter: reply: %w", err)
}

// texts gives texts as they stand in packets. None has a NUL of its own.
func texts(all ...string) []byte {
	var b []byte
	for _, s := range all {
		b = append(b, strings.ReplaceAll(s, "\x00", "")...)
		b = append(b, 0)
	}
	return b
}

// readTexts reads n texts, which are all that data has.
func readTexts(data []byte, n int) ([]string, error) {
	if bytes.Count(data, []byte{0}) != n || len(data) > 0 && data[len(data)-1] != 0 {
		return nil, wrong("%d texts where there are %d", bytes.Count(data, []byte{0}), n)
	}
	if n == 0 {
		return nil, nil
	}
	return strings.Split(string(data[:len(data)-1]), "\x00"), nil
}

// indexed reads an index and n texts.
func indexed(data []byte, n int) (int, []string, error) {
	if len(data) < 4 {
		return 0, nil, wrong("no index")
	}
	i := binary.BigEndian.Uint32(data)
	if i > 1<<20 {
		return 0, nil, wrong("index %d", i)
	}
	all, err := readTexts(data[4:], n)
	return int(i), all, err
}

// replyOf reads the data of a reply code: an SMTP reply of one line or several (smfi_setreply, smfi_setmlreply).
func replyOf(data []byte) (mail.Reply, error) {
	all, err := readTexts(data, 1)
	if err != nil {
		return mail.Reply{}, err
	}
	var r mail.Reply
	var out []string
	for line := range strings.SplitSeq(strings.TrimRight(all[0], "\r\n"), "\n") {
		line = strings.TrimRight(line, "\r")
		if len(line) < 3 || len(line) > 3 && line[3] != ' ' && line[3] != '-' {
			return mail.Reply{}, wrong("reply %.80q", all[0])
		}
		code, err := strconv.ParseUint(line[:3], 10, 16)
		if err != nil || r.Code != 0 && r.Code != int(code) || code < 400 || code > 559 {
			return mail.Reply{}, wrong("reply %.80q", all[0])
		}
		r.Code = int(code)
		text := strings.TrimSpace(line[min(len(line), 4):])
		if e, rest, ok := enhanced(text, r.Code/100); ok {
			r.Enhanced, text = e, rest
		}
		out = append(out, text)
	}
	r.Text = strings.TrimSpace(strings.Join(out, " "))
	if r.Enhanced == (mail.Enhanced{}) {
		r.Enhanced = mail.Enhanced{r.Code / 100, 7, 1}
	}
	if r.Text == "" {
		r.Text = "message refused"
	}
	return r, nil
}

// enhanced takes an enhanced code of that class off a text.
func enhanced(text string, class int) (mail.Enhanced, string, bool) {
	word, rest, _ := strings.Cut(text, " ")
	parts := strings.Split(word, ".")
	if len(parts) != 3 {
		return mail.Enhanced{}, "", false
	}
	var e mail.Enhanced
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n > 999 {
			return mail.Enhanced{}, "", false
		}
		e[i] = int(n)
	}
	return e, strings.TrimSpace(rest), e[0] == class
}
