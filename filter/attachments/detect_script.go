package attachments

import (
	"bytes"
	"regexp"
)

// A language is a script language of Windows, as far as a text can be told to be of it. A text is a script when
// its first statement, behind blank lines and comments, looks like one of the language, and when it gives one of
// the proofs: something that scripts do which mean to act on the machine, and which texts do not mention without
// being one, given their first statement. Names of functions alone are no proof: people write about them, and
// libraries of honest web pages have some of them.
type language struct {
	kind    kind
	comment func(t []byte) int // how much of a text that begins with a comment is the comment, 0 for none
	opens   *regexp.Regexp     // the first statement
	proofs  [][][]string       // of one of these, each set has a word that is in the text
	proof   func(first, whole []byte) bool
}

var languages = []language{visualBasic, javaScript, powerShell, commandFile}

// encoded is what the script encoder of Windows makes; there may be something in plain text in front.
var encoded = regexp.MustCompile(`#@~\^[a-z0-9+/]{6}==`)

// detectScript knows scripts without a mark of their own at the start.
func detectScript(t []byte) kind {
	if bytes.Contains(t, []byte("#@~^")) && encoded.Match(t) {
		return kind{script, "text/vbscript", "an encoded Windows script"}
	}
	for _, l := range languages {
		first := l.firstStatement(t)
		if len(first) == 0 || !l.opens.Match(first[:min(len(first), 512)]) {
			continue
		}
		if l.proof != nil && l.proof(first, t) || l.proved(t) {
			return l.kind
		}
	}
	return kind{}
}

// firstStatement gives the text behind blank lines and comments.
func (l language) firstStatement(t []byte) []byte {
	for {
		t = bytes.TrimLeft(t, " \t\r\n\f\ufeff")
		n := l.comment(t)
		if n == 0 {
			return t
		}
		t = t[n:]
	}
}

// toLineEnd is how much of a text is its first line.
func toLineEnd(t []byte) int {
	if i := bytes.IndexAny(t, "\r\n"); i >= 0 {
		return i
	}
	return len(t)
}

// block is how much of a text is a comment with a mark at each end, 0 for none. Without an end it is all of it.
func block(t []byte, open, end string) int {
	if !begins(t, open) {
		return 0
	}
	if i := bytes.Index(t[len(open):], []byte(end)); i >= 0 {
		return len(open) + i + len(end)
	}
	return len(t)
}

// remark is how much of a text is a comment that begins with rem, 0 for none.
func remark(t []byte) int {
	if begins(t, "rem") && (len(t) == 3 || bytes.IndexByte([]byte(" \t\r\n"), t[3]) >= 0) {
		return toLineEnd(t)
	}
	return 0
}

func (l language) proved(t []byte) bool {
	for _, p := range l.proofs {
		all := true
		for _, set := range p {
			all = all && contains(t, set...)
		}
		if all {
			return true
		}
	}
	return false
}

var visualBasic = language{
	kind: kind{script, "text/vbscript", "a Visual Basic script"},
	comment: func(t []byte) int {
		if begins(t, "'") {
			return toLineEnd(t)
		}
		return remark(t)
	},
	opens: regexp.MustCompile(`^(?:on error resume next|option explicit|(?:re)?dim\s+\w+|(?:public |private )?(?:const|sub|function|class)\s+\w+|` +
		`set\s+\w+\s*=|execute(?:global)?\b|(?:get|create)object\s*\(|wscript\.|attribute vb_name|with\s+createobject|call\s+\w+|` +
		`if\s[^,\r\n]+\bthen\b|(?:for|do|while)\s|msgbox\b|\w+\s*=)`),
	proofs: [][][]string{
		{{"attribute vb_name ="}, {"sub ", "function "}},
		{
			{"createobject(", "createobject (", "getobject(", "getobject (", "wscript."},
			{".run", ".exec", "shellexecute", ".savetofile", ".regwrite", ".createtextfile", ".copyfile", ".opentextfile", ".send", "execute", "win32_process"},
			{`object("`, `object ("`, "object(chr", "wscript.", "end sub", "end function", "on error"},
		},
		{{"execute(", "execute ", "executeglobal", "eval("}, {"chr(", "chrw(", "strreverse(", "&h"}, {"dim ", "next", "end function", "execute"}},
		{
			{"sub autoopen", "sub auto_open", "sub autoexec", "sub auto_close", "sub autoclose", "sub document_open", "sub document_close", "sub workbook_open"},
			{"end sub"},
			{"shell", "createobject", "urldownloadtofile", "environ", "callbyname"},
		},
	},
}

var javaScript = language{
	kind: kind{script, "text/javascript", "a script for Windows Script Host"},
	comment: func(t []byte) int {
		if begins(t, "//") {
			return toLineEnd(t)
		}
		if begins(t, "/*@cc_on") { // what is in it is run
			return 0
		}
		return block(t, "/*", "*/")
	},
	opens: regexp.MustCompile(`^(?:"use strict"|'use strict'|(?:var|let|const)\s+[\w$]+|function\b|[!;+-]*\(?\s*function\b|try\s*\{|(?:if|for|while)\s*\(|` +
		`do\s*\{|eval\s*\(|new\s+(?:activex|function|date|array)|wscript\.|wscript\[|this\[|/\*@cc_on|` +
		`[\w$.]+\s*=\s*(?:new|function|this|wscript|activexobject|getobject|\[|\{|"|'|\(|\d))`),
	proofs: [][][]string{
		{
			{"wscript.createobject(", "new activexobject(", "activexobject(", "getobject("},
			{"wscript.shell", "scripting.filesystemobject", "adodb.stream", "shell.application", "winmgmts:", "wscript.quit", "wscript.sleep", "wscript.scriptfullname"},
		},
		{{"wscript.quit(", "wscript.sleep(", "wscript.echo(", "wscript.scriptfullname", "wscript.arguments"}, {"function", "var ", "wscript."}},
		{{"wscript[", "this[\"wscript\"]", "this['wscript']"}},
	},
	proof: func(first, whole []byte) bool {
		return packed.Match(first) && contains(whole, "fromcharcode", "unescape(", "atob(", "function(p,a,c,k,e") || obfuscated.Match(first)
	},
}

var (
	// packed is a first statement that runs what it makes.
	packed = regexp.MustCompile(`^[!;(]*eval\s*\(`)
	// obfuscated is a first statement with a name that obfuscators give.
	obfuscated = regexp.MustCompile(`^[!;(]*(?:var|let|const|function)\s+_0x[0-9a-f]{4,}`)
)

// runsCommand are the ways of PowerShell to run what a string holds.
var runsCommand = []string{
	"iex ", "iex(", "iex\n", "iex\r", "|iex", "| iex", "invoke-expression", "[scriptblock]::create", "invoke-command", "start-process", "saps ", "::load(", ".invoke(",
}

var powerShell = language{
	kind: kind{script, "application/x-powershell", "a PowerShell script"},
	comment: func(t []byte) int {
		if begins(t, "#") && !begins(t, "#requires") {
			return toLineEnd(t)
		}
		return block(t, "<#", "#>")
	},
	opens: regexp.MustCompile(`^(?:\$[\w:{}]+\s*[=.+]|\$\(|param\s*\(|function\s+[\w:-]+|\[cmdletbinding|\[[\w.]+\]|#requires\s|iex\b|invoke-\w|\(?\s*new-object\b|` +
		`&\s*[({$'"]|\.\s*\(|(?:set|add|import|start|write|get|copy|remove|out|stop|new|sal|clear)-[a-z]+\b|try\s*\{|if\s*\(|while\s*\(|foreach\s*\(|\(\s*[$\['"]|sv\s|sal\s|process\s*\{|begin\s*\{)`),
	proofs: [][][]string{
		{{".downloadstring(", ".downloadfile(", ".downloaddata(", "net.webclient", "invoke-webrequest", "invoke-restmethod", "start-bitstransfer", "iwr ", "irm "}, runsCommand},
		{{"frombase64string("}, append([]string{"gzipstream", "deflatestream", "virtualalloc", "[reflection.assembly]"}, runsCommand...)},
		{{"virtualalloc", "createthread", "getdelegateforfunctionpointer"}, {"add-type", "dllimport", "[runtime.interopservices", "[system.runtime.interopservices"}},
		{{"param(", "param ("}, {"[cmdletbinding(", "[parameter(", "[string]$", "[switch]$", "[int]$"}},
		{{"#requires -"}, {"$"}},
	},
}
