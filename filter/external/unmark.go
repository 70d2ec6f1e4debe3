package external

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/postern-mail/postern/mail"
)

// Unmark gives the edits that take the marks off a message which was delivered with them: the word where a subject begins with it, the
// banner where it stands in the place that Check gives it. A banner whose template was another one then stays.
func (c *check) Unmark(content *mail.Content) (edits []mail.Edit, err error) {
	header, root := content.Header(), content.Root()
	if c.subject != "" {
		for i, f := range header.Fields() {
			if !f.Is("Subject") {
				continue
			}
			if body, ok := f.Unprefixed(c.subject); ok {
				edits = append(edits, mail.ReplaceField{Index: i, Body: body})
			}
		}
	}
	if c.banner == nil || content.Err() != nil {
		return edits, content.Err()
	}
	w, left := c.words(header), maxTexts
	root.Walk(func(p *mail.Part) bool {
		switch {
		case err != nil || strings.HasPrefix(p.Type, "message/"): // the marks of another message are a part of this one
			return false
		case !p.IsLeaf() || p.Type != "text/plain" && p.Type != "text/html":
			return true
		case left == 0:
			return false
		}
		var e mail.Edit
		if e, err = c.banner.off(p, w); e != nil {
			edits = append(edits, e)
			left--
		}
		return false
	})
	if err == nil {
		err = content.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("external: %w", err)
	}
	return edits, nil
}

// off gives the part without the banner; nil where it has none.
func (b *banner) off(p *mail.Part, w words) (mail.Edit, error) {
	names, _ := p.Charsets()
	name := ""
	if len(names) > 0 {
		name = names[0]
	}
	text, err := io.ReadAll(io.LimitReader(p.Open(), textLimit+bannerLimit+1))
	if err != nil || len(text) > textLimit+bannerLimit {
		return nil, err
	}
	at, banner, charset, err := b.place(p, w, name, text)
	if err != nil || !bytes.HasPrefix(text[at:], []byte(banner)) {
		return nil, err
	}
	body, transfer := mail.EncodeText(slices.Concat(text[:at], text[at+len(banner):]))
	return mail.AnnotatePart{Path: p.Path, Header: header(p, charset, transfer), Body: body}, nil
}
