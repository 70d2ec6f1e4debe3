package vba

import (
	"bytes"
	"strings"
)

// autoNames are procedures that run by themselves, or in place of a command that everybody uses: the auto macros of
// Word, Excel and PowerPoint, and Word's commands.
var autoNames = set(`
	autoexec autonew autoopen autoclose autoexit
	auto_open auto_close auto_activate auto_deactivate auto_exec auto_new auto_add auto_remove auto_ope
	documentopen documentnew documentclose documentchange documentbeforeclose newdocument opendocument
	document_open document_new document_close document_beforeclose document_sync document_documentopened
	document_contentcontrolonenter document_contentcontrolonexit
	document_documentsaved document_beforedocumentclose document_beforedocumentsave
	workbook_open project_open application_startup application_newmail application_newmailex application_quit
	fileopen fileclose filecloseall filesave filesaveas filesaveall fileexit fileprint fileprintdefault filenew
	filetemplates filesend toolsmacro viewvbcode
	onslideshowpagechange onslideshowterminate onslideshownextbuild slideshowbegin slideshowend slideshownextslide
	slideshownextbuild slideshownextclick
	acadstartup acaddocument_activate
`)

// autoPrefixes begin the names of the procedures that handle what happens to a document.
var autoPrefixes = []string{"workbook_", "worksheet_", "document_", "presentation_", "slideshow_", "thisworkbook_"}

// autoSuffixes end the names of procedures that handle what happens to a control in a document, to an application or
// to a presentation; before them stands the name of a variable.
var autoSuffixes = strings.Fields(`
	_painted _painting _layout _resize _resized _gotfocus _lostfocus _click _dblclick _change _stroke _newpackets
	_mousemove _mouseenter _mouseleave _mousehover _mousedown _mouseup _mousewheel _cursordown _cursorinrange
	_keydown _keypress _keyup _scroll _timer _ontimer
	_beforenavigate2 _beforescriptexecute _documentcomplete _downloadbegin _downloadcomplete _filedownload
	_navigatecomplete2 _navigateerror _progresschange _propertychange _setsecurelockicon _statustextchange
	_titlechange _newwindow2 _newwindow3 _windowstatechanged _onconnecting _onconnected _onlogincomplete
	_onreadystatechange _readystatechange _openstatechange _playstatechange _newerror
	_documentopen _documentchange _documentbeforeclose _documentbeforesave _newdocument _windowactivate
	_workbookopen _workbookactivate _newworkbook _workbookbeforeclose _sheetactivate _sheetcalculate _sheetchange
	_presentationopen _afterpresentationopen _newpresentation _presentationclose _slideshowbegin _slideshowend
	_slideshownextslide _slideshownextbuild _slideshowonnext _windowselectionchange
	_newmail _newmailex _itemadd _itemload
`)

func set(words string) map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(words) {
		m[w] = true
	}
	return m
}

// runsItself reports whether a procedure of that name, in lower case, runs by itself.
func runsItself(name string) bool {
	if autoNames[name] {
		return true
	}
	for _, p := range autoPrefixes {
		if strings.HasPrefix(name, p) && len(name) > len(p) {
			return true
		}
	}
	for _, s := range autoSuffixes {
		if strings.HasSuffix(name, s) && len(name) > len(s) {
			return true
		}
	}
	return false
}

// Source reads the source of a module by that name, as other programs than Office store it too: whether there is code
// in it, and up to five procedures that run by themselves.
func Source(name string, source []byte) (code bool, auto []string) {
	code, auto, _ = judge(name, source)
	return code, auto
}

// judge reads the source of a module: whether there is code in it, and which procedures run by themselves. Attributes,
// options, comments and empty lines are no code: every workbook with a single macro has a dozen modules of them. Lines
// counts those that have a compiled form: neither attributes nor empty ones.
func judge(name string, source []byte) (code bool, auto []string, lines int) {
	// Word runs Main of a module that has the name of an auto macro.
	main := autoNames[strings.ToLower(name)]
	for line := range logicalLines(source) {
		word := bytes.ToLower(firstWord(line))
		if len(line) == 0 || string(word) == "attribute" {
			continue
		}
		lines++
		if line[0] == '\'' || string(word) == "rem" || string(word) == "option" {
			continue
		}
		code = true
		for proc := range procedures(line) {
			l := strings.ToLower(proc)
			if main && l == "main" {
				proc = name
			} else if !runsItself(l) {
				continue
			}
			if len(auto) < 5 {
				auto = append(auto, proc)
			}
		}
	}
	return code, auto, lines
}

// logicalLines gives the lines without the space around them; a line that ends with a space and "_" goes on in the
// next (MS-VBAL 3.2.2).
func logicalLines(source []byte) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		var joined []byte
		for len(source) > 0 {
			line := source
			if i := bytes.IndexAny(source, "\r\n"); i >= 0 {
				line, source = source[:i], source[i+1:]
			} else {
				source = nil
			}
			if n := len(line); n > 1 && line[n-1] == '_' && (line[n-2] == ' ' || line[n-2] == '\t') && len(source) > 0 {
				joined = append(joined, line[:n-1]...)
				source = bytes.TrimPrefix(source, []byte("\n"))
				continue
			}
			if joined != nil {
				line = append(joined, line...)
				joined = nil
			}
			if !yield(bytes.TrimSpace(line)) {
				return
			}
		}
		if joined != nil {
			yield(bytes.TrimSpace(joined))
		}
	}
}

func firstWord(line []byte) []byte {
	for i, c := range line {
		if !inName(c) {
			return line[:i]
		}
	}
	return line
}

// inName reports whether an octet may be within a name; all that are not ASCII may.
func inName(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= 0x80
}

// procedures gives the names that follow the words Sub and Function in a line.
func procedures(line []byte) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		declared := false
		for len(line) > 0 {
			word := firstWord(line)
			if len(word) == 0 {
				if line[0] == '\'' || line[0] == '"' {
					return
				}
				declared = declared && (line[0] == ' ' || line[0] == '\t' || line[0] == '[')
				line = line[1:]
				continue
			}
			line = line[len(word):]
			if glued := afterSpace(word); !declared && glued != nil {
				word, declared = glued, true
			}
			if declared && !yield(string(word)) {
				return
			}
			declared = bytes.EqualFold(word, []byte("sub")) || bytes.EqualFold(word, []byte("function"))
		}
	}
}

// afterSpace gives the name after Sub or Function when what stands between is no ASCII: VBA knows spaces beyond it
// (MS-VBAL 3.2.2), and it depends on the code page which octets they are.
func afterSpace(word []byte) []byte {
	low := bytes.ToLower(word)
	for _, key := range []string{"sub", "function"} {
		if len(word) > len(key) && bytes.HasPrefix(low, []byte(key)) && word[len(key)] >= 0x80 {
			i := len(word)
			for i > 0 && word[i-1] < 0x80 {
				i--
			}
			return word[i:]
		}
	}
	return nil
}

// compiledAuto gives the first of the plainest auto macros among the identifiers of a compiled project. Only whole
// names count: the stream separates them by octets that are not in names.
func compiledAuto(b []byte) string {
	lower := make([]byte, len(b)) // not bytes.ToLower, which makes three octets of one that is no UTF-8
	for i, c := range b {
		if lower[i] = c; c >= 'A' && c <= 'Z' {
			lower[i] += 'a' - 'A'
		}
	}
	for _, name := range []string{"autoopen", "auto_open", "autoexec", "autoclose", "auto_close", "document_open", "document_close", "workbook_open"} {
		for at := 0; ; {
			i := bytes.Index(lower[at:], []byte(name))
			if i < 0 {
				break
			}
			at += i
			end := at + len(name)
			if (at == 0 || !inName(lower[at-1])) && (end == len(lower) || !plainName(lower[end])) {
				return string(b[at:end])
			}
			at = end
		}
	}
	return ""
}

// plainName is inName of ASCII: what follows an identifier in the stream is binary.
func plainName(c byte) bool { return c < 0x80 && inName(c) }
