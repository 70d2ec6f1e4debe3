package pdf

// known is a name that the walk asks for.
type known struct {
	word    string
	matters bool // an object that holds it is looked at
}

// words are the names that the walk asks for. An object without one of those that matter is only indexed.
var words = func() map[string]known {
	all := map[string]known{}
	for _, w := range []string{
		// Actions (ISO 32000-1 12.6) and what holds them.
		"JS", "JavaScript", "Launch", "ImportData", "GoToR", "GoToE", "OpenAction", "AA", "URI",
		// Rich media (Adobe Extension Level 3, 9.6) and 3D (ISO 32000-1 13.6.2).
		"RichMedia", "RichMediaExecute", "RichMediaContent", "Flash", "OnInstantiate",
		// Forms (12.7.8), files (7.11) and encryption (7.6).
		"XFA", "EF", "RF", "EmbeddedFile", "EmbeddedFiles", "Encrypt",
	} {
		all[w] = known{w, true}
	}
	for _, w := range []string{
		"S", "F", "UF", "DOS", "Mac", "Unix", "Desc", "Type", "Subtype", "Names", "Kids", "First", "N", "Length",
		"Filter", "DecodeParms", "Parent", "Page", "Font", "Annot", "Link", "Rect", "A", "P", "K", "Pg", "FS", "D",
	} {
		all[w] = known{w, false}
	}
	return all
}()
