package users

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/postern-mail/postern/internal/store"
)

// maxFile is how many octets a file of users may have to be changed: some 100 000 users.
const maxFile = 16 << 20

// New is a user to be added.
type New struct {
	Name     string
	Password string
	Send     []string // as the file has it
	Rates    []string // as the file has it
}

// Add puts a user at the end of the file at path, which is made, for its owner alone, where there is none.
func Add(path string, n New) error {
	if _, err := canonical(n.Name); err != nil {
		return fmt.Errorf("users: %q: %w", n.Name, err)
	}
	h, err := NewHash(n.Password)
	if err != nil {
		return err
	}
	words := []string{n.Name, h.String(), "send=" + strings.Join(n.Send, ",")}
	if len(n.Rates) > 0 {
		words = append(words, "rate="+strings.Join(n.Rates, ","))
	}
	line := strings.Join(words, " ")
	u, err := parseUser(line)
	if err == nil && (len(strings.Fields(line)) != len(words) || strings.HasPrefix(line, "#")) {
		err = fmt.Errorf("%q: no blanks, and no # at the beginning", n.Name)
	}
	if err != nil {
		return fmt.Errorf("users: %w", err)
	}
	return rewrite(path, true, func(all []string, l *List) ([]string, error) {
		if old := l.byKey[u.key]; old != nil {
			return nil, fmt.Errorf("%s:%d: %s is there already", path, old.line, old.Name)
		}
		return append(all, line+"\n"), nil
	})
}

// SetPassword gives a user another password. All else of his line stays.
func SetPassword(path, name, password string) error {
	h, err := NewHash(password)
	if err != nil {
		return err
	}
	return rewriteLine(path, name, func(line string, u *User) []string {
		at := strings.Index(line, u.hash.String())
		return []string{line[:at] + h.String() + line[at+len(u.hash.String()):]}
	})
}

// Remove takes a user's line out of the file at path.
func Remove(path, name string) error {
	return rewriteLine(path, name, func(string, *User) []string { return nil })
}

// ErrNoUser says that there is no user of that name.
var ErrNoUser = errors.New("there is no such user")

// rewriteLine puts others in the place of the line of a user.
func rewriteLine(path, name string, change func(line string, u *User) []string) error {
	return rewrite(path, false, func(all []string, l *List) ([]string, error) {
		u := l.Find(name)
		if u == nil {
			return nil, fmt.Errorf("%s: %s: %w", path, name, ErrNoUser)
		}
		i := u.line - 1
		return slices.Replace(all, i, i+1, change(all[i], u)...), nil
	})
}

// rewrite changes the lines of a file, each with its line end, and puts the result in its place, whole or not at all. Two
// at a time exclude each other by the file that is written.
func rewrite(path string, create bool, change func([]string, *List) ([]string, error)) error {
	target, err := filepath.EvalSymlinks(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && create:
		target = path
	case err != nil:
		return fmt.Errorf("users: %w", err)
	}
	tmp := target + ".new"
	var ours error
	err = store.WriteFile(store.OS, tmp, target, 0o600, func(w io.Writer) error {
		var text []byte
		if text, ours = replacement(path, target, tmp, create, change); ours != nil {
			return ours
		}
		_, err := w.Write(text)
		return err
	})
	switch {
	case ours != nil:
		return fmt.Errorf("users: %w", ours)
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("users: %s is there: somebody else is changing the file, or was cut short; then remove it", tmp)
	case err != nil:
		return fmt.Errorf("users: %w", err)
	}
	return nil
}

// replacement gives the new text of the file at target, of which that at tmp gets the owner and the mode.
func replacement(path, target, tmp string, create bool, change func([]string, *List) ([]string, error)) ([]byte, error) {
	text, info, err := readAll(target)
	switch {
	case errors.Is(err, fs.ErrNotExist) && create:
	case err != nil:
		return nil, err
	default:
		if err := likeOriginal(tmp, info); err != nil {
			return nil, fmt.Errorf("owner and mode of %s can't be kept: %w", target, err)
		}
	}
	return changed(path, text, change)
}

func readAll(path string) ([]byte, fs.FileInfo, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close() //nolint:errcheck // read only
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("%s has over %d octets", path, maxFile)
	}
	return text, info, err
}

// changed gives the text after a change, which must be a list again.
func changed(name string, text []byte, change func([]string, *List) ([]string, error)) ([]byte, error) {
	l, err := Parse(name, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	var all []string
	for line := range strings.Lines(string(text)) {
		if !strings.HasSuffix(line, "\n") {
			line += "\n"
		}
		all = append(all, line)
	}
	if all, err = change(all, l); err != nil {
		return nil, err
	}
	text = []byte(strings.Join(all, ""))
	_, err = Parse(name, bytes.NewReader(text))
	return text, err
}

// likeOriginal gives the file at tmp the owner and the mode of the one that it replaces, but for what others may.
func likeOriginal(tmp string, original fs.FileInfo) error {
	if err := sameOwner(tmp, original); err != nil {
		return err
	}
	return os.Chmod(tmp, original.Mode().Perm()&^0o007)
}

// Weaknesses lists what should be better in a file of users, each as name:line: what.
func Weaknesses(path string, l *List) (all []string) {
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o004 != 0 {
		all = append(all, path+": everybody on this host may read it: chmod o-r")
	}
	for _, u := range l.all {
		if why := u.hash.weak(); why != "" {
			all = append(all, fmt.Sprintf("%s:%d: %s: %s", path, u.line, u.Name, why))
		}
		if u.MaySendAsAnybody() {
			all = append(all, fmt.Sprintf("%s:%d: %s may send as anybody (send=*)", path, u.line, u.Name))
		}
	}
	return all
}
