// Package pipeline runs configured filters over a session and decides from their reports what becomes
// of a message. It knows no filter, reads no configuration and acts on nothing: Plan.Run says what
// happened, Policy.Decide is a pure function of that, and Stamp says which fields the outcome puts on
// the message.
package pipeline
