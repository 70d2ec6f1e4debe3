// Package external marks mail from outside for the people who read it: a banner in its text, a word in its subject. It
// judges nothing, and leaves alone what a program reads or a signature covers.
package external

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/mail"
)

// Factory makes the filter "external".
var Factory = filter.Factory{Kind: "external", New: open, Marks: true}

const symbolExternal = "EXTERNAL_SENDER"

var symbols = []filter.Symbol{
	{Name: symbolExternal, Weight: 0, Description: "the message comes from outside, and no domain of ours or one that is exempt is proved to be its author's"},
}

type config struct {
	Banner  bool     `yaml:"banner"`
	Text    string   `yaml:"text"`
	HTML    string   `yaml:"html"`
	Subject string   `yaml:"subject"`
	Exempt  []string `yaml:"exempt"`
}

// maxSubject is how many octets the word may have that goes before a subject.
const maxSubject = 40

func open(env filter.Env, decode func(any) error) (filter.Spec, filter.Filter, error) {
	cfg := config{Banner: true}
	if err := decode(&cfg); err != nil {
		return filter.Spec{}, nil, err
	}
	c := &check{env: env, subject: strings.TrimSpace(cfg.Subject)}
	if len(c.subject) > maxSubject || strings.ContainsFunc(c.subject, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xfffd }) {
		return filter.Spec{}, nil, filter.At(fmt.Errorf("external: subject: must be a word such as [EXTERNAL], of printable characters and at most %d octets", maxSubject), "subject")
	}
	for i, name := range cfg.Exempt {
		base, wild := strings.CutPrefix(name, "*.")
		domain, err := mail.Domain(base)
		if err != nil {
			return filter.Spec{}, nil, filter.At(fmt.Errorf("external: exempt: %q is no domain such as example.org or *.example.org", name), "exempt", strconv.Itoa(i))
		}
		c.exempt = append(c.exempt, exemption{domain, wild})
	}
	if cfg.Banner {
		var err error
		if c.banner, err = loadBanner(cfg.Text, cfg.HTML, c.words(nil)); err != nil {
			return filter.Spec{}, nil, err
		}
	} else if cfg.Text != "" || cfg.HTML != "" {
		return filter.Spec{}, nil, filter.At(errors.New("external: text and html are of a banner, and banner is false"), "banner")
	}
	return filter.Spec{
		Name: env.Name, Phases: filter.In(filter.Data), Symbols: slices.Clone(symbols),
		Wants: []string{string(auth.DKIM), string(auth.DMARC)},
	}, c, nil
}

// exemption is a domain whose mail is not marked; wild: those below it.
type exemption struct {
	domain string
	wild   bool
}

type check struct {
	env     filter.Env
	banner  *banner // nil for none
	subject string
	exempt  []exemption
}

// Check proposes the marks.
func (c *check) Check(_ context.Context, in *filter.Input) (filter.Result, error) {
	if in.Session != nil && in.Session.Relay || c.inside(in) {
		return filter.Result{}, nil
	}
	root := in.Content.Root()
	header := in.Content.Header()
	if err := in.Content.Err(); err != nil {
		return filter.Result{}, fmt.Errorf("external: %w", err)
	}
	var res filter.Result
	found := filter.Finding{Symbol: symbolExternal, Strength: 1}
	switch why := forPrograms(root); {
	case why != "":
		found.Detail = "not marked: " + why
	case header.Truncated():
		found.Detail = "not marked: its header was not read to its end"
	default:
		if c.subject != "" {
			res.Edits = subjectEdits(header, c.subject)
		}
		if c.banner != nil {
			edits, note, err := c.banner.edits(root, c.words(header))
			if err != nil {
				return filter.Result{}, fmt.Errorf("external: %w", err)
			}
			res.Edits, found.Detail = append(res.Edits, edits...), note
		}
	}
	if err := in.Content.Err(); err != nil {
		return filter.Result{}, fmt.Errorf("external: %w", err)
	}
	res.Findings = []filter.Finding{found}
	return res, nil
}

// inside reports whether the author's domain is proved to be ours, or one that is exempt: by DMARC (RFC 9989), or by a
// signature of that very domain.
func (c *check) inside(in *filter.Input) bool {
	author := mail.ReadAuthors(in.Content.Header()).Domain()
	if author == "" || !c.spared(author) {
		return false
	}
	if r, ok := auth.DMARC.From(in); ok && r.Result == auth.Pass && r.From == author {
		return true
	}
	signatures, _ := auth.DKIM.From(in)
	return slices.ContainsFunc(signatures, func(s auth.DKIMResult) bool {
		return s.Result == auth.Pass && s.Domain == author && !s.Testing
	})
}

func (c *check) spared(domain string) bool {
	if c.env.Ours != nil && c.env.Ours(domain) {
		return true
	}
	return slices.ContainsFunc(c.exempt, func(e exemption) bool {
		return !e.wild && domain == e.domain || e.wild && domain != e.domain && mail.Within(domain, e.domain)
	})
}

func subjectEdits(h *mail.Header, word string) (edits []mail.Edit) {
	for i, f := range h.Fields() {
		if !f.Is("Subject") {
			continue
		}
		if body := f.Prefixed(word); body != "" {
			edits = append(edits, mail.ReplaceField{Index: i, Body: body})
		}
	}
	return edits
}

// words are what a banner may speak of.
func (c *check) words(h *mail.Header) words {
	w := words{Gateway: c.env.Hostname, Postmaster: c.env.Postmaster}
	if all := mail.ParseMailboxes(h.Get("From")); len(all) > 0 {
		w.From = author(all[0].Address)
	}
	return w
}
