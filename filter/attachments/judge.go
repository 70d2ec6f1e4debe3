package attachments

import (
	"bytes"
	"fmt"

	"github.com/postern-mail/postern/filter/auth"
)

// judge collects the reasons for which something is done with a file, and decides what.
//
// A rule for types weighs the declared type and the detected one. The declared type is the sender's word:
// it can make the outcome stricter, never milder. The detected one replaces what the class of the content
// asks for, and leaves alone what the name says. A rule for names wins over all of it, but a part that has
// several names, or a name with several readings, is let off only if each of them is.
func (l *look) judge(x *exam) {
	if k := x.kind; k.class != "" {
		h := l.classHit(k.class, "it is "+k.what)
		if g, ok := l.types.find(k.mediaType); ok {
			h.action, h.why, h.by = g.action, "it is "+k.what, auth.PartByTypeRule
		}
		x.hits = append(x.hits, h)
	}
	x.hits = append(x.hits, x.inner...)
	if h, ok := l.judgeNames(x); ok {
		x.hits = append(x.hits, h)
	}
	if !x.body && (x.part == nil || !x.part.IsMultipart()) {
		if h, ok := l.judgeTypes(x); ok {
			x.hits = append(x.hits, h)
		}
	}
	strictestFirst(x.hits)
	if len(x.hits) > 0 {
		x.action = x.hits[0].action
	}
	l.applyNameRules(x)
}

// judgeTypes weighs the media types, declared or detected.
func (l *look) judgeTypes(x *exam) (hit, bool) {
	for _, t := range append(append([]string{}, x.types...), x.kind.mediaType) {
		if g, ok := l.types.find(t); ok && t != "" && g.action > pass {
			return hit{symbol: symbolType, action: g.action, by: auth.PartByTypeRule, why: fmt.Sprintf("the media type %s matches %q", t, g.pattern)}, true
		}
	}
	return hit{}, false
}

// judgeNames classes a file by its names, and by its declared type where a client would make up the
// extension from it. The first reason of the strictest action counts.
func (l *look) judgeNames(x *exam) (best hit, found bool) {
	consider := func(cl class, why string) {
		if cl != "" && (!found || l.classes[cl] > best.action) {
			best, found = l.classHit(cl, why), true
			best.by = auth.PartByName
		}
	}
	bare := len(x.names) == 0 && (x.part == nil || x.part.IsLeaf())
	for _, n := range x.names {
		for i, f := range n.forms {
			cl, why := classOfForm(f)
			consider(cl, why)
			if isVolume(f) {
				consider(unreadable, "it is a piece of a split archive")
			}
			bare = bare || i == 0 && extension(f) == ""
		}
	}
	for _, n := range x.others {
		for _, f := range n.forms {
			consider(classOfForm(f))
		}
	}
	if bare && !x.body {
		for _, t := range x.types {
			consider(typeClasses[t], "the declared media type is "+t)
		}
	}
	return best, found
}

// applyNameRules lets the configured names decide.
func (l *look) applyNameRules(x *exam) {
	var strictest hit
	matched, all := false, true
	for _, n := range x.names {
		for _, f := range n.forms {
			g, ok := l.names.find(f)
			if !ok {
				all = false
				continue
			}
			if !matched || g.action > strictest.action {
				strictest = hit{symbol: symbolName, action: g.action, by: auth.PartByNameRule, why: fmt.Sprintf("the file name matches %q", g.pattern)}
			}
			matched = true
		}
	}
	switch {
	case !matched:
	case all:
		// What the part is stays known, but only the rule acts.
		for i := range x.hits {
			x.hits[i].action = min(x.hits[i].action, strictest.action)
		}
		x.hits = append([]hit{strictest}, x.hits...)
		x.action = strictest.action
	case strictest.action > x.action:
		x.hits = append([]hit{strictest}, x.hits...)
		x.action = strictest.action
	}
}

// detectLoose tells what something is that was found in a text without a name or a type: programs and containers.
// Two letters are no evidence there, for every text that is base64 by chance decodes to something.
func detectLoose(head []byte) kind {
	if k := detectProgram(head, false); k.class != "" {
		if bytes.HasPrefix(head, []byte("MZ")) && !portable(head) && bytes.IndexByte(head[:min(len(head), 512)], 0) < 0 {
			return kind{}
		}
		return k
	}
	return detectFormat(head)
}
