package upstream

import "time"

// ExchangeRecipients is how many recipients a Receive connector of Exchange takes in one transaction
// (MaxRecipientsPerMessage). It puts off each further one (452 4.5.3).
const ExchangeRecipients = 200

const (
	// exchangeDelay is longer than Exchange lets clients wait for its reply to a command while it is short of resources: up
	// to 55 s.
	exchangeDelay = time.Minute
	// exchangeTarpit is longer than its reply to a recipient that it does not have takes: 5 s (TarpitInterval).
	exchangeTarpit = 7 * time.Second
)

// ExchangeTimeouts gives the Timeouts for an upstream of so many servers that are Exchange's: it makes whoever names
// mailboxes that it does not have wait, and everybody while it is short of resources.
func ExchangeTimeouts(servers int) Timeouts {
	return Timeouts{Command: exchangeDelay, Ask: exchangeTarpit * time.Duration(min(max(servers, 1), askedSlow))}
}
