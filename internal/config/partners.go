package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/postern-mail/postern/internal/users"
)

// Partner is whose mail must come within TLS: that of a domain, or that of a network.
type Partner struct {
	Domain      string       `yaml:"domain"`      // of the reverse-path: A-labels, lower case, or "*.domain"; "": by the network
	Network     netip.Prefix `yaml:"network"`     // masked, unmapped
	Certificate string       `yaml:"certificate"` // that the client must show, as users.ParseCertificate reads it; "": any, or none
}

// SecureDomain is whose mail leaves within TLS only.
type SecureDomain struct {
	Domain string `yaml:"domain"` // of the recipient: A-labels, lower case, or "*.domain"
	Verify bool   `yaml:"verify"` // the server's certificate must be good for its name, too
}

// secureDomains checks whose mail leaves within TLS only, and normalises it.
func (k *checker) secureDomains() {
	all := k.c.RequireTLSTo
	for i := range all {
		path := fmt.Sprintf("require_tls_to[%d]", i)
		if all[i].Domain == "" {
			k.fail(path, "must name a domain, as in partner.example or {domain: partner.example, verify: true}")
			continue
		}
		below, wild := strings.CutPrefix(all[i].Domain, "*.")
		d, err := domain(below)
		if err != nil {
			k.fail(path+".domain", `must be a domain or "*.domain", and is %s`, show(all[i].Domain))
			continue
		}
		if wild {
			d = "*." + d
		}
		if all[i].Domain = d; slices.ContainsFunc(all[:i], func(o SecureDomain) bool { return o.Domain == d }) {
			k.fail(path, "an entry before has this already")
		}
	}
}

// verifiesSome reports whether a server's certificate must be good for mail to some domain, whatever an upstream's tls says.
func (c *Config) verifiesSome() bool {
	return slices.ContainsFunc(c.RequireTLSTo, func(d SecureDomain) bool { return d.Verify })
}

// partners checks whose mail must come within TLS, and normalises it.
func (k *checker) partners() {
	c := k.c
	var secure, asks bool
	for i := range c.Listeners {
		t := c.Listeners[i].TLS
		secure = secure || t != nil
		asks = asks || t != nil && t.ClientCA != ""
	}
	for i := range c.RequireTLSFrom {
		p := &c.RequireTLSFrom[i]
		path := fmt.Sprintf("require_tls_from[%d]", i)
		if n, _, ok := locate(c.root, path+".network"); ok && k.spoilt(n) {
			continue
		}
		switch {
		case (p.Domain == "") == !p.Network.IsValid():
			k.failAllowed(path, []string{"domain", "network"}, "must name a domain or a network, as in example.org or {network: 192.0.2.0/24}")
			continue
		case !secure:
			k.fail(path, "no listener has tls: this mail could never come")
			continue
		}
		if p.Domain != "" {
			below, wild := strings.CutPrefix(p.Domain, "*.")
			d, err := domain(below)
			if err != nil {
				k.fail(path+".domain", `must be a domain or "*.domain", and is %s`, show(p.Domain))
				continue
			}
			if p.Domain = d; wild {
				p.Domain = "*." + d
			}
		}
		if slices.ContainsFunc(c.RequireTLSFrom[:i], func(o Partner) bool { return o.Domain == p.Domain && o.Network == p.Network }) {
			k.fail(path, "an entry before has this already")
		}
		if p.Certificate == "" {
			continue
		}
		cert, err := users.ParseCertificate(p.Certificate)
		switch {
		case err != nil:
			k.fail(path+".certificate", "%s", err)
		case cert.Named() && !asks:
			k.fail(path+".certificate", "a name counts in a verified certificate only, and no listener's tls has a client_ca: name the authority there, or a fingerprint here (sha256:, key-sha256:)")
		default:
			p.Certificate = cert.String()
		}
	}
}
