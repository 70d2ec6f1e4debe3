package attachments

import (
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestDocumented: every key, class, action, template field and extension stands in the administrator's page.
func TestDocumented(t *testing.T) {
	raw, err := os.ReadFile("../../docs/filters/attachments.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(raw)
	want := func(s string) {
		if !strings.Contains(doc, s) {
			t.Errorf("not documented: %s", s)
		}
	}
	for _, v := range []any{config{}, archives{}, notice{}, removed{}} {
		ty := reflect.TypeOf(v)
		for i := range ty.NumField() {
			if key := ty.Field(i).Tag.Get("yaml"); key != "" {
				if ty == reflect.TypeFor[archives]() {
					key = "archives." + key
				}
				want("| `" + key + "` |")
			} else {
				want("`." + ty.Field(i).Name + "`")
			}
		}
	}
	for _, c := range classes {
		want("| `" + string(c) + "` |")
	}
	for _, a := range actionNames {
		want("| `" + a + "` |")
	}
	for _, a := range ambiguityNames {
		want("`" + a + "`")
	}
	// The lists at the end of the page are those of the program, no more and no less.
	_, lists, _ := strings.Cut(doc, "\n## Extensions\n")
	for _, l := range extensionLists {
		_, rest, ok := strings.Cut(lists, "\n`"+string(l.class)+"`:\n")
		if !ok {
			t.Errorf("no list of extensions of %s", l.class)
			continue
		}
		list, _, _ := strings.Cut(rest, "\n\n")
		listed := strings.FieldsFunc(list, func(r rune) bool { return strings.ContainsRune(" `\n", r) })
		if d := cmp.Diff(slices.Sorted(slices.Values(strings.Fields(l.extensions))), slices.Sorted(slices.Values(listed))); d != "" {
			t.Errorf("extensions of %s: -program +page\n%s", l.class, d)
		}
	}
}
