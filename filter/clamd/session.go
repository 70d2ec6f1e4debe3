package clamd

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"

	"github.com/postern-mail/postern/internal/scanner"
)

// The protocol is that of clamd(8): commands end with NUL where a z stands before them, and so do the replies. Within
// IDSESSION one connection takes several commands, and each reply begins with the number of its command. One is sent when
// the last is answered: clamd loses count of what comes in a row behind an empty stream.

// maxReply bounds one reply, which is a word and the name of a signature.
const maxReply = 1024

// chunk is how many octets are sent at once.
const chunk = 64 << 10

var chunks = sync.Pool{New: func() any { return new([4 + chunk]byte) }}

var (
	errOversize = errors.New("clamd: more octets than it takes")
	errReply    = errors.New("clamd: a reply that makes no sense")
)

// session is one connection. It is made when it is first needed.
type session struct {
	ctx    context.Context
	server *scanner.Server
	conn   net.Conn
	number int // of the last command
	buf    []byte
}

func (s *session) close() {
	if s.conn != nil {
		_ = s.conn.Close()
		s.conn, s.number, s.buf = nil, 0, nil
	}
}

// send begins a command.
func (s *session) send(command string) error {
	b := append([]byte{'z'}, command...)
	b = append(b, 0)
	if s.conn == nil {
		c, err := s.server.Dial(s.ctx)
		if err != nil {
			return err
		}
		s.conn = c
		b = append([]byte("zIDSESSION\x00"), b...)
	}
	if len(s.buf) > 0 {
		return fmt.Errorf("%w: %.80q, and nothing was asked", errReply, s.buf)
	}
	s.number++
	_, err := s.conn.Write(b)
	return err
}

// version asks for the version of the program and of its signatures.
func (s *session) version() (string, error) {
	if err := s.send("VERSION"); err != nil {
		return "", err
	}
	v, err := s.reply()
	if err == nil && !strings.HasPrefix(v, "ClamAV ") {
		return "", fmt.Errorf("%w: %q", errReply, v)
	}
	return v, err
}

// scan has clamd look at what r gives, at most so many octets, and gives the name of a signature that was found, "" for
// none. The error is errOversize where that is too much for us or for clamd; the session goes on all the same.
func (s *session) scan(r io.Reader, most int64) (string, error) {
	if err := s.send("INSTREAM"); err != nil {
		return "", err
	}
	if err := s.stream(r, most); err != nil {
		if errors.Is(err, errOversize) {
			s.close() // there is no other way to break off a stream
			return "", err
		}
		var ours *readError
		if errors.As(err, &ours) {
			s.close()
			return "", scanner.Blameless(err)
		}
		// clamd closes the connection while we write where a stream is too long for it, and says so first.
		if said, readErr := s.reply(); readErr == nil && isOversize(said) {
			s.close()
			return "", errOversize
		}
		s.close()
		return "", err
	}
	said, err := s.reply()
	if err != nil {
		s.close()
		return "", err
	}
	if isOversize(said) {
		s.close()
		return "", errOversize
	}
	return parseScan(said)
}

// readError says that what was to be scanned could not be read.
type readError struct{ error }

// Unwrap gives the error.
func (e *readError) Unwrap() error { return e.error }

// stream sends what r gives in chunks.
func (s *session) stream(r io.Reader, most int64) error {
	b := chunks.Get().(*[4 + chunk]byte)
	defer chunks.Put(b)
	for sent := int64(0); ; {
		n, err := io.ReadFull(r, b[4:])
		if sent += int64(n); sent > most {
			return errOversize
		}
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return &readError{err}
		}
		if n > 0 {
			binary.BigEndian.PutUint32(b[:4], uint32(n))
			if _, err := s.conn.Write(b[:4+n]); err != nil {
				return err
			}
		}
		if err != nil {
			if err := s.early(); err != nil {
				return err
			}
			_, err = s.conn.Write([]byte{0, 0, 0, 0})
			return err
		}
	}
}

// early is the error of a clamd that answers before it has the whole stream: it can't have looked at it. That the stream is too long for
// it is the one thing that it may say by then.
func (s *session) early() error {
	b := make([]byte, maxReply)
	n := scanner.Early(s.conn, b)
	if n == 0 {
		return nil
	}
	s.buf = append(s.buf, b[:n]...)
	return fmt.Errorf("%w: %.80q before it had all", errReply, s.buf)
}

// reply reads the reply to the last command, without its number.
func (s *session) reply() (string, error) {
	for {
		if i := bytes.IndexByte(s.buf, 0); i >= 0 {
			said := string(s.buf[:i])
			s.buf = s.buf[i+1:]
			return parseReply(said, s.number)
		}
		if len(s.buf) > maxReply {
			return "", fmt.Errorf("%w: no end within %d octets", errReply, maxReply)
		}
		b := make([]byte, 512)
		n, err := s.conn.Read(b)
		s.buf = append(s.buf, b[:n]...)
		if n == 0 && err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return "", fmt.Errorf("clamd: reply: %w", err)
		}
	}
}

// parseReply takes the number off a reply, which must be that of the command.
func parseReply(said string, number int) (string, error) {
	text, ok := strings.CutPrefix(said, strconv.Itoa(number)+": ")
	if !ok || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
		return "", fmt.Errorf("%w: %.80q to command %d", errReply, said, number)
	}
	return text, nil
}

func isOversize(said string) bool { return said == "INSTREAM size limit exceeded. ERROR" }

// parseScan reads the reply to INSTREAM.
func parseScan(said string) (string, error) {
	text, ok := strings.CutPrefix(said, "stream: ")
	if ok && text == "OK" {
		return "", nil
	}
	if name, found := strings.CutSuffix(text, " FOUND"); ok && found && name != "" && !strings.Contains(name, " ") {
		return name, nil
	}
	if strings.HasSuffix(said, " ERROR") {
		return "", fmt.Errorf("clamd: it says %.80q", said)
	}
	return "", fmt.Errorf("%w: %.80q", errReply, said)
}
