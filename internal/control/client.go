package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// Client asks a running gateway. It is safe for concurrent use.
type Client struct {
	patience time.Duration // for the next octets of an answer
	http     *http.Client
}

// Dial finds the gateway whose socket is at path. The error is ErrNotRunning where there is none.
func Dial(ctx context.Context, path string) (*Client, error) {
	conn, err := dial(ctx, path)
	switch {
	case err != nil && absent(err):
		return nil, ErrNotRunning
	case err != nil:
		return nil, fmt.Errorf("control: the gateway can't be asked: %w", err)
	}
	_ = conn.Close() // it was to see whether somebody is there
	return &Client{stall, &http.Client{Transport: &http.Transport{
		DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, path) },
		DisableCompression: true, ResponseHeaderTimeout: answerLimit, IdleConnTimeout: stall / 2, MaxIdleConnsPerHost: 4,
	}}}, nil
}

// Close ends what connections there are.
func (c *Client) Close() {
	if t, ok := c.http.Transport.(*http.Transport); ok {
		t.CloseIdleConnections()
	}
}

// Get asks for a value and reads it into out. The path may have a query.
func (c *Client) Get(ctx context.Context, path string, out any) error {
	return c.value(ctx, http.MethodGet, path, nil, out)
}

// Post sends a value and reads the answer into out, unless that is nil.
func (c *Client) Post(ctx context.Context, path string, in, out any) error {
	return c.value(ctx, http.MethodPost, path, in, out)
}

func (c *Client) value(ctx context.Context, method, path string, in, out any) error {
	body, err := c.ask(ctx, method, path, in)
	if err != nil {
		return err
	}
	defer body.Close()
	b, err := io.ReadAll(io.LimitReader(body, maxReply+1))
	if err != nil {
		return err
	}
	if len(b) > maxReply {
		return errors.New("control: the answer is too big")
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("control: the answer can't be read: %w", err)
	}
	return nil
}

// Open asks for octets. Reading them gives the gateway's error, where there was one, in place of io.EOF.
func (c *Client) Open(ctx context.Context, path string) (io.ReadCloser, error) {
	return c.ask(ctx, http.MethodGet, path, nil)
}

// List asks for values, and hands each to f. An error of f ends it, and is given back.
func List[T any](ctx context.Context, c *Client, path string, f func(T) error) error {
	return list(ctx, c, http.MethodGet, path, nil, f)
}

// PostList is List for a question that has a value of its own.
func PostList[T any](ctx context.Context, c *Client, path string, in any, f func(T) error) error {
	return list(ctx, c, http.MethodPost, path, in, f)
}

func list[T any](ctx context.Context, c *Client, method, path string, in any, f func(T) error) error {
	body, err := c.ask(ctx, method, path, in)
	if err != nil {
		return err
	}
	defer body.Close()
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, maxReply)
	for lines.Scan() {
		var v T
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			return fmt.Errorf("control: the answer can't be read: %w", err)
		}
		if err := f(v); err != nil {
			return err
		}
	}
	return lines.Err()
}

// ask sends a request, and gives the body of the answer.
func (c *Client) ask(ctx context.Context, method, path string, in any) (io.ReadCloser, error) {
	var send io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("control: %w", err)
		}
		send = bytes.NewReader(b)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	req, err := http.NewRequestWithContext(ctx, method, "http://gateway"+path, send)
	if err != nil {
		cancel(nil)
		return nil, fmt.Errorf("control: %w", err)
	}
	res, err := c.http.Do(req)
	if err != nil {
		cancel(nil)
		return nil, fmt.Errorf("control: the gateway did not answer: %w", err)
	}
	a := &answer{res: res, patience: c.patience, ctx: ctx, cancel: cancel}
	if res.StatusCode == http.StatusOK {
		return a, nil
	}
	defer a.Close()
	var e Error
	b, err := io.ReadAll(io.LimitReader(a, 64<<10))
	if err != nil {
		return nil, err
	}
	if json.Unmarshal(b, &e) != nil || e.Text == "" {
		// It does not know the question: it is of another version.
		return nil, Errorf(Unavailable, "the running gateway can't do this: %s %s: %s", method, path, res.Status)
	}
	return nil, &e
}

var errStalled = errors.New("control: the gateway stopped in its answer")

// answer is the body of an answer. Who reads waits for no gateway that hangs.
type answer struct {
	res      *http.Response
	patience time.Duration
	ctx      context.Context //nolint:containedctx // of the request, whose body this is
	cancel   context.CancelCauseFunc
}

// Read implements io.Reader.
func (a *answer) Read(p []byte) (int, error) {
	late := time.AfterFunc(a.patience, func() { a.cancel(errStalled) })
	n, err := a.res.Body.Read(p)
	late.Stop()
	switch {
	case err == nil:
	case errors.Is(err, io.EOF):
		if told := a.res.Trailer.Get(trailer); told != "" {
			var e Error
			if json.Unmarshal([]byte(told), &e) != nil {
				e = Error{Software, told}
			}
			return n, &e
		}
	case errors.Is(context.Cause(a.ctx), errStalled):
		return n, errStalled
	default:
		return n, fmt.Errorf("control: the gateway's answer was cut off: %w", err)
	}
	return n, err
}

// Close ends the answer, read or not.
func (a *answer) Close() error {
	a.cancel(nil)
	return a.res.Body.Close()
}
