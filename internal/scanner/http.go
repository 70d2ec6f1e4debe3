package scanner

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/postern-mail/postern/mail"
)

// Post is a message that goes to a server over HTTP.
type Post struct {
	Header  http.Header
	Before  []byte // octets that stand before the message
	Content *mail.Content
	Most    int64 // octets that the answer may have
}

// errAnswerTooBig says that an answer is larger than allowed.
var errAnswerTooBig = errors.New("the answer is too large")

// Post sends a message to the server's URL and gives what it answers with 200, without its header. Any other answer is an error.
// To ask twice does no harm: where a connection that was kept turns out to be dead, it is asked over another one.
func (p *Pool) Post(ctx context.Context, s *Server, m Post) ([]byte, error) {
	blob := m.Content.Blob()
	var ours fault
	body := func() (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(bytes.NewReader(m.Before), &source{blob.Section(0, blob.Size()), blob.Size(), &ours})), nil
	}
	first, _ := body()
	var used answered
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: used.begin, GotFirstResponseByte: used.answers})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL.String(), first)
	if err != nil {
		return nil, Blameless(err)
	}
	if m.Header != nil {
		req.Header = m.Header.Clone()
	}
	req.Header["X-Idempotency-Key"] = nil // says to net/http that it may try again; it is not sent
	req.ContentLength = int64(len(m.Before)) + blob.Size()
	req.GetBody = body
	resp, err := s.httpClient(&p.options).Do(req)
	if err == nil {
		defer func() { _ = resp.Body.Close() }()
	}
	if own := ours.get(); own != nil {
		return nil, Blameless(own)
	}
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK { // what it says of it is not read: it may never end
		err := fmt.Errorf("it answers %.60q", resp.Status)
		if resp.StatusCode == http.StatusRequestEntityTooLarge { // RFC 9110 15.5.14: this message, and no other
			return nil, Blameless(err)
		}
		return nil, err
	}
	if resp.ContentLength > m.Most {
		return nil, errAnswerTooBig
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, m.Most+1))
	switch {
	case err != nil:
		return nil, err
	case int64(len(b)) > m.Most:
		return nil, errAnswerTooBig
	case used.isStale():
		s.httpClient(&p.options).CloseIdleConnections()
		return nil, errStale
	}
	return b, nil
}

// errStale says that what a server has sent behind an answer was taken for the answer to the next question: it is about another message.
var errStale = errors.New("the answer was there before the question")

// answered is the connection over which a question is asked, and how often it had brought something by then. net/http throws away what
// comes while a connection is idle, but not where the next question is faster than it can see that.
type answered struct {
	mu     sync.Mutex
	conn   *talker
	before int64
	stale  bool
}

func (a *answered) begin(got httptrace.GotConnInfo) {
	c := got.Conn
	if secure, ok := c.(*tls.Conn); ok {
		c = secure.NetConn()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stale = false
	if a.conn, _ = c.(*talker); a.conn != nil {
		a.before = a.conn.brought.Load()
	}
}

// answers takes down that an answer begins: it is stale where nothing has come since the question.
func (a *answered) answers() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stale = a.conn != nil && a.conn.brought.Load() == a.before
}

func (a *answered) isStale() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stale
}

// fault is the first error of ours in reading a message. The client reads on when it has answered, so that it has a lock.
type fault struct {
	mu  sync.Mutex
	err error
}

func (f *fault) set(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = err
	}
}

func (f *fault) get() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// source reads a message of which there are so many octets yet, and takes down what goes wrong. It is read in a goroutine of
// net/http's, where nobody is prepared for a panic.
type source struct {
	r     io.Reader
	left  int64
	fault *fault
}

// Read implements io.Reader.
func (s *source) Read(p []byte) (n int, err error) {
	defer func() {
		if v := recover(); v != nil {
			n, err = 0, fmt.Errorf("scanner: reading the message panicked: %v", v)
			s.fault.set(err)
		}
	}()
	n, err = s.r.Read(p)
	s.left -= int64(n)
	switch {
	case err == nil:
	case errors.Is(err, io.EOF) && s.left > 0:
		err = io.ErrUnexpectedEOF
		s.fault.set(err)
	case !errors.Is(err, io.EOF):
		s.fault.set(err)
	}
	return n, err
}

// patience is how long a connection that was closed while we write waits for what was said before.
const patience = 250 * time.Millisecond

// talker is a connection to a server that may answer before it has read all, and close it: the answer is here by then, and
// that the rest could not be written is not to come before it.
type talker struct {
	net.Conn
	once    sync.Once
	closed  chan struct{}
	brought atomic.Int64 // how often octets came
}

// Read implements net.Conn.
func (t *talker) Read(p []byte) (int, error) {
	n, err := t.Conn.Read(p)
	if n > 0 {
		t.brought.Add(1)
	}
	return n, err
}

// Write implements net.Conn.
func (t *talker) Write(p []byte) (int, error) {
	n, err := t.Conn.Write(p)
	if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		select {
		case <-t.closed:
		case <-time.After(patience):
		}
	}
	return n, err
}

// Close implements net.Conn.
func (t *talker) Close() error {
	t.once.Do(func() { close(t.closed) })
	return t.Conn.Close()
}
