package text

import "strings"

// Traits are what is odd about a URI. SpamAssassin has no word for them; they are for rules of our own.
type Traits uint16

const (
	NumericHost  Traits = 1 << iota // the host is an IP address, in whatever form it is written
	HasUser                         // something stands before an "@" in the place of the host
	Punycode                        // the host's name has an A-label (RFC 5890 2.3.2.1)
	OddPort                         // a port that is not the scheme's own
	EscapedHost                     // the host's name is written with escapes
	EmbeddedURI                     // another URI of the web stands in the path or the query
	Credentialed                    // an address stands behind the host, as where the one who reads is named to who is called

	// How a link of HTML is written, that browsers read as others do not.
	OddSlashes   // not two slashes before the host, or backslashes
	BrokenScheme // the scheme is broken up by tabs or line ends
	FoldedHost   // letters of the host's name are of those that stand for others of ASCII
	Unread       // only browsers take it for a link: no other reading of the message has it
)

// Traits tells what is odd about the URI.
func (u *URI) Traits() (t Traits) {
	t = u.odd
	for _, v := range u.Variants {
		t |= traitsOf(v)
	}
	for _, h := range u.Hosts {
		if isAddress(h.Name) {
			t |= NumericHost
		}
		if strings.HasPrefix(h.Name, "xn--") || strings.Contains(h.Name, ".xn--") {
			t |= Punycode
		}
	}
	return t
}

func traitsOf(uri string) (t Traits) {
	n := schemeLength(uri)
	if n == 0 || !strings.HasPrefix(uri[n:], "//") {
		return 0
	}
	place, rest := uri[n+2:], ""
	if k := strings.IndexAny(place, "/?#"); k >= 0 {
		place, rest = place[:k], place[k:]
	}
	if strings.Contains(place, "@") {
		t |= HasUser
	}
	if strings.Contains(place, "%") {
		t |= EscapedHost
	}
	if _, port, ok := strings.Cut(place[strings.LastIndexByte(place, '@')+1:], ":"); ok && port != "" && port != "80" && port != "443" {
		t |= OddPort
	}
	low := lowerText(rest)
	if strings.Contains(low, "http:") || strings.Contains(low, "https:") || strings.Contains(low, "http%3a") || strings.Contains(low, "https%3a") {
		t |= EmbeddedURI
	}
	if strings.Contains(low, "@") || strings.Contains(low, "%40") {
		t |= Credentialed
	}
	return t
}
