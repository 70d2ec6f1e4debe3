package attachments

import (
	"bytes"
	"regexp"
)

// setupSignature is the line by which Windows knows a setup file.
var setupSignature = regexp.MustCompile(`(?m)^[ \t]*signature[ \t]*=[ \t]*"?\$`)

// sections are those that tell what a file is.
var sections = map[string]bool{
	"[autorun]": true, "[version]": true, "[theme]": true, `[control panel\desktop]`: true, "[visualstyles]": true, "[masterthemeselector]": true,
	"[shell]": true, "[scriptfile]": true,
}

// detectSections reads an INI file, in which the section that makes it a shortcut need not be the first.
func detectSections(t []byte) kind {
	whole := t
	seen := map[string]bool{}
	for len(t) > 0 {
		line, rest, _ := bytes.Cut(t, []byte("\n"))
		t = rest
		line = bytes.TrimSpace(line)
		switch {
		case len(line) == 0, line[0] == ';', line[0] == '#':
		case begins(line, "[internetshortcut"):
			return kind{shortcut, "application/x-mswinurl", "an Internet shortcut"}
		case begins(line, "[desktop entry]"):
			return kind{shortcut, "application/x-desktop", "a desktop entry"}
		case line[0] == '[' && line[len(line)-1] == ']':
			if s := string(line); sections[s] {
				seen[s] = true
			}
		case bytes.IndexByte(line, '=') > 0:
			if seen["[autorun]"] && (begins(line, "open") || begins(line, "shell")) {
				return kind{script, "application/x-setupscript", "a start-up file of a medium (autorun.inf)"}
			}
		default:
			t = nil
		}
	}
	switch {
	case seen["[version]"] && setupSignature.Match(whole):
		return kind{script, "application/x-setupscript", "a Windows setup file"}
	case seen["[shell]"] && bytes.Contains(whole, []byte("iconfile=")):
		return kind{shortcut, "application/x-ms-scf", "a Windows shell command file"}
	case seen["[scriptfile]"] && bytes.Contains(whole, []byte("path=")):
		return kind{script, "application/x-wsh", "settings for Windows Script Host, which run a script"}
	case seen["[theme]"] && (seen[`[control panel\desktop]`] || seen["[visualstyles]"] || seen["[masterthemeselector]"]):
		return kind{shortcut, "application/x-windows-theme", "a Windows theme, which may load things from an address"}
	}
	return kind{}
}
