package app

import (
	"encoding/json"
	"fmt"
	"slices"
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
	Filter  string   // the name of the filter; "" for the first of the kind
	Policy  string   // whose options the filter has; "" for the default policy
	JSON    bool
}

// ruleSet is one instance of the filter "rules", as a policy has it; the zero one stands for our own rules with no configuration.
type ruleSet struct {
	filter *config.Filter
	policy string
}

// String names the options that reach it.
func (r ruleSet) String() string { return "--filter " + r.filter.Name + " --policy " + r.policy }

// ruleSets lists the sets of rules of a configuration, those that --filter and --policy name alone, and tells whether
// it is the standard one. Policies that have the same options for a filter share its set. The first is the one that commands are about.
func (a *App) ruleSets(o RulesOptions) (all []ruleSet, isStandard bool, err error) {
	named := o.Filter != "" || o.Policy != ""
	if len(o.Files) > 0 && !a.o.ConfigGiven && !named {
		return []ruleSet{{}}, false, nil
	}
	cfg, isStandard, err := a.scanConfig()
	if err != nil {
		return nil, false, err
	}
	policies := []string{config.DefaultPolicy}
	for i := range cfg.Policies {
		if name := cfg.Policies[i].Name; name != config.DefaultPolicy {
			policies = append(policies, name)
		}
	}
	if o.Policy != "" {
		if cfg.Policy(o.Policy) == nil {
			return nil, false, exit(ExitUsage, "there is no policy %s; there are: %s", visible(o.Policy), visible(strings.Join(policies, ", ")))
		}
		policies = []string{o.Policy}
	}
	for _, f := range cfg.Filters {
		if f.Kind != rulesfilter.Factory.Kind || o.Filter != "" && f.Name != o.Filter {
			continue
		}
		var own []string
		for _, p := range policies {
			off, _ := cfg.Policy(p).Overlays(f.Name)
			if !off && !slices.ContainsFunc(own, func(o string) bool { return f.SameFor(o, p) }) {
				own = append(own, p)
				all = append(all, ruleSet{f, p})
			}
		}
	}
	switch {
	case len(all) > 0:
	case named:
		return nil, false, exit(ExitUsage, "no filter of the kind rules with this name runs by this policy")
	default:
		all = []ruleSet{{}}
	}
	return all, isStandard, nil
}

// loadRules loads the rules that are named, else those of the first filter "rules" of the configuration or the one that is named, else our
// own. Where both rules and a configuration are named, the filter's other options are those of the configuration.
func (a *App) loadRules(o RulesOptions) (*rulesfilter.Loaded, error) {
	l, _, err := a.loadRulesAndTexts(o)
	return l, err
}

// loadRulesAndTexts also tells how the filter reads messages for these rules.
func (a *App) loadRulesAndTexts(o RulesOptions) (*rulesfilter.Loaded, text.Options, error) {
	all, isStandard, err := a.ruleSets(o)
	if err != nil {
		return nil, text.Options{}, err
	}
	a.tellStandard(isStandard)
	return a.loadRuleSet(o, all[0])
}

func (a *App) loadRuleSet(o RulesOptions, of ruleSet) (*rulesfilter.Loaded, text.Options, error) {
	c := rulesfilter.Defaults()
	if of.filter != nil {
		if err := of.filter.DecodeFor(of.policy, &c); err != nil {
			return nil, text.Options{}, &Exit{Code: ExitConfig, Err: err}
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
		case of.filter != nil && o.Scores == "":
			return nil, texts, &Exit{Code: code, Err: asConfigErrors(err, of.filter, of.policy)}
		}
		return nil, texts, &Exit{Code: code, Err: fmt.Errorf("postern: %w", err)}
	}
	return l, texts, nil
}

// otherSets gives the sets beside the one that a command is about; none where --files, --filter or --policy says which it is.
func (a *App) otherSets(o RulesOptions) ([]ruleSet, error) {
	if len(o.Files) > 0 || o.Filter != "" || o.Policy != "" {
		return nil, nil
	}
	all, _, err := a.ruleSets(o)
	if err != nil {
		return nil, err
	}
	return all[1:], nil
}

// RulesLint names each line that was not taken, and each rule that does not act exactly as it would in SpamAssassin, of all filters and
// policies: what several have in common once. It ends with 65 where some line was not taken.
func (a *App) RulesLint(o RulesOptions, all bool) error {
	l, err := a.loadRules(o)
	if err != nil {
		return err
	}
	others, err := a.otherSets(o)
	if err != nil {
		return err
	}
	t := &rulesLint{app: a, json: o.JSON, all: all, told: map[rules.Problem]bool{}, inexact: map[string]bool{}, names: map[string]bool{}}
	if err := t.tell(l, nil); err != nil {
		return err
	}
	for _, of := range others {
		l, _, err := a.loadRuleSet(o, of)
		if err != nil {
			return err
		}
		if err := t.tell(l, &of); err != nil {
			return err
		}
	}
	if !o.JSON {
		fmt.Fprintf(a.o.Stdout, "%d rules, %d of them with a problem; %d errors, %d inexact, %d notes\n",
			len(t.names), len(t.inexact), t.counts[rules.Fault], t.counts[rules.Inexact], t.counts[rules.Note])
	}
	if t.counts[rules.Fault] > 0 {
		return &Exit{Code: ExitData}
	}
	return nil
}

// rulesLint is what rules lint has told.
type rulesLint struct {
	app            *App
	json, all      bool
	told           map[rules.Problem]bool
	inexact, names map[string]bool
	counts         [3]int
}

// tell tells the problems of a set that no set before it had. Those of another set than the first say whose they are.
func (t *rulesLint) tell(l *rulesfilter.Loaded, of *ruleSet) error {
	for _, r := range l.Set.Rules() {
		t.names[r.Name] = true
	}
	enc := jsonTo(t.app.o.Stdout)
	for _, p := range l.Problems {
		if t.told[p] {
			continue
		}
		t.told[p] = true
		t.counts[p.Severity]++
		if p.Severity != rules.Note && p.Rule != "" {
			t.inexact[p.Rule] = true
		}
		if p.Severity == rules.Note && !t.all {
			continue
		}
		var filter, policy, whose string
		if of != nil {
			filter, policy = of.filter.Name, of.policy
			whose = fmt.Sprintf(" (filter %s, policy %s)", filter, policy)
		}
		var err error
		if t.json {
			err = enc.Encode(struct {
				File     string `json:"file"`
				Line     int    `json:"line"`
				Severity string `json:"severity"`
				Rule     string `json:"rule,omitempty"`
				What     string `json:"what"`
				Filter   string `json:"filter,omitempty"`
				Policy   string `json:"policy,omitempty"`
			}{p.File, p.Line, p.Severity.String(), p.Rule, p.What, filter, policy})
		} else {
			_, err = fmt.Fprintln(t.app.o.Stdout, visible(p.String()+whose))
		}
		if err != nil {
			return &Exit{Code: ExitCannotWrite, Err: fmt.Errorf("postern: %w", err)}
		}
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
	others, err := a.otherSets(o)
	for _, of := range others {
		fmt.Fprintf(a.o.Stderr, "postern: there is another set of rules, or of options of theirs: %s\n", visible(of.String()))
	}
	return err
}

// RulesExplain tells all that is known of one rule.
func (a *App) RulesExplain(o RulesOptions, name string) error {
	l, err := a.loadRules(o)
	if err != nil {
		return err
	}
	r := l.Set.Rule(name)
	if r == nil {
		others, err := a.otherSets(o)
		if err != nil {
			return err
		}
		for _, of := range others {
			if its, _, err := a.loadRuleSet(o, of); err == nil && its.Set.Rule(name) != nil {
				return exit(ExitData, "the rule %s is not among the %d of the default policy and the first filter: ask with %s", visible(name), len(l.Set.Rules()), visible(of.String()))
			}
		}
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
