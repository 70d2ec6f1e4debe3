package access

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/mail"
)

// matching is the look at one message, in one phase.
//
// An allow entry is about an author: what it waives in the end it waives in the data phase, where the domain of the
// From field, if all readers find the same one there, is one that the entry names. What is decided at RCPT can't wait
// for that: until then the reverse-path stands for the author, and what that waives is taken back where the content
// does not bear it out.
type matching struct {
	in      *filter.Input
	now     time.Time
	content bool     // it is the data phase
	author  string   // the one domain of the From field, "" for none
	authors []string // each domain that some reader may find there
	boxes   []string // mailboxes of the From fields

	waivers []auth.Waiver
	known   []string // what was reported of block entries: entry and match
	result  filter.Result
}

// maxMailboxes is how many mailboxes of From fields are compared with a list.
const maxMailboxes = 50

// readAuthor takes what the header says of the author.
func (m *matching) readAuthor(h *mail.Header) {
	m.content = true
	found := mail.ReadAuthors(h)
	m.author, m.authors = found.Domain(), found.Domains
	for _, f := range h.All("From") {
		for _, box := range mail.ParseMailboxes(f.Body()) {
			if a, err := mail.ParseAddress(box.Address); err == nil && len(m.boxes) < maxMailboxes {
				m.boxes = append(m.boxes, a.Mailbox())
			}
		}
	}
}

// claimed is the domain that the message claims to come from, as far as the phase goes.
func (m *matching) claimed() string {
	if m.content {
		return m.author
	}
	return m.in.Transaction.From.Domain()
}

// maxNamed bounds the entries that one list reports of a message.
const maxNamed = 20

// allow looks for entries that name the domain and whose proof holds.
func (m *matching) allow(l *allowList) {
	for _, e := range m.candidates(l) {
		if len(m.waivers) >= maxNamed {
			return
		}
		w, evidence, ok := m.prove(e)
		switch {
		case !ok:
		case e.expiredAt(m.now):
			m.expired(&e.entry)
		default:
			m.waivers = append(m.waivers, w)
			if m.content {
				m.find(symbolAllowed, 1, w.String()+": "+evidence+"; waives "+strings.Join(w.Waives, ", ")+noted(e.note))
			}
		}
	}
}

// candidates gives the entries that name the domain, in their order.
func (m *matching) candidates(l *allowList) []*allowEntry {
	found := slices.Clone(l.by["*"])
	d := m.claimed()
	if m.content {
		for _, p := range patternsOf(d) {
			found = append(found, l.by[p]...)
		}
	} else {
		// The author may be another domain of those within the entry's.
		for base := d; strings.Contains(base, "."); {
			found = append(append(found, l.by[base]...), l.by["*."+base]...)
			_, base, _ = strings.Cut(base, ".")
		}
	}
	slices.SortFunc(found, func(a, b *allowEntry) int { return a.line - b.line })
	return slices.Compact(found)
}

// The proofs.
const (
	proofDKIM        = "dkim"
	proofSPF         = "spf"
	proofNetwork     = "network"
	proofCertificate = "certificate"
)

// proof is one way to prove an entry's claim.
type proof struct {
	kind        string
	network     netip.Prefix
	name        string // of a certificate
	fingerprint string // of a certificate: the octets of its SHA-256
}

// prove gives the waiver of an entry by the first of its proofs that holds, and what it rests on.
func (m *matching) prove(e *allowEntry) (w auth.Waiver, evidence string, ok bool) {
	for _, p := range e.proofs {
		for _, name := range e.names {
			if evidence, ok = m.holds(p, name); ok {
				w := auth.Waiver{Domain: name.String(), Proof: p.kind, Waives: e.waives, Entry: e.place(), Note: e.note}
				return w, evidence, true
			}
		}
	}
	return w, "", false
}

// holds reports whether a proof holds for what the message claims to be, and that this is what name says.
func (m *matching) holds(p proof, name pattern) (evidence string, ok bool) {
	if name.domain != "" && !m.claims(name) {
		return "", false
	}
	switch p.kind {
	case proofDKIM:
		return m.signed(name.domain)
	case proofSPF:
		return m.permitted(name.domain)
	case proofNetwork:
		a := m.in.Session.Client.Addr().Unmap().WithZone("")
		return "client " + a.String(), a.IsValid() && p.network.Contains(a)
	case proofCertificate:
		return m.certified(p)
	}
	return "", false
}

// claims reports whether the domain that the message claims to come from is one that a pattern names. Before the content
// is there it need only lie within the pattern's, for the author may be another one there.
func (m *matching) claims(name pattern) bool {
	d := m.claimed()
	switch {
	case !m.content:
		return mail.Within(d, name.domain)
	case name.below:
		return d != name.domain && mail.Within(d, name.domain)
	}
	return d == name.domain
}

// signed looks for a signature of a domain within base that is aligned with the author's. It proves nothing where
// somebody may have added to the message that was signed: a field that readers show, or the end of the body.
func (m *matching) signed(base string) (string, bool) {
	if !m.content || m.author == "" {
		return "", false
	}
	all, _ := auth.DKIM.From(m.in)
	for _, sig := range all {
		// RFC 6376 3.6.1: mail of a domain that tests DKIM is to be treated as if it were not signed.
		if sig.Result != auth.Pass || sig.Testing || sig.Limited || len(sig.Added) > 0 {
			continue
		}
		if mail.Within(sig.Domain, base) && related(sig.Domain, m.author) {
			return "d=" + sig.Domain + " for " + m.author, true
		}
	}
	return "", false
}

// permitted reports whether SPF passes for a reverse-path within base that is aligned with the author's domain. A pass
// of the HELO name is none: it says nothing of a reverse-path. Nor is one by a term that lets everybody pass.
func (m *matching) permitted(base string) (string, bool) {
	r, ok := auth.SPF.From(m.in)
	from := m.in.Transaction.From.Domain()
	if !ok || r.Result != auth.Pass || r.Identity != "mailfrom" || r.Domain != from || !mail.Within(from, base) || everybody(r.Mechanism) {
		return "", false
	}
	if m.content && (m.author == "" || !related(from, m.author)) {
		return "", false
	}
	return "reverse-path of " + from, true
}

// everybody reports whether a term of an SPF record matches every client: all (RFC 7208 5.1), and prefixes of no length.
func everybody(term string) bool {
	return mail.LowerASCII(strings.TrimPrefix(term, "+")) == "all" || strings.Contains(term+"/", "/0/")
}

// related reports whether two domains are the same, or one lies below the other.
func related(a, b string) bool { return mail.Within(a, b) || mail.Within(b, a) }

// certified reports whether the client has shown a certificate. A name counts where the certificate was verified; a
// fingerprint needs no authority: who finished the handshake has the key.
func (m *matching) certified(p proof) (string, bool) {
	t := m.in.Session.TLS
	switch {
	case t == nil || !t.HandshakeComplete || len(t.PeerCertificates) == 0:
		return "", false
	case p.fingerprint != "":
		sum := sha256.Sum256(t.PeerCertificates[0].Raw)
		return fmt.Sprintf("certificate with SHA-256 %x", sum), string(sum[:]) == p.fingerprint
	case len(t.VerifiedChains) == 0 || len(t.VerifiedChains[0]) == 0:
		return "", false
	}
	for _, name := range t.VerifiedChains[0][0].DNSNames {
		if d, err := mail.Domain(name); err == nil && d == p.name {
			return "certificate of " + d, true
		}
	}
	return "", false
}

// block looks for entries that name the client, its name or the sender, and in the data phase for those that name the
// author.
func (m *matching) block(l *blockList) {
	type hit struct {
		e    *blockEntry
		what string
	}
	var hits []hit
	add := func(what string, found []*blockEntry) {
		for _, e := range found {
			hits = append(hits, hit{e, what})
		}
	}
	from := m.in.Transaction.From
	add("client "+m.in.Session.Client.Addr().String(), l.ofClient(m.in.Session.Client.Addr()))
	add("HELO "+m.in.Session.Helo, l.ofDomain(heloPrefix, heloName(m.in.Session.Helo)))
	if !from.IsZero() {
		add("reverse-path "+from.String(), append(l.ofDomain("", from.Domain()), l.by[from.Mailbox()]...))
	}
	if m.content {
		for _, d := range m.authors {
			add("From "+d, l.ofDomain("", d))
		}
		for _, box := range m.boxes {
			add("From "+box, l.by[box])
		}
	}
	seen := map[*blockEntry]bool{}
	for _, h := range hits {
		said := h.e.place() + " " + h.what
		if seen[h.e] || len(seen) >= maxNamed {
			continue
		}
		seen[h.e] = true
		if m.content && slices.Contains(m.known, said) {
			continue // in the mail phase
		}
		m.known = append(m.known, said)
		m.blocked(h.e, h.what)
	}
}

// heloName gives the form in which names are compared.
func heloName(s string) string {
	if d, err := mail.Domain(s); err == nil {
		return d
	}
	if strings.HasPrefix(s, "[") {
		return strings.ToLower(s)
	}
	return ""
}

var blockReply = mail.NewReply(550, 5, 7, 1, "refused by local policy")

// blocked reports one entry. Proposals are held: they do not apply to who must always be reachable.
func (m *matching) blocked(e *blockEntry, what string) {
	if e.expiredAt(m.now) {
		m.expired(&e.entry)
		return
	}
	m.find(symbolBlocked, e.score, e.place()+": "+what+noted(e.note))
	switch e.action {
	case actionReject:
		m.result.Propose, m.result.Hold = filter.Reject, true
		m.result.Reply = &blockReply
	case actionQuarantine:
		m.result.Propose, m.result.Hold = max(m.result.Propose, filter.Quarantine), true
	}
}

func (m *matching) expired(e *entry) {
	m.find(symbolExpired, 1, e.place()+" ended with "+e.lastDay()+noted(e.note))
}

func (m *matching) find(symbol string, strength float64, detail string) {
	m.result.Findings = append(m.result.Findings, filter.Finding{Symbol: symbol, Strength: strength, Detail: detail})
}

// noted puts a comment behind a detail.
func noted(note string) string {
	if note == "" {
		return ""
	}
	return " # " + strings.Trim(strconv.QuoteToGraphic(note), `"`)
}
