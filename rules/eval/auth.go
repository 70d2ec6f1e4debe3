package eval

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/postern-mail/postern/filter/auth"
)

var _ = keys("adsp_override", "dkim_minimum_key_bits")

// authFunctions tell what SPF, DKIM and DMARC found. They ask nobody: where the filters have found nothing, they say no.
var authFunctions = slices.Concat(
	spfResults("", auth.Pass, auth.Neutral, auth.None, auth.Fail, auth.SoftFail, auth.PermError, auth.TempError),
	[]Function{
		plain("check_spf_skipped_noenvfrom", func(m *Mail) (int, string) {
			_, ok := m.Text.EnvelopeFrom()
			return yes(!ok, "")
		}),
		{"check_dkim_signed", compileSigned(false, false)},
		{"check_dkim_valid", compileSigned(true, false)},
		{"check_dkim_verified", compileSigned(true, false)},
		{"check_dkim_valid_author_sig", compileSigned(true, true)},
		{"check_dkim_valid_envelopefrom", compileSignedEnvelope},
		plain("check_dkim_dependable", func(m *Mail) (int, string) { return yes(m.signatures() != nil, "") }),
		plain("check_dkim_testing", func(m *Mail) (int, string) {
			return yes(slices.ContainsFunc(m.signatures(), func(r auth.DKIMResult) bool { return r.Testing }), "")
		}),
		{"check_dkim_adsp", compileADSP},
		{"check_dkim_signall", func(s *Settings, args []string) (Check, error) {
			return compileADSP(s, append([]string{"A"}, args...))
		}},
		plain("check_dkim_signsome", never2),
		{"check_arc_signed", compileARC(func(r auth.ARCResult) bool { return r.Result != auth.None && r.Result != "" })},
		{"check_arc_valid", compileARC(func(r auth.ARCResult) bool { return r.Result == auth.Pass })},
		plain("check_dmarc_pass", func(m *Mail) (int, string) { return m.dmarc(auth.Pass, "") }),
		plain("check_dmarc_reject", func(m *Mail) (int, string) { return m.dmarc(auth.Fail, "reject") }),
		plain("check_dmarc_quarantine", func(m *Mail) (int, string) { return m.dmarc(auth.Fail, "quarantine") }),
		plain("check_dmarc_none", func(m *Mail) (int, string) { return m.dmarc(auth.Fail, "none") }),
		plain("check_dmarc_missing", func(m *Mail) (int, string) { return m.dmarc(auth.None, "") }),
	},
	spfListed("welcomelist_from_spf", "welcomelist_auth", "check_for_spf_welcomelist_from", "check_for_spf_whitelist_from"),
	spfListed("def_welcomelist_from_spf", "def_welcomelist_auth", "check_for_def_spf_welcomelist_from", "check_for_def_spf_whitelist_from"),
	dkimListed("welcomelist_from_dkim", "welcomelist_auth", "check_for_dkim_welcomelist_from", "check_for_dkim_whitelist_from"),
	dkimListed("def_welcomelist_from_dkim", "def_welcomelist_auth", "check_for_def_dkim_welcomelist_from", "check_for_def_dkim_whitelist_from"),
)

// spf gives what SPF says of the reverse-path, or of the HELO name.
func (m *Mail) spf(helo bool) (r auth.SPFResult, ok bool) {
	if m.In == nil {
		return r, false
	}
	r, ok = auth.SPF.From(m.In)
	if helo {
		if h, found := auth.HeloSPF.From(m.In); found {
			return h, true
		}
		return r, ok && r.Identity == "helo"
	}
	return r, ok && r.Identity != "helo"
}

// spfResults makes the functions that ask for one result, of both identities.
func spfResults(_ string, results ...auth.Result) (all []Function) {
	for _, want := range results {
		for _, helo := range []bool{false, true} {
			name := "check_for_spf_"
			if helo {
				name += "helo_"
			}
			all = append(all, plain(name+string(want), func(m *Mail) (int, string) {
				r, ok := m.spf(helo)
				return yes(ok && r.Result == want, r.Domain)
			}))
		}
	}
	return all
}

// spfListed makes functions of one meaning: SPF passes, and the sender is on one of two lists.
func spfListed(list, both string, names ...string) (all []Function) {
	for _, name := range names {
		all = append(all, Function{name, func(s *Settings, args []string) (Check, error) {
			a, b := addressLists(s)[list], addressLists(s)[both]
			return func(m *Mail) (int, string) {
				r, ok := m.spf(false)
				if !ok || r.Result != auth.Pass || r.Everybody() {
					return 0, ""
				}
				sender, _ := m.Text.EnvelopeFrom()
				addr := strings.ToLower(string(sender))
				return yes(addr != "" && (a.has(addr) || b.has(addr)), addr)
			}, atMost(name, args, 0)
		}})
	}
	return all
}

// signatures gives what DKIM says; nil where it was not asked.
func (m *Mail) signatures() []auth.DKIMResult {
	if m.In == nil {
		return nil
	}
	all, ok := auth.DKIM.From(m.In)
	if ok && all == nil {
		return []auth.DKIMResult{}
	}
	return all
}

// authorDomains gives the domains of the authors, in lower case.
func (m *Mail) authorDomains() map[string]bool {
	return m.heads.authors.get(func() map[string]bool {
		all := map[string]bool{}
		for _, a := range m.Text.Values(selFromAddr) {
			if i := strings.LastIndexByte(string(a), '@'); i >= 0 {
				if d := strings.ToLower(strings.TrimRight(string(a[i+1:]), " \t")); d != "" {
					all[d] = true
				}
			}
		}
		return all
	})
}

// keyBits gives the least size of a key that is relied on.
func keyBits(s *Settings) int {
	last, _ := s.Last("dkim_minimum_key_bits")
	n, err := strconv.Atoi(last)
	if err != nil {
		return 1024
	}
	return n
}

// relied reports whether a signature verifies with a key that is strong enough.
func relied(r *auth.DKIMResult, bits int) bool {
	return r.Result == auth.Pass && (r.KeyBits == 0 || r.KeyBits >= bits || strings.HasPrefix(r.Algorithm, "ed25519"))
}

// signer gives the domain that a signature stands for: that of its identity.
func signer(r *auth.DKIMResult) string {
	d := r.Domain
	if _, after, ok := strings.Cut(r.Identity, "@"); ok {
		d, _, _ = strings.Cut(after, " ")
	}
	return strings.ToLower(d)
}

// signedBy reports whether there is a signature of one of some domains; of none: of any. "*.d" and ".d" stand for d and what is
// below it.
func (m *Mail) signedBy(valid, author bool, bits int, domains []string) (bool, string) {
	return m.signedWith(valid, author, bits, func(d string) bool {
		return len(domains) == 0 || slices.ContainsFunc(domains, func(want string) bool { return isDomain(d, want) })
	})
}

func (m *Mail) signedWith(valid, author bool, bits int, is func(domain string) bool) (bool, string) {
	all := m.signatures()
	for i := range all {
		r := &all[i]
		if valid && !relied(r, bits) {
			continue
		}
		d := signer(r)
		if author && !m.authorDomains()[d] {
			continue
		}
		if is(d) {
			return true, d
		}
	}
	return false, ""
}

func isDomain(d, want string) bool {
	want = strings.ToLower(want)
	below, ok := strings.CutPrefix(strings.TrimPrefix(want, "*"), ".")
	if !ok {
		return d == want
	}
	return d == below || strings.HasSuffix(d, "."+below)
}

func compileSigned(valid, author bool) func(*Settings, []string) (Check, error) {
	return func(s *Settings, args []string) (Check, error) {
		bits := keyBits(s)
		return func(m *Mail) (int, string) { return yes(m.signedBy(valid, author, bits, args)) }, nil
	}
}

func compileSignedEnvelope(s *Settings, args []string) (Check, error) {
	bits := keyBits(s)
	return func(m *Mail) (int, string) {
		_, host, ok := strings.Cut(string(m.get(selEnvelopeAddr)), "@")
		if !ok || host == "" {
			return 0, ""
		}
		return yes(m.signedBy(true, false, bits, []string{host}))
	}, atMost("check_dkim_valid_envelopefrom", args, 0)
}

// compileADSP makes the check of what a domain's author signing practices are, where no valid signature is its own. ADSP (RFC
// 5617) is historic: nobody is asked; adsp_override tells.
func compileADSP(s *Settings, args []string) (Check, error) {
	if len(args) == 0 {
		return nil, fmt.Errorf("eval: check_dkim_adsp needs a kind")
	}
	kinds, domains := args[0], args[1:]
	if kinds == "*" {
		kinds = "NAD123"
	}
	practices, bits := adspOf(s), keyBits(s)
	return func(m *Mail) (int, string) {
		if m.signatures() == nil || len(practices) == 0 {
			return 0, ""
		}
		for d := range m.authorDomains() {
			kind := practices.of(d)
			if kind == "" || !strings.Contains(kinds, kind) {
				continue
			}
			if own, _ := m.signedBy(true, false, bits, []string{d}); own {
				continue
			}
			if len(domains) == 0 || slices.ContainsFunc(domains, func(w string) bool { return isDomain(d, w) }) {
				return 1, d
			}
		}
		return 0, ""
	}, nil
}

// adsp holds the practices of domains, by domain or "*.domain".
type adsp map[string]string

func adspOf(s *Settings) adsp {
	return Built(s, "adsp", func() adsp {
		all := adsp{}
		for _, l := range s.Lines("adsp_override") {
			w := strings.Fields(strings.ToLower(l.Args))
			if len(w) == 0 {
				continue
			}
			kind := "discardable"
			if len(w) > 1 {
				kind = w[1]
			}
			letter := map[string]string{
				"nxdomain": "N", "unknown": "U", "all": "A", "discardable": "D", "custom_low": "1", "custom_med": "2", "custom_high": "3",
			}[kind]
			if letter != "" {
				all[strings.TrimPrefix(w[0], "@")] = letter
			}
		}
		return all
	})
}

func (p adsp) of(domain string) string {
	kind := p[domain]
	for d := domain; kind == ""; kind = p["*."+d] {
		var ok bool
		if _, d, ok = strings.Cut(d, "."); !ok {
			return p["*"]
		}
	}
	return kind
}

// compileARC makes functions about the ARC chain. With domains SpamAssassin says no to all.
func compileARC(is func(auth.ARCResult) bool) func(*Settings, []string) (Check, error) {
	return func(_ *Settings, args []string) (Check, error) {
		return func(m *Mail) (int, string) {
			if m.In == nil || len(args) > 0 {
				return 0, ""
			}
			r, ok := auth.ARC.From(m.In)
			return yes(ok && is(r), "")
		}, nil
	}
}

// dmarc reports whether DMARC has one result, and the domain's policy is one; "" for any.
func (m *Mail) dmarc(want auth.Result, policy string) (int, string) {
	if m.In == nil {
		return 0, ""
	}
	r, ok := auth.DMARC.From(m.In)
	if !ok || r.From == "" {
		return 0, ""
	}
	if want == auth.None {
		return yes(r.Record == "" && r.Result == auth.None, r.From)
	}
	return yes(r.Result == want && r.Record != "" && (policy == "" || r.Policy == policy), r.From)
}

// dkimEntry is an entry of welcomelist_from_dkim: authors, and the signer's domain; "" for the author's own.
type dkimEntry struct{ addr, domain string }

// signs reports whether a signer's domain is the one that the entry asks for. "*.d" stands for what is below d, and not for d.
func (e dkimEntry) signs(d, own string) bool {
	want := cmp.Or(e.domain, own)
	if below, ok := strings.CutPrefix(strings.TrimPrefix(want, "*"), "."); ok {
		return strings.HasSuffix(d, "."+below)
	}
	return d == want
}

func dkimListsOf(s *Settings) map[string][]dkimEntry {
	return Built(s, "dkim lists", func() map[string][]dkimEntry {
		all := map[string][]dkimEntry{}
		for _, l := range s.Lines("welcomelist_from_dkim", "def_welcomelist_from_dkim", "unwelcomelist_from_dkim") {
			w := strings.Fields(strings.ToLower(l.Args))
			if len(w) == 0 {
				continue
			}
			e := dkimEntry{addr: w[0]}
			if len(w) > 1 {
				e.domain = w[1][strings.LastIndexByte(w[1], '@')+1:]
			}
			if l.Key != "unwelcomelist_from_dkim" {
				all[l.Key] = append(all[l.Key], e)
				continue
			}
			for k := range all {
				all[k] = slices.DeleteFunc(all[k], func(o dkimEntry) bool {
					return o.addr == e.addr && (e.domain == "" || o.domain == e.domain)
				})
			}
		}
		return all
	})
}

// dkimListed makes functions of one meaning: an author is on a list, and the message bears the signature that it asks for.
func dkimListed(list, both string, names ...string) (all []Function) {
	for _, name := range names {
		all = append(all, Function{name, func(s *Settings, args []string) (Check, error) {
			entries, addresses, bits := dkimListsOf(s)[list], addressLists(s)[both], keyBits(s)
			return func(m *Mail) (int, string) {
				if len(m.signatures()) == 0 {
					return 0, ""
				}
				for _, a := range m.Text.Values(selFromAddr) {
					addr := strings.ToLower(string(a))
					_, own, _ := strings.Cut(addr, "@")
					if own != "" && addresses.has(addr) {
						if ok, d := m.signedBy(true, false, bits, []string{own}); ok {
							return 1, d
						}
					}
					for _, e := range entries {
						if !globMatch(e.addr, addr) {
							continue
						}
						if ok, d := m.signedWith(true, false, bits, func(d string) bool { return e.signs(d, own) }); ok {
							return 1, d
						}
					}
				}
				return 0, ""
			}, atMost(name, args, 0)
		}})
	}
	return all
}
