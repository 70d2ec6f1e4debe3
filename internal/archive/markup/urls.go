package markup

import (
	"bytes"
	"regexp"
	"strings"
)

// executes are the schemes of URLs that are script.
var executes = map[string]bool{"javascript": true, "vbscript": true, "livescript": true, "mocha": true, "jscript": true}

// schemeOf gives the scheme of a URL in lower case, as browsers read it: white space and control characters are
// left out (WHATWG URL 4.4).
func schemeOf(url string) string {
	var scheme []byte
	for i := 0; i < len(url) && len(scheme) < 24; i++ {
		c := url[i]
		switch {
		case c <= ' ':
		case c == ':':
			return string(scheme)
		case c >= 'A' && c <= 'Z':
			scheme = append(scheme, c|0x20)
		case c >= 'a' && c <= 'z', c == '-', c == '+', c == '.', c >= '0' && c <= '9':
			scheme = append(scheme, c)
		default:
			return ""
		}
	}
	return ""
}

// idle reports whether a link is one that does nothing: pages have them where a script of theirs does the rest.
func idle(url string) bool {
	_, code, _ := strings.Cut(url, ":")
	switch strings.Join(strings.Fields(strings.TrimRight(code, "; \t\r\n")), "") {
	case "", "void(0)", "void0", "//", "#", "returnfalse", "void(null)", "undefined", "void('0')":
		return true
	}
	return false
}

// dataBegin is how a data URL goes on behind its scheme, up to the data (RFC 2397).
var dataBegin = regexp.MustCompile(`^(?i)([a-z0-9.+*-]+/[a-z0-9.+*-]+)?((?:;[a-z0-9._+-]+(?:=[^,;"'()<>]{0,200})?)*),`)

// maxBegin is how long that may be.
const maxBegin = 1024

// dataURLBegin finds a data URL: where its data begin, and what is said of them.
func dataURLBegin(text []byte) (at int, m [][]byte) {
	for pos := 0; ; {
		i := bytes.IndexByte(text[pos:], ':')
		if i < 0 {
			return -1, nil
		}
		pos += i + 1
		if !bytes.EqualFold(text[max(0, pos-5):pos-1], []byte("data")) {
			continue
		}
		if m := dataBegin.FindSubmatch(text[pos:min(len(text), pos+maxBegin)]); m != nil {
			return pos + len(m[0]), m
		}
	}
}

// dataURL gives the content of an attribute that is a data URL as a whole.
func (w *walker) dataURL(url string, names []string) error {
	clean := []byte(strings.TrimLeft(url, " \t\r\n\f\x00"))
	if at, m := dataURLBegin(clean); m != nil && at == len("data:")+len(m[0]) {
		return w.giveMatch(m, clean[at:], names)
	}
	// Not as it should be, but browsers go by the comma.
	head, rest, ok := bytes.Cut(clean, []byte(","))
	if !ok {
		return nil
	}
	return w.giveData("", bytes.Contains(bytes.ToLower(head), []byte("base64")), rest, names)
}

// dataURLs gives the contents of all data URLs in a text, each up to what can't be part of it.
func (w *walker) dataURLs(text []byte, names []string) error {
	for {
		at, m := dataURLBegin(text)
		if m == nil || w.contents > maxContents {
			return nil
		}
		text = text[at:]
		stop := bytes.IndexAny(text, "\"'`)<> \t\r\n")
		if stop < 0 {
			stop = len(text)
		}
		if err := w.giveMatch(m, text[:stop], names); err != nil {
			return err
		}
		text = text[stop:]
	}
}

// giveMatch gives the content of a data URL that dataBegin has found.
func (w *walker) giveMatch(m [][]byte, data []byte, names []string) error {
	kind, params := strings.ToLower(string(m[1])), string(m[2])
	for p := range strings.SplitSeq(params, ";") {
		if key, value, ok := strings.Cut(p, "="); ok && strings.Contains(strings.ToLower(key), "name") {
			names = append([]string{unpercent(value)}, names...)
		}
	}
	coded := strings.Contains(strings.ToLower(params), ";base64")
	return w.giveData(kind, coded, data, names)
}

// giveData gives the content of a data URL.
func (w *walker) giveData(kind string, coded bool, data []byte, names []string) error {
	if len(data) == 0 || w.seen([]byte("data"), data) {
		return nil
	}
	data = bytes.Clone(data) // the tokenizer takes its buffer back
	c := content{names: names, mediaType: kind}
	if coded {
		if bytes.IndexByte(data, '%') >= 0 {
			data = []byte(unpercent(string(data)))
		}
		c.open = base64Of(data)
	} else {
		c.open = octetsOf([]byte(unpercent(string(data))))
	}
	return w.give(c)
}

// unpercent decodes what is percent-encoded, and leaves the rest.
func unpercent(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if h, l := hexDigit(s[i+1]), hexDigit(s[i+2]); h >= 0 && l >= 0 {
				out = append(out, byte(h<<4|l))
				i += 2
				continue
			}
		}
		out = append(out, s[i])
	}
	return string(out)
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}
