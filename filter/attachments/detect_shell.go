package attachments

import (
	"bytes"
	"regexp"
)

var commandFile = language{
	kind: kind{script, "application/x-bat", "a Windows command file"},
	comment: func(t []byte) int {
		if n := remark(bytes.TrimPrefix(t, []byte("@"))); n > 0 {
			return n + len(t) - len(bytes.TrimPrefix(t, []byte("@")))
		}
		if begins(t, ":") { // a label, or what is written as one
			return toLineEnd(t)
		}
		return 0
	},
	opens: regexp.MustCompile(`^[@&(\s]*(?:echo\b|set\s+(?:"?\w+=|/[ap]\s)|setlocal\b|start\s|powershell\b|pwsh\b|cmd(?:\.exe)?\s|certutil\b|x?copy\s|move\s|` +
		`del\s|erase\s|cd\s|chcp\s|title\s|mode\s|cls\b|color\s|if\s+(?:/i\s+)?(?:not\s+)?(?:exist\s|defined\s|errorlevel\s|["%])|for\s+(?:/[flrd]\s|%)|goto\s|call\s|` +
		`pushd\s|md\s|mkdir\s|reg\s|schtasks\b|mshta\b|rundll32\b|regsvr32\b|[wc]script\s|bitsadmin\b|net\s|sc\s|taskkill\s|attrib\s|timeout\s|ping\s|curl\s|%)`),
	proof: func(first, whole []byte) bool {
		line, _, _ := bytes.Cut(first, []byte("\n"))
		idioms := 0
		for _, i := range commandIdioms {
			if bytes.Contains(whole, []byte(i)) {
				idioms++
			}
		}
		return quiet.Match(first[:min(len(first), 1<<10)]) || launches.Match(line) || idioms >= 4 ||
			idioms >= 1 && contains(whole, launchers...) && launches.Match(whole) ||
			bytes.Count(whole, []byte(":~")) >= 10 && bytes.Count(whole, []byte("%")) >= 20
	},
}

// launchers are the programs of which launches knows.
var launchers = []string{"powershell", "pwsh", "mshta", "certutil", "bitsadmin", "regsvr32", "rundll32", "wscript", "cscript", "curl", "schtasks", "reg"}

// hiding are the words by which PowerShell is made to run what nobody sees.
const hiding = `(?:-e(?:nc\w*|c)?\s|-nop|-w\w*\s+h|-ex\w*\s+bypass|-ep\s+bypass|iex\b|downloadstring|downloadfile|frombase64|invoke-|iwr\s)`

var (
	// quiet is how nearly all command files begin.
	quiet = regexp.MustCompile(`(?m)^[@&(\s]*(?:echo\s+off|setlocal(?:[ \t]+(?:en|dis)able\w+)*)[ \t]*(?:[&|>)]|\r?$)|^@echo\s+on\b`)

	// launches is a command that starts something else, in the way of those who hide it.
	launches = regexp.MustCompile(`(?m)^[@&(\s]*(?:start\s+(?:""\s+|/\w+\s+)*)?(?:cmd(?:\.exe)?\s+/[ck]\s+"?)?(?:` +
		`(?:powershell|pwsh)(?:\.exe)?["']?\s+(?:` + hiding + `|[-/"'(&$][^\r\n]*` + hiding + `)|` +
		`mshta(?:\.exe)?\s+"?(?:https?:|vbscript:|javascript:|\\\\|%)|certutil(?:\.exe)?\s+-(?:[^\r\n]*-)?(?:urlcache|decode)|` +
		`bitsadmin(?:\.exe)?\s+/transfer|regsvr32(?:\.exe)?\s+/[siu]|rundll32(?:\.exe)?\s+\S+,|[wc]script(?:\.exe)?\s+(?://?\w+\s+)*\S+\.(?:vb|js)|` +
		`curl(?:\.exe)?\s[^\r\n]*https?:[^\r\n]*&|schtasks(?:\.exe)?\s+/create|reg(?:\.exe)?\s+add\s)`)

	// commandIdioms are what the command interpreter has and no other reader.
	commandIdioms = []string{
		"%~", "%0", "%temp%", "%appdata%", "%localappdata%", "%userprofile%", "%comspec%", "%errorlevel%", "%systemroot%", "%windir%", "goto :", "goto ",
		"exit /b", ">nul", "> nul", "setlocal", "endlocal", "if exist ", "if not exist ", "if errorlevel", "for /f ", "for /l ", "@echo off", "echo.", "start /",
		"start \"\"", "del /", "rd /s", "rmdir /s", "copy /", "set /p", "set /a", "call :", "pause",
	}
)
