package eval

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

var mimeFunctions = []Function{
	{"check_for_mime", compileForMIME},
	{"check_msg_parse_flags", compileParseFlag},
	{"check_mime_multipart_ratio", func(_ *Settings, args []string) (Check, error) {
		return between("check_mime_multipart_ratio", args, func(m *Mail, low, high float64) bool {
			r := m.mimeFacts().multipartRatio
			return r >= low && r < high
		})
	}},
	{"check_abundant_unicode_ratio", func(_ *Settings, args []string) (Check, error) {
		return between("check_abundant_unicode_ratio", args, func(m *Mail, low, _ float64) bool { return m.mimeFacts().unicodeRatio >= low })
	}},
	{"check_qp_ratio", func(_ *Settings, args []string) (Check, error) {
		return between("check_qp_ratio", args, func(m *Mail, low, _ float64) bool { return m.mimeFacts().qpRatio >= low })
	}},
	{"check_for_uppercase", func(_ *Settings, args []string) (Check, error) {
		return between("check_for_uppercase", args, func(m *Mail, low, high float64) bool {
			u := m.mimeFacts().uppercase
			return u > low && u <= high
		})
	}},
	{"check_base64_length", func(_ *Settings, args []string) (Check, error) {
		return between("check_base64_length", args, func(m *Mail, low, high float64) bool {
			n := float64(m.mimeFacts().base64Line)
			return n >= low && n <= high
		})
	}},
	plain("check_for_mime_html", func(m *Mail) (int, string) {
		return yes(htmlType(m) || m.mimeFacts().htmlParts > 0, "")
	}),
	plain("check_for_mime_html_only", func(m *Mail) (int, string) {
		f := m.mimeFacts()
		return yes(htmlType(m) || f.htmlParts > 0 && f.textParts == 0, "")
	}),
	plain("check_for_ascii_text_illegal", func(m *Mail) (int, string) { return yes(m.mimeFacts().illegalASCII > 0, "") }),
	plain("check_ma_non_text", foreignAlternative),
	plain("check_for_faraway_charset", func(*Mail) (int, string) { return 0, "" }),
}

// between makes a check of a function whose first two arguments are bounds; a missing upper one is no bound.
func between(name string, args []string, in func(m *Mail, low, high float64) bool) (Check, error) {
	low, high, err := bounds(name, args)
	if err != nil {
		return nil, err
	}
	return func(m *Mail) (int, string) { return yes(in(m, low, high), "") }, nil
}

// noBound is more than anything that is counted.
const noBound = 1e300

func bounds(name string, args []string) (low, high float64, err error) {
	if low, err = number(name, args, 0, 0); err != nil {
		return 0, 0, err
	}
	high, err = number(name, args, 1, noBound)
	return low, high, err
}

// mimeFacts is what the structure of a message is like.
type mimeFacts struct {
	htmlParts, textParts int
	base64Parts, qpParts int
	qpEscapes, qpOctets  int
	attachments          int
	illegalASCII         int
	base64Line           int // octets of the longest line of base64
	base64Text           bool
	badISOCharset        bool
	alternative          bool
	longQPLine           bool
	missingBoundary      bool
	qpRatio              float64
	multipartRatio       float64
	unicodeRatio         float64
	uppercase            float64 // per cent of the letters and digits
	charsets             []string
	normal, references   int
	partOctets           []partOctets // of each leaf
}

type partOctets struct {
	kind    string
	octets  int
	counted bool // it is no attachment
}

func (m *Mail) mimeFacts() *mimeFacts {
	return m.facts.get(func() *mimeFacts {
		f := &mimeFacts{multipartRatio: 1}
		s := m.structure()
		for n := range s.root.all() {
			if n.kind != "" {
				f.part(n)
			}
		}
		f.finish(s)
		f.uppercase = f.countUppercase(m, s)
		return f
	})
}

var (
	asciiCharset = regexp.MustCompile(`ascii|ansi_x3\.4-19(?:68|86)|iso-ir-6|iso_646\.irv:1991|us|ibm367|cp367`)
	isoCharset   = regexp.MustCompile(`(?i)iso-\S+-\S+\b`)
	goodISO      = regexp.MustCompile(`iso-(?:8859-\d{1,2}|2022-(?:jp|kr))\b`)
)

// part counts one part.
func (f *mimeFacts) part(n *node) {
	ct := n.contentType()
	f.alternative = f.alternative || ct.kind == "multipart/alternative"
	cte, _ := n.field("content-transfer-encoding")
	cte = strings.ToLower(cte)
	cd, _ := n.field("content-disposition")
	cd = strings.ToLower(cd)
	charset := strings.ToLower(ct.charset)
	attached := strings.Contains(cd, "attachment")
	f.header(ct.kind, cte, cd, charset)
	if !n.leaf() {
		return
	}
	p := partOctets{kind: ct.kind, counted: !attached}
	l := lineReader{
		f: f, qp: cte == "quoted-printable",
		ascii:      ct.kind == "text/plain" && (!ct.hasCharset || charset == "us-ascii"),
		references: ct.kind == "text/plain" && (cte == "" || cte == "7bit" || cte == "8bit"),
	}
	size := f.alternative && !attached && (ct.kind == "text/plain" || ct.kind == "text/html")
	base64 := cte == "base64" && ct.kind != "application/ics"
	if !size && !l.qp && !l.ascii && !l.references && !base64 {
		f.partOctets = append(f.partOctets, p)
		return
	}
	for line, octets := range n.lines() {
		if size {
			p.octets += octets
		}
		if base64 {
			f.base64Line = max(f.base64Line, octets)
		}
		l.line(line, octets)
	}
	f.partOctets = append(f.partOctets, p)
}

// header counts what the header of a part says.
func (f *mimeFacts) header(kind, cte, cd, charset string) {
	switch {
	case kind == "text/html":
		f.htmlParts++
	case strings.HasPrefix(kind, "text"):
		f.textParts++
	}
	switch {
	case strings.Contains(cte, "base64"):
		f.base64Parts++
	case strings.Contains(cte, "quoted-printable"):
		f.qpParts++
	}
	if strings.Contains(cd, "attachment") {
		f.attachments++
	}
	if strings.HasPrefix(kind, "text") && strings.Contains(cte, "base64") && (charset == "" || asciiCharset.MatchString(charset)) &&
		!strings.HasPrefix(cd, "attachment") && !strings.HasPrefix(cd, "inline") {
		f.base64Text = true
	}
	if isoCharset.MatchString(charset) && !goodISO.MatchString(charset) {
		f.badISOCharset = true
	}
	if strings.ContainsAny(charset, "abcdefghijklmnopqrstuvwxyz") {
		f.charsets = append(f.charsets, strings.Fields(charset)...)
	}
}

// lineReader counts what is in the lines of one part.
type lineReader struct {
	f                     *mimeFacts
	qp, ascii, references bool
}

// longQP is the length of a line of quoted-printable, with its line end, that mail programs of note do not pass.
const longQP = 79

func (l *lineReader) line(line []byte, octets int) {
	f := l.f
	if l.qp && !bytes.HasPrefix(line, []byte("SPAM: ")) {
		f.longQPLine = f.longQPLine || octets > longQP
		f.qpOctets += octets
		f.qpEscapes += needless(line)
	}
	if l.ascii && illegalASCII(line) {
		f.illegalASCII++
	}
	if l.references {
		n := references(line)
		f.references += n
		f.normal += octets - n*len("&#x0000;")
	}
}

// needless counts the escapes of a line of quoted-printable for what needs none, but for blanks at its end.
func needless(line []byte) (n int) {
	if bytes.IndexByte(line, '=') < 0 {
		return 0
	}
	for i := 0; i+2 < len(line); i++ {
		if line[i] != '=' {
			continue
		}
		switch h, l := line[i+1], line[i+2]; {
		case h == '0' && l == '9',
			h == '3' && (l >= '0' && l <= '9' || l == 'A' || l == 'B' || l == 'C' || l == 'E' || l == 'F'),
			(h == '2' || h >= '4' && h <= '6') && isHex(l),
			h == '7' && isHex(l) && l != 'F':
			n++
			i += 2
		}
	}
	if n > 0 {
		rest := bytes.TrimRight(line, " \t\n\v\f\r")
		for bytes.HasSuffix(rest, []byte("=20")) || bytes.HasSuffix(rest, []byte("=09")) {
			rest = rest[:len(rest)-3]
			n--
		}
	}
	return n
}

// isHex reports whether c is an upper-case digit of base 16.
func isHex(c byte) bool { return c >= '0' && c <= '9' || c >= 'A' && c <= 'F' }

func illegalASCII(line []byte) bool {
	for _, c := range line {
		if c >= 0x80 || c == 0 || c == '\r' {
			return true
		}
	}
	return false
}

// references counts the character references of the form &#x0000;.
func references(line []byte) (n int) {
	for {
		i := bytes.Index(line, []byte("&#x"))
		if i < 0 || len(line) < i+8 {
			return n
		}
		r := line[i+3 : i+8]
		if isHex(r[0]) && isHex(r[1]) && isHex(r[2]) && isHex(r[3]) && r[4] == ';' {
			n++
			i += 5
		}
		line = line[i+3:]
	}
}

// finish draws the sums.
func (f *mimeFacts) finish(s *structure) {
	if f.qpOctets > 0 {
		f.qpRatio = float64(f.qpEscapes) / float64(f.qpOctets)
		f.qpParts = f.qpEscapes // so it is: the name of the one is given to the other
	}
	if f.normal > 0 {
		f.unicodeRatio = float64(f.references) / float64(f.normal)
	}
	if f.alternative {
		text, html := -1, -1 // of the last parts
		for i := len(f.partOctets) - 1; i >= 0; i-- {
			switch p := f.partOctets[i]; {
			case !p.counted:
			case html < 0 && p.kind == "text/html":
				html = p.octets
			case text < 0 && p.kind == "text/plain":
				text = p.octets
			}
		}
		if text >= 0 && html > 0 {
			f.multipartRatio = float64(text) / float64(html)
		}
	}
	for _, n := range s.open {
		f.missingBoundary = f.missingBoundary || n != 0
	}
}

// htmlType reports whether the message says of itself that it is HTML.
func htmlType(m *Mail) bool {
	v, _ := m.structure().root.field("content-type")
	return len(v) >= 9 && strings.EqualFold(v[:9], "text/html")
}

var mimeTests = map[string]func(*mimeFacts) bool{
	"mime_attachment":            func(f *mimeFacts) bool { return f.attachments > 0 },
	"mime_base64_count":          func(f *mimeFacts) bool { return f.base64Parts > 0 },
	"mime_base64_encoded_text":   func(f *mimeFacts) bool { return f.base64Text },
	"mime_body_html_count":       func(f *mimeFacts) bool { return f.htmlParts > 0 },
	"mime_body_text_count":       func(f *mimeFacts) bool { return f.textParts > 0 },
	"mime_bad_iso_charset":       func(f *mimeFacts) bool { return f.badISOCharset },
	"mime_missing_boundary":      func(f *mimeFacts) bool { return f.missingBoundary },
	"mime_multipart_alternative": func(f *mimeFacts) bool { return f.alternative },
	"mime_multipart_ratio":       func(f *mimeFacts) bool { return f.multipartRatio != 0 },
	"mime_qp_count":              func(f *mimeFacts) bool { return f.qpParts != 0 },
	"mime_qp_long_line":          func(f *mimeFacts) bool { return f.longQPLine },
	"mime_qp_ratio":              func(f *mimeFacts) bool { return f.qpRatio != 0 },
	"mime_ascii_text_illegal":    func(f *mimeFacts) bool { return f.illegalASCII > 0 },
	"mime_text_unicode_ratio":    func(f *mimeFacts) bool { return f.unicodeRatio != 0 },
	// They exist by name in stock rules, and are never set.
	"mime_faraway_charset":      never,
	"mimepart_limit_exceeded":   never,
	"mime_html_no_charset":      never,
	"mime_base64_blanks":        never,
	"mime_base64_illegal":       never,
	"mime_base64_latin":         never,
	"mime_qp_illegal":           never,
	"mime_qp_inline_no_charset": never,
}

func never(*mimeFacts) bool { return false }

func compileForMIME(_ *Settings, args []string) (Check, error) {
	if len(args) != 1 || mimeTests[args[0]] == nil {
		return nil, fmt.Errorf("eval: check_for_mime knows no %q", args)
	}
	test := mimeTests[args[0]]
	return func(m *Mail) (int, string) { return yes(test(m.mimeFacts()), "") }, nil
}

var parseFlags = map[string]func(*structure) bool{
	"missing_mime_headers":             func(s *structure) bool { return s.missingHeaders },
	"missing_mime_head_body_separator": func(s *structure) bool { return s.missingBlank },
	"mime_epilogue_exists":             func(s *structure) bool { return s.epilogue },
	"truncated_header":                 func(s *structure) bool { return s.longHeader },
	"missing_head_body_separator":      func(s *structure) bool { return s.missingHeaderBlank },
	"mimepart_limit_exceeded":          func(s *structure) bool { return s.manyParts },
}

func compileParseFlag(_ *Settings, args []string) (Check, error) {
	if len(args) != 1 || parseFlags[args[0]] == nil {
		return nil, fmt.Errorf("eval: check_msg_parse_flags knows no %q", args)
	}
	flag := parseFlags[args[0]]
	return func(m *Mail) (int, string) { return yes(flag(m.structure()), "") }, nil
}

// foreignAlternative says whether a multipart/alternative offers what is no text, related parts or rich text.
func foreignAlternative(m *Mail) (int, string) {
	for n := range m.structure().root.all() {
		if n.kind != "multipart/alternative" {
			continue
		}
		for _, c := range n.children {
			if c.leaf() && c.kind != "" && c.kind != "multipart/related" && c.kind != "application/rtf" && !strings.HasPrefix(c.kind, "text/") {
				return 1, c.kind
			}
		}
	}
	return 0, ""
}

var (
	capsCharset = regexp.MustCompile(`(?i)^[-_a-z0-9]*(?:koi|jp|jis|euc|gb|big5|isoir|cp1251|windows-1251|georgianps|pt154|tis)[-_a-z0-9]*$`)
	ctCharset   = regexp.MustCompile(`(?i)charset=(?:"([^"]+)"|'([^']+)'|(\S+))`)
	leftBase64  = regexp.MustCompile(`^(?:[A-Za-z0-9+/=]{60,76} ){2}`)
)

// minUppercase is how many octets of text there have to be before their case tells anything.
const minUppercase = 200

// countUppercase gives how many of a hundred letters are upper-case; digits count as lower-case ones.
func (f *mimeFacts) countUppercase(m *Mail, s *structure) float64 {
	charsets := f.charsets
	if v, ok := s.root.field("content-type"); ok {
		if c := ctCharset.FindStringSubmatch(v); c != nil {
			charsets = append(charsets[:len(charsets):len(charsets)], c[1]+c[2]+c[3])
		}
	}
	for _, c := range charsets {
		if capsCharset.MatchString(c) {
			return 0 // what looks like letters there is none
		}
	}
	octets, lower, upper := 0, 0, 0
	for _, p := range m.Text.Body() {
		if !severalWords(p) || leftBase64.Match(p) {
			continue
		}
		p = withoutEscapes(p)
		octets += len(p)
		for _, c := range p {
			switch {
			case c >= 'a' && c <= 'z' || c >= '0' && c <= '9':
				lower++
			case c >= 'A' && c <= 'Z':
				upper++
			}
		}
	}
	if octets < minUppercase || upper+lower == 0 {
		return 0
	}
	return float64(upper) / float64(upper+lower) * 100
}

// severalWords reports whether there is white space between two other octets.
func severalWords(b []byte) bool {
	b = bytes.Trim(b, " \t\n\v\f\r")
	return bytes.ContainsAny(b, " \t\n\v\f\r")
}

// withoutEscapes takes away what stands between the first change to a Japanese set of characters (ISO 2022) and the last one
// back.
func withoutEscapes(b []byte) []byte {
	i := bytes.Index(b, []byte("\x1b$B"))
	j := bytes.LastIndex(b, []byte("\x1b(B"))
	if i < 0 || j < i+3 {
		return b
	}
	return append(bytes.Clone(b[:i]), b[j+3:]...)
}

// whole reads a number of an argument that has to be there.
func whole(name string, args []string, i int) (int, error) {
	if i >= len(args) {
		return 0, fmt.Errorf("eval: %s needs %d arguments", name, i+1)
	}
	n, err := strconv.Atoi(args[i])
	if err != nil {
		return 0, fmt.Errorf("eval: argument %d of %s is no number: %q", i+1, name, args[i])
	}
	return n, nil
}
