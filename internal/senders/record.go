package senders

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/postern-mail/postern/mail"
)

// An SPF record says of one address whether it may send; here the question is which addresses may. So this reads records
// in a way of its own, beside that of the filter spf: for sets of addresses in place of one, without macros, which can't
// be listed, and without results other than pass.

// term is a directive of a record (RFC 7208 4.6.1), or its redirect.
type term struct {
	mechanism string
	pass      bool         // its qualifier is "+"
	domain    string       // of include, a, mx and redirect; "" for the record's own
	network   netip.Prefix // of ip4 and ip6
	bits      [2]int       // of a and mx: prefix lengths for IPv4 and IPv6
}

// record is what is taken from an SPF record. What can't be listed ("ptr", "exists" and whatever has a macro) is left out.
type record struct {
	terms    []term
	redirect string // "" for none
	omitted  int    // how many terms were left out
}

// maxTerms bounds the terms of one record.
const maxTerms = 2000

const version = "v=spf1"

// isRecord reports whether a TXT record is an SPF record (RFC 7208 4.5).
func isRecord(txt string) bool {
	return len(txt) >= len(version) && strings.EqualFold(txt[:len(version)], version) &&
		(len(txt) == len(version) || txt[len(version)] == ' ')
}

// parseRecord reads a record for which isRecord holds. A malformed term spoils all of it (RFC 7208 4.6).
func parseRecord(txt string) (r record, err error) {
	n := 0
	for text := range strings.SplitSeq(txt[len(version):], " ") {
		if text == "" {
			continue
		}
		if n++; n > maxTerms {
			return record{}, fmt.Errorf("more than %d terms", maxTerms)
		}
		if err := r.add(text); err != nil {
			return record{}, fmt.Errorf("%q: %w", text[:min(len(text), 60)], err)
		}
	}
	return r, nil
}

func (r *record) add(text string) error {
	if i := strings.IndexAny(text, ":/="); i >= 0 && text[i] == '=' {
		return r.modifier(strings.ToLower(text[:i]), text[i+1:])
	}
	t := term{pass: true, bits: [2]int{32, 128}}
	switch text[0] {
	case '+':
		text = text[1:]
	case '-', '~', '?':
		t.pass, text = false, text[1:]
	}
	name, arg := text, ""
	if i := strings.IndexAny(text, ":/"); i >= 0 {
		name, arg = text[:i], text[i:]
	}
	t.mechanism = strings.ToLower(name)
	omit, err := t.argument(arg)
	if err != nil {
		return err
	}
	if omit {
		r.omitted++
		return nil
	}
	r.terms = append(r.terms, t)
	return nil
}

// modifier takes in a redirect; others, "exp" among them, say nothing of addresses (RFC 7208 6).
func (r *record) modifier(name, value string) error {
	if name != "redirect" {
		return nil
	}
	if r.redirect != "" {
		return errors.New("there is a second one")
	}
	if strings.Contains(value, "%") {
		r.omitted++
		return nil
	}
	domain, err := mail.Domain(value)
	r.redirect = domain
	return err
}

// argument reads what follows the name of the mechanism, with its colon or slash; omit says that the term can't be listed.
func (t *term) argument(arg string) (omit bool, err error) {
	switch t.mechanism {
	case "all":
		if arg != "" {
			return false, errors.New("takes nothing")
		}
		return false, nil
	case "ip4", "ip6":
		t.network, err = parseNetwork(arg, t.mechanism == "ip4")
		return false, err
	case "ptr", "exists":
		return true, nil
	case "a", "mx":
		if arg, err = t.lengths(arg); err != nil {
			return false, err
		}
		if arg == "" {
			return false, nil
		}
	case "include":
	default:
		return false, errors.New("unknown mechanism")
	}
	arg, colon := strings.CutPrefix(arg, ":")
	if !colon {
		return false, errors.New("needs a domain")
	}
	if strings.Contains(arg, "%") {
		return true, nil
	}
	t.domain, err = mail.Domain(arg)
	return false, err
}

// lengths takes a dual-cidr-length (RFC 7208 5.6: "/24", "//64", "/24//64") off the end of an argument.
func (t *term) lengths(arg string) (string, error) {
	for i, slashes := range []string{"//", "/"} {
		at := strings.LastIndex(arg, slashes)
		if at < 0 {
			continue
		}
		family := 1 - i
		n, err := parseLength(arg[at+len(slashes):], t.bits[family])
		if err != nil {
			return "", err
		}
		t.bits[family], arg = n, arg[:at]
	}
	return arg, nil
}

func parseLength(s string, most int) (int, error) {
	n, err := strconv.ParseUint(s, 10, 8)
	if err != nil || int(n) > most {
		return 0, fmt.Errorf("not a prefix length from 0 to %d", most)
	}
	return int(n), nil
}

// parseNetwork reads ":" and an address, with a prefix length or without (RFC 7208 5.6).
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
