// Package rules loads rules that are written in the language of SpamAssassin's .cf files, and runs them over one message at a time:
// a table of rules, their scores and what they hit. It is no filter: it decides nothing, and knows neither policies nor networks.
//
// What a rule means follows SpamAssassin 4.0.1, octet for octet where that can be told; docs/filters/rules.md says where not. Whatever a
// file holds that has no exact meaning here is told as a Problem, never passed over in silence.
package rules

import (
	"fmt"
	"slices"
	"strings"

	"github.com/postern-mail/postern/rules/eval"
)

// Source is one file of rules.
type Source struct {
	Name   string // as it is shown in problems
	Octets []byte

	own bool // it comes with the program
}

// Position is a place in a Source.
type Position = eval.Position

// Severity tells what a Problem does.
type Severity uint8

// The severities.
const (
	Note    Severity = iota // the rule means here what its author expects, by the way that he may not
	Inexact                 // the rule, or some of it, does not act as it would in SpamAssassin
	Fault                   // the line is wrong, and was not taken
)

// String gives the word that stands in reports.
func (s Severity) String() string {
	return [...]string{"note", "inexact", "error"}[s]
}

// Problem is one thing in a file of rules that is wrong, or not supported exactly.
type Problem struct {
	Position
	Severity Severity
	Rule     string // whose it is; "" where it is no rule's
	What     string // what, and why

	// Protects is set where the line should have said whom our own rules protect. They would protect nobody, and nobody would see that:
	// whoever can refuse a configuration refuses it.
	Protects bool
}

// String gives "file:line: severity: rule: what".
func (p Problem) String() string {
	rule := p.Rule
	if rule != "" {
		rule += ": "
	}
	return fmt.Sprintf("%s: %s: %s%s", p.Position, p.Severity, rule, p.What)
}

// Class says what a rule looks at.
type Class uint8

// The classes, in the order in which they run.
const (
	Header     Class = iota // a field, or what is made of several
	Body                    // the rendered text, paragraph by paragraph
	URI                     // each link
	RawBody                 // the decoded text, in pieces
	Full                    // the message as it came
	MIMEHeader              // fields of parts
	Eval                    // a function
	Meta                    // other rules
	Network                 // answers of the DNS
)

var classNames = [...]string{"header", "body", "uri", "rawbody", "full", "mimeheader", "eval", "meta", "network"}

// String gives the word that begins such a rule, "eval" and "network" excepted.
func (c Class) String() string { return classNames[c] }

// Rule is one rule of a set. It is not to be changed.
type Rule struct {
	Name        string
	Class       Class
	Text        string // what it looks for, as written behind the name
	Description string
	Scores      [4]float64 // by set: 0 neither network nor learner, 1 network, 2 learner, 3 both
	Flags       []string   // of tflags
	Priority    int
	At          Position // where it was defined last

	id      int
	active  bool   // runs in the set of scores that was chosen
	off     string // why it does not run
	own     bool   // came with the program
	keyword Class  // that of the word that defined it: a function is called for a side of the message
	never   string
	sides   sides
	test    test
}

// Never says why a rule can't hit, whatever its score; "" where it can.
func (r *Rule) Never() string { return r.never }

// Hidden reports whether the rule only serves others: it has no score of its own and is not shown as a hit.
func (r *Rule) Hidden() bool { return strings.HasPrefix(r.Name, "__") }

// ours reports whether the rule came with the program.
func (r *Rule) ours() bool { return r.own }

// Flag reports whether tflags names a word.
func (r *Rule) Flag(word string) bool { return slices.Contains(r.Flags, word) }

// test is the compiled form of what a rule does.
type test struct {
	header  *headerTest
	pattern *patternTest
	mime    *mimeTest
	links   *linksTest
	eval    *evalTest
	network *networkTest
	meta    []instruction
	guards  []int32 // metas of which any may be undecided, and then this one is
	shows   []int32 // of a meta: the rules that it names and does not negate, in their order

	strangers []string // what a meta names and is no rule
}
