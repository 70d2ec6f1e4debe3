package upstream

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/postern-mail/postern/internal/lines"
	"github.com/postern-mail/postern/mail"
)

// File is a recipient source made of a text file: one address per line, "@domain" for every mailbox of a
// domain, and comments from a '#' at the line's beginning or after a blank. Addresses are compared as by
// mail.Address.Mailbox: the case and the quoting of the local part do not matter.
//
// The file is read again when it changed, which Lookup finds out, at most every 2 s. A file that is
// missing, broken or empty then leaves the last good list in force, and so does one that looks like a part
// of a list: its last line has no end and was written within the last minute, or it has over 20 % fewer
// entries than the list in force. Err says so. One with fewer entries is taken when there is a file of its name with
// TakeSuffix beside it that was touched after it was written: that speaks for this state of the file and for no other, and is
// removed then.
type File struct{ list *lines.File[*Mailboxes] }

// TakeSuffix makes the name of the file with which an administrator says that a list of recipients which lacks many of the
// entries in force is right.
const TakeSuffix = ".take"

// Keeper keeps the list that was taken last over the end of the process.
type Keeper interface {
	// Load gives the list and when it was saved; nil for none.
	Load() (list *Mailboxes, at time.Time)
	Save(list *Mailboxes)
}

// NewFile reads the file at path, whatever it has. Its errors are of the form path:line: what. Afterwards report is told of each
// change of Err: an error when a changed file cannot be used, nil when it is in force again or anew. It may be nil.
func NewFile(path string, report func(error)) (*File, error) { return NewKeptFile(path, nil, report) }

// NewKeptFile is NewFile where the list that was taken last was kept: it is in force at first where the file looks like a part of a list, as
// if the file had changed now. Report is told of that at once.
func NewKeptFile(path string, keep Keeper, report func(error)) (*File, error) {
	w := &word{path: path + TakeSuffix}
	var kept *Mailboxes
	var at time.Time
	if keep != nil {
		kept, at = keep.Load()
	}
	source := lines.Source[*Mailboxes]{
		Parse: parseList, Report: report, Prefix: "upstream: recipients: ", Vouched: w.vouches,
		Doubt: func(before, l *Mailboxes) error { return tooFew(path, before.Len(), l.Len()) },
		Taken: func(l *Mailboxes) {
			w.spend()
			if keep != nil && (kept == nil || !kept.Equal(l)) {
				keep.Save(l)
				kept = l
			}
		},
	}
	var f *lines.File[*Mailboxes]
	var err error
	if kept == nil {
		f, err = lines.Open(path, source)
	} else {
		// A word that is older than the list that was kept has been about that one, or about one before.
		if given, err := os.Stat(w.path); err == nil && !given.ModTime().After(at.Add(time.Second)) {
			w.spent = given
		}
		w.live = true
		f, err = lines.OpenAfter(path, source, kept)
	}
	if err != nil {
		return nil, err
	}
	return &File{list: f}, nil
}

// tooFew is the doubt about a list that lacks much of the one in force.
func tooFew(path string, before, found int) error {
	if !Shrunk(before, found) {
		return nil
	}
	return fmt.Errorf("%d entries, %d are in force: over 20 %% fewer; if that is right: touch %s%s", found, before, path, TakeSuffix)
}

// word is what an administrator says of a list that lacks much. It is about one state of the list: with that it is spent, and removed if
// that can be, since times alone do not tell: a list that was copied or restored may be older than a word about another one.
type word struct {
	path  string
	live  bool        // a list is in force with which others are compared
	spent fs.FileInfo // a word that counts no more, and is there still
}

// vouches reports whether an administrator has said so of the list since it was written.
func (w *word) vouches(_ string, list fs.FileInfo) bool {
	given, err := os.Stat(w.path)
	return err == nil && !given.ModTime().Before(list.ModTime()) && (w.spent == nil || !w.spent.ModTime().Equal(given.ModTime()))
}

// spend drops the word that there is: a list was taken. What is read at first may be read by somebody who only looks, and removes nothing.
func (w *word) spend() {
	if given, err := os.Stat(w.path); err == nil && (!w.live || os.Remove(w.path) != nil) {
		w.spent = given
	}
	w.live = true
}

// Lookup says whether a is listed. A local part that is Suspicious must be listed itself: "@domain" does
// not vouch for it.
func (f *File) Lookup(_ context.Context, a mail.Address) (Known, error) {
	if f.list.Get().Has(a) {
		return Yes, nil
	}
	return No, nil
}

// Err says why the file as it is now is not in force, nil if it is.
func (f *File) Err() error { return f.list.Err() }

// Entries gives the number of entries in force. Like Lookup it finds out whether the file changed.
func (f *File) Entries() int { return f.list.Get().Len() }

// Renew reads the file now, and takes its last line for whole. On an error the last good list stays in force.
func (f *File) Renew() error { return f.list.Renew() }

// parseList reads the lines of a list; name is for errors.
func parseList(name string, r io.Reader) (*Mailboxes, error) {
	l := NewMailboxes(0)
	if err := lines.Each(name, r, func(_ int, entry, _ string) error { return l.add(entry) }); err != nil {
		return nil, err
	}
	if l.Len() == 0 {
		return nil, fmt.Errorf("%s: no address in it", name)
	}
	return l, nil
}
