package config

import (
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
)

// fieldsOf reads the yaml tags of a struct, in order; embedded structs and those tagged ",inline" give
// their own keys. A field without a tag has the key that is its name in lower case.
func fieldsOf(t reflect.Type) []field {
	var all []field
	for i := range t.NumField() {
		sf := t.Field(i)
		key, option, _ := strings.Cut(sf.Tag.Get("yaml"), ",")
		if key == "-" || !sf.IsExported() {
			continue
		}
		if sf.Type.Kind() == reflect.Struct && (option == "inline" || sf.Anonymous && key == "") {
			for _, f := range fieldsOf(sf.Type) {
				f.index = append([]int{i}, f.index...)
				all = append(all, f)
			}
			continue
		}
		if key == "" {
			key = strings.ToLower(sf.Name)
		}
		all = append(all, field{
			key: key, option: option, index: []int{i},
			allowed: words(sf.Tag.Get("allowed")), later: words(sf.Tag.Get("later")),
		})
	}
	return all
}

func words(tag string) []string {
	if tag == "" {
		return nil
	}
	return strings.Split(tag, "|")
}

func keysOf(fields []field) []string {
	keys := make([]string, len(fields))
	for i, f := range fields {
		keys[i] = f.key
	}
	return keys
}

// plain gives a node as the Go value that an any holds.
func plain(n *node) any {
	switch n.kind {
	case mapping:
		m := make(map[string]any, len(n.pairs))
		for _, p := range n.pairs {
			m[p.key] = plain(p.value)
		}
		return m
	case sequence:
		s := make([]any, len(n.items))
		for i, item := range n.items {
			s[i] = plain(item)
		}
		return s
	}
	return n.val
}

// describe says what a node is, for "must be …, and is …".
func describe(n *node) string {
	switch {
	case n.kind != scalar:
		return n.kind.String()
	case n.text == "":
		return "empty"
	}
	return show(n.text)
}

// show quotes a text of the file for a message, cut where it is long.
func show(s string) string {
	const most = 60
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return strconv.Quote(s)
}

func wanted(v reflect.Value) string {
	switch v.Kind() {
	case reflect.String:
		return "a text"
	case reflect.Bool:
		return "true or false"
	}
	return "a number"
}

// Suggest finds the word that was probably meant, as "; did you mean …?", or gives "" where none is near.
func Suggest(word string, known []string) string {
	best, least := "", len(word)/3+1
	for _, k := range known {
		if n := distance(strings.ToLower(word), strings.ToLower(k)); n <= least && n < len(k) {
			if n < least || best == "" {
				best, least = k, n
			}
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %s?", best)
}

// distance counts the insertions, removals, replacements and swaps of neighbours between two words; long
// words are simply far from each other.
func distance(a, b string) int {
	const most = 40
	if len(a) > most || len(b) > most {
		return most
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

// parseNetwork reads a network in CIDR notation, or a plain address as the network of it alone. The
// result is masked; an IPv4-mapped IPv6 address becomes the IPv4 address.
func parseNetwork(s string) (netip.Prefix, bool) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			return netip.Prefix{}, false
		}
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return netip.Prefix{}, false
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked(), true
}

// parseServer reads ADDRESS:PORT, and an address alone with port 53.
func parseServer(s string) (netip.AddrPort, bool) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.AddrPortFrom(a.Unmap(), 53), true
	}
	a, err := netip.ParseAddrPort(s)
	if err != nil || a.Port() == 0 {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()), true
}

// validName tells whether a name of the file's own making may stand in labels, ids and paths.
func validName(s string) bool {
	return s != "" && len(s) <= 40 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == "" &&
		s[0] != '-'
}
