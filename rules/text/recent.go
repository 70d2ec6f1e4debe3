package text

import (
	"hash/maphash"
	"strings"
	"sync/atomic"
)

// recent remembers what was found out about the last of some names, each at the place that its hash gives: mail has few of them again
// and again. It is safe for concurrent use, and never larger than it is at once.
type recent[V any] struct {
	places [512]atomic.Pointer[named[V]]
}

type named[V any] struct {
	name  string
	value V
}

// mostRemembered is how many octets a name has that is remembered (RFC 1035 2.3.4: no host's has more).
const mostRemembered = 255

var recentSeed = maphash.MakeSeed()

// get gives what find says of a name, which must be the same whenever it is asked.
func (r *recent[V]) get(name string, find func(name string) V) V {
	if len(name) > mostRemembered {
		return find(name)
	}
	place := &r.places[maphash.String(recentSeed, name)%uint64(len(r.places))]
	if n := place.Load(); n != nil && n.name == name {
		return n.value
	}
	n := &named[V]{name: strings.Clone(name)} // the message that it is of is not kept with it
	n.value = find(n.name)
	place.Store(n)
	return n.value
}

// getOctets is get for a name that is no string yet.
func (r *recent[V]) getOctets(name []byte, find func(name string) V) V {
	if len(name) <= mostRemembered {
		place := &r.places[maphash.Bytes(recentSeed, name)%uint64(len(r.places))]
		if n := place.Load(); n != nil && n.name == string(name) {
			return n.value
		}
	}
	return r.get(string(name), find)
}
