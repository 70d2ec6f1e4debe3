package text

import (
	"bytes"
	"strings"
)

// chunkBody cuts the decoded text of all parts of text, and of messages that were not looked into, in pieces.
func (m *Message) chunkBody() [][]byte {
	all := [][]byte{}
	limit := scan(m.opt.RawBodyScan, defaultRawBodyScan)
	for _, p := range m.Parts() {
		kind, _, _ := strings.Cut(p.Shown, "/")
		if kind != "text" && kind != "message" || p.Type == "text/calendar" {
			continue
		}
		b := p.Decoded()
		if len(b) > limit {
			m.known.cut(CutRaw)
		}
		all = appendChunks(all, cutRaw(b, limit))
	}
	return all
}

// cutRaw shortens a text to about limit octets.
func cutRaw(b []byte, limit int) []byte {
	if len(b) <= limit {
		return b
	}
	for _, c := range []byte("\n> ") {
		if n := bytes.IndexByte(b[limit:], c); n >= 0 && n <= 1024 {
			return b[:limit+n+1]
		}
	}
	return b[:limit]
}

// appendChunks cuts a text in pieces of maxLine to twice that, at a line end, else behind a tag, else behind a word.
func appendChunks(all [][]byte, b []byte) [][]byte {
	if len(b) <= maxLine {
		return append(all, b)
	}
	for len(b) > 2*maxLine {
		n := maxLine
		for _, c := range []byte("\n> ") {
			if k := bytes.IndexByte(b[maxLine:2*maxLine], c); k >= 0 {
				n = maxLine + k
				break
			}
		}
		all = append(all, b[:n+1:n+1])
		b = b[n+1:]
	}
	if len(b) > 0 {
		all = append(all, b)
	}
	return all
}
