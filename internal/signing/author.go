package signing

import (
	"fmt"
	"slices"
	"strings"

	"github.com/postern-mail/postern/mail"
)

// author gives the domain of the one address in the one From field, or says why there is no such thing. It is
// that domain's word that a signature gives (RFC 9989 5.3.1: alignment is with the domain in From).
func author(h *mail.Header) (domain, why string) {
	from := h.All("From")
	switch {
	case len(from) == 0:
		return "", "no From field"
	case len(from) > 1:
		return "", fmt.Sprintf("%d From fields", len(from))
	}
	boxes := mail.ParseMailboxes(from[0].Body())
	if len(boxes) != 1 {
		return "", fmt.Sprintf("%d addresses in From", len(boxes))
	}
	address := boxes[0].Address
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return "", "no address in From"
	}
	d, err := mail.Domain(strings.Trim(address[at+1:], " \t"))
	if err != nil {
		return "", "no domain in From"
	}
	return d, ""
}

// keysFor gives the keys that sign for a domain: all of its own, else all of the nearest domain above that
// has keys for its subdomains.
func keysFor(keys []Key, domain string) []Key {
	for name, below := domain, false; name != ""; below = true {
		var all []Key
		for _, k := range keys {
			if k.Domain == name && (k.Subdomains || !below) {
				all = append(all, k)
			}
		}
		if len(all) > 0 {
			return all
		}
		_, name, _ = strings.Cut(name, ".")
	}
	return nil
}

// unreadable says what about a header keeps verifiers from reading it all alike, "" for nothing: a signature on
// such a message would be good for some and bad for others.
func unreadable(h *mail.Header) string {
	if i := slices.IndexFunc(h.Fields(), func(f mail.Field) bool { return f.Name == "" }); i >= 0 {
		return "a line in the header that is no field"
	}
	return ""
}
