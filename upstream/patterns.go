package upstream

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/postern-mail/postern/internal/lines"
	"github.com/postern-mail/postern/mail"
)

// PatternFile is a text file of patterns for a Rule: on each line a domain, "*.domain" or an address, and comments as a File
// has them; never "*". Like a File it is read again when it changed, and one that is missing, broken, empty or much shorter
// than before leaves what was in force: TakeSuffix is for both.
type PatternFile struct{ list *lines.File[*patterns] }

// NewPatternFile reads the file at path; errors and report are as those of NewFile.
func NewPatternFile(path string, report func(error)) (*PatternFile, error) {
	w := &word{path: path + TakeSuffix}
	f, err := lines.Open(path, lines.Source[*patterns]{
		Parse: parsePatterns, Report: report, Prefix: "upstream: routes: ", Vouched: w.vouches, Taken: func(*patterns) { w.spend() },
		Doubt: func(before, l *patterns) error { return tooFew(path, before.len(), l.len()) },
	})
	if err != nil {
		return nil, err
	}
	return &PatternFile{list: f}, nil
}

// Err says why the file as it is now is not in force, nil if it is.
func (f *PatternFile) Err() error { return f.list.Err() }

// Entries gives the number of entries in force. It finds out whether the file changed.
func (f *PatternFile) Entries() int { return f.list.Get().len() }

// Renew reads the file now, and takes its last line for whole. On an error the last good list stays in force.
func (f *PatternFile) Renew() error { return f.list.Renew() }

// Domains gives those domains that stand there whole, without an asterisk and as no part of an address, in the order of the
// lines: at most so many.
func (f *PatternFile) Domains(most int) []string {
	p := f.list.Get()
	all := make([]string, 0, len(p.domains))
	for d := range p.domains {
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b string) int { return cmp.Compare(p.domains[a], p.domains[b]) })
	return slices.Clone(all[:min(most, len(all))])
}

// patterns are the entries of a PatternFile, each with the number of the first line that has it.
type patterns struct {
	domains   map[string]int32
	suffixes  map[string]int32 // "*.domain", by domain
	addresses map[string]int32 // by Mailbox
	mailboxOf map[string]struct{}
}

func (p *patterns) len() int { return len(p.domains) + len(p.suffixes) + len(p.addresses) }

// parsePatterns reads the lines of a file; name is for errors.
func parsePatterns(name string, r io.Reader) (*patterns, error) {
	p := &patterns{domains: map[string]int32{}, suffixes: map[string]int32{}, addresses: map[string]int32{}, mailboxOf: map[string]struct{}{}}
	err := lines.Each(name, r, func(n int, entry, _ string) error {
		one, err := parsePattern(entry)
		switch {
		case err != nil:
		case one.kind == isStar:
			err = errors.New("what takes every domain stands in the configuration, not in a file")
		case one.kind != isAddress && isNumber(one.key[strings.LastIndexByte(one.key, '.')+1:]):
			err = errors.New("not a domain") // no top-level domain is a number (RFC 3696 2): it was meant for an address of a host
		}
		if err != nil {
			return fmt.Errorf("%q: %w", entry, err)
		}
		p.add(one, int32(n)) //nolint:gosec // a file of so many lines does not fit into memory
		return nil
	})
	if err != nil {
		return nil, err
	}
	if p.len() == 0 {
		return nil, fmt.Errorf("%s: no entry in it", name)
	}
	return p, nil
}

func isNumber(label string) bool { return strings.Trim(label, "0123456789") == "" }

func (p *patterns) add(one pattern, line int32) {
	to := p.domains
	switch one.kind {
	case isSuffix:
		to = p.suffixes
	case isAddress:
		to = p.addresses
		p.mailboxOf[one.at] = struct{}{}
	}
	if _, ok := to[one.key]; !ok {
		to[one.key] = line
	}
}

// find gives the entry that takes a, the narrowest one, and its line; 0 for none.
func (p *patterns) find(a mail.Address) (entry string, line int) {
	domain := a.Domain()
	if domain == "" {
		return "", 0
	}
	if len(p.addresses) > 0 {
		if n, ok := p.addresses[a.Mailbox()]; ok {
			return a.Mailbox(), int(n)
		}
	}
	if n, ok := p.domains[domain]; ok {
		return domain, int(n)
	}
	if parent, ok := p.below(domain); ok {
		return "*." + parent, int(p.suffixes[parent])
	}
	return "", 0
}

// below gives the nearest domain above this one of which all below are there.
func (p *patterns) below(domain string) (parent string, ok bool) {
	for rest := domain; len(p.suffixes) > 0; rest = parent {
		if _, parent, ok = strings.Cut(rest, "."); !ok {
			break
		}
		if _, ok := p.suffixes[parent]; ok {
			return parent, true
		}
	}
	return "", false
}

// has reports whether an entry takes a.
func (p *patterns) has(a mail.Address) bool {
	domain := a.Domain()
	if domain == "" {
		return false
	}
	if _, ok := p.domains[domain]; ok {
		return true
	}
	if _, ok := p.below(domain); ok {
		return true
	}
	if _, ok := p.mailboxOf[domain]; !ok { // the key costs more than the look-up
		return false
	}
	_, ok := p.addresses[a.Mailbox()]
	return ok
}

// ours reports whether an entry takes mail for the domain, or for a mailbox of it.
func (p *patterns) ours(domain string) bool {
	if _, ok := p.domains[domain]; ok {
		return true
	}
	if _, ok := p.mailboxOf[domain]; ok {
		return true
	}
	_, ok := p.below(domain)
	return ok
}
