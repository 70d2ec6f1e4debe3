package markup

import (
	"bytes"
	"regexp"
	"strings"

	"github.com/postern-mail/postern/internal/archive"
	"golang.org/x/net/html"
)

// attribute is an attribute of an element; its key is in lower case and its value without entities.
type attribute struct{ key, value string }

// element is a start tag.
type element struct {
	name  string // in lower case, in XML without its prefix
	attrs []attribute
}

func (e *element) get(key string) string {
	for _, a := range e.attrs {
		if a.key == key {
			return a.value
		}
	}
	return ""
}

func (e *element) has(key string) bool {
	for _, a := range e.attrs {
		if a.key == key {
			return true
		}
	}
	return false
}

// local gives a name without its namespace prefix.
func local(name string) string { return name[strings.LastIndexByte(name, ':')+1:] }

// maxAttrs is how many attributes of an element are looked at.
const maxAttrs = 1000

// markup goes through the tags of a text. In XML elements have no raw text, and may have prefixes.
func (w *walker) markup(text []byte, xml bool, level int) error {
	if level > maxLevels {
		return w.sign(archive.Unreadable, "it holds documents more than %d deep in one another", maxLevels)
	}
	z := html.NewTokenizer(bytes.NewReader(text))
	z.AllowCDATA(xml)
	foreign := 0 // within SVG or MathML, where HTML's raw text does not hold
	current := &element{}
	for n := 0; ; n++ {
		if n%256 == 0 {
			if err := w.ctx.Err(); err != nil {
				return err
			}
		}
		var err error
		switch kind := z.Next(); kind {
		case html.ErrorToken:
			return nil
		case html.StartTagToken, html.SelfClosingTagToken:
			current = readElement(z, xml)
			embedded := current.name == "svg" || current.name == "math"
			closed := kind == html.SelfClosingTagToken
			if embedded && !closed {
				foreign++
			}
			if (xml || foreign > 0) && (closed || current.name != "script") {
				z.NextIsNotRawText()
			}
			err = w.element(current, level)
			if closed && (xml || foreign > 0) {
				current = &element{}
			}
		case html.EndTagToken:
			name, _ := z.TagName()
			if foreign > 0 && (string(name) == "svg" || string(name) == "math") {
				foreign--
			}
			current = &element{}
		case html.TextToken:
			err = w.text(current, z.Text())
		case html.CommentToken:
			err = w.comment(z.Raw(), z.Text(), xml, level)
		}
		if err != nil {
			return err
		}
	}
}

func readElement(z *html.Tokenizer, xml bool) *element {
	name, more := z.TagName()
	e := &element{name: string(name)}
	if xml && e.name != "hta:application" {
		e.name = local(e.name)
	}
	for more && len(e.attrs) < maxAttrs {
		var key, value []byte
		key, value, more = z.TagAttr()
		e.attrs = append(e.attrs, attribute{strings.ToLower(string(key)), string(value)})
	}
	return e
}

// text looks at the text within an element.
func (w *walker) text(in *element, text []byte) error {
	switch {
	case in.name == "script" || in.name == "handler":
		return w.script(in, string(text))
	case in.name == "style":
		return w.css(string(text), 0)
	case w.body:
		return w.dataURLs(text, nil)
	}
	if err := w.dataURLs(text, nil); err != nil {
		return err
	}
	return w.literals(text, false)
}

// comment looks at a comment, which may be a condition of Internet Explorer's or of Outlook's, or an instruction.
func (w *walker) comment(raw, text []byte, xml bool, level int) error {
	switch t := bytes.TrimSpace(text); {
	case hasPrefixFold(t, "[if"):
		return w.inner(bytes.Clone(t), xml, level)
	case hasPrefixFold(t, "?xml-stylesheet"):
		return w.styleSheet(t)
	case hasPrefixFold(raw, "<!--") && !w.body:
		return w.literals(text, false)
	}
	return nil
}

// inner looks at a document within the document.
func (w *walker) inner(text []byte, xml bool, level int) error {
	if bytes.IndexByte(text, '<') < 0 {
		return nil
	}
	if w.documents++; w.documents > maxNested {
		return w.sign(archive.Unreadable, "it holds more than %d documents", maxNested)
	}
	return w.markup(text, xml, level+1)
}

// styleSheetHref finds where a style sheet is.
var styleSheetHref = regexp.MustCompile(`(?i)href\s*=\s*["']([^"']*)`)

// styleSheet looks at an instruction to use a style sheet: one within the document may run script.
func (w *walker) styleSheet(t []byte) error {
	m := styleSheetHref.FindSubmatch(t)
	if m == nil {
		return nil
	}
	href := html.UnescapeString(string(m[1]))
	if scheme := schemeOf(href); scheme == "data" || executes[scheme] || strings.HasPrefix(strings.TrimSpace(href), "#") {
		if err := w.active("it is transformed by a style sheet of its own: %s", quote(href)); err != nil {
			return err
		}
	}
	return w.dataURLs([]byte(href), nil)
}

// element looks at a start tag.
func (w *walker) element(e *element, level int) error {
	for _, check := range []func(*element, int) error{w.checkElement, w.checkAttrs, w.checkMeta, w.checkObject, w.checkAnimation} {
		if err := check(e, level); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) checkElement(e *element, _ int) error {
	switch e.name {
	case "hta:application":
		return w.sign(archive.Script, "it is an HTML application")
	case "script":
		src := e.get("src")
		for _, key := range []string{"href", "xlink:href"} {
			if src == "" {
				src = e.get(key)
			}
		}
		if src != "" && scriptRuns(e) {
			return w.active("it runs the script at %s", quote(src))
		}
	case "applet":
		return w.active("it runs a Java applet")
	case "link":
		if strings.EqualFold(strings.TrimSpace(e.get("rel")), "import") {
			return w.active("it takes in the document %s", quote(e.get("href")))
		}
	}
	return nil
}

// harmless are attributes whose values are only shown.
var harmless = map[string]bool{
	"alt": true, "title": true, "name": true, "id": true, "class": true, "value": true, "placeholder": true,
	"summary": true, "label": true, "aria-label": true, "content": true, "lang": true,
}

func (w *walker) checkAttrs(e *element, level int) error {
	var names []string
	if e.has("download") {
		names = append(names, e.get("download"))
	}
	for _, a := range e.attrs {
		value, err := w.entitiesIn(a.value)
		if err != nil {
			return err
		}
		switch {
		case isHandler(a.key) && strings.TrimSpace(value) != "":
			if err = w.active("it runs script on the event %s: %s", a.key[2:], quote(value)); err == nil {
				err = w.scriptText(value)
			}
		case a.key == "style":
			err = w.css(value, 0)
		case a.key == "srcdoc":
			err = w.inner([]byte(value), false, level)
		default:
			err = w.checkValue(e, a.key, value, names)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// checkValue looks at an attribute that may be a URL.
func (w *walker) checkValue(e *element, key, value string, names []string) error {
	if len(value) < 5 {
		return nil
	}
	scheme := schemeOf(value)
	switch {
	case harmless[key] && !(e.name == "meta" && key == "content"):
	case executes[scheme] && !idle(value):
		if err := w.active("%s of <%s> is script: %s", key, e.name, quote(value)); err != nil {
			return err
		}
		return w.scriptText(unpercent(value))
	case scheme == "data":
		return w.dataURL(value, names)
	}
	if err := w.dataURLs([]byte(value), names); err != nil {
		return err
	}
	if w.body || len(value) < minLiteral || scheme == "http" || scheme == "https" || scheme == "mailto" {
		return nil
	}
	return w.literals([]byte(value), false)
}

// isHandler reports whether an attribute is one for events; `online` is none, and says whether somebody is.
func isHandler(key string) bool {
	if len(key) < 5 || key[:2] != "on" || key == "online" {
		return false
	}
	for _, c := range []byte(key[2:]) {
		if c < 'a' || c > 'z' {
			return false
		}
	}
	return true
}

// refreshURL is where a page goes to by itself.
var refreshURL = regexp.MustCompile(`(?is)^[^;,]*[;,]\s*(?:url\s*=\s*)?["']?(.*)`)

func (w *walker) checkMeta(e *element, _ int) error {
	if e.name != "meta" || !strings.EqualFold(strings.TrimSpace(e.get("http-equiv")), "refresh") {
		return nil
	}
	m := refreshURL.FindStringSubmatch(e.get("content"))
	if m == nil {
		return nil
	}
	if scheme := schemeOf(m[1]); scheme == "data" || executes[scheme] {
		return w.active("it goes by itself to %s", quote(m[1]))
	}
	return nil
}

// program are the media types of objects that run.
var program = regexp.MustCompile(`(?i)java|flash|shockwave|scriptlet|silverlight|x-oleobject|hta|activex`)

func (w *walker) checkObject(e *element, _ int) error {
	if e.name != "object" && e.name != "embed" {
		return nil
	}
	switch {
	case e.get("classid") != "":
		return w.active("it runs the object %s", quote(e.get("classid")))
	case program.MatchString(e.get("type")):
		return w.active("it runs an object of the type %s", quote(e.get("type")))
	}
	return nil
}

// checkAnimation looks at animations that put script into an attribute.
func (w *walker) checkAnimation(e *element, _ int) error {
	switch e.name {
	case "set", "animate", "animatemotion", "animatetransform", "animatecolor":
	default:
		return nil
	}
	if isHandler(strings.ToLower(strings.TrimSpace(e.get("attributename")))) {
		return w.active("an animation sets the event %s", quote(e.get("attributename")))
	}
	for _, key := range []string{"to", "from", "by", "values"} {
		for v := range strings.SplitSeq(e.get(key), ";") {
			v, err := w.entitiesIn(v)
			if err != nil {
				return err
			}
			if scheme := schemeOf(v); executes[scheme] || scheme == "data" && strings.Contains(e.get("attributename"), "href") {
				return w.active("an animation sets a link to %s", quote(v))
			}
		}
	}
	return nil
}
