package dkim

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/postern-mail/postern/mail"
)

// The library joins continuation lines one by one and looks through all fields for each name in h=: its work
// grows with the square of what a header holds (two megabytes of folds take a minute). So the header is
// measured first, here, in the library's own reading of it, and one beyond these bounds is not given to it.
const (
	maxHeaderOctets  = 128 << 10
	maxContinuations = 500  // lines of one field
	maxFields        = 1000 // of one header
	maxSignedNames   = 200  // in h= of one signature
	maxSignatures    = 50   // reported of one message; those beyond are not even looked at
)

// header is what the library would find before the first blank line.
type header struct {
	signatures    []signature // in the order of their fields
	fields        int
	continuations int    // of the field that has most
	signedNames   int    // of the signature that has most
	cut           bool   // the end was not found within maxHeaderOctets
	missing       string // what must follow the content for its header to end at all
}

// signature is a DKIM-Signature field.
type signature struct{ tags map[string]string }

// excess says in what the header passes the bounds, and "" if it keeps them.
func (h *header) excess() string {
	switch {
	case h.cut:
		return fmt.Sprintf("the header has more than %d octets", maxHeaderOctets)
	case h.continuations > maxContinuations:
		return fmt.Sprintf("a header field has more than %d lines", maxContinuations)
	case h.fields > maxFields:
		return fmt.Sprintf("the header has more than %d fields", maxFields)
	case h.signedNames > maxSignedNames:
		return fmt.Sprintf("a signature names more than %d fields", maxSignedNames)
	}
	return ""
}

func scanHeader(blob *mail.Blob) (*header, error) {
	size := min(blob.Size(), maxHeaderOctets)
	if all, ok := blob.Bytes(); ok {
		return readBegin(all[:size], blob.Size()), nil
	}
	raw := make([]byte, size)
	if n, err := blob.ReadAt(raw, 0); n < len(raw) && !errors.Is(err, io.EOF) {
		return nil, err
	} else if n < len(raw) {
		return nil, io.ErrUnexpectedEOF
	}
	return readBegin(raw, blob.Size()), nil
}

// readBegin reads the header from the first octets of a content of the given size.
func readBegin(raw []byte, size int64) *header {
	h := readHeader(raw)
	h.cut = h.missing != "" && size > int64(len(raw))
	return h
}

// readHeader splits raw into fields as the library does: a line ends with LF, with or without CR; one that begins
// with a blank continues the field before it; an empty one ends the header.
func readHeader(raw []byte) *header {
	h := &header{}
	lines, start := 0, 0 // of the current field
	end := func(at int) {
		if lines > 0 {
			h.add(raw[start:at], lines)
		}
	}
	pos := 0
	for pos < len(raw) {
		n := bytes.IndexByte(raw[pos:], '\n')
		next := pos + n + 1
		if n < 0 {
			next = len(raw)
		}
		line := bytes.TrimSuffix(bytes.TrimSuffix(raw[pos:next], []byte("\n")), []byte("\r"))
		if len(line) == 0 && n >= 0 {
			end(pos)
			return h
		}
		if lines > 0 && len(line) > 0 && (line[0] == ' ' || line[0] == '\t') {
			lines++
		} else {
			end(pos)
			start, lines = pos, 1
		}
		pos = next
	}
	end(len(raw))
	// RFC 5322 3.5: the blank line and the body are optional. The library wants the former.
	h.missing = "\r\n"
	if !bytes.HasSuffix(raw, []byte("\n")) && len(raw) > 0 {
		h.missing = "\r\n\r\n"
	}
	return h
}

func (h *header) add(field []byte, lines int) {
	h.fields++
	h.continuations = max(h.continuations, lines-1)
	name, body, _ := bytes.Cut(field, []byte(":"))
	if !strings.EqualFold(string(bytes.TrimSpace(name)), "DKIM-Signature") || len(h.signatures) == maxSignatures {
		return
	}
	s := signature{tags: parseTags(string(body))}
	h.signedNames = max(h.signedNames, strings.Count(s.tags["h"], ":")+1)
	h.signatures = append(h.signatures, s)
}

// maxTags bounds the tags that are read of one signature; RFC 6376 knows fourteen.
const maxTags = 64

// blanks are what folding may put into a list (RFC 6376 2.8), which knows no others.
const blanks = " \t\r\n"

// parseTags reads a tag list (RFC 6376 3.2) for what is reported of a signature; what it is worth the library
// says. It takes what it can: of a tag that stands twice the first counts, and what is no tag is passed over.
// All white space goes out of the values, as none of the tags of interest may hold any.
func parseTags(list string) map[string]string {
	tags := map[string]string{}
	for spec := range strings.SplitSeq(list, ";") {
		name, value, ok := strings.Cut(spec, "=")
		name = strings.Trim(name, blanks)
		if _, twice := tags[name]; !ok || name == "" || twice {
			continue
		}
		if len(tags) == maxTags {
			break
		}
		tags[name] = strings.Join(strings.FieldsFunc(value, func(r rune) bool { return strings.ContainsRune(blanks, r) }), "")
	}
	return tags
}
