// Package mapi is what the formats of Outlook share: the properties of attachments and messages (MS-OXPROPS), and the
// compression of rich text (MS-OXRTFCP). It reads no container.
package mapi

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strings"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/unicode"

	"github.com/postern-mail/postern/internal/archive/tell"
)

// The types of properties (MS-OXCDATA 2.11.1), without the bit that says that there are several values.
const (
	TypeString8 = 0x001e // 8-bit characters
	TypeUnicode = 0x001f // UTF-16
	TypeObject  = 0x000d
	TypeBinary  = 0x0102
	Multiple    = 0x1000
)

// The properties that name files and hold content (MS-OXPROPS 2).
const (
	Body            = 0x1000
	RTF             = 0x1009
	HTML            = 0x1013
	DisplayName     = 0x3001
	AttachData      = 0x3701
	AttachExtension = 0x3703
	AttachFilename  = 0x3704
	AttachMethod    = 0x3705
	AttachLongName  = 0x3707
	AttachPathname  = 0x3708
	AttachTransport = 0x370c
	AttachLongPath  = 0x370d
	AttachMIMETag   = 0x370e
)

// The identifiers that may begin the content of an object: of what it is (MS-OXTNEF 2.1.3.5).
const (
	IMessage = "\x07\x03\x02\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00\x46"
	IStorage = "\x0b\x00\x00\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00\x46"
	IStream  = "\x0c\x00\x00\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00\x46"
)

// order is that in which the names of an attachment count for its readers.
var order = []uint32{AttachLongName, AttachFilename, AttachTransport, DisplayName, AttachLongPath, AttachPathname}

// Attached is what properties say of an attachment.
type Attached struct {
	names  map[uint32][]string
	Method uint32 // how its content is attached (MS-OXCMSG 2.2.2.9); 0 for unknown
}

// most is how many texts of one property are kept; the last one always is.
const most = 32

// Add takes the text of a property in one of its readings.
func (a *Attached) Add(id uint32, text string) {
	if a.names == nil {
		a.names = map[uint32][]string{}
	}
	known := a.names[id]
	if len(known) >= most {
		known = known[:most-1]
	}
	a.names[id] = tell.Add(known, strings.TrimSpace(text))
}

// AddRaw takes the octets of a property in all readings of its text. The page is the character set of 8-bit text, nil
// for unknown.
func (a *Attached) AddRaw(id, kind uint32, raw []byte, page encoding.Encoding) {
	if kind == TypeUnicode {
		text, _, _ := strings.Cut(tell.UTF16(binary.LittleEndian, raw), "\x00")
		a.Add(id, text)
		return
	}
	raw, _, _ = bytes.Cut(raw, []byte{0})
	if page != nil {
		if s, err := page.NewDecoder().Bytes(raw); err == nil {
			a.Add(id, string(s))
		}
	}
	for _, n := range tell.Names(raw) {
		a.Add(id, n)
	}
}

// IsName reports whether a property is a text that is told of an attachment.
func IsName(id, kind uint32) bool {
	switch id {
	case AttachLongName, AttachFilename, AttachTransport, DisplayName, AttachLongPath, AttachPathname, AttachExtension, AttachMIMETag:
		return kind == TypeString8 || kind == TypeUnicode
	}
	return false
}

// CodePage gives the character set of a Windows code page, nil for an unknown one.
func CodePage(n uint32) encoding.Encoding {
	name, ok := map[uint32]string{932: "shift_jis", 936: "gbk", 949: "euc-kr", 950: "big5", 20866: "koi8-r", 54936: "gb18030", 65001: "utf-8"}[n]
	if !ok {
		name = fmt.Sprintf("windows-%d", n)
	}
	page, err := htmlindex.Get(name)
	if err != nil {
		return nil
	}
	return page
}

// BodyType gives the media type of the bodies of a message among its properties, "" for every other property.
func BodyType(id uint32) string {
	switch id {
	case Body:
		return "text/plain"
	case HTML:
		return "text/html"
	case RTF:
		return "text/rtf"
	}
	return ""
}

// BodyText gives the text of a property that is a body, as it is but for its form: UTF-8 for Unicode, rich text
// decompressed.
func BodyText(id, kind uint32, r io.Reader) io.Reader {
	switch {
	case id == RTF:
		return Decompress(r)
	case kind == TypeUnicode:
		return UTF8(r)
	}
	return r
}

// Names gives all names, the usual one first.
func (a *Attached) Names() (names []string) {
	for _, id := range order {
		for _, n := range a.names[id] {
			names = tell.Add(names, n)
		}
	}
	for _, ext := range a.names[AttachExtension] {
		if ext = "." + strings.TrimLeft(ext, "."); ext == "." {
			continue
		}
		if len(names) == 0 {
			names = append(names, "attachment"+ext)
		} else if !strings.HasSuffix(strings.ToLower(names[0]), strings.ToLower(ext)) {
			names = tell.Add(names, names[0]+ext)
		}
	}
	return names
}

// Type gives the media type of the content, "" for unknown.
func (a *Attached) Type() string { return a.first(AttachMIMETag) }

// Target gives the path of a file that is attached by reference alone, else "".
func (a *Attached) Target() string {
	const byReference, referenceOnly, web = 2, 4, 7
	if a.Method < byReference || a.Method > referenceOnly && a.Method != web {
		return ""
	}
	if path := a.first(AttachLongPath); path != "" {
		return path
	}
	return a.first(AttachPathname)
}

func (a *Attached) first(id uint32) string {
	if len(a.names[id]) == 0 {
		return ""
	}
	return a.names[id][0]
}

// UTF8 gives as UTF-8 what r has in little-endian UTF-16.
func UTF8(r io.Reader) io.Reader {
	return unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewDecoder().Reader(r)
}
