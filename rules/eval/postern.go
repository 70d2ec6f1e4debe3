package eval

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/rules/text"
)

// The functions whose names begin with postern_ are our own: SpamAssassin has none of them. They serve our default rules,
// and whoever wants to write rules of that kind. Their settings protect nobody until a site names whom:
//
//	postern_domains example.org example.com           domains of this site
//	postern_protected bank.example partner.example    domains of others that its users trust
//	postern_executive Jane Doe <jane@example.org>     people whom others pretend to be, with their addresses
var (
	_ = keys("postern_domains", "postern_protected", "postern_executive")
	_ = checked("postern_domains", checkDomains)
	_ = checked("postern_protected", checkDomains)
	_ = checked("postern_executive", func(args string) error {
		_, err := readExecutive(args)
		return err
	})
)

func checkDomains(args string) error {
	if args == "" {
		return errors.New("no domain is named")
	}
	for w := range strings.FieldsSeq(args) {
		if host, _ := hostAndOrg(w); !registrable.MatchString(host) {
			return fmt.Errorf("%q is no domain as mail comes from: labels of letters, digits and inner hyphens, two at least, the last no number", atMostOctets(w, 100))
		}
	}
	return nil
}

// registrable is what domains of mail on the internet look like (RFC 1123 2.1, RFC 3696 2).
var registrable = regexp.MustCompile(`^(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z](?:[a-z0-9-]*[a-z0-9])?$`)

func init() {
	tables = append(tables, posternSender, posternHome, posternBrands, posternText, posternFiles, posternTops)
}

// Bounds of what is looked at in one message.
const (
	maxHosts      = 1000 // that links lead to
	maxRecipients = 20
	maxAddress    = 320 // octets of an address (RFC 5321 4.5.3.1.1, 4.5.3.1.2)
	maxPeopleName = 256 // octets of a display name
)

// claims is what a message says about who sends it to whom, and where its links go. All names are in lower case.
type claims struct {
	name, address       string // of the first author
	host, org           string // of the author's address: its domain, and that as it was registered
	reply, replyOrg     string // the first address for replies, "" for none
	returnOrg           string // of the reverse-path, "" for none
	messageOrg          string // of the host in the Message-ID
	to                  []string
	subject, rawSubject string
	list                bool // by way of a list, and the list or the author is proven
	proven              bool // the author's organisation is, by SPF or DKIM

	text   *text.Message
	linked once[linkHosts]
	looked once[string]
}

// linkHosts is the links of a message by what they lead to.
type linkHosts struct {
	links []webLink
	hosts []*webHost // each once, in the order of the links
}

// webLink is a link to the web.
type webLink struct {
	*webHost
	uri *text.URI
}

// webHost is a host that links lead to.
type webHost struct {
	host, org string
	looked    once[string]
}

// looks gives what the host's name looks like; see skeletonOf.
func (h *webHost) looks() string { return h.looked.get(func() string { return skeletonOf(h.org) }) }

// looks gives what the name of the author's domain looks like.
func (c *claims) looks() string { return c.looked.get(func() string { return skeletonOf(c.org) }) }

// links gives the links that a reader can follow: what a page loads by itself, as its images, is none.
func (c *claims) links() []webLink { return c.byHost().links }

// hosts gives the hosts that these lead to, up to a bound; those come first that HTML has links to.
func (c *claims) hosts() []*webHost { return c.byHost().hosts }

func (c *claims) byHost() linkHosts {
	return c.linked.get(func() linkHosts { return readLinks(c.text) })
}

// claims reads them once for each message.
func (m *Mail) claims() *claims { return m.claimed.get(func() *claims { return readClaims(m) }) }

func readClaims(m *Mail) *claims {
	h := m.Text.Content().Header()
	c := &claims{rawSubject: h.Get("Subject"), text: m.Text}
	c.subject = mail.DecodeWords(c.rawSubject)
	box := author(h.Get("From"))
	c.name, c.address = atMostOctets(strings.TrimSpace(box.Name), maxPeopleName), strings.ToLower(box.Address)
	c.host, c.org = hostAndOrg(box.Domain())
	if all := mail.ParseMailboxes(h.Get("Reply-To")); len(all) > 0 && all[0].Address != "" {
		c.reply = strings.ToLower(all[0].Address)
		_, c.replyOrg = hostAndOrg(all[0].Domain())
	}
	if o := m.Text.Options(); o.HasEnvelope {
		_, c.returnOrg = hostAndOrg(o.From.Domain())
	} else if all := mail.ParseMailboxes(h.Get("Return-Path")); len(all) > 0 {
		_, c.returnOrg = hostAndOrg(all[0].Domain())
	}
	if id := h.Get("Message-ID"); strings.Contains(id, "@") {
		_, host, _ := strings.Cut(id, "@")
		_, c.messageOrg = hostAndOrg(strings.TrimRight(strings.TrimSpace(host), ">"))
	}
	for _, field := range [...]string{"To", "Cc"} {
		for _, box := range mail.ParseMailboxes(h.Get(field)) {
			if box.Address != "" && len(box.Address) <= maxAddress && len(c.to) < maxRecipients {
				c.to = append(c.to, strings.ToLower(box.Address))
			}
		}
	}
	dmarc, _ := m.dmarc(auth.Pass, "")
	c.proven = c.org != "" && (dmarc > 0 || m.sentBy(c.org))
	if id := h.Get("List-Id"); id != "" && (h.Count("List-Post") > 0 || strings.EqualFold(strings.TrimSpace(h.Get("Precedence")), "list")) {
		_, list := hostAndOrg(strings.TrimRight(strings.TrimSpace(id[strings.LastIndexByte(id, '<')+1:]), ">"))
		c.list = c.proven || list != "" && m.sentBy(list)
	}
	return c
}

// author gives the first mailbox of a From field that has an address. What stands before it belongs to its name: a comma in a name without
// quotes makes names of nobody of what every client shows as one.
func author(field string) (box mail.Mailbox) {
	all := mail.ParseMailboxes(field)
	i := slices.IndexFunc(all, func(b mail.Mailbox) bool { return strings.Contains(b.Address, "@") })
	switch {
	case len(all) == 0:
		return box
	case i < 0:
		return all[0]
	}
	box = all[i]
	for i--; i >= 0 && len(box.Name) < maxPeopleName; i-- {
		box.Name = all[i].Name + ", " + box.Name
	}
	return box
}

func atMostOctets(s string, n int) string { return s[:min(len(s), n)] }

// hostAndOrg puts a domain in the form in which domains are compared, and gives that under which it was registered.
func hostAndOrg(domain string) (host, org string) {
	host, err := mail.Domain(strings.TrimSpace(domain))
	if err != nil {
		return "", ""
	}
	return host, orgOf(host)
}

// orgOf gives what the public suffix list says is registered of a host in lower case.
func orgOf(host string) string { return text.DefaultTLDs.Registered(host) }

// label gives the part of a registered domain that its owner has chosen.
func label(org string) string {
	l, _, _ := strings.Cut(org, ".")
	return l
}

// furniture are domains that pages name for what they are drawn with: they say nothing about where a reader is to go. None is here that has
// pages of its customers, as storage.googleapis.com has, or that leads on where anybody likes, as purl.org does.
var furniture = []string{
	"w3.org", "fonts.googleapis.com", "ajax.googleapis.com", "maps.googleapis.com", "fonts.gstatic.com", "www.gstatic.com", "schemas.microsoft.com",
	"schema.org", "jquery.com", "bootstrapcdn.com",
}

// written is the place of a text where programs make links of what looks like one.
const written = "parsed"

func readLinks(m *text.Message) (all linkHosts) {
	uris := m.Links()
	if len(uris) == 0 {
		return all
	}
	known := map[string]*webHost{} // nil: it is none that counts
	add := func(u *text.URI) {
		h, ok := known[u.Host]
		if !ok {
			if host, org := hostAndOrg(u.Host); host != "" && !withinAny(u.Host, furniture) {
				if len(all.hosts) == maxHosts {
					m.LeaveOut(text.CutLinks)
					return
				}
				h = &webHost{host: host, org: org}
				all.hosts = append(all.hosts, h)
			}
			known[u.Host] = h
		}
		if h != nil {
			all.links = append(all.links, webLink{h, u})
		}
	}
	for _, html := range [...]bool{true, false} {
		for i := range uris {
			u := &uris[i]
			if u.Host == "" || len(u.Variants) == 0 || isMailto(u.Raw) || u.Followed() != html || !html && !u.Is(written) {
				continue
			}
			add(u)
		}
	}
	return all
}

func isMailto(uri string) bool {
	const scheme = "mailto:"
	return len(uri) >= len(scheme) && strings.EqualFold(uri[:len(scheme)], scheme)
}

// siteNames are the domains of a settings' key.
func siteNames(s *Settings, key string) []string {
	return Built(s, "names of "+key, func() (all []string) {
		for _, w := range s.Words(key) {
			if host, _ := hostAndOrg(w); host != "" {
				all = append(all, host)
			}
		}
		return all
	})
}

// within reports whether a host is one of the domains, or lies below one.
func withinAny(host string, domains []string) bool {
	return slices.ContainsFunc(domains, func(d string) bool { return mail.Within(host, d) })
}

// linkOf gives the host that a text shows as a web address, "" where it shows none.
func linkOf(text string) string {
	text = strings.TrimSpace(atMostOctets(text, 300))
	if !strings.Contains(text, ".") || strings.ContainsAny(text, " \t\n\v\f\r") {
		return ""
	}
	if m := shownAddress.FindStringSubmatch(text); m != nil {
		if u, err := url.Parse("http://" + m[1]); err == nil {
			host, _ := hostAndOrg(u.Hostname())
			return host
		}
	}
	return ""
}

var shownAddress = regexp.MustCompile(`(?i)^(?:https?://|(?:www\.))?((?:[a-z0-9-]{1,63}\.)+[a-z]{2,12})(?:[/:?#]\S*)?$`)
