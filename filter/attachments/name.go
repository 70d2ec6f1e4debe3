package attachments

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// A file name in a message is a suggestion, and what becomes of it depends on who follows it: one client
// takes what stands behind the last slash, another drops what it can't show, Windows itself forgets
// trailing dots and blanks and stops at a NUL or a colon. What counts here is not what the name is but
// what any of them may make of it. So a name is a set of forms, and it is as bad as the worst of them.

// maxName is how many octets of a name are looked at, at each end: file systems end at 255.
const maxName = 256

// fileName is one name of a part.
type fileName struct {
	raw    string
	forms  []string // what clients may make of it, folded; the first is the plain one
	hidden string   // how the name conceals what it is, "" when it does not
}

// readName works out the forms of a name.
func readName(raw string) fileName {
	n := fileName{raw: raw}
	s := raw
	if len(s) > 2*maxName {
		s = s[:maxName] + s[len(s)-maxName:]
	}
	n.hidden = concealment(s)
	n.add(s)
	// Compatibility forms first: there are percent signs among them. Some decode what was decoded already.
	decoded := norm.NFKC.String(strings.ToValidUTF8(s, "\uFFFD"))
	for range 3 {
		next := percentDecoded(decoded)
		if next == decoded {
			break
		}
		decoded = next
		n.add(decoded)
		if n.hidden == "" {
			n.hidden = concealment(decoded)
		}
	}
	return n
}

// add records the forms of s: what is left when a reader stops at a NUL, at the colon of an NTFS stream
// ("a.exe::$DATA", "a.txt:b.exe"), takes out blanks around dots (RFC 822 3.1.4), or drops what no file name may
// have; and, where that makes an extension of a class come to light, what is left when a reader cuts off comments,
// quotation marks, the query and the fragment of an address, and the version of a file on a disc.
func (n *fileName) add(s string) {
	v := visible(s)
	f := base(v)
	whole := []string{f}
	if before, _, cut := strings.Cut(s, "\x00"); cut {
		whole = append(whole, folded(before))
	}
	for _, w := range whole {
		if before, after, ok := strings.Cut(w, ":"); ok {
			whole = append(whole, trimmed(before), trimmed(after))
		}
	}
	if plain := strings.Map(ascii, s); plain != s {
		if w := folded(plain); extension(w) != extension(f) {
			whole = append(whole, w)
		}
	}
	for _, w := range whole {
		n.record(w)
		for _, other := range []string{withoutBlanks(w), strings.Map(allowed, w)} {
			if extension(other) != extension(w) {
				n.record(other)
			}
		}
	}
	for _, cut := range cuts(v) {
		n.record(cut)
	}
}

// allowed drops what Windows allows in no file name.
func allowed(r rune) rune {
	if strings.ContainsRune(`<>:"|?*`, r) {
		return -1
	}
	return r
}

// withoutBlanks takes out the blanks around dots.
func withoutBlanks(f string) string {
	if !strings.Contains(f, " .") && !strings.Contains(f, ". ") {
		return f
	}
	pieces := strings.Split(f, ".")
	for i, p := range pieces {
		pieces[i] = strings.Trim(p, " ")
	}
	return strings.Join(pieces, ".")
}

func (n *fileName) record(form string) {
	if form != "" && !slices.Contains(n.forms, form) {
		n.forms = append(n.forms, form)
	}
}

// cuts gives what careless readers leave of a name, which is one that visible gave: of what has an extension of a
// class, and another one than the whole, the first of each class.
func cuts(v string) []string {
	var all []string
	seen := map[class]bool{}
	whole := extension(base(v))
	add := func(s string) {
		s = base(s)
		// What ends in .com is mostly the name of a host.
		if c, _ := classOfForm(s); c != "" && !seen[c] && extension(s) != whole && extension(s) != "com" {
			seen[c] = true
			all = append(all, s)
		}
	}
	for i, r := range v {
		if strings.ContainsRune(`";?#{}|<>*`, r) {
			add(v[:i])
		}
	}
	if len(v) > 0 && (v[0] == '\'' || v[0] == '`') {
		quoted, _, _ := strings.Cut(v[1:], v[:1])
		add(quoted)
	}
	if strings.Contains(v, "(") {
		add(withoutComments(v))
	}
	add(strings.TrimRight(v, " .)]}>,;'\"`"))
	return all
}

// withoutComments drops what stands in parentheses, as in a structured field (RFC 5322 3.2.2).
func withoutComments(s string) string {
	depth := 0
	return strings.Map(func(r rune) rune {
		switch {
		case r == '(':
			depth++
		case r == ')' && depth > 0:
			depth--
		case depth == 0:
			return r
		}
		return -1
	}, s)
}

// folded is the name as a file system would end up with it: compatibility forms resolved (which turns
// full-width dots and letters into plain ones), what can't be seen dropped, folders cut off, case
// folded.
func folded(s string) string { return base(visible(s)) }

// base cuts off folders, and what does not stay at the ends.
func base(s string) string {
	s = strings.TrimRight(s, `/\ .`)
	if i := strings.LastIndexAny(s, `/\`); i >= 0 {
		s = s[i+1:]
	}
	return trimmed(s)
}

// visible gives a name in lower case and without what can't be seen.
func visible(s string) string {
	s = strings.ToLower(norm.NFKC.String(strings.ToValidUTF8(s, "\uFFFD")))
	return strings.Map(func(r rune) rune {
		switch {
		case r > ' ' && r < 0x7f:
			return r
		case r == '\u3002': // ideographic full stop; IDNA reads it as a dot
			return '.'
		case isBlank(r):
			return ' '
		case unicode.Is(unicode.Cc, r), unicode.Is(unicode.Cf, r), unicode.Is(unicode.Variation_Selector, r):
			return -1
		}
		return r
	}, s)
}

// isBlank reports whether a character shows as a blank. Some letters and symbols do.
func isBlank(r rune) bool {
	switch r {
	case '\t', '\u115f', '\u1160', '\u2800', '\u3164', '\uffa0':
		return true
	}
	return unicode.IsOneOf([]*unicode.RangeTable{unicode.Zs, unicode.Zl, unicode.Zp}, r)
}

// trimmed drops what Windows drops from the end of a name, and quoting that a careless reader left.
func trimmed(s string) string {
	return strings.TrimLeft(strings.TrimRight(s, " .\"';,<>"), " \"'<")
}

// percentDecoded decodes %XX; anything else stays.
func percentDecoded(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	var b strings.Builder
	for {
		i := strings.IndexByte(s, '%')
		if i < 0 {
			b.WriteString(s)
			return b.String()
		}
		b.WriteString(s[:i])
		if i+2 < len(s) {
			hi, lo := unhex(s[i+1]), unhex(s[i+2])
			if hi >= 0 && lo >= 0 {
				b.WriteByte(byte(hi<<4 | lo))
				s = s[i+3:]
				continue
			}
		}
		b.WriteByte('%')
		s = s[i+1:]
	}
}

// unhex gives the value of a hexadecimal digit, -1 for anything else.
func unhex(c byte) int { return strings.IndexByte("0123456789abcdef", lower(c)) }

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// concealment says how a name hides its true form from the reader's eye.
func concealment(s string) string {
	for _, r := range s {
		switch {
		case r >= 0x202A && r <= 0x202E, r >= 0x2066 && r <= 0x2069:
			return "a control that turns the direction of writing"
		case r == 0:
			return "a NUL"
		case r == 0x200B, r == 0x2060, r == 0xFEFF:
			return "invisible characters"
		case r != '\t' && r != '\r' && r != '\n' && unicode.Is(unicode.Cc, r):
			return "control characters"
		}
	}
	spaced := strings.Map(func(r rune) rune {
		if isBlank(r) || unicode.IsSpace(r) {
			return ' '
		}
		return r
	}, s)
	if strings.Contains(spaced, strings.Repeat(" ", 10)) {
		return "a run of blanks that pushes its end out of sight"
	}
	return ""
}

// extension is what stands behind the last dot, "" where there is no dot.
func extension(form string) string {
	i := strings.LastIndexByte(form, '.')
	if i < 0 {
		return ""
	}
	return form[i+1:]
}

// classOfForm says what the extension of a form makes of it.
func classOfForm(form string) (c class, why string) {
	ext := extension(form)
	if c, ok := extensionClasses[ext]; ok {
		return c, "the file name ends in ." + ext
	}
	// Windows takes a class identifier for an extension, and then shows the name without it.
	if len(ext) == 38 && ext[0] == '{' && ext[37] == '}' {
		return executable, "the file name ends in a class identifier"
	}
	return "", ""
}

// doubled gives the two extensions of a name such as "invoice.pdf.exe".
func doubled(form string) (string, bool) {
	ext := extension(form)
	switch c, _ := classOfForm(form); c {
	case executable, script, shortcut, diskImage:
	default:
		return "", false
	}
	inner := extension(strings.TrimRight(strings.TrimSuffix(form, "."+ext), " ."))
	if !innocent[inner] {
		return "", false
	}
	return "." + inner + "." + ext, true
}

// shown makes a name fit for one line of a report: printable, visible, and of bounded length.
func shown(name string) string {
	const limit = 100
	var b strings.Builder
	n := 0
	for _, r := range name {
		if n++; n > limit {
			b.WriteString("…")
			break
		}
		switch {
		case r == utf8.RuneError, !unicode.IsPrint(r) && r != ' ':
			b.WriteRune('\uFFFD')
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// clipped cuts a text to limit octets. What is left out stands in the middle, for the end of a name is its
// extension.
func clipped(s string, limit int) string {
	const gap = "…"
	if len(s) <= limit {
		return s
	}
	head := (limit - len(gap)) / 2
	tail := limit - len(gap) - head
	return strings.ToValidUTF8(s[:head], "") + gap + strings.ToValidUTF8(s[len(s)-tail:], "")
}

// isVolume reports whether a form is the name of a piece of a split archive, which makes sense with the others only:
// a.7z.002, a.zip.003, a.z01, a.r00.
func isVolume(form string) bool {
	ext := extension(form)
	switch {
	case len(ext) != 3:
		return false
	case (ext[0] == 'z' || ext[0] == 'r') && isDigits(ext[1:]):
		return true
	case !isDigits(ext):
		return false
	}
	switch extension(strings.TrimSuffix(form, "."+ext)) {
	case "7z", "zip", "rar", "tar", "gz", "tgz", "bz2", "xz", "arj", "ace", "iso", "exe", "cab":
		return true
	}
	return false
}

// ascii drops what is not ASCII, as readers do that know nothing else.
func ascii(r rune) rune {
	if r > unicode.MaxASCII {
		return -1
	}
	return r
}

func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}
