package app

import (
	"bufio"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/postern-mail/postern/internal/users"
	"github.com/postern-mail/postern/mail"
)

// UserOptions are what is said of a user on the command line.
type UserOptions struct {
	File     string
	Name     string
	Send     []string // as whom he may send; none: as his name
	Rate     []string
	Generate bool // a random password, which is printed, in place of one that is read
}

// UserAdd adds a user to a file, which is made where there is none.
func (a *App) UserAdd(o UserOptions) error {
	if len(o.Send) == 0 {
		if addr, err := mail.ParseAddress(o.Name); err != nil || addr.Domain() == "" {
			return exit(ExitUsage, "user: as whom may %s send? The name is no address: say --send ADDRESS, DOMAIN, '*.DOMAIN', or '*' for anybody", o.Name)
		}
		o.Send = []string{o.Name}
	}
	password, err := a.newPassword(o)
	if err != nil {
		return err
	}
	if err := users.Add(o.File, users.New{Name: o.Name, Password: password, Send: o.Send, Rates: o.Rate}); err != nil {
		return userExit(err)
	}
	_, err = fmt.Fprintf(a.o.Stderr, "%s: added %s, who may send as %s\n", o.File, o.Name, strings.Join(o.Send, ", "))
	return err
}

// UserPassword gives a user another password.
func (a *App) UserPassword(o UserOptions) error {
	l, err := readUsers(o.File)
	if err != nil {
		return err
	}
	if l.Find(o.Name) == nil {
		return exit(ExitData, "user: %s: %s: %w", o.File, o.Name, users.ErrNoUser)
	}
	password, err := a.newPassword(o)
	if err != nil {
		return err
	}
	if err := users.SetPassword(o.File, o.Name, password); err != nil {
		return userExit(err)
	}
	_, err = fmt.Fprintf(a.o.Stderr, "%s: %s has a new password\n", o.File, o.Name)
	return err
}

// UserRemove takes users out of a file.
func (a *App) UserRemove(file string, names []string) error {
	for _, name := range names {
		if err := users.Remove(file, name); err != nil {
			return userExit(err)
		}
		if _, err := fmt.Fprintf(a.o.Stderr, "%s: removed %s\n", file, name); err != nil {
			return err
		}
	}
	return nil
}

// UserList prints who is in a file.
func (a *App) UserList(file string, asJSON bool) error {
	l, err := readUsers(file)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(a.o.Stdout, 0, 8, 2, ' ', 0)
	out := json.NewEncoder(a.o.Stdout)
	for _, u := range l.All() {
		rates := make([]string, len(u.Rates))
		for i, r := range u.Rates {
			rates[i] = r.String()
		}
		if asJSON {
			err = out.Encode(struct {
				Name  string   `json:"name"`
				Send  []string `json:"send"`
				Rates []string `json:"rates"`
			}{u.Name, u.Senders(), rates})
		} else {
			_, err = fmt.Fprintf(w, "%s\t%s\t%s\n", u.Name, strings.Join(u.Senders(), ", "), strings.Join(rates, ", "))
		}
		if err != nil {
			return err
		}
	}
	return w.Flush()
}

// UserCheck checks a file, and where a name is given, whether a password is that user's.
func (a *App) UserCheck(file, name string) error {
	l, err := readUsers(file)
	if err != nil {
		return err
	}
	if name == "" {
		for _, w := range users.Weaknesses(file, l) {
			if _, err := fmt.Fprintln(a.o.Stderr, w); err != nil {
				return err
			}
		}
		_, err := fmt.Fprintf(a.o.Stdout, "%s: ok: %d users\n", file, len(l.All()))
		return err
	}
	u := l.Find(name)
	if u == nil {
		return exit(ExitData, "user: %s: %s: %w", file, name, users.ErrNoUser)
	}
	password, err := a.readPassword("Password: ")
	if err != nil {
		return err
	}
	if !users.SamePassword(u, password) {
		return exit(ExitData, "user: that is not the password of %s", u.Name)
	}
	_, err = fmt.Fprintf(a.o.Stdout, "that is the password of %s\n", u.Name)
	return err
}

func readUsers(file string) (*users.List, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, exit(ExitData, "user: %w", err)
	}
	defer f.Close() //nolint:errcheck // read only
	l, err := users.Parse(file, f)
	if err != nil {
		return nil, exit(ExitData, "user: %w", err)
	}
	return l, nil
}

// userExit gives the exit of a change that was not made.
func userExit(err error) error {
	code := ExitData
	if at := new(fs.PathError); errors.As(err, &at) {
		code = ExitCannotWrite
	}
	return &Exit{Code: code, Err: fmt.Errorf("postern: %w", err)}
}

// newPassword makes a password, or asks for one.
func (a *App) newPassword(o UserOptions) (string, error) {
	if !o.Generate {
		return a.readPassword("New password: ", "Again: ")
	}
	password := rand.Text()
	_, err := fmt.Fprintln(a.o.Stdout, password)
	return password, err
}

// maxTyped is how many octets a line with a password may have.
const maxTyped = 4096

// readPassword asks for a password at a terminal, unseen, once for each prompt; elsewhere it is the first line of the
// standard input. It is never an argument: everybody on a host sees those.
func (a *App) readPassword(prompts ...string) (string, error) {
	f, ok := a.o.Stdin.(*os.File)
	if !ok || !isTerminal(f) {
		return firstLine(a.o.Stdin)
	}
	var first string
	for i, prompt := range prompts {
		fmt.Fprint(a.o.Stderr, prompt)
		line, err := readHidden(f)
		fmt.Fprintln(a.o.Stderr)
		switch {
		case err != nil:
			return "", err
		case i == 0:
			first = line
		case line != first:
			return "", exit(ExitData, "user: these are two different passwords")
		}
	}
	return first, nil
}

func firstLine(r io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, maxTyped)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", exit(ExitData, "user: standard input: %w", err)
	}
	line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
	if line == "" {
		return "", exit(ExitData, "user: a password is needed on standard input, on a line of its own")
	}
	return line, nil
}
