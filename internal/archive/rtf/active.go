package rtf

import (
	"fmt"
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
	{"equation.2", "the old equation editor, which runs what is written into it"},
	{"equation.3", "the old equation editor, which runs what is written into it"},
	{"ole2link", "a link that is followed when the document is opened"},
	{"otkloadr.", "a loader of libraries"},
	{"htmlfile", "a web page within the document"},
	{"htafile", "a web page within the document"},
	{"scriptlet", "a script within the document"},
	{"scriptbridge.", "a script within the document"},
	{"shell.explorer", "a web browser within the document"},
	{"shockwaveflash.", "a Flash film"},
	{"mscomctllib.", "a control that runs what is written into it"},
	{"comctllib.", "a control that runs what is written into it"},
	{"soap:", "a link that is followed when the document is opened"},
	{"script:", "a script within the document"},
}

// classIDs are the class identifiers of such classes, and the names that they go by here.
var classIDs = map[string]string{
	"0002CE02-0000-0000-C000-000000000046": "Equation.3",
	"00021700-0000-0000-C000-000000000046": "Equation.2",
	"00000300-0000-0000-C000-000000000046": "OLE2Link",
	"D27CDB6E-AE6D-11CF-96B8-444553540000": "ShockwaveFlash.ShockwaveFlash",
	"8856F961-340A-11D0-A96B-00C04FD705A2": "Shell.Explorer.2",
	"EAB22AC3-30C1-11CF-A7EB-0000C05BAE0B": "Shell.Explorer.1",
	"25336920-03F9-11CF-8FD0-00AA00686F13": "htmlfile",
	"3050F4D8-98B5-11CF-BB82-00AA00BDCE0B": "htafile",
	"06290BD2-48AA-11D2-8432-006008C3FBFC": "scriptletfile",
	"06290BD3-48AA-11D2-8432-006008C3FBFC": "script:",
	"ECABB0C7-7F19-11D2-978E-0000F8757E2A": "soap:",
	"C74190B6-8589-11D1-B16A-00C0F0283628": "MSComctlLib.TreeCtrl",
	"BDD1F04B-858B-11D1-B16A-00C0F0283628": "MSComctlLib.ListViewCtrl",
	"1EFB6596-857C-11D1-B16A-00C0F0283628": "MSComctlLib.TabStrip",
	"66833FE6-8583-11D1-B16A-00C0F0283628": "MSComctlLib.Toolbar",
}

// classID writes a class identifier, given in the order of octets of MS-DTYP 2.3.4.2.
func classID(p []byte) string {
	return fmt.Sprintf("%08X-%04X-%04X-%X-%X", le.Uint32(p), le.Uint16(p[4:]), le.Uint16(p[6:]), p[8:10], p[10:16])
}

// class gives the sign of a class of objects.
func (w *walker) class(name string) error {
	lower := strings.ToLower(strings.TrimSpace(name))
	for _, c := range classes {
		if strings.HasPrefix(lower, c.prefix) {
			return w.t.Sign(archive.MacroAuto, "an object of class %.80q: %s", name, c.why)
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
		return w.t.Sign(archive.MacroAuto, "a field starts a program: %.200q", instruction)
	case "INCLUDETEXT", "INCLUDE", "INCLUDEPICTURE", "IMPORT", "LINK", "RD", "DATABASE":
	default:
		return nil
	}
	for _, arg := range words[1:] {
		if !remote(arg) || picture(verb, arg) {
			continue
		}
		return w.t.Sign(archive.MacroAuto, "a field loads something from elsewhere: %.200q", instruction)
	}
	return nil
}

// picture reports whether a field only shows a picture of the web, as mail that was made of HTML does.
func picture(verb, arg string) bool {
	arg = strings.ToLower(arg)
	return (verb == "INCLUDEPICTURE" || verb == "IMPORT") && (strings.HasPrefix(arg, "http://") || strings.HasPrefix(arg, "https://"))
}
