package dkim

import (
	"io"

	"github.com/postern-mail/postern/mail"
)

// Fields is a header from which signatures pick fields by name. It is immutable and safe for concurrent use.
type Fields struct {
	all    []mail.Field
	byName map[string][]int // names in lower case to indexes, ascending
	like   map[string]bool  // names, in lower case, that lenient readers find in lines that are no field
}

// NewFields makes Fields of a header, top to bottom. Lines that are no field can't be picked.
func NewFields(header []mail.Field) *Fields {
	f := &Fields{all: header, byName: make(map[string][]int, len(header))}
	for i := range header {
		if name := header[i].Name; name != "" {
			name = fold(name)
			f.byName[name] = append(f.byName[name], i)
		} else if name, _ := header[i].Lenient(); name != "" {
			if f.like == nil {
				f.like = map[string]bool{}
			}
			f.like[name] = true
		}
	}
	return f
}

// All gives the header's fields, top to bottom. The slice is not to be changed.
func (f *Fields) All() []mail.Field { return f.all }

// Named gives the indexes of the fields of a name, which is in lower case, top to bottom. The slice is not to be changed.
func (f *Fields) Named(name string) []int { return f.byName[name] }

// Selection is what the names of h= stand for in a header.
type Selection struct {
	Picked []int // indexes of fields, in the order of the names
	// Missing lists, once each and in lower case, the names that found no further field: RFC 6376 5.4.2 takes them for
	// the null string, so that a field of that name can't be added.
	Missing []string
	counts  map[string]int // fields picked, by name
}

// Pick selects the fields that names stand for (RFC 6376 5.4.2): each name the undermost field of that name that was not
// yet picked. Names are in lower case. The field at index except is not there for the selection: a signature's own
// (RFC 6376 3.5, h=); -1 for none.
func (f *Fields) Pick(names []string, except int) Selection {
	s := Selection{Picked: make([]int, 0, min(len(names), len(f.all))), counts: make(map[string]int, min(len(names), len(f.byName)))}
	left := make(map[string]int, min(len(names), len(f.byName)))
	missing := map[string]bool{}
	for _, name := range names {
		n, begun := left[name]
		at := f.byName[name]
		if !begun {
			n = len(at)
		}
		if n > 0 && at[n-1] == except {
			n--
		}
		if n == 0 {
			left[name] = 0
			if !missing[name] {
				missing[name] = true
				s.Missing = append(s.Missing, name)
			}
			continue
		}
		left[name] = n - 1
		s.Picked = append(s.Picked, at[n-1])
		s.counts[name]++
	}
	return s
}

// Count gives how many fields of a name, in lower case, were picked.
func (s Selection) Count(name string) int { return s.counts[name] }

// WriteFields writes the canonical form of fields to a hash, which never fails.
func (f *Fields) WriteFields(w io.Writer, picked []int, c Canon) {
	var buf []byte
	for _, i := range picked {
		buf = AppendField(buf, f.all[i].Raw, c)
		if len(buf) >= sinkSize {
			_, _ = w.Write(buf)
			buf = buf[:0]
		}
	}
	_, _ = w.Write(buf)
}
