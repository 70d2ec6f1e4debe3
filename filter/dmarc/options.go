package dmarc

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/mail"
)

// config is what the configuration may say. What is proposed for mail that fails stands in the words of actions.
type config struct {
	Reject            string            `yaml:"reject" allowed:"pass|tag|quarantine|reject"`
	RejectSuspect     string            `yaml:"reject_suspect" allowed:"pass|tag|quarantine|reject"`
	Quarantine        string            `yaml:"quarantine" allowed:"pass|tag|quarantine|reject"`
	QuarantineSuspect string            `yaml:"quarantine_suspect" allowed:"pass|tag|quarantine|reject"`
	List              string            `yaml:"list" allowed:"pass|tag|quarantine|reject"`
	Forwarders        []string          `yaml:"forwarders"`
	Overrides         map[string]string `yaml:"overrides"`
}

// defaults follow RFC 9989 7.4: nobody is refused for p=reject alone.
func defaults() config {
	return config{
		Reject: quarantine, RejectSuspect: reject,
		Quarantine: "tag", QuarantineSuspect: quarantine,
		List: "tag",
	}
}

// handling is what is proposed: at once, and where the score of the other stages reaches the lowest threshold.
type handling struct{ propose, aggravated filter.Action }

type options struct {
	reject, quarantine, list handling
	forwarders               forwarders
	overrides                map[string]string // by domain, or "." and a domain for those below it
}

var actions = map[string]filter.Action{
	"pass": filter.Continue, "tag": filter.Tag, quarantine: filter.Quarantine, reject: filter.Reject,
}

// ignore is the override that takes DMARC's consequences from a domain.
const ignore = "ignore"

func (c config) options() (options, error) {
	o := options{overrides: map[string]string{}}
	var err error
	action := func(key, word string) filter.Action {
		a, ok := actions[word]
		if !ok && err == nil {
			err = fmt.Errorf("dmarc: %s: %q is none of pass, tag, quarantine, reject", key, word)
		}
		return a
	}
	o.reject = handling{action("reject", c.Reject), action("reject_suspect", c.RejectSuspect)}
	o.quarantine = handling{action("quarantine", c.Quarantine), action("quarantine_suspect", c.QuarantineSuspect)}
	o.list = handling{propose: action("list", c.List)}
	if err != nil {
		return options{}, err
	}
	for _, s := range c.Forwarders {
		if err := o.forwarders.add(s); err != nil {
			return options{}, err
		}
	}
	for _, key := range slices.Sorted(maps.Keys(c.Overrides)) {
		word := c.Overrides[key]
		name, below := strings.CutPrefix(key, "*.")
		domain, err := mail.Domain(name)
		if err != nil {
			return options{}, fmt.Errorf("dmarc: overrides: %q is no domain: %w", key, err)
		}
		if !slices.Contains([]string{none, quarantine, reject, ignore}, word) {
			return options{}, fmt.Errorf("dmarc: overrides: %s: %q is none of none, quarantine, reject, ignore", key, word)
		}
		if below {
			domain = "." + domain
		}
		o.overrides[domain] = word
	}
	return o, nil
}

func (f *forwarders) add(s string) error {
	if n, err := netip.ParsePrefix(s); err == nil {
		f.networks = append(f.networks, n.Masked())
		return nil
	}
	if a, err := netip.ParseAddr(s); err == nil {
		a = a.Unmap()
		f.networks = append(f.networks, netip.PrefixFrom(a, a.BitLen()))
		return nil
	}
	d, err := mail.Domain(s)
	if err != nil {
		return fmt.Errorf("dmarc: forwarders: %q is no network, address or domain: %w", s, err)
	}
	f.domains = append(f.domains, d)
	return nil
}

// override gives what the configuration says of a domain: by its own name, or by the nearest above it.
func (o options) override(domain string) string {
	if word, ok := o.overrides[domain]; ok {
		return word
	}
	for rest := domain; ; {
		_, above, ok := strings.Cut(rest, ".")
		if !ok {
			return ""
		}
		if word, ok := o.overrides["."+above]; ok {
			return word
		}
		rest = above
	}
}
