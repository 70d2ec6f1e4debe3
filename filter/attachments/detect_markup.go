package attachments

import (
	"bytes"
	"strings"
)

// detectMarkup knows the XML and HTML dialects that Windows runs or follows, by their first element, and
// HTML applications by theirs.
func detectMarkup(t []byte) kind {
	root, xml := firstElement(t)
	has := func(s string) bool { return bytes.Contains(t, []byte(s)) }
	if _, local, ok := strings.Cut(root, ":"); ok {
		root = local
	}
	switch {
	case has("<hta:application"):
		return kind{script, "application/hta", "an HTML application"}
	case has("<script") && runsHost(t):
		return kind{script, "application/hta", "markup with a script for Windows Script Host"}
	}
	for _, d := range dialects {
		if d.root == root && (d.inside == "" || has(d.inside)) {
			return d.kind
		}
	}
	switch {
	case root == "svg":
		return is("image/svg+xml")
	case root == "html" && xml:
		return is("application/xhtml+xml")
	case htmlElements[root], begins(t, "<!doctype html"), begins(t, "<!--") && !xml:
		return is("text/html")
	case xml:
		return is("application/xml")
	}
	return kind{}
}

// runsHost reports whether a script makes objects that browsers have not, and that do something outside.
func runsHost(t []byte) bool {
	return contains(t, "wscript.shell", "shell.application", "scripting.filesystemobject", "adodb.stream") &&
		contains(t, "createobject(", "activexobject(", "getobject(") && contains(t, ".run", ".exec", "shellexecute", ".savetofile", ".createtextfile", ".regwrite")
}

// contains reports whether one of the words stands in the text.
func contains(t []byte, words ...string) bool {
	for _, w := range words {
		if bytes.Contains(t, []byte(w)) {
			return true
		}
	}
	return false
}

// dialects are kinds of markup by the name of the first element, and by something that must be in it.
var dialects = []struct {
	root, inside string
	kind         kind
}{
	{"job", "<script", kind{script, "text/scriptlet", "a Windows script file"}},
	{"package", "<script", kind{script, "text/scriptlet", "a Windows script file"}},
	{"component", "<script", kind{script, "text/scriptlet", "a Windows script file"}},
	{"scriptlet", "<script", kind{script, "text/scriptlet", "a Windows script file"}},
	{"stylesheet", "urn:schemas-microsoft-com:xslt", kind{script, "application/xslt+xml", "a stylesheet for the script processor of Windows"}},
	{"transform", "urn:schemas-microsoft-com:xslt", kind{script, "application/xslt+xml", "a stylesheet for the script processor of Windows"}},
	{"mmc_consolefile", "", kind{script, "application/x-ms-msc", "a Windows management console"}},
	{"project", "codetaskfactory", kind{script, "application/x-msbuild", "a build project with code in it"}},
	{"task", "schemas.microsoft.com/windows/2004/02/mit/task", kind{script, "application/x-ms-task", "a scheduled task of Windows"}},
	{"configuration", "<logoncommand", kind{script, "application/x-ms-wsb", "a Windows sandbox, which runs a command"}},
	{"asx", "<ref", kind{shortcut, "video/x-ms-asx", "a list of addresses for a media player"}},
	{"pcsettings", "<deeplink", kind{shortcut, "application/x-settingcontent", "a Windows settings shortcut"}},
	{"librarydescription", "", kind{shortcut, "application/windows-library+xml", "a Windows library"}},
	{"persistedquery", "", kind{shortcut, "application/x-search-ms", "a saved Windows search"}},
	{"searchconnectordescription", "", kind{shortcut, "application/windows-search-connector+xml", "a Windows search connector"}},
	{"jnlp", "", kind{shortcut, "application/x-java-jnlp-file", "a Java Web Start file"}},
	{"plist", "<key>commandstring</key>", kind{script, "application/x-apple-terminal", "a macOS terminal session, which runs a command"}},
	{"plist", "<key>url</key>", kind{shortcut, "application/x-webloc", "a macOS shortcut to an address"}},
	{"appinstaller", "", kind{executable, "application/appinstaller", "a file that installs a Windows app"}},
	{"assembly", "deployment", kind{executable, "application/x-ms-application", "a file that installs a program from the web (ClickOnce)"}},
}

// htmlElements are the elements for which browsers take a text for HTML (WHATWG MIME Sniffing 7.1), and some more.
var htmlElements = func() map[string]bool {
	m := map[string]bool{}
	for e := range strings.FieldsSeq(`html head script iframe h1 div font table a style title b body br p
		meta link base object embed applet form img input button math video audio details marquee frameset template
		center span ul ol pre noscript xmp plaintext isindex`) {
		m[e] = true
	}
	return m
}()

// firstElement gives the name of the first element of a text in lower case, past declarations, processing
// instructions and comments, and whether the text says that it is XML.
func firstElement(t []byte) (name string, xml bool) {
	for {
		t = bytes.TrimLeft(t, " \t\r\n\f")
		end := ">"
		switch {
		case begins(t, "<!--"):
			end = "-->"
		case begins(t, "<?"):
			xml = xml || begins(t, "<?xml")
			end = "?>"
		case begins(t, "<!doctype") && bytes.IndexByte(doctype(t), '[') >= 0:
			end = "]" // of the internal subset
		case begins(t, ">"):
		case begins(t, "<!"):
		case begins(t, "<"):
			name := t[1:]
			if i := bytes.IndexAny(name, " \t\r\n\f/>"); i >= 0 {
				name = name[:i]
			}
			return string(name), xml || bytes.Contains(t[:min(len(t), 512)], []byte("xmlns"))
		default:
			return "", xml
		}
		i := bytes.Index(t, []byte(end))
		if i < 0 {
			return "", xml
		}
		t = t[i+len(end):]
	}
}

// doctype gives a document type declaration up to its first angle bracket.
func doctype(t []byte) []byte {
	if i := bytes.IndexByte(t, '>'); i >= 0 {
		return t[:i]
	}
	return t
}
