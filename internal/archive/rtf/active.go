package rtf

import (
	"strings"

	"golang.org/x/text/encoding/charmap"

	"github.com/postern-mail/postern/internal/archive"
)

// latin decodes octets of Windows-1252, which most documents are written in.
func latin(p ...byte) string {
	var out strings.Builder
	for _, c := range p {
		out.WriteRune(charmap.Windows1252.DecodeByte(c))
	}
	return out.String()
}

// classes run or load something when a document that holds them is opened, by the start of their name in lower case.
var classes = []struct{ prefix, why string }{
	{"equation.", "the old equation editor, which runs what is written into it"},
	{"ole2link", "a link that is followed when the document is opened"},
	{"otkloadr.", "a loader of libraries"},
	{"htmlfile", "a web page within the document"},
	{"scriptlet", "a script within the document"},
	{"scriptbridge.", "a script within the document"},
	{"shell.explorer", "a web browser within the document"},
	{"shockwaveflash.", "a Flash film"},
	{"mscomctllib.", "a control that runs what is written into it"},
	{"comctllib.", "a control that runs what is written into it"},
	{"soap:", "a link that is followed when the document is opened"},
	{"script:", "a script within the document"},
}

// classIDs are the class identifiers of some of them, in the order of octets of MS-DTYP 2.3.4.2.
var classIDs = map[string]string{
	"\x02\xce\x02\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00\x46": "Equation.3",
	"\x03\xce\x02\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00\x46": "Equation.2",
	"\x00\x03\x00\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00\x46": "OLE2Link",
	"\x6e\xdb\x7c\xd2\x6d\xae\xcf\x11\x96\xb8\x44\x45\x53\x54\x00\x00": "ShockwaveFlash.ShockwaveFlash",
	"\x61\xf9\x56\x88\x0a\x34\xd0\x11\xa9\x6b\x00\xc0\x4f\xd7\x05\xa2": "Shell.Explorer.2",
}

// class gives the sign of a class of objects.
func (w *walker) class(name string) error {
	lower := strings.ToLower(strings.TrimSpace(name))
	for _, c := range classes {
		if strings.HasPrefix(lower, c.prefix) {
			return w.sign(archive.MacroAuto, "an object of class %.80q: %s", name, c.why)
		}
	}
	return nil
}

// form reports whether a class is one of the plain controls of forms.
func form(class string) bool {
	return strings.HasPrefix(strings.ToLower(class), "forms.") && !strings.EqualFold(class, "Forms.HTML")
}

// schemes fetch what they name from elsewhere, or run it.
var schemes = []string{"http:", "https:", "ftp:", "file:", "mhtml:", "script:", "javascript:", "ms-its:", "its:", "mk:", "search-ms:", "ms-msdt:", "webdav:", "dav:"}

// remote reports whether a path leads to another machine. Windows takes the slashes of a path either way round.
func remote(path string) bool {
	path = strings.ToLower(strings.TrimLeft(path, "\" \t"))
	if rest, ok := strings.CutPrefix(path, "file:///"); ok && len(rest) > 1 && rest[1] == ':' {
		return false // a drive of this machine
	}
	for _, s := range schemes {
		if strings.HasPrefix(path, s) {
			return true
		}
	}
	return strings.HasPrefix(strings.ReplaceAll(path, "/", `\`), `\\`) || strings.Contains(path, "://")
}

// field gives the signs of a field's instruction (ECMA-376 part 1, 17.16).
func (w *walker) field(instruction string) error {
	words := strings.FieldsFunc(instruction, func(r rune) bool { return r <= ' ' || r == '"' || r == 0xa0 || r == 0x201c || r == 0x201d })
	if len(words) == 0 {
		return nil
	}
	verb := strings.ToUpper(words[0])
	switch verb {
	case "DDE", "DDEAUTO":
		return w.sign(archive.MacroAuto, "a field starts a program: %.200q", instruction)
	case "INCLUDETEXT", "INCLUDE", "INCLUDEPICTURE", "IMPORT", "LINK", "RD", "DATABASE":
	default:
		return nil
	}
	for _, arg := range words[1:] {
		if !remote(arg) || picture(verb, arg) {
			continue
		}
		return w.sign(archive.MacroAuto, "a field loads something from elsewhere: %.200q", instruction)
	}
	return nil
}

// picture reports whether a field only shows a picture of the web, as mail that was made of HTML does.
func picture(verb, arg string) bool {
	arg = strings.ToLower(arg)
	return (verb == "INCLUDEPICTURE" || verb == "IMPORT") && (strings.HasPrefix(arg, "http://") || strings.HasPrefix(arg, "https://"))
}
