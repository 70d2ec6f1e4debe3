// Package mail holds what a message is, and nothing of what is thought about it: addresses, envelopes,
// replies, the content as immutable octets, its MIME structure as offsets into them, and edits carried
// out in one pass. It knows no filter, no network and no configuration.
package mail
