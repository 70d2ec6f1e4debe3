// Package mailbox reads the messages of mbox files (RFC 4155), Maildirs, folders of messages and single ones, one after the other; files may
// be packed with gzip or bzip2. It only reads, and looks into no message further than to see that it is one.
package mailbox

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// MaxMessage is how many octets of a message are read; the rest of a bigger one is passed over.
const MaxMessage = 50 << 20

// Message is one message, as it stands in its file.
type Message struct {
	Name   string // the file, and of an mbox with the number of the message: "inbox:12"
	Octets []byte // its own: the caller may keep them
	Cut    bool   // it is bigger than MaxMessage
	Read   int64  // octets of the source, as it lies there, that were read up to here
}

// stop is what a reader inside gives when the caller has had enough.
type stop struct{ error }

// Read hands every message of a source to f, and ends with the first error of f. A source is a file or a folder; a file that
// begins with "From " is an mbox, one with cur and new in it a Maildir; of another folder all files are read, and those of the
// folders in it, in the order of their names and without those whose name begins with a dot; of symbolic links those to files.
// What can't be read, and what is no message (a *NoMessageError), is told to skipped and passed over, unless that is nil or gives an
// error itself. What follows what is packed with gzip and is not packed is told to skipped alone. An empty file has no messages.
func Read(path string, f func(Message) error, skipped func(error) error) error {
	r := &reader{f: f, skipped: skipped}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("mailbox: %w", err)
	}
	if info.IsDir() {
		err = r.folder(path, 0)
	} else {
		err = r.file(path)
	}
	return unwrapped(err)
}

// ReadFrom is Read of a stream, which is an mbox or one message.
func ReadFrom(from io.Reader, name string, f func(Message) error, skipped func(error) error) error {
	r := &reader{f: f, skipped: skipped}
	return unwrapped(r.stream(from, name))
}

func unwrapped(err error) error {
	var s stop
	if errors.As(err, &s) {
		return s.error
	}
	return err
}

// Size tells how many octets a source has, as far as that can be told; it is for a progress bar.
func Size(path string) (n int64) {
	_ = filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				n += info.Size()
			}
		}
		return nil
	})
	return n
}

type reader struct {
	f       func(Message) error
	skipped func(error) error
	source  *counted      // that is read
	in      *bufio.Reader // of it; it reads the next one too
	before  int64         // octets of those before it
}

func (r *reader) skip(err error) error {
	var s stop
	if errors.As(err, &s) || r.skipped == nil {
		return err
	}
	if err := r.skipped(err); err != nil {
		return stop{err}
	}
	return nil
}

// maxDepth is how deep folders may lie in one another.
const maxDepth = 30

func (r *reader) folder(path string, depth int) error {
	entries, err := os.ReadDir(path)
	if err != nil {
		return fmt.Errorf("mailbox: %w", err)
	}
	maildir := isMaildir(entries)
	for _, e := range entries {
		name := e.Name()
		below := filepath.Join(path, name)
		switch {
		case maildir && !(e.IsDir() && (name == "cur" || name == "new")) && !(e.IsDir() && strings.HasPrefix(name, ".")):
			continue // tmp holds what is being delivered, and files are the server's
		case !maildir && strings.HasPrefix(name, "."):
			continue
		case e.IsDir() && depth < maxDepth:
			err = r.folder(below, depth+1)
		case e.Type().IsRegular():
			err = r.file(below)
		case e.Type()&fs.ModeSymlink != 0:
			err = r.link(below)
		default:
			continue
		}
		if err != nil {
			if err = r.skip(err); err != nil {
				return err
			}
		}
	}
	return nil
}

// link reads the file to which a symbolic link leads. Folders are not followed: they may lead round in a circle.
func (r *reader) link(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return fmt.Errorf("mailbox: %w", err)
	case info.Mode().IsRegular():
		return r.file(path)
	}
	return nil
}

func isMaildir(entries []fs.DirEntry) bool {
	has := func(name string) bool {
		return slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.IsDir() && e.Name() == name })
	}
	return has("cur") && has("new")
}

func (r *reader) file(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("mailbox: %w", err)
	}
	defer f.Close()
	return r.stream(f, path)
}

const bufferSize = 64 << 10

func (r *reader) stream(from io.Reader, name string) error {
	r.source = &counted{from: from}
	defer func() { r.before += r.source.n }()
	if r.in == nil {
		r.in = bufio.NewReaderSize(nil, bufferSize)
	}
	r.in.Reset(r.source)
	in, members, err := unpacked(r.in)
	if err != nil {
		return fmt.Errorf("mailbox: %s: %w", name, err)
	}
	if start, _ := in.Peek(len(separator)); bytes.Equal(start, separator) {
		err = r.mbox(in, name)
	} else {
		err = r.single(in, name)
	}
	if err == nil && members != nil && members.trailing && r.skipped != nil {
		err = r.skip(fmt.Errorf("mailbox: %s: %w", name, errTrailing))
	}
	return err
}

func (r *reader) single(in io.Reader, name string) error {
	b, err := io.ReadAll(io.LimitReader(in, MaxMessage+1))
	if err != nil {
		return fmt.Errorf("mailbox: %s: %w", name, err)
	}
	if len(b) == 0 {
		return nil
	}
	m := Message{Name: name, Octets: b, Cut: len(b) > MaxMessage}
	m.Octets = b[:min(len(b), MaxMessage)]
	return r.give(m, false)
}

// give hands on what is a message.
func (r *reader) give(m Message, entry bool) error {
	if why := whyNone(m.Octets); why != "" {
		return &NoMessageError{Name: m.Name, Entry: entry, Why: why}
	}
	m.Read = r.before + r.source.n
	if err := r.f(m); err != nil {
		return stop{err}
	}
	return nil
}

var separator = []byte("From ")

// mbox reads messages that a line "From …" behind an empty line divides (RFC 4155 2). In a message such a line was written as
// ">From ", and one that began so as ">>From ".
func (r *reader) mbox(in *bufio.Reader, name string) error {
	var message []byte
	number, begun, empty, cut := 0, false, true, false
	end := func() error {
		if !begun {
			return nil
		}
		number++
		m := Message{Name: fmt.Sprintf("%s:%d", name, number), Octets: withoutLast(message), Cut: cut}
		message, cut = nil, false
		err := r.give(m, true)
		if errors.As(err, new(*NoMessageError)) {
			return r.skip(err)
		}
		return err
	}
	for start := true; ; {
		line, err := in.ReadSlice('\n')
		whole := !errors.Is(err, bufio.ErrBufferFull)
		if start && empty && bytes.HasPrefix(line, separator) {
			if err := end(); err != nil {
				return err
			}
			begun, empty = true, false
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = in.ReadSlice('\n')
			}
			whole = true
		} else {
			empty = start && whole && len(bytes.TrimRight(line, "\r\n")) == 0
			if room := MaxMessage - len(message); room < len(line) {
				cut = true
			} else if start {
				message = append(message, unescaped(line)...)
			} else {
				message = append(message, line...)
			}
		}
		start = whole
		switch {
		case errors.Is(err, io.EOF):
			return end()
		case err != nil && whole:
			return fmt.Errorf("mailbox: %s: %w", name, err)
		}
	}
}

// unescaped takes one ">" from a line that without them begins with "From ".
func unescaped(line []byte) []byte {
	if rest := bytes.TrimLeft(line, ">"); len(rest) < len(line) && bytes.HasPrefix(rest, separator) {
		return line[1:]
	}
	return line
}

// withoutLast takes the empty line that stands before the next separator from the end of a message.
func withoutLast(b []byte) []byte {
	for _, end := range []string{"\r\n\r\n", "\n\n"} {
		if bytes.HasSuffix(b, []byte(end)) {
			return b[:len(b)-len(end)/2]
		}
	}
	return b
}
