package spf

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/postern-mail/postern/filter/auth"
)

// termLimit bounds the terms of one record. A record may have 64 KiB; no domain needs so many terms, and
// whoever has more gets permerror.
const termLimit = 2000

// record is an SPF record that has no syntax error (RFC 7208 4.6).
type record struct {
	directives []directive
	redirect   *template // nil for none
	local      bool      // its result hangs on the sender's local part
	exp        *template // nil for none
}

type mechanism uint8

const (
	mechAll mechanism = iota
	mechInclude
	mechA
	mechMX
	mechPTR
	mechIP4
	mechIP6
	mechExists
)

var mechanisms = map[string]mechanism{
	"all": mechAll, "include": mechInclude, "a": mechA, "mx": mechMX, "ptr": mechPTR, "ip4": mechIP4, "ip6": mechIP6,
	"exists": mechExists,
}

// asks reports whether the mechanism counts towards the limit of look-ups (RFC 7208 4.6.4).
func (m mechanism) asks() bool { return m != mechAll && m != mechIP4 && m != mechIP6 }

type directive struct {
	text      string // as in the record
	result    auth.Result
	mechanism mechanism
	target    *template    // domain-spec; nil for the domain itself
	network   netip.Prefix // of ip4 and ip6
	bits      [2]int       // of a and mx: for IPv4, for IPv6
}

// isRecord reports whether a TXT record is an SPF record (RFC 7208 4.5): the version, and then a blank or
// nothing.
func isRecord(txt string) bool {
	const version = "v=spf1"
	return len(txt) >= len(version) && strings.EqualFold(txt[:len(version)], version) &&
		(len(txt) == len(version) || txt[len(version)] == ' ')
}

// parseRecord reads a record for which isRecord holds. RFC 7208 4.6: an error anywhere spoils all of it.
func parseRecord(txt string) (*record, error) {
	r := new(record)
	terms := 0
	for term := range strings.SplitSeq(txt[len("v=spf1"):], " ") {
		if term == "" {
			continue
		}
		if terms++; terms > termLimit {
			return nil, fmt.Errorf("more than %d terms", termLimit)
		}
		var err error
		// RFC 7208 4.6.1: a modifier has "=" after its name, and before any ":" or "/".
		if i := strings.IndexAny(term, ":/="); i >= 0 && term[i] == '=' {
			err = r.addModifier(term[:i], term[i+1:])
		} else {
			err = r.addDirective(term)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", clipTo(term, 60), err)
		}
	}
	r.local = r.redirect != nil && r.redirect.local
	for i := range r.directives {
		r.local = r.local || r.directives[i].target != nil && r.directives[i].target.local
	}
	return r, nil
}

func (r *record) addModifier(name, value string) error {
	if !isModifierName(name) {
		return errors.New("not a name of a modifier")
	}
	into := &r.exp
	switch strings.ToLower(name) {
	case "redirect":
		into = &r.redirect
	case "exp":
	default:
		// RFC 7208 6: unknown modifiers are ignored, but for their syntax.
		_, err := parseText(value, false)
		return err
	}
	if *into != nil {
		return errors.New("there is a second one") // RFC 7208 6
	}
	t, err := parseDomainSpec(value)
	*into = t
	return err
}

// isModifierName: name = ALPHA *( ALPHA / DIGIT / "-" / "_" / "." ).
func isModifierName(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isAlpha(c) && (i == 0 || !isDigit(c) && c != '-' && c != '_' && c != '.') {
			return false
		}
	}
	return s != ""
}

func (r *record) addDirective(term string) error {
	d := directive{text: term, result: auth.Pass, bits: [2]int{32, 128}}
	switch term[0] {
	case '+':
		term = term[1:]
	case '-':
		d.result, term = auth.Fail, term[1:]
	case '~':
		d.result, term = auth.SoftFail, term[1:]
	case '?':
		d.result, term = auth.Neutral, term[1:]
	}
	name, arg := term, ""
	if i := strings.IndexAny(term, ":/"); i >= 0 {
		name, arg = term[:i], term[i:]
	}
	m, known := mechanisms[strings.ToLower(name)]
	if !known {
		return errors.New("unknown mechanism")
	}
	d.mechanism = m
	if err := d.argument(arg); err != nil {
		return err
	}
	r.directives = append(r.directives, d)
	return nil
}

// argument reads what follows the name of the mechanism, with its colon or slash.
func (d *directive) argument(arg string) (err error) {
	switch d.mechanism {
	case mechAll:
		if arg != "" {
			return errors.New("takes nothing")
		}
		return nil
	case mechIP4, mechIP6:
		d.network, err = parseNetwork(arg, d.mechanism == mechIP4)
		return err
	case mechA, mechMX:
		if arg, err = d.cutLengths(arg); err != nil {
			return err
		}
	}
	if arg == "" {
		if d.mechanism == mechInclude || d.mechanism == mechExists {
			return errors.New("needs a domain")
		}
		return nil
	}
	if arg[0] != ':' {
		return errors.New("has a prefix length in the wrong place")
	}
	d.target, err = parseDomainSpec(arg[1:])
	return err
}

// cutLengths takes a dual-cidr-length (RFC 7208 5.6: "/24", "//64", "/24//64") off the end of an argument.
// No domain-spec ends like one, since its last label is a toplabel or comes from a macro.
func (d *directive) cutLengths(arg string) (string, error) {
	for _, family := range []struct {
		slashes string
		bits    *int
		most    int
	}{{"//", &d.bits[1], 128}, {"/", &d.bits[0], 32}} {
		i := strings.LastIndex(arg, family.slashes)
		if i < 0 || !isDigits(arg[i+len(family.slashes):]) {
			continue
		}
		var err error
		if *family.bits, err = parseLength(arg[i+len(family.slashes):], family.most); err != nil {
			return "", err
		}
		arg = arg[:i]
	}
	return arg, nil
}

// parseLength reads the digits of a prefix length. RFC 7208 5.6: no leading zeros.
func parseLength(s string, most int) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || !isDigits(s) || n > most || len(s) > 1 && s[0] == '0' {
		return 0, fmt.Errorf("not a prefix length from 0 to %d", most)
	}
	return n, nil
}

// parseNetwork reads ":" ip4-network [ ip4-cidr-length ], or the same for IPv6 (RFC 7208 5.6).
func parseNetwork(arg string, v4 bool) (netip.Prefix, error) {
	arg, colon := strings.CutPrefix(arg, ":")
	text, length, hasLength := strings.Cut(arg, "/")
	addr, err := netip.ParseAddr(text)
	if !colon || err != nil || addr.Is4() != v4 || addr.Zone() != "" {
		return netip.Prefix{}, errors.New("not an address of that kind")
	}
	bits := addr.BitLen()
	if hasLength {
		if bits, err = parseLength(length, bits); err != nil {
			return netip.Prefix{}, err
		}
	}
	return netip.PrefixFrom(addr, bits), nil
}

func isAlpha(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isDigits(s string) bool {
	for i := range len(s) {
		if !isDigit(s[i]) {
			return false
		}
	}
	return s != ""
}
