package signing

import (
	"slices"
	"strings"

	"github.com/postern-mail/postern/mail"
)

// author gives the domain that every reader takes for the author's, or says why there is no such thing. It is for
// that domain that a signature speaks: DMARC aligns with it, the Author Domain (RFC 9989 3.2.2).
func author(h *mail.Header) (domain, why string) {
	a := mail.ReadAuthors(h)
	switch domain = a.Domain(); {
	case domain != "":
		return domain, ""
	case a.Flaw == "":
		return "", "no one author's domain"
	}
	return "", "no one author's domain (" + string(a.Flaw) + ")"
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
