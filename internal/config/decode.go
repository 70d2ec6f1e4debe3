package config

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// decoder lays nodes over Go values. It is not the decoder of the YAML library, because three things are
// asked of it that a library does not give together: every fault is reported and not only the first;
// what is in the value beforehand stays where the file is silent, through maps and structs, so that a
// policy's options can be laid over a filter's; and each fault knows what would have been allowed.
//
// Fields are named by their yaml tags. An int64 is a count of octets and takes units, as ParseSize does;
// a time.Duration takes what ParseDuration does; types with UnmarshalText or UnmarshalYAML(func(any)
// error) read themselves.
type decoder struct {
	src  *source
	errs Errors
	bad  map[*node]bool // nodes that a fault was reported for

	options reflect.Type // of a filter's options, beside which the common keys are allowed; nil elsewhere
	// over is not nil for what a policy lays over the options of a filter, once what it takes out is out (takeOut): what was probably meant where that
	// was not there.
	over map[*node]string
}

func (d *decoder) fail(n *node, format string, args ...any) {
	d.failAllowed(n, nil, format, args...)
}

func (d *decoder) failAllowed(n *node, allowed []string, format string, args ...any) {
	d.mark(n)
	d.errs = append(d.errs, d.src.errorAt(n.pos, fmt.Sprintf(format, args...), allowed...))
}

func (d *decoder) mark(n *node) {
	if d.bad == nil {
		d.bad = map[*node]bool{}
	}
	d.bad[n] = true
}

// field is what a struct's tag says of one key.
type field struct {
	key     string
	option  string // named, filters, overlays, omitzero (in Show), scalar=KEY (also of a list: of each of its items)
	allowed []string
	later   []string
	index   []int
}

// defaulter is a type whose values begin with defaults.
type defaulter interface{ defaults() }

var (
	durationType = reflect.TypeFor[time.Duration]()
	prefixType   = reflect.TypeFor[netip.Prefix]()
	addrPortType = reflect.TypeFor[netip.AddrPort]()
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
	yamlType     = reflect.TypeFor[interface{ UnmarshalYAML(func(any) error) error }]()
)

func (d *decoder) decode(n *node, v reflect.Value, f field) {
	if n.kind == broken {
		d.mark(n)
		return
	}
	if v.Kind() == reflect.Pointer {
		d.pointer(n, v, f)
		return
	}
	if d.special(n, v) {
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.object(n, v, f)
	case reflect.Map:
		d.table(n, v)
	case reflect.Slice:
		d.list(n, v, f)
	case reflect.Interface:
		if x := plain(n); x == nil {
			v.SetZero()
		} else if v.NumMethod() == 0 {
			v.Set(reflect.ValueOf(x))
		}
	default:
		d.scalar(n, v, f)
	}
}

func (d *decoder) pointer(n *node, v reflect.Value, f field) {
	if n.kind == null && v.Type().Elem().Kind() != reflect.Struct {
		v.SetZero() // written, and written as none
		return
	}
	if v.IsNil() {
		fresh := reflect.New(v.Type().Elem())
		if df, ok := fresh.Interface().(defaulter); ok {
			df.defaults()
		}
		v.Set(fresh)
	}
	d.decode(n, v.Elem(), f)
}

// special reads the types that have a form of their own, and tells whether v was one.
func (d *decoder) special(n *node, v reflect.Value) bool {
	t := v.Type()
	switch {
	case t == durationType:
		if x, err := ParseDuration(n.text); n.kind != scalar || err != nil {
			d.fail(n, "must be a duration such as 90s, 5m, 12h, 30d or 2w, and is %s", describe(n))
		} else {
			v.SetInt(int64(x))
		}
	case t == prefixType:
		if p, ok := parseNetwork(n.text); n.kind != scalar || !ok {
			d.fail(n, "must be a network such as 192.0.2.0/24 or an address, and is %s", describe(n))
		} else {
			v.Set(reflect.ValueOf(p))
		}
	case t == addrPortType:
		if a, ok := parseServer(n.text); n.kind != scalar || !ok {
			d.fail(n, "must be an IP address with a port, such as 127.0.0.1:53, and is %s", describe(n))
		} else {
			v.Set(reflect.ValueOf(a))
		}
	case v.CanAddr() && v.Addr().Type().Implements(yamlType):
		u := v.Addr().Interface().(interface{ UnmarshalYAML(func(any) error) error })
		d.absorb(n, u.UnmarshalYAML(func(to any) error { return d.sub(n, to) }))
	case v.CanAddr() && v.Addr().Type().Implements(textType):
		if n.kind != scalar {
			d.fail(n, "must be a value, and is %s", describe(n))
		} else {
			d.absorb(n, v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(n.text)))
		}
	default:
		return false
	}
	return true
}

// sub decodes n into what to points to, with errors of its own.
func (d *decoder) sub(n *node, to any) error {
	v := reflect.ValueOf(to)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		return fmt.Errorf("config: can't decode into %T", to)
	}
	inner := decoder{src: d.src, over: d.over}
	inner.decode(n, v.Elem(), field{})
	if len(inner.errs) > 0 {
		return inner.errs
	}
	return nil
}

// absorb reports what a type's own reading of n complained about.
func (d *decoder) absorb(n *node, err error) {
	if err == nil {
		return
	}
	var inner Errors
	if errors.As(err, &inner) {
		d.errs = append(d.errs, inner...)
		d.mark(n)
		return
	}
	var allowed []string
	var knows interface{ Allowed() []string }
	if errors.As(err, &knows) {
		allowed = knows.Allowed()
	}
	d.failAllowed(n, allowed, "%s", err)
}

// object fills a struct from a mapping; no value at all is the empty mapping.
func (d *decoder) object(n *node, v reflect.Value, f field) {
	if key, ok := strings.CutPrefix(f.option, "scalar="); ok && n.kind == scalar {
		n = &node{kind: mapping, pos: n.pos, pairs: []pair{{key, n.pos, n}}}
	}
	fields := fieldsOf(v.Type())
	if d.nothing(n) {
		return
	}
	if n.kind != mapping && n.kind != null {
		d.failAllowed(n, keysOf(fields), "must be a mapping, and is %s", describe(n))
		return
	}
	for _, p := range n.pairs {
		i := slices.IndexFunc(fields, func(f field) bool { return f.key == p.key })
		if i < 0 {
			d.unknownKey(p, v.Type(), keysOf(fields))
			continue
		}
		fv := v.FieldByIndex(fields[i].index)
		switch fields[i].option {
		case "named":
			d.named(p.value, fv)
		case "filters":
			d.filters(p.value, fv)
		case "overlays":
			d.overlays(p.value, fv)
		default:
			d.decode(p.value, fv, fields[i])
		}
	}
}

func (d *decoder) unknownKey(p pair, t reflect.Type, allowed []string) {
	at := &node{pos: p.keyPos}
	if slices.Contains(laterKeys[t], p.key) {
		d.fail(at, "%s is not in this version of Postern", p.key)
		return
	}
	if t == d.options {
		allowed = slices.Concat(allowed, commonKeys)
	}
	d.failAllowed(at, allowed, "unknown key %s%s", show(p.key), Suggest(p.key, allowed))
}

// nothing reports whether a policy takes out a mapping that the list of filters does not have, and complains.
func (d *decoder) nothing(n *node) bool {
	if d.over == nil || n.kind != null && !isOff(n) {
		return false
	}
	d.fail(n, "there is nothing that could be taken out here%s", d.over[n])
	return true
}

// table fills a map; keys that the file does not name stay.
func (d *decoder) table(n *node, v reflect.Value) {
	if d.nothing(n) {
		return
	}
	if n.kind != mapping && n.kind != null || v.Type().Key().Kind() != reflect.String {
		d.fail(n, "must be a mapping, and is %s", describe(n))
		return
	}
	// A map of its own: the defaults may be one that others share.
	own := reflect.MakeMapWithSize(v.Type(), v.Len()+len(n.pairs))
	for it := v.MapRange(); it.Next(); {
		own.SetMapIndex(it.Key(), it.Value())
	}
	v.Set(own)
	for _, p := range n.pairs {
		key := reflect.New(v.Type().Key()).Elem()
		before := len(d.errs)
		d.decode(&node{kind: scalar, pos: p.keyPos, text: p.key, val: p.key}, key, field{})
		if len(d.errs) > before {
			continue
		}
		elem := reflect.New(v.Type().Elem()).Elem()
		if old := v.MapIndex(key); old.IsValid() {
			elem.Set(old)
		}
		d.decode(p.value, elem, field{})
		v.SetMapIndex(key, elem)
	}
}

// list fills a slice anew.
func (d *decoder) list(n *node, v reflect.Value, f field) {
	if n.kind != sequence {
		d.fail(n, "must be a list, and is %s%s", describe(n), listHint(n))
		return
	}
	out := reflect.MakeSlice(v.Type(), len(n.items), len(n.items))
	for i, item := range n.items {
		if df, ok := out.Index(i).Addr().Interface().(defaulter); ok {
			df.defaults()
		}
		d.decode(item, out.Index(i), field{allowed: f.allowed, later: f.later, option: f.option})
	}
	v.Set(out)
}

func listHint(n *node) string {
	if n.kind == scalar {
		return fmt.Sprintf(": write [%s]", n.text)
	}
	return ""
}

// named fills a slice of structs with a Name from a mapping by name.
func (d *decoder) named(n *node, v reflect.Value) {
	if n.kind != mapping {
		d.fail(n, "must be a mapping from names, and is %s", describe(n))
		return
	}
	out := reflect.MakeSlice(v.Type(), 0, len(n.pairs))
	for _, p := range n.pairs {
		if !validName(p.key) {
			d.fail(&node{pos: p.keyPos}, "the name %s must be of letters, digits, - and _, at most 40", show(p.key))
			continue
		}
		elem := reflect.New(v.Type().Elem())
		if df, ok := elem.Interface().(defaulter); ok {
			df.defaults()
		}
		elem.Elem().FieldByName("Name").SetString(p.key)
		d.decode(p.value, elem.Elem(), field{})
		out = reflect.Append(out, elem.Elem())
	}
	v.Set(out)
}

func (d *decoder) scalar(n *node, v reflect.Value, f field) {
	if n.kind == null {
		d.failAllowed(n, f.allowed, "has no value; leave the key out for the default")
		return
	}
	if n.kind != scalar {
		d.failAllowed(n, f.allowed, "must be %s, and is %s", wanted(v), describe(n))
		return
	}
	switch v.Kind() {
	case reflect.String:
		if d.choice(n, f) {
			v.SetString(n.text)
		}
	case reflect.Bool:
		if b, ok := n.val.(bool); ok {
			v.SetBool(b)
		} else {
			d.failAllowed(n, []string{"true", "false"}, "must be true or false, and is %s", describe(n))
		}
	case reflect.Int64:
		if x, err := ParseSize(n.text); err == nil {
			v.SetInt(x)
		} else {
			d.fail(n, "must be a whole number of octets, alone or with KiB, MiB, GiB, TiB (1024), k, M, G or T (1000), such as 50MiB, and is %s", describe(n))
		}
	case reflect.Int, reflect.Int32, reflect.Int16, reflect.Int8:
		x, err := strconv.ParseInt(n.text, 10, v.Type().Bits())
		if err != nil {
			d.fail(n, "must be a whole number, and is %s", describe(n))
			return
		}
		v.SetInt(x)
	case reflect.Uint, reflect.Uint64, reflect.Uint32, reflect.Uint16, reflect.Uint8:
		x, err := strconv.ParseUint(n.text, 10, v.Type().Bits())
		if err != nil {
			d.fail(n, "must be a whole number that is not negative, and is %s", describe(n))
			return
		}
		v.SetUint(x)
	case reflect.Float64, reflect.Float32:
		x, err := strconv.ParseFloat(n.text, v.Type().Bits())
		if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
			d.fail(n, "must be a number, and is %s", describe(n))
			return
		}
		v.SetFloat(x)
	default:
		d.fail(n, "has no place in a %s", v.Type())
	}
}

// choice checks a text against the closed set of its field.
func (d *decoder) choice(n *node, f field) bool {
	switch {
	case len(f.allowed) == 0 || slices.Contains(f.allowed, n.text):
		return true
	case slices.Contains(f.later, n.text):
		d.failAllowed(n, f.allowed, "%s is not in this version of Postern", n.text)
	default:
		d.failAllowed(n, f.allowed, "unknown value %s%s", show(n.text), Suggest(n.text, f.allowed))
	}
	return false
}
