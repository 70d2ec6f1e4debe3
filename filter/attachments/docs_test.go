package attachments

import (
	"os"
	"reflect"
	"strings"
	"testing"
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
	for _, l := range []string{executableExtensions, scriptExtensions, shortcutExtensions} {
		for _, e := range strings.Fields(l) {
			want("`" + e + "`")
		}
	}
}
