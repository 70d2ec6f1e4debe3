package tar

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
)

// pax is what extended headers say of a file (POSIX.1-2017 pax, "pax Extended Header"), as far as it matters here.
// Of a keyword that comes twice the last value counts, but not for all readers, so that all names are kept.
type pax struct {
	paths, links []string
	size         int64
	sized        bool

	// GNU tar, "Storing Sparse Files".
	sparseName  []string
	sparseMajor string
	sparseSize  int64
	sparseMap   []int64 // offsets and lengths in turn
	sparse      bool
}

// maxMap is how many numbers a map of a sparse file may have.
const maxMap = 1 << 16

// maxNumber is above every size and offset; with larger ones no arithmetic is done.
const maxNumber = 1 << 60

// add adds records, and reports whether all of them are well-formed: a length, a keyword and a value.
func (p *pax) add(b []byte) bool {
	ok := true
	b = bytes.TrimRight(b, "\x00")
	for len(b) > 0 {
		digits, _, found := bytes.Cut(b[:min(len(b), 21)], []byte(" "))
		n, err := strconv.Atoi(string(digits))
		if !found || err != nil || n < len(digits)+3 || n > len(b) || b[n-1] != '\n' {
			return false
		}
		key, value, found := strings.Cut(string(b[len(digits)+1:n-1]), "=")
		ok = found && p.set(key, value) && ok
		b = b[n:]
	}
	return ok
}

// prepend puts the newest value first.
func prepend(all []string, value string) []string {
	if value == "" {
		return all
	}
	return slices.Insert(all, 0, strings.TrimSuffix(value, "\x00"))
}

func (p *pax) set(key, value string) bool {
	switch key {
	case "path", "linkpath", "GNU.sparse.name":
		if len(value) > maxPath || max(len(p.paths), len(p.links), len(p.sparseName)) >= maxSame {
			return false
		}
	}
	switch key {
	case "path":
		p.paths = prepend(p.paths, value)
		if head, _, cut := strings.Cut(value, "\x00"); cut {
			p.paths = prepend(p.paths, head)
			return false
		}
	case "linkpath":
		p.links = prepend(p.links, value)
	case "size":
		return p.number(&p.size, &p.sized, value)
	case "GNU.sparse.name":
		p.sparseName = prepend(p.sparseName, value)
	case "GNU.sparse.major":
		p.sparseMajor, p.sparse = value, true
	case "GNU.sparse.size", "GNU.sparse.realsize":
		return p.number(&p.sparseSize, &p.sparse, value)
	case "GNU.sparse.offset", "GNU.sparse.numbytes":
		return p.addMap(value)
	case "GNU.sparse.map":
		for s := range strings.SplitSeq(value, ",") {
			if !p.addMap(s) {
				return false
			}
		}
	}
	return true
}

func (p *pax) number(to *int64, set *bool, value string) bool {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < 0 || n > maxNumber {
		return value == ""
	}
	*to, *set = n, true
	return true
}

func (p *pax) addMap(value string) bool {
	if value == "" {
		return true
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < 0 || n > maxNumber || len(p.sparseMap) >= maxMap {
		return false
	}
	p.sparse = true
	p.sparseMap = append(p.sparseMap, n)
	return true
}
