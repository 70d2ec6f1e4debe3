package rules

import (
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"weak"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/rules"
	"github.com/postern-mail/postern/rules/text"
)

// Config is what the configuration says of the filter.
type Config struct {
	Files    []string `yaml:"files"`    // patterns of paths; for the order of each pattern's files see rules.ReadFiles
	Default  bool     `yaml:"default"`  // our own rules, before those of the files
	Off      []string `yaml:"off"`      // names of rules that do not run; * stands for anything
	Scores   string   `yaml:"scores"`   // the set of scores: local, network, learner, both
	Trusted  []string `yaml:"trusted"`  // networks of relays whose Received fields are believed
	Internal []string `yaml:"internal"` // those of them that are ours
	Plugins  []string `yaml:"plugins"`  // plugins that files may ask for beside Debian's default ones
}

// Defaults gives the configuration where nothing is said.
func Defaults() Config { return Config{Default: true, Scores: "local"} }

// Bounds of a configuration.
const (
	maxPatterns = 100
	maxNetworks = 1000
)

// Loaded is a set of rules, and what is wrong with its files.
type Loaded struct {
	Set      *rules.Set
	Problems []rules.Problem
	symbols  map[*rules.Rule]string
}

// Sources reads the files.
func (c *Config) Sources() ([]rules.Source, error) {
	if len(c.Files) > maxPatterns {
		return nil, filter.At(fmt.Errorf("rules: files has more than %d entries", maxPatterns), "files")
	}
	var all []rules.Source
	if c.Default {
		all = rules.Default()
	}
	files, err := rules.ReadFiles(c.Files)
	if err == nil {
		return append(all, files...), nil
	}
	for i := range c.Files { // which it is
		if _, err := rules.ReadFiles(c.Files[i : i+1]); err != nil {
			return nil, filter.At(err, "files", strconv.Itoa(i))
		}
	}
	return nil, filter.At(err, "files")
}

// Options gives what rules are loaded with.
func (c *Config) Options() (rules.Options, error) {
	o := rules.Options{Disabled: c.Off, Plugins: c.Plugins, Open: rules.OpenFile, Networks: c.namesNetworks()}
	switch c.Scores {
	case "local":
	case "network":
		o.Network = true
	case "learner":
		o.Learner = true
	case "both":
		o.Network, o.Learner = true, true
	default:
		return o, filter.At(fmt.Errorf("rules: scores: %q; allowed: local, network, learner, both", c.Scores), "scores")
	}
	return o, nil
}

// sets holds the sets that are in use, by what they were made of: stages of several policies, and of one configuration and the next, share them.
var sets = struct {
	sync.Mutex
	of  map[[sha256.Size]byte]weak.Pointer[Loaded]
	own *Loaded // of our rules alone: it stays, as most configurations want it
}{of: map[[sha256.Size]byte]weak.Pointer[Loaded]{}}

// Load reads the files and makes a set of their rules, or finds the one that was made of the same.
func (c *Config) Load() (*Loaded, error) {
	sources, err := c.Sources()
	if err != nil {
		return nil, err
	}
	o, err := c.Options()
	if err != nil {
		return nil, err
	}
	h := sha256.New()
	fmt.Fprintf(h, "%q %v %v %q %v\n", o.Disabled, o.Network, o.Learner, o.Plugins, o.Networks)
	included := false
	for _, s := range sources {
		fmt.Fprintf(h, "%q %d\n", s.Name, len(s.Octets))
		h.Write(s.Octets)
	}
	key := [sha256.Size]byte(h.Sum(nil))
	sets.Lock()
	defer sets.Unlock()
	if l := sets.of[key].Value(); l != nil {
		return l, nil
	}
	open := o.Open
	o.Open = func(name string) ([]byte, error) {
		included = true
		return open(name)
	}
	l := &Loaded{}
	if l.Set, l.Problems, err = rules.Load(sources, o); err != nil {
		return nil, err
	}
	l.nameSymbols()
	for k, p := range sets.of {
		if p.Value() == nil {
			delete(sets.of, k)
		}
	}
	if !included { // of files that others include nothing stands in the key
		sets.of[key] = weak.Make(l)
		if len(c.Files) == 0 {
			sets.own = l
		}
	}
	return l, nil
}

// refuse gives an error where a line is wrong that says whom rules protect: without it they would protect nobody, in silence.
func (l *Loaded) refuse() error {
	for _, p := range l.Problems {
		if p.Protects {
			return fmt.Errorf("rules: %s: %s", p.Position, p.What)
		}
	}
	return nil
}

// inVain gives an error where off or plugins name what there is not: nothing in the file is to be without effect in silence. The rules of
// files come and go with these, and no gateway is to stay down for one that went: where files are named that is told in the log.
func (c *Config) inVain(l *Loaded, log *slog.Logger) error {
	fault := func(key string, i int, format string, args ...any) error {
		err := fmt.Errorf("rules: "+key+": "+format, args...)
		if len(c.Files) == 0 {
			return filter.At(err, key, strconv.Itoa(i))
		}
		log.Warn("rules: a name does nothing", "error", err)
		return nil
	}
	for i, name := range c.Off {
		ok, meant := l.Set.Means(name)
		if ok {
			continue
		}
		if meant != "" {
			meant = "; did you mean " + meant + "?"
		}
		if err := fault("off", i, "no rule is called %q%s", name, meant); err != nil {
			return err
		}
	}
	for i, name := range c.Plugins {
		if l.Set.KnowsPlugin(name) {
			continue
		}
		if err := fault("plugins", i, "%q is no plugin of SpamAssassin's, and no file asks for it; allowed: %s", name, strings.Join(rules.OtherPlugins(), ", ")); err != nil {
			return err
		}
	}
	return nil
}

// maxWarnings is how many lines of one kind are told in the log.
const maxWarnings = 20

// warn tells which lines were not taken, and which that are about more than a rule do not act as in SpamAssassin.
func (l *Loaded) warn(log *slog.Logger) {
	told := map[rules.Severity]int{}
	for _, p := range l.Problems {
		what := "a line of the rules was not taken"
		switch {
		case p.Severity == rules.Inexact && p.Rule == "":
			what = "a line of the rules does not act as in SpamAssassin"
		case p.Severity != rules.Fault:
			continue
		}
		if told[p.Severity]++; told[p.Severity] > maxWarnings {
			continue
		}
		about := log
		if p.Rule != "" {
			about = log.With("rule", p.Rule)
		}
		about.Warn(what, "file", p.Position.String(), "error", p.What)
	}
	if n := told[rules.Fault]; n > maxWarnings {
		log.Warn("more lines of the rules were not taken; postern rules lint lists them", "count", n-maxWarnings)
	}
	if n := told[rules.Inexact]; n > maxWarnings {
		log.Warn("more lines of the rules do not act as in SpamAssassin; postern rules lint lists them", "count", n-maxWarnings)
	}
}

// namesNetworks reports whether the configuration says whose Received fields are believed. Otherwise the files may.
func (c *Config) namesNetworks() bool { return len(c.Trusted)+len(c.Internal) > 0 }

// networks reads trusted and internal. Where only one of them is set, it is both.
func (c *Config) networks() (trusted, internal text.Networks, err error) {
	if trusted, err = parseNetworks("trusted", c.Trusted); err != nil {
		return nil, nil, err
	}
	if internal, err = parseNetworks("internal", c.Internal); err != nil {
		return nil, nil, err
	}
	if len(c.Internal) > 0 && len(c.Trusted) > 0 {
		for i := range internal {
			if n := internal[i].Prefix; !trusted.Holds(n) {
				return nil, nil, filter.At(fmt.Errorf("rules: internal: %s lies in no one network of trusted, and who is not trusted is not internal: add it there", n), "internal", strconv.Itoa(i))
			}
		}
	}
	if len(c.Internal) == 0 {
		internal = trusted
	} else if len(c.Trusted) == 0 {
		trusted = internal
	}
	return trusted, internal, nil
}

func parseNetworks(key string, texts []string) (text.Networks, error) {
	if len(texts) > maxNetworks {
		return nil, filter.At(fmt.Errorf("rules: %s has more than %d entries", key, maxNetworks), key)
	}
	var all text.Networks
	for i, t := range texts {
		p, err := netip.ParsePrefix(t)
		if err != nil {
			a, err := netip.ParseAddr(t)
			if err != nil || a.Zone() != "" {
				return nil, filter.At(fmt.Errorf("rules: %s: %q is no network; allowed: 192.0.2.0/24, 192.0.2.1, 2001:db8::/32", key, t), key, strconv.Itoa(i))
			}
			p = netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen())
		}
		if p != p.Masked() {
			return nil, filter.At(fmt.Errorf("rules: %s: %s has bits beyond the network %s", key, t, p.Masked()), key, strconv.Itoa(i))
		}
		all = append(all, text.Network{Prefix: p})
	}
	return all, nil
}
