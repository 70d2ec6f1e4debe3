package upstream

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"strings"

	"github.com/postern-mail/postern/mail"
)

// shrink is the part of a list in force, one in so many entries, that a new one may lack. Where more are gone the list was
// cut short, or made from a directory that was: it would refuse the mail of all the others.
const shrink = 5

// Shrunk reports whether a list of so many entries lacks too much of the one in force: over 20 %.
func Shrunk(before, after int) bool { return (before-after)*shrink > before }

// Mailboxes is a set of mailboxes, and of domains that have every mailbox. Local parts are compared as by
// mail.Address.Mailbox: their case and their quoting do not matter. It may be read by several when nobody adds to it any more.
type Mailboxes struct{ entries map[string]struct{} } // as by Entry

// NewMailboxes makes an empty set with room for n entries.
func NewMailboxes(n int) *Mailboxes { return &Mailboxes{entries: make(map[string]struct{}, n)} }

// Entry gives the form in which the set keeps an entry: an address with its domain as its Mailbox, "@domain" for every mailbox
// of a domain with the domain in lower case and as A-labels.
func Entry(s string) (string, error) {
	if name, ok := strings.CutPrefix(s, "@"); ok {
		domain, err := mail.Domain(name)
		if err != nil {
			return "", err
		}
		return "@" + domain, nil
	}
	a, err := mail.ParseAddress(s)
	if err != nil {
		return "", err
	}
	switch {
	case a.Domain() == "":
		return "", errors.New("a domain is needed")
	case a.Unquoted() == "": // its key would be that of the domain's entry
		return "", errors.New("the local part is empty")
	}
	return a.Mailbox(), nil
}

// Add takes up an entry, which Entry made.
func (m *Mailboxes) Add(entry string) { m.entries[entry] = struct{}{} }

// Len gives the number of entries.
func (m *Mailboxes) Len() int { return len(m.entries) }

// All gives the entries, in no order.
func (m *Mailboxes) All() iter.Seq[string] {
	return func(yield func(string) bool) {
		for e := range m.entries {
			if !yield(e) {
				return
			}
		}
	}
}

// Has reports whether a is in the set. A local part that is Suspicious must be there itself: "@domain" does not vouch for it.
func (m *Mailboxes) Has(a mail.Address) bool {
	key := a.Mailbox()
	if len(key) <= len("@")+len(a.Domain()) { // no local part: nobody, and not the domain's entry
		return false
	}
	if _, ok := m.entries[key]; ok {
		return true
	}
	if a.Domain() == "" || Suspicious(a) {
		return false
	}
	_, ok := m.entries[key[len(key)-len(a.Domain())-len("@"):]]
	return ok
}

// add takes up an entry as a file has it.
func (m *Mailboxes) add(entry string) error {
	key, err := Entry(entry)
	if err != nil {
		return fmt.Errorf("%q: %w", entry, err)
	}
	m.Add(key)
	return nil
}

// Contains reports whether the set has an entry, which Entry made, as it stands.
func (m *Mailboxes) Contains(entry string) bool {
	_, ok := m.entries[entry]
	return ok
}

// Equal reports whether two sets have the same entries.
func (m *Mailboxes) Equal(o *Mailboxes) bool { return maps.Equal(m.entries, o.entries) }
