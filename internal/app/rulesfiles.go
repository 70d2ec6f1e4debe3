package app

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"

	rulesfilter "github.com/postern-mail/postern/filter/rules"
	"github.com/postern-mail/postern/internal/config"
	"github.com/postern-mail/postern/rules"
	"github.com/postern-mail/postern/rules/text"
)

// RulesOptions say which rules a command is about.
type RulesOptions struct {
	Files   []string // patterns of paths in place of what the configuration says
	Default bool     // with Files: our own rules before them
	Scores  string   // the set of scores in place of the configuration's; "" for none
	JSON    bool
}

// loadRules loads the rules that are named, else those of the first filter "rules" of the configuration, else our own. Where both rules and
// a configuration are named, the filter's other options are those of the configuration.
func (a *App) loadRules(o RulesOptions) (*rulesfilter.Loaded, error) {
	l, _, err := a.loadRulesAndTexts(o)
	return l, err
}

// loadRulesAndTexts also tells how the filter reads messages for these rules.
func (a *App) loadRulesAndTexts(o RulesOptions) (*rulesfilter.Loaded, text.Options, error) {
	c := rulesfilter.Defaults()
	var at *config.Filter // of which the options are
	if len(o.Files) == 0 || a.o.ConfigGiven {
		cfg, isStandard, err := a.scanConfig()
		if err != nil {
			return nil, text.Options{}, err
		}
		a.tellStandard(isStandard)
		for _, f := range cfg.Filters {
			if f.Kind != rulesfilter.Factory.Kind {
				continue
			}
			if err := f.DecodeFor(config.DefaultPolicy, &c); err != nil {
				return nil, text.Options{}, &Exit{Code: ExitConfig, Err: err}
			}
			at = f
			break
		}
	}
	if len(o.Files) > 0 {
		c.Files, c.Default = o.Files, o.Default
	}
	if o.Scores != "" {
		c.Scores = o.Scores
	}
	done := a.progress()
	done("reading the rules")
	l, err := c.Load()
	var texts text.Options
	if err == nil {
		texts, err = c.Texts(l)
	}
	done("")
	if err != nil {
		code := ExitConfig
		switch {
		case len(o.Files) > 0:
			code = ExitData
		case at != nil && o.Scores == "":
			return nil, texts, &Exit{Code: code, Err: asConfigErrors(err, at, config.DefaultPolicy)}
		}
		return nil, texts, &Exit{Code: code, Err: fmt.Errorf("postern: %w", err)}
	}
	return l, texts, nil
}

// RulesLint names each line that was not taken, and each rule that does not act exactly as it would in SpamAssassin. It ends with 65 where
// some line was not taken.
func (a *App) RulesLint(o RulesOptions, all bool) error {
	l, err := a.loadRules(o)
	if err != nil {
		return err
	}
	counts := [3]int{}
	inexact := map[string]bool{}
	enc := jsonTo(a.o.Stdout)
	for _, p := range l.Problems {
		counts[p.Severity]++
		if p.Severity != rules.Note && p.Rule != "" {
			inexact[p.Rule] = true
		}
		switch {
		case p.Severity == rules.Note && !all:
		case o.JSON:
			err = enc.Encode(struct {
				File     string `json:"file"`
				Line     int    `json:"line"`
				Severity string `json:"severity"`
				Rule     string `json:"rule,omitempty"`
				What     string `json:"what"`
			}{p.File, p.Line, p.Severity.String(), p.Rule, p.What})
		default:
			_, err = fmt.Fprintln(a.o.Stdout, visible(p.String()))
		}
		if err != nil {
			return &Exit{Code: ExitCannotWrite, Err: fmt.Errorf("postern: %w", err)}
		}
	}
	if !o.JSON {
		fmt.Fprintf(a.o.Stdout, "%d rules, %d of them with a problem; %d errors, %d inexact, %d notes\n",
			len(l.Set.Rules()), len(inexact), counts[rules.Fault], counts[rules.Inexact], counts[rules.Note])
	}
	if counts[rules.Fault] > 0 {
		return &Exit{Code: ExitData}
	}
	return nil
}

// RulesList lists rules: those that score, or all.
func (a *App) RulesList(o RulesOptions, all, markdown bool) error {
	l, err := a.loadRules(o)
	if err != nil {
		return err
	}
	tw := tabwriter.NewWriter(a.o.Stdout, 0, 8, 2, ' ', 0)
	if !o.JSON && !markdown {
		fmt.Fprint(tw, "RULE\tCLASS\tSCORE\tAT\tDESCRIPTION\n")
	}
	enc := json.NewEncoder(a.o.Stdout)
	for _, r := range l.Set.Rules() {
		if !all && (r.Hidden() || !l.Set.Active(r) || r.Never() != "") {
			continue
		}
		score := l.Set.Score(r)
		switch {
		case o.JSON:
			err = enc.Encode(struct {
				Name        string     `json:"name"`
				Class       string     `json:"class"`
				Active      bool       `json:"active"`
				Score       float64    `json:"score"`
				Scores      [4]float64 `json:"scores"`
				Flags       []string   `json:"flags,omitempty"`
				At          string     `json:"at"`
				Description string     `json:"description,omitempty"`
			}{r.Name, r.Class.String(), l.Set.Active(r), score, r.Scores, r.Flags, r.At.String(), r.Description})
		case markdown:
			name := l.Symbol(r)
			if name == "" { // it reports nothing
				name = r.Name
			}
			_, err = fmt.Fprintf(a.o.Stdout, "| `%s` | %g | %s |\n", name, score, visible(strings.ReplaceAll(r.Description, "|", `\|`)))
		default:
			_, err = fmt.Fprintf(tw, "%s\t%s\t%g\t%s\t%s\n", r.Name, r.Class, score, visible(r.At.String()), visible(r.Description))
		}
		if err != nil {
			return &Exit{Code: ExitCannotWrite, Err: fmt.Errorf("postern: %w", err)}
		}
	}
	if err := tw.Flush(); err != nil {
		return &Exit{Code: ExitCannotWrite, Err: fmt.Errorf("postern: %w", err)}
	}
	return nil
}

// RulesExplain tells all that is known of one rule.
func (a *App) RulesExplain(o RulesOptions, name string) error {
	l, err := a.loadRules(o)
	if err != nil {
		return err
	}
	r := l.Set.Rule(name)
	if r == nil {
		return exit(ExitData, "there is no rule %s among the %d that were read", visible(name), len(l.Set.Rules()))
	}
	tw := tabwriter.NewWriter(a.o.Stdout, 0, 8, 2, ' ', 0)
	row := func(key, value string) {
		if value != "" {
			fmt.Fprintf(tw, "%s\t%s\n", key, visible(value))
		}
	}
	row("rule", r.Name)
	row("is about", r.Description)
	row("class", r.Class.String())
	row("looks for", r.Text)
	row("defined at", r.At.String())
	row("tflags", strings.Join(r.Flags, " "))
	row("scores", fmt.Sprintf("local %g, network %g, learner %g, both %g", r.Scores[0], r.Scores[1], r.Scores[2], r.Scores[3]))
	switch {
	case !l.Set.Active(r):
		row("here", "it does not run: "+l.Set.Off(r))
	case r.Never() != "":
		row("here", r.Never())
	case r.Hidden():
		row("here", "it runs, and only serves others")
	default:
		row("here", fmt.Sprintf("it runs; symbol %s, weight %g", l.Symbol(r), l.Set.Score(r)))
	}
	row("names", ruleNames(l.Set.Named(r)))
	row("is named by", ruleNames(l.Set.Users(r)))
	for _, p := range l.Problems {
		if p.Rule == r.Name && p.What != r.Never() {
			row(p.Severity.String(), p.Position.String()+": "+p.What)
		}
	}
	if err := tw.Flush(); err != nil {
		return &Exit{Code: ExitCannotWrite, Err: fmt.Errorf("postern: %w", err)}
	}
	return nil
}

func ruleNames(all []*rules.Rule) string {
	names := make([]string, len(all))
	for i, r := range all {
		names[i] = r.Name
	}
	return strings.Join(names, " ")
}
