package mail

// Address is a mailbox in the form it has on the wire (RFC 5321 4.1.2): a quoted local part stays quoted.
// The domain is in lower case and, where it is a domain name, as A-labels; an address literal keeps its
// brackets. The zero Address is the null reverse-path. Addresses are comparable; two that name the same
// mailbox may differ in the case and the quoting of the local part, see Mailbox.
type Address struct {
	local  string
	domain string // "" only in the zero Address and in the domainless <postmaster>
}
