// Package control lets commands speak to a running gateway: HTTP/1.1 over a socket in the state directory that its owner and
// root alone may open. It knows neither what is asked nor what is answered: the gateway registers that.
package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Name is the socket's name in the state directory.
const Name = "control.sock"

// Errors that callers tell apart.
var (
	ErrInUse      = errors.New("control: another gateway runs on this state directory")
	ErrNotRunning = errors.New("control: no gateway runs on this state directory")
)

// Limits of a conversation.
const (
	maxRequest  = 1 << 20  // octets of a request's body
	maxReply    = 16 << 20 // octets of one JSON value in a reply
	maxClients  = 32       // connections at once
	stall       = 30 * time.Second
	answerLimit = time.Minute // from a request to the first octet of its reply
)

// Kind says what kind of fault an Error is, as the exit codes of sysexits.h do.
type Kind string

// The kinds.
const (
	Usage       Kind = "usage"        // 64: the request is none
	Missing     Kind = "missing"      // 65: what it names is not there
	Data        Kind = "data"         // 65: what it names can't be read
	Unavailable Kind = "unavailable"  // 69: not now
	CannotWrite Kind = "cannot_write" // 73: its disk does not take it
	Software    Kind = "software"     // 70: a fault of the gateway
	Config      Kind = "config"       // 78: it is not configured
)

// status gives the HTTP status for a kind.
func (k Kind) status() int {
	switch k {
	case Usage:
		return http.StatusBadRequest
	case Missing, Data:
		return http.StatusNotFound
	case Unavailable:
		return http.StatusServiceUnavailable
	case CannotWrite:
		return http.StatusInsufficientStorage
	case Config:
		return http.StatusConflict
	}
	return http.StatusInternalServerError
}

// Error is what a gateway answers in place of what was asked for.
type Error struct {
	Kind Kind   `json:"kind"`
	Text string `json:"error"`
}

// Error gives the text.
func (e *Error) Error() string { return e.Text }

// Errorf makes an Error.
func Errorf(k Kind, format string, args ...any) error { return &Error{k, fmt.Sprintf(format, args...)} }

// asError gives the Error in err; any other is the gateway's own fault.
func asError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Software, err.Error()}
}

// trailer tells of an error that came when part of the answer had gone.
const trailer = "Postern-Error"

// Handle makes a handler of a function that answers, or gives an error for the client. The error may come at any time: the
// client then knows that what it has got is not all.
func Handle(answer func(http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out := &response{ResponseWriter: w}
		err := takeBody(w, r)
		if err == nil {
			err = answer(out, r)
		}
		// What is left of the answer goes when this returns, and may have been long in coming.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(stall))
		if err == nil {
			return
		}
		e := asError(err)
		body, _ := json.Marshal(e) // two strings
		if out.began {
			w.Header().Set(trailer, string(body))
			return
		}
		w.Header().Set("Content-Type", "application/json")
		out.WriteHeader(e.Kind.status())
		_, _ = out.Write(append(body, '\n')) // the client is gone, or it is not
	})
}

// takeBody reads the whole request, in time, before it is answered.
func takeBody(w http.ResponseWriter, r *http.Request) error {
	if r.ContentLength == 0 {
		return nil
	}
	c := http.NewResponseController(w)
	_ = c.SetReadDeadline(time.Now().Add(stall))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if err != nil {
		return Errorf(Usage, "the request can't be read: %v", err)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	_ = c.SetReadDeadline(time.Time{})
	return nil
}

// response knows whether an answer has begun, and waits for no client that does not read it.
type response struct {
	http.ResponseWriter
	began bool
}

func (r *response) WriteHeader(status int) {
	if !r.began && status == http.StatusOK {
		r.Header().Set("Trailer", trailer)
	}
	r.began = true
	r.ResponseWriter.WriteHeader(status)
}

func (r *response) Write(p []byte) (int, error) {
	if !r.began {
		r.WriteHeader(http.StatusOK)
	}
	_ = http.NewResponseController(r.ResponseWriter).SetWriteDeadline(time.Now().Add(stall)) // a test's recorder has none
	return r.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController find the connection.
func (r *response) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// Send answers with one value.
func Send(w http.ResponseWriter, v any) error {
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(v)
}

// Receive reads the value that a request has in its body. What else stands there is refused.
func Receive(r *http.Request, v any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return Errorf(Usage, "the request can't be read: %v", err)
	}
	return nil
}

// Stream answers with any number of values, one a line.
type Stream struct {
	w       http.ResponseWriter
	enc     *json.Encoder
	waiting int       // values that are not on their way
	flushed time.Time // when the last ones went
}

// NewStream begins an answer. Its header goes at once, so that the client knows that somebody works on it.
func NewStream(w http.ResponseWriter) *Stream {
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush() // a client that is gone is found out when there is something to send
	return &Stream{w: w, enc: json.NewEncoder(w), flushed: time.Now()}
}

// Send sends one value, now or soon. An error means that the client is gone.
func (s *Stream) Send(v any) error {
	if err := s.enc.Encode(v); err != nil {
		return err
	}
	if s.waiting++; s.waiting < 256 && time.Since(s.flushed) < 200*time.Millisecond {
		return nil
	}
	s.waiting, s.flushed = 0, time.Now()
	return http.NewResponseController(s.w).Flush()
}
