package config

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

const document = "../../docs/config.md"

// keys gives every key that a configuration may have, below t.
func keys(t reflect.Type) []string {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice:
		return keys(t.Elem())
	case reflect.Struct:
		var all []string
		for _, f := range fieldsOf(t) {
			all = append(all, f.key)
			if f.option != "filters" && f.option != "overlays" {
				all = append(all, keys(t.FieldByIndex(f.index).Type)...)
			}
		}
		return all
	}
	return nil
}

// TestKeysDocumented: every key has a row or a section in docs/config.md, and every row is a key; so has
// every value of a closed set.
func TestKeysDocumented(t *testing.T) {
	doc, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|").FindAllStringSubmatch(string(doc), -1) {
		rows = append(rows, m[1])
	}
	sections := regexp.MustCompile(`(?m)^## ([a-z_]+)$`).FindAllStringSubmatch(string(doc), -1)
	for _, m := range sections {
		rows = append(rows, m[1])
	}
	real := append(keys(reflect.TypeFor[Config]()), commonKeys...)
	for _, k := range real {
		if !slices.Contains(rows, k) {
			t.Errorf("%s is a key, and docs/config.md has no row for it", k)
		}
	}
	for _, k := range rows {
		if !slices.Contains(real, k) {
			t.Errorf("docs/config.md has %s, which is no key", k)
		}
	}
	if len(real) < 50 {
		t.Errorf("only %d keys were found", len(real))
	}
	var words func(reflect.Type)
	words = func(s reflect.Type) {
		switch {
		case s.Kind() == reflect.Pointer || s.Kind() == reflect.Slice:
			words(s.Elem())
		case s.Kind() == reflect.Struct:
			for _, f := range fieldsOf(s) {
				for _, w := range f.allowed {
					if !strings.Contains(string(doc), "`"+w+"`") {
						t.Errorf("%s: %s is not in docs/config.md", f.key, w)
					}
				}
				words(s.FieldByIndex(f.index).Type)
			}
		}
	}
	words(reflect.TypeFor[Config]())
	words(reflect.TypeFor[filterCommon]())
}

// TestSamples reads the samples of the documents, each put into the four-key configuration.
func TestSamples(t *testing.T) {
	for name, least := range map[string]int{document: 5, "../../docs/relay.md": 1} {
		doc, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		samples := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(doc), -1)
		if len(samples) < least {
			t.Fatalf("%s: %d samples", name, len(samples))
		}
		rest := map[string]string{
			"hostname":  "hostname: mx.example.org\n",
			"listeners": "listeners: {public: {address: \":25\"}}\n",
			"routes":    "routes: [{to: [example.org], upstream: exchange}]\n",
			"upstreams": "upstreams: {exchange: {maildir: /m}}\n",
			"policies":  "policies: {strict: {}}\n",
		}
		for _, s := range samples {
			text := s[1]
			for key, line := range rest {
				if !strings.Contains("\n"+text, "\n"+key+":") {
					text += line
				}
			}
			if _, err := Parse("sample", []byte(text), append(slices.Clone(kinds), "dnsbl")); err != nil {
				t.Errorf("%s: %v\n%s", name, err, text)
			}
		}
	}
}

// TestDefaultsDocumented reads the defaults that the document names in its tables, and compares them with
// those that a configuration has.
func TestDefaultsDocumented(t *testing.T) {
	doc, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	shown := string(load(t, "four-keys.yaml").Show())
	n := 0
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| `([a-zA-Z0-9]+)` \\|").FindAllStringSubmatch(string(doc), -1) {
		if m[1] == "timeout" { // the pipeline's
			continue
		}
		if n++; !regexp.MustCompile(`(?m)^[ -]*`+m[1]+`: "?`+m[2]+`"?$`).MatchString(shown) && !(m[1] == "mode" || m[1] == "observe" || m[1] == "require_tls" || m[1] == "positive" || m[1] == "negative") {
			t.Errorf("docs/config.md says that %s is %s by default, and it is not in\n%s", m[1], m[2], shown)
		}
	}
	if n < 20 {
		t.Errorf("only %d defaults were found", n)
	}
}

// TestOversignDocumented: the list of fields in docs/config.md is the default.
func TestOversignDocumented(t *testing.T) {
	doc, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	var s Signing
	s.defaults()
	if want := "| `oversign` | `[" + strings.Join(s.Oversign, ", ") + "]` |"; !strings.Contains(string(doc), want) {
		t.Errorf("docs/config.md has no row that begins with %s", want)
	}
}

// TestAnswerCacheDocumented: how long answers hold by default stands in docs/config.md.
func TestAnswerCacheDocumented(t *testing.T) {
	doc, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	var c AnswerCache
	c.defaults()
	for key, d := range map[string]time.Duration{"positive": c.Positive, "negative": c.Negative} {
		if want := "| `" + key + "` | `" + FormatDuration(d) + "` |"; !strings.Contains(string(doc), want) {
			t.Errorf("docs/config.md has no row that begins with %s", want)
		}
	}
}

// TestBigSendersDocumented: the list of domains in docs/config.md is the default.
func TestBigSendersDocumented(t *testing.T) {
	doc, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	var c Config
	c.defaults()
	if want := "By default: `" + strings.Join(c.BigSenders, "`, `") + "`."; !strings.Contains(string(doc), want) {
		t.Errorf("docs/config.md has no %s", want)
	}
}
