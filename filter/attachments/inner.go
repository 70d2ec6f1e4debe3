package attachments

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/postern-mail/postern/mail"
)

// An embedded message must not be encoded as a whole (RFC 2046 5.2.1), nor must a multipart (RFC 2045
// 6.4). Where one is, the index leaves it alone: some clients decode it and show what is inside, some
// take the octets as they are. So it is looked through in both readings, as a content of its own. No edit
// can reach into it; whatever is found there counts against the part as a whole.

// maxInner is how many encoded messages are looked into that stand inside each other. Each of them has two
// readings, so the work doubles with each.
const maxInner = 2

// encodedWhole reports whether the part is a message or multipart that the index left alone for its
// encoding.
func encodedWhole(p *mail.Part) bool {
	return p.IsLeaf() && (p.Has(mail.EncodedMessage) || p.Has(mail.EncodedMultipart))
}

// readInner looks through an encoded message or multipart in both readings.
func (c *checker) readInner(ctx context.Context, x *exam, depth int) error {
	if depth >= maxInner {
		x.unseen = append(x.unseen, "too many encoded messages inside each other")
		return nil
	}
	var head string
	if !strings.HasPrefix(x.part.Type, "message/") {
		head = "Content-Type: " + x.part.Header.Get("Content-Type") + "\r\n\r\n"
	}
	if err := c.readReading(ctx, x, io.MultiReader(strings.NewReader(head), x.part.Open()), depth, false); err != nil {
		return err
	}
	return c.readReading(ctx, x, io.MultiReader(strings.NewReader(head), x.part.RawBody()), depth, true)
}

// readReading examines one reading of the part, and adds what is bad in it to the part's reasons. Base64 in the
// raw octets is no reason: it is what the other reading has decoded.
func (c *checker) readReading(ctx context.Context, x *exam, r io.Reader, depth int, raw bool) error {
	in := mail.NewIngest(mail.IngestOptions{})
	if _, err := io.Copy(in, r); err != nil {
		in.Abort()
		return err
	}
	blob, faults, err := in.Blob()
	if err != nil {
		return err
	}
	content := mail.NewContent(blob, faults, mail.Limits{})
	defer content.Release()
	root := content.Root()
	if err := content.Err(); err != nil {
		return err
	}
	exams, err := c.examine(ctx, root, depth+1)
	if err != nil {
		return err
	}
	if root.IsMultipart() {
		x.empty = ""
	}
	for _, inner := range exams {
		if !raw || inner.part != root || !inner.base64 {
			x.unseen = append(x.unseen, inner.unseen...)
		}
		if len(inner.hits) == 0 {
			continue
		}
		h := inner.hits[0]
		h.why = fmt.Sprintf("inside it, %s: %s", inner.label(), inner.reason())
		if len(x.inner) == 0 || h.action > x.inner[0].action {
			x.inner = []hit{h}
		}
	}
	return nil
}
