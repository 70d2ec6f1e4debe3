package dmarc

import (
	"slices"
	"strings"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/mail"
)

// listSign gives the sign that a message has come by way of a mailing list, "" for none. Whoever forges mail can put one
// there, so that it only softens what a failure comes to.
func listSign(h *mail.Header) string {
	switch {
	case filled(h, "List-Id"): // RFC 2919
		return "List-Id"
	case filled(h, "X-Google-Group-Id"): // Google Groups
		return "X-Google-Group-Id"
	case filled(h, "X-Mailman-Version") && filled(h, "X-BeenThere"): // Mailman
		return "X-BeenThere"
	case filled(h, "Mailing-List"): // ezmlm, Google Groups, Yahoo
		return "Mailing-List"
	}
	// RFC 2369, where it is not only a newsletter that lets one unsubscribe.
	if precedence := h.Get("Precedence"); strings.EqualFold(precedence, "list") {
		for _, name := range []string{"List-Post", "List-Unsubscribe"} {
			if filled(h, name) {
				return name + " with Precedence: list"
			}
		}
	}
	return ""
}

func filled(h *mail.Header, name string) bool {
	return slices.ContainsFunc(h.Fields(), func(f mail.Field) bool { return f.Is(name) && f.Body() != "" })
}

type forwarders []forwarder

// match names what shows that a forwarder has sent the message, "" for nothing. A domain counts only with proof: the
// pass of SPF or of a signature, or a confirmed name of the client.
func (all forwarders) match(in *filter.Input) string {
	client := in.Session.Client.Addr().Unmap()
	var domains []string
	for _, f := range all {
		switch {
		case f.domain != "":
			domains = append(domains, f.domain)
		case f.network.Contains(client):
			return f.network.String()
		}
	}
	if len(domains) == 0 {
		return ""
	}
	var proven []string
	for _, key := range []filter.Key[auth.SPFResult]{auth.SPF, auth.HeloSPF} {
		if r, ok := key.From(in); ok && r.Result == auth.Pass {
			proven = append(proven, r.Domain)
		}
	}
	if all, ok := auth.DKIM.From(in); ok {
		for _, r := range all {
			if r.Result == auth.Pass {
				proven = append(proven, r.Domain)
			}
		}
	}
	if r, ok := auth.IPRev.From(in); ok && r.Result == auth.Pass {
		proven = append(proven, r.Name)
	}
	for _, p := range proven {
		for _, d := range domains {
			if p, err := mail.Domain(p); err == nil && mail.Within(p, d) {
				return d
			}
		}
	}
	return ""
}
