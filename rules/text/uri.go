package text

import (
	"slices"
	"strings"
)

// URI is a URI that was found in a message, under the form in which it was found.
type URI struct {
	Raw      string   // as it was found, with a scheme where a text has none; of a DKIM signature "domainkeys:" and the domain
	Variants []string // Raw and what readers may take it for, each once: what rules of the kind uri see; none of a DKIM domain
	Hosts    []Host   // the hosts that the variants name, each once
	Host     string   // the name of the first of them, "" for none
	Domain   string   // the domain that is registered of it, "" for none
	Types    []string // where it was found: the name of an element, "parsed" (a text), "schemeless", "unlinked", "domainkeys"
	Anchors  []string // the texts of the links to it, each once

	odd Traits // what only its markup tells
}

// Host is a host that a URI names.
type Host struct {
	Name   string // in lower case, with A-labels; or an IP address
	Domain string // the domain of it that is registered, or the address
}

// Is reports whether the URI was found in such a place; see Types.
func (u *URI) Is(kind string) bool { return slices.Contains(u.Types, kind) }

// maxURIs is how many URIs of a message are told of.
const maxURIs = 5000

// maxURIOctets bounds the length of all variants together.
const maxURIOctets = 4 << 20

// maxAnchors is how many texts of links to one URI are.
const maxAnchors = 100

// uriList collects URIs.
type uriList struct {
	tlds       *TLDs
	redirector Redirector
	all        []URI
	at         map[string]int
	size       int // octets of all variants
	most       int // how many there may be
	octets     int // how many octets all variants may have
	truncated  bool
	left       bool // texts have more, which is nothing that SpamAssassin has a word for

	judged [8]judgedHost // the last that were met
	judges int           // how many were

	texts []string // room for those of URIs, so that few of them are a place of their own,
	hosts []Host   // and for their hosts
}

// stretch takes room for n values from what there is, and makes some more where that is too little.
func stretch[T any](from *[]T, n int) []T {
	const some = 8
	if len(*from) < n {
		*from = make([]T, max(n, some))
	}
	part := (*from)[:n:n]
	*from = (*from)[n:]
	return part
}

// judgedHost is what HostOf says of what stands in the place of a host. Most links of a message lead to few hosts.
type judgedHost struct {
	name string
	host Host
	ok   bool
}

// hostOf is HostOf.
func (l *uriList) hostOf(uri string) (h Host, ok bool) {
	name := hostIn(uri)
	for i := range min(l.judges, len(l.judged)) {
		if j := &l.judged[i]; j.name == name {
			return j.host, j.ok
		}
	}
	h.Name, h.Domain, ok = l.tlds.judge(name)
	l.judged[l.judges%len(l.judged)] = judgedHost{name, h, ok}
	l.judges++
	return h, ok
}

// full reports whether no other URI is taken.
func (l *uriList) full() bool { return len(l.all) >= l.most || l.size > l.octets }

// findURIs collects the URIs of a message: from the text, from HTML, from DKIM signatures.
func (m *Message) findURIs() *uriList {
	l := &uriList{tlds: m.opt.TLDs, redirector: m.opt.Redirector, at: make(map[string]int), most: maxURIs, octets: maxURIOctets}
	if l.tlds == nil {
		l.tlds = DefaultTLDs
	}
	l.addTexts(m.Body())
	for _, h := range m.HTML() {
		l.truncated = l.truncated || h.Truncated
		for i := range h.Links {
			l.addLink(&h.Links[i], h.chars)
		}
	}
	l.addSigners(m)
	if l.truncated || l.left {
		m.known.cut(CutLinks)
	}
	return l
}

// add adds a URI, if it is one; with named only one that names a host.
func (l *uriList) add(uri string, chars, named, variants bool, types ...string) *URI {
	i, known := l.at[uri]
	if !known && l.full() || l.size > l.octets {
		l.truncated = true
		return nil
	}
	none := stretch(&l.texts, 1)[:0]
	forms := append(none, uri)
	if variants {
		forms = variantsOf(none, uri, chars, l.tlds, l.redirector)
	}
	u := URI{Raw: uri}
	if known {
		u = l.all[i]
	}
	hosts, cut := len(u.Hosts), false
	for k, f := range forms {
		l.size += len(f)
		if len(f) > maxURI {
			f, l.truncated, cut = f[:maxURI], true, true
			forms[k] = f
		}
		if h, ok := l.hostOf(f); ok {
			hosts++
			if u.Hosts == nil {
				u.Hosts = stretch(&l.hosts, 1)[:0]
			}
			if !slices.Contains(u.Hosts, h) {
				u.Hosts = append(u.Hosts, h)
			}
			u.Host, u.Domain = u.Hosts[0].Name, u.Hosts[0].Domain
		}
	}
	if named && hosts == 0 {
		return nil
	}
	switch {
	case variants && !known && !cut:
		u.Variants = forms // each is there once
	case variants:
		for _, f := range forms {
			if !slices.Contains(u.Variants, f) {
				u.Variants = append(u.Variants, f)
			}
		}
	}
	if !known {
		u.Types = stretch(&l.texts, len(types))[:0]
	}
	for _, t := range types {
		if !slices.Contains(u.Types, t) {
			u.Types = append(u.Types, t)
		}
	}
	if !known {
		if l.all == nil {
			l.all = make([]URI, 0, 8)
		}
		i = len(l.all)
		l.at[uri] = i
		l.all = append(l.all, u)
	} else {
		l.all[i] = u
	}
	return &l.all[i]
}

// addTexts adds what stands in the text.
func (l *uriList) addTexts(lines [][]byte) {
	seen := make(map[string]struct{})
	for _, line := range lines {
		scanText(line, l.tlds, func(u textURI) {
			raw := trimText(u.raw)
			if _, ok := seen[string(raw)]; ok {
				return
			}
			if len(seen) >= maxURIs {
				l.left = true
				return
			}
			s := string(raw)
			seen[s] = struct{}{}
			if u.kind == foundMail && !strings.Contains(s, "@") || u.kind == foundHost && !isHostName(lowerText(string(u.host))) {
				return
			}
			l.addText(&u, s)
		})
	}
}

func (l *uriList) addText(u *textURI, raw string) {
	uri, schemed, linked, ok := u.complete(raw)
	if !ok {
		return
	}
	types := []string{"parsed", "unlinked", "schemeless"}
	switch {
	case schemed:
		types = types[:1]
	case linked:
		types = []string{"parsed", "schemeless"}
	}
	if hasPrefixFold(uri, "mailto:") {
		if hasPercent(uri) {
			uri = unescape(uri, false)
		}
		_, host, found := strings.Cut(uri, "@")
		if n := strings.IndexAny(host, "?&>"); n >= 0 {
			host = host[:n]
		}
		for strings.HasSuffix(host, "%20") {
			host = host[:len(host)-3]
		}
		if !found || !l.tlds.Valid(toASCII(host)) {
			return
		}
	}
	l.add(uri, false, true, true, types...)
}

// addLink adds what stands in HTML.
func (l *uriList) addLink(link *HTMLLink, chars bool) {
	types := link.Types
	if len(types) == 0 {
		types = []string{"parsed"}
	}
	u := l.add(link.URI, chars, false, true, types...)
	if u == nil {
		return
	}
	for _, a := range link.Anchors {
		if len(u.Anchors) < maxAnchors && !slices.Contains(u.Anchors, a) {
			u.Anchors = append(u.Anchors, a)
		}
	}
}

// addSigners adds the domains of DKIM signatures.
func (l *uriList) addSigners(m *Message) {
	for _, name := range []string{"DomainKey-Signature", "DKIM-Signature"} {
		for _, f := range m.content.Header().All(name) {
			for tag := range strings.SplitSeq(unfold(f), ";") {
				key, value, ok := strings.Cut(tag, "=")
				if ok && strings.Trim(key, asciiSpace) == "d" {
					d := strings.Map(dropSpace, value)
					l.add("domainkeys:"+d, false, true, false, "domainkeys", "nocanon", "noclean")
				}
			}
		}
	}
}

func dropSpace(r rune) rune {
	if r < 0x80 && spaceClass[byte(r)] != noSpace {
		return -1
	}
	return r
}

// strings gives the variants of all URIs, each once.
func (l *uriList) strings() [][]byte {
	if len(l.all) == 0 {
		return nil
	}
	n, octets := 0, 0
	for i := range l.all {
		for _, v := range l.all[i].Variants {
			n, octets = n+1, octets+len(v)
		}
	}
	all, room := make([][]byte, 0, n), make([]byte, 0, octets)
	seen := make(map[string]struct{}, n)
	for i := range l.all {
		for _, v := range l.all[i].Variants {
			if _, ok := seen[v]; !ok {
				seen[v] = struct{}{}
				from := len(room)
				room = append(room, v...)
				all = append(all, room[from:len(room):len(room)])
			}
		}
	}
	return all
}
