// Package arc validates and makes chains of the Authenticated Received Chain protocol (RFC 8617): which sets a header has,
// whether the chain holds, what its sealers say they have seen, and a new set. The cryptography is of package dkim.
// It is no filter and trusts nobody: that a chain passes says who sealed it, not that any of them is honest.
//
//   - Validate judges the chain of a message.
//   - ParseAuthResults reads an ARC-Authentication-Results field.
//   - Sealer makes an ARC Set.
package arc
