package dmarc

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/mail"
)

// config is what the configuration may say. What is proposed for mail that fails stands in the words of actions.
type config struct {
	Reject            string             `yaml:"reject" allowed:"pass|tag|quarantine|reject"`
	RejectSuspect     string             `yaml:"reject_suspect" allowed:"pass|tag|quarantine|reject"`
	Quarantine        string             `yaml:"quarantine" allowed:"pass|tag|quarantine|reject"`
	QuarantineSuspect string             `yaml:"quarantine_suspect" allowed:"pass|tag|quarantine|reject"`
	List              string             `yaml:"list" allowed:"pass|tag|quarantine|reject"`
	Forwarders        forwarders         `yaml:"forwarders"`
	Overrides         map[pattern]handle `yaml:"overrides"`
}

// defaults follow RFC 9989 7.4: p=reject alone is treated as p=quarantine is. Holding such mail would not do, where the
// client is told of it by a refusal.
func defaults() config {
	return config{
		Reject: "tag", RejectSuspect: reject,
		Quarantine: "tag", QuarantineSuspect: quarantine,
		List: "tag",
	}
}

// handling is what is proposed: at once, and where the score of the other stages reaches the lowest threshold.
type handling struct{ propose, aggravated filter.Action }

type options struct {
	reject, quarantine, list handling
	forwarders               forwarders
	overrides                map[pattern]handle
}

var actions = map[string]filter.Action{
	"pass": filter.Continue, "tag": filter.Tag, quarantine: filter.Quarantine, reject: filter.Reject,
}

func (c config) options() (options, error) {
	o := options{forwarders: c.Forwarders, overrides: c.Overrides}
	var err error
	action := func(key, word string) filter.Action {
		a, ok := actions[word]
		if !ok && err == nil {
			err = filter.At(fmt.Errorf("dmarc: %s: %q is unknown; allowed: pass, tag, quarantine, reject", key, word), key)
		}
		return a
	}
	o.reject = handling{action("reject", c.Reject), action("reject_suspect", c.RejectSuspect)}
	o.quarantine = handling{action("quarantine", c.Quarantine), action("quarantine_suspect", c.QuarantineSuspect)}
	o.list = handling{propose: action("list", c.List)}
	return o, err
}

// forwarder is one whose mail has been forwarded, by somebody's own word: a network, or a domain and those below it.
type forwarder struct {
	network netip.Prefix
	domain  string // "" for a network
}

// UnmarshalText reads a network, an address or a domain.
func (f *forwarder) UnmarshalText(text []byte) error {
	s := string(text)
	if n, err := netip.ParsePrefix(s); err == nil {
		f.network = n.Masked()
		return nil
	}
	if a, err := netip.ParseAddr(s); err == nil {
		a = a.Unmap()
		f.network = netip.PrefixFrom(a, a.BitLen())
		return nil
	}
	d, err := mail.Domain(s)
	if err != nil {
		return fmt.Errorf("dmarc: %q is no forwarder; allowed: 192.0.2.0/24, 192.0.2.1, 2001:db8::/32, example.org", s)
	}
	f.domain = d
	return nil
}

// pattern is a domain, or "." and a domain for those below it.
type pattern string

// UnmarshalText reads a domain or "*.domain".
func (p *pattern) UnmarshalText(text []byte) error {
	name, below := strings.CutPrefix(string(text), "*.")
	d, err := mail.Domain(name)
	if err != nil {
		return fmt.Errorf("dmarc: %q is no domain; allowed: example.org, *.example.org", text)
	}
	if below {
		d = "." + d
	}
	*p = pattern(d)
	return nil
}

// handle is what the configuration has in the place of what a domain asks for.
type handle string

// ignore takes DMARC's consequences from a domain.
const ignore handle = "ignore"

// UnmarshalText reads none, quarantine, reject or ignore.
func (h *handle) UnmarshalText(text []byte) error {
	*h = handle(text)
	if !slices.Contains([]handle{none, quarantine, reject, ignore}, *h) {
		return fmt.Errorf("dmarc: %q is unknown; allowed: none, quarantine, reject, ignore", text)
	}
	return nil
}

// override gives what the configuration says of a domain: by its own name, or by the nearest above it.
func (o options) override(domain string) handle {
	if word, ok := o.overrides[pattern(domain)]; ok {
		return word
	}
	for rest := domain; ; {
		_, above, ok := strings.Cut(rest, ".")
		if !ok {
			return ""
		}
		if word, ok := o.overrides[pattern("."+above)]; ok {
			return word
		}
		rest = above
	}
}
