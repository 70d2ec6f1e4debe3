package office

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/ole"
	"github.com/postern-mail/postern/internal/archive/tell"
)

// maxNative is how much of the start of a packaged file is read for its names.
const maxNative = 16 << 10

// Native is a file that the Packager of Windows put into a document.
type Native struct {
	Names []string      // its label, where it came from, and where it is put before it is run
	File  *archive.File // its content; nil where it is linked only
}

// ReadNative reads an object of the Packager: what the stream \1Ole10Native holds, or the native data of an object in
// RTF after its length (MS-OLEDS 2.3.6; the inner form is not documented). ok is false where it is something else.
func ReadNative(f *archive.File) (n Native, ok bool, err error) {
	head, err := f.Head(maxNative)
	if err != nil {
		return n, false, err
	}
	r := octets{b: head}
	if size := r.u32(); int64(size) > f.Size() {
		// Without the length, as some writers have it.
		r = octets{b: head}
	}
	if r.u16() != 2 {
		return n, false, nil
	}
	label, path := r.text(), r.text()
	r.u16()
	kind := r.u16()
	temp := r.take(int(r.u32()))
	if kind != 3 && kind != 1 || r.failed {
		return n, false, nil
	}
	size := int64(r.u32())
	if r.failed && kind == 3 {
		return n, false, nil
	}
	if kind == 3 {
		n.File = f.Section(int64(r.at), size)
	}
	// The same names in UTF-16 follow the content.
	var wide [3]string
	if kind == 3 && int64(r.at)+size < f.Size() {
		tail := make([]byte, maxNative)
		m, err := f.ReadAt(tail, int64(r.at)+size)
		if err != nil && err != io.EOF {
			return n, false, err
		}
		t := octets{b: tail[:m]}
		for i := range wide {
			wide[i] = utf16Text(t.take(2 * int(t.u32())))
		}
	}
	for _, s := range []string{wide[1], wide[2], wide[0]} {
		n.add(s)
	}
	for _, s := range [][]byte{label, path, bytes.TrimRight(temp, "\x00")} {
		for _, reading := range readings(s) {
			n.add(reading)
		}
	}
	return n, true, nil
}

func (n *Native) add(name string) {
	if name == "" {
		return
	}
	for _, have := range n.Names {
		if have == name {
			return
		}
	}
	n.Names = append(n.Names, name)
}

// walkNative hands on a packaged file.
func (w *walker) walkNative(c *ole.Stream) error {
	f, problem := c.File()
	if err := w.problem("an embedded file", problem); err != nil {
		return err
	}
	n, ok, err := ReadNative(f)
	if err != nil {
		return err
	}
	if !ok {
		return w.giveSection([]string{"Ole10Native"}, f.Section(4, f.Size()))
	}
	if n.File == nil {
		return w.give(&archive.Entry{Names: n.Names, Size: -1, Link: n.Names[len(n.Names)-1]})
	}
	return w.giveSection(n.Names, n.File)
}

// urlMoniker is the class of links to the Web, as stored (MS-OSHARED 2.3.7.6).
var urlMoniker = []byte("\xe0\xc9\xea\x79\xf9\xba\xce\x11\x8c\x82\x00\xaa\x00\x4b\xa9\x0b")

// fileMoniker is the class of links to files, as stored (MS-OSHARED 2.3.7.8).
var fileMoniker = []byte("\x03\x03\x00\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00\x46")

// runners are the classes of links that run what they lead to, as stored.
var runners = map[string]string{
	"\xd3\x0b\x29\x06\xaa\x48\xd2\x11\x84\x32\x00\x60\x08\xc3\xfb\xfc": "a script",
	"\xc7\xb0\xab\xec\x19\x7f\xd2\x11\x97\x8e\x00\x00\xf8\x75\x7e\x2a": "a Web service",
}

// walkLink looks where a linked object is (MS-OLEDS 2.3.3). Its monikers are not taken apart: whatever order they are
// in, their classes and targets are in clear.
func (w *walker) walkLink(c *ole.Stream) error {
	f, problem := c.File()
	if err := w.problem("an object", problem); err != nil {
		return err
	}
	b, err := f.Head(64 << 10)
	if err != nil || len(b) < 8 || b[4]&1 == 0 {
		return err
	}
	for class, what := range runners {
		if bytes.Contains(b, []byte(class)) {
			w.say(archive.MacroAuto, "link", "a linked object is %s", what)
		}
	}
	if target := linkTarget(b); target != "" {
		w.say(archive.MacroAuto, "link", "a linked object is loaded from %q", target)
	}
	return nil
}

// linkTarget gives the first target on another machine among the monikers in b.
func linkTarget(b []byte) string {
	if i := bytes.Index(b, urlMoniker); i >= 0 && len(b) > i+20 {
		text := b[i+20:]
		n := 0
		for n+1 < len(text) && (text[n] != 0 || text[n+1] != 0) {
			n += 2
		}
		return utf16Text(text[:n])
	}
	if i := bytes.Index(b, fileMoniker); i >= 0 {
		r := octets{b: b[i+16:]}
		r.u16()
		path := bytes.TrimRight(r.take(int(r.u32())), "\x00")
		if !r.failed && remote(string(path)) {
			return string(path)
		}
	}
	return ""
}

// utf16Text decodes little-endian UTF-16 up to its first zero.
func utf16Text(b []byte) string {
	text, _, _ := strings.Cut(tell.UTF16(binary.LittleEndian, b), "\x00")
	return text
}

// octets reads little-endian fields; what is not there is zero and makes it fail.
type octets struct {
	b      []byte
	at     int
	failed bool
}

func (o *octets) take(n int) []byte {
	if n < 0 || n > len(o.b)-o.at {
		o.failed = true
		o.at = len(o.b)
		return nil
	}
	o.at += n
	return o.b[o.at-n : o.at]
}

func (o *octets) u8() byte {
	if b := o.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (o *octets) u16() uint16 {
	if b := o.take(2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (o *octets) u32() uint32 {
	if b := o.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

// text reads up to a zero octet.
func (o *octets) text() []byte {
	i := bytes.IndexByte(o.b[o.at:], 0)
	if i < 0 {
		o.failed = true
		return nil
	}
	return o.take(i + 1)[:i]
}

var errShort = errors.New("it is cut short")
