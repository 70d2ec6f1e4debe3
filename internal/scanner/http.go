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
	// Whole says that an answer is one only where it comes when the message was sent to its end; else where it comes when Before was.
	// What the system has taken from us counts as sent.
	Whole bool
}

// errAnswerTooBig says that an answer is larger than allowed.
var errAnswerTooBig = errors.New("the answer is too large")

// Post sends a message to the server's URL and gives what it answers with 200, without its header. Any other answer is an error.
// To ask twice does no harm: where a connection that was kept turns out to be dead, it is asked over another one.
func (p *Pool) Post(ctx context.Context, s *Server, m Post) ([]byte, error) {
	blob := m.Content.Blob()
	var ours fault
	used := answered{need: int64(len(m.Before))}
	if m.Whole {
		used.need += blob.Size()
	}
	body := func() (io.ReadCloser, error) {
		all := io.MultiReader(bytes.NewReader(m.Before), &source{blob.Section(0, blob.Size()), blob.Size(), &ours})
		return io.NopCloser(used.follow(all)), nil
	}
	first, _ := body()
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: used.begin, GotFirstResponseByte: used.answers, WroteRequest: used.wrote})
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
	case used.isEarly(ctx, m.Whole):
		return nil, errEarly
	}
	return b, nil
}

// errStale says that what a server has sent behind an answer was taken for the answer to the next question: it is about another message.
var errStale = errors.New("the answer was there before the question")

// errEarly says that a server answered before it had what the answer is to be about.
var errEarly = errors.New("it answers before it has the message")

// answered is the connection over which a question is asked, and how often it had brought something by then. net/http throws away what
// comes while a connection is idle, but not where the next question is faster than it can see that. And it takes an answer whenever it
// comes, while the question is still being sent.
type answered struct {
	need int64 // octets of the body that are to be sent before the answer

	mu      sync.Mutex
	conn    *talker
	before  int64
	stale   bool
	early   bool
	body    *followed     // of the attempt
	written chan struct{} // closed when the question was
}

// followed is a body of which is known how far it was read, and how much its connection had been given when that began. net/http sends
// the header before it reads one of a kind that it does not know.
type followed struct {
	io.Reader
	of     *answered
	n      atomic.Int64
	once   sync.Once
	begins atomic.Int64 // octets of the connection before it
}

// Read implements io.Reader.
func (f *followed) Read(p []byte) (int, error) {
	f.once.Do(func() { f.begins.Store(f.of.given()) })
	n, err := f.Reader.Read(p)
	f.n.Add(int64(n))
	return n, err
}

// follow makes the body of the next attempt.
func (a *answered) follow(r io.Reader) io.Reader {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.body = &followed{Reader: r, of: a}
	return a.body
}

// given is how many octets the connection was given to send.
func (a *answered) given() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.conn == nil {
		return 0
	}
	return a.conn.given.Load()
}

func (a *answered) begin(got httptrace.GotConnInfo) {
	c := got.Conn
	if secure, ok := c.(*tls.Conn); ok {
		c = secure.NetConn()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stale, a.early, a.written = false, false, make(chan struct{})
	if a.conn, _ = c.(*talker); a.conn != nil {
		a.before = a.conn.brought.Load()
	}
}

// answers takes down that an answer begins: it is stale where nothing has come since the question, and early where not all that it needs
// was sent. What is being sent just now may be there before we know of it, and counts so far: isEarly waits for it.
func (a *answered) answers() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.conn == nil {
		return
	}
	a.stale = a.conn.brought.Load() == a.before
	a.early = a.need > 0 && (a.body.n.Load() < a.need || a.conn.given.Load()-a.body.begins.Load() < a.need)
}

// wrote takes down that the question was sent, or could not be.
func (a *answered) wrote(info httptrace.WroteRequestInfo) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if info.Err == nil && a.written != nil {
		close(a.written)
		a.written = nil
	}
}

// isEarly reports whether the answer came too early. Where the whole question is needed, its end is here at once if the server has it.
func (a *answered) isEarly(ctx context.Context, whole bool) bool {
	a.mu.Lock()
	early, written := a.early, a.written
	a.mu.Unlock()
	if early || !whole || written == nil {
		return early
	}
	select {
	case <-written:
		return false
	case <-time.After(patience):
	case <-ctx.Done():
	}
	select {
	case <-written: // meanwhile, on a machine that stood still
		return false
	default:
		return true
	}
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

// patience is how long we wait for what is here at once, but for a machine that is busy: for what a server said before it closed a
// connection that we write to, and for the end of writing what it has read. Only servers that say nothing, or do not read, take it.
const patience = 2 * time.Second

// talker is a connection to a server that may answer before it has read all, and close it: the answer is here by then, and
// that the rest could not be written is not to come before it.
type talker struct {
	net.Conn
	once    sync.Once
	closed  chan struct{}
	brought atomic.Int64 // how often octets came
	given   atomic.Int64 // octets that were to be sent, those being sent among them
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
	t.given.Add(int64(len(p)))
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
