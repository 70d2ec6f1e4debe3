package access

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/postern-mail/postern/mail"
)

// entry is what every entry has.
type entry struct {
	file  string
	line  int       // in the file
	note  string    // the comment
	until time.Time // the moment from which it does not count; zero: it always does
}

func (e *entry) base() *entry { return e }

// place is where the entry stands, file:line.
func (e *entry) place() string { return e.file + ":" + strconv.Itoa(e.line) }

func (e *entry) expiredAt(now time.Time) bool { return !e.until.IsZero() && !now.Before(e.until) }

// lastDay is the last day of an entry that ends.
func (e *entry) lastDay() string { return e.until.AddDate(0, 0, -1).Format(time.DateOnly) }

// allowEntry waives checks for a domain that is proved.
type allowEntry struct {
	entry
	names  []pattern
	proofs []proof
	waives []string
}

// blockEntry blocks what it names.
type blockEntry struct {
	entry
	subjects []string // keys of a blockList: domains, addresses, names
	networks []netip.Prefix
	action   string  // actionReject, actionQuarantine or actionScore
	score    float64 // for actionScore
}

// What is done with the mail of whom an entry blocks.
const (
	actionReject     = "reject"
	actionQuarantine = "quarantine"
	actionScore      = "score"
)

// maxScore bounds the score of an entry.
const maxScore = 1000

// pattern is a domain, all domains below one, or all domains.
type pattern struct {
	domain string // A-labels; "" for all
	below  bool
}

// String gives the pattern as it is written.
func (p pattern) String() string {
	switch {
	case p.domain == "":
		return "*"
	case p.below:
		return "*." + p.domain
	}
	return p.domain
}

// parsePattern reads a domain or "*.domain".
func parsePattern(s string) (pattern, error) {
	name, below := strings.CutPrefix(s, "*.")
	if strings.ContainsAny(name, "*?") {
		return pattern{}, fmt.Errorf("%q: only \"*.\" at the beginning stands for more than itself", s)
	}
	d, err := mail.Domain(name)
	if err != nil {
		return pattern{}, fmt.Errorf("%q: %w", s, err)
	}
	return pattern{domain: d, below: below}, nil
}

// options reads the keys of an entry, each of which may stand once.
func options(words []string, allowed ...string) (map[string]string, error) {
	if len(words) == 0 {
		return nil, nil
	}
	given := map[string]string{}
	for _, w := range words {
		key, value, ok := strings.Cut(w, "=")
		_, twice := given[key]
		switch {
		case !ok || !slices.Contains(allowed, key):
			return nil, fmt.Errorf("%q is unknown here; allowed: %s=", w, strings.Join(allowed, "=, "))
		case twice:
			return nil, fmt.Errorf("%s= stands twice", key)
		case value == "":
			return nil, fmt.Errorf("%s= has no value", key)
		}
		given[key] = value
	}
	return given, nil
}

// parseUntil reads a last day; the entry counts until it has ended in UTC.
func parseUntil(s string) (time.Time, error) {
	if s == "never" {
		return time.Time{}, nil
	}
	day, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return time.Time{}, fmt.Errorf("until=%s is no day; allowed: until=YYYY-MM-DD, the last day, or until=never", s)
	}
	return day.AddDate(0, 0, 1), nil
}

const proofsAllowed = "allowed: proof=dkim, spf, network:NETWORK, certificate:NAME, certificate:sha256:HEX"

// parseAllowEntry reads an entry of an allow list; waivable is what may be waived.
func parseAllowEntry(text string, waivable []string) (*allowEntry, error) {
	words := strings.Fields(text)
	given, err := options(words[1:], "proof", "waive", "until")
	if err != nil {
		return nil, err
	}
	e := &allowEntry{}
	if given["proof"] == "" {
		return nil, fmt.Errorf("%s has no proof, and anybody can claim to be it; %s", words[0], proofsAllowed)
	}
	for one := range strings.SplitSeq(given["proof"], ",") {
		p, err := parseProof(one)
		if err != nil {
			return nil, err
		}
		e.proofs = append(e.proofs, p)
	}
	for one := range strings.SplitSeq(words[0], ",") {
		p, err := e.parseName(one)
		if err != nil {
			return nil, err
		}
		e.names = append(e.names, p)
	}
	if given["waive"] == "" {
		return nil, fmt.Errorf("%s waives nothing; allowed: waive=%s", words[0], strings.Join(waivable, ", "))
	}
	for one := range strings.SplitSeq(given["waive"], ",") {
		if !slices.Contains(waivable, one) {
			return nil, fmt.Errorf("waive=%s is unknown; allowed: %s", one, strings.Join(waivable, ", "))
		}
		e.waives = append(e.waives, one)
	}
	if given["until"] == "" {
		return nil, fmt.Errorf("%s has no end; allowed: until=YYYY-MM-DD, the last day, or until=never", words[0])
	}
	e.until, err = parseUntil(given["until"])
	return e, err
}

// parseName reads the domain of an allow entry, whose proofs are known.
func (e *allowEntry) parseName(s string) (pattern, error) {
	if s == "*" {
		if slices.ContainsFunc(e.proofs, func(p proof) bool { return p.kind == proofDKIM || p.kind == proofSPF }) {
			return pattern{}, errors.New("* is every domain, which dkim and spf prove nothing of: anybody has one; allowed with *: network:NETWORK, certificate:NAME, certificate:sha256:HEX")
		}
		return pattern{}, nil
	}
	if strings.Contains(s, "@") {
		return pattern{}, fmt.Errorf("%q: an allow entry names a domain, since no proof is about a mailbox; allowed: example.com, *.example.com", s)
	}
	p, err := parsePattern(s)
	if err == nil && !strings.Contains(p.domain, ".") {
		err = fmt.Errorf("%q is a top-level domain, where anybody may have a domain; allowed: example.com, *.example.com", s)
	}
	return p, err
}

func parseProof(s string) (proof, error) {
	kind, value, has := strings.Cut(s, ":")
	switch {
	case (kind == proofDKIM || kind == proofSPF) && !has:
		return proof{kind: kind}, nil
	case kind == proofNetwork && has:
		n, err := parseNetwork(value)
		if err == nil && (n.Addr().Is4() && n.Bits() < 8 || n.Addr().Is6() && n.Bits() < 16) {
			err = fmt.Errorf("the network %s is too wide to prove anything; allowed: /8 and longer, of IPv6 /16 and longer", value)
		}
		return proof{kind: kind, network: n}, err
	case kind == proofCertificate && has:
		if sum, is := strings.CutPrefix(value, "sha256:"); is {
			b, err := hex.DecodeString(strings.ReplaceAll(sum, ":", ""))
			if err != nil || len(b) != 32 {
				return proof{}, fmt.Errorf("proof=%s: a SHA-256 has 64 hex digits", s)
			}
			return proof{kind: kind, fingerprint: string(b)}, nil
		}
		name, err := mail.Domain(value)
		if err != nil {
			return proof{}, fmt.Errorf("proof=%s: %w", s, err)
		}
		return proof{kind: kind, name: name}, nil
	}
	return proof{}, fmt.Errorf("proof=%s is unknown; %s", s, proofsAllowed)
}

// parseNetwork reads a network or an address.
func parseNetwork(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil || p.Addr().Is4In6():
		return netip.Prefix{}, fmt.Errorf("%q is no network; allowed: 192.0.2.0/24, 192.0.2.1, 2001:db8::/32, 2001:db8::1", s)
	case p != p.Masked():
		return netip.Prefix{}, fmt.Errorf("%s has bits beyond the network %s", s, p.Masked())
	case p.Bits() == 0:
		return netip.Prefix{}, fmt.Errorf("%s is every address", s)
	}
	return p, nil
}

// parseBlockEntry reads an entry of a block list.
func parseBlockEntry(text string) (*blockEntry, error) {
	words := strings.Fields(text)
	given, err := options(words[1:], "action", "score", "until")
	if err != nil {
		return nil, err
	}
	e := &blockEntry{action: actionReject}
	for one := range strings.SplitSeq(words[0], ",") {
		if err := e.parseSubject(one); err != nil {
			return nil, err
		}
	}
	if a, ok := given["action"]; ok {
		if e.action = a; a != actionReject && a != actionQuarantine {
			return nil, fmt.Errorf("action=%s is unknown; allowed: reject, quarantine, or score=N in its place", a)
		}
	}
	if s, ok := given["score"]; ok {
		n, err := strconv.ParseFloat(s, 64)
		switch {
		case given["action"] != "":
			return nil, errors.New("action= and score= exclude each other")
		case err != nil || !(n > 0 && n <= maxScore):
			return nil, fmt.Errorf("score=%s is no score; allowed: above 0, up to %d", s, maxScore)
		}
		e.action, e.score = actionScore, n
	}
	if u, ok := given["until"]; ok {
		e.until, err = parseUntil(u)
	}
	return e, err
}

// heloPrefix marks the names that clients give themselves.
const heloPrefix = "helo:"

// parseSubject reads whom a block entry is about.
func (e *blockEntry) parseSubject(s string) error {
	if name, is := strings.CutPrefix(s, heloPrefix); is {
		if strings.HasPrefix(name, "[") && strings.HasSuffix(name, "]") {
			e.subjects = append(e.subjects, heloPrefix+strings.ToLower(name))
			return nil
		}
		p, err := parsePattern(name)
		e.subjects = append(e.subjects, heloPrefix+p.String())
		return err
	}
	if strings.Contains(s, "@") {
		a, err := mail.ParseAddress(s)
		if err != nil {
			return fmt.Errorf("%q: %w", s, err)
		}
		e.subjects = append(e.subjects, a.Mailbox())
		return nil
	}
	if strings.ContainsAny(s, "/:") || looksNumeric(s) {
		n, err := parseNetwork(s)
		e.networks = append(e.networks, n)
		return err
	}
	p, err := parsePattern(s)
	if err != nil {
		return fmt.Errorf("%w; allowed: a domain, *.domain, an address, a network, helo:NAME, helo:*.NAME", err)
	}
	e.subjects = append(e.subjects, p.String())
	return nil
}

// looksNumeric reports whether s has nothing but digits and dots: no domain has.
func looksNumeric(s string) bool { return strings.Trim(s, "0123456789.") == "" }
