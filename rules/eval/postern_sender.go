package eval

import (
	"fmt"
	"regexp"
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
	plain("postern_list", func(m *Mail) (int, string) { return yes(m.claims().list, "") }),
	plain("postern_proven", func(m *Mail) (int, string) {
		c := m.claims()
		return yes(c.proven, c.org)
	}),
	plain("postern_client_known", func(m *Mail) (int, string) {
		client := m.Text.Options().Client
		return yes(client.Addr.IsValid(), client.Name)
	}),
	plain("postern_from_is_recipient", func(m *Mail) (int, string) {
		c := m.claims()
		return yes(c.address != "" && slices.Contains(c.to, c.address), c.address)
	}),
	plain("postern_links_elsewhere", func(m *Mail) (int, string) {
		d := linksElsewhere(m)
		return yes(d != "", d)
	}),
	plain("postern_links_own", func(m *Mail) (int, string) {
		c := m.claims()
		own := c.org != "" && len(c.hosts()) > 0 && !slices.ContainsFunc(c.hosts(), func(h *webHost) bool { return h.org != c.org })
		return yes(own, c.org)
	}),
	{"postern_link_text_differs", compileLinkText},
	plain("postern_name_domain", func(m *Mail) (int, string) {
		d := domainInName(m.claims())
		return yes(d != "", d)
	}),
	plain("postern_name_address", func(m *Mail) (int, string) {
		a := addressInName(m.claims())
		return yes(a != "", a)
	}),
	plain("postern_from_recipient_org", func(m *Mail) (int, string) {
		c := m.claims()
		return yes(c.org != "" && slices.ContainsFunc(c.to, func(a string) bool {
			_, org := hostAndOrg(a[strings.LastIndexByte(a, '@')+1:])
			return org == c.org
		}), c.org)
	}),
	counting("postern_links_one_host", func(m *Mail, least float64) (bool, string) {
		n, host := linksToOneHost(m)
		return n > 0 && float64(n) >= least, host
	}),
	{"postern_executive_name", compileExecutive},
	{"postern_lookalike", compileLookalike},
	{"postern_own_domain_in_name", func(s *Settings, args []string) (Check, error) {
		ours := siteNames(s, "postern_domains")
		names := map[string]bool{}
		for _, d := range ours {
			names[d] = true
			if l := label(orgOf(d)); len(l) > 3 {
				names[l] = true
			}
		}
		return func(m *Mail) (int, string) {
			if len(ours) == 0 {
				return 0, ""
			}
			c := m.claims()
			if c.name == "" || withinAny(c.host, ours) {
				return 0, ""
			}
			words := strings.FieldsFunc(strings.ToLower(c.name), func(r rune) bool {
				return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '.' && r != '-'
			})
			for _, w := range words {
				if names[w] {
					return 1, w
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

// firmPages are where firms have pages and programs of their own, to which they link beside their sites.
var firmPages = []string{
	"facebook.com", "instagram.com", "twitter.com", "x.com", "linkedin.com", "youtube.com", "pinterest.com", "tiktok.com", "xing.com", "apps.apple.com", "play.google.com",
}

// linksElsewhere gives a host of the links where all of them lead away from the author's organisation. Where that disowns the message, a link
// to it says nothing: whoever forges a name can link to its owner, too. Then one that leads elsewhere is enough.
func linksElsewhere(m *Mail) (elsewhere string) {
	c := m.claims()
	if c.list || c.org == "" {
		return ""
	}
	forged := !c.proven && m.disowned(c.org)
	for _, h := range c.hosts() {
		switch home := h.org == c.org || h.org == c.replyOrg && c.proven; {
		case home && !forged:
			return ""
		case !home && elsewhere == "" && !(forged && withinAny(h.host, firmPages)):
			elsewhere = h.host
		}
	}
	return elsewhere
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
		for _, l := range c.links() {
			if l.org == c.org {
				continue
			}
			for _, text := range l.uri.Anchors {
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

var addressShown = regexp.MustCompile(`[\w.+-]{1,64}@([\w-]{1,64}(?:\.[\w-]{1,64}){1,6})`)

// addressInName gives the address that the sender's name shows, where it is not at the sender's organisation.
func addressInName(c *claims) string {
	if !strings.Contains(c.name, "@") {
		return ""
	}
	for _, m := range addressShown.FindAllStringSubmatch(c.name, -1) {
		if _, org := hostAndOrg(m[1]); org != "" && org != c.org {
			return m[0]
		}
	}
	return ""
}

// publicNames are top-level domains by which a word in a name is known to be a host; of "Müller & Co.KG" nobody would think so.
var publicNames = map[string]bool{"com": true, "net": true, "org": true, "info": true, "biz": true, "de": true, "fr": true, "uk": true, "br": true, "us": true, "ru": true, "cn": true}

// linksToOneHost gives how many links lead to the one host that all lead to, none where they lead to several or to the sender's own. Of a
// sender whose organisation disowns the message, see linksElsewhere, those to its own don't count.
func linksToOneHost(m *Mail) (n int, host string) {
	c := m.claims()
	forged := !c.proven && m.disowned(c.org)
	for _, l := range c.links() {
		switch {
		case l.org == c.org && forged:
		case l.org != c.org && (host == "" || host == l.host):
			n, host = n+1, l.host
		default:
			return 0, ""
		}
	}
	return n, host
}

// executive is somebody whose name others use.
type executive struct {
	name      string // as sameName makes it
	addresses []string
}

// readExecutive reads what a line says of one.
func readExecutive(args string) (e executive, err error) {
	for _, b := range mail.ParseMailboxes(args) {
		if key := nameKey(b.Name); key != "" {
			e.name = key
		}
		if b.Address == "" {
			continue
		}
		if a, err := mail.ParseAddress(b.Address); err != nil || a.Domain() == "" {
			return e, fmt.Errorf("%q is no address: Jane Doe <jane@example.org>", atMostOctets(b.Address, 100))
		}
		e.addresses = append(e.addresses, strings.ToLower(b.Address))
	}
	if e.name == "" || len(e.addresses) == 0 {
		return e, fmt.Errorf("%q: it needs a name and an address: Jane Doe <jane@example.org>", atMostOctets(args, 100))
	}
	return e, nil
}

func compileExecutive(s *Settings, args []string) (Check, error) {
	all := map[string][]executive{}
	for _, l := range s.Lines("postern_executive") {
		e, err := readExecutive(l.Args)
		if err != nil {
			return nil, fmt.Errorf("eval: %s: postern_executive %w", l.At, err)
		}
		all[e.name] = append(all[e.name], e)
	}
	return func(m *Mail) (int, string) {
		if len(all) == 0 {
			return 0, ""
		}
		c := m.claims()
		for _, e := range all[nameKey(c.name)] {
			if !slices.Contains(e.addresses, c.address) {
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

// skeletonOf gives what the owner's own part of a registered domain looks like, as programs show it.
func skeletonOf(org string) string {
	l := label(org)
	if u, err := idna.ToUnicode(l); err == nil {
		l = u
	}
	return skeleton(l)
}

// protectedName is a domain that others imitate.
type protectedName struct {
	name, org, looks string
}

func protectedNames(domains []string) []protectedName {
	all := make([]protectedName, len(domains))
	for i, d := range domains {
		org := orgOf(d)
		all[i] = protectedName{d, org, skeleton(label(org))}
	}
	return all
}

func compileLookalike(s *Settings, args []string) (Check, error) {
	const name = "postern_lookalike"
	if err := atMost(name, args, 3); err != nil {
		return nil, err
	}
	if len(args) < 2 || args[1] != "sender" && args[1] != "links" || len(args) == 3 && args[2] != "other" && args[2] != "top" {
		return nil, fmt.Errorf("eval: %s needs whose domains, then sender or links, and may have other or top, not %q", name, args)
	}
	ours, theirs := siteNames(s, "postern_domains"), siteNames(s, "postern_protected")
	good := slices.Concat(ours, theirs)
	of := map[string][]string{"domains": ours, "protected": theirs, "all": good}
	domains, ok := of[args[0]]
	if !ok {
		return nil, fmt.Errorf("eval: %s knows domains, protected and all, not %q", name, args[0])
	}
	protected := protectedNames(domains)
	counts := func(p *protectedName, org string) bool {
		if len(args) < 3 {
			return true
		}
		// What a site owns it may own at other top levels, too; of others that is no reason, nor is it where anybody can have it, and prove it.
		top := label(org) == label(p.org) && slices.Contains(ours, p.name) && !isCheap(org)
		return top == (args[2] == "top")
	}
	like := func(host, org string, looks func() string) string {
		if org == "" || withinAny(host, good) {
			return ""
		}
		for i := range protected {
			if p := &protected[i]; p.resembledBy(org, looks()) && counts(p, org) {
				return fmt.Sprintf("%s looks like %s", host, p.name)
			}
		}
		return ""
	}
	return func(m *Mail) (int, string) {
		if len(protected) == 0 {
			return 0, ""
		}
		c := m.claims()
		if args[1] == "sender" {
			d := like(c.host, c.org, c.looks)
			return yes(d != "", d)
		}
		for _, h := range c.hosts() {
			if d := like(h.host, h.org, h.looks); d != "" {
				return 1, d
			}
		}
		return 0, ""
	}, nil
}

// resembledBy reports whether a domain that looks so is made to be taken for the protected one: the same in looks, the same
// at another top level, a letter more, less, other or two changed in places, or its name with a word beside it.
func (p *protectedName) resembledBy(org, a string) bool {
	if org == p.org || len(org) > 255 {
		return false
	}
	b := p.looks
	switch {
	case len(b) < 4:
		return a == b && label(org) != label(p.org)
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
