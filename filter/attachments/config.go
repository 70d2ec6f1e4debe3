package attachments

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"
)

// action is what is done with one part. Of two actions the greater is the stricter.
type action uint8

// The actions, in ascending order.
const (
	pass       action = iota // nothing is done and nothing is said
	score                    // a finding, and the part stays
	tag                      // a finding, the part stays, and the message is marked
	strip                    // a notice takes the place of the part
	quarantine               // the message is kept here
	reject                   // the message is refused
)

var actionNames = []string{"pass", "score", "tag", "strip", "quarantine", "reject"}

func (a action) String() string { return actionNames[a] }

// UnmarshalYAML reads the action's name.
func (a *action) UnmarshalYAML(unmarshal func(any) error) error {
	i, err := readWord("action", actionNames, unmarshal)
	if err == nil {
		*a = action(i)
	}
	return err
}

// readWord decodes one of the words, and gives its place among them.
func readWord(what string, words []string, unmarshal func(any) error) (int, error) {
	var s string
	if err := unmarshal(&s); err != nil {
		return 0, err
	}
	i := slices.Index(words, s)
	if i < 0 {
		return 0, fmt.Errorf("attachments: %s %q is unknown; allowed: %s", what, s, strings.Join(words, ", "))
	}
	return i, nil
}

// class is a kind of dangerous content; "" is none.
type class string

// The classes.
const (
	executable class = "executable"  // a machine, an installer or a virtual machine runs it
	script     class = "script"      // an interpreter runs it
	shortcut   class = "shortcut"    // it makes the desktop open or run something else
	macroAuto  class = "macro_auto"  // a document runs or loads code when it is opened
	macro      class = "macro"       // a document holds code that somebody must start
	diskImage  class = "disk_image"  // a file system, which the desktop opens like a folder
	activeHTML class = "active_html" // HTML or SVG that runs script
	activePDF  class = "active_pdf"  // PDF that runs script, starts programs or holds files
	partial    class = "partial"     // a piece of a message, or a pointer to where it lies
	encrypted  class = "encrypted"   // something in it can't be read without a password or key
	sealed     class = "sealed"      // it is encrypted for its recipient: S/MIME or OpenPGP
	unreadable class = "unreadable"  // something in it could not be looked at
	bomb       class = "bomb"        // looking into it would take more work than is allowed
)

var classes = []class{
	executable, script, shortcut, macroAuto, macro, diskImage, activeHTML, activePDF, partial, encrypted, sealed,
	unreadable, bomb,
}

// config is the filter's own configuration.
type config struct {
	Classes      classRules `yaml:"classes"`
	Names        nameRules  `yaml:"names"`
	Types        typeRules  `yaml:"types"`
	Archives     archives   `yaml:"archives"`
	Ambiguous    ambiguity  `yaml:"ambiguous"`
	KeepOriginal bool       `yaml:"keep_original"`
	Notice       string     `yaml:"notice"`
}

func defaults() config {
	return config{
		Classes: classRules{
			executable: strip, script: strip, shortcut: strip, macroAuto: strip, macro: tag, diskImage: strip,
			activeHTML: strip, activePDF: tag, partial: reject, encrypted: tag, sealed: pass,
			unreadable: quarantine, bomb: reject,
		},
		Names:        nameRules{"*.reg": strip},
		Types:        typeRules{},
		Archives:     archives{Depth: 5, Files: 10000, Octets: 256 << 20, Ratio: 200},
		Ambiguous:    rebuild,
		KeepOriginal: true,
	}
}

// classRules says what is done with each class. Decoding merges: a class that the file does not name
// keeps the action that it had, so that a policy may change one of them.
type classRules map[class]action

// UnmarshalYAML merges the decoded entries into a copy of what is there.
func (r *classRules) UnmarshalYAML(unmarshal func(any) error) error {
	given, err := readRules[class]("class", unmarshal)
	if err != nil {
		return err
	}
	merged := make(classRules, len(*r)+len(given))
	maps.Copy(merged, *r)
	maps.Copy(merged, given)
	*r = merged
	return nil
}

// readRules decodes a mapping to actions. A key without a value is an error: it would read as pass.
func readRules[K ~string](what string, unmarshal func(any) error) (map[K]action, error) {
	var given map[K]*action
	if err := unmarshal(&given); err != nil {
		return nil, err
	}
	rules := make(map[K]action, len(given))
	for _, key := range slices.Sorted(maps.Keys(given)) {
		if given[key] == nil {
			return nil, fmt.Errorf("attachments: %s %q has no action; allowed: %s", what, key, strings.Join(actionNames, ", "))
		}
		rules[key] = *given[key]
	}
	return rules, nil
}

// UnmarshalText reads the name of a class.
func (c *class) UnmarshalText(text []byte) error {
	name := class(text)
	if !slices.Contains(classes, name) {
		allowed := make([]string, len(classes))
		for i, c := range classes {
			allowed[i] = string(c)
		}
		return fmt.Errorf("attachments: class %q is unknown; allowed: %s", name, strings.Join(allowed, ", "))
	}
	*c = name
	return nil
}

// globRules says what is done with what matches a pattern. Decoding merges, as for classRules.
type globRules[K ~string] map[K]action

type (
	nameRules = globRules[namePattern]
	typeRules = globRules[typePattern]
)

// UnmarshalYAML merges the decoded entries into a copy of what is there.
func (r *globRules[K]) UnmarshalYAML(unmarshal func(any) error) error {
	given, err := readRules[K]("pattern", unmarshal)
	if err != nil {
		return err
	}
	merged := make(globRules[K], len(*r)+len(given))
	maps.Copy(merged, *r)
	maps.Copy(merged, given)
	*r = merged
	return nil
}

// namePattern is a pattern for file names. No slash stands in it: names are compared without folders.
type namePattern string

// UnmarshalText reads a pattern, in the form in which names are compared.
func (p *namePattern) UnmarshalText(text []byte) error {
	s, err := readPattern(text)
	if err == nil && strings.Contains(s, "/") {
		err = fmt.Errorf("attachments: pattern %q has a slash, and file names are compared without folders", text)
	}
	*p = namePattern(s)
	return err
}

// typePattern is a pattern for media types.
type typePattern string

// UnmarshalText reads a pattern.
func (p *typePattern) UnmarshalText(text []byte) error {
	s, err := readPattern(text)
	if err == nil && strings.Count(s, "/") != 1 {
		err = fmt.Errorf("attachments: %q is not a media type: write type/subtype, \"image/*\" or \"*/*\"", text)
	}
	*p = typePattern(s)
	return err
}

func readPattern(text []byte) (string, error) {
	s := strings.ToLower(norm.NFKC.String(string(text)))
	if _, err := path.Match(s, ""); err != nil || s == "" {
		return "", fmt.Errorf("attachments: pattern %q is malformed: * ? [a-z] and \\ are special", text)
	}
	return s, nil
}

// globs is a compiled globRules: the most specific pattern first, of two equally specific ones the
// stricter first. The order in the file does not matter, since a YAML mapping has none.
type globs []glob

type glob struct {
	pattern string
	action  action
}

// find gives the first pattern that matches s.
func (g globs) find(s string) (glob, bool) {
	for _, one := range g {
		if ok, _ := path.Match(one.pattern, s); ok { // the pattern was checked when it was read
			return one, true
		}
	}
	return glob{}, false
}

// compile orders the patterns.
func (r globRules[K]) compile() globs {
	var g globs
	for _, p := range slices.Sorted(maps.Keys(r)) {
		g = append(g, glob{pattern: string(p), action: r[p]})
	}
	slices.SortStableFunc(g, func(a, b glob) int {
		return cmp.Or(literals(b.pattern)-literals(a.pattern), int(b.action)-int(a.action))
	})
	return g
}

// literals counts the octets of a pattern that stand for themselves.
func literals(p string) int {
	n := 0
	for i := 0; i < len(p); i++ {
		switch p[i] {
		case '*', '?':
		case '\\':
			i++
			n++
		case '[':
			for i < len(p) && p[i] != ']' {
				i++
			}
		default:
			n++
		}
	}
	return n
}
