package eval

import (
	"regexp"
	"strings"
)

// relation is what a sender is to a brand.
type relation uint8

const (
	foreign      relation = iota
	perhapsHouse          // its domain is named as those of houses that share the brand's name are, and nothing proves who sends
	owner                 // the brand itself, or such a house
)

// relation gives what the author of a message is to a brand.
func (c *claims) relation(b *brand) relation {
	switch {
	case b.owns(c.host, c.org), c.proven && b.house(c.org, true):
		return owner
	case b.house(c.org, false):
		return perhapsHouse
	}
	return foreign
}

// houseNames are how the domains of the houses begin that share a name.
type houseNames struct {
	long  string // may stand behind a hyphen, too
	short string // says little: anybody's domain may begin so
}

// houses tells of names that many houses share, each with a domain of its own.
var houses = map[string]houseNames{
	"sparkasse":      {"sparkasse kreissparkasse stadtsparkasse volksbank vrbank vr-bank raiffeisen raiba voba spk- kspk-", "ksk ssk vr- vb- rb- rlb-"},
	"créditagricole": {"creditagricole credit-agricole", "ca-"},
}

// houseCountries are the top-level domains of such houses.
var houseCountries = map[string]bool{"de": true, "at": true, "ch": true, "li": true, "lu": true, "it": true, "fr": true}

// safetyWords are in the names of domains that were made to ask for what opens an account. A house's name is that of its place.
var safetyWords = regexp.MustCompile(`push|log-?in|sign-?in|service|support|kunde|client|sicher|secur|schutz|aktual|update|online|banking|portal|portail|espace|konto|account|` +
	`compte|verif|legitim|identi|bestaet|bestat|freigabe|karte|daten|hilfe|warnung|alert|connexion|phishing|(?:^|-|chip|photo|sms|app)tan(?:$|-)|(?:^|-)(?:s-?id|app|info|pay|web|id)(?:$|-)`)

// house reports whether a domain is named as those of houses that share the brand's name are; with short, the beginnings that say
// little count.
func (b *brand) house(org string, short bool) bool {
	first, _, _ := strings.Cut(b.names, " ")
	h, ok := houses[first]
	label, top, _ := strings.Cut(org, ".")
	if !ok || !houseCountries[top] || safetyWords.MatchString(label) {
		return false
	}
	for m := range strings.FieldsSeq(h.long) {
		if strings.HasPrefix(label, m) || strings.Contains(label, "-"+m) {
			return true
		}
	}
	if !short {
		return false
	}
	for m := range strings.FieldsSeq(h.short) {
		if strings.HasPrefix(label, m) {
			return true
		}
	}
	return false
}
