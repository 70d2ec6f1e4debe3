package dnsbl

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/mail"
)

// Bounds of a configuration.
const (
	maxLists  = 32
	maxCodes  = 64  // entries of one list
	maxName   = 64  // octets of a list's name
	maxZone   = 180 // octets: the name for an IPv6 address has 64 more, and a name 253 at most
	maxWeight = 1000
	maxSymbol = 60 // what policies take
	minBudget = 100 * time.Millisecond
	maxBudget = 15 * time.Second // less than the time that a stage has
	maxNames  = 50               // of one content
)

// Whom a list may be asked about.
const (
	ofClient = "client"
	ofHelo   = "helo"
	ofSender = "sender"
	ofLinks  = "links"          // the domains that the content names in links and mail addresses
	ofHosts  = "link_addresses" // the IPv4 addresses that its links go to by number
)

var subjects = []string{ofClient, ofHelo, ofSender, ofLinks, ofHosts}

type config struct {
	Budget time.Duration         `yaml:"budget"`
	Names  int                   `yaml:"names"`
	Skip   []string              `yaml:"skip"`
	Lists  map[string]listConfig `yaml:"lists"`
}

type listConfig struct {
	Zone   string                `yaml:"zone"`
	Of     words                 `yaml:"of"`
	Weight *float64              `yaml:"weight"`
	Symbol string                `yaml:"symbol"`
	Codes  map[string]codeConfig `yaml:"codes"`
	Reason bool                  `yaml:"reason"`
}

// words is a list of words; one of them may stand alone.
type words []string

// UnmarshalYAML takes a value for a list of one.
func (w *words) UnmarshalYAML(decode func(any) error) error {
	var one string
	if err := decode(&one); err == nil {
		*w = words{one}
		return nil
	}
	var list []string
	if err := decode(&list); err != nil {
		return err
	}
	*w = list
	return nil
}

// codeConfig is what codes mean: an entry with a symbol of its own, or that the list does not answer.
type codeConfig struct {
	isError bool
	symbol  string
	weight  *float64
}

// UnmarshalYAML reads the word "error", or a mapping with symbol and weight.
func (c *codeConfig) UnmarshalYAML(decode func(any) error) error {
	var word string
	if err := decode(&word); err == nil {
		if word != "error" {
			return fmt.Errorf("must be a mapping with symbol and weight, or the word error, and is %q", word)
		}
		*c = codeConfig{isError: true}
		return nil
	}
	var entry struct {
		Symbol string   `yaml:"symbol"`
		Weight *float64 `yaml:"weight"`
	}
	if err := decode(&entry); err != nil {
		return err
	}
	*c = codeConfig{symbol: entry.Symbol, weight: entry.Weight}
	return nil
}

// meaning is what the codes of a pattern say.
type meaning struct {
	codes   pattern
	isError bool
	symbol  string
}

// compile makes the lists of a configuration, in the order of their names, and the symbols that they may report.
func compile(c config) (lists []*list, symbols []filter.Symbol, err error) {
	if c.Budget < minBudget || c.Budget > maxBudget {
		return nil, nil, filter.At(fmt.Errorf("dnsbl: budget: from %s to %s is allowed, and this is %s", minBudget, maxBudget, c.Budget), "budget")
	}
	if c.Names < 1 || c.Names > maxNames {
		return nil, nil, filter.At(fmt.Errorf("dnsbl: names: from 1 to %d is allowed, and this is %d", maxNames, c.Names), "names")
	}
	if len(c.Lists) > maxLists {
		return nil, nil, filter.At(fmt.Errorf("dnsbl: lists: %d of them; at most %d are allowed", len(c.Lists), maxLists), "lists")
	}
	k := compiler{weights: map[string]float64{}}
	for _, name := range slices.Sorted(maps.Keys(c.Lists)) {
		l, err := k.list(name, c.Lists[name])
		if err != nil {
			return nil, nil, filter.At(fmt.Errorf("dnsbl: lists: %s: %w", name, err), "lists", name)
		}
		lists = append(lists, l)
	}
	return lists, k.symbols, nil
}

type compiler struct {
	symbols []filter.Symbol
	weights map[string]float64 // by symbol
}

func (k *compiler) list(name string, c listConfig) (*list, error) {
	if len(name) > maxName || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") != "" {
		return nil, fmt.Errorf("a list's name is of letters, digits, -, _ and ., at most %d; a longer zone goes under the key zone", maxName)
	}
	l := &list{name: name, reason: c.Reason}
	if c.Zone == "" {
		c.Zone = name
	}
	zone, err := mail.Domain(c.Zone)
	if err != nil || !strings.Contains(zone, ".") || len(zone) > maxZone {
		return nil, filter.At(fmt.Errorf("zone: %q is no zone of the DNS with such lists", c.Zone), "zone")
	}
	l.zone = zone
	if len(c.Of) == 0 {
		c.Of = words{ofClient}
	}
	for i, of := range c.Of {
		if !slices.Contains(subjects, of) {
			return nil, filter.At(fmt.Errorf("of: %q is none of %s", of, strings.Join(subjects, ", ")), "of", strconv.Itoa(i))
		}
		l.of = append(l.of, of)
	}
	if c.Weight == nil && len(c.Codes) == 0 {
		return nil, fmt.Errorf("weight is missing: what a listing scores, such as weight: 2; below 0 for a list of the good")
	}
	if c.Weight != nil {
		if l.symbol, err = k.ownSymbol(name, c); err != nil {
			return nil, err
		}
	} else if c.Symbol != "" {
		return nil, filter.At(fmt.Errorf("symbol is for codes that codes: does not name, and those count only with a weight"), "symbol")
	}
	return l, k.codes(l, c.Codes)
}

// ownSymbol gives the symbol of codes that the configuration does not name.
func (k *compiler) ownSymbol(name string, c listConfig) (string, error) {
	symbol := c.Symbol
	if symbol == "" {
		symbol = "DNSBL_"
		switch {
		case *c.Weight < 0:
			symbol = "DNSWL_"
		case !slices.ContainsFunc(c.Of, ofEnvelope):
			symbol = "URIBL_"
		}
		symbol += strings.NewReplacer(".", "_", "-", "_").Replace(strings.ToUpper(name))
	}
	return symbol, k.declare(symbol, *c.Weight, name)
}

// ofEnvelope reports whether a list is about somebody who speaks with us, not about what the content names.
func ofEnvelope(of string) bool { return of != ofLinks && of != ofHosts }

// codes takes in what codes mean.
func (k *compiler) codes(l *list, all map[string]codeConfig) error {
	if len(all) > maxCodes {
		return filter.At(fmt.Errorf("codes: %d entries; at most %d are allowed", len(all), maxCodes), "codes")
	}
	written := slices.Sorted(maps.Keys(all))
	for i, text := range written {
		p, err := parsePattern(text)
		if err != nil {
			return filter.At(fmt.Errorf("codes: %w", err), "codes", text)
		}
		for j := range i {
			if q := &l.meanings[j].codes; q.bits == p.bits && !p.bits && q.meets(&p) {
				return filter.At(fmt.Errorf("codes: %s and %s have a code in common", written[j], text), "codes", text)
			}
		}
		c := all[text]
		if !c.isError {
			if c.symbol == "" || c.weight == nil {
				return filter.At(fmt.Errorf("codes: %s: symbol and weight are both needed, such as {symbol: DNSBL_EXAMPLE, weight: 2}, or the word error", text), "codes", text)
			}
			if err := k.declare(c.symbol, *c.weight, l.name+" "+text); err != nil {
				return filter.At(fmt.Errorf("codes: %s: %w", text, err), "codes", text)
			}
		}
		l.meanings = append(l.meanings, meaning{codes: p, isError: c.isError, symbol: c.symbol})
	}
	return nil
}

// declare takes down a symbol. Several lists and codes may share one, with one weight.
func (k *compiler) declare(symbol string, weight float64, who string) error {
	if symbol == "" || len(symbol) > maxSymbol || symbol[0] < 'A' || symbol[0] > 'Z' || strings.Trim(symbol, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" {
		return filter.At(fmt.Errorf("%q can't be a symbol; symbol: takes UPPER_SNAKE, at most %d octets", symbol, maxSymbol), "symbol")
	}
	if math.Abs(weight) > maxWeight || math.IsNaN(weight) {
		return filter.At(fmt.Errorf("weight: from %d to %d is allowed, and this is %g", -maxWeight, maxWeight, weight), "weight")
	}
	if symbol == unknown {
		return filter.At(fmt.Errorf("symbol: %s is taken", symbol), "symbol")
	}
	old, had := k.weights[symbol]
	if had && old != weight {
		return filter.At(fmt.Errorf("%s has two weights, %g and %g: give one of them a symbol of its own", symbol, old, weight), "weight")
	}
	if !had {
		k.weights[symbol] = weight
		says := "is on"
		if weight < 0 {
			says = "is good by"
		}
		k.symbols = append(k.symbols, filter.Symbol{Name: symbol, Weight: weight, Description: "the client, a name that it gave or a name in the content " + says + " the DNS list " + who})
	}
	return nil
}
