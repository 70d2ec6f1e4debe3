package quarantine

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/postern-mail/postern/mail"
)

// maxKnown is how many messages a store recognises when they come again.
const maxKnown = 10_000

// messageKey stands for a message: content, reverse-path and recipients.
type messageKey [sha256.Size]byte

// known remembers under which ids messages are held. When it is full, it forgets what it was told first.
type known struct {
	ids    map[messageKey]string
	keys   []messageKey // those of ids; from oldest on in the order in which they came
	oldest int
}

func (k *known) add(key messageKey, id string) {
	if k.ids == nil {
		k.ids = map[messageKey]string{}
	}
	_, again := k.ids[key] // its entry has gone since
	k.ids[key] = id
	switch {
	case again:
	case len(k.keys) < maxKnown:
		k.keys = append(k.keys, key)
	default:
		delete(k.ids, k.keys[k.oldest])
		k.keys[k.oldest] = key
		k.oldest = (k.oldest + 1) % maxKnown
	}
}

// keyOf gives the key of an entry's message. Recipients come in any order.
func keyOf(e Entry) (key messageKey) {
	sum := sha256.New()
	fmt.Fprintf(sum, "%s %q %q", e.SHA256, e.From, slices.Sorted(slices.Values(e.To)))
	sum.Sum(key[:0])
	return key
}

// digest gives the SHA-256 of a message, as records have it.
func digest(b *mail.Blob) (string, error) {
	sum := sha256.New()
	n, err := io.Copy(sum, b.Section(0, b.Size()))
	if err == nil && n != b.Size() {
		err = io.ErrUnexpectedEOF
	}
	return hex.EncodeToString(sum.Sum(nil)), err
}

// retryWithin is how long a message that comes again is taken for a sender's retry: one that comes later is held
// anew, as is one whose entry somebody has dealt with, or that would not be kept as long as a new one.
const retryWithin = 24 * time.Hour

// heldAs gives the id under which a message that is to be held is held already, "" if there is none.
func (s *Store) heldAs(e Entry) string {
	if e.Kind != Held {
		return ""
	}
	s.mu.Lock()
	id := s.known.ids[keyOf(e)]
	s.mu.Unlock()
	if id == "" || id == e.ID {
		return ""
	}
	there, err := s.Get(id)
	if err != nil || there.SHA256 != e.SHA256 || there.Released != nil || there.InDoubt {
		return ""
	}
	age := s.o.Now().Sub(there.Time)
	if keep := time.Duration(s.keepFor.Load()); age > retryWithin || keep > 0 && age > keep/2 {
		return ""
	}
	if info, err := s.o.FS.Stat(s.path(id, contentSuffix)); err != nil || info.Size() != there.Size {
		return ""
	}
	return id
}
