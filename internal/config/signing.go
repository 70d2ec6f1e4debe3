package config

import (
	"fmt"
	"strings"
	"time"
)

// Signing says what is signed when it is delivered, and with which keys.
type Signing struct {
	Keys     []SigningKey  `yaml:"keys"`     // for mail of clients that may relay (RFC 6376)
	Seal     *SealingKey   `yaml:"seal"`     // for mail from elsewhere (RFC 8617); nil: none is sealed
	Oversign []string      `yaml:"oversign"` // names of fields that nobody may add to a signed message
	Expire   time.Duration `yaml:"expire"`   // how long signatures are good; 0: for ever
}

// SigningKey is a key that signs for a domain. All keys for a domain sign.
type SigningKey struct {
	Domain     string `yaml:"domain"` // A-labels, lower case
	Selector   string `yaml:"selector"`
	Key        string `yaml:"key"`        // PEM file
	Subdomains bool   `yaml:"subdomains"` // it also signs for all domains below, in its own domain's name
}

// SealingKey is the key of ARC seals.
type SealingKey struct {
	Domain   string `yaml:"domain"` // A-labels, lower case
	Selector string `yaml:"selector"`
	Key      string `yaml:"key"` // PEM file
}

func (s *Signing) defaults() {
	s.Oversign = []string{
		"From", "Reply-To", "To", "Cc", "Subject", "Date", "Message-ID",
		"MIME-Version", "Content-Type", "Content-Transfer-Encoding",
	}
}

func (k *checker) signing() {
	s := k.c.Signing
	if s == nil {
		return
	}
	if len(s.Keys) == 0 && s.Seal == nil {
		k.fail("signing", "names no key: keys: [{domain: example.org, selector: s1, key: FILE}], or seal: {…}")
	}
	taken := map[string]int{}
	for i := range s.Keys {
		x := &s.Keys[i]
		path := fmt.Sprintf("signing.keys[%d]", i)
		if !k.signingKey(path, &x.Domain, &x.Selector, x.Key) {
			continue
		}
		name := x.Selector + "._domainkey." + x.Domain
		if first, ok := taken[name]; ok {
			k.fail(path+".selector", "signing.keys[%d] is the key at %s already", first, name)
			continue
		}
		taken[name] = i
	}
	if x := s.Seal; x != nil {
		k.signingKey("signing.seal", &x.Domain, &x.Selector, x.Key)
	}
	for i, name := range s.Oversign {
		if name == "" || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(":;", r) }) {
			k.fail(fmt.Sprintf("signing.oversign[%d]", i), "must be the name of a field such as Subject, and is %s", show(name))
		}
	}
	if s.Expire > 0 && s.Expire < time.Hour {
		// RFC 5321 4.5.4.1: mail may be days under way, and what is past its time fails.
		k.fail("signing.expire", "must be 1h at least (a few days are best), or 0s for signatures that are good for ever")
	}
}

// signingKey checks what names a key, and puts its domain and selector into their one form.
func (k *checker) signingKey(path string, domainName, selector *string, file string) bool {
	ok := k.require(path, "domain", "domain: example.org")
	ok = k.require(path, "selector", "selector: s1") && ok
	ok = k.require(path, "key", "key: /etc/postern/dkim/example.org.s1.pem") && ok
	if !ok {
		return false
	}
	d, err := domain(*domainName)
	if err != nil {
		k.fail(path+".domain", "must be a domain such as example.org, and is %s", show(*domainName))
		return false
	}
	// RFC 6376 3.1: a selector is one or more labels.
	s, err := domain(*selector + "._domainkey." + d)
	if err != nil {
		k.fail(path+".selector", "must be letters, digits and hyphens, and is %s", show(*selector))
		return false
	}
	if file == "" {
		k.fail(path+".key", "must name a file")
		return false
	}
	*domainName, *selector = d, strings.TrimSuffix(s, "._domainkey."+d)
	return true
}
