package attachments

import (
	"fmt"
	"slices"
	"strings"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/mail/charset"
)

// Readers hand out texts converted to UTF-8. What is a text in the octets of the message may be a program then, or
// hold a file: so a text in a charset in which ASCII is not written as ASCII is looked at as what it becomes, too.
// The same goes for what readers drop in front of a text. That a text is in such a charset says nothing against it.

// conversionLimit is how many octets of a text are converted.
const conversionLimit = 16 << 20

// conversion is what a reader makes of a text.
type conversion struct {
	how  string // for people
	file *archive.File
}

// readConverted looks at a text as what readers make of it that convert its charset.
func (l *look) readConverted(x *exam) error {
	files, err := l.converted(x)
	defer func() {
		for _, c := range files {
			_ = c.file.Close()
		}
	}()
	if err != nil {
		return err
	}
	for _, c := range files {
		inner := &exam{file: c.file, size: c.file.Size(), names: x.names, types: x.types, body: x.body}
		if err := l.detect(inner); err != nil {
			return err
		}
		if err := l.open(inner); err != nil {
			return err
		}
		if inner.kind.class == x.kind.class {
			inner.kind = kind{}
		}
		inner.names, inner.types = nil, nil // they were judged
		l.judge(inner)
		for _, h := range inner.hits {
			h.why = "read as " + c.how + ", " + h.why
			x.addInner(h)
		}
	}
	return nil
}

// converted gives what readers make of a text that differs from its octets by more than what is not ASCII.
func (l *look) converted(x *exam) (files []conversion, err error) {
	if !slices.ContainsFunc(x.types, func(t string) bool { return strings.HasPrefix(t, "text/") }) || x.file.Size() == 0 {
		return nil, nil
	}
	head, err := x.file.Head(headSize)
	if err != nil {
		return nil, err
	}
	if n := markLength(head); n > 0 {
		files = append(files, conversion{"a text behind marks of its charset", x.file.Section(int64(n), x.file.Size()-int64(n))})
	}
	charsets, all := x.part.Charsets()
	if !all {
		x.addInner(l.classHit(unreadable, "it declares more charsets than are looked at"))
	}
	var done []string
	for _, name := range append(charsets, charset.Marked(head)...) {
		for _, c := range charset.Of(name).Conversions() {
			if slices.Contains(done, c.Name) {
				continue
			}
			done = append(done, c.Name)
			f, err := l.convert(x, c)
			if err != nil {
				return files, err
			}
			files = append(files, conversion{c.Name, f})
			head, err := f.Head(headSize)
			if err != nil {
				return files, err
			}
			if n := markLength(head); n > 0 {
				files = append(files, conversion{c.Name, f.Section(int64(n), f.Size()-int64(n))})
			}
		}
	}
	return files, nil
}

// convert makes one conversion.
func (l *look) convert(x *exam, c charset.Conversion) (*archive.File, error) {
	from := x.file
	if from.Size() > conversionLimit {
		x.addInner(l.classHit(unreadable, fmt.Sprintf("a text in %s that is too large to be converted", c.Name)))
		from = from.Section(0, conversionLimit)
	}
	f, problem, err := archive.Spool(l.ctx, c.Reader(from.Reader()), l.unlimited())
	if err == nil && problem != nil {
		x.addInner(l.classHit(unreadable, fmt.Sprintf("it is no text in %s: %s", c.Name, problem)))
	}
	return f, err
}

// markLength gives the length of what readers drop in front of a text: byte order marks in UTF-8, of either order, and
// the shifts and designations of ISO-2022 and HZ that choose single octets or choose nothing yet. Behind those that
// choose pairs of octets, the octets are pairs to all who know them.
func markLength(head []byte) int {
	n := 0
	for {
		rest := head[n:]
		size := charset.EscapeLength(rest)
		switch {
		case size == 3 && rest[1] != '$', size == 4:
		case begins(rest, "\xef\xbb\xbf"), begins(rest, "\xef\xbf\xbe"):
			size = 3
		case begins(rest, "\x0f"):
			size = 1
		case begins(rest, "~\n"), begins(rest, "~}"):
			size = 2
		case begins(rest, "~{~}"), begins(rest, "\x84\x31\x95\x33"):
			size = 4
		case begins(rest, "~\r\n"):
			size = 3
		default:
			return n
		}
		n += size
	}
}
