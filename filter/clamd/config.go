package clamd

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/scanner"
)

// What is scanned.
const (
	scanBoth  = "both"
	scanParts = "parts"
	scanWhole = "whole"
)

// What becomes of a message in which something was found.
const (
	actPass       = "pass"
	actTag        = "tag"
	actStrip      = "strip"
	actQuarantine = "quarantine"
	actDefer      = "defer"
	actReject     = "reject"
)

// Bounds of a configuration.
const (
	maxRules = 256
	maxCache = 1000000
	maxSize  = 4 << 30
)

type config struct {
	scanner.Config
	Scan       string            `yaml:"scan" allowed:"both|parts|whole"`
	Action     string            `yaml:"action" allowed:"tag|strip|quarantine|reject"`
	Signatures map[string]string `yaml:"signatures"`
	Size       int64             `yaml:"size"`
	Oversize   string            `yaml:"oversize" allowed:"pass|tag|quarantine|defer|reject"`
	MaxAge     time.Duration     `yaml:"max_age"`
	Cache      int               `yaml:"cache"`
}

func defaults() config {
	return config{
		Config: scanner.Defaults(10, "unix:/run/clamav/clamd.ctl"), Scan: scanBoth, Action: actReject,
		Signatures: map[string]string{"PUA.*": actTag, "Heuristics.*": actTag},
		Size:       25 << 20, Oversize: actDefer, MaxAge: 72 * time.Hour, Cache: 10000,
	}
}

// rule is what becomes of signatures that a pattern names.
type rule struct {
	pattern string
	action  string
}

// check gives the rules for signatures, the most particular first: the longest pattern.
func (c *config) check() ([]rule, error) {
	switch {
	case c.Size < 1 || c.Size > maxSize:
		return nil, filter.At(fmt.Errorf("clamd: size: from 1 octet to 4GiB is allowed, and this is %d", c.Size), "size")
	case c.Cache < 0 || c.Cache > maxCache:
		return nil, filter.At(fmt.Errorf("clamd: cache: from 0 to %d is allowed, and this is %d", maxCache, c.Cache), "cache")
	case c.MaxAge < 0:
		return nil, filter.At(fmt.Errorf("clamd: max_age: no less than 0s, and this is %s", c.MaxAge), "max_age")
	case len(c.Signatures) > maxRules:
		return nil, filter.At(fmt.Errorf("clamd: signatures: %d of them; at most %d are allowed", len(c.Signatures), maxRules), "signatures")
	}
	var rules []rule
	for _, pattern := range slices.Sorted(maps.Keys(c.Signatures)) {
		action := c.Signatures[pattern]
		if !slices.Contains([]string{actPass, actTag, actStrip, actQuarantine, actReject}, action) {
			return nil, filter.At(fmt.Errorf("clamd: signatures: %s: %q is none of pass, tag, strip, quarantine, reject", pattern, action), "signatures", pattern)
		}
		if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
			return nil, filter.At(fmt.Errorf("clamd: signatures: %q is no pattern: * stands for any octets, ? for one", pattern), "signatures", pattern)
		}
		rules = append(rules, rule{pattern, action})
	}
	slices.SortStableFunc(rules, func(a, b rule) int { return cmp.Compare(len(b.pattern), len(a.pattern)) })
	return rules, nil
}

// limits begins the names by which clamd says that something is more than it looks at (AlertExceedsMax).
const limits = "Heuristics.Limits.Exceeded"

// rule gives the rule for a signature.
func (c *check) rule(name string) (rule, bool) {
	flat := strings.ReplaceAll(name, "/", "_") // a slash stops the asterisk of path.Match
	i := slices.IndexFunc(c.rules, func(r rule) bool {
		ok, _ := path.Match(strings.ReplaceAll(r.pattern, "/", "_"), flat)
		return ok
	})
	if i < 0 || strings.HasPrefix(name, limits) && !strings.HasPrefix(c.rules[i].pattern, limits) {
		return rule{}, false
	}
	return c.rules[i], true
}

// unscanned reports whether a signature says that something was not looked at, and no rule names it.
func (c *check) unscanned(name string) bool {
	_, ok := c.rule(name)
	return !ok && strings.HasPrefix(name, limits)
}

// action says what becomes of a message in which a signature was found.
func (c *check) action(name string) string {
	if c.unscanned(name) {
		return c.config.Oversize
	}
	if r, ok := c.rule(name); ok {
		return r.action
	}
	return c.config.Action
}
