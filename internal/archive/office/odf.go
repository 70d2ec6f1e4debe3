package office

import (
	"bytes"
	"strings"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/vba"
	"github.com/postern-mail/postern/internal/archive/xmlscan"
)

// startODF judges the begin of an element of OpenDocument (ODF 1.3).
func (p *part) startODF(t *xmlscan.Token) {
	switch string(t.Local) {
	case "event-listener":
		p.listener(t)
	case "dde-source", "dde-connection-decl", "dde-link":
		if a := t.Attr("dde-application"); a != "" {
			p.dde(a, t.Attr("dde-topic")+" "+t.Attr("dde-item"))
		}
	case "table-cell", "covered-table-cell", "named-expression", "content-validation":
		p.formula(t.Attr("formula") + t.Attr("expression"))
	case "floating-frame", "section-source", "object", "object-ole", "plugin", "applet", "table-source", "cell-range-source":
		if target := t.Attr("href"); remote(target) {
			p.w.say(archive.MacroAuto, "link", "%s loads from %q", p.name, target)
		}
	case "file-entry":
		p.lastEntry = t.Attr("full-path")
	case "encryption-data":
		if len(p.ciphered) < maxParts {
			p.ciphered = append(p.ciphered, p.lastEntry)
		}
	}
}

// clicks are the events for which somebody must do something to a single control (ODF 1.3, 10.3.19; OpenOffice's
// own names).
var clicks = []string{"click", "perform", "approve", "mousedown", "mouseup", "key", "changed", "textchanged", "select"}

// listener judges a macro that is bound to an event. What happens to the document as a whole, or to the pointer
// without a click, happens by itself.
func (p *part) listener(t *xmlscan.Token) {
	event, macro := t.Attr("event-name"), t.Attr("href")
	if macro == "" {
		macro = t.Attr("macro-name")
	}
	if action := t.Attr("action"); action != "" && !strings.Contains(action, "macro") && !strings.Contains(action, "execute") {
		return // an event of a presentation that shows another page, or the like
	}
	if macro == "" || strings.HasPrefix(macro, "#") {
		return
	}
	kind := archive.MacroAuto
	low := strings.ToLower(event)
	for _, c := range clicks {
		if strings.Contains(low, c) {
			kind = archive.Macro
		}
	}
	p.w.say(kind, "event", "%s runs %q on the event %s", p.name, macro, event)
}

// basic judges a module of Basic: the empty Main that every new one has is no code. Modules that came from Office say
// so, and what runs by itself there does so here.
func (p *part) basic(text string) {
	code := false
	for line := range strings.Lines(text) {
		low := strings.ToLower(strings.Join(strings.Fields(line), " "))
		switch {
		case low == "" || low == "sub main" || low == "end sub" || low[0] == '\'':
		case strings.HasPrefix(low, "option "):
			p.fromOffice = p.fromOffice || strings.HasPrefix(low, "option vbasupport")
		case strings.HasPrefix(low, "rem ") || low == "rem":
		default:
			code = true
		}
	}
	if _, auto := vba.Source(p.name, []byte(text)); p.fromOffice && len(auto) > 0 {
		p.w.say(archive.MacroAuto, "macros", "the macro %s in %s runs by itself", strings.Join(auto, ", "), p.name)
	} else if code {
		p.w.say(archive.Macro, "macros", "there are macros in %s", p.name)
	}
}

// likeXML reports whether a file seems to be XML, by its first character. One that begins with space only may be.
func likeXML(head []byte) bool {
	head = bytes.TrimPrefix(head, []byte("\xef\xbb\xbf"))
	head = bytes.TrimPrefix(head, []byte("\xff\xfe"))
	head = bytes.TrimPrefix(head, []byte("\xfe\xff"))
	text := bytes.TrimLeft(head, "\x00 \t\r\n")
	return len(text) > 1 && text[0] == '<' || len(text) == 0 && len(head) > 100
}
