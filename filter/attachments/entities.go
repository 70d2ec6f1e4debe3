package attachments

import (
	"bytes"
	"io"
	"strings"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/mail"
)

// Some readers find the parts of a mail in any text: they go by the fields, wherever these stand. Bounces that quote a
// message as text have such parts, and so has what somebody hides behind a structure that the index does not see.
// Whatever looks like a field about content in a text is taken for one: the lines around it are the header, and what
// follows them is the body, up to a line that begins like a delimiter.

const (
	maxEntities   = 2000    // in all texts of one message
	entityHeader  = 4 << 10 // octets before and behind the field that may be its header
	entityMarker  = "content-"
	entityScanned = 256 << 10 // octets that are searched at a time
)

// openEntities looks for parts of a mail in a text.
func (l *look) openEntities(x *exam, f *archive.File) error {
	buf := make([]byte, min(f.Size(), entityScanned))
	for at := int64(0); at < f.Size(); {
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
		start := at + int64(i)
		at = start + int64(len(entityMarker))
		if !entityField(buf[:n], i) {
			continue
		}
		if l.entities++; l.entities > maxEntities {
			x.addInner(l.classHit(unreadable, "more parts of mails in texts than are looked at"))
			return nil
		}
		body, err := l.openEntity(x, f, start)
		if err != nil {
			return err
		}
		at = max(at, body)
	}
	return nil
}

// entityField reports whether a field about content begins a line at that place.
func entityField(b []byte, at int) bool {
	line := b[bytes.LastIndexByte(b[:at], '\n')+1 : at]
	if len(bytes.TrimLeft(line, " \t>")) > 0 {
		return false
	}
	for _, name := range []string{"content-transfer-encoding", "content-type", "content-disposition"} {
		if end := at + len(name); end <= len(b) && strings.EqualFold(string(b[at:end]), name) {
			return true
		}
	}
	return false
}

// indexFold finds s, in lower case and with a hyphen at its end, in b of whatever case.
func indexFold(b []byte, s string) int {
	for at := len(s) - 1; at < len(b); at++ {
		i := bytes.IndexByte(b[at:], '-')
		if i < 0 {
			return -1
		}
		at += i
		if from := at - len(s) + 1; strings.EqualFold(string(b[from:at]), s[:len(s)-1]) {
			return from
		}
	}
	return -1
}

// openEntity looks at the part of which a field stands at that offset, and gives the offset of its body.
func (l *look) openEntity(x *exam, f *archive.File, at int64) (int64, error) {
	from := max(0, at-entityHeader)
	before, err := f.Section(from, at-from).Head(int(at - from))
	if err != nil {
		return 0, err
	}
	behind, err := f.Section(at, entityHeader).Head(entityHeader)
	if err != nil {
		return 0, err
	}
	header, ended := headerLength(behind)
	head := entityFields(append(linesBefore(before), bytes.Split(behind[:header], []byte("\n"))...))
	starts := []int64{at + int64(header)}
	if !ended {
		// Some go on to the blank line, whatever stands before it.
		if blank, ok := blankLine(behind[header:]); ok {
			starts = append(starts, starts[0]+int64(blank))
		}
	}
	for _, body := range starts {
		end, err := l.entityEnd(f, body)
		if err != nil {
			return 0, err
		}
		if end > body {
			if err := l.nested(x, head+"\r\n", f.Section(body, end-body).Reader(), true); err != nil {
				return 0, err
			}
		}
	}
	return starts[0], nil
}

// blankLine finds what stands behind the first blank line.
func blankLine(b []byte) (end int, ok bool) {
	for end < len(b) {
		n := bytes.IndexByte(b[end:], '\n') + 1
		if n == 0 {
			return 0, false
		}
		blank := len(bytes.TrimSpace(b[end:end+n])) == 0
		if end += n; blank {
			return end, true
		}
	}
	return 0, false
}

// headerLength gives the length of a header that b begins with: up to and with a blank line, or up to a line that is
// neither a field nor folded; ended says which.
func headerLength(b []byte) (at int, ended bool) {
	for at < len(b) {
		n := bytes.IndexByte(b[at:], '\n') + 1
		if n == 0 {
			n = len(b) - at
		}
		line := bytes.TrimLeft(b[at:at+n], ">")
		switch name, _, field := bytes.Cut(line, []byte(":")); {
		case len(bytes.TrimSpace(line)) == 0:
			return at + n, true
		case at > 0 && line[0] != ' ' && line[0] != '\t' && (!field || bytes.ContainsAny(bytes.TrimSpace(name), " \t")):
			return at, false
		}
		at += n
	}
	return at, true
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

// openQuotedPrintable looks at a file as quoted-printable where it is full of escapes: some readers guess what a
// header does not say.
func (l *look) openQuotedPrintable(x *exam) error {
	const sample = 512
	head, err := x.file.Head(sample)
	if err != nil {
		return err
	}
	escapes := 0
	for rest := head; ; {
		i := bytes.IndexByte(rest, '=')
		if i < 0 || i+2 >= len(rest) {
			break
		}
		if unhex(rest[i+1]) >= 0 && unhex(rest[i+2]) >= 0 {
			escapes++
		}
		rest = rest[i+1:]
	}
	if escapes < 8 || escapes*20 < len(head) {
		return nil
	}
	return l.openAs(x, x.file, "quoted-printable")
}

// openUndeclared looks at a part without an encoding as base64 where it is nothing else, whatever its lines are like.
func (l *look) openUndeclared(x *exam) error {
	const sample = 512
	head, err := x.file.Head(sample)
	if err != nil {
		return err
	}
	foreign, blanks := 0, 0
	for _, c := range head {
		switch {
		case c == ' ' || c == '\t':
			blanks++
		case !inRun(c) && c != '=':
			foreign++
		}
	}
	if len(head) < 16 || foreign*10 > len(head) || blanks*50 > len(head) {
		return nil
	}
	return l.openAs(x, x.file, "base64")
}

// openAs looks at a file decoded by an encoding that is but a guess.
func (l *look) openAs(x *exam, file *archive.File, encoding string) error {
	f, problem, err := archive.Spool(l.ctx, mail.DecodeAs(file.Reader(), encoding), l.unlimited())
	if err == nil && problem != nil {
		_ = f.Close()
		err = problem
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	v := &inside{look: l, x: x, loose: true}
	if err := v.File(&archive.Entry{File: f, Size: f.Size()}); err != errEnough {
		return err
	}
	return nil
}

const (
	minRun   = 200      // characters of base64 that are decoded
	maxRuns  = 1000     // of one file
	runLimit = 32 << 20 // octets of a file that are searched
)

// openRuns looks at base64 that stands anywhere in HTML: in a comment, an attribute, a text of its own. A script can
// make a file of it.
func (l *look) openRuns(x *exam) error {
	b, ok, err := x.file.Bytes(runLimit)
	if err != nil {
		return err
	}
	if !ok {
		x.addInner(l.classHit(unreadable, "HTML that is too large to be searched"))
		return nil
	}
	for runs := 0; runs < maxRuns; runs++ {
		from, to := nextRun(b)
		if from < 0 {
			return nil
		}
		run := b[from:to]
		b = b[to:]
		if err := l.openAs(x, archive.NewFile(run), "base64"); err != nil {
			return err
		}
	}
	return nil
}

// nextRun finds the first run of at least minRun characters of base64 and line ends. It looks at every minRunth
// octet only, as long as that is none.
func nextRun(b []byte) (from, to int) {
	for i := minRun - 1; i < len(b); {
		if !inRun(b[i]) {
			i += minRun
			continue
		}
		from, to = i, i+1
		for from > 0 && inRun(b[from-1]) {
			from--
		}
		for to < len(b) && inRun(b[to]) {
			to++
		}
		if to-from >= minRun {
			return from, to
		}
		i = to + minRun - 1
	}
	return -1, -1
}

// inRun reports whether an octet may stand in base64.
func inRun(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '+' || c == '/' || c == '\r' || c == '\n'
}
