package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// The limits of a file. The parser's work grows with the square of some of what these bound, and an
// alias may stand for a tree of aliases.
const (
	maxFile       = 1 << 20 // octets
	maxIndicators = 20000   // octets that can begin an element; a pair or an item has one or two
	maxNodes      = 100000  // after aliases are resolved
	maxDepth      = 64
	maxErrors     = 100
)

type kind uint8

const (
	null kind = iota
	scalar
	mapping
	sequence
	broken // a fault has been told
)

func (k kind) String() string {
	return [...]string{"nothing", "a value", "a mapping", "a list", "broken"}[k]
}

// node is one element of the file, aliases and merges resolved. It is never changed once it is built;
// two places may share a node.
type node struct {
	kind  kind
	pos   Pos
	text  string  // of a scalar: as written, without quotes
	val   any     // of a scalar: string, bool, int64, uint64 or float64
	pairs []pair  // of a mapping
	items []*node // of a sequence
	size  int     // nodes from here down
}

type pair struct {
	key    string
	keyPos Pos
	value  *node
}

// pair finds a key and its value, nil if there is none.
func (n *node) pair(key string) *pair {
	if n == nil {
		return nil
	}
	for i := range n.pairs {
		if n.pairs[i].key == key {
			return &n.pairs[i]
		}
	}
	return nil
}

// keys lists the keys of a mapping.
func (n *node) keys() []string {
	all := make([]string, len(n.pairs))
	for i, p := range n.pairs {
		all[i] = p.key
	}
	return all
}

// with gives a mapping like n that holds only the pairs that keep chooses.
func (n *node) with(keep func(pair) bool) *node {
	out := &node{kind: mapping, pos: n.pos, size: 1}
	for _, p := range n.pairs {
		if keep(p) {
			out.pairs = append(out.pairs, p)
			out.size += p.value.size
		}
	}
	return out
}

// sameNode reports whether two places of the file say the same, in the same order.
func sameNode(a, b *node) bool {
	if a == nil || b == nil || a == b {
		return a == b
	}
	return a.kind == b.kind && a.text == b.text && a.val == b.val &&
		slices.EqualFunc(a.pairs, b.pairs, func(a, b pair) bool { return a.key == b.key && sameNode(a.value, b.value) }) &&
		slices.EqualFunc(a.items, b.items, sameNode)
}

// source is the text of a file, for excerpts.
type source struct {
	name  string
	lines []string
}

// errorAt makes an Error without its excerpt, which finish adds.
func (s *source) errorAt(p Pos, msg string, allowed ...string) *Error {
	return &Error{File: s.name, Line: p.Line, Col: p.Col, Msg: msg, Allowed: allowed}
}

// finish puts the faults into the order of the file, removes those that stand twice, leaves out the rest
// of very many, and adds the excerpts.
func (s *source) finish(es Errors) Errors {
	slices.SortStableFunc(es, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col))
	})
	es = slices.CompactFunc(es, func(a, b *Error) bool {
		return a.Line == b.Line && a.Col == b.Col && a.Msg == b.Msg
	})
	if more := len(es) - maxErrors; more > 0 {
		es = append(es[:maxErrors], s.errorAt(Pos{}, fmt.Sprintf("and %d faults more", more)))
	}
	for _, e := range es {
		e.Excerpt = s.excerpt(Pos{e.Line, e.Col})
	}
	return es
}

// excerpt shows the line of p with a caret below its column; of a long line, what lies around it.
func (s *source) excerpt(p Pos) string {
	const width = 100
	if p.Line < 1 || p.Line > len(s.lines) || p.Col < 1 {
		return ""
	}
	line := []rune(s.lines[p.Line-1])
	at, from := min(p.Col-1, len(line)), 0
	if len(line) > width {
		from = max(0, at-width/2)
		line = line[from:min(len(line), from+width)]
	}
	for i, r := range line {
		if r < ' ' || r == 0x7f {
			line[i] = ' ' // one column, as for the parser
		}
	}
	number := fmt.Sprintf("%5d | ", p.Line)
	return number + strings.TrimRight(string(line), " ") + "\n" +
		strings.Repeat(" ", len(number)-2) + "| " + strings.Repeat(" ", at-from) + "^"
}

// readTree turns the text into a tree. The tree is nil where the text is not one; faults that leave a
// usable tree come with it.
func readTree(name string, data []byte) (*source, *node, Errors) {
	text := strings.ReplaceAll(strings.TrimPrefix(string(data), "\ufeff"), "\r\n", "\n")
	src := &source{name: name, lines: strings.Split(text, "\n")}
	fail := func(p Pos, format string, args ...any) (*source, *node, Errors) {
		return src, nil, Errors{src.errorAt(p, fmt.Sprintf(format, args...))}
	}
	switch {
	case len(data) > maxFile:
		return fail(Pos{}, "the file has %s, more than %s", FormatSize(int64(len(data))), FormatSize(maxFile))
	case !utf8.ValidString(text):
		return fail(Pos{}, "the file is not UTF-8")
	case strings.IndexByte(text, 0) >= 0:
		return fail(Pos{}, "the file holds a NUL")
	case indicators(text) > maxIndicators:
		return fail(Pos{}, "the file has more than %d elements", maxIndicators)
	}
	file, err := parse(text)
	if err != nil {
		var at yaml.Error
		if errors.As(err, &at) && at.GetToken() != nil {
			return fail(posOf(at.GetToken()), "%s", at.GetMessage())
		}
		return fail(Pos{}, "%s", err)
	}
	b := builder{src: src, anchors: map[string]*node{}, left: maxNodes}
	var root *node
	for _, doc := range file.Docs {
		switch doc.Body.(type) {
		case nil, *ast.DirectiveNode, *ast.CommentGroupNode:
			continue
		}
		n := b.build(doc.Body, Pos{1, 1}, 0)
		if root != nil {
			b.report(n.pos, "a second document begins here; a configuration is one")
			break
		}
		root = n
	}
	if root == nil {
		return fail(Pos{1, 1}, "the file is empty")
	}
	if b.left < 0 {
		root = nil
	}
	return src, root, b.errs
}

// indicators counts the octets of YAML that can begin or end an element, comments and texts included.
func indicators(text string) int {
	n := 0
	for _, c := range []string{"[", "]", "{", "}", ",", "&", "*", "!", ": ", ":\n", ":\t", "- ", "-\n", "? ", "?\n"} {
		n += strings.Count(text, c)
	}
	return n
}

// parse runs the parser, whose panics on odd input are faults of the input.
func parse(text string) (f *ast.File, err error) {
	defer func() {
		if r := recover(); r != nil {
			f, err = nil, fmt.Errorf("the file can't be read as YAML (%v)", r)
		}
	}()
	return parser.ParseBytes([]byte(text), 0, parser.AllowDuplicateMapKey())
}

func posOf(t *token.Token) Pos {
	if t == nil || t.Position == nil {
		return Pos{}
	}
	return Pos{max(1, t.Position.Line), max(1, t.Position.Column)}
}

// builder makes the tree: it resolves aliases and merges, and finds keys that stand twice.
type builder struct {
	src     *source
	anchors map[string]*node
	left    int // nodes that may still come; below zero once they did
	errs    Errors
}

func (b *builder) report(p Pos, format string, args ...any) {
	b.errs = append(b.errs, b.src.errorAt(p, fmt.Sprintf(format, args...)))
}

// spend counts n nodes, and tells whether there may be that many; it complains once.
func (b *builder) spend(n int, p Pos) bool {
	if b.left < 0 {
		return false
	}
	if b.left -= n; b.left < 0 {
		b.report(p, "the file has more than %d elements, counted with those that its aliases repeat", maxNodes)
	}
	return b.left >= 0
}

// build never gives nil; at is the place of what holds n, for nodes that have none.
func (b *builder) build(n ast.Node, at Pos, depth int) *node {
	out := &node{pos: at, size: 1}
	if n == nil || !b.spend(1, at) {
		return out
	}
	if p := posOf(n.GetToken()); p != (Pos{}) {
		out.pos = p
	}
	if depth > maxDepth {
		b.report(out.pos, "nested more than %d deep", maxDepth)
		out.kind = broken
		return out
	}
	switch n := n.(type) {
	case *ast.NullNode:
	case *ast.StringNode:
		out.kind, out.text, out.val = scalar, n.Value, n.Value
	case *ast.LiteralNode:
		out.kind, out.text, out.val = scalar, n.Value.Value, n.Value.Value
	case *ast.MappingNode:
		b.mapping(out, n.Values, depth)
		if !n.IsFlowStyle && len(out.pairs) > 0 {
			out.pos = out.pairs[0].keyPos
		}
	case *ast.MappingValueNode:
		b.mapping(out, []*ast.MappingValueNode{n}, depth)
		if len(out.pairs) > 0 {
			out.pos = out.pairs[0].keyPos
		}
	case *ast.SequenceNode:
		out.kind = sequence
		for _, item := range n.Values {
			child := b.address(item)
			if child == nil {
				child = b.build(item, out.pos, depth+1)
			}
			out.items = append(out.items, child)
			out.size += child.size
		}
	case *ast.AnchorNode:
		name := tokenText(n.Name)
		child := b.build(n.Value, out.pos, depth+1)
		b.anchors[name] = child
		return child
	case *ast.AliasNode:
		return b.alias(out, tokenText(n.Value))
	case *ast.TagNode:
		out.kind = broken
		b.report(out.pos, "a tag (%s) has no meaning here; put quotes around a text", n.Start.Value)
	case ast.ScalarNode:
		out.kind, out.val = scalar, n.GetValue()
		if t := n.GetToken(); t != nil {
			out.text = t.Value
		}
	default:
		out.kind = broken
		b.report(out.pos, "YAML of a form that a configuration does not use")
	}
	return out
}

// address gives the text of host:port where the parser made a mapping of it, and nil for anything else.
// YAML 1.2.2 7.3.3: a colon within a plain text ends it only before a blank or, in a flow, before an
// indicator. The parser takes any colon for a key's in a list that lies in a mapping in braces.
func (b *builder) address(item ast.Node) *node {
	if m, ok := item.(*ast.MappingNode); ok && len(m.Values) == 1 && posOf(m.Start) == posOf(m.Values[0].GetToken()) {
		item = m.Values[0]
	}
	mv, ok := item.(*ast.MappingValueNode)
	if !ok {
		return nil
	}
	value, ok := mv.Value.(ast.ScalarNode)
	key, colon := mv.Key.GetToken(), posOf(mv.GetToken())
	if !ok || key == nil || value.GetToken() == nil || colon.Line > len(b.src.lines) {
		return nil
	}
	line := []rune(b.src.lines[colon.Line-1])
	if colon.Col >= len(line) || line[colon.Col-1] != ':' || strings.ContainsRune(" \t,[]{}\"'", line[colon.Col]) ||
		key.Type == token.DoubleQuoteType || key.Type == token.SingleQuoteType || !b.spend(1, posOf(key)) {
		return nil
	}
	text := key.Value + ":" + value.GetToken().Value
	return &node{kind: scalar, pos: posOf(key), text: text, val: text, size: 1}
}

func (b *builder) alias(at *node, name string) *node {
	target, ok := b.anchors[name]
	switch {
	case !ok:
		b.report(at.pos, `there is no anchor &%s; a pattern that begins with * needs quotes: "*%s"`, name, name)
		at.kind = broken
		return at
	case !b.spend(target.size, at.pos):
		return at
	}
	return target
}

func (b *builder) mapping(out *node, values []*ast.MappingValueNode, depth int) {
	out.kind = mapping
	seen := make(map[string]Pos, len(values))
	var merges []*node
	for _, mv := range values {
		if b.left < 0 {
			return
		}
		keyPos := posOf(mv.Key.GetToken())
		value := b.build(mv.Value, keyPos, depth+1)
		out.size += value.size
		if _, ok := mv.Key.(*ast.MergeKeyNode); ok {
			merges = append(merges, b.merged(value)...)
			continue
		}
		key, ok := keyText(mv.Key)
		if first, twice := seen[key]; !ok {
			b.report(keyPos, "a key must be a plain word or a quoted text")
		} else if twice {
			b.report(keyPos, "%s stands here again; it is on line %d already", key, first.Line)
		} else {
			seen[key] = keyPos
			out.pairs = append(out.pairs, pair{key, keyPos, value})
		}
	}
	// A key of the mapping's own wins over merged ones, of which the first wins.
	for _, m := range merges {
		for _, p := range m.pairs {
			if _, have := seen[p.key]; !have {
				seen[p.key] = p.keyPos
				out.pairs = append(out.pairs, p)
			}
		}
	}
}

func (b *builder) merged(n *node) []*node {
	switch n.kind {
	case mapping:
		return []*node{n}
	case sequence:
		var all []*node
		for _, item := range n.items {
			if item.kind == mapping {
				all = append(all, item)
			} else {
				b.report(item.pos, "<< takes mappings, and this is %s", item.kind)
			}
		}
		return all
	}
	b.report(n.pos, "<< takes a mapping, and this is %s", n.kind)
	return nil
}

func keyText(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case ast.ScalarNode:
		if t := n.GetToken(); t != nil {
			return t.Value, true
		}
	}
	return "", false
}

func tokenText(n ast.Node) string {
	if n == nil || n.GetToken() == nil {
		return ""
	}
	return n.GetToken().Value
}
