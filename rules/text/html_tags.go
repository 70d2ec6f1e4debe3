package text

import "strings"

// What an element is to the renderer.
const (
	isElement  = 1 << iota // HTML 4.01 or XHTML 1.0 knows it
	isTrick                // it is rendered, and does not count as known
	hasStyle               // it may change how text looks
	hasURI                 // it may have URIs
	breaksLine             // a line ends before and behind it
	breaksText             // a paragraph ends
	breaksWord             // a word ends
)

// tags are the elements, by what they are. The position of a name is its number.
var tags, tagNames = readTags()

type tag struct {
	name string
	is   uint8
}

// tagCount is at least the number of elements; 0 is none of them.
const tagCount = 128

func readTags() (all []tag, names map[string]uint8) {
	all = []tag{{}}
	names = make(map[string]uint8)
	add := func(is uint8, list string) {
		for _, n := range strings.Fields(list) {
			id, ok := names[n]
			if !ok {
				id = uint8(len(all))
				names[n] = id
				all = append(all, tag{name: n})
			}
			all[id].is |= is
		}
	}
	add(isElement, `a abbr acronym address area b base bdo big blockquote body br button caption cite code col colgroup dd del dfn div dl dt em
		fieldset form h1 h2 h3 h4 h5 h6 head hr html i img input ins kbd label legend li link map meta noscript object ol optgroup option p param
		pre q samp script select small span strong style sub sup table tbody td textarea tfoot th thead title tr tt ul var applet basefont
		center dir font frame frameset iframe isindex menu noframes s strike u nobr x-sigsep x-tab`)
	add(isTrick, "bgsound embed listing plaintext xmp")
	add(0, "marquee !doctype")
	add(hasStyle, "body font table tr th td big small basefont span p div a")
	add(hasURI, "body table tr td a area link img frame iframe embed script form base bgsound meta")
	add(breaksLine, "br div")
	add(breaksText, "p hr blockquote pre listing plaintext xmp title")
	add(breaksWord, "li td th dt dd embed h1 h2 h3 h4 h5 h6")
	return all, names
}

// Elements that the renderer knows by name.
var (
	tagA, tagBody, tagFont, tagTable, tagTR, tagTD, tagTH               = tagNames["a"], tagNames["body"], tagNames["font"], tagNames["table"], tagNames["tr"], tagNames["td"], tagNames["th"]
	tagBig, tagSmall, tagBasefont, tagImg, tagForm, tagObject, tagEmbed = tagNames["big"], tagNames["small"], tagNames["basefont"], tagNames["img"], tagNames["form"], tagNames["object"], tagNames["embed"]
	tagTitle, tagMeta, tagBase, tagScript, tagStyle, tagArea, tagLink   = tagNames["title"], tagNames["meta"], tagNames["base"], tagNames["script"], tagNames["style"], tagNames["area"], tagNames["link"]
	tagDoctype                                                          = tagNames["!doctype"]
)

// longestTag is the length of the longest name of an element that is known.
const longestTag = 10

// tagOf finds an element by its name, in any case; 0 for one that is not known.
func tagOf(name []byte) uint8 {
	if len(name) > longestTag {
		return 0
	}
	var low [longestTag]byte
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		low[i] = c
	}
	return tagNames[string(low[:len(name)])]
}

// isNamespace reports whether a tag, in lower case, is one of those that Office writes, such as o:p.
func isNamespace(name []byte) bool {
	rest := name
	switch {
	case len(name) > 2 && name[0] == 'o' && name[1] == ':':
		rest = name[2:]
	case len(name) > 4 && name[0] == 's' && name[1] == 't' && '0' <= name[2] && name[2] <= '9' && name[3] == ':':
		rest = name[4:]
	default:
		return false
	}
	if rest[len(rest)-1] == '/' {
		rest = rest[:len(rest)-1]
	}
	for _, c := range rest {
		if !isWord(c) && c != '-' {
			return false
		}
	}
	return len(rest) > 0
}
