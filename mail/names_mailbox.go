package mail

import "strings"

// maxMailboxes is how many mailboxes of one field are read.
const maxMailboxes = 200

// Mailbox is one mailbox of an address list (RFC 5322 3.4) as a reader shows it: Name is the display name
// decoded, or the comment that stands for it; Address is what stands between the brackets, as written.
// Either may be empty.
type Mailbox struct{ Name, Address string }

// Domain gives the domain of the address, lower case and A-labels; "" where there is none.
func (m Mailbox) Domain() string {
	at := strings.LastIndexByte(m.Address, '@')
	if at < 0 {
		return ""
	}
	d, err := Domain(strings.Trim(m.Address[at+1:], " \t"))
	if err != nil {
		return ""
	}
	return d
}

// ParseMailboxes reads the body of a From, Sender, To or similar field leniently: groups are dissolved,
// brackets, quotes and commas may be missing. It never fails; it reads at most 200 mailboxes.
func ParseMailboxes(body string) []Mailbox {
	l := listScanner{s: body, words: wordScanner{s: body}}
	for l.i < len(l.s) && len(l.found) < maxMailboxes {
		l.step()
	}
	l.flush()
	return l.found
}

// listScanner reads an address list in one pass.
type listScanner struct {
	s     string
	i     int
	words wordScanner
	open  bool // a quoted string never ends
	found []Mailbox

	raw     strings.Builder // of one mailbox, the text outside of brackets: as written,
	phrase  strings.Builder // and without quotes
	comment string
	address string // from the brackets
	angle   bool   // there were brackets
	at      bool   // raw holds an "@"
}

// step reads one token.
func (l *listScanner) step() {
	rest := l.s[l.i:]
	switch rest[0] {
	case '"':
		n, ok := 0, false
		if !l.open {
			n, ok = quotedEnd(rest)
		}
		if l.open = !ok; l.open {
			l.i++ // it has no partner, nor has any after it
			return
		}
		l.raw.WriteString(rest[:n])
		l.phrase.WriteString(unescape(rest[1 : n-1]))
		l.i += n
	case '(':
		n, ok := commentLength(rest)
		if text := strings.TrimPrefix(rest[:n], "("); l.comment == "" {
			if ok {
				text = text[:len(text)-1]
			}
			l.comment = unescape(text)
		}
		l.raw.WriteByte(' ')
		l.phrase.WriteByte(' ')
		l.i += n
	case '<':
		l.brackets(rest)
	case ',', ';':
		l.flush()
		l.i++
	case ':':
		if !l.angle && !l.at {
			l.clear() // RFC 5322 3.4: the name of a group
		} else {
			l.text(":")
		}
		l.i++
	case '=':
		// An encoded word may hold commas and brackets, though RFC 2047 5 (3) forbids it.
		if strings.HasPrefix(rest, "=?") {
			if _, n := l.words.word(l.i); n > 0 {
				l.text(rest[:n])
				l.i += n
				return
			}
		}
		l.text("=")
		l.i++
	default:
		n := strings.IndexAny(rest, `"(<,;:=`)
		if n < 0 {
			n = len(rest)
		}
		l.text(rest[:n])
		l.i += n
	}
}

func (l *listScanner) text(s string) {
	l.at = l.at || strings.IndexByte(s, '@') >= 0
	l.raw.WriteString(s)
	l.phrase.WriteString(s)
}

// quotedEnd gives the length of the quoted string at the start of s, and whether it ends.
func quotedEnd(s string) (int, bool) {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1, true
		}
	}
	return len(s), false
}

// brackets reads an address in angle brackets; a bracket that is missing stands before the next comma.
func (l *listScanner) brackets(rest string) {
	if l.angle {
		l.flush() // two addresses without a comma between them
	}
	l.angle = true
	i := 1
	for i < len(rest) && rest[i] != '>' {
		if rest[i] == ',' && !strings.HasPrefix(rest, "<@") { // RFC 5322 4.4: a route has commas
			break
		}
		if rest[i] == '"' {
			n, _ := quotedEnd(rest[i:])
			i += n
		} else {
			i++
		}
	}
	i = min(i, len(rest))
	l.address = strings.Trim(rest[1:i], " \t\r\n")
	if i < len(rest) && rest[i] == '>' {
		i++
	}
	l.i += i
}

// flush ends a mailbox.
func (l *listScanner) flush() {
	defer l.clear()
	raw, name := trimLine(l.raw.String()), trimLine(l.phrase.String())
	if !l.angle {
		if raw == "" && l.comment == "" {
			return
		}
		// Without brackets the address is the word with the "@", the last one if there are several.
		if at := strings.LastIndexByte(raw, '@'); at >= 0 {
			start, end := addressAround(raw, at)
			l.address = raw[start:end]
			name = trimLine(raw[:start] + raw[end:])
		}
	}
	if name == "" {
		name = l.comment
	}
	l.found = append(l.found, Mailbox{Name: trimLine(DecodeWords(name)), Address: l.address})
}

// addressAround gives the bounds of the address with its "@" at at: up to blanks outside of quotes.
func addressAround(s string, at int) (start, end int) {
	end = len(s)
	if n := strings.IndexAny(s[at:], " \t\r\n"); n >= 0 {
		end = at + n
	}
	start = at
	if at > 0 && s[at-1] == '"' {
		if n := strings.LastIndexByte(s[:at-1], '"'); n >= 0 {
			return n, end
		}
	}
	return strings.LastIndexAny(s[:start], " \t\r\n") + 1, end
}

func (l *listScanner) clear() {
	l.raw.Reset()
	l.phrase.Reset()
	l.comment, l.address, l.angle, l.at = "", "", false, false
}
