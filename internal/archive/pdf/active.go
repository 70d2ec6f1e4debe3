package pdf

import (
	"bytes"
	"io"
	"regexp"
	"strings"

	"github.com/postern-mail/postern/internal/archive"
)

// examine looks at each dictionary of an object for what is active, and for files.
func (w *walker) examine(o *object) error {
	if o.stream >= 0 {
		for _, t := range o.value.all("Type") {
			if t.s == "EmbeddedFile" {
				if _, err := w.attach(o); err != nil {
					return err
				}
			}
		}
	}
	return w.examineValue(o.value, o)
}

func (w *walker) examineValue(v value, o *object) error {
	if v.kind == dictionary {
		if err := w.examineDict(v, o); err != nil {
			return err
		}
	}
	for _, k := range v.kids {
		if k.kind == dictionary || k.kind == array {
			if err := w.examineValue(k, o); err != nil {
				return err
			}
		}
	}
	return nil
}

// checks are what is asked of a dictionary that has an entry of this name.
var checks = []struct {
	key   string
	check func(w *walker, d, v value, o *object) error
}{
	{"JS", (*walker).checkScript},
	{"OnInstantiate", (*walker).checkInstantiate},
	{"JavaScript", (*walker).checkNamedScripts},
	{"S", (*walker).checkAction},
	{"Subtype", (*walker).checkSubtype},
	{"Type", (*walker).checkSubtype},
	{"OpenAction", (*walker).checkOpen},
	{"AA", (*walker).checkAdditional},
	{"URI", (*walker).checkURI},
	{"XFA", (*walker).checkXFA},
	{"EF", (*walker).checkFile},
	{"EmbeddedFiles", (*walker).checkTree},
	{"Names", (*walker).checkNames},
}

func (w *walker) examineDict(d value, o *object) error {
	for _, c := range checks {
		for _, v := range d.all(c.key) {
			if err := c.check(w, d, v, o); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkScript is about the script of an action (ISO 32000-1 12.6.4.16) or of a rendition (12.6.4.13).
func (w *walker) checkScript(_, v value, o *object) error {
	found, err := w.resolve(v, o)
	if err != nil {
		return err
	}
	for _, f := range found {
		switch {
		case f.value.kind == text && w.locked && !f.plain:
			return w.t.Sign(archive.ActivePDF, "it runs JavaScript, which is encrypted")
		case f.value.kind == text:
			return w.t.Sign(archive.ActivePDF, "it runs JavaScript: %s", quote(textString(w.plaintext(f.value, f))))
		case f.stream >= 0:
			return w.t.Sign(archive.ActivePDF, "it runs JavaScript, which is in object %d", f.num)
		}
	}
	if v.kind == reference && len(found) == 0 {
		return w.t.Sign(archive.ActivePDF, "it runs JavaScript, which is in object %d that is not there", v.n)
	}
	return nil
}

// checkInstantiate is about the script of a 3D stream (ISO 32000-1 13.6.3).
func (w *walker) checkInstantiate(_, v value, _ *object) error {
	if v.kind == null {
		return nil
	}
	return w.t.Sign(archive.ActivePDF, "it runs JavaScript when a 3D picture is shown")
}

// checkNamedScripts is about the scripts of the document (ISO 32000-1 7.7.4) or of form data (12.7.7.3).
func (w *walker) checkNamedScripts(_, v value, o *object) error {
	found, err := w.resolve(v, o)
	if err != nil {
		return err
	}
	for _, f := range found {
		for _, key := range []string{"Names", "Kids", "Before", "After", "AfterPermsReady", "Doc"} {
			in, err := w.last(f.value, key, f)
			if err != nil {
				return err
			}
			if in.kind == text || in.kind == dictionary || len(in.kids) > 0 {
				return w.t.Sign(archive.ActivePDF, "it runs JavaScript when it is opened")
			}
		}
	}
	return nil
}

// checkAction is about the action that a dictionary is (ISO 32000-1 12.6.4).
func (w *walker) checkAction(d, v value, o *object) error {
	found, err := w.resolve(v, o)
	if err != nil {
		return err
	}
	for _, f := range found {
		if f.value.kind != name {
			continue
		}
		why := ""
		switch f.value.s {
		case "JavaScript":
			if d.has("JS") {
				continue // the script itself is better evidence
			}
			why = "it runs JavaScript"
		case "Launch":
			why = "it starts a program or opens another file"
		case "GoToE":
			why = "it opens an embedded file"
		case "GoToR":
			why = "it opens a file elsewhere"
		case "ImportData":
			why = "it reads form data from another file"
		case "RichMediaExecute":
			why = "it runs a command of rich media"
		default:
			continue
		}
		targets, err := w.targets(d, o)
		if err != nil {
			return err
		}
		if f.value.s == "GoToR" {
			// Links among the files of a manual are harmless; what goes to a server is not.
			if targets = remote(targets); len(targets) == 0 {
				continue
			}
		}
		if len(targets) > 0 {
			why += ": " + quote(strings.Join(targets, ", "))
		}
		if err := w.t.Sign(archive.ActivePDF, "%s", why); err != nil {
			return err
		}
	}
	return nil
}

// targets gives the files that an action names, by itself or for one system (ISO 32000-1 12.6.4.5).
func (w *walker) targets(d value, o *object) ([]string, error) {
	var all []string
	for _, key := range []string{"F", "UF", "DOS", "Mac", "Unix", "Win", "P"} {
		found, err := w.resolveAll(d, key, o)
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			switch f.value.kind {
			case text:
				all = append(all, textString(w.plaintext(f.value, f)))
			case dictionary:
				if len(all) > 32 || f.value.has("S") {
					continue
				}
				for _, inner := range []string{"F", "UF", "DOS", "Mac", "Unix", "P"} {
					for _, v := range f.value.all(inner) {
						if v.kind == text {
							all = append(all, textString(w.plaintext(v, f)))
						}
					}
				}
			}
		}
	}
	return all, nil
}

// remotely is how a file on a server is named: as a network path or with a scheme, which has more letters than the
// drives of Windows have.
var remotely = regexp.MustCompile(`^(?i:\\\\|//|[a-z][a-z0-9+.-]+:)`)

func remote(targets []string) []string {
	var all []string
	for _, t := range targets {
		if remotely.MatchString(strings.TrimSpace(t)) {
			all = append(all, t)
		}
	}
	return all
}

// checkSubtype is about rich media, which runs ActionScript or JavaScript.
func (w *walker) checkSubtype(_, v value, o *object) error {
	found, err := w.resolve(v, o)
	if err != nil {
		return err
	}
	for _, f := range found {
		switch f.value.s {
		case "RichMedia", "RichMediaContent", "Flash":
			return w.t.Sign(archive.ActivePDF, "it holds rich media (Flash)")
		}
	}
	return nil
}

// checkURI is about links to script.
func (w *walker) checkURI(_, v value, o *object) error {
	found, err := w.resolve(v, o)
	if err != nil {
		return err
	}
	for _, f := range found {
		if f.value.kind != text {
			continue
		}
		uri := textString(w.plaintext(f.value, f))
		if scheme, _, ok := strings.Cut(uri, ":"); ok && runs[strings.ToLower(strings.TrimSpace(scheme))] {
			if err := w.t.Sign(archive.ActivePDF, "it links to %s", quote(uri)); err != nil {
				return err
			}
		}
	}
	return nil
}

// runs are the schemes of URIs that are script or start programs of the desktop.
var runs = map[string]bool{
	"javascript": true, "vbscript": true, "data": true, "search-ms": true, "search": true, "ms-msdt": true,
	"ms-officecmd": true, "ms-appinstaller": true, "shell": true,
}

// checkOpen is about the action on opening the document. Going to a page is harmless, and what is active of its
// own is found as such.
func (w *walker) checkOpen(_, v value, o *object) error {
	found, err := w.resolve(v, o)
	if err != nil {
		return err
	}
	for _, f := range found {
		if err := w.checkChain(f.value, f, "when it is opened", 8); err != nil {
			return err
		}
	}
	return nil
}

// checkAdditional is about the actions on events of a page, a field or the document (ISO 32000-1 12.6.3).
func (w *walker) checkAdditional(_, v value, o *object) error {
	found, err := w.resolve(v, o)
	if err != nil {
		return err
	}
	for _, f := range found {
		for i := 1; f.value.kind == dictionary && i < len(f.value.kids) && i < 64; i += 2 {
			actions, err := w.resolve(f.value.kids[i], f)
			if err != nil {
				return err
			}
			for _, a := range actions {
				if err := w.checkChain(a.value, a, "by itself", 8); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// checkChain looks at an action that nobody clicks on, and at those after it.
func (w *walker) checkChain(d value, o *object, when string, left int) error {
	kinds, err := w.resolveAll(d, "S", o)
	if err != nil || left == 0 {
		return err
	}
	for _, k := range kinds {
		switch k.value.s {
		case "URI", "SubmitForm", "GoToR":
			if err := w.t.Sign(archive.ActivePDF, "it goes to another file or place %s (%s)", when, k.value.s); err != nil {
				return err
			}
		}
	}
	after, err := w.last(d, "Next", o)
	if err != nil {
		return err
	}
	if after.kind != array {
		return w.checkChain(after, o, when, left-1)
	}
	for _, a := range after.kids[:min(len(after.kids), 4)] {
		found, err := w.resolve(a, o)
		if err != nil {
			return err
		}
		for _, f := range found[:min(len(found), 1)] {
			if err := w.checkChain(f.value, f, when, left-1); err != nil {
				return err
			}
		}
	}
	return nil
}

// scriptElement begins a script of an XFA form, and an entity may hide one.
var scriptElement = regexp.MustCompile(`<(?:[\w.-]+:)?script[\s>/]|<!ENTITY`)

// checkXFA is about forms in XML (ISO 32000-1 12.7.8): one stream, or an array of names and streams, which together
// are one document.
func (w *walker) checkXFA(_, v value, o *object) error {
	found, err := w.resolve(v, o)
	if err != nil {
		return err
	}
	for _, f := range found {
		parts := []value{v}
		if f.value.kind == array {
			parts = f.value.kids
		}
		var tail []byte
		for _, p := range parts {
			if p.kind != reference {
				continue
			}
			streams, err := w.resolve(p, f)
			if err != nil {
				return err
			}
			for _, s := range streams {
				if s.stream < 0 {
					continue
				}
				if tail, err = w.searchXFA(s, tail); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// searchXFA searches a stream for script; tail is the end of what was before it.
func (w *walker) searchXFA(o *object, tail []byte) ([]byte, error) {
	r, err := w.open(o)
	block := make([]byte, 64<<10)
	for err == nil {
		n := 0
		n, err = r.Read(block)
		if serr := w.budget.Spend(int64(n)); serr != nil {
			return nil, serr
		}
		// In UTF-16 each second octet is zero.
		tail = append(tail, bytes.ReplaceAll(block[:n], []byte{0}, nil)...)
		if scriptElement.Match(tail) {
			return nil, w.t.Sign(archive.ActivePDF, "its XFA form runs script")
		}
		tail = append([]byte(nil), tail[max(0, len(tail)-128):]...)
	}
	switch {
	case err == io.EOF:
		return tail, nil
	case fatal(err):
		return nil, err
	case w.failed() != nil:
		return nil, w.failed()
	}
	return tail, w.unreadable(err, "its XFA form (object %d)", o.num)
}
