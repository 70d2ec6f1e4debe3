package text

import (
	"maps"
	"slices"
	"strings"
)

// Links gives the URIs of the message and the links that only mail clients and browsers find: those in parts that SpamAssassin
// does not render, in conditional comments, behind markup or signs that it reads in another way. It begins with URIs; see
// Traits for what is odd about one. Rules of stock rule sets do not see them. Each page has a share of its own of how many there may
// be, so that many links in one part hide none in another.
func (m *Message) Links() []URI { return m.links().all }

// linkFinder adds to the URIs what only browsers find. The list is copied when the first such is met.
type linkFinder struct {
	list     *uriList
	own      bool
	short    bool                // URIs are left out of what it begins with
	cut      bool                // links are left out
	variants map[string]struct{} // of all that is in the list
	parts    int                 // that have links of their own
}

// findLinks collects all links.
func (m *Message) findLinks() *uriList {
	f := linkFinder{list: m.uris(), short: m.uris().full()}
	for _, p := range m.Parts() {
		if p.kind != showsNothing {
			f.parts += len(p.view().pages) + 1
		}
	}
	for _, p := range m.Parts() {
		if p.kind == showsNothing {
			continue
		}
		v := p.view()
		for _, g := range v.pages {
			f.share()
			f.addPage(g)
		}
		if !v.same {
			f.copy()
			f.share()
			f.list.addTexts(m.paragraphs([]text{{v.seen, true}}, nil).all)
		}
	}
	if f.cut = f.cut || f.list.truncated || f.list.left; f.cut {
		m.known.cut(CutLinks)
	}
	return f.list
}

// share sets how many more links there may be of the next part.
func (f *linkFinder) share() {
	if f.own {
		f.cut = f.cut || f.list.truncated || f.list.left
		f.list.truncated = false
		f.list.most, f.list.octets = len(f.list.all)+maxURIs/f.parts, f.list.size+maxURIOctets/f.parts
	}
}

// copy makes the list one of its own.
func (f *linkFinder) copy() {
	if f.own {
		return
	}
	f.own = true
	l := *f.list
	l.all = slices.Clone(l.all)
	for i := range l.all {
		u := &l.all[i]
		u.Variants, u.Hosts, u.Types, u.Anchors = slices.Clip(u.Variants), slices.Clip(u.Hosts), slices.Clip(u.Types), slices.Clip(u.Anchors)
	}
	l.at = maps.Clone(l.at)
	f.list = &l
	f.share()
}

// addPage adds the links of a page.
func (f *linkFinder) addPage(g *page) {
	base := readURL(g.base, "")
	for i := range g.links {
		l := &g.links[i]
		if f.own && f.list.full() {
			f.cut = true
			return
		}
		u := readURL(l.raw, base.scheme)
		if u.uri == "" {
			continue
		}
		if u.host == "" && u.scheme == "" && base.host != "" {
			u.uri = resolve(base.uri, strings.ReplaceAll(u.uri, `\`, "/"))
		}
		if len(u.uri) > maxURI {
			u.uri, f.cut = u.uri[:maxURI], true
		}
		f.add(&u, l)
	}
}

func (f *linkFinder) add(u *webURL, l *pageLink) {
	clicked := l.kind == "a" || l.kind == "area" || l.kind == "form"
	i, known := f.list.at[u.uri]
	if known && u.odd == 0 && (!clicked || f.list.all[i].Is(l.kind)) {
		return
	}
	unread := !known && !f.isVariant(u.uri)
	if !unread && u.odd == 0 && !known {
		return
	}
	f.copy()
	n := len(f.list.all)
	added := f.list.add(u.uri, true, false, true, l.kind)
	if added == nil {
		return
	}
	added.odd |= u.odd
	if unread && clicked && !l.inner && !f.short && added.Host != "" {
		added.odd |= Unread
	}
	if a := strings.Join(strings.Fields(string(l.anchor)), " "); a != "" && len(added.Anchors) < maxAnchors && !slices.Contains(added.Anchors, a) {
		added.Anchors = append(added.Anchors, a)
	}
	if f.variants != nil && len(f.list.all) > n {
		for _, v := range added.Variants {
			f.variants[v] = struct{}{}
		}
	}
}

// isVariant reports whether some reading of the message has the URI already.
func (f *linkFinder) isVariant(uri string) bool {
	if f.variants == nil {
		f.variants = make(map[string]struct{}, 2*len(f.list.all))
		for i := range f.list.all {
			for _, v := range f.list.all[i].Variants {
				f.variants[v] = struct{}{}
			}
		}
	}
	_, ok := f.variants[uri]
	return ok
}
