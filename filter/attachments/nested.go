package attachments

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/postern-mail/postern/internal/archive/office"
	envelope "github.com/postern-mail/postern/internal/archive/sealed"
	"github.com/postern-mail/postern/mail"
)

// A message may lie in a file: attached under another type, in an archive, in a winmail.dat, or as a part that is
// encoded as a whole, against RFC 2046 5.2.1. It is looked through as a content of its own. No edit can reach into
// it; whatever is found there counts against the file as a whole.

// isMessage reports whether a file is taken for a message for its type or name.
func (x *exam) isMessage() bool {
	return (x.part == nil || x.part.IsLeaf()) && !x.body &&
		(x.declares("message/rfc822", "message/global", "message/news", envelope.Entity) || x.endsIn("eml", "mht", "mhtml", "mim", "mime", "nws")) &&
		(x.kind.mediaType == "" || strings.HasPrefix(x.kind.mediaType, "text/"))
}

// encodedWhole reports whether the part is a message or multipart that the index left alone for its
// encoding.
func encodedWhole(p *mail.Part) bool {
	return p.IsLeaf() && (p.Has(mail.EncodedMessage) || p.Has(mail.EncodedMultipart))
}

// openMessage looks through a message that is a file.
func (l *look) openMessage(x *exam) error {
	if x.endsIn("mht", "mhtml", "doc", "xls") {
		// A page as Word and Excel save it is theirs, too.
		if err := l.walk(x, office.WalkMHTML, x.file, false); err != nil {
			return err
		}
	}
	// What merely looks like a message may be the header of one, or a text about mail.
	return l.nested(x, "", x.file.Reader(), !x.isMessage())
}

// readEncoded looks through an encoded message or multipart: clients that do not decode it take the octets as they
// are.
func (l *look) readEncoded(x *exam) error {
	head := ""
	if !strings.HasPrefix(x.part.Type, "message/") {
		head = "Content-Type: " + x.part.Header.Get("Content-Type") + "\r\n\r\n"
	}
	if err := l.nested(x, head, x.file.Reader(), true); err != nil {
		return err
	}
	return l.nested(x, head, x.part.RawBody(), true)
}

// nested examines a message that consists of head and what r gives, and adds what is bad in it to the reasons of the
// file. Where it is but a guess that there is a message, only that counts which was found in it, not that it has
// several readings.
func (l *look) nested(x *exam, head string, r io.Reader, guess bool) error {
	if err := l.budget.Enter(); err != nil {
		x.addInner(l.spent(err))
		return nil
	}
	defer l.budget.Leave()
	in := mail.NewIngest(mail.IngestOptions{Dir: l.limits.Dir})
	if _, err := io.Copy(in, contextReader{l.ctx, io.MultiReader(strings.NewReader(head), r)}); err != nil {
		in.Abort()
		return err
	}
	blob, faults, err := in.Blob()
	if err != nil {
		return err
	}
	if err := l.budget.Spend(blob.Size()); err != nil {
		blob.Release()
		x.addInner(l.spent(err))
		return nil
	}
	content := mail.NewContent(blob, faults, mail.Limits{})
	defer content.Release()
	root := content.Root()
	if err := content.Err(); err != nil {
		return err
	}
	exams, err := l.examine(root)
	if err != nil {
		return err
	}
	for _, inner := range exams {
		if inner.ambiguous != "" && l.ambiguous != passAmbiguous && !guess {
			x.addInner(l.classHit(unreadable, fmt.Sprintf("inside it, %s can be read in several ways: %s", inner.label(), inner.ambiguous)))
		}
		for _, h := range slices.Concat(inner.hits, inner.outside) {
			if guess && h.class == unreadable && !h.limit {
				continue
			}
			h.why = fmt.Sprintf("inside it, %s: %s", inner.label(), h.why)
			x.addInner(h)
		}
	}
	return nil
}
