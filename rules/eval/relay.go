package eval

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"

	"github.com/postern-mail/postern/rules/text"
)

var relayFunctions = []Function{
	plain("check_for_numeric_helo", numericHelo),
	plain("check_for_illegal_ip", never2),
	plain("check_all_trusted", func(m *Mail) (int, string) {
		r := m.Text.Relays()
		return yes(len(r.Trusted) > 0 && len(r.Untrusted) == 0 && r.Unparseable == 0, "")
	}),
	plain("check_no_relays", func(m *Mail) (int, string) {
		r := m.Text.Relays()
		return yes(len(r.Trusted) == 0 && len(r.Untrusted) == 0 && r.Unparseable == 0, "")
	}),
	plain("check_relays_unparseable", func(m *Mail) (int, string) { return yes(m.Text.Relays().Unparseable > 0, "") }),
	plain("check_for_sender_no_reverse", func(m *Mail) (int, string) {
		u := m.Text.Relays().Untrusted
		return yes(len(u) > 0 && strings.Contains(u[len(u)-1].RDNS, ".") && !u[len(u)-1].Private, "")
	}),
	{"check_for_from_domain_in_received_headers", compileFromDomain},
	plain("check_for_forged_received_trail", func(m *Mail) (int, string) { return yes(m.forgedPath().names > 1, "") }),
	plain("check_for_forged_received_ip_helo", func(m *Mail) (int, string) { return yes(m.forgedPath().addresses > 0, "") }),
	plain("helo_ip_mismatch", heloMismatch),
	plain("check_for_no_rdns_dotcom_helo", dotcomHelo),
}

// publicIPv4 reads a plain IPv4 address that is not private.
func publicIPv4(s string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(s)
	return a, err == nil && a.Is4() && !text.IsPrivate(a)
}

// numericHelo finds a host that greets by a bare address.
func numericHelo(m *Mail) (int, string) {
	for _, r := range m.Text.Relays().Untrusted {
		n := strings.IndexFunc(r.Helo, func(c rune) bool { return c != '.' && (c < '0' || c > '9') })
		if n < 0 {
			n = len(r.Helo)
		}
		a, err := netip.ParseAddr(r.Helo[:n])
		if err != nil || n < len(r.Helo) && r.Helo[n] > ' ' && strings.IndexByte(",;[()<>", r.Helo[n]) < 0 {
			continue
		}
		return yes(!text.IsPrivate(a), r.Helo)
	}
	return 0, ""
}

// heloMismatch finds a host that greets by an address of another network.
func heloMismatch(m *Mail) (int, string) {
	for _, r := range m.Text.Relays().Untrusted {
		helo, ok := publicIPv4(r.Helo)
		if !ok {
			continue
		}
		ip, ok := publicIPv4(r.IP)
		if !ok {
			continue
		}
		if net, _ := helo.Prefix(24); !net.Contains(ip) {
			return 1, r.Helo + " " + r.IP
		}
	}
	return 0, ""
}

// compileFromDomain makes the check of whether mail of a domain came from one of its hosts to one of its hosts.
func compileFromDomain(_ *Settings, args []string) (Check, error) {
	const name = "check_for_from_domain_in_received_headers"
	if len(args) != 2 {
		return nil, fmt.Errorf("eval: %s needs a domain and true or false, not %q", name, args)
	}
	domain := args[0]
	from := regexp.MustCompile(`(?i)\b` + regexp.QuoteMeta(domain))
	host, err := regexp.Compile(`\b` + domain + `$`) // the name is a pattern here, in SpamAssassin too
	if err != nil {
		return nil, fmt.Errorf("eval: %s: %w", name, err)
	}
	desired := args[1] == "true"
	return func(m *Mail) (int, string) {
		if !from.Match(m.get(selFromAddr)) {
			return 0, ""
		}
		found := false
		r := m.Text.Relays()
		for _, all := range [][]text.Relay{r.Trusted, r.Untrusted} {
			for i := range all {
				found = found || host.MatchString(all[i].RDNS) && host.MatchString(all[i].By)
			}
		}
		return yes(found == desired, "")
	}, nil
}

var dotcom = regexp.MustCompile(`(?i)(?:\.|^)(?:lycos\.com|lycos\.co\.uk|hotmail\.com|localhost\.com|excite\.com|caramail\.com|cs\.com|aol\.com|msn\.com|yahoo\.com|drizzle\.com)$`)

// dotcomHelo finds a host without a name that greets as one of the big services. The oldest one tells.
func dotcomHelo(m *Mail) (int, string) {
	found := false
	for _, r := range m.Text.Relays().Untrusted {
		if !r.Private {
			found = r.NoRDNS && dotcom.MatchString(r.Helo)
		}
	}
	return yes(found, "")
}

// mismatches counts where the hosts on the way contradict each other.
type mismatches struct{ names, addresses int }

var hostPath = regexp.MustCompile(`^\w+(?:[\w.-]+\.)+\w+$`)

func (m *Mail) forgedPath() mismatches { return m.heads.forgedPath.get(m.comparePath) }

func (m *Mail) comparePath() (n mismatches) {
	relays := m.Text.Relays().Untrusted
	from := make([]string, len(relays))
	for i := range relays {
		from[i] = hostDomain(strings.ToLower(relays[i].RDNS))
	}
	for i := range relays {
		r := &relays[i]
		by := hostDomain(strings.ToLower(r.By))
		if !hostPath.MatchString(by) {
			continue
		}
		if (from[i] == "localhost" || from[i] == "localhost.localdomain") && r.IP == "127.0.0.1" {
			from[i] = ""
		}
		helo := hostDomain(strings.ToLower(r.Helo))
		if h, ok := publicIPv4(helo); ok {
			if ip, err := netip.ParseAddr(r.IP); err == nil && ip.Is4() {
				if net, _ := h.Prefix(16); !net.Contains(ip) {
					n.addresses++
				}
			}
		}
		if i == 0 {
			continue
		}
		if prev := from[i-1]; hostPath.MatchString(prev) && by != prev && (by != "msn.com" || prev != "hotmail.com") {
			n.names++
		}
	}
	return n
}

// hostDomain gives the last two or three labels of a host's name, which is its domain more often than not.
func hostDomain(host string) string {
	if strings.IndexFunc(host, func(c rune) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }) < 0 {
		return host
	}
	labels := strings.Split(strings.TrimRight(host, "."), ".")
	last := labels[len(labels)-1]
	switch n := len(labels); {
	case n > 1 && (len(last) >= 3 || last == "ie" || last == "fr" || last == "de"):
		return strings.Join(labels[n-2:], ".")
	case n > 2:
		return strings.Join(labels[n-3:], ".")
	}
	return host
}
