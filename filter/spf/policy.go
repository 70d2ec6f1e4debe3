package spf

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/mail"
)

// config is the filter's own configuration. Its zero value is the default: everything is scored and nothing more,
// since forwarded mail fails SPF though nobody did wrong (RFC 7208 10.3, appendix D).
type config struct {
	Fail        response `yaml:"fail"`
	SoftFail    mild     `yaml:"softfail"`
	PermError   response `yaml:"permerror"`
	TempError   patience `yaml:"temperror"`
	HeloFail    response `yaml:"helo_fail"`
	ReceivedSPF bool     `yaml:"received_spf"`
}

// of gives what the configuration asks for a result of the identity that stands for the message.
func (c config) of(r auth.Result) response {
	switch r {
	case auth.Fail:
		return c.Fail
	case auth.SoftFail:
		return response(c.SoftFail)
	case auth.PermError:
		return c.PermError
	case auth.TempError:
		return response(c.TempError)
	}
	return response(filter.Continue)
}

// response is what is proposed beside the score; filter.Continue is nothing.
type response filter.Action

// UnmarshalYAML reads "score", "tag", "quarantine" or "reject".
func (r *response) UnmarshalYAML(unmarshal func(any) error) error {
	return readAction((*filter.Action)(r), unmarshal, filter.Tag, filter.Quarantine, filter.Reject)
}

// mild is a response that never refuses. RFC 7208 8.5: a softfail alone is no reason to reject.
type mild filter.Action

// UnmarshalYAML reads "score", "tag" or "quarantine".
func (m *mild) UnmarshalYAML(unmarshal func(any) error) error {
	return readAction((*filter.Action)(m), unmarshal, filter.Tag, filter.Quarantine)
}

// patience is what becomes of a message that could not be checked for now.
type patience filter.Action

// UnmarshalYAML reads "score" or "defer".
func (p *patience) UnmarshalYAML(unmarshal func(any) error) error {
	return readAction((*filter.Action)(p), unmarshal, filter.Defer)
}

func readAction(into *filter.Action, unmarshal func(any) error, others ...filter.Action) error {
	var s string
	if err := unmarshal(&s); err != nil {
		return err
	}
	allowed := []string{"score"}
	for _, a := range others {
		allowed = append(allowed, a.String())
	}
	i := slices.Index(allowed, s)
	switch {
	case i < 0:
		return fmt.Errorf("spf: %q is unknown; allowed: %s", s, strings.Join(allowed, ", "))
	case i == 0:
		*into = filter.Continue
	default:
		*into = others[i-1]
	}
	return nil
}

// propose adds what the configuration asks for, where it is more than what is proposed already. It is held until
// RCPT: only there is it known whether the recipient takes everything.
func (c *check) propose(result *filter.Result, what response, r auth.SPFResult, client netip.Addr) {
	action := filter.Action(what)
	if action <= result.Propose {
		return
	}
	result.Propose, result.Hold, result.Reply = action, true, nil
	if action == filter.Defer || action == filter.Reject {
		reply := reply(r, client)
		result.Reply = &reply
	}
}

// reply words a refusal, with the codes of RFC 7372 3.2.
func reply(r auth.SPFResult, client netip.Addr) mail.Reply {
	domain := printable(clipTo(r.Domain, nameLimit))
	identity := "MAIL FROM"
	if r.Identity == "helo" {
		identity = "HELO"
	}
	switch r.Result {
	case auth.TempError:
		return mail.NewReply(451, 4, 7, 24, fmt.Sprintf("SPF %s check of %s is not possible for now: %s", identity, domain, printable(r.Reason)))
	case auth.PermError:
		return mail.NewReply(550, 5, 7, 24, fmt.Sprintf("SPF %s check of %s is not possible: %s", identity, domain, printable(r.Reason)))
	}
	text := fmt.Sprintf("SPF %s check failed: %s says that %s may not send for it", identity, domain, client)
	if r.Explanation != "" {
		// RFC 7208 6.2: it SHOULD be clear that these are the words of others.
		text += fmt.Sprintf("\nThe domain %s explains: %s", domain, r.Explanation)
	}
	return mail.NewReply(550, 5, 7, 23, text)
}
