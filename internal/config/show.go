package config

import (
	"bytes"
	"encoding"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Show gives the effective configuration as YAML: what the file says and every default that holds where
// it is silent. Parse reads it as the same configuration again. Of the filters, whose defaults are their
// own, it has what the file says. What looks like a secret in a filter's options is not shown.
func (c *Config) Show() []byte {
	var w emitter
	w.fields(reflect.ValueOf(c).Elem(), 0)
	return w.b.Bytes()
}

// emitter writes YAML in block form, lists of scalars on one line.
type emitter struct{ b bytes.Buffer }

func (w *emitter) line(depth int, format string, args ...any) {
	w.b.WriteString(strings.Repeat("  ", depth))
	fmt.Fprintf(&w.b, format, args...)
	w.b.WriteByte('\n')
}

// fields writes the keys of a struct.
func (w *emitter) fields(v reflect.Value, depth int) {
	for _, f := range fieldsOf(v.Type()) {
		fv := v.FieldByIndex(f.index)
		switch {
		case f.option == "filters":
			w.filters(fv.Interface().([]*Filter), depth)
		case f.option == "overlays":
			w.overlays(fv.Interface().(overlays), depth)
		case f.option == "omitzero" && fv.IsZero():
		case f.option == "named":
			w.line(depth, "%s:", f.key)
			for i := range fv.Len() {
				w.named(fv.Index(i), depth+1)
			}
		default:
			w.value(f.key, fv, depth)
		}
	}
}

// named writes one element of a mapping by name. A policy's thresholds are all written, those that do
// not exist as null: a policy that writes none has the standard ones.
func (w *emitter) named(v reflect.Value, depth int) {
	w.line(depth, "%s:", word(v.FieldByName("Name").String()))
	w.fields(v, depth+1)
}

func (w *emitter) value(key string, v reflect.Value, depth int) {
	if s, ok := atom(v); ok {
		if s != `""` {
			w.line(depth, "%s: %s", word(key), s)
		}
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			if v.Type().Elem().Kind() != reflect.Struct {
				w.line(depth, "%s: null", word(key))
			}
			return
		}
		w.value(key, v.Elem(), depth)
	case reflect.Struct:
		var inner emitter
		inner.fields(v, depth+1)
		if inner.b.Len() > 0 {
			w.line(depth, "%s:", word(key))
			w.b.Write(inner.b.Bytes())
		}
	case reflect.Map:
		if v.Len() == 0 {
			return
		}
		w.line(depth, "%s:", word(key))
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, k := range keys {
			w.value(k.String(), v.MapIndex(k), depth+1)
		}
	case reflect.Slice:
		w.slice(key, v, depth)
	}
}

func (w *emitter) slice(key string, v reflect.Value, depth int) {
	if v.Type().Elem().Kind() == reflect.Struct && v.Len() > 0 {
		if _, ok := atom(v.Index(0)); !ok {
			w.line(depth, "%s:", word(key))
			for i := range v.Len() {
				var inner emitter
				inner.fields(v.Index(i), depth+1)
				item := inner.b.Bytes()
				item[2*depth] = '-' // the first key's indentation holds the dash
				w.b.Write(item)
			}
			return
		}
	}
	if v.Len() == 0 && v.IsNil() {
		return
	}
	items := make([]string, v.Len())
	for i := range items {
		items[i], _ = atom(v.Index(i))
	}
	w.line(depth, "%s: [%s]", word(key), strings.Join(items, ", "))
}

// atom writes a value that stands on one line, and tells whether v is one.
func atom(v reflect.Value) (string, bool) {
	switch x := v.Interface().(type) {
	case time.Duration:
		return FormatDuration(x), true
	case Keep:
		return x.show(), true
	case Servers:
		if x == nil {
			return `""`, true
		}
		return x.show(), true
	case encoding.TextMarshaler:
		if v.Kind() == reflect.Pointer {
			return "", false
		}
		text, err := x.MarshalText()
		return strconv.Quote(string(text)), err == nil
	}
	switch v.Kind() {
	case reflect.String:
		return text(v.String()), true
	case reflect.Bool:
		return strconv.FormatBool(v.Bool()), true
	case reflect.Int64:
		return FormatSize(v.Int()), true
	case reflect.Int:
		return strconv.FormatInt(v.Int(), 10), true
	case reflect.Float64:
		return number(v.Float()), true
	}
	return "", false
}

// show writes the word for all, or the list.
func (k Keep) show() string {
	if k == nil {
		return keepAll
	}
	ids := make([]string, len(k))
	for i := range k {
		ids[i] = text(k[i])
	}
	return "[" + strings.Join(ids, ", ") + "]"
}

func number(f float64) string {
	if f == math.Trunc(f) && math.Abs(f) < 1e15 {
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	return strconv.FormatFloat(f, 'g', -1, 64)
}

// Text writes a text as it can stand for a value in a configuration.
func Text(s string) string { return text(s) }

// word writes a key, text a text: plain where nothing can be mistaken, else in double quotes, whose
// escapes in Go are escapes in YAML 1.2 as well.
func word(s string) string { return text(s) }

func text(s string) string {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	if s != "" && strings.ContainsRune(letters+"/", rune(s[0])) &&
		strings.Trim(s, letters+"0123456789/._-@") == "" && !slices.Contains(reserved, strings.ToLower(s)) {
		return s
	}
	return quote(s)
}

// reserved are the plain words that some version of YAML reads as something else.
var reserved = []string{"null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan", "inf"}

func quote(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) {
		return strconv.Quote(s)
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r <= 0xff:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r <= 0xffff:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

func (w *emitter) filters(all []*Filter, depth int) {
	if len(all) == 0 {
		w.line(depth, "filters: []")
		return
	}
	w.line(depth, "filters:")
	for _, f := range all {
		w.line(depth+1, "- %s:", word(f.Kind))
		w.line(depth+4, "name: %s", word(f.Name))
		w.line(depth+4, "on_error: %s", f.OnError)
		if f.Timeout > 0 {
			w.line(depth+4, "timeout: %s", FormatDuration(f.Timeout))
		}
		if f.Observe {
			w.line(depth+4, "observe: true")
		}
		w.pairs(f.options, depth+4)
	}
}

func (w *emitter) overlays(all overlays, depth int) {
	if len(all) == 0 {
		return
	}
	w.line(depth, "filters:")
	for _, o := range all {
		if o.off {
			w.line(depth+1, "%s: off", word(o.name))
			continue
		}
		w.node(o.name, o.node, depth+1)
	}
}

func (w *emitter) pairs(n *node, depth int) {
	for _, p := range n.pairs {
		w.node(p.key, p.value, depth)
	}
}

// node writes a key and what the file says of it.
func (w *emitter) node(key string, n *node, depth int) {
	if n.kind == mapping && len(n.pairs) > 0 {
		w.line(depth, "%s:", word(key))
		w.pairs(n, depth+1)
		return
	}
	w.line(depth, "%s: %s", word(key), flow(key, n))
}

// flow writes a node on one line.
func flow(key string, n *node) string {
	switch n.kind {
	case scalar:
		if secret(key) {
			return "(hidden)"
		}
		if s, ok := n.val.(string); ok {
			return text(s)
		}
		return n.text
	case sequence:
		items := make([]string, len(n.items))
		for i, item := range n.items {
			items[i] = flow(key, item)
		}
		return "[" + strings.Join(items, ", ") + "]"
	case mapping:
		items := make([]string, len(n.pairs))
		for i, p := range n.pairs {
			items[i] = word(p.key) + ": " + flow(p.key, p.value)
		}
		return "{" + strings.Join(items, ", ") + "}"
	}
	return "null"
}

// secret tells whether the value of a key is not to be shown; the name of a file with a secret is.
func secret(key string) bool {
	key = strings.ToLower(key)
	if strings.HasSuffix(key, "_file") {
		return false
	}
	for _, s := range []string{"password", "passwd", "secret", "token", "api_key", "apikey", "credential"} {
		if strings.Contains(key, s) {
			return true
		}
	}
	return false
}
