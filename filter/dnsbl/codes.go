package dnsbl

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// octets is a set of values of one octet.
type octets [4]uint64

func (o *octets) add(v byte)      { o[v>>6] |= 1 << (v & 63) }
func (o *octets) has(v byte) bool { return o[v>>6]&(1<<(v&63)) != 0 }

func (o *octets) meets(p *octets) bool {
	for i := range o {
		if o[i]&p[i] != 0 {
			return true
		}
	}
	return false
}

// pattern is a set of codes: addresses that a list answers with.
type pattern struct {
	octets [4]octets
	bits   bool // it looks at bits: a code may have several meanings then, one of each bit
}

const patternForm = "allowed: an address below 127.0.0.0/8 whose octets may be lists and ranges, or a bit, such as 127.0.0.2, 127.0.0.[2..11], 127.0.[0..255].[1;3], 127.0.0.&8"

// parsePattern reads an address of which each octet is a number, or a list of numbers and ranges in brackets, or "&" and the
// value of a bit: each number with that bit.
func parsePattern(s string) (p pattern, err error) {
	rest := s
	for i := range p.octets {
		octet := rest
		if strings.HasPrefix(rest, "[") {
			var closed bool
			if octet, rest, closed = strings.Cut(rest[1:], "]"); !closed {
				return p, fmt.Errorf("%q: a bracket is not closed; %s", s, patternForm)
			}
			if i < 3 && !strings.HasPrefix(rest, ".") || i == 3 && rest != "" {
				return p, fmt.Errorf("%q is no code; %s", s, patternForm)
			}
			rest = strings.TrimPrefix(rest, ".")
		} else {
			var dot bool
			if octet, rest, dot = strings.Cut(rest, "."); dot != (i < 3) || strings.ContainsAny(octet, ";") {
				return p, fmt.Errorf("%q is no code; %s", s, patternForm)
			}
		}
		if bit, ok := strings.CutPrefix(octet, "&"); ok {
			p.bits = true
			err = p.octets[i].addBit(bit)
		} else {
			err = p.octets[i].parse(octet)
		}
		if err != nil {
			return p, fmt.Errorf("%q: %w; %s", s, err, patternForm)
		}
	}
	loopback := octets{}
	loopback.add(127)
	if p.octets[0] != loopback {
		return p, fmt.Errorf("%q: no code begins with anything but 127; %s", s, patternForm)
	}
	return p, nil
}

// addBit adds each value with a bit.
func (o *octets) addBit(s string) error {
	bit, err := parseOctet(s)
	if err != nil || bit == 0 || bit&(bit-1) != 0 {
		return errors.New("a bit is 1, 2, 4, 8, 16, 32, 64 or 128")
	}
	for v := range 256 {
		if byte(v)&bit != 0 {
			o.add(byte(v))
		}
	}
	return nil
}

// parse reads what stands between the brackets: numbers and ranges with semicolons between them.
func (o *octets) parse(s string) error {
	for item := range strings.SplitSeq(s, ";") {
		low, high, isRange := strings.Cut(item, "..")
		a, err := parseOctet(low)
		if err != nil {
			return err
		}
		b := a
		if isRange {
			if b, err = parseOctet(high); err != nil {
				return err
			}
		}
		if b < a {
			return fmt.Errorf("the range %s is empty", item)
		}
		for v := int(a); v <= int(b); v++ {
			o.add(byte(v))
		}
	}
	return nil
}

func parseOctet(s string) (byte, error) {
	n, err := strconv.ParseUint(s, 10, 8)
	if err != nil || s[0] == '+' || len(s) > 1 && s[0] == '0' {
		return 0, errors.New("an octet is a number from 0 to 255")
	}
	return byte(n), nil
}

// has reports whether the pattern has an address, which is one of IPv4.
func (p *pattern) has(a netip.Addr) bool {
	b := a.As4()
	return p.octets[0].has(b[0]) && p.octets[1].has(b[1]) && p.octets[2].has(b[2]) && p.octets[3].has(b[3])
}

// meets reports whether some address is in both patterns.
func (p *pattern) meets(q *pattern) bool {
	for i := range p.octets {
		if !p.octets[i].meets(&q.octets[i]) {
			return false
		}
	}
	return true
}

// What a code is by itself, whatever the configuration names.
var (
	codes      = netip.MustParsePrefix("127.0.0.0/8")      // RFC 5782 2.1: what lists answer with
	errorCodes = netip.MustParsePrefix("127.255.255.0/24") // of Spamhaus and others: a public resolver, too many questions, a wrong key
)

// refusals are codes by which some lists say that they do not answer us (dnswl.org, URIBL, SURBL), and which no list uses
// for an entry. A configuration may give them a meaning.
var refusals = []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.255")}
