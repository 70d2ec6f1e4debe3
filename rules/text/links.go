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
func (m *Message) Links() []URI { return m.made.links.get(m.findLinks).all }

// unfollowed are the kinds of Types that no reader follows: places of a text, elements that load what they name by themselves, and
// those that have no link to any client. Of what is not known some client makes a link, as Outlook does of the drawings of VML.
var unfollowed = func() map[string]bool {
	all := map[string]bool{}
	for kind := range strings.FieldsSeq(`parsed schemeless unlinked domainkeys
		audio base bgsound feimage image img input link script source track use video
		abbr b big blockquote body br button caption center code dd div dl dt em font h1 h2 h3 h4 h5 h6 head hr html i li ol option p pre s
		section small span strike strong style sub sup table tbody td tfoot th thead title tr tt u ul`) {
		all[kind] = true
	}
	return all
}()

// maxKinds is how many kinds of place are told of one URI: all that nobody follows, and some more.
var maxKinds = len(unfollowed) + 16

// Followed reports whether some client makes a link of the URI for what stands in HTML, or leads there by itself. What pages load to
// be drawn with, as their images, is none.
func (u *URI) Followed() bool {
	return slices.ContainsFunc(u.Types, func(kind string) bool { return !unfollowed[kind] })
}

// linkFinder adds to the URIs what only browsers find. The list is copied when the first such is met.
type linkFinder struct {
	list     *uriList
	own      bool
	short    bool                // URIs are left out of what it begins with
	cut      bool                // links are left out
	variants map[string]struct{} // of all that is in the list
	parts    int                 // that have links of their own
	limit    room                // how long the list may grow before parts get hardly any more
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

// room is how many links there may be more, and how many octets of them.
type room struct{ links, octets int }

// What each part has at the least, and what where the parts before it have taken twice of what there is.
var leastRoom, lastRoom = room{50, 16 << 10}, room{2, 1 << 10}

// share sets how many more links there may be of the next part.
func (f *linkFinder) share() {
	if !f.own {
		return
	}
	f.cut = f.cut || f.list.truncated || f.list.left
	f.list.truncated = false
	least := leastRoom
	if len(f.list.all) >= f.limit.links || f.list.size >= f.limit.octets {
		least = lastRoom
	}
	f.list.most = len(f.list.all) + max(maxURIs/f.parts, least.links)
	f.list.octets = f.list.size + max(maxURIOctets/f.parts, least.octets)
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
	l.at, l.texts, l.hosts = maps.Clone(l.at), nil, nil
	f.list, f.limit = &l, room{len(l.all) + 2*maxURIs, l.size + 2*maxURIOctets}
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
	clicked, kind := !unfollowed[l.kind], l.kind
	i, known := f.list.at[u.uri]
	if known && len(f.list.all[i].Types) >= maxKinds {
		kind = f.list.all[i].Types[0] // elements may have any name
	}
	if known && u.odd == 0 && (!clicked || f.list.all[i].Is(kind)) {
		return
	}
	unread := !known && !f.isVariant(u.uri)
	if !unread && u.odd == 0 && !known {
		return
	}
	f.copy()
	n := len(f.list.all)
	added := f.list.add(u.uri, true, false, true, kind)
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
