package rules

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"github.com/postern-mail/postern/rules/pattern"
)

// Rules that ask the DNS. Each names what is asked about (the hosts that a message has passed, its sender's domain, the names in
// its links, …), a zone, and which answers count. Whatever several rules ask is asked once.

// subject says what a network rule asks about.
type subject uint8

const (
	ofRelays   subject = iota // check_rbl, check_rbl_txt: addresses of hosts in the Received fields
	ofAnswers                 // check_rbl_sub: it asks nothing, and reads the answers that a rule of its set gets
	ofEnvelope                // check_rbl_envfrom
	ofFrom                    // check_rbl_from_host
	ofDomain                  // check_rbl_from_domain
	ofSender                  // check_dns_sender: neither addresses nor mail servers
	ofLinks                   // check_uridnsbl with urirhsbl or urirhssub: the names in links
	ofHosts                   // check_uridnsbl with uridnsbl or uridnssub: the addresses of these
	ofTag                     // askdns
)

// networkTest is a rule that asks the DNS.
type networkTest struct {
	of     subject
	set    string // of check_rbl…: what check_rbl_sub names
	which  string // of the relays: "", notfirsthop, lastexternal, firsttrusted, untrusted
	zone   string // of askdns: the name, with tags in it
	kind   recordType
	counts answerTest
	full   bool // of links: the host as it stands, not the domain that is registered
	nice   bool // trusted relays are asked about, too
	names  bool // addresses are not asked about
	ips    bool // nothing else is
}

// recordType is a type of records.
type recordType uint8

const (
	typeA recordType = iota
	typeTXT
	typeMX
	typeAny // addresses of any family, of which only is asked whether there are some
)

// answerTest says which answers count. The zero value counts any.
type answerTest struct {
	pattern  *pattern.Pattern
	exact    string
	mask     uint32 // any of these bits
	low      uint32 // from here …
	high     uint32 // … to here, under mask where that is not 0
	isRange  bool
	anything bool
	refusals bool // it names answers by which lists say that they do not answer
}

// errorCodes are answers of lists that do not answer: no test but one that names them counts such.
var errorCodes = netip.MustParsePrefix("127.255.255.0/24")

// isRefusal reports whether an answer is one of errorCodes.
func isRefusal(value string) bool {
	addr, err := netip.ParseAddr(value)
	return err == nil && errorCodes.Contains(addr)
}

// matches reports whether an answer counts.
func (t *answerTest) matches(kind recordType, value string) bool {
	addr, err := netip.ParseAddr(value)
	isAddr := kind == typeA && err == nil && addr.Is4()
	if isAddr && errorCodes.Contains(addr) && !t.refusals {
		return false
	}
	switch {
	case t.pattern != nil:
		_, _, ok, err := t.pattern.Find([]byte(value), 0)
		return ok && err == nil
	case t.exact != "":
		return t.exact == value
	case t.isRange || t.mask != 0:
		if !isAddr {
			return false
		}
		n := numberOf(addr)
		switch {
		case !t.isRange:
			return n>>24 == 127 && n&t.mask != 0
		case t.mask != 0:
			return n&t.mask == t.low&t.mask
		}
		return t.low <= n && n <= t.high
	}
	return true
}

// numberOf gives an IPv4 address as a number.
func numberOf(a netip.Addr) uint32 {
	b := a.As4()
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

// namesRefusals reports whether a pattern is about codes of errorCodes.
func namesRefusals(expr string) bool { return strings.Contains(expr, "255") }

// refusing reports whether an address is one of errorCodes.
func refusing(n uint32) bool { return n>>8 == numberOf(errorCodes.Addr())>>8 }

var (
	bitsForm  = regexp.MustCompile(`^\d{1,10}$`)
	quadForm  = regexp.MustCompile(`^\d+\.\d+\.\d+\.\d+$`)
	rangeForm = regexp.MustCompile(`^([^/-]+)(?:([/-])(.+))?$`)
)

// readAnswers reads the last argument of check_rbl…: an address, a number whose bits count, or a pattern.
func readAnswers(s string) (t answerTest, err error) {
	switch {
	case s == "":
		return answerTest{anything: true}, nil
	case bitsForm.MatchString(s):
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil || n == 0 {
			return t, fmt.Errorf("%q has no bits that an answer could have", s)
		}
		return answerTest{mask: uint32(n)}, nil
	case quadForm.MatchString(s):
		return answerTest{exact: s, refusals: true}, nil
	case strings.HasPrefix(s, "sb:"):
		return t, errors.New("there is no SenderBase any more")
	}
	t.pattern, err = pattern.Compile(s, pattern.Options{})
	t.refusals = namesRefusals(s)
	return t, err
}

// readRange reads what counts for urirhssub and uridnssub: m, n1-n2 or n/mask, each a number or an address.
func readRange(s string) (t answerTest, err error) {
	m := rangeForm.FindStringSubmatch(s)
	if m == nil {
		return t, fmt.Errorf("%q: a number whose bits count, an address, n1-n2 or n/mask", s)
	}
	low, quad, err := readNumber(m[1])
	switch {
	case err != nil:
		return t, err
	case m[2] == "" && quad:
		return answerTest{isRange: true, low: low, high: low, refusals: refusing(low)}, nil
	case m[2] == "":
		return answerTest{mask: low}, nil
	}
	high, _, err := readNumber(m[3])
	if m[2] == "/" {
		return answerTest{isRange: true, low: low, mask: high, refusals: refusing(low) && high>>8 == 1<<24-1}, err
	}
	return answerTest{isRange: true, low: low, high: high, refusals: refusing(low) && refusing(high)}, err
}

func readNumber(s string) (n uint32, quad bool, err error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Is4() {
		return numberOf(a), true, nil
	}
	v, err := strconv.ParseUint(s, 0, 32)
	if err != nil || strings.HasPrefix(s, "0") && len(s) > 1 && !strings.HasPrefix(s, "0x") {
		return 0, false, fmt.Errorf("%q is neither a number nor an address", s)
	}
	return uint32(v), false, nil
}

// lookupKeys are the keywords that say what check_uridnsbl asks.
var lookupKeys = map[string]bool{
	"uridnsbl": true, "uridnssub": true, "urirhsbl": true, "urirhssub": true, "urinsrhsbl": true, "urinsrhssub": true,
	"urifullnsrhsbl": true, "urifullnsrhssub": true,
}

// lookup is one of these lines.
type lookup struct {
	key  string
	args []string
}

// compileNetwork compiles a rule that asks the DNS.
func (l *loader) compileNetwork(r *Rule) (*networkTest, error) {
	t := &networkTest{nice: r.Flag("nice"), names: r.Flag("domains_only"), ips: r.Flag("ips_only")}
	if l.rules[r.Name].asks {
		return t, t.readAsk(r.Text)
	}
	name, args, err := readCall(r.Text)
	if err != nil {
		return nil, err
	}
	need := func(n int) error {
		if len(args) < n || len(args) > n+1 {
			return fmt.Errorf("%s takes %d arguments, or one more", name, n)
		}
		return nil
	}
	answers := func(n int) (err error) {
		if len(args) > n {
			t.counts, err = readAnswers(args[n])
		}
		return err
	}
	switch name {
	case "check_rbl", "check_rbl_txt", "check_rbl_envfrom", "check_rbl_from_host", "check_rbl_from_domain":
		if err := need(2); err != nil {
			return nil, err
		}
		t.of = map[string]subject{"check_rbl_envfrom": ofEnvelope, "check_rbl_from_host": ofFrom, "check_rbl_from_domain": ofDomain}[name]
		if name == "check_rbl_txt" {
			t.kind = typeTXT
		}
		t.set, t.zone = args[0], strings.Trim(args[1], ".")
		t.which = whichRelays(t.set)
		return t, answers(2)
	case "check_rbl_sub":
		if err := need(1); err != nil || len(args) != 2 {
			return nil, errors.Join(err, errors.New("check_rbl_sub takes a set and what counts of its answers"))
		}
		t.of, t.set = ofAnswers, args[0]
		return t, answers(1)
	case "check_dns_sender":
		t.of = ofSender
		return t, nil
	case "check_uridnsbl":
		spec, ok := l.lookups[r.Name]
		if !ok {
			return nil, errors.New("it never hits: no line urirhssub, urirhsbl, uridnssub or uridnsbl says what it asks")
		}
		return t, t.readLookup(spec, r)
	}
	return nil, fmt.Errorf("it never hits: there is no function %s here", name)
}

// whichRelays gives the end of a set's name that says which relays are asked about.
func whichRelays(set string) string {
	for _, w := range []string{"notfirsthop", "lastexternal", "firsttrusted", "untrusted"} {
		if strings.HasSuffix(set, "-"+w) {
			return w
		}
	}
	return ""
}

// readLookup reads "zone A 2" behind the name of a rule.
func (t *networkTest) readLookup(spec lookup, r *Rule) (err error) {
	args := spec.args
	if len(args) < 2 || strings.HasSuffix(spec.key, "sub") && len(args) != 3 {
		return fmt.Errorf("it never hits: %s takes a zone, A or TXT, and what counts where its name ends in sub", spec.key)
	}
	t.zone = strings.Trim(args[0], ".")
	switch strings.ToUpper(args[1]) {
	case "A":
	case "TXT":
		t.kind = typeTXT
	default:
		return fmt.Errorf("it never hits: %s takes A or TXT, and not %s", spec.key, args[1])
	}
	if len(args) == 3 {
		if t.counts, err = readRange(args[2]); err != nil {
			return err
		}
	}
	switch spec.key {
	case "urirhsbl", "urirhssub":
		t.of, t.full = ofLinks, r.Flag("notrim")
		return nil
	case "uridnsbl", "uridnssub":
		if r.Flag("a") {
			t.of = ofHosts
			return nil
		}
	}
	return errors.New("it never hits: name servers of the names in links are not asked for here")
}

// tagForm is a tag in the name that askdns asks for.
var tagForm = regexp.MustCompile(`_([A-Z]+)_`)

// askTags are the tags that askdns may have here.
var askTags = wordSet("AUTHORDOMAIN SENDERDOMAIN DKIMDOMAIN LASTEXTERNALIP LASTEXTERNALREVIP LASTEXTERNALRDNS LASTEXTERNALHELO")

// readAsk reads "_TAG_.zone A /pattern/".
func (t *networkTest) readAsk(s string) (err error) {
	t.of = ofTag
	var rest string
	t.zone, rest = word(s)
	t.zone = strings.Trim(t.zone, ".")
	kind, counts := word(rest)
	tags := tagForm.FindAllStringSubmatch(t.zone, -1)
	if len(tags) > 1 {
		return errors.New("it never hits: a name with more than one tag is not asked for here")
	}
	for _, tag := range tags {
		if !askTags[tag[1]] {
			return fmt.Errorf("it never hits: the tag %s is not known here", tag[0])
		}
	}
	switch kind {
	case "", "A":
	case "TXT":
		t.kind = typeTXT
	case "MX":
		t.kind = typeMX
	default:
		return fmt.Errorf("it never hits: records of type %s are not asked for here", cut(kind, 20))
	}
	switch {
	case counts == "":
		t.counts = answerTest{anything: true}
	case counts[0] == '[':
		return fmt.Errorf("it never hits: response codes, as in %s, are not looked at here", cut(counts, 40))
	case counts[0] == '/' || counts[0] == 'm':
		w, err := readPattern(counts)
		if err != nil {
			return err
		}
		t.counts.pattern, err = pattern.Compile(w.expr, w.options)
		t.counts.refusals = namesRefusals(w.expr)
		return err
	default:
		t.counts, err = readRange(counts)
	}
	return err
}
