package scanner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

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
	body := func() (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(bytes.NewReader(m.Before), blob.Section(0, blob.Size()))), nil
	}
	first, _ := body()
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
	if err != nil {
		if errors.Is(err, mail.ErrReleased) {
			return nil, Blameless(err)
		}
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		_, _ = io.CopyN(io.Discard, resp.Body, 4<<10) // a short one leaves the connection fit for use
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
	}
	return b, nil
}
