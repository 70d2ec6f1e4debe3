package attachments

import "bytes"

// headSize is how many decoded octets of a part are looked at to tell what it is.
const headSize = 64 << 10

// kind is what the content of a part is, by its own evidence.
type kind struct {
	class     class  // "" for nothing dangerous
	mediaType string // "" when unknown
	what      string // for people: "a Windows program"
}

// detect tells from the first octets of a part what it is. The strongest evidence comes first: programs, then
// file systems (whose marks lie behind 32 KiB in which anything may stand), then formats that announce
// themselves in their first octets, then texts, by what they begin with.
//
// The text bodies of a message are judged more carefully: people write about programs, nobody's mail client
// runs what it shows as text, and a line that begins with MZ is no program. So there only a binary program
// counts, and it must look like one beyond its first letters; of formats only the media type is told, and of
// texts nothing.
func detect(head []byte, textBody bool) kind {
	if k := detectProgram(head, textBody); k.class != "" {
		return k
	}
	k := detectFormat(head)
	if textBody {
		return kind{mediaType: k.mediaType}
	}
	if k.mediaType != "" {
		return k
	}
	return detectText(head)
}

// detectFormat knows what announces itself by octets at fixed places.
func detectFormat(head []byte) kind {
	if k, ok := detectOLE(head); ok {
		return k
	}
	for _, table := range [][]magic{fileSystems, magics, containers} {
		if k := find(table, head); k.mediaType != "" {
			return k
		}
	}
	// A picture may be a PDF as well, and nothing else would be looked for in it.
	if k := detectPDF(head); k.mediaType != "" {
		return k
	}
	if k := find(media, head); k.mediaType != "" {
		return k
	}
	return detectVolume(head)
}

// find gives the kind of the first format of a table that head announces.
func find(table []magic, head []byte) kind {
	for _, m := range table {
		if m.matches(head) {
			return m.kind
		}
	}
	return kind{}
}

// magic is how a format announces itself.
type magic struct {
	at     int    // where
	octets string // with what
	more   func(head []byte) bool
	kind   kind
}

// matches reports whether head has the mark, and what else the format asks for where a mark is too short to
// be a proof.
func (m magic) matches(head []byte) bool {
	return len(head) >= m.at && bytes.HasPrefix(head[m.at:], []byte(m.octets)) && (m.more == nil || m.more(head))
}

// is makes the kind of a format that does no harm by itself.
func is(mediaType string) kind { return kind{mediaType: mediaType} }

// at reports whether octets stand at a place.
func at(head []byte, place int, octets string) bool {
	return len(head) >= place && bytes.HasPrefix(head[place:], []byte(octets))
}
