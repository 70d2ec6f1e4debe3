package app

import (
	"context"
	"slices"
	"strings"

	"github.com/postern-mail/postern/internal/control"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/upstream/queue"
)

// QueueFlags say which messages of the queue are meant; nil is no flag.
type QueueFlags struct{ From, To, Upstream, State *string }

// filter gives the filter that flags mean. A flag that says nothing, or what can mean nothing, is refused: a script whose variable is
// empty must not work on everything, and one with a slip not look as if nothing were there.
func (f QueueFlags) filter() (queue.Filter, error) {
	var q queue.Filter
	for _, flag := range []struct {
		name  string
		value *string
		to    *string
		check func(string) string
	}{
		{"--from", f.From, &q.From, func(s string) string {
			if s == "<>" {
				return ""
			}
			return notAnAddress(s)
		}},
		{"--to", f.To, &q.To, notAnAddress},
		{"--upstream", f.Upstream, &q.Upstream, func(string) string { return "" }},
		{"--state", f.State, &q.State, func(s string) string {
			if slices.Contains(queue.States(), s) {
				return ""
			}
			return "is none of " + strings.Join(queue.States(), ", ")
		}},
	} {
		if flag.value == nil {
			continue
		}
		if *flag.value == "" {
			return q, exit(ExitUsage, "%s is empty: leave it out to mean all", flag.name)
		}
		if fault := flag.check(*flag.value); fault != "" {
			return q, exit(ExitUsage, "%s %s: %s", flag.name, visible(*flag.value), fault)
		}
		*flag.to = *flag.value
	}
	return q, nil
}

// notAnAddress says what is wrong with an address, or an @ and a domain; "" for nothing.
func notAnAddress(s string) string {
	whole := s
	if strings.HasPrefix(s, "@") {
		whole = "x" + s
	}
	if _, err := mail.ParseAddress(whole); err != nil || strings.HasPrefix(s, "*@") {
		return "is neither an address, such as ann@example.org, nor a domain, such as @example.org"
	}
	return ""
}

// knowsUpstream gives an error for a name that neither the configuration nor the queue has.
func knowsUpstream(ctx context.Context, configured []string, q operator, name string) error {
	if name == "" || slices.Contains(configured, name) {
		return nil
	}
	found := false
	err := q.list(ctx, queue.Filter{Upstream: name}, "", 1, func(queue.Listed) error {
		found = true
		return nil
	})
	if err != nil || found {
		return err
	}
	return control.Errorf(control.Usage, "--upstream %s: neither the configuration nor the queue has it; there are: %s", visible(name), strings.Join(configured, ", "))
}
