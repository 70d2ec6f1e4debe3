package office

import (
	"context"
	"errors"
	"io"
	"path"
	"strings"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/xmlscan"
)

// part is one XML file of a document while it is read. Elements count by their local names: which namespace a prefix
// stands for is the file's word, and nothing else in these formats has the same names.
type part struct {
	w       *walker
	name    string // of the file, for people
	s       *xmlscan.Scanner
	fields  fields
	keep    strings.Builder // text of the element that is of interest
	keeping string          // its name
	root    string          // local name of the first element

	fromOffice bool     // the macros are those of Office
	flatName   string   // of the part in which the scanner is, in a document that is one file
	ciphered   []string // names of encrypted files, by the manifest
	lastEntry  string   // of the manifest
}

// scanXML reads one XML file and says what it shows. The files that plain XML carries are handed to inline, where that
// is not nil.
func (w *walker) scanXML(ctx context.Context, name string, f *archive.File, inline func(name string, r io.Reader) error) (*part, error) {
	p := &part{w: w, name: name, s: xmlscan.New(f.Reader())}
	p.fields.w = w
	for n := 0; ; n++ {
		if n%4096 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		t, err := p.s.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		switch t.Kind {
		case xmlscan.Start:
			if p.root == "" {
				p.root = string(t.Local)
			}
			if inline != nil && !t.Empty && p.binary(&t) {
				err = inline(p.flatName, &textReader{p: p, until: string(t.Local)})
			} else {
				p.start(&t)
				if t.Empty {
					p.end(string(t.Local))
				}
			}
			if err != nil {
				return nil, err
			}
		case xmlscan.End:
			p.end(string(t.Local))
		case xmlscan.Text:
			p.more(&t)
		}
	}
	p.fields.close()
	return p, w.problem(name, p.s.Problem())
}

// start judges the begin of an element.
func (p *part) start(t *xmlscan.Token) {
	switch string(t.Local) {
	case "instrText", "f", "definedName", "formula1", "formula2", "t", "module":
		p.text(t)
	case "fldChar":
		p.fieldChar(t)
	case "fldSimple":
		for _, code := range t.All("instr") {
			p.w.judgeField(code)
		}
	case "Relationship":
		p.relationship(t)
	case "Override", "Default":
		if strings.Contains(strings.ToLower(t.Attr("ContentType")), "macrosheet") {
			p.w.say(archive.MacroAuto, "xlm", "%s is a sheet of Excel 4 macros", t.Attr("PartName")+t.Attr("Extension"))
		}
	case "ddeLink":
		p.dde(t.Attr("ddeService"), t.Attr("ddeTopic"))
	case "macrosheet":
		p.w.say(archive.MacroAuto, "xlm", "%s is a sheet of Excel 4 macros", p.name)
	case "hlinkClick", "hlinkMouseOver", "hlinkHover":
		p.action(t)
	case "customUI":
		if m := t.Attr("onLoad"); m != "" {
			p.w.ribbon = m
		}
	case "ocx":
		p.control(t.Attr("classid"))
	case "Cell":
		p.formula(t.Attr("Formula"))
	case "attachedTemplate", "subDoc", "sourceFileName":
		// In the XML of Word 2003; later they name a relationship.
		if target := t.Attr("val") + t.Attr("link"); remote(target) {
			p.w.say(archive.MacroAuto, "link", "%s loads from %q", p.name, target)
		}
	case "param":
		if strings.HasSuffix(t.Attr("name"), ".field.code") { // a field of Word in OpenDocument
			p.w.judgeField(t.Attr("value"))
		}
	default:
		if strings.HasPrefix(p.root, "document") || p.root == "manifest" {
			p.startODF(t)
		}
	}
}

// text begins to keep the text of an element.
func (p *part) text(t *xmlscan.Token) {
	name := string(t.Local)
	if name == "definedName" && autoName(t.Attr("name")) {
		p.w.say(archive.MacroAuto, "xlm auto", "the workbook defines %q, which runs by itself", t.Attr("name"))
	}
	if t.Empty || name == "t" && len(p.fields.open) == 0 {
		return
	}
	p.keeping = name
	p.keep.Reset()
}

// more keeps more of the text of an element: of the space at its start, one is enough. A module may be of any length,
// and is judged in pieces.
func (p *part) more(t *xmlscan.Token) {
	if p.keeping == "" {
		return
	}
	text := t.Text()
	if have := p.keep.String(); strings.TrimSpace(have) == "" && text != "" && text[0] <= ' ' && p.keeping != "module" {
		text = strings.TrimLeft(text, " \t\r\n")
		if have == "" {
			text = " " + text
		}
	}
	if p.keep.Len() < maxFieldText {
		p.keep.WriteString(text)
	}
	if p.keeping == "module" && p.keep.Len() >= maxFieldText {
		all := p.keep.String()
		i := strings.LastIndexByte(all, '\n') + 1
		p.basic(all[:i])
		p.keep.Reset()
		p.keep.WriteString(all[i:min(len(all), i+maxFieldText/2)])
	}
}

func (p *part) fieldChar(t *xmlscan.Token) {
	for _, kind := range t.All("fldCharType") {
		switch kind {
		case "begin":
			p.fields.begin()
		case "separate":
			p.fields.separate()
		case "end":
			p.fields.end()
		}
	}
}

// end judges the text of an element.
func (p *part) end(name string) {
	if p.keeping != name {
		return
	}
	text := p.keep.String()
	p.keeping = ""
	p.keep.Reset()
	switch name {
	case "instrText", "t":
		p.fields.text(text, name == "instrText")
	case "f", "definedName", "formula1", "formula2":
		p.formula(text)
	case "module":
		p.basic(text)
	}
}

// dde judges a link to another program.
func (p *part) dde(program, topic string) {
	p.w.say(archive.MacroAuto, "dde", "%s starts %q by DDE: %q", p.name, program, topic)
}

// formula judges one: program|topic!item is DDE, and the bar is in no other formula but within quotes.
func (p *part) formula(text string) {
	var quote rune
	bar := false
	for _, c := range text {
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '|':
			bar = true
		case c == '!' && bar:
			p.w.say(archive.MacroAuto, "dde", "%s has a formula that starts a program by DDE: %.120q", p.name, text)
			return
		}
	}
	upper := strings.ToUpper(text)
	for i := strings.Index(upper, "DDE("); i >= 0; {
		if i == 0 || !letter(upper[i-1]) { // a function of OpenDocument
			p.w.say(archive.MacroAuto, "dde", "%s has a formula that starts a program by DDE: %.120q", p.name, text)
			return
		}
		next := strings.Index(upper[i+1:], "DDE(")
		if next < 0 {
			return
		}
		i += 1 + next
	}
}

func letter(c byte) bool { return c == '_' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' }

// loading are the relationships whose targets are loaded with the document (ECMA-376 Part 1, 11.3, 15.2; the ends of
// their names are the same in the strict form).
var loading = map[string]string{
	"attachedTemplate": "the template", "oleObject": "a linked object", "frame": "a frame", "subDocument": "a part of the document",
	"aFChunk": "a part of the document", "package": "a linked object", "vbaProject": "the macros", "control": "a control",
	"activeXControlBinary": "a control", "frameset": "a frame", "glossaryDocument": "a part of the document",
	"officeDocument": "the document itself", "keyMapCustomizations": "a set of keys", "attachedToolbars": "the toolbars",
	"slide": "a slide", "slideMaster": "a master", "externalLink": "a link", "extensibility": "the ribbon", "ui": "the ribbon",
}

// hostile are schemes of targets by which others than browsers run something, whatever the relationship.
var hostile = []string{"mhtml:", "ms-msdt:", "search-ms:", "ms-officecmd:", "javascript:", "vbscript:", "its:", "ms-its:", "mk:", "script:", "ms-appinstaller:"}

func (p *part) relationship(t *xmlscan.Token) {
	kind, target := path.Base(t.Attr("Type")), t.Attr("Target")
	if kind == "xlMacrosheet" || kind == "xlIntlMacrosheet" {
		p.w.say(archive.MacroAuto, "xlm", "%s is a sheet of Excel 4 macros", target)
	}
	if !strings.EqualFold(strings.TrimSpace(t.Attr("TargetMode")), "External") {
		return
	}
	low := strings.ToLower(strings.TrimSpace(target))
	for _, scheme := range hostile {
		if strings.HasPrefix(low, scheme) {
			p.w.say(archive.MacroAuto, "link", "%s leads to %q", p.name, target)
			return
		}
	}
	if what := loading[kind]; what != "" && remote(target) {
		p.w.say(archive.MacroAuto, "link", "%s is loaded from %q", what, target)
	}
}

// action judges what a shape of a presentation does when it is clicked, or pointed at.
func (p *part) action(t *xmlscan.Token) {
	a := strings.ToLower(t.Attr("action"))
	switch {
	case strings.HasPrefix(a, "ppaction://program"):
		p.w.say(archive.MacroAuto, "action", "%s has a shape that runs a program", p.name)
	case strings.HasPrefix(a, "ppaction://macro") && string(t.Local) != "hlinkClick":
		p.w.say(archive.MacroAuto, "action", "%s has a shape that runs a macro when it is pointed at", p.name)
	}
}

// controls are classes of controls and objects that load or run something themselves.
var controls = map[string]string{
	"8856f961-340a-11d0-a96b-00c04fd705a2": "the Web browser",
	"25336920-03f9-11cf-8fd0-00aa00686f13": "an HTML document",
	"ae24fdae-03c6-11d1-8b76-0080c744f389": "a scriptlet",
	"d27cdb6e-ae6d-11cf-96b8-444553540000": "Shockwave Flash",
	"3050f4d8-98b5-11cf-bb82-00aa00bdce0b": "an HTML application",
}

func (p *part) control(class string) {
	if what := controls[strings.ToLower(strings.Trim(class, "{} "))]; what != "" {
		p.w.say(archive.MacroAuto, "control", "%s has a control that is %s", p.name, what)
	}
}

// binary reports whether an element holds the octets of a file in base64, and keeps the name of that.
func (p *part) binary(t *xmlscan.Token) bool {
	switch string(t.Local) {
	case "part":
		if n := t.Attr("name"); n != "" {
			p.flatName = n
		}
	case "binData":
		if n := t.Attr("name"); n != "" {
			p.flatName = n
		}
		return true
	case "binaryData", "binary-data":
		return true
	}
	return false
}

// textReader reads the text of an element.
type textReader struct {
	p     *part
	until string
	rest  []byte
	done  bool
}

// Read implements io.Reader.
func (r *textReader) Read(b []byte) (int, error) {
	for len(r.rest) == 0 {
		if r.done {
			return 0, io.EOF
		}
		t, err := r.p.s.Next()
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
			r.done = true
		}
		if err != nil {
			return 0, err
		}
		switch t.Kind {
		case xmlscan.Text:
			r.rest = []byte(t.Text())
		case xmlscan.End:
			r.done = string(t.Local) == r.until
		case xmlscan.Start:
			return 0, errors.New("there are elements within the octets")
		}
	}
	n := copy(b, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}
