package mail

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"strings"
	"sync"
	"time"
)

// idClock is the process-wide memory of the id that was made last: ids of one process are all different
// and ascend in the order in which they were made, also within a millisecond.
var idClock struct {
	sync.Mutex
	ms     int64  // time of the last id
	low    uint64 // its 40 lower bits
	random [512]byte
	unused []byte // of random
}

// idDigits keeps the order of what it encodes (RFC 4648 7), in lower case.
var idDigits = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

// NewID makes an id "node-xxxxxxxxxxxxxxxxxx" for a transaction, a connection or a file: NodeName(node), and
// 18 digits that hold the time (48 bits, milliseconds since 1970) and 40 random bits. Ids of one node sort
// by time, as strings. They consist of a-z, 0-9 and "-": safe in file names, replies and header fields.
func NewID(node string) string {
	ms, low := nextID(time.Now().UnixMilli())
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], uint64(ms)<<16|low>>24)
	binary.BigEndian.PutUint32(b[8:], uint32(low<<8))
	if !isNodeName(node) {
		node = NodeName(node)
	}
	id := append(append(make([]byte, 0, 64), node...), '-')
	return string(idDigits.AppendEncode(id, b[:11]))
}

// isNodeName reports whether a name is as NodeName makes them, so that it need not be made anew.
func isNodeName(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || 'z' < c) && (c < '0' || '9' < c) && c != '-' {
			return false
		}
	}
	return s != "" && len(s) <= 32 && s[0] != '-' && s[len(s)-1] != '-'
}

// nextID gives the time and the lower bits of the next id. The first id of a millisecond draws its lower
// bits at random, without the topmost; each further one adds a random step of up to 24 bits, so that at
// least 32768 ids fit in and none can be guessed from another. When the clock is set back a little the last
// time stays; when by more than that, it is followed, and the random bits keep ids apart.
func nextID(now int64) (ms int64, low uint64) {
	const jump = 5000 // milliseconds
	idClock.Lock()
	defer idClock.Unlock()
	if len(idClock.unused) == 0 {
		rand.Read(idClock.random[:]) // never fails (crypto/rand)
		idClock.unused = idClock.random[:]
	}
	r := binary.LittleEndian.Uint64(idClock.unused)
	idClock.unused = idClock.unused[8:]
	if now > idClock.ms || now < idClock.ms-jump {
		idClock.ms, idClock.low = now, r>>25
	} else if idClock.low += 1 + r>>40; idClock.low >= 1<<40 {
		idClock.ms, idClock.low = idClock.ms+1, r>>25
	}
	return idClock.ms, idClock.low
}

// NodeName makes the name under which a host signs its ids: the first label of its name in lower case, of
// which a-z, 0-9 and inner "-" are kept, at most 32 octets; "node" if nothing is left.
func NodeName(hostname string) string {
	label, _, _ := strings.Cut(hostname, ".")
	label = strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9', r == '-':
			return r
		case 'A' <= r && r <= 'Z':
			return r + 'a' - 'A'
		}
		return -1
	}, label)
	label = strings.TrimLeft(label, "-")
	label = strings.TrimRight(label[:min(len(label), 32)], "-")
	if label == "" {
		return "node"
	}
	return label
}
