package markup

import (
	"bytes"
	"regexp"
	"strings"

	"github.com/postern-mail/postern/internal/archive"
	"golang.org/x/net/html"
)

// How many entities are known of one document, and how far into it they are looked for.
const (
	maxEntities = 256
	maxDeclared = 1 << 20
)

var entityDeclaration = regexp.MustCompile(`(?s)<!ENTITY\s+(%?\s*[^\s"'<>]+)\s+(?:"([^"]*)"|'([^']*)')`)

// entities gives the values of those that the document type declares (XML 1.0 4.2), by their names.
func entities(text []byte) map[string]string {
	if !bytes.Contains(text[:min(len(text), maxDeclared)], []byte("<!ENTITY")) {
		return nil
	}
	all := map[string]string{}
	for _, m := range entityDeclaration.FindAllSubmatch(text[:min(len(text), maxDeclared)], maxEntities) {
		name := strings.TrimSpace(strings.TrimPrefix(string(m[1]), "%"))
		if _, again := all[name]; !again { // the first declaration holds
			all[name] = html.UnescapeString(string(m[2]) + string(m[3]))
		}
	}
	return all
}

// checkEntity looks at the value of an entity: those with markup in them hide it.
func (w *walker) checkEntity(name, value string) error {
	if strings.Contains(value, "<") || strings.Contains(html.UnescapeString(value), "<") {
		return w.active("the entity %s hides markup: %s", quote(name), quote(value))
	}
	return nil
}

// maxExpanded is how long the value of an attribute may become by its entities.
const maxExpanded = 64 << 10

// maxExpansions is how many values are expanded.
const maxExpansions = 10_000

// entitiesIn puts the entities of the document into the value of an attribute, as long as there are not too many.
func (w *walker) entitiesIn(value string) (string, error) {
	if len(w.entities) == 0 || !strings.Contains(value, "&") {
		return value, nil
	}
	if w.expanded++; w.expanded > maxExpansions {
		return value, w.sign(archive.Unreadable, "it uses entities in more than %d places", maxExpansions)
	}
	return w.expand(value), nil
}

// expand puts the entities of the document into the value of an attribute.
func (w *walker) expand(value string) string {
	for range 4 {
		if len(w.entities) == 0 || len(value) > maxExpanded || !strings.Contains(value, "&") {
			return value
		}
		changed := false
		var b strings.Builder
		for rest := value; rest != ""; {
			text, after, found := strings.Cut(rest, "&")
			b.WriteString(text)
			if rest = after; !found {
				break
			}
			name, _, ended := strings.Cut(rest[:min(len(rest), 128)], ";")
			e, known := w.entities[name]
			if !ended || !known || b.Len()+len(e) > maxExpanded {
				b.WriteByte('&')
				continue
			}
			b.WriteString(e)
			rest = rest[len(name)+1:]
			changed = true
		}
		if value = b.String(); !changed {
			return value
		}
	}
	return value
}
