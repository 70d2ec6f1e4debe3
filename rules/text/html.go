package text

// HTML is what the HTML of one part is like, counted as SpamAssassin counts it, which is not always what one would think;
// the words of SpamAssassin's own result are those of Number and Texts.
type HTML struct {
	Length   int     // characters of the part's HTML, once its charset is decoded ("length")
	Rendered int     // characters of the rendered text ("html_length")
	NonSpace int     // of these, those that are no white space ("non_space_len")
	Ratio    float64 // how much smaller the rendered text is than the octets of the HTML, as a part of those ("ratio")

	Tags       int // tags and document type declarations
	Elements   int // of these, those of elements that HTML 4 or XHTML 1.0 knows
	ExtraClose int // end tags for which nothing was open

	ImageArea        float64 // pixels of all images that say how big they are; percentages are of 800 by 600 ("image_area")
	MinSize, MaxSize int     // font sizes met, from 3 on ("min_size", "max_size")

	LowContrast  bool // text of nearly the colour of its background ("font_low_contrast")
	InvalidColor bool // a colour that is none ("font_invalid_color")
	BadFace      bool // a font with an odd name ("font_face_bad")
	MailtoForm   bool // a form is sent by mail ("form_action_mailto")
	Embeds       bool // an object or embed element ("embeds")

	Obfuscations int // places at which a tag or comment stands within a word
	Backhair     int // different pairs of lengths of what such a tag divides ("backhair_count")

	// Texts are in UTF-8, but where the HTML is all ASCII, and no character in a text is beyond U+00FF: those are of Latin-1.
	Anchors  [][]byte // the texts of links, one for each a element; an image in one is "<img>\n" ("anchor")
	Titles   [][]byte // the texts of title elements ("title")
	Comments [][]byte // with "<!--" and "-->" ("comment")
	Scripts  [][]byte // the texts in script elements ("script")

	Links     []HTMLLink // the URIs in attributes, and those that a elements name, each once, as they come
	Truncated bool       // a URI was longer than is looked at ("uri_truncated")

	chars   bool             // the source is of characters, not of octets
	known   [tagCount]uint32 // 1 + how many more start tags than end tags; 0: there is none such
	unknown map[string]int   // the same of other elements, less the 1
	seen    int              // different elements, as they were met
	valid   int              // of these, those that HTML knows
}

// HTMLLink is a URI that stands in the HTML.
type HTMLLink struct {
	URI     string   // resolved against the base, where there is one
	Types   []string // the elements in which it was found; none for what only the text of a link is known of
	Anchors []string // the texts of the links to it, in UTF-8
}

// Inside gives how many more start tags than end tags of an element there were, its name in lower case; ok is false where
// there was neither. "!doctype" is one, too.
func (h *HTML) Inside(tag string) (n int, ok bool) {
	if id, known := tagNames[tag]; known {
		return int(h.known[id]) - 1, h.known[id] > 0
	}
	n, ok = h.unknown[tag]
	return n, ok
}

// Number gives a fact by SpamAssassin's word for it, as html_test, html_eval and html_range ask; ok is false where it has
// not been found, which is not the same as 0.
func (h *HTML) Number(name string) (v float64, ok bool) {
	switch name {
	case "html":
		return 1, true
	case "length":
		return float64(h.Length), true
	case "html_length":
		return float64(h.Rendered), true
	case "non_space_len":
		return float64(h.NonSpace), true
	case "ratio":
		return h.Ratio, true
	case "image_area":
		return h.ImageArea, true
	case "min_size":
		return float64(h.MinSize), true
	case "max_size":
		return float64(h.MaxSize), true
	case "font_low_contrast":
		return found(h.LowContrast)
	case "font_invalid_color":
		return found(h.InvalidColor)
	case "font_face_bad":
		return found(h.BadFace)
	case "form_action_mailto":
		return found(h.MailtoForm)
	case "embeds":
		return found(h.Embeds)
	case "uri_truncated":
		return found(h.Truncated)
	}
	return h.ratio(name)
}

// ratio gives the facts that are parts of something.
func (h *HTML) ratio(name string) (v float64, ok bool) {
	switch name {
	case "backhair_count":
		return float64(h.Backhair), h.Backhair > 0
	case "closed_extra_ratio":
		return part(h.ExtraClose, h.Tags, h.Tags > 0)
	case "bad_tag_ratio":
		return part(h.Tags-h.Elements, h.Tags, h.Tags > 0 && h.Elements > 0)
	case "non_element_ratio":
		return part(h.seen-h.valid, h.seen, h.seen > 0 && h.valid > 0)
	case "obfuscation_ratio":
		return part(h.Obfuscations, h.Tags, h.Tags > 0 && h.Obfuscations > 0)
	}
	return 0, false
}

func found(b bool) (float64, bool) {
	if b {
		return 1, true
	}
	return 0, false
}

func part(n, of int, known bool) (float64, bool) {
	if !known {
		return 0, false
	}
	return float64(n) / float64(of), true
}

// Texts gives the texts that html_text_match and html_text_not_match look at, by SpamAssassin's word for them: "anchor",
// "comment", "script", "title" or "uri"; none for any other.
func (h *HTML) Texts(name string) [][]byte {
	switch name {
	case "anchor":
		return h.Anchors
	case "comment":
		return h.Comments
	case "script":
		return h.Scripts
	case "title":
		return h.Titles
	case "uri":
		all := make([][]byte, len(h.Links))
		for i := range h.Links {
			all[i] = []byte(h.Links[i].URI)
		}
		return all
	}
	return nil
}

// readHTML lists the facts about each part of HTML.
func (m *Message) readHTML() (all []*HTML) {
	for _, p := range m.Parts() {
		if h := p.HTML(); h != nil {
			all = append(all, h)
		}
	}
	return all
}
