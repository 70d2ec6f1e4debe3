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

// certainty is how sure it is that a file is a message.
type certainty uint8

const (
	declared certainty = iota // by its type or name
	shaped                    // by its content: it may be the header of one, or a text about mail
	guessed                   // it is a piece of a text that some readers take for one
)

// openMessage looks through a message that is a file.
func (l *look) openMessage(x *exam) error {
	if x.endsIn("mht", "mhtml", "doc", "xls") {
		// A page as Word and Excel save it is theirs, too.
		if err := l.walk(x, office.WalkMHTML, x.file, false); err != nil {
			return err
		}
	}
	sure := shaped
	if x.isMessage() {
		sure = declared
	}
	head, err := x.file.Head(len(mbox))
	if err != nil {
		return err
	}
	if string(head) == mbox {
		sure = guessed // many messages, which are searched as a text; as one it has more parts than any
	}
	return l.nested(x, "", x.file.Reader(), sure)
}

// mbox begins a file of many messages (RFC 4155).
const mbox = "From "

// readEncoded looks through an encoded message or multipart: clients that do not decode it take the octets as they
// are.
func (l *look) readEncoded(x *exam) error {
	head := ""
	if !strings.HasPrefix(x.part.Type, "message/") {
		head = "Content-Type: " + x.part.Header.Get("Content-Type") + "\r\n\r\n"
	}
	if err := l.nested(x, head, x.file.Reader(), shaped); err != nil {
		return err
	}
	return l.nested(x, head, x.part.RawBody(), shaped)
}

// nested examines a message that consists of head and what r gives, and adds what is bad in it to the reasons of the
// file. Unless somebody says that it is a message, it does not count that it has several readings; where it is but a
// guess, only that counts which was found in it.
func (l *look) nested(x *exam, head string, r io.Reader, sure certainty) error {
	if err := l.budget.Enter(); err != nil {
		if sure != guessed {
			x.addInner(l.spent(err))
		}
		return nil
	}
	defer l.budget.Leave()
	if sure == guessed {
		l.guessing++
		defer func() { l.guessing-- }()
	}
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
		if inner.ambiguous != "" && l.ambiguous != passAmbiguous && sure == declared {
			x.addInner(l.classHit(unreadable, fmt.Sprintf("inside it, %s can be read in several ways: %s", inner.label(), inner.ambiguous)))
		}
		for _, h := range slices.Concat(inner.hits, inner.outside) {
			if sure == guessed && (h.class == unreadable || h.class == bomb && h.limit) || sure == shaped && h.class == unreadable && !h.limit {
				continue
			}
			h.why = fmt.Sprintf("inside it, %s: %s", inner.label(), h.why)
			x.addInner(h)
		}
	}
	return nil
}
