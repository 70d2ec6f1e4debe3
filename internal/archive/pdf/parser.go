package pdf

// value reads a value; a dictionary or array that does not close ends with its object.
func (l *lexer) value(level int) value {
	t := l.token()
	if t.kind != word {
		return t
	}
	switch {
	case level >= maxLevels:
		// What is deeper is only searched for words that matter.
		l.cut = l.cut || t.s == "<<" || t.s == "["
	case t.s == "<<":
		return value{kind: dictionary, kids: pairs(l.list(level+1, ">>"))}
	case t.s == "[":
		return value{kind: array, kids: l.list(level+1, "]")}
	}
	return t
}

// list reads values up to the closing bracket.
func (l *lexer) list(level int, closing string) []value {
	var all []value
	for {
		before := l.pos
		v := l.value(level)
		switch {
		case v.kind == end:
			return all
		case v.kind == word && v.s == closing:
			return all
		case v.kind == word && v.s == "R":
			all = refer(all)
			continue
		case v.kind == word:
			switch v.s {
			case "endobj", "obj", "stream", "endstream", "xref", "trailer", "startxref":
				l.pos = before
				return all
			case ">>":
				if level > 1 {
					l.pos = before // it closes the dictionary around this array
					return all
				}
				continue
			case "]":
				continue
			}
			v = value{kind: null}
		}
		if l.values++; l.values > maxValues {
			l.cut = true
			continue
		}
		all = append(all, v)
	}
}

// refer turns the two integers before an R into a reference.
func refer(all []value) []value {
	n := len(all)
	if n < 2 {
		return all
	}
	num, gen := all[n-2], all[n-1]
	if num.kind != integer || gen.kind != integer || num.n < 0 || num.n > maxNumber || gen.n < 0 || gen.n > 65535 {
		return all
	}
	return append(all[:n-2], value{kind: reference, n: num.n, gen: uint16(gen.n)})
}

// pairs makes the keys and values of a dictionary of what stands in it: what stands where a key belongs and is
// none is left out, as readers do.
func pairs(all []value) []value {
	out := all[:0]
	for i := 0; i < len(all); i++ {
		if all[i].kind != name {
			continue
		}
		if i+1 == len(all) {
			out = append(out, all[i], value{kind: null})
			break
		}
		out = append(out, all[i], all[i+1])
		i++
	}
	return out
}

// get gives the value of a key of a dictionary; of one that is there twice, the last.
func (v value) get(key string) value {
	for i := len(v.kids) - 2; v.kind == dictionary && i >= 0; i -= 2 {
		if v.kids[i].s == key {
			return v.kids[i+1]
		}
	}
	return value{}
}

// all gives each value that some reader takes for that of a key.
func (v value) all(key string) []value {
	var all []value
	for i := 0; v.kind == dictionary && i+1 < len(v.kids); i += 2 {
		if v.kids[i].s == key {
			all = append(all, v.kids[i+1])
		}
	}
	return all
}

// has reports whether a dictionary has a key.
func (v value) has(key string) bool {
	for i := 0; v.kind == dictionary && i+1 < len(v.kids); i += 2 {
		if v.kids[i].s == key {
			return true
		}
	}
	return false
}

// object is an indirect object, or the dictionary of a trailer.
type object struct {
	at      place
	num     int64 // -1 where it has none
	gen     uint16
	value   value
	stream  int64 // where the octets of its stream begin, -1 for none
	matters bool
	cut     bool
	plain   bool // its strings are not encrypted
}

// parse reads the value of an object at pos, and finds its stream.
func parse(w *window, pos int64) (o *object, next int64) {
	l := &lexer{w: w, pos: pos}
	o = &object{num: -1, stream: -1, value: l.value(0)}
	if o.value.kind == integer {
		// 5 0 obj 7 0 R: a reference alone.
		after := l.pos
		if gen, r := l.token(), l.token(); gen.kind == integer && r.kind == word && r.s == "R" {
			if ref := refer([]value{o.value, gen}); len(ref) == 1 {
				o.value = ref[0]
			}
		} else {
			l.pos = after
		}
	}
	if o.value.kind == dictionary {
		after := l.pos
		if t := l.token(); t.kind == word && t.s == "stream" {
			o.stream = streamStart(w, l.pos)
		} else {
			l.pos = after
		}
	}
	o.matters, o.cut = l.matters, l.cut
	return o, l.pos
}

// streamStart goes past the end of line after the word stream (ISO 32000-1 7.3.8.1), and past spaces that some
// writers put before it.
func streamStart(w *window, pos int64) int64 {
	at := pos
	for c := w.at(at); c == ' ' || c == '\t'; c = w.at(at) {
		if at++; at-pos > 32 {
			return pos
		}
	}
	switch {
	case w.at(at) == '\r' && w.at(at+1) == '\n':
		return at + 2
	case w.at(at) == '\r', w.at(at) == '\n':
		return at + 1
	}
	return pos
}
