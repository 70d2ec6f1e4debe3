package scanner

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestCheckJSON(t *testing.T) {
	for text, want := range map[string]string{
		`{}`: "", `[]`: "", `1`: "", `null`: "", ` {"a":{"b":1},"c":[{"b":1},{"b":2}],"b":1e400} `: "",
		`{"a":{"B":1,"b":2}}`: "",

		``: "unexpected EOF", `{`: "unexpected EOF", `{"a"`: "unexpected EOF", `{"a":1`: "unexpected EOF", `{"a":1,}`: "invalid character", `{"a":1]`: "invalid character",
		`{"a":1,"a":2}`: `"a" twice`, `{"a":1,"A":2}`: `"A" twice`, `{"a":{"b":[{"s":1,"\u017f":2}]}}`: `"ſ" twice`, `{"K":1,"\u212a":2}`: "twice", `{"ſ":1,"S":2}`: `"S" twice`, `{"a":1,"\u0061":2}`: `"a" twice`, `[{"b":{"c":1,"c":1}}]`: `"c" twice`,
		`{}{}`: "more behind it", `{} x`: "more behind it",
		strings.Repeat(`[`, 100) + strings.Repeat(`]`, 100): "too deep", strings.Repeat(`{"a":`, 100_000): "too deep",
	} {
		if err := CheckJSON([]byte(text), func(path []string) bool { return len(path) != 1 }); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v, want %q", text, err, want)
		}
	}
}

// FuzzCheckJSON: what is taken is JSON.
func FuzzCheckJSON(f *testing.F) {
	f.Add([]byte(`{"a":[1,{"b":null}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := CheckJSON(b, func([]string) bool { return true }); err == nil && !json.Valid(b) {
			t.Errorf("%q is taken", b)
		}
	})
}
