// Package office finds what office documents do by themselves and what they carry: macros, links to programs and to
// other machines, embedded files. It reads the old formats (OLE2), the new ones (OOXML and ODF, which are zip
// archives) and those of plain XML. It is not a reader of texts, and it recurses into nothing that it finds.
package office

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/ole"
	"github.com/postern-mail/postern/internal/archive/tell"
	"github.com/postern-mail/postern/internal/archive/vba"
)

// walker hands on what is found.
type walker struct {
	b     *archive.Budget
	v     archive.Visitor
	signs tell.Signs

	macros bool   // there is code
	ribbon string // the macro that runs when the ribbon of the document is shown
}

// errStop ends a walk for which the budget is spent; the sign of it was given.
var errStop = errors.New("office: the budget is spent")

// say adds a sign. Of one topic, a few are enough.
func (w *walker) say(kind archive.Kind, topic, format string, a ...any) {
	w.signs.Add(kind, topic, fmt.Sprintf(format, a...))
}

// problem says what was wrong with a part of the document.
func (w *walker) problem(what string, problem error) error {
	var spent *archive.ErrBudget
	if errors.As(problem, &spent) {
		w.say(archive.Bomb, "", "%s: %s", what, spent.What)
		return errStop
	}
	if problem != nil {
		w.say(archive.Unreadable, what, "%s: %v", what, problem)
	}
	return nil
}

// end makes of the error that ended a walk the one that it returns, and hands on the signs.
func (w *walker) end(err error) error {
	if err != nil && !errors.Is(err, errStop) {
		return err
	}
	if w.ribbon != "" && (w.macros || strings.ContainsAny(w.ribbon, `!/\`)) {
		w.say(archive.MacroAuto, "ribbon", "the macro %q runs when the document's ribbon is shown", w.ribbon)
	}
	return w.signs.Give(w.v)
}

// give hands on a file inside, of which f is nil where there is no content.
func (w *walker) give(e *archive.Entry) error {
	if err := w.b.Entry(); err != nil {
		return w.problem("files inside", err)
	}
	return w.v.File(e)
}

// giveSection hands on a file that lies in the clear within the document.
func (w *walker) giveSection(names []string, f *archive.File) error {
	if err := w.b.Spend(f.Size()); err != nil {
		return w.problem("files inside", err)
	}
	return w.give(&archive.Entry{Names: names, Size: f.Size(), File: f})
}

// Walk implements archive.Walk for documents that are compound files: those of Word, Excel, PowerPoint, Visio,
// Project, Publisher and the Windows Installer.
func Walk(ctx context.Context, f *archive.File, b *archive.Budget, v archive.Visitor) error {
	w := &walker{b: b, v: v}
	root, problem, err := ole.Open(ctx, f)
	if err != nil {
		return err
	}
	if err := w.problem("the compound file", problem); err != nil || root == nil {
		return w.end(err)
	}
	return w.end(w.walkRoot(ctx, root))
}

// Encryption says how the document in a compound file is encrypted, "" where it is not.
func Encryption(root *ole.Storage) (how string, err error) {
	for _, s := range root.Streams {
		switch strings.ToLower(s.Name) {
		case "encryptedpackage", "encryptioninfo":
			return "the whole document is encrypted", nil // MS-OFFCRYPTO 2.3.2
		case "worddocument":
			how, err = wordEncryption(s)
		case "workbook", "book":
			f, _ := s.File()
			how, err = excelEncryption(f)
		case "current user":
			how, err = powerPointEncryption(s)
		case "encryptedsummary":
			return "the presentation is encrypted", nil // MS-OFFCRYPTO 2.3.5.4
		}
		if how != "" || err != nil {
			return how, err
		}
	}
	return "", nil
}

// walkRoot looks at a whole document, in the order of its directory.
func (w *walker) walkRoot(ctx context.Context, root *ole.Storage) error {
	how, err := Encryption(root)
	if _, err := w.encrypted(how, err); err != nil {
		return err
	}
	if msi := installer(root); msi != "" {
		w.say(archive.Program, "", "it is %s", msi)
	}
	msi := installer(root) != ""
	type folder struct {
		s     *ole.Storage
		known bool // what is in it is known, and only objects count
	}
	for todo := []folder{{s: root}}; len(todo) > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		next := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if what := controls[strings.ToLower(next.s.CLSID.String())]; what != "" {
			w.say(archive.MacroAuto, "control", "there is an object that is %s", what)
		}
		around := withVBA(next.s)
		if vba.Is(next.s) {
			if err := w.walkVBA(ctx, next.s); err != nil {
				return err
			}
			next.known = true
		}
		if err := w.walkStreams(ctx, next.s, next.known || around, next.s == root && msi); err != nil {
			return err
		}
		for i := len(next.s.Storages) - 1; i >= 0; i-- {
			c := next.s.Storages[i]
			if strings.EqualFold(c.Name, "\x06DataSpaces") {
				continue // how the document is encrypted (MS-OFFCRYPTO 2.1.1)
			}
			todo = append(todo, folder{c, next.known || around || strings.EqualFold(c.Name, "MsoDataStore")})
		}
	}
	return nil
}

// withVBA reports whether a storage is the one around a project of macros, which else has forms only.
func withVBA(s *ole.Storage) bool {
	return s.Stream("PROJECT") != nil && s.Storage("VBA") != nil
}

// isProject reports whether a compound file is a project of macros by itself, and no document that has one.
func isProject(root *ole.Storage) bool {
	if root.Storage("VBA") == nil {
		return false
	}
	for todo := []*ole.Storage{root}; len(todo) > 0; {
		s := todo[len(todo)-1]
		todo = append(todo[:len(todo)-1], s.Storages...)
		for _, c := range s.Streams {
			switch strings.ToLower(c.Name) {
			case "worddocument", "workbook", "book", "powerpoint document":
				return false
			}
		}
	}
	return true
}

func (w *walker) walkVBA(ctx context.Context, s *ole.Storage) error {
	bomb := false
	err := vba.Scan(ctx, s, w.b, func(s archive.Sign) error {
		bomb = bomb || s.Kind == archive.Bomb
		w.macros = w.macros || s.Kind == archive.Macro || s.Kind == archive.MacroAuto
		w.say(s.Kind, "macros", "%s", s.Why)
		return nil
	})
	if err == nil && bomb {
		err = errStop
	}
	return err
}

// walkStreams looks at the streams of one storage. Where what is in it is known, only documents and objects count.
func (w *walker) walkStreams(ctx context.Context, s *ole.Storage, known, msi bool) error {
	for _, c := range s.Streams {
		if err := ctx.Err(); err != nil {
			return err
		}
		name := strings.ToLower(c.Name)
		var err error
		switch {
		case name == "worddocument":
			err = w.walkWord(ctx, s, c)
		case name == "workbook" || name == "book":
			err = w.walkExcel(ctx, c)
		case name == "powerpoint document":
			err = w.walkPowerPoint(ctx, s, c)
		case name == "\x01ole10native":
			err = w.walkNative(c)
		case name == "\x01ole":
			err = w.walkLink(c)
		case !known && !plain(name):
			err = w.giveStream(c, msi)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// encrypted says that a part is encrypted, if it is.
func (w *walker) encrypted(how string, err error) (bool, error) {
	if how != "" {
		w.say(archive.Encrypted, "", "%s", how)
	}
	return how != "", err
}

// plainStreams are streams that hold parts of documents and nothing that anybody takes out of them.
var plainStreams = map[string]bool{
	"data": true, "0table": true, "1table": true, "current user": true, "pictures": true, "ctls": true,
	"visiodocument": true, "user names": true, "revision log": true, "encryptedpackage": true, "encryptioninfo": true,
	"encryptedsummary": true, "msodatastore": true, "_signatures": true, "__substg1.0": true,
}

// plain reports whether a stream is none that anybody takes out of a document: names that begin with these octets
// are kept for OLE and for properties (MS-CFB 2.6.1, MS-OLEDS).
func plain(name string) bool {
	return plainStreams[name] || name != "" && name[0] > 0 && name[0] < 7 && name[0] != 4
}

// giveStream hands on a stream that the document carries.
func (w *walker) giveStream(c *ole.Stream, msi bool) error {
	name := c.Name
	if msi {
		var table bool
		if name, table = installerName(name); table {
			return nil
		}
	}
	f, problem := c.File()
	if err := w.problem("what is inside", problem); err != nil {
		return err
	}
	return w.giveSection([]string{name}, f)
}

// readings gives what an 8-bit text of an unknown code page may mean.
func readings(b []byte) []string {
	if len(b) == 0 {
		return nil
	}
	if utf8.Valid(b) {
		ascii := true
		for _, c := range b {
			ascii = ascii && c < 0x80
		}
		if ascii {
			return []string{string(b)}
		}
	}
	var all []string
	if utf8.Valid(b) {
		all = append(all, string(b))
	}
	for _, m := range []*charmap.Charmap{charmap.Windows1252, charmap.CodePage437} {
		if s, err := m.NewDecoder().Bytes(b); err == nil {
			all = append(all, string(s))
		}
	}
	return all
}

// remote reports whether a target leads to another machine, or to a program that fetches: everything but a path on a
// drive, a relative one, and what stays in the document or is for a person to follow.
func remote(target string) bool {
	t := strings.ToLower(strings.TrimSpace(strings.ReplaceAll(target, "/", `\`)))
	if rest, ok := strings.CutPrefix(t, "file:"); ok {
		path := strings.TrimLeft(rest, `\`)
		slashes := len(rest) - len(path)
		if slashes == 2 {
			// file://server/share is on a server, file://C:\x on a drive.
			return !drive(path) && path != ""
		}
		return slashes > 3 && !drive(path)
	}
	if strings.HasPrefix(t, `\\`) {
		return true
	}
	scheme, _, ok := strings.Cut(t, ":")
	if !ok || len(scheme) < 2 {
		return false
	}
	for _, c := range scheme {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '+' && c != '.' {
			return false
		}
	}
	return scheme != "mailto"
}

func drive(path string) bool { return len(path) > 1 && (path[1] == ':' || path[1] == '|') }
