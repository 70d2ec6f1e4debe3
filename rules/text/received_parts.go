package text

import (
	"bytes"
	"regexp"
)

// cutDate takes the date off the end of a line, with the semicolon before it.
func cutDate(line []byte) []byte {
	b := line
	word := func() []byte { // the last word of b, which is cut off with the blank before it
		i := bytes.LastIndexByte(b, ' ')
		if i < 0 {
			return nil
		}
		w := b[i+1:]
		b = b[:i]
		return w
	}
	if zone := word(); len(zone) == 0 || !isClock(word()) || !digits(word()) {
		return line
	}
	switch string(word()) {
	case "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec":
	default:
		return line
	}
	i := len(b)
	for i > 0 && isDigit(b[i-1]) {
		i--
	}
	if i == len(b) || i == 0 || b[i-1] != ' ' && b[i-1] != ';' {
		return line
	}
	for _, day := range [...]string{"Mon, ", "Tue, ", "Wed, ", "Thu, ", "Fri, ", "Sat, ", "Sun, "} {
		if bytes.HasSuffix(b[:i], []byte(day)) {
			if j := i - len(day); j > 0 && (b[j-1] == ' ' || b[j-1] == ';') {
				i = j
			}
		}
	}
	return bytes.TrimRight(b[:i], " ;")
}

func digits(b []byte) bool {
	for _, c := range b {
		if !isDigit(c) {
			return false
		}
	}
	return len(b) > 0
}

// isClock reports whether b is a time of day in digits.
func isClock(b []byte) bool {
	h, rest, ok := bytes.Cut(b, []byte(":"))
	m, s, more := bytes.Cut(rest, []byte(":"))
	return ok && digits(h) && digits(m) && (!more || digits(s))
}

// guess takes what may be id, HELO name and server from wherever it stands; what fits a shape is better known then.
func (h *hop) guess(line []byte) {
	for b := line; ; {
		i := bytes.Index(b, []byte(" id "))
		if i < 0 {
			break
		}
		w := bytes.TrimPrefix(b[i+4:], []byte("<"))
		b = b[i+3:] // a blank may belong to two
		n := 0
		for n < len(w) && w[n] != ' ' && w[n] != '<' && w[n] != '>' && w[n] != ';' {
			n++
		}
		if n >= 3 {
			h.id = w[:n]
			break
		}
	}
	if h.helo = nameBehind(line, "helo="); h.helo == nil {
		h.helo = nameBehind(line, "HELO ", "EHLO ")
	}
	for b := line; ; {
		i := bytes.Index(b, []byte(" by "))
		if i < 0 {
			break
		}
		b = b[i+4:]
		if w, _, _ := bytes.Cut(b, []byte(" ")); len(w) > 0 {
			h.by = w
			break
		}
	}
}

// nameBehind finds a name behind the first of some marks that begin a word.
func nameBehind(line []byte, marks ...string) []byte {
	best, name := len(line), []byte(nil)
	for _, mark := range marks {
		for from := 0; ; {
			i := bytes.Index(line[from:], []byte(mark))
			if i < 0 {
				break
			}
			i += from
			from = i + len(mark)
			n := 0
			for from+n < len(line) && isHeloOctet(line[from+n]) {
				n++
			}
			if n > 0 && i < best && atBoundary(line, i) {
				best, name = i, line[from:from+n]
				break
			}
		}
	}
	return name
}

func isHeloOctet(c byte) bool {
	return isAlnum(c) || bytes.IndexByte([]byte(`-.^+_&:=?!@%*$\/`), c) >= 0
}

var (
	authGmail    = regexp.MustCompile(` by mx\.google\.com with ESMTPS id [a-z0-9]{1,4}sm[0-9]{2,9}[a-z]{3}\.[0-9]{1,3}\.[0-9]{4}\.(?:[0-6][0-9]\.){4}[0-6][0-9]`)
	authCipher   = regexp.MustCompile(`\(version=([^ ]+) cipher=([^)]+)\)`)
	authCourier  = regexp.MustCompile(`^from .*?(?:\]\)|\)\]) \(AUTH: (LOGIN|PLAIN|DIGEST-MD5|CRAM-MD5) \S+(?:, .*?)?\) by `)
	authSendmail = regexp.MustCompile(`^from .*?(?:\](?: \([^)]*\))?\)|\)\]) .*?\(.*?authenticated.*?\).*? by`)
	authCritical = regexp.MustCompile(`\) by .+ \(\d{1,2}\.\d\.\d{3}(?:\.\d{1,3})?\) \(authenticated as .+\) id `)
	authPostfix  = regexp.MustCompile(`\) \(Authenticated sender: \S+\) by \S+ \(([^)]+)\) with `)
	authGate     = regexp.MustCompile(`CommuniGate Pro (?:HTTP|SMTP|XIMSS|IMAP)`)
	authDAV      = regexp.MustCompile(` with Microsoft Exchange Server HTTP-DAV\b`)
	authVia      = regexp.MustCompile(`(?i) \(via (HTTP.?)\)(?: |;|$)`)
	gmx          = newShape("%H (%(HELO%|EHLO%) %T) [%i] by %(mail.gmx.net%|mail.gmx.com%) (%c) with %[E%]SMTP")

	envelope = regexp.MustCompile(`(?i)(?:return-path:? |envelope-(?:sender|from)[ =])(\S+)\b`)
	exchange = regexp.MustCompile(` with (?:Microsoft SMTP Server|mapi id) (?:\([^)]+\) )?\d+\.\d+\.\d+\.\d+(?:$| )`)
)

// authOf tells how the client authenticated itself, "" where nothing is said of that.
func authOf(line []byte) string {
	has := func(s string) bool { return bytes.Contains(line, []byte(s)) }
	by := has(" by ")
	if by {
		if w := authProtocol(line); w != "" {
			return w
		}
	}
	if by && has("mx.google.com with ESMTPS id ") && authGmail.Match(line) {
		if m := authCipher.FindSubmatch(line); m != nil {
			return "GMail - transport=" + string(m[1]) + " cipher=" + string(m[2])
		}
	}
	if has("(AUTH: ") {
		if m := authCourier.FindSubmatch(line); m != nil {
			return string(m[1])
		}
	}
	said := has("uthenticated")
	switch {
	case said && has("authenticated") && authSendmail.Match(line):
		return "Sendmail"
	case has("mail.gmx."):
		if s := gmxAuth(line); s != "" {
			return s
		}
	}
	switch {
	case said && has(" (authenticated as ") && authCritical.Match(line):
		return "CriticalPath"
	case said && has("(Authenticated sender: "):
		if m := authPostfix.FindSubmatch(line); m != nil {
			if string(m[1]) == "Postfix" {
				return "Postfix"
			}
			return "Postfix (" + string(m[1]) + ")"
		}
	}
	switch {
	case has(" (account ") && authGate.Match(line):
		return "Communigate"
	case has("HTTP-DAV") && authDAV.Match(line):
		return "HTTP-DAV"
	case by && containsFold(line, "via http"):
		if m := authVia.FindSubmatch(line); m != nil {
			return string(m[1])
		}
	}
	return ""
}

// authProtocols are words for protocols in which the client has authenticated itself (RFC 3848, RFC 6531), and for web mail.
var authProtocols = map[string]bool{
	"ESMTPA": true, "ESMTPSA": true, "LMTPA": true, "LMTPSA": true, "UTF8SMTPA": true, "UTF8SMTPSA": true, "UTF8LMTPA": true,
	"UTF8LMTPSA": true, "ASMTP": true, "HTTP": true, "HTTPS": true, "HTTPU": true,
}

// authProtocol finds such a word in any case behind " with ".
func authProtocol(line []byte) string {
	const mark, longest = " with ", 10
	for i := range line {
		if line[i] != ' ' || !hasFold(line[i:], mark) {
			continue
		}
		w := line[i+len(mark):]
		if end := bytes.IndexAny(w[:min(len(w), longest+1)], " ;"); end >= 0 {
			w = w[:end]
		}
		if len(w) <= longest && authProtocols[string(bytes.ToUpper(w))] {
			return string(w)
		}
	}
	return ""
}

// gmxAuth reads the form in which GMX tells of its users.
func gmxAuth(line []byte) string {
	i := bytes.Index(line, []byte("from "))
	m := matcher{line: line, steps: stepsAtLeast}
	if i < 0 || !m.match(gmx.first, i+5) {
		return ""
	}
	host, protocol := "mail.gmx.net", "SMTP"
	if bytes.Contains(line, []byte(" by mail.gmx.com ")) {
		host = "mail.gmx.com"
	}
	if bytes.Contains(line, []byte(") with ESMTP")) {
		protocol = "ESMTP"
	}
	return "GMX (" + protocol + " / " + host + ")"
}

// envelopeOf finds the envelope's sender that some servers add, nil for none.
func envelopeOf(line []byte) []byte {
	if !containsFold(line, "envelope-") && !containsFold(line, "return-path") {
		return nil
	}
	if m := envelope.FindSubmatch(line); m != nil {
		return m[1]
	}
	return nil
}

// containsFold reports whether b contains s, which is in lower case, in any case.
func containsFold(b []byte, s string) bool {
	up := s[0] - 'a' + 'A'
	for len(b) >= len(s) {
		i := bytes.IndexByte(b, s[0])
		if j := bytes.IndexByte(b, up); j >= 0 && (i < 0 || j < i) {
			i = j
		}
		if i < 0 {
			return false
		}
		if hasFold(b[i:], s) {
			return true
		}
		b = b[i+1:]
	}
	return false
}

// bracketedIP finds an address in brackets.
func bracketedIP(line []byte) []byte {
	for from := 0; ; {
		i := bytes.IndexByte(line[from:], '[')
		if i < 0 {
			return nil
		}
		from += i + 1
		if end := matchIP(line, from); end > 0 && end < len(line) && line[end] == ']' {
			return line[from:end]
		}
	}
}

// squirrelMail reads what two web mailers write: an address, and far behind it the server.
func squirrelMail(line []byte, h *hop) bool {
	if !bytes.Contains(line, []byte("Mail authenticated user ")) ||
		!bytes.Contains(line, []byte(" (SquirrelMail authenticated user ")) && !bytes.Contains(line, []byte(" (NaSMail authenticated user ")) {
		return false
	}
	for at := range line {
		end := matchIP(line, at)
		if end < 0 || !atBoundary(line, end) || end < len(line) && (line[end] == '.' || line[end] == '-') {
			continue
		}
		for k := min(end+80, len(line)-3); k >= end+10; k-- {
			by, ok := bytes.CutPrefix(line[k:], []byte("by "))
			if !ok {
				continue
			}
			if w, after, _ := bytes.Cut(by, []byte(" ")); len(w) > 0 && bytes.HasPrefix(after, []byte("with HTTP")) {
				h.ip, h.by = line[at:end], w
				return true
			}
		}
	}
	return false
}

// hotmail reads what its web mail wrote: the server, and an address where the line begins with one.
func hotmail(line []byte, h *hop) bool {
	for b := line; ; {
		i := bytes.Index(b, []byte("by "))
		if i < 0 {
			return false
		}
		b = b[i+3:]
		w, _, ok := bytes.Cut(b, []byte(" "))
		if ok && len(w) > 16 && bytes.HasSuffix(w, []byte(".hotmail.msn.com")) {
			h.by = w
			if end := matchIP(line, 0); end > 0 && end < len(line) && line[end] == ' ' {
				h.ip = line[:end]
			}
			return true
		}
	}
}

func isExchange(line []byte) bool {
	return (bytes.Contains(line, []byte("Microsoft SMTP Server")) || bytes.Contains(line, []byte(" mapi id "))) && exchange.Match(line)
}

func isEcelerity(line []byte) bool {
	i := bytes.Index(line, []byte("(ecelerity"))
	return i >= 0 && atBoundary(line, i+10)
}

// xmail reads id and sender of XMail.
func xmail(h *hop, m *matcher) {
	if w := inAngles(m.line, " id <"); w != nil {
		h.id = w
	}
	if w := inAngles(m.line, " from <"); w != nil {
		h.env = w
	}
}

// inAngles gives what a word holds behind a mark up to its last ">".
func inAngles(line []byte, mark string) []byte {
	for b := line; ; {
		i := bytes.Index(b, []byte(mark))
		if i < 0 {
			return nil
		}
		b = b[i+len(mark):]
		w, _, _ := bytes.Cut(b, []byte(" "))
		if i := bytes.LastIndexByte(w, '>'); i > 0 {
			return w[:i]
		}
	}
}

// eximLocal reports whether Exim took a message from a program of its own machine.
func eximLocal(line []byte) bool {
	for b := line; ; {
		i := bytes.Index(b, []byte("with local"))
		if i < 0 {
			return false
		}
		rest := b[i+10:]
		w, _, ok := bytes.Cut(rest, []byte(" "))
		if ok && (len(w) == 0 || len(w) > 1 && w[0] == '-') && atBoundary(b, i) {
			return true
		}
		b = b[i+4:]
	}
}

// eximInside reads what Exim puts into the parentheses.
func eximInside(h *hop, m *matcher) {
	sub := m.kept[slotExtra]
	if i := bytes.Index(sub, []byte("helo=")); i >= 0 {
		if w, _, _ := bytes.Cut(sub[i+5:], []byte(" ")); len(w) > 0 {
			h.helo = w
			sub = bytes.Join([][]byte{sub[:i], sub[i+5+len(w):]}, nil)
		}
	}
	if i := bytes.Index(sub, []byte("ident=")); i >= 0 {
		h.ident, _, _ = bytes.Cut(sub[i+6:], []byte(" "))
	}
}

// oddExim takes bits of what Exim writes in forms that its administrators have made up.
func oddExim(h *hop, line []byte) bool {
	if w, _, ok := bytes.Cut(line, []byte(" ")); ok && len(w) > 0 {
		h.rdns = w
	}
	for b := line; ; {
		i := bytes.Index(b, []byte(" ("))
		if i < 0 {
			break
		}
		b = b[i+2:]
		if w, _, ok := bytes.Cut(b, []byte(" ")); ok && len(w) > 1 && w[len(w)-1] == ')' {
			h.helo = w[:len(w)-1]
			break
		}
	}
	for from := 0; ; {
		i := bytes.Index(line[from:], []byte(" ["))
		if i < 0 {
			break
		}
		from += i + 2
		end := matchIP(line, from)
		if end < 0 {
			// An address and a port, with a dot between them.
			if end = matchIPv4(line, from); end < 0 {
				continue
			}
		}
		ip := line[from:end]
		if end+1 < len(line) && line[end] == '.' && isDigit(line[end+1]) {
			for end++; end < len(line) && isDigit(line[end]); end++ {
			}
		}
		if bytes.HasPrefix(line[end:], []byte("] ")) {
			h.ip = ip
			break
		}
	}
	for b := line; ; {
		i := bytes.Index(b, []byte("by "))
		if i < 0 {
			return false
		}
		b = b[i+3:]
		if w, _, ok := bytes.Cut(b, []byte(" ")); ok && len(w) > 0 {
			h.by = w
			return truthy(h.ip)
		}
	}
}

func unknownName(h *hop, _ *matcher) {
	if string(h.rdns) == "unknown" {
		h.rdns = nil
	}
}

// identBefore parts a user from the client's name (RFC 1413).
func identBefore(h *hop, _ *matcher) {
	if rest, ok := bytes.CutPrefix(h.rdns, []byte("IDENT:")); ok {
		if user, name, ok := bytes.Cut(rest, []byte("@")); ok {
			h.ident, h.rdns = user, name
		}
	}
	if user, name, ok := bytes.Cut(h.rdns, []byte("@")); ok {
		h.ident, h.rdns = user, name
	}
}

// courierName knows a word that Courier writes where it could not look a name up.
func courierName(h *hop, m *matcher) {
	if string(m.kept[slotRDNS]) == "softdnserr" {
		h.looked, h.rdns = false, nil
	}
}

func obtuse(h *hop, m *matcher) {
	if m.kept[slotHelo] == nil {
		h.helo = nil
	}
	if string(h.rdns) != "UNKNOWN" {
		h.looked = true
	}
}

// scannerSender is for fields of qmail-scanner: their sender belongs to the field below.
func scannerSender(*hop, *matcher) {}
