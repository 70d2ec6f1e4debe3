package external

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/postern-mail/postern/mail"
)

// Unmark gives the edits that take the marks off a message which was delivered with them: the word where a subject begins with it, the
// banner where it stands in the place that Check gives it. What Check leaves alone is left alone. A banner whose template was another one
// then stays.
func (c *check) Unmark(content *mail.Content) (edits []mail.Edit, err error) {
	header, root := content.Header(), content.Root()
	if content.Err() != nil || forPrograms(root) != "" || header.Truncated() {
		return nil, content.Err()
	}
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
	if c.banner != nil {
		m := marker{banner: c.banner, words: c.words(header), off: true, octets: textLimit + maxTexts*bannerLimit}
		err = m.markAll(root)
		edits = append(edits, m.edits...)
	}
	if err == nil {
		err = content.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("external: %w", err)
	}
	return edits, nil
}

// bare gives a part without the banner, where it stands at an octet of its text; nil where it does not, or before what Check would not put
// it.
func bare(p *mail.Part, charset string, text []byte, at int, banner string) mail.Edit {
	rest, ok := bytes.CutPrefix(text[at:], []byte(banner))
	if rest = slices.Concat(text[:at], rest); !ok || isArmored(rest) {
		return nil
	}
	body, transfer := mail.EncodeText(rest)
	return mail.AnnotatePart{Path: p.Path, Header: header(p, charset, transfer), Body: body}
}
