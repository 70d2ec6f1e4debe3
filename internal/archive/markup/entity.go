package markup

import (
	"regexp"
	"strings"

	"golang.org/x/net/html"
)

// entity is one that a document type declares (XML 1.0 4.2).
type entity struct{ name, value string }

// maxEntities is how many are known of one document.
const maxEntities = 256

var entityDeclaration = regexp.MustCompile(`(?s)<!ENTITY\s+(%?\s*[^\s"'<>]+)\s+(?:"([^"]*)"|'([^']*)')`)

// entities gives those of a document.
func entities(text []byte) []entity {
	var all []entity
	for _, m := range entityDeclaration.FindAllSubmatch(text[:min(len(text), 1<<20)], maxEntities) {
		all = append(all, entity{string(m[1]), html.UnescapeString(string(m[2]) + string(m[3]))})
	}
	return all
}

// checkEntity looks at the value of an entity: those with markup in them hide it.
func (w *walker) checkEntity(e entity) error {
	if strings.ContainsAny(e.value, "<") || strings.Contains(html.UnescapeString(e.value), "<") {
		return w.active("the entity %s hides markup: %s", quote(e.name), quote(e.value))
	}
	return nil
}

// expand puts the entities of the document into the value of an attribute.
func (w *walker) expand(value string) string {
	for range 4 {
		if len(w.entities) == 0 || !strings.Contains(value, "&") || len(value) > 64<<10 {
			return value
		}
		before := value
		for _, e := range w.entities {
			if ref := "&" + e.name + ";"; strings.Contains(value, ref) && len(value) < 64<<10 && len(e.value) < 4096 {
				value = strings.Replace(value, ref, e.value, 16)
			}
		}
		if value == before {
			return value
		}
	}
	return value
}
