package text

import "bytes"

// TopLevel gives the top-level domains that m was made with.
func (m *Message) TopLevel() *TLDs {
	if m.opt.TLDs == nil {
		return DefaultTLDs
	}
	return m.opt.TLDs
}

// RegisteredDomain gives the domain that is registered of a host's name.
func (m *Message) RegisteredDomain(host string) string {
	return m.TopLevel().Registered(lowerText(host))
}

// DomainOf gives the host that a URI or, behind "mailto:", an address names, and the domain of it that is registered. ok is
// false where there is none, or none with a top-level domain that there is.
func (m *Message) DomainOf(uri string) (host, domain string, ok bool) {
	return m.TopLevel().HostOf(uri)
}

// IsHostName reports whether a name is one that a host may have: at least two labels of letters, digits and inner hyphens,
// "_" in all but the last two.
func IsHostName(name string) bool { return isHostName(lowerText(name)) }

// maxHostStarts bounds the places of a value at which a host name is looked for.
const maxHostStarts = 2000

// maxHostOctets is how long a name before its top-level domain may be.
const maxHostOctets = 251

// hostIn finds a host name with a known top-level domain in a value: first behind the last "@", then anywhere.
func (m *Message) hostIn(v []byte) []byte {
	v = bytes.TrimSuffix(v, []byte("\n"))
	for at := bytes.LastIndexByte(v, '@'); at >= 0; at = bytes.LastIndexByte(v[:at], '@') {
		if host, _ := m.hostAt(v, at+1); host != nil {
			if IsHostName(string(host)) {
				return host
			}
			break
		}
	}
	tried := 0
	for at := 0; at < len(v) && tried < maxHostStarts; {
		if isSpace(v[at]) {
			at++
			continue
		}
		tried++
		host, end := m.hostAt(v, at)
		switch {
		case host == nil:
			at++
		case IsHostName(string(host)):
			return host
		default:
			at = end
		}
	}
	return nil
}

// hostAt finds the longest text that begins at at, holds no white space and ends in a top-level domain.
func (m *Message) hostAt(v []byte, at int) (host []byte, end int) {
	if at > 0 && isJoint(v[at-1]) {
		return nil, 0
	}
	stop := at
	for stop < len(v) && !isSpace(v[stop]) && stop-at <= maxHostOctets {
		stop++
	}
	for dot := stop - 1; dot > at; dot-- {
		if v[dot] != '.' {
			continue
		}
		end := dot + 1
		for end < len(v) && (isAlnum(v[end]) || v[end] == '-') {
			end++
		}
		if end == dot+1 || end < len(v) && isJoint(v[end]) || !m.TopLevel().isTopOctets(v[dot+1:end]) {
			continue
		}
		return v[at:end:end], end
	}
	return nil, 0
}

func isJoint(c byte) bool { return c == '.' || c == '_' || c == '-' }
