package attachments

import (
	"bytes"
	"io"
	"strings"

	"github.com/postern-mail/postern/internal/archive"
)

// Some readers find the parts of a mail in any text: they go by the fields, wherever these stand. Bounces that quote a
// message as text have such parts, and so has what somebody hides behind a structure that the index does not see.
// Whatever looks like a Content-Transfer-Encoding field in a text is taken for one: the lines around it are the
// header, and what follows the next blank line is the body, up to a line that begins like a delimiter.

const (
	maxEntities   = 50      // in one text
	entityHeader  = 4 << 10 // octets before and behind the field that may be its header
	entityMarker  = "content-transfer-encoding"
	entityScanned = 256 << 10 // octets that are searched at a time
)

// openEntities looks for parts of a mail in a text.
func (l *look) openEntities(x *exam, f *archive.File) error {
	buf := make([]byte, min(f.Size(), entityScanned))
	for at, found := int64(0), 0; at < f.Size() && found < maxEntities; {
		if err := l.ctx.Err(); err != nil {
			return err
		}
		n, err := f.ReadAt(buf, at)
		if err != nil && err != io.EOF {
			return err
		}
		if n < len(entityMarker) {
			return nil
		}
		i := indexFold(buf[:n], entityMarker)
		if i < 0 {
			at += int64(n - len(entityMarker) + 1)
			continue
		}
		found++
		if err := l.openEntity(x, f, at+int64(i)); err != nil {
			return err
		}
		at += int64(i + len(entityMarker))
	}
	return nil
}

// indexFold finds s, in lower case, in b of whatever case.
func indexFold(b []byte, s string) int {
	// "f" is rarer in mail than what stands before it, and in both cases looked for at the speed of memory.
	const pivot = "f"
	k := strings.Index(s, pivot)
	for at := k; at < len(b); {
		i := bytes.IndexAny(b[at:], "fF")
		if i < 0 {
			return -1
		}
		at += i
		if at-k+len(s) <= len(b) && strings.EqualFold(string(b[at-k:at-k+len(s)]), s) {
			return at - k
		}
		at++
	}
	return -1
}

// openEntity looks at the part whose field stands at that offset.
func (l *look) openEntity(x *exam, f *archive.File, at int64) error {
	from := max(0, at-entityHeader)
	before, err := f.Section(from, at-from).Head(int(at - from))
	if err != nil {
		return err
	}
	behind, err := f.Section(at, entityHeader).Head(entityHeader)
	if err != nil {
		return err
	}
	blank, size := blankLine(behind)
	if blank < 0 {
		return nil
	}
	head := entityFields(append(linesBefore(before), bytes.Split(behind[:blank], []byte("\n"))...))
	body := at + int64(blank+size)
	end, err := l.entityEnd(f, body)
	if err != nil || end == body {
		return err
	}
	return l.nested(x, head+"\r\n", f.Section(body, end-body).Reader(), true)
}

// blankLine finds the end of a header, and the length of the blank line there.
func blankLine(b []byte) (at, size int) {
	for at < len(b) {
		n := bytes.IndexByte(b[at:], '\n')
		if n < 0 {
			return -1, 0
		}
		if at > 0 && len(bytes.TrimSpace(b[at:at+n])) == 0 {
			return at, n + 1
		}
		at += n + 1
	}
	return -1, 0
}

// linesBefore gives the lines before a field that may belong to its header, up to one that begins like a delimiter.
// The last of them may be the beginning of the field's own line.
func linesBefore(b []byte) [][]byte {
	lines := bytes.Split(b, []byte("\n"))
	for i := len(lines) - 1; i >= 0; i-- {
		if bytes.HasPrefix(lines[i], []byte("--")) {
			lines = lines[i+1:]
			break
		}
	}
	return lines[:max(0, len(lines)-1)]
}

// entityFields makes a header of what looks like fields about content in some lines, and their folded lines.
func entityFields(lines [][]byte) string {
	var b strings.Builder
	inside := false
	for _, line := range lines {
		t := bytes.TrimLeft(bytes.TrimRight(line, "\r"), " \t>")
		switch {
		case len(t) > 8 && strings.EqualFold(string(t[:8]), "content-"):
			inside = true
		case inside && len(t) > 0 && (line[0] == ' ' || line[0] == '\t'):
			b.WriteByte(' ')
		default:
			inside = false
			continue
		}
		b.Write(t)
		b.WriteString("\r\n")
	}
	return b.String()
}

// entityEnd finds where the body at that offset ends.
func (l *look) entityEnd(f *archive.File, at int64) (int64, error) {
	buf := make([]byte, min(f.Size()-at, entityScanned))
	delimiter := []byte("\n--")
	for off := at; off < f.Size(); {
		if err := l.ctx.Err(); err != nil {
			return 0, err
		}
		n, err := f.ReadAt(buf, off)
		if err != nil && err != io.EOF {
			return 0, err
		}
		if i := bytes.Index(buf[:n], delimiter); i >= 0 {
			return off + int64(i), nil
		}
		if n < len(delimiter) || off+int64(n) >= f.Size() {
			break
		}
		off += int64(n - len(delimiter) + 1)
	}
	return f.Size(), nil
}
