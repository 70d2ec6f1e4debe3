// Package campaign sends numbered mail through a gateway that is killed, and to servers that fail, and accounts for every
// message and recipient. It is for tests, and no part of the gateway.
package campaign

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"
)

// idField is the field that tells whose copy a content is; the last one counts, since what is above may be a gateway's.
const idField = "X-Campaign: "

// Content gives the content of a message: all of it follows from its number and size, so that whoever gets it can tell
// whether it is whole.
func Content(id, size int) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "From: <a@client.test>\r\nTo: <u@in.test>\r\nSubject: %d\r\nDate: Thu, 26 Nov 2026 10:00:00 +0000\r\nMessage-ID: <%d@client.test>\r\n%s%d %d\r\n\r\n", id, id, idField, id, size)
	for i := 0; b.Len() < size; i++ {
		fmt.Fprintf(&b, ".%d of %d: the quick brown fox jumps over the lazy dog\r\n", i*7919+id, id)
	}
	return b.Bytes()
}

// parse tells of which message a content is, and whether its end is what Content has made.
func parse(content []byte) (id int, whole, ok bool) {
	header, _, _ := bytes.Cut(content, []byte("\r\n\r\n"))
	i := bytes.LastIndex(header, []byte("\n"+idField))
	if i < 0 {
		return 0, false, false
	}
	line, _, _ := bytes.Cut(header[i+1+len(idField):], []byte("\r"))
	number, octets, _ := bytes.Cut(line, []byte(" "))
	id, err := strconv.Atoi(string(number))
	size, bad := strconv.Atoi(string(octets))
	if err != nil || bad != nil {
		return 0, false, false
	}
	return id, bytes.HasSuffix(content, Content(id, size)), true
}

// key is one recipient of one message.
type key struct {
	id int
	to string
}

type delivery struct {
	by string // the name in EHLO of who brought it
	at time.Time
}

type fate struct {
	acknowledged bool
	putOff       bool // the last word was a 4yz
	unknown      bool // a client had no reply to its final dot
	refused      string
	lost         int // replies to the final dot that were not, or may not have been, received
	deliveries   []delivery
}

// Ledger has what became of each recipient of each message, as clients and servers saw it.
type Ledger struct {
	mu       sync.Mutex
	next     int
	fates    map[key]*fate
	left     int // recipients that are acknowledged, and not delivered
	broken   []string
	killed   map[string]time.Time
	last     time.Time // of the last delivery
	arrived  int
	accepted int // messages
}

// NewLedger makes one.
func NewLedger() *Ledger {
	return &Ledger{fates: map[key]*fate{}, killed: map[string]time.Time{}}
}

// number gives the number of a new message.
func (l *Ledger) number() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next++
	return l.next
}

// numbers gives how many there were.
func (l *Ledger) numbers() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.next
}

func (l *Ledger) of(id int, to string) *fate {
	k := key{id, to}
	f := l.fates[k]
	if f == nil {
		f = &fate{}
		l.fates[k] = f
	}
	return f
}

// answered notes the last word that a client had of a message: "" for none.
func (l *Ledger) answered(id int, to []string, reply string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if reply != "" && reply[0] == '2' {
		l.accepted++
	}
	for _, a := range to {
		f := l.of(id, a)
		f.putOff = false
		switch {
		case reply == "":
			f.unknown = true
		case reply[0] == '2':
			if !f.acknowledged && len(f.deliveries) == 0 {
				l.left++
			}
			f.acknowledged = true
		case reply[0] == '4':
			f.putOff = true
		default:
			f.refused = reply
		}
	}
}

// stored notes that a server has taken a message.
func (l *Ledger) stored(content []byte, to []string, by string) (id int) {
	id, whole, ok := parse(content)
	l.mu.Lock()
	defer l.mu.Unlock()
	if !ok || !whole {
		l.broken = append(l.broken, fmt.Sprintf("message %d, %d octets", id, len(content)))
	}
	now := time.Now()
	l.last = now
	for _, a := range to {
		l.arrived++
		f := l.of(id, a)
		if f.acknowledged && len(f.deliveries) == 0 {
			l.left--
		}
		f.deliveries = append(f.deliveries, delivery{by, now})
	}
	return id
}

// lost notes that a server's reply to a final dot did not, or may not have, reached its client.
func (l *Ledger) lost(id int, to []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range to {
		l.of(id, a).lost++
	}
}

// Killed notes that the gateway of this name has been killed.
func (l *Ledger) Killed(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.killed[name] = time.Now()
}

// Left gives how many recipients are acknowledged and not delivered, and when the last delivery was.
func (l *Ledger) Left() (n int, last time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.left, l.last
}

// Arrived gives how many recipients' copies have come.
func (l *Ledger) Arrived() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.arrived
}

// Account is what all came to. All but Messages counts recipients of messages.
type Account struct {
	Messages     int // that were acknowledged
	Acknowledged int
	Delivered    int           // of these
	Lost         int           // acknowledged, and not delivered
	Refused      int           // with a 5yz
	Unknown      int           // clients had no reply to the final dot
	Replies      int           // of servers to final dots that were lost, or may have been
	Doubled      int           // deliveries beyond the first
	ByCrash      int           // doubles by another gateway process than the one before, which was killed
	ByReply      int           // doubles of what a server's reply was lost of
	Wrong        int           // doubles that are neither
	PutOff       int           // delivered, and a 4yz the last word to the client, with no reply of a server lost
	Broken       int           // contents that came changed
	Longest      time.Duration // from a delivery to the kill that let it be doubled
	Details      []string      // of what must not be
}

// Account counts.
func (l *Ledger) Account() (a Account) {
	l.mu.Lock()
	defer l.mu.Unlock()
	tell := func(k key, f *fate, what string) {
		if len(a.Details) < 20 {
			a.Details = append(a.Details, fmt.Sprintf("%d to %s: %s: %+v", k.id, k.to, what, *f))
		}
	}
	a.Messages, a.Broken = l.accepted, len(l.broken)
	a.Details = append(a.Details, l.broken[:min(len(l.broken), 5)]...)
	for k, f := range l.fates {
		if f.acknowledged {
			a.Acknowledged++
			if len(f.deliveries) > 0 {
				a.Delivered++
			} else {
				a.Lost++
				tell(k, f, "lost")
			}
		}
		if f.refused != "" {
			a.Refused++
			tell(k, f, "refused")
		}
		if f.unknown {
			a.Unknown++
		}
		if f.putOff && !f.acknowledged && len(f.deliveries) > f.lost {
			a.PutOff++
			tell(k, f, "put off, and delivered")
		}
		a.Replies += f.lost
		l.doubles(&a, k, f, tell)
	}
	slices.Sort(a.Details)
	return a
}

// doubles counts the doubles of one recipient.
func (l *Ledger) doubles(a *Account, k key, f *fate, tell func(key, *fate, string)) {
	excused := f.lost
	for i := 1; i < len(f.deliveries); i++ {
		a.Doubled++
		before, now := f.deliveries[i-1], f.deliveries[i]
		at, killed := l.killed[before.by]
		switch {
		case killed && before.by != now.by:
			a.ByCrash++
			a.Longest = max(a.Longest, at.Sub(before.at))
		case excused > 0:
			excused--
			a.ByReply++
		default:
			a.Wrong++
			tell(k, f, "doubled")
		}
	}
}
