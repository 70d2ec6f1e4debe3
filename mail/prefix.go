package mail

import (
	"mime"
	"strings"
)

// Prefixed gives the body of an unstructured field (RFC 5322 2.2.1) such as Subject with a word before what stands there,
// for ReplaceField. What stands there keeps its octets and folds, but for folds of which some readers make the end of the
// header. A word that is not ASCII becomes an encoded word (RFC 2047). It gives "" where readers see the word already, near
// the start: a reply to a message with it is not to gather them.
func (f Field) Prefixed(word string) string {
	unfolded := f.Body()
	if f.Name == "" || strings.Contains(start(DecodeWords(unfolded)), word) {
		return ""
	}
	if shown := mime.QEncoding.Encode("utf-8", word+" "); shown != word+" " {
		// RFC 2047 6.2: a blank between two encoded words is not shown, so that ours stands inside.
		word = shown
	}
	_, raw, _ := strings.Cut(f.Raw, ":")
	raw = strings.TrimSuffix(strings.TrimLeft(raw, " \t"), "\r\n")
	body := word + " " + raw
	switch first, _, _ := strings.Cut(raw, "\r\n"); {
	case raw == "":
		body = word
	case first == "":
		body = word + raw
	case len(f.Name)+len(": ")+len(word)+1+len(first) > 78: // RFC 5322 2.1.1
		body = word + "\r\n " + raw
	}
	if checkBody(body) == nil {
		return body
	}
	return f.folded(append([]string{word}, strings.Fields(unfolded)...))
}

// Unprefixed gives the body of a field without the word that Prefixed has put before what stood there; false where it does not
// begin with that. What may be nothing else than the word gives "".
func (f Field) Unprefixed(word string) (body string, ok bool) {
	_, raw, _ := strings.Cut(f.Raw, ":")
	raw = strings.TrimSpace(raw)
	rest, ok := cutWord(raw, strings.TrimSpace(mime.QEncoding.Encode("utf-8", word+" ")))
	if !ok { // a server on the way has encoded it anew
		if rest, ok = cutWord(strings.TrimSpace(DecodeWords(f.Body())), word); ok {
			rest = strings.ReplaceAll(mime.QEncoding.Encode("utf-8", rest), "?= =?", "?=\r\n =?")
		}
	}
	if !ok || word == "" || checkBody(rest) == nil {
		return rest, ok && word != ""
	}
	return f.folded(strings.Fields(rest)), true
}

// cutWord takes a word and the white space behind it from the beginning of a text.
func cutWord(s, word string) (rest string, ok bool) {
	if rest, ok = strings.CutPrefix(s, word); !ok {
		return s, false
	}
	trimmed := strings.TrimLeft(rest, " \t\r\n")
	return trimmed, rest == "" || len(trimmed) < len(rest)
}

// folded puts words into lines.
func (f Field) folded(words []string) string {
	lines := NewFolder(f.Name)
	for _, w := range words {
		lines.Word(w)
	}
	return strings.TrimLeft(lines.String(), " ")
}

// startOctets is how much of a subject lists of messages show in any case.
const startOctets = 70

// start gives the start of a text as lists of messages show it.
func start(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	return text[:min(len(text), startOctets)]
}
