package rules

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/postern-mail/postern/rules/pattern"
	"github.com/postern-mail/postern/rules/text"
)

// Rules "uri_detail NAME raw =~ /…/ text !~ /…/" hit where one link has all that they ask for.

// linkPart is what a condition of such a rule looks at.
type linkPart uint8

const (
	linkRaw     linkPart = iota // as it was found
	linkCleaned                 // that, and what readers may take it for
	linkText                    // the texts of the links to it
	linkType                    // the elements that name it, "parsed" and the like
	linkHost                    // the hosts that it names
	linkDomain                  // the domains of these that are registered
	linkParts
)

var linkKeys = map[string]linkPart{
	"raw": linkRaw, "cleaned": linkCleaned, "text": linkText, "type": linkType, "host": linkHost, "domain": linkDomain,
}

// linksTest is a rule of this kind.
type linksTest struct {
	conditions []linkCondition
}

// linkCondition holds of a link where one of its texts matches, or with negated one does not. It never holds where there is no text.
type linkCondition struct {
	part    linkPart
	negated bool
	pattern *pattern.Pattern
	written written
}

var linkForm = regexp.MustCompile(`^(\w+)\s*([=!]~)\s*`)

// readLinks takes the conditions apart; their patterns are not compiled yet. A part that is named twice is told in again.
func readLinks(s string) (t linksTest, again string, err error) {
	for s = strings.Trim(s, space); s != ""; s = strings.TrimLeft(s, space) {
		m := linkForm.FindStringSubmatch(s)
		if m == nil {
			return t, "", fmt.Errorf("conditions stand as KEY =~ /…/ or KEY !~ /…/, and not as %q", cut(s, 40))
		}
		part, ok := linkKeys[m[1]]
		if !ok {
			return t, "", fmt.Errorf("%q is none of raw, cleaned, text, type, host and domain", cut(m[1], 20))
		}
		s = s[len(m[0]):]
		n := patternLength(s)
		c := linkCondition{part: part, negated: m[2] == "!~"}
		if c.written, err = readPattern(s[:n]); err != nil {
			return t, "", err
		}
		s = s[n:]
		// As in SpamAssassin the last one counts.
		kept := t.conditions[:0]
		for _, k := range t.conditions {
			if k.part == part {
				again = m[1]
			} else {
				kept = append(kept, k)
			}
		}
		t.conditions = append(kept, c)
	}
	if len(t.conditions) == 0 {
		return t, "", errors.New("it has no condition")
	}
	return t, again, nil
}

// patternLength gives where a pattern ends with which a text begins: behind a delimiter without a backslash, and modifiers, that a blank
// or the end comes behind.
func patternLength(s string) int {
	start := 0
	if strings.HasPrefix(s, "m") {
		start = 1
	}
	if start >= len(s) {
		return len(s)
	}
	end := s[start]
	if i := strings.IndexByte("{(<[", end); i >= 0 {
		end = "})>]"[i]
	}
	for i := start + 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case end:
			n := i + 1
			for n < len(s) && isWord(s[n]) {
				n++
			}
			if n == len(s) || isSpace(s[n]) {
				return n
			}
		}
	}
	return len(s)
}

func (l *loader) compileLinks(r *Rule) (*linksTest, error) {
	t, again, err := readLinks(r.Text)
	if err != nil {
		return nil, err
	}
	if again != "" {
		l.tell(r.At, Inexact, r.Name, "of several conditions on %s the last counts, as in SpamAssassin", again)
	}
	for i := range t.conditions {
		c := &t.conditions[i]
		c.written.uses = nil // nothing is put in the place of %{NAME}
		if c.pattern, err = compileWritten(&c.written); err != nil {
			return nil, err
		}
	}
	return &t, nil
}

// linkTexts are the texts of a link.
type linkTexts [linkParts][][]byte

// linkFacts is what such rules see of a message.
type linkFacts struct {
	links  []linkTexts
	octets [linkParts]int // of all texts
}

func factsOf(uris []text.URI) *linkFacts {
	f := &linkFacts{links: make([]linkTexts, len(uris))}
	for i := range uris {
		u := &uris[i]
		add := func(p linkPart, s string) {
			f.links[i][p] = append(f.links[i][p], []byte(s))
			f.octets[p] += len(s)
		}
		add(linkRaw, u.Raw)
		for _, s := range u.Variants {
			add(linkCleaned, s)
		}
		for _, s := range u.Anchors {
			add(linkText, s)
		}
		for _, s := range u.Types {
			add(linkType, s)
		}
		for _, h := range u.Hosts {
			add(linkHost, h.Name)
			add(linkDomain, h.Domain)
		}
	}
	return f
}

// runLinks runs the rules of this kind.
func (st *run) runLinks() {
	if len(st.s.links) == 0 {
		return
	}
	f := factsOf(st.m.Text.URIs())
	for _, r := range st.s.links {
		began := time.Now()
		st.lookLinks(r, f)
		if st.sampled {
			st.s.clock.add(r, time.Since(began))
		}
	}
}

// lookLinks looks for a link of which all conditions of a rule hold.
func (st *run) lookLinks(r *Rule, f *linkFacts) {
	conditions := r.test.links.conditions
	searches := make([]pattern.Search, len(conditions))
	for i := range conditions {
		c := &conditions[i]
		searches[i] = c.pattern.Search(st.work, f.octets[c.part])
	}
	for i := range f.links {
		texts, all := &f.links[i], true
		for k := range conditions {
			found, err := conditions[k].holds(&searches[k], texts)
			if err != nil {
				st.gave = append(st.gave, r.id)
				return
			}
			if all = found; !all {
				break
			}
		}
		if all {
			st.hit(r, 1, nil, texts.String())
			return
		}
	}
}

func (c *linkCondition) holds(search *pattern.Search, texts *linkTexts) (bool, error) {
	for _, b := range texts[c.part] {
		_, _, ok, err := search.Find(b, 0)
		if err != nil {
			return false, err
		}
		if ok != c.negated {
			return true, nil
		}
	}
	return false, nil
}

// String gives the link as people are shown it: with what there is to click on.
func (t *linkTexts) String() string {
	s := string(t[linkRaw][0])
	for _, b := range t[linkText] {
		if shown := strings.Join(strings.Fields(string(b)), " "); shown != "" {
			return cut(s, maxShown/2) + " shown as " + cut(shown, maxShown/3)
		}
	}
	return s
}
