package attachments

import (
	"bytes"
	"io"
	"slices"
	"strings"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/mail"
)

// Some readers find the parts of a mail in any text: they go by the fields, wherever these stand. Bounces that quote a
// message as text have such parts, and so has what somebody hides behind a structure that the index does not see.
// Whatever looks like a field about content in a text is taken for one: the lines around it are the header, and what
// follows them is the body, up to a line that begins like a delimiter or another message. Texts about mail and logs are
// full of such fields: only those count that say of an encoding, or of a name.

const (
	maxEntities   = 2000     // in all texts of one message
	entityHeader  = 32 << 10 // octets before and behind the field that may be its header
	entityLines   = 30       // lines before the field that may be of its header
	entityPlain   = 1 << 10  // octets of a body that is not encoded: its name is what counts
	entityMarker  = "content-"
	entityScanned = 256 << 10 // octets that are searched at a time
)

// openEntities looks for parts of a mail in a text. What is but a guess itself is part of a text that is searched.
func (l *look) openEntities(x *exam, f *archive.File) error {
	if l.guessing > 0 && (x.part == nil || !x.part.Encoded()) {
		return nil
	}
	buf := make([]byte, min(f.Size(), entityScanned))
	for at := int64(0); at < f.Size(); {
		if err := l.ctx.Err(); err != nil {
			return err
		}
		n, err := f.ReadAt(buf, at)
		if err != nil && err != io.EOF {
			return err
		}
		window, next := buf[:n], max(n-entityHeader, 1)
		if at+int64(n) >= f.Size() {
			next = n
		}
		for from := 0; ; {
			i := indexFold(window[from:], entityMarker)
			if i < 0 || from+i >= next {
				break
			}
			i += from
			from = i + len(entityMarker)
			if !entityField(window, i) {
				continue
			}
			body, err := l.openEntity(x, f, at, window, i)
			if err != nil {
				return err
			}
			if l.entities > maxEntities {
				x.addInner(l.classHit(unreadable, "more parts of mails in texts than are looked at"))
				return nil
			}
			from = min(max(from, body), len(window))
		}
		at += int64(next)
	}
	return nil
}

// entityField reports whether a field about content begins a line at that place.
func entityField(b []byte, at int) bool {
	line := b[bytes.LastIndexByte(b[:at], '\n')+1 : at]
	if len(bytes.TrimLeft(line, " \t")) > 0 {
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

// openEntity looks at the part of which a field stands at i in a window of the file, which begins at that offset. It
// gives the place of the body in the window.
func (l *look) openEntity(x *exam, f *archive.File, at int64, window []byte, i int) (body int, err error) {
	behind := window[i:min(len(window), i+entityHeader)]
	header, ended := headerLength(behind)
	body = i + header
	head := entityFields(append(linesBefore(window[max(0, i-entityHeader):i]), bytes.Split(behind[:header], []byte("\n"))...))
	encoded, named := saysOf(head)
	if !encoded && !named {
		return body, nil
	}
	l.entities++
	starts := []int64{at + int64(body)}
	if !ended {
		// Some go on to the blank line, whatever stands before it.
		if blank, ok := blankLine(behind[header:]); ok {
			starts = append(starts, starts[0]+int64(blank))
		}
	}
	for _, start := range starts {
		end := min(f.Size(), start+entityPlain)
		if encoded {
			if end, err = l.entityEnd(f, start); err != nil {
				return 0, err
			}
		}
		if end > start {
			if err := l.nested(x, head+"\r\n", f.Section(start, end-start).Reader(), guessed); err != nil {
				return 0, err
			}
		}
	}
	return body, nil
}

// saysOf reports whether a header says that the body is encoded, or gives it a name.
func saysOf(head string) (encoded, named bool) {
	head = strings.ToLower(head)
	for _, e := range []string{"base64", "base-64", "quoted", "uu"} {
		encoded = encoded || strings.Contains(head, e)
	}
	return encoded, strings.Contains(head, "name") || strings.Contains(head, "file")
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
		line := b[at : at+n]
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
func linesBefore(b []byte) (lines [][]byte) {
	b = b[:bytes.LastIndexByte(b, '\n')+1]
	for len(b) > 0 && len(lines) < entityLines {
		from := bytes.LastIndexByte(b[:len(b)-1], '\n') + 1
		if bytes.HasPrefix(b[from:], []byte("--")) {
			break
		}
		lines = append(lines, b[from:len(b)-1])
		b = b[:from]
	}
	slices.Reverse(lines)
	return lines
}

// entityFields makes a header of what looks like fields about content in some lines, and their folded lines.
func entityFields(lines [][]byte) string {
	var b strings.Builder
	inside := false
	for _, line := range lines {
		t := bytes.TrimLeft(bytes.TrimRight(line, "\r"), " \t")
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
	const longest = len("\nFrom ")
	for off := at; off < f.Size(); {
		if err := l.ctx.Err(); err != nil {
			return 0, err
		}
		n, err := f.ReadAt(buf, off)
		if err != nil && err != io.EOF {
			return 0, err
		}
		end := -1
		for _, mark := range []string{"\n--", "\nFrom "} {
			if i := bytes.Index(buf[:n], []byte(mark)); i >= 0 && (end < 0 || i < end) {
				end = i
			}
		}
		if end >= 0 {
			return off + int64(end), nil
		}
		if n < longest || off+int64(n) >= f.Size() {
			break
		}
		off += int64(n - longest + 1)
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
