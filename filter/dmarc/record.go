package dmarc

import (
	"net/url"
	"slices"
	"strings"

	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/mail"
)

// The handling that a domain may ask for (RFC 9989 4.7, tag p).
const (
	none       = "none"
	quarantine = "quarantine"
	reject     = "reject"
)

// record is a DMARC Policy Record (RFC 9989 4.7). Tags that are absent or malformed have their defaults.
type record struct {
	text        string // as published
	p, sp, np   string // none, quarantine, reject; "" for absent
	adkim, aspf string // "r" or "s"
	psd         byte   // 'y', 'n' or 'u'
	test        bool   // t=y
	fo, rua     string // as published
	ruf         string
	unusable    string // why no policy can be read out of it, "" where one can
}

// maxTags is how many tags of a record are read: ten are defined.
const maxTags = 100

// parseRecord reads a TXT record, and reports whether it is a DMARC Policy Record at all: one that begins with the
// version. Whatever else is wrong with it does not make it another's record.
func parseRecord(text string) (*record, bool) {
	first, rest, _ := strings.Cut(text, ";")
	// RFC 9989 4.8: dmarc-version = "v" equals %s"DMARC1", and blanks before the next semicolon. 4.7: v MUST be the
	// first tag, its value is case-sensitive, and the record MUST be ignored otherwise.
	name, value, ok := strings.Cut(first, "=")
	if !ok || !strings.EqualFold(trimWSP(name), "v") || strings.TrimLeft(name, " \t") != name || trimWSP(value) != "DMARC1" {
		return nil, false
	}
	r := &record{text: text, adkim: "r", aspf: "r", psd: 'u', fo: "0"}
	r.tags(rest)
	return r, true
}

// tags reads what follows the version. RFC 9989 4.8: unknown tags MUST be ignored, and syntax errors discarded in favour
// of defaults. RFC 6376 3.2, whose syntax this is, does not let a tag stand twice: the second one is the error here.
func (r *record) tags(rest string) {
	seen := map[string]bool{}
	badPolicy := ""
	for tag := range strings.SplitSeq(rest, ";") {
		name, value, ok := strings.Cut(tag, "=")
		name, value = strings.ToLower(trimWSP(name)), trimWSP(value)
		if !ok || seen[name] || len(seen) == maxTags {
			continue
		}
		seen[name] = true
		if !isValue(value) {
			value = "" // which no tag takes
		}
		switch name {
		case "p":
			r.p = request(value)
		case "sp":
			if r.sp = request(value); r.sp == "" {
				badPolicy = name
			}
		case "np":
			if r.np = request(value); r.np == "" {
				badPolicy = name
			}
		case "rua":
			r.rua = value
		case "ruf":
			r.ruf = value
		default:
			r.option(name, value)
		}
	}
	r.settle(badPolicy)
}

// option reads the tags of one letter, and fo.
func (r *record) option(name, value string) {
	value = strings.ToLower(value)
	oneOf := func(to *string, values ...string) {
		if slices.Contains(values, value) {
			*to = value
		}
	}
	switch name {
	case "adkim":
		oneOf(&r.adkim, "r", "s")
	case "aspf":
		oneOf(&r.aspf, "r", "s")
	case "psd":
		if value == "y" || value == "n" {
			r.psd = value[0]
		}
	case "t":
		r.test = value == "y"
	case "fo":
		if isFO(value) {
			r.fo = value
		}
	}
}

// settle says what becomes of a record whose policy can't be read. RFC 9989 4.10.1: without a valid p, or with an
// invalid sp or np, it is p=none where it names a valid reporting address, and otherwise the receiver applies no
// DMARC processing to this message.
func (r *record) settle(badPolicy string) {
	if r.ruf == "" {
		r.fo = "0" // RFC 9989 4.7: fo MUST be ignored without ruf
	}
	if r.p != "" && badPolicy == "" {
		return
	}
	if !hasURI(r.rua) {
		r.unusable = "the record has no valid p"
		if badPolicy != "" {
			r.unusable = "the record has an invalid " + badPolicy
		}
	}
	r.p, r.sp, r.np = none, "", ""
}

// policy gives the requested handling for a domain and the tag it stands in. Inherited says that the record is that of
// a domain above it. RFC 9989 4.10.1.
func (r *record) policy(inherited, exists bool) (policy, tag string) {
	switch {
	case inherited && !exists && r.np != "":
		return r.np, "np"
	case inherited && r.sp != "":
		return r.sp, "sp"
	}
	return r.p, "p"
}

// published gives the record for the fact.
func (r *record) published() auth.DMARCRecord {
	return auth.DMARCRecord{P: r.p, SP: r.sp, NP: r.np, FO: r.fo, RUA: r.rua, RUF: r.ruf}
}

func trimWSP(s string) string { return strings.Trim(s, " \t") }

// isValue reports whether s is 1*dmarc-value: printable ASCII but the semicolon, and blanks (RFC 9989 4.8).
func isValue(s string) bool {
	return s != "" && strings.IndexFunc(s, func(c rune) bool { return c < ' ' || c > '~' }) < 0
}

// request reads a dmarc-request; "" for anything else. The words of the ABNF are of any case (RFC 5234 2.3).
func request(s string) string {
	if s = strings.ToLower(s); s == none || s == quarantine || s == reject {
		return s
	}
	return ""
}

// isFO reports whether s is a dmarc-fo: 0, 1, d, s with colons, each once, and not both 0 and 1.
func isFO(s string) bool {
	seen := map[string]bool{}
	for v := range strings.SplitSeq(s, ":") {
		if v = trimWSP(v); seen[v] || len(v) != 1 || !strings.Contains("01ds", v) {
			return false
		}
		seen[v] = true
	}
	return !seen["0"] || !seen["1"]
}

// hasURI reports whether a dmarc-urilist holds a valid URI. RFC 9989 4.8: the size behind an exclamation mark is obsolete.
func hasURI(list string) bool {
	for s := range strings.SplitSeq(list, ",") {
		s, _, _ = strings.Cut(trimWSP(s), "!")
		u, err := url.Parse(s)
		if err != nil || u.Scheme == "" || strings.ContainsAny(s, " \t") {
			continue
		}
		if u.Scheme != "mailto" {
			if u.Host != "" || u.Opaque != "" {
				return true
			}
			continue
		}
		to, err := url.PathUnescape(u.Opaque)
		if err != nil {
			continue
		}
		if _, err := mail.ParseAddress(to); err == nil {
			return true
		}
	}
	return false
}
