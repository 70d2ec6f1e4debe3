package eval

import (
	"bytes"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"

	"github.com/postern-mail/postern/mail"
)

// The functions whose names begin with postern_ are our own: SpamAssassin has none of them. They serve our default rules,
// and whoever wants to write rules of that kind. Their settings protect nobody until a site names whom:
//
//	postern_domains example.org example.com           domains of this site
//	postern_protected bank.example partner.example    domains of others that its users trust
//	postern_executive Jane Doe <jane@example.org>     people whom others pretend to be, with their addresses
var _ = keys("postern_domains", "postern_protected", "postern_executive")

func init() { tables = append(tables, posternSender, posternBrands, posternText, posternFiles) }

// Bounds of what is looked at in one message.
const (
	maxLinks      = 500
	maxRecipients = 20
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
	links               []webLink
	list                bool // by way of a list, or it says so
}

// webLink is a link to the web.
type webLink struct {
	host, org, url string
	anchors        []string // the texts of links to it
}

// claims reads them once for each message.
func (m *Mail) claims() *claims {
	return mail.Memo(m.Text.Content(), "eval: claims", func() *claims { return readClaims(m) })
}

func readClaims(m *Mail) *claims {
	h := m.Text.Content().Header()
	c := &claims{rawSubject: h.Get("Subject")}
	c.subject = mail.DecodeWords(c.rawSubject)
	if all := mail.ParseMailboxes(h.Get("From")); len(all) > 0 {
		box := all[0]
		c.name, c.address = atMostOctets(strings.TrimSpace(box.Name), maxPeopleName), strings.ToLower(box.Address)
		c.host, c.org = hostAndOrg(box.Domain())
	}
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
	for _, box := range append(mail.ParseMailboxes(h.Get("To")), mail.ParseMailboxes(h.Get("Cc"))...) {
		if box.Address != "" && len(c.to) < maxRecipients {
			c.to = append(c.to, strings.ToLower(box.Address))
		}
	}
	c.list = h.Count("List-Id") > 0 && (h.Count("List-Post") > 0 || strings.EqualFold(h.Get("Precedence"), "list"))
	c.links = readLinks(m)
	return c
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

func orgOf(host string) string {
	if org, err := publicsuffix.EffectiveTLDPlusOne(host); err == nil {
		return org
	}
	return host
}

// label gives the part of a registered domain that its owner has chosen.
func label(org string) string {
	l, _, _ := strings.Cut(org, ".")
	return l
}

// Hosts that pages name for what they are drawn with: they say nothing about where a reader is to go.
var furniture = regexp.MustCompile(`(?:^|\.)(?:w3\.org|fonts\.(?:googleapis|gstatic)\.com|gstatic\.com|schemas\.microsoft\.com|schema\.org|googleapis\.com|jquery\.com|bootstrapcdn\.com|purl\.org)$`)

func readLinks(m *Mail) (all []webLink) {
	for _, u := range m.Text.URIs() {
		if len(all) == maxLinks {
			break
		}
		raw := strings.ToLower(atMostOctets(u.Raw, 2000))
		if strings.HasPrefix(raw, "mailto:") || u.Host == "" || len(u.Variants) == 0 || furniture.MatchString(u.Host) {
			continue
		}
		if host, org := hostAndOrg(u.Host); host != "" {
			all = append(all, webLink{host, org, raw, u.Anchors})
		}
	}
	return all
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
	if m := shownAddress.FindStringSubmatch(text); m != nil {
		if u, err := url.Parse("http://" + m[1]); err == nil {
			host, _ := hostAndOrg(u.Hostname())
			return host
		}
	}
	return ""
}

var shownAddress = regexp.MustCompile(`(?i)^(?:https?://|(?:www\.))?((?:[a-z0-9-]{1,63}\.)+[a-z]{2,12})(?:[/:?#]\S*)?$`)

// visible gives the rendered text without the subject, as one.
func (m *Mail) visible() []byte {
	return mail.Memo(m.Text.Content(), "eval: visible", func() []byte {
		body := m.Text.Body()
		if len(body) < 2 {
			return nil
		}
		return bytes.Join(body[1:], nil)
	})
}
