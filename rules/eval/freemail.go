package eval

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/postern-mail/postern/rules/pattern"
	"github.com/postern-mail/postern/rules/text"
)

var _ = keys("freemail_domains", "freemail_welcomelist", "freemail_max_body_emails", "freemail_max_body_freemails",
	"freemail_skip_when_over_max", "freemail_skip_bulk_envfrom", "freemail_add_describe_email", "freemail_import_welcomelist_auth",
	"freemail_import_def_welcomelist_auth") &&
	aliases("freemail_whitelist", "freemail_welcomelist", "freemail_import_whitelist_auth", "freemail_import_welcomelist_auth",
		"freemail_import_def_whitelist_auth", "freemail_import_def_welcomelist_auth")

var freemailFunctions = []Function{
	{"check_freemail_from", compileFreeFrom},
	{"check_freemail_header", compileFreeHeader},
	{"check_freemail_body", compileFreeBody},
	{"check_freemail_replyto", compileFreeReply},
}

// freemail knows the services that give mailboxes to anybody, and whose mailboxes with them tell nothing.
type freemail struct {
	domains map[string]bool
	globs   []string // domains with * and ? in them, neither of which stands for a dot
	exempt  map[string]bool
	lists   []*addressList

	most, mostFree int // addresses of the body beyond which they tell nothing
	skipOver, bulk bool
}

func freemailOf(s *Settings) *freemail {
	lists := addressLists(s)
	return Built(s, "freemail", func() *freemail {
		f := &freemail{domains: map[string]bool{}, exempt: map[string]bool{}, most: setting(s, "freemail_max_body_emails", 5)}
		f.mostFree = setting(s, "freemail_max_body_freemails", 3)
		f.skipOver, f.bulk = setting(s, "freemail_skip_when_over_max", 1) != 0, setting(s, "freemail_skip_bulk_envfrom", 1) != 0
		for _, d := range s.Words("freemail_domains") {
			d = strings.ToLower(d)
			switch {
			case strings.Trim(d, "abcdefghijklmnopqrstuvwxyz0123456789.*?-") != "":
			case strings.ContainsAny(d, "*?"):
				f.globs = append(f.globs, d)
			default:
				f.domains[d] = true
			}
		}
		for _, w := range s.Words("freemail_welcomelist") {
			f.exempt[strings.ToLower(w)] = true
		}
		for _, l := range []string{"welcomelist_auth", "def_welcomelist_auth"} {
			if setting(s, "freemail_import_"+l, 0) != 0 && lists[l] != nil {
				f.lists = append(f.lists, lists[l])
			}
		}
		return f
	})
}

// setting reads a number that the last line of a key gives.
func setting(s *Settings, key string, missing int) int {
	v, ok := s.Last(key)
	n, err := strconv.Atoi(strings.TrimSpace(v))
	if !ok || err != nil {
		return missing
	}
	return n
}

// roleMailbox matches mailboxes that are of a service itself, or made by programs.
var roleMailbox = regexp.MustCompile(`(?i)^(?:abuse|support|sales|info|helpdesk|contact|kontakt|(?:post|host|domain)master|undisclosed.*|` +
	`request-[a-f0-9]{16}|bounced?-|[a-f0-9]{8}(?:\.[a-f0-9]{8}|-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{12})|.+=.+=.+)@`)

// has reports whether an address, in lower case, is one that anybody can have.
func (f *freemail) has(addr string) bool {
	domain := addr[strings.LastIndexByte(addr, '@')+1:]
	if addr == "" || !f.domains[domain] && !f.hasGlob(addr) {
		return false
	}
	return !f.exempt[addr] && !f.exempt[domain] && !roleMailbox.MatchString(addr) &&
		!slices.ContainsFunc(f.lists, func(l *addressList) bool { return l.has(addr) })
}

func (f *freemail) hasGlob(addr string) bool {
	i := strings.LastIndexByte(addr, '@')
	return i >= 0 && slices.ContainsFunc(f.globs, func(g string) bool { return labelMatch(g, addr[i+1:]) })
}

// labelMatch is globMatch where * does not stand for a dot.
func labelMatch(g, host string) bool {
	if strings.Count(g, ".") != strings.Count(host, ".") && !strings.Contains(g, "?") {
		return false
	}
	for {
		gl, gRest, gMore := strings.Cut(g, ".")
		hl, hRest, hMore := strings.Cut(host, ".")
		if !globMatch(gl, hl) || gMore != hMore {
			return false
		}
		if !gMore {
			return true
		}
		g, host = gRest, hRest
	}
}

// addressPattern compiles the pattern that an address must match, nil for any.
func addressPattern(name string, args []string, i int) (*pattern.Pattern, error) {
	if i >= len(args) {
		return nil, nil
	}
	p, err := pattern.Compile(args[i], pattern.Options{})
	if err != nil {
		return nil, fmt.Errorf("eval: argument %d of %s: %w", i+1, name, err)
	}
	return p, nil
}

func matches(p *pattern.Pattern, addr string) bool {
	if p == nil {
		return true
	}
	_, _, ok, _ := p.Find([]byte(addr), 0)
	return ok
}

// firstFree gives the first address that anybody can have and that matches.
func (f *freemail) firstFree(all [][]byte, p *pattern.Pattern) (int, string) {
	for _, a := range all {
		if addr := string(lower(a)); f.has(addr) && matches(p, addr) {
			return 1, addr
		}
	}
	return 0, ""
}

func compileFreeFrom(s *Settings, args []string) (Check, error) {
	f := freemailOf(s)
	p, err := addressPattern("check_freemail_from", args, 0)
	if err != nil {
		return nil, err
	}
	return func(m *Mail) (int, string) { return f.firstFree(m.authorAddresses(), p) }, atMost("check_freemail_from", args, 1)
}

func compileFreeHeader(s *Settings, args []string) (Check, error) {
	if len(args) == 0 {
		return nil, fmt.Errorf("eval: check_freemail_header needs a field")
	}
	f := freemailOf(s)
	sel, err := text.ParseSelector(args[0] + ":addr")
	if err != nil {
		return nil, err
	}
	p, err := addressPattern("check_freemail_header", args, 1)
	if err != nil {
		return nil, err
	}
	return func(m *Mail) (int, string) { return f.firstFree(m.Text.Values(sel), p) }, atMost("check_freemail_header", args, 2)
}

func compileFreeBody(s *Settings, args []string) (Check, error) {
	f := freemailOf(s)
	p, err := addressPattern("check_freemail_body", args, 0)
	if err != nil {
		return nil, err
	}
	return func(m *Mail) (int, string) {
		b := m.freeBody(f)
		if b.over {
			return 0, ""
		}
		for _, a := range b.free {
			if matches(p, a) {
				return 1, a
			}
		}
		return 0, ""
	}, atMost("check_freemail_body", args, 1)
}

// bulkSender matches envelope senders of lists and programs.
var bulkSender = regexp.MustCompile(`(?i)(?:^(?:post|host|domain)master|^double-bounce|^(?:sentto|owner|return|(?:gr)?bounced?)-.+|` +
	`-(?:request|bounces?|admin|owner)|\b(?:do[._-t]?)?no[._-t]?repl(?:y|ies)|.+=.+)@`)

// compileFreeReply makes the check of whether answers go to another free mailbox than the author's, or than one in the text.
func compileFreeReply(s *Settings, args []string) (Check, error) {
	const name = "check_freemail_replyto"
	answer := len(args) == 1 && args[0] == "reply"
	if len(args) > 1 || len(args) == 1 && !answer && args[0] != "replyto" {
		return nil, fmt.Errorf("eval: %s takes replyto or reply, not %q", name, args)
	}
	f := freemailOf(s)
	return func(m *Mail) (int, string) {
		if len(f.domains)+len(f.globs) == 0 {
			return 0, ""
		}
		if v := m.Text.Values(selEnvelope); f.bulk && len(v) > 0 && bulkSender.Match(v[0]) {
			return 0, ""
		}
		from, reply := lowered(m.Text.Values(selFromAddr)), lowered(m.Text.Values(selReplyToAddr))
		fromFree, replyFree := slices.ContainsFunc(from, f.has), slices.ContainsFunc(reply, f.has)
		same := slices.ContainsFunc(from, func(a string) bool { return slices.Contains(reply, a) })
		if fromFree && replyFree && !same {
			return 1, strings.Join(from, ",") + " -> " + strings.Join(reply, ",")
		}
		switch {
		case !answer && !replyFree, answer && len(reply) > 0 && !replyFree, answer && !fromFree:
			return 0, ""
		}
		b := m.freeBody(f)
		if b.over {
			return 0, ""
		}
		to := reply
		if answer && !replyFree {
			to = from
		}
		for _, a := range b.free {
			for _, r := range to {
				if a != r {
					return 1, r + ", " + a
				}
			}
		}
		return 0, ""
	}, nil
}

func lowered(all [][]byte) (out []string) {
	for _, a := range all {
		out = append(out, string(lower(a)))
	}
	return out
}

// bodyMails are the addresses in the text and in its links.
type bodyMails struct {
	free []string // those that anybody can have
	over bool     // there are so many that they tell nothing
}

// The addresses that are looked for at most.
const (
	maxLinkMails = 20
	maxBodyMails = 40
)

func (m *Mail) freeBody(f *freemail) bodyMails {
	return m.heads.bodyMails.get(func() (b bodyMails) {
		free := 0
		for i, a := range m.bodyAddresses() {
			if i+1 == f.most && f.skipOver {
				return bodyMails{over: true}
			}
			if !f.has(a) {
				continue
			}
			if free++; free == f.mostFree && f.skipOver {
				return bodyMails{over: true}
			}
			b.free = append(b.free, a)
		}
		return b
	})
}

var (
	linkWithMail = regexp.MustCompile(`(?i)<?https?://\S{0,255}(?:@|%40)\S{0,255}`)
	quotedMail   = regexp.MustCompile(`^\s{1,10}([a-zA-Z]{2,11}):`)
	contactWord  = regexp.MustCompile(`(?i)^(?:fa(?:x|csi)|tel|phone|e?-?mail)`)
)

// bodyAddresses lists the addresses of links and text, each once: not those in URLs, and not those that a quotation begins with.
func (m *Mail) bodyAddresses() (all []string) {
	seen := map[string]bool{}
	add := func(a []byte) {
		if s := string(lower(a)); !seen[s] {
			seen[s] = true
			all = append(all, s)
		}
	}
	top := m.Text.TopLevel()
	for _, u := range m.Text.URIs() {
		if len(all) >= maxLinkMails {
			break
		}
		rest, ok := strings.CutPrefix(strings.ToLower(u.Raw), "mailto:")
		if !ok || !slices.Contains(u.Types, "a") || slices.Contains(u.Types, "parsed") {
			continue
		}
		if s, e, ok := findAddress([]byte(rest), 0, top); ok && s == 0 {
			add([]byte(rest[s:e]))
		}
	}
	for _, p := range m.Text.Body() {
		if !bytes.ContainsRune(p, '@') {
			continue
		}
		p = linkWithMail.ReplaceAll(p, []byte(" "))
		for at := 0; ; {
			s, e, ok := findAddress(p, at, top)
			if !ok {
				break
			}
			at = e
			if quotes(p, s, e) {
				continue
			}
			add(p[s:e])
			if len(all) >= maxBodyMails {
				return all
			}
		}
	}
	return all
}

// quotes reports whether an address stands in angle brackets, or before a word and a colon, as at the head of a quotation.
func quotes(p []byte, start, end int) bool {
	if bytes.HasSuffix(bytes.ToLower(p[:start]), []byte("mailto:")) {
		return false
	}
	if end < len(p) && p[end] == '>' {
		return true
	}
	w := quotedMail.FindSubmatch(p[end:])
	return w != nil && !contactWord.Match(w[1])
}

func isMailOctet(c byte) bool {
	return isWordOctet(c) || strings.IndexByte("!#$%&'*+/=?^`{|}~-", c) >= 0
}

// maxLocal is how many octets of a local part are looked at.
const maxLocal = 64

// findAddress finds an address in a text: a local part without dots at its ends or side by side, and a host of two to five
// labels that ends in a top-level domain.
func findAddress(p []byte, from int, top *text.TLDs) (start, end int, ok bool) {
	for at := from; ; at++ {
		i := bytes.IndexByte(p[at:], '@')
		if i < 0 {
			return 0, 0, false
		}
		at += i
		end, ok := mailHost(p, at+1, top)
		if !ok {
			continue
		}
		start := -1
		for j := at - 1; j >= from && at-j <= maxLocal; j-- {
			if isMailOctet(p[j]) {
				if j == 0 || !isMailOctet(p[j-1]) {
					start = j
				}
				continue
			}
			if p[j] != '.' || j+1 == at || p[j+1] == '.' {
				break
			}
		}
		if start >= 0 {
			return start, end, true
		}
	}
}

// mailHost gives the end of a host's name that begins at at.
func mailHost(p []byte, at int, top *text.TLDs) (end int, ok bool) {
	last, labels := at, 0
	for {
		end = last
		for end < len(p) && (isWordOctet(p[end]) && p[end] != '_' || p[end] == '-') {
			end++
		}
		if end == last || p[last] == '-' || p[end-1] == '-' || end-last > 61 {
			return 0, false
		}
		labels++
		if end+1 >= len(p) || p[end] != '.' || !isWordOctet(p[end+1]) || p[end+1] == '_' {
			break
		}
		last = end + 1
	}
	return end, labels >= 2 && labels <= 5 && top.IsTop(string(lower(p[last:end])))
}
