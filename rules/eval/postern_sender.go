package eval

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/net/idna"

	"github.com/postern-mail/postern/mail"
)

// posternSender compares what a message says about its sender in one place with what it says in another.
var posternSender = []Function{
	plain("postern_reply_to_differs", func(m *Mail) (int, string) {
		c := m.claims()
		return yes(c.reply != "" && c.reply != c.address && (c.replyOrg != c.org || c.replyOrg == ""), c.reply)
	}),
	plain("postern_return_path_differs", func(m *Mail) (int, string) {
		c := m.claims()
		return yes(c.returnOrg != "" && c.org != "" && c.returnOrg != c.org, c.returnOrg)
	}),
	plain("postern_message_id_differs", func(m *Mail) (int, string) {
		c := m.claims()
		return yes(!c.list && c.messageOrg != "" && c.org != "" && c.messageOrg != c.org && c.messageOrg != c.returnOrg, c.messageOrg)
	}),
	plain("postern_from_is_recipient", func(m *Mail) (int, string) {
		c := m.claims()
		return yes(c.address != "" && slices.Contains(c.to, c.address), c.address)
	}),
	plain("postern_links_elsewhere", func(m *Mail) (int, string) {
		c := m.claims()
		if c.list || len(c.links) == 0 || c.org == "" {
			return 0, ""
		}
		for _, l := range c.links {
			if l.org == c.org || l.org == c.replyOrg {
				return 0, ""
			}
		}
		return 1, c.links[0].host
	}),
	plain("postern_links_own", func(m *Mail) (int, string) {
		c := m.claims()
		own := len(c.links) > 0 && c.org != "" && !slices.ContainsFunc(c.links, func(l webLink) bool { return l.org != c.org })
		return yes(own, c.org)
	}),
	{"postern_link_text_differs", compileLinkText},
	plain("postern_name_domain", func(m *Mail) (int, string) {
		d := domainInName(m.claims())
		return yes(d != "", d)
	}),
	plain("postern_from_recipient_org", func(m *Mail) (int, string) {
		c := m.claims()
		return yes(c.org != "" && slices.ContainsFunc(c.to, func(a string) bool {
			_, org := hostAndOrg(a[strings.LastIndexByte(a, '@')+1:])
			return org == c.org
		}), c.org)
	}),
	counting("postern_links_one_host", func(m *Mail, least float64) (bool, string) {
		n, host := linksToOneHost(m.claims())
		return n > 0 && float64(n) >= least, host
	}),
	{"postern_executive_name", compileExecutive},
	{"postern_lookalike", compileLookalike},
	{"postern_own_domain_in_name", func(s *Settings, args []string) (Check, error) {
		ours := siteNames(s, "postern_domains")
		return func(m *Mail) (int, string) {
			c := m.claims()
			if c.name == "" || withinAny(c.host, ours) {
				return 0, ""
			}
			words := strings.FieldsFunc(strings.ToLower(c.name), func(r rune) bool {
				return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '.' && r != '-'
			})
			for _, w := range words {
				for _, d := range ours {
					if w == d || len(label(orgOf(d))) > 3 && w == label(orgOf(d)) {
						return 1, w
					}
				}
			}
			return 0, ""
		}, atMost("postern_own_domain_in_name", args, 0)
	}},
	plain("postern_fake_reply", func(m *Mail) (int, string) {
		h := m.Text.Content().Header()
		s := strings.ToLower(strings.TrimSpace(m.claims().subject))
		reply := strings.HasPrefix(s, "re:") || strings.HasPrefix(s, "aw:") || strings.HasPrefix(s, "re [")
		return yes(reply && h.Count("In-Reply-To")+h.Count("References")+h.Count("Thread-Index") == 0, "")
	}),
}

// compileLinkText finds links that show one address of the web and go to another organisation's. Mail that somebody sends by
// way of a mailer shows addresses of the sender, and links to the mailer, which counts the clicks: "own" asks for these,
// "others" for the rest.
func compileLinkText(_ *Settings, args []string) (Check, error) {
	const name = "postern_link_text_differs"
	if err := atMost(name, args, 1); err != nil {
		return nil, err
	}
	which := ""
	if len(args) > 0 {
		which = args[0]
	}
	if which != "" && which != "own" && which != "others" {
		return nil, fmt.Errorf("eval: %s looks at own or others, not %q", name, which)
	}
	return func(m *Mail) (int, string) {
		c := m.claims()
		for _, l := range c.links {
			if l.org == c.org {
				continue
			}
			for _, text := range l.anchors {
				shown := linkOf(text)
				if shown == "" {
					continue
				}
				org := orgOf(shown)
				own := org == c.org || org == c.replyOrg
				if org != l.org && (which == "" || own == (which == "own")) {
					return 1, fmt.Sprintf("%s leads to %s", shown, l.host)
				}
			}
		}
		return 0, ""
	}, nil
}

// domainInName gives the domain that the sender's name shows, where it is not that of the sender or of one who is to get it.
func domainInName(c *claims) string {
	for w := range strings.FieldsFuncSeq(strings.ToLower(c.name), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '.' && r != '-' && r != '@'
	}) {
		w = strings.Trim(w, ".-")
		if _, after, ok := strings.Cut(w, "@"); ok {
			w = after
		}
		if !strings.Contains(w, ".") {
			continue
		}
		host, org := hostAndOrg(w)
		if host == "" || !publicNames[org[strings.LastIndexByte(org, '.')+1:]] || label(org) == label(c.org) || org == c.replyOrg || org == c.returnOrg {
			continue
		}
		return host
	}
	return ""
}

// publicNames are top-level domains by which a word in a name is known to be a host; of "Müller & Co.KG" nobody would think so.
var publicNames = map[string]bool{"com": true, "net": true, "org": true, "info": true, "biz": true, "de": true, "fr": true, "uk": true, "br": true, "us": true, "ru": true, "cn": true}

// linksToOneHost gives how many links lead to the one host that all lead to, none where they lead to several or to the
// sender's own.
func linksToOneHost(c *claims) (n int, host string) {
	for _, l := range c.links {
		if host == "" {
			host = l.host
		}
		if l.host != host || l.org == c.org {
			return 0, ""
		}
		n++
	}
	return n, host
}

// executive is somebody whose name others use.
type executive struct {
	name      string // as sameName makes it
	addresses []string
}

func compileExecutive(s *Settings, args []string) (Check, error) {
	var all []executive
	for _, l := range s.Lines("postern_executive") {
		boxes := mail.ParseMailboxes(l.Args)
		e := executive{}
		for _, b := range boxes {
			if b.Name != "" {
				e.name = nameKey(b.Name)
			}
			e.addresses = append(e.addresses, strings.ToLower(b.Address))
		}
		if e.name == "" {
			return nil, fmt.Errorf("eval: %s: postern_executive needs a name and an address: Jane Doe <jane@example.org>", l.At)
		}
		all = append(all, e)
	}
	return func(m *Mail) (int, string) {
		c := m.claims()
		key := nameKey(c.name)
		for _, e := range all {
			if key == e.name && !slices.Contains(e.addresses, c.address) {
				return 1, fmt.Sprintf("%s <%s>", c.name, c.address)
			}
		}
		return 0, ""
	}, atMost("postern_executive_name", args, 0)
}

// nameKey makes of a person's name what all ways of writing it have in common: its words in the order of the alphabet, in
// lower case and the letters that they look like; "Doe, Jane (CEO)" is "doe jane".
func nameKey(name string) string {
	if i := strings.IndexAny(name, "(<["); i > 0 {
		name = name[:i]
	}
	words := strings.FieldsFunc(skeleton(name), func(r rune) bool { return !unicode.IsLetter(r) })
	words = slices.DeleteFunc(words, func(w string) bool { return len(w) < 2 || w == "mr" || w == "mrs" || w == "dr" || w == "ms" })
	slices.Sort(words)
	return strings.Join(words, " ")
}

// lookalikes are letters and signs that are taken for others at a glance.
var lookalikes = strings.NewReplacer(
	"а", "a", "ɑ", "a", "α", "a", "à", "a", "á", "a", "â", "a", "ä", "a", "ã", "a", "å", "a", "4", "a", "ь", "b", "в", "b", "с", "c", "ç", "c", "ϲ", "c",
	"ԁ", "d", "е", "e", "ё", "e", "è", "e", "é", "e", "ê", "e", "ë", "e", "ε", "e", "3", "e", "ɡ", "g", "һ", "h", "н", "h", "і", "i", "ï", "i", "í", "i", "ì", "i",
	"ı", "i", "ι", "i", "1", "l", "|", "l", "ӏ", "l", "ј", "j", "κ", "k", "к", "k", "м", "m", "rn", "m", "п", "n", "ñ", "n", "η", "n", "о", "o", "ο", "o", "ö", "o", "ó", "o", "ò", "o",
	"ô", "o", "õ", "o", "0", "o", "р", "p", "ρ", "p", "ԛ", "q", "г", "r", "ѕ", "s", "5", "s", "$", "s", "т", "t", "τ", "t", "υ", "u", "ü", "u", "ú", "u", "ù", "u", "ν", "v", "ѵ", "v",
	"ԝ", "w", "ω", "w", "vv", "w", "х", "x", "χ", "x", "у", "y", "ý", "y", "ʐ", "z",
)

// skeleton gives what a word looks like.
func skeleton(s string) string { return lookalikes.Replace(strings.ToLower(s)) }

func compileLookalike(s *Settings, args []string) (Check, error) {
	const name = "postern_lookalike"
	if err := atMost(name, args, 2); err != nil {
		return nil, err
	}
	if len(args) < 2 || args[1] != "sender" && args[1] != "links" {
		return nil, fmt.Errorf("eval: %s needs whose domains, then sender or links, not %q", name, args)
	}
	ours, theirs := siteNames(s, "postern_domains"), siteNames(s, "postern_protected")
	of := map[string][]string{"domains": ours, "protected": theirs, "all": slices.Concat(ours, theirs)}
	protected, ok := of[args[0]]
	if !ok {
		return nil, fmt.Errorf("eval: %s knows domains, protected and all, not %q", name, args[0])
	}
	good := of["all"]
	like := func(host, org string) string {
		if org == "" || withinAny(host, good) {
			return ""
		}
		for _, p := range protected {
			if resembles(org, orgOf(p)) {
				return fmt.Sprintf("%s looks like %s", host, p)
			}
		}
		return ""
	}
	return func(m *Mail) (int, string) {
		c := m.claims()
		if args[1] == "sender" {
			d := like(c.host, c.org)
			return yes(d != "", d)
		}
		for _, l := range c.links {
			if d := like(l.host, l.org); d != "" {
				return 1, d
			}
		}
		return 0, ""
	}, nil
}

// resembles reports whether a domain is made to be taken for another: the same in looks, the same at another top level, a
// letter more, less, other or two changed in places, or the other's name with a word beside it.
func resembles(org, other string) bool {
	if org == other || len(org) > 255 {
		return false
	}
	a, b := label(org), label(other)
	if u, err := idna.ToUnicode(a); err == nil {
		a = u
	}
	a, b = skeleton(a), skeleton(b)
	switch {
	case len(b) < 4:
		return a == b && label(org) != label(other)
	case a == b:
		return true
	case len(b) >= 5 && (strings.HasPrefix(a, b+"-") || strings.HasSuffix(a, "-"+b) || strings.Contains(a, "-"+b+"-")):
		return true
	case strings.ReplaceAll(a, "-", "") == strings.ReplaceAll(b, "-", ""):
		return true
	}
	return len(b) >= 6 && oneApart(a, b)
}

// oneApart reports whether two words differ by one letter that is more, less or other, or by two neighbours that changed
// places.
func oneApart(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	if len(b)-len(a) > 1 {
		return false
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	switch {
	case len(a) < len(b):
		return a[i:] == b[i+1:]
	case i == len(a):
		return false
	case a[i+1:] == b[i+1:]:
		return true
	}
	return i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:]
}
