package text

import (
	"bytes"
	"strings"
)

// findURIs collects the URIs in the attributes of a start tag.
func (r *renderer) findURIs(id uint8, attrs []attribute) {
	push := func(v []byte, ok bool) {
		if ok {
			r.push(id, v)
		}
	}
	switch id {
	case tagBody, tagTable, tagTR, tagTD:
		push(r.value(attrs, "background"))
	case tagA, tagArea, tagLink:
		push(r.href(attrs))
		push(r.value(attrs, "data-saferedirecturl"))
	case tagForm:
		push(r.value(attrs, "action"))
	case tagBase:
		if v, ok := r.value(attrs, "href"); ok && len(v) > 0 {
			r.setBase(v)
		}
	case tagMeta:
		r.findRefresh(attrs)
	default:
		push(r.slashed(attrs, "src"))
	}
}

// href gives where a link leads. A byte order mark in it does not count.
func (r *renderer) href(attrs []attribute) ([]byte, bool) {
	v, ok := r.slashed(attrs, "href")
	if bytes.Contains(v, []byte("\ufeff")) {
		v = bytes.ReplaceAll(v, []byte("\ufeff"), nil)
	}
	return v, ok
}

// slashed gives the value of an attribute, also where a name and a slash stand before its own.
func (r *renderer) slashed(attrs []attribute, name string) ([]byte, bool) {
	for i := range attrs {
		n := attrs[i].name
		for k := 1; k+len(name) < len(n); k++ {
			if n[k] == '/' && isWord(n[k-1]) && equalFold(n[k+1:k+1+len(name)], name) {
				return r.decode(attrs[i].value), true
			}
		}
	}
	return r.value(attrs, name)
}

// setBase takes note of a base, to which other links are relative if it is absolute.
func (r *renderer) setBase(v []byte) {
	uri := r.canonical(v)
	r.push(tagBase, v)
	low := strings.ToLower(uri[:min(len(uri), 8)])
	if !strings.HasPrefix(low, "http:") && !strings.HasPrefix(low, "https:") && !strings.HasPrefix(low, "ftp:") {
		return
	}
	// The name of a file at its end is none of it.
	scheme := strings.IndexByte(uri, ':') + 1
	path := scheme
	for path < len(uri) && path < scheme+2 && uri[path] == '/' {
		path++
	}
	if slash := strings.IndexByte(uri[path:], '/'); slash > 0 {
		if last := strings.LastIndexByte(uri, '/'); isFileName(uri[last+1:]) {
			uri = uri[:last+1]
		}
	}
	if !strings.HasSuffix(uri, "/") {
		uri += "/"
	}
	r.base = uri
}

// isFileName reports whether s is a name with an ending of two to four characters.
func isFileName(s string) bool {
	name, ending, ok := strings.Cut(s, ".")
	return ok && name != "" && len(ending) >= 2 && len(ending) <= 4 && !strings.Contains(ending, ".")
}

// findRefresh finds the page to which a meta element leads on.
func (r *renderer) findRefresh(attrs []attribute) {
	equiv, ok := r.value(attrs, "http-equiv")
	content, has := r.value(attrs, "content")
	if !ok || !has || !bytes.Contains(bytes.ToLower(equiv), []byte("refresh")) {
		return
	}
	low := bytes.ToLower(content)
	at := -1
	for i := 0; i+4 <= len(low); i++ {
		if bytes.HasPrefix(low[i:], []byte("url")) && (i == 0 || !isWord(low[i-1])) {
			if rest := bytes.TrimLeft(low[i+3:], asciiSpace); len(rest) > 0 && rest[0] == '=' {
				at = len(low) - len(rest) + 1
			}
		}
	}
	if at < 0 || len(low) != len(content) {
		return
	}
	uri := bytes.TrimLeft(content[at:], asciiSpace)
	uri, _, _ = bytes.Cut(uri, []byte(";"))
	r.push(tagMeta, bytes.TrimRight(uri, asciiSpace))
}

// canonical drops the white space around a URI, and what is too long of it.
func (r *renderer) canonical(b []byte) string {
	b = bytes.Trim(b, asciiSpace+"\u00a0")
	if len(b) > maxURI && countRunes(b) > maxURI {
		r.h.Truncated = true
		t := text{utf8: b}
		b = b[:t.offset(maxURI)]
	}
	return string(b)
}

// link gives the number of the link to a URI, which it makes where there is none.
func (r *renderer) link(uri string) int {
	i, ok := r.links[uri]
	if !ok {
		i = len(r.h.Links)
		r.links[uri] = i
		r.linkSize += len(uri)
		r.h.Links = append(r.h.Links, HTMLLink{URI: uri})
	}
	return i
}

// push adds a URI that stands in an element.
func (r *renderer) push(id uint8, v []byte) {
	uri := r.canonical(v)
	if uri == "" {
		return
	}
	if len(r.h.Links) >= maxTexts || r.linkSize > maxURIOctets/2 {
		r.h.Truncated = true
		return
	}
	if !isOpaque(uri) {
		if uri = resolve(r.base, uri); uri == "" {
			return
		}
	}
	l := &r.h.Links[r.link(uri)]
	for _, t := range l.Types {
		if t == tags[id].name {
			return
		}
	}
	l.Types = append(l.Types, tags[id].name)
}

// isOpaque reports whether a URI is one that is not relative to anything.
func isOpaque(uri string) bool {
	scheme, _, ok := strings.Cut(uri[:min(len(uri), 8)], ":")
	if !ok {
		return false
	}
	for _, s := range []string{"data", "mailto", "file", "cid", "tel"} {
		if strings.EqualFold(scheme, s) {
			return true
		}
	}
	return false
}

// reference parts of a URI (RFC 3986 4.1); has tells which are there, be they empty.
type uriParts struct {
	scheme, authority, path, query, fragment       string
	hasScheme, hasAuthority, hasQuery, hasFragment bool
}

// cutURI cuts a URI as RFC 3986 B does.
func cutURI(s string) (u uriParts) {
	s, u.fragment, u.hasFragment = strings.Cut(s, "#")
	u.fragment, _, _ = strings.Cut(u.fragment, "\n") // what SpamAssassin reads of it
	s, u.query, u.hasQuery = strings.Cut(s, "?")
	if n := strings.IndexAny(s, ":/"); n > 0 && s[n] == ':' {
		u.scheme, s, u.hasScheme = s[:n], s[n+1:], true
	}
	if rest, ok := strings.CutPrefix(s, "//"); ok {
		n := strings.IndexByte(rest, '/')
		if n < 0 {
			n = len(rest)
		}
		u.authority, s, u.hasAuthority = rest[:n], rest[n:], true
	}
	u.path = s
	return u
}

// resolve gives the URI that a reference names (RFC 3986 5.2.2, without being strict). A name without a scheme that begins
// with www or ftp gets one.
func resolve(base, ref string) string {
	if base == "" && isWhole(ref) {
		return ref
	}
	return resolveParts(cutURI(base), cutURI(ref))
}

func resolveParts(b, u uriParts) string {
	if u.hasScheme && b.hasScheme && u.scheme == b.scheme {
		u.hasScheme = false
	}
	switch {
	case u.hasScheme:
		u.path = dropDots(u.path)
	default:
		switch {
		case u.hasAuthority:
			u.path = dropDots(u.path)
		case u.path == "":
			u.path = b.path
			if !u.hasQuery {
				u.query, u.hasQuery = b.query, b.hasQuery
			}
			u.authority, u.hasAuthority = b.authority, b.hasAuthority
		default:
			if u.path[0] != '/' {
				u.path = mergePath(b, u.path)
			}
			u.path = dropDots(u.path)
			u.authority, u.hasAuthority = b.authority, b.hasAuthority
		}
		u.scheme, u.hasScheme = b.scheme, b.hasScheme
	}
	return u.String()
}

// isWhole reports whether a reference is a URI of the web that stays what it is: there are no segments to remove in its path.
func isWhole(ref string) bool {
	rest, ok := strings.CutPrefix(ref, "http://")
	if !ok {
		rest, ok = strings.CutPrefix(ref, "https://")
	}
	return ok && !strings.Contains(rest, "/.") && strings.IndexByte(rest, '\n') < 0
}

// mergePath puts a relative path behind the base's (RFC 3986 5.2.3).
func mergePath(b uriParts, path string) string {
	if b.hasAuthority && (b.path == "" || b.path == "0") {
		return "/" + path
	}
	return b.path[:strings.LastIndexByte(b.path, '/')+1] + path
}

// dropDots removes the segments "." and ".." (RFC 3986 5.2.4).
func dropDots(in string) string {
	if !strings.Contains(in, ".") {
		return in
	}
	var out []byte
	if rest, ok := strings.CutPrefix(in, "../"); ok {
		in = "/" + rest
	} else if rest, ok := strings.CutPrefix(in, "./"); ok {
		in = "/" + rest
	}
	for in != "" && in != "0" {
		switch {
		case in == "/." || strings.HasPrefix(in, "/./"):
			in = "/" + strings.TrimPrefix(in[2:], "/")
		case in == "/.." || strings.HasPrefix(in, "/../"):
			in = "/" + strings.TrimPrefix(in[3:], "/")
			out = out[:max(0, bytes.LastIndexByte(out, '/'))]
		default:
			n := 0
			if in[0] == '/' {
				n = 1
			}
			if k := strings.IndexByte(in[n:], '/'); k >= 0 {
				n += k
			} else {
				n = len(in)
			}
			out = append(out, in[:n]...)
			in = in[n:]
		}
	}
	return string(out)
}

// String puts the parts together.
func (u uriParts) String() string {
	var s strings.Builder
	switch low := strings.ToLower(u.authority[:min(len(u.authority), 8)]); {
	case u.hasScheme && u.scheme != "" && u.scheme != "0":
		s.WriteString(u.scheme + ":")
	case u.hasAuthority && startsHost(low, "www"):
		s.WriteString("http:")
	case u.hasAuthority && startsHost(low, "ftp"):
		s.WriteString("ftp:")
	}
	if u.hasAuthority {
		s.WriteString("//" + u.authority)
	}
	s.WriteString(u.path)
	if u.hasQuery {
		s.WriteString("?" + u.query)
	}
	if u.hasFragment {
		s.WriteString("#" + u.fragment)
	}
	return s.String()
}

// startsHost reports whether a host begins with a word, digits and a dot.
func startsHost(host, word string) bool {
	rest, ok := strings.CutPrefix(host, word)
	return ok && strings.HasPrefix(strings.TrimLeft(rest, "0123456789"), ".")
}
