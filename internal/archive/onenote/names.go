package onenote

import "strings"

// nameLimit is how long a name may be, in octets; setLimit how many properties a set may have that is read.
const (
	nameLimit = 2048
	setLimit  = 64
)

// property takes down the value of the property whose identifier stands at a place, if it belongs to a set of
// properties (MS-ONESTORE 2.6.7): a count, the identifiers, and their values in the same order.
func (w *walker) property(at int64) error {
	if len(w.names) >= limit {
		return nil
	}
	before := min(at, 4*setLimit+2)
	p, err := w.read(at-before, int(before)+4*setLimit+2*nameLimit)
	if err != nil {
		return err
	}
	for k := 0; k < setLimit && 4*k+2 <= int(before); k++ {
		start := int(before) - 4*k
		if k > 0 && kindOf(le.Uint32(p[start:])) == 0 {
			break // what stands before it is no identifier
		}
		count := int(le.Uint16(p[start-2:]))
		if count <= k || count > setLimit {
			continue
		}
		if name := value(p[start:], count, k); name != "" {
			w.addName(name)
			break
		}
	}
	return nil
}

func (w *walker) addName(path string) {
	name := path[strings.LastIndexAny(path, `\/`)+1:]
	if name == "" || w.known[name] {
		return
	}
	if w.known == nil {
		w.known, w.byExt = map[string]bool{}, map[string][]string{}
	}
	w.known[name] = true
	w.names = append(w.names, name)
	if ext := extension(name); len(w.byExt[ext]) < sharedLimit {
		w.byExt[ext] = append(w.byExt[ext], name)
	}
}

func extension(name string) string {
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		return strings.ToLower(name[i:])
	}
	return ""
}

// kindOf gives the type of a property by its identifier (MS-ONESTORE 2.6.6), 0 where it is of none.
func kindOf(id uint32) uint32 {
	if k := id >> 26 & 0x1f; k >= 1 && k <= 0xd || k == 0x10 || k == 0x11 {
		return k
	}
	return 0
}

// value gives the text that is the k-th property of a set, "" where there is no such.
func value(p []byte, count, k int) string {
	if len(p) < 4*count {
		return ""
	}
	for i := range count {
		if kindOf(le.Uint32(p[4*i:])) == 0 {
			return ""
		}
	}
	data := p[4*count:]
	for i := range k + 1 {
		kind := kindOf(le.Uint32(p[4*i:]))
		size, ok := sizeOf(kind, data)
		if !ok || size > len(data) {
			return ""
		}
		if i < k {
			data = data[size:]
			continue
		}
		if name := text(data[min(4, size):size]); size <= nameLimit && plain(name) {
			return name
		}
	}
	return ""
}

// sizeOf gives how many octets the value of a property has that begins with data; sets within sets are not known.
func sizeOf(kind uint32, data []byte) (size int, ok bool) {
	switch kind {
	case 1, 2, 8, 10, 12:
		return 0, true
	case 3:
		return 1, true
	case 4:
		return 2, true
	case 5, 9, 11, 13:
		return 4, true
	case 6:
		return 8, true
	case 7:
		if len(data) < 4 {
			return 0, false
		}
		return 4 + int(min(le.Uint32(data), 1<<20)), true
	}
	return 0, false
}

// sharedLimit is how many names one file is given that can't be told apart.
const sharedLimit = 16

// namesOf gives the names that the file of an object may have. A section says the extension for sure; which of the
// names with that extension it is only the revisions of the section say, so they all are given.
func (w *walker) namesOf(o object) (names []string) {
	ext, ok := w.extensions[w.ids[o.at]]
	if !ok {
		if len(w.objects) == 1 && len(w.names) == 1 {
			return w.names[:1:1]
		}
		return nil
	}
	if names = w.byExt[extension(ext)]; names == nil {
		names = []string{ext}
	}
	return names
}
