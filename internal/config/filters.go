package config

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"time"
)

// Filter is one configured stage. What its kind makes of its options is the filter's own matter: Decode
// hands them over.
type Filter struct {
	Kind    string        // the key in the file
	Name    string        // of the stage; the kind unless the file says otherwise
	OnError string        // "defer", "continue" or "reject"
	Timeout time.Duration // 0: the pipeline's default
	Observe bool
	Pos     Pos // of the kind in the file; the zero Pos for a filter that runs by default

	c       *Config
	options *node // mapping without the common keys
}

// filterCommon are the keys that every filter takes beside its own options.
type filterCommon struct {
	Name    string        `yaml:"name"`
	OnError string        `yaml:"on_error" allowed:"defer|continue|reject"`
	Timeout time.Duration `yaml:"timeout"`
	Observe bool          `yaml:"observe"`
}

var commonKeys = keysOf(fieldsOf(reflect.TypeFor[filterCommon]()))

// overlays are what a policy says about filters, in the order of the file.
type overlays []overlay

type overlay struct {
	name string
	off  bool
	node *node // nil when off
	pos  Pos
}

// filters reads the list of stages; whether the program has their kinds is checked later.
func (d *decoder) filters(n *node, v reflect.Value) {
	if n.kind != sequence {
		d.fail(n, "must be a list of filters, and is %s; [] runs none", describe(n))
		return
	}
	all := make([]*Filter, 0, len(n.items))
	for _, item := range n.items {
		if f := d.filter(item); f != nil {
			all = append(all, f)
		}
	}
	v.Set(reflect.ValueOf(all))
}

func (d *decoder) filter(item *node) *Filter {
	f := &Filter{Pos: item.pos, options: &node{kind: mapping, pos: item.pos}}
	switch {
	case item.kind == scalar:
		f.Kind = item.text
	case item.kind == mapping && len(item.pairs) == 1:
		f.Kind, f.Pos = item.pairs[0].key, item.pairs[0].keyPos
	case item.kind == mapping && len(item.pairs) > 1:
		d.fail(item, "one entry names one filter; its options are indented below the filter's name")
		return nil
	default:
		d.fail(item, "must be a filter, such as spf: {}, and is %s", describe(item))
		return nil
	}
	common := filterCommon{Name: f.Kind, OnError: "defer"}
	if item.kind == mapping {
		value := item.pairs[0].value
		if value.kind != mapping && value.kind != null {
			d.fail(value, "the options of %s must be a mapping, and this is %s", f.Kind, describe(value))
			return nil
		}
		isCommon := func(p pair) bool { return slices.Contains(commonKeys, p.key) }
		d.decode(value.with(isCommon), reflect.ValueOf(&common).Elem(), field{})
		if p := value.pair("timeout"); p != nil && common.Timeout == 0 && !d.bad[p.value] {
			d.fail(p.value, "timeout must be greater than 0, such as 500ms, 20s or 1m; leave the key out for the default")
		}
		f.options = value.with(func(p pair) bool { return !isCommon(p) })
	}
	f.Name, f.OnError, f.Timeout, f.Observe = common.Name, common.OnError, common.Timeout, common.Observe
	return f
}

// overlays reads what a policy says about filters; whether there are such filters is checked later.
func (d *decoder) overlays(n *node, v reflect.Value) {
	if n.kind != mapping {
		d.fail(n, "must be a mapping from the names of filters, and is %s", describe(n))
		return
	}
	var all overlays
	for _, p := range n.pairs {
		o := overlay{name: p.key, pos: p.keyPos}
		switch {
		case isOff(p.value):
			o.off = true
		case p.value.kind == mapping:
			o.node = p.value
			for _, q := range p.value.pairs {
				if slices.Contains(commonKeys, q.key) {
					d.fail(&node{pos: q.keyPos}, "%s is set where the filter is listed, for all policies", q.key)
				}
			}
		default:
			d.fail(p.value, "must be off or a mapping of the filter's options, and is %s", describe(p.value))
			continue
		}
		all = append(all, o)
	}
	v.Set(reflect.ValueOf(all))
}

func (p *Policy) overlay(filter string) *overlay {
	for i := range p.Filters {
		if p.Filters[i].name == filter {
			return &p.Filters[i]
		}
	}
	return nil
}

// Overlays tells what the policy says about the filter of that name: that it is off, or that it has
// options of the policy's own, for which DecodeFor is.
func (p *Policy) Overlays(filter string) (off, has bool) {
	o := p.overlay(filter)
	return o != nil && o.off, o != nil && !o.off
}

// OverlaySets reports whether the policy has options of its own for the filter of that name: with a path such as
// "client.messages" this one, with "" any.
func (p *Policy) OverlaySets(filter, path string) bool {
	o := p.overlay(filter)
	if o == nil || o.off {
		return false
	}
	if path == "" {
		return len(o.node.pairs) > 0
	}
	_, _, ok := locate(o.node, path)
	return ok
}

// SameFor reports whether two policies have the same options for this filter, as they stand in the file: wherever they stand, and whatever
// comes of them.
func (f *Filter) SameFor(a, b string) bool {
	return a == b || sameNode(f.overlaid(a), f.overlaid(b))
}

// overlaid gives the options that a policy has for the filter, nil for none.
func (f *Filter) overlaid(policy string) *node {
	if p := f.c.Policy(policy); p != nil {
		if o := p.overlay(f.Name); o != nil && !o.off && len(o.node.pairs) > 0 {
			return o.node
		}
	}
	return nil
}

// Decode fills v, a pointer to a struct that holds the defaults, with the filter's options: strictly,
// by the struct's yaml tags. What the file does not name stays as it is, also within maps. The error is
// an Errors.
func (f *Filter) Decode(v any) error { return f.DecodeFor("", v) }

// DecodeFor is Decode, with the options that the named policy has for this filter laid over: mappings
// are merged key by key, anything else takes the place of what was there. With null in its place what the list says is as if it
// did not stand there (as in RFC 7396), and so is an entry that is a mapping with off.
func (f *Filter) DecodeFor(policy string, v any) error {
	to := reflect.ValueOf(v)
	if to.Kind() != reflect.Pointer || to.IsNil() {
		return fmt.Errorf("config: filter %s: options can't be decoded into %T", f.Name, v)
	}
	d := decoder{src: f.c.src, options: to.Elem().Type()}
	list, over, meant := f.options, f.overlaid(policy), map[*node]string{}
	if over != nil {
		list, over = takeOut(list, over, meant)
	}
	d.decode(list, to.Elem(), field{})
	if over != nil {
		d.options, d.over = nil, meant // a policy has no say in the common keys
		d.decode(over, to.Elem(), field{})
	}
	if len(d.errs) > 0 {
		return f.c.src.finish(d.errs)
	}
	return nil
}

// takeOut gives a mapping without what another that is laid over it takes out, and the other without the words for that. Where
// these take out what is not there, it notes what was probably meant.
func takeOut(list, over *node, meant map[*node]string) (*node, *node) {
	if list.kind != mapping || over.kind != mapping {
		return list, over
	}
	gone := map[string]bool{}
	for _, p := range over.pairs {
		switch there := list.pair(p.key); {
		case there == nil:
			meant[p.value] = Suggest(p.key, list.keys())
		case p.value.kind == null || there.value.kind == mapping && isOff(p.value):
			gone[p.key] = true
		}
	}
	stays := func(p pair) bool { return !gone[p.key] }
	rest, laid := list.with(stays), over.with(stays)
	for i := range rest.pairs {
		if o := laid.pair(rest.pairs[i].key); o != nil {
			rest.pairs[i].value, o.value = takeOut(rest.pairs[i].value, o.value, meant)
		}
	}
	return rest, laid
}

// isOff reports whether the file has the word off, or false, for a node.
func isOff(n *node) bool { return n.kind == scalar && (n.text == "off" || n.val == false) }

// ErrorAt makes an Error at the place of the option to which keys lead, an element of a list being its number from 0: where the named
// policy has it, else where the filter is listed. Where the file does not have it, that is at what is nearest above.
func (f *Filter) ErrorAt(policy string, path []string, format string, args ...any) *Error {
	pos := f.Pos
	best, at := descend(f.options, path)
	if best > 0 {
		pos = at
	}
	if p := f.c.Policy(policy); p != nil {
		if o := p.overlay(f.Name); o != nil && !o.off {
			if depth, at := descend(o.node, path); depth > 0 && depth >= best {
				pos = at
			} else if best == 0 && (policy != DefaultPolicy || pos == Pos{}) {
				pos = o.pos
			}
		}
	}
	return f.c.src.finish(Errors{f.c.src.errorAt(pos, fmt.Sprintf(format, args...))})[0]
}

// descend follows keys down from a node. It gives how many of them there are, and the place of the last.
func descend(n *node, path []string) (depth int, at Pos) {
	for _, key := range path {
		switch i, err := strconv.Atoi(key); {
		case n.kind == sequence && err == nil && i >= 0 && i < len(n.items):
			n = n.items[i]
			at = n.pos
		case n.kind == mapping && n.pair(key) != nil:
			p := n.pair(key)
			n, at = p.value, p.keyPos
			if n.kind == scalar {
				at = n.pos
			}
		default:
			return depth, at
		}
		depth++
	}
	return depth, at
}
