package eval

import (
	"regexp"
	"slices"
	"strings"
)

var _ = keys("fns_add_addrlist", "fns_remove_addrlist", "fns_extrachars", "fns_ignore_dkim", "fns_ignore_headers", "fns_check")

var spoofFunctions = []Function{
	{"check_fromname_spoof", func(s *Settings, args []string) (Check, error) {
		level := setting(s, "fns_check", 1)
		if len(args) == 1 && (args[0] == "0" || args[0] == "1" || args[0] == "2") {
			level = int(args[0][0] - '0')
		}
		return spoofing(s, func(f *spoof) bool {
			return f.address && (level == 0 || level == 1 && f.owner || level == 2 && f.domain)
		}), nil
	}},
	spoofFunction("check_fromname_different", func(f *spoof) bool { return f.address }),
	spoofFunction("check_fromname_domain_differ", func(f *spoof) bool { return f.domain }),
	spoofFunction("check_fromname_contains_email", func(f *spoof) bool { return f.contains }),
	spoofFunction("check_fromname_equals_to", func(f *spoof) bool { return f.recipient }),
	spoofFunction("check_fromname_owners_differ", func(f *spoof) bool { return f.owner }),
	spoofFunction("check_fromname_equals_replyto", func(f *spoof) bool { return f.replyTo }),
}

// spoof is how the address that an author has in his name differs from his own.
type spoof struct {
	contains                bool // there is one
	address, domain, owner  bool // it is another one, of another domain, of another owner
	recipient, replyTo      bool // it is that of a recipient, or that answers go to
	named, namedDomain, own string
}

func spoofFunction(name string, is func(*spoof) bool) Function {
	return Function{name, func(s *Settings, args []string) (Check, error) { return spoofing(s, is), atMost(name, args, 0) }}
}

func spoofing(s *Settings, is func(*spoof) bool) Check {
	o := spoofOptionsOf(s)
	return func(m *Mail) (int, string) {
		f := m.heads.spoof.get(func() spoof { return o.compare(m) })
		return yes(is(&f), f.named)
	}
}

// spoofOptions are the settings.
type spoofOptions struct {
	owners  map[string]*addressList // by name
	names   []string                // of owners, in order
	extra   int
	ignored map[string]bool // domains whose DKIM signature is enough
	headers []string
}

func spoofOptionsOf(s *Settings) *spoofOptions {
	return Built(s, "spoof", func() *spoofOptions {
		o := &spoofOptions{owners: map[string]*addressList{}, extra: setting(s, "fns_extrachars", 50), ignored: map[string]bool{}}
		for _, l := range s.Lines("fns_add_addrlist", "fns_remove_addrlist") {
			m := enlist.FindStringSubmatch(l.Args)
			if m == nil {
				continue
			}
			name := strings.ToLower(m[1])
			if o.owners[name] == nil {
				o.owners[name] = &addressList{exact: map[string]bool{}}
				o.names = append(o.names, name)
			}
			for _, w := range strings.Fields(strings.ToLower(m[2])) {
				if l.Key == "fns_add_addrlist" {
					o.owners[name].add(w)
				} else {
					o.owners[name].remove(w)
				}
			}
		}
		for _, d := range s.Words("fns_ignore_dkim") {
			o.ignored[strings.ToLower(d)] = true
		}
		o.headers = s.Words("fns_ignore_headers")
		return o
	})
}

var nameAddress = regexp.MustCompile("\\b[\\w.!#$%&'*+/=?^_`{|}~-]+@\\w[\\w-]*\\.\\w[\\w.-]+\\b")

// compare compares the author's name with his address.
func (o *spoofOptions) compare(m *Mail) (f spoof) {
	for _, sig := range m.signatures() {
		if relied(&sig, 0) && o.ignored[sig.Domain] {
			return f
		}
	}
	if slices.ContainsFunc(o.headers, func(h string) bool { return fieldSays(m, h) }) {
		return f
	}
	f.own = strings.ToLower(string(m.get(selFromAddr)))
	_, domain, ok := m.Text.DomainOf("mailto:" + f.own)
	if !ok {
		return f
	}
	name := string(lower(m.get(selFromName)))
	at := nameAddress.FindStringIndex(name)
	if at == nil || at[1] < len(name) && (isWordOctet(name[at[1]]) || name[at[1]] == '.' || name[at[1]] == '-') {
		return f
	}
	f.named = name[at[0]:at[1]]
	if _, f.namedDomain, ok = m.Text.DomainOf("mailto:" + f.named); !ok {
		return f
	}
	f.contains = true
	if len(name)+marks(name)-marks(f.named)-len(f.named) > o.extra {
		return f
	}
	f.address, f.domain = f.named != f.own, f.namedDomain != domain
	f.owner = o.ownerOf(f.named, f.namedDomain) != o.ownerOf(f.own, domain)
	f.replyTo = f.named == strings.ToLower(string(m.get(selReplyToAddr)))
	f.recipient = slices.ContainsFunc(m.recipientAddresses(), func(a []byte) bool { return string(a) == f.named })
	return f
}

// fieldSays reports whether a field is there and says something.
func fieldSays(m *Mail, name string) bool {
	h := m.Text.Content().Header()
	return h.Count(name) > 0
}

// marks counts the octets that are no small letter and no digit.
func marks(s string) (n int) {
	for i := range len(s) {
		if !isDigit(s[i]) && (s[i] < 'a' || s[i] > 'z') {
			n++
		}
	}
	return n
}

// ownerOf gives the owner of an address: by the lists, else the first label of its domain.
func (o *spoofOptions) ownerOf(addr, domain string) string {
	user, host, ok := strings.Cut(addr, "@")
	tries := []string{addr}
	if ok && host != domain {
		tries = append(tries, user+"@"+domain)
	}
	for _, a := range tries {
		for _, name := range o.names {
			if o.owners[name].has(a) {
				return name
			}
		}
	}
	owner, _, _ := strings.Cut(domain, ".")
	return owner
}
