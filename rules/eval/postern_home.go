package eval

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/rules/text"
)

var posternHome = []Function{{"postern_at_home", compileAtHome}}

// compileAtHome finds that the author's organisation is proven, and that nothing leads a reader elsewhere: neither links, of which there may
// be none, nor addresses for replies, nor those in the text. With "mailer" they may also lead to an organisation of which it is proven that it
// has sent the message, as those do that send newsletters for others. What was not looked at to its end is not known to stay at home.
func compileAtHome(_ *Settings, args []string) (Check, error) {
	const name = "postern_at_home"
	if len(args) > 1 || len(args) == 1 && args[0] != "mailer" {
		return nil, fmt.Errorf("eval: %s may have mailer, not %q", name, args)
	}
	return func(m *Mail) (int, string) {
		c := m.claims()
		if !c.proven {
			return 0, ""
		}
		h := household{m: m, org: c.org, known: map[string]bool{}, mailer: len(args) == 1}
		return yes(h.repliesStay() && h.linksStay(), c.org)
	}, nil
}

// household tells whether what a message leads to is the author's.
type household struct {
	m      *Mail
	org    string // the author's
	mailer bool   // or of who is proven to have sent the message
	known  map[string]bool
}

// owns reports whether a domain is at home. What is no domain is not.
func (h *household) owns(domain string) bool {
	at, ok := h.known[domain]
	if !ok {
		_, org := hostAndOrg(domain)
		at = org != "" && (org == h.org || h.mailer && h.m.sentBy(org))
		h.known[domain] = at
	}
	return at
}

// repliesStay reports whether all to whom answers may go are at home: to the authors, or to whom the fields for replies name.
func (h *household) repliesStay() bool {
	header := h.m.Text.Content().Header()
	for _, name := range [...]string{"From", "Reply-To", "Mail-Reply-To", "Mail-Followup-To"} {
		for _, f := range header.All(name) {
			body := strings.TrimSpace(f.Body())
			all := mail.ParseMailboxes(body)
			if name == "From" { // a comma in a name without quotes makes names of nobody; see author
				all = slices.DeleteFunc(all, func(b mail.Mailbox) bool { return !strings.Contains(b.Address, "@") })
			}
			if len(all) == 0 && body != "" || slices.ContainsFunc(all, func(b mail.Mailbox) bool { return !h.owns(b.Domain()) }) {
				return false
			}
		}
	}
	return !header.Truncated()
}

// linksStay reports whether all links are at home that a reader may follow, and all addresses of mail.
func (h *household) linksStay() bool {
	links := h.m.Text.Links()
	h.m.claims().hosts() // which tells where there are more of them than are looked at
	if h.m.Text.Cut()&(text.CutLinks|text.CutBody|text.CutParts) != 0 {
		return false
	}
	for i := range links {
		u := &links[i]
		if len(u.Variants) == 0 || !u.Followed() && !u.Is(written) {
			continue
		}
		if isMailto(u.Raw) {
			if !h.lettersStay(u.Raw) {
				return false
			}
			continue
		}
		if len(u.Hosts) == 0 && !leadsNowhere.MatchString(u.Raw) {
			return false
		}
		for k := range u.Hosts {
			if host := u.Hosts[k].Name; !h.owns(host) && !withinAny(host, furniture) {
				return false
			}
		}
	}
	return true
}

// leadsNowhere are links that stay in the message, or are numbers of telephones, which a text has, too.
var leadsNowhere = regexp.MustCompile(`^(?i:#|(?:cid|mid|tel):)`)

// lettersStay reports whether a letter to a mailto: (RFC 6068) stays at home. Recipients of the message may be named, too: a mailbox is told of
// that is full.
func (h *household) lettersStay(uri string) bool {
	uri, err := url.PathUnescape(uri[len("mailto:"):])
	if err != nil {
		return false
	}
	to, _, _ := strings.Cut(uri, "?")
	all := addressWritten.FindAllStringSubmatch(uri, -1)
	if strings.Count(uri, "@") != len(all) || len(all) == 0 && to != "" {
		return false
	}
	for _, a := range all {
		if !h.owns(a[1]) && !h.receives(a[0]) {
			return false
		}
	}
	return true
}

// addressWritten is an address, and of it the domain.
var addressWritten = regexp.MustCompile(`[^\s<>()\[\],;:?&="'/@]+@([^\s<>()\[\],;:?&="'/@]+)`)

// receives reports whether the envelope names a recipient.
func (h *household) receives(address string) bool {
	return slices.ContainsFunc(h.m.In.Transaction.Recipients, func(r mail.Address) bool { return strings.EqualFold(r.Mailbox(), address) })
}
