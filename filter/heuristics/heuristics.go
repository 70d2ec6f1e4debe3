// Package heuristics looks for marks of careless or forged mail that cost next to nothing to see: the sender's domain
// in the DNS, and the header and structure of the message. It reads no text and learns nothing.
package heuristics

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
)

// Factory makes the filter "heuristics".
var Factory = filter.Factory{Kind: "heuristics", New: open}

// The symbols, by what they speak of.
const (
	senderNXDomain  = "SENDER_DOMAIN_NXDOMAIN"
	nullMX          = "NULL_MX"
	senderTempError = "SENDER_DNS_TEMPERROR"

	missingDate      = "MISSING_DATE"
	invalidDate      = "INVALID_DATE"
	dateInFuture     = "DATE_IN_FUTURE"
	dateInPast       = "DATE_IN_PAST"
	missingMessageID = "MISSING_MESSAGE_ID"
	missingSubject   = "MISSING_SUBJECT"
	subjectAllCaps   = "SUBJECT_ALL_CAPS"
	needlessEncoding = "NEEDLESS_ENCODING"
	noRecipientField = "NO_RECIPIENT_FIELD"
	duplicateField   = "DUPLICATE_FIELD"

	missingFrom        = "MISSING_FROM"
	multipleFrom       = "MULTIPLE_FROM"
	fromNoAddress      = "FROM_NO_ADDRESS"
	fromDisplayAddress = "FROM_DISPLAY_ADDRESS"
	ownDomainUnproven  = "OWN_DOMAIN_UNPROVEN"

	mimeDefect = "MIME_DEFECT"
	htmlOnly   = "HTML_ONLY"
)

var symbols = []filter.Symbol{
	{Name: senderNXDomain, Weight: 4, Description: "the reverse-path's domain does not exist: it has neither MX nor address"},
	{Name: nullMX, Weight: 4, Description: "the reverse-path's domain says that it takes no mail (null MX)"},
	{Name: senderTempError, Weight: 0, Description: "the reverse-path's domain could not be asked for now"},
	{Name: missingDate, Weight: 1, Description: "the message has no Date field"},
	{Name: invalidDate, Weight: 0.6, Description: "the Date field is no date"},
	{Name: dateInFuture, Weight: 1, Description: "the Date field is more than two days ahead"},
	{Name: dateInPast, Weight: 0.5, Description: "the Date field is more than ten days old"},
	{Name: missingMessageID, Weight: 0.8, Description: "the message has no Message-ID field"},
	{Name: missingSubject, Weight: 0.5, Description: "the message has no Subject field, or an empty one"},
	{Name: subjectAllCaps, Weight: 0.8, Description: "the subject is written in capitals"},
	{Name: needlessEncoding, Weight: 0.8, Description: "plain ASCII is hidden in base64 in the Subject or From field"},
	{Name: noRecipientField, Weight: 0.7, Description: "the message has none of the fields To, Cc and Bcc"},
	{Name: duplicateField, Weight: 0.8, Description: "a field that may stand once stands twice"},
	{Name: missingFrom, Weight: 2.5, Description: "the message has no From field"},
	{Name: multipleFrom, Weight: 3.5, Description: "the message has several From fields, of which readers show different ones"},
	{Name: fromNoAddress, Weight: 1.5, Description: "the From field holds no address"},
	{Name: fromDisplayAddress, Weight: 2.5, Description: "the name in the From field shows an address of another domain than the real one"},
	{Name: ownDomainUnproven, Weight: 4, Description: "mail from outside bears a domain of ours without SPF or DKIM to prove it"},
	{Name: mimeDefect, Weight: 0.4, Description: "the MIME structure departs from the RFCs; counts up to five times"},
	{Name: htmlOnly, Weight: 0.3, Description: "the message has an HTML text and no plain one"},
}

// ofRules are the symbols whose marks the default rules look for, too, with weights that were fitted together: they are not
// scored twice.
var ofRules = []string{
	missingDate, invalidDate, missingMessageID, missingSubject, subjectAllCaps, needlessEncoding, noRecipientField, fromNoAddress, fromDisplayAddress,
	htmlOnly,
}

// What is done with a sender whose domain can not be answered.
const (
	senderReject = "reject"
	senderScore  = "score"
	senderOff    = "off"
)

type config struct {
	SenderDomain string   `yaml:"sender_domain"`
	Off          []string `yaml:"off"`
}

func open(env filter.Env, decode func(any) error) (filter.Spec, filter.Filter, error) {
	cfg := config{SenderDomain: senderReject}
	if slices.Contains(env.Kinds, "rules") {
		cfg.Off = slices.Clone(ofRules)
	}
	if err := decode(&cfg); err != nil {
		return filter.Spec{}, nil, err
	}
	if modes := []string{senderReject, senderScore, senderOff}; !slices.Contains(modes, cfg.SenderDomain) {
		return filter.Spec{}, nil, filter.At(fmt.Errorf("heuristics: sender_domain: %q is none of %s", cfg.SenderDomain, strings.Join(modes, ", ")), "sender_domain")
	}
	c := &check{env: env, senderDomain: cfg.SenderDomain, off: map[string]bool{}}
	for i, name := range cfg.Off {
		if !slices.ContainsFunc(symbols, func(s filter.Symbol) bool { return s.Name == name }) {
			return filter.Spec{}, nil, filter.At(fmt.Errorf("heuristics: off: %q is none of %s", name, strings.Join(names(), ", ")), "off", strconv.Itoa(i))
		}
		c.off[name] = true
	}
	spec := filter.Spec{
		Name: env.Name, Phases: filter.In(filter.Mail, filter.Data),
		Wants: []string{string(auth.SPF), string(auth.DKIM)}, Symbols: slices.Clone(symbols),
	}
	if c.senderDomain == senderOff {
		spec.Phases = filter.In(filter.Data)
	}
	return spec, c, nil
}

func names() []string {
	var all []string
	for _, s := range symbols {
		all = append(all, s.Name)
	}
	slices.Sort(all)
	return all
}

type check struct {
	env          filter.Env
	senderDomain string
	off          map[string]bool // symbols that are not reported
}

// Check looks at the sender's domain in the mail phase, and at the message in the data phase.
func (c *check) Check(ctx context.Context, in *filter.Input) (filter.Result, error) {
	if in.Content == nil {
		return c.sender(ctx, in)
	}
	return c.message(in)
}

// ours reports whether a domain is one that the gateway takes mail for.
func (c *check) ours(domain string) bool { return c.env.Ours != nil && c.env.Ours(domain) }
