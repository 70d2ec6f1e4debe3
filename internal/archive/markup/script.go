package markup

import (
	"regexp"
	"slices"
	"strings"
)

// scriptTypes are the media types that browsers run (WHATWG MIME Sniffing 4.6), and those that they ran.
var scriptTypes = map[string]bool{
	"": true, "module": true, "text/javascript": true, "application/javascript": true, "text/ecmascript": true,
	"application/ecmascript": true, "application/x-javascript": true, "application/x-ecmascript": true,
	"text/x-javascript": true, "text/x-ecmascript": true, "text/javascript1.0": true, "text/javascript1.1": true,
	"text/javascript1.2": true, "text/javascript1.3": true, "text/javascript1.4": true, "text/javascript1.5": true,
	"text/jscript": true, "text/livescript": true, "javascript": true, "jscript": true,
	"text/vbscript": true, "text/vbs": true, "vbscript": true, "application/vbscript": true, "application/x-vbscript": true,
	"text/jscript.encode": true, "jscript.encode": true, "text/vbscript.encode": true, "vbscript.encode": true,
	"javascript.encode": true, "text/perlscript": true, "perlscript": true, "text/babel": false,
}

// scriptRuns reports whether a script element is script, and not a block of data (HTML 4.12.1).
func scriptRuns(e *element) bool {
	if e.name != "script" {
		return true
	}
	if !e.has("type") {
		language := strings.ToLower(strings.TrimSpace(e.get("language")))
		return language == "" || strings.Contains(language, "script") || strings.HasPrefix(language, "vb")
	}
	kind, _, _ := strings.Cut(strings.ToLower(e.get("type")), ";")
	return scriptTypes[strings.TrimSpace(kind)]
}

// script looks at the text of a script element.
func (w *walker) script(in *element, text string) error {
	if scriptRuns(in) && strings.Trim(text, " \t\r\n<>!-/*[]CDAT") != "" {
		if err := w.active("it runs script: %s", quote(strings.TrimSpace(text))); err != nil {
			return err
		}
	}
	return w.scriptText(text)
}

// scriptText looks for contents in script, and for what it does with them.
func (w *walker) scriptText(text string) error {
	before := len(w.pending) + w.contents
	if err := w.dataURLs([]byte(text), nil); err != nil {
		return err
	}
	if err := w.literals([]byte(text), true); err != nil {
		return err
	}
	rest := skeleton(text)
	if err := w.downloadNames(rest); err != nil {
		return err
	}
	return w.smuggling(rest, len(w.pending)+w.contents > before)
}

// nameWords begin what gives a name to a download.
var nameWords = []string{".download", `"download"`, "'download'", "ilename", "ileName", "ile_name", "saveAs(", "SaveBlob(", "OpenBlob(", "File("}

// downloadName finds the name behind one of those words.
var downloadName = regexp.MustCompile(`^(?:\.download\s*=\s*|["']download["']\s*,\s*|ile_?[nN]ame["']?\s*[=:]\s*|` +
	`(?:saveAs|SaveBlob|OpenBlob|File)\([^"']+,\s*)` + "[\"'`]([^\"'`\\r\\n]+)[\"'`]")

// How often the words are followed, and how far.
const (
	maxNameWords = 1000
	nameWindow   = 400
)

// downloadNames looks for the names that a script gives to downloads.
func (w *walker) downloadNames(text string) error {
	for _, word := range nameWords {
		for rest := text; ; {
			i := strings.Index(rest, word)
			if i < 0 || w.nameWords > maxNameWords || len(w.scripts) >= maxNames {
				break
			}
			w.nameWords++
			m := downloadName.FindStringSubmatch(rest[i:min(len(rest), i+nameWindow)])
			rest = rest[i+len(word):]
			if m == nil {
				continue
			}
			if name := unescapeScript(m[1]).text; !slices.Contains(w.scripts, name) {
				w.scripts = append(w.scripts, name)
			}
		}
	}
	return w.ctx.Err()
}

// The words of scripts that build a file, of those that run or write what they have built, and of decoding.
var (
	saveWords = []string{
		"createObjectURL", "msSaveBlob", "msSaveOrOpenBlob", ".download", "'download'", `"download"`, "saveAs(",
		"showSaveFilePicker", "webkitRequestFileSystem",
	}
	runWords    = []string{"eval(", "document.write", "Function(", "innerHTML", "execScript", "insertAdjacentHTML", "srcdoc"}
	decodeWords = []string{
		"atob", "fromCharCode", "Uint8Array", "unescape(", "decodeURIComponent(", "charCodeAt", "Blob(", "fromBase64",
		"TextDecoder", "fromCodePoint", "decodeURI(",
	}
)

// smuggling says what a script does that builds something from what it carries.
func (w *walker) smuggling(text string, carries bool) error {
	if w.body {
		return nil
	}
	save, run, decode := found(text, saveWords), found(text, runWords), found(text, decodeWords)
	switch {
	case len(save) > 0 && (len(decode) > 0 || carries):
		return w.active("its script builds a file to download (%s)", strings.Join(append(save, decode...), ", "))
	case len(run) > 0 && len(decode) > 0:
		return w.active("its script runs or writes what it has decoded (%s)", strings.Join(append(run, decode...), ", "))
	}
	return nil
}

func found(text string, words []string) []string {
	var all []string
	for _, w := range words {
		if strings.Contains(text, w) {
			all = append(all, strings.Trim(w, `.("'`))
		}
	}
	return all
}

// skeleton gives a script without its long literals.
func skeleton(text string) string {
	const long = 200
	var b strings.Builder
	for start, i := 0, 0; i <= len(text); {
		j := i
		for j < len(text) && base64Value[text[j]] < 64 {
			j++
		}
		switch {
		case j-i >= long:
			b.WriteString(text[start:i])
			start = j
		case j == len(text):
			b.WriteString(text[start:])
			return b.String()
		}
		i = j + 1
		if j == len(text) {
			break
		}
	}
	return b.String()
}
