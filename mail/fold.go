package mail

import "strings"

// maxFolded is how long a line should be at most, without its CRLF (RFC 5322 2.1.1).
const maxFolded = 78

// Folder writes a field's body of words, in lines of at most 78 octets where the words allow it (RFC 5322 2.1.1, 2.2.3).
type Folder struct {
	Spare  int // columns that words leave free, for what More adds
	b      strings.Builder
	column int
}

// NewFolder begins the body of a field of that name.
func NewFolder(name string) *Folder { return &Folder{column: len(name) + len(": ")} }

// Word writes a word after a blank, or after a fold where the line is full.
func (f *Folder) Word(w string) {
	if f.b.Len() == 0 {
		f.put(w)
	} else if f.column+1+len(w) > maxFolded-f.Spare {
		f.Line(w)
	} else {
		f.put(" " + w)
	}
}

// More writes a word that continues the one before it, without a blank unless the line is full.
func (f *Folder) More(w string) {
	if f.column+len(w) > maxFolded {
		f.Line(w)
	} else {
		f.put(w)
	}
}

// Within is Word inside a quoted string, where the blank of a fold stays (RFC 5322 3.2.4) and so is to be the one that
// stands there without.
func (f *Folder) Within(w string) {
	if f.column+1+len(w) > maxFolded-f.Spare {
		f.b.WriteString("\r\n")
		f.column = 0
	}
	f.put(" " + w)
}

// Line writes a word on a line of its own.
func (f *Folder) Line(w string) {
	f.b.WriteString("\r\n\t")
	f.column = 1
	f.put(w)
}

func (f *Folder) put(w string) {
	f.b.WriteString(w)
	f.column += len(w)
}

// String gives the body.
func (f *Folder) String() string { return f.b.String() }
