package postern

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/postern-mail/postern/internal/app"
)

// ruleFiles are flags of every rules command.
type ruleFiles struct {
	Files   []string `short:"f" placeholder:"PATTERN" help:"Files of rules, such as '/etc/spamassassin/*.cf', in place of those of the configuration. May be repeated."`
	Default bool     `help:"With --files: our own rules before them."`
	Filter  string   `placeholder:"NAME" help:"The filter of the kind rules that is meant, by its name (default: the first)."`
	Policy  string   `placeholder:"NAME" help:"The policy whose options the filter has (default: default)."`
	Scores  scoreSet `placeholder:"SET" help:"The set of scores that counts: local, network, learner or both (default: as configured, else local)."`
}

// scoreSet is the word for a set of scores; "" where none was named.
type scoreSet string

// UnmarshalText takes the words that the configuration takes.
func (s *scoreSet) UnmarshalText(text []byte) error {
	sets := []string{"local", "network", "learner", "both"}
	if !slices.Contains(sets, string(text)) {
		return fmt.Errorf("must be one of %s, and is %q", strings.Join(sets, ", "), text)
	}
	*s = scoreSet(text)
	return nil
}

func (f *ruleFiles) options(json bool) app.RulesOptions {
	return app.RulesOptions{Files: f.Files, Default: f.Default, Scores: string(f.Scores), Filter: f.Filter, Policy: f.Policy, JSON: json}
}

type rulesCmd struct {
	Lint struct {
		ruleFiles
		All  bool `help:"Also what is only worth a note."`
		JSON bool `name:"json" help:"Print JSON, one object a line."`
	} `cmd:"" help:"Name each line that is wrong, and each rule that does not act exactly as in SpamAssassin, with file, line and reason. Exit: 0 no line is wrong, 65 some are."`
	List struct {
		ruleFiles
		All      bool `help:"Also rules that only serve others, and those that do not run or never hit."`
		Markdown bool `xor:"form" help:"Print rows of a table, as in docs/filters/rules.md."`
		JSON     bool `name:"json" xor:"form" help:"Print JSON, one object a line."`
	} `cmd:"" help:"List the rules that score: class, score, where they stand, what they are about."`
	Explain struct {
		ruleFiles
		Name string `arg:"" name:"RULE" help:"Name of the rule."`
	} `cmd:"" help:"Tell all about one rule: what it looks for, its scores, which others it names and which name it."`
	Bench struct {
		ruleFiles
		Warm  int      `default:"0" placeholder:"N" help:"Look at the first N messages before the clock runs."`
		Alone int      `default:"50" placeholder:"N" help:"Time each rule by itself on N messages (default: ${default}); 0 for none."`
		Top   int      `default:"15" placeholder:"N" help:"Rules in the table of the slowest (default: ${default})."`
		Paths []string `arg:"" name:"PATH" help:"Messages, folders of messages, Maildirs and mbox files."`
	} `cmd:"" help:"Tell how many messages a second one core looks at, what that is spent on, and which rules are slow."`
	Test struct {
		ruleFiles
		Folders []string `arg:"" optional:"" name:"DIR" help:"Folders of messages RULE.hit.eml, which the rule has to hit, and RULE.miss.eml, which it must not."`
	} `cmd:"" help:"Run the lines 'test RULE ok|fail TEXT' of the files, and messages. Exit: 0 all is as wanted, 65 it is not."`
	Fit struct {
		Files   []string `short:"f" placeholder:"PATTERN" help:"Files of rules; default: our own. May be repeated."`
		Out     string   `short:"o" placeholder:"FILE" type:"path" help:"The file of scores that is written (default: standard output)."`
		Most    float64  `default:"0.002" placeholder:"SHARE" help:"The share of wanted mail that may reach a score of 5 (default: ${default})."`
		Corpora []string `arg:"" name:"CORPUS" help:"NAME.tar.gz of messages with NAME.tsv (path, ham or spam, octets, date, SHA-256), or a folder of these."`
	} `cmd:"" help:"Find scores for rules, by what they hit in labelled messages. Prints on standard error what each rule hit."`
}

func (c *rulesCmd) run(ctx context.Context, a *app.App, verb string) error {
	switch verb {
	case "rules lint":
		return a.RulesLint(c.Lint.options(c.Lint.JSON), c.Lint.All)
	case "rules list":
		return a.RulesList(c.List.options(c.List.JSON), c.List.All, c.List.Markdown)
	case "rules explain":
		return a.RulesExplain(c.Explain.options(false), c.Explain.Name)
	case "rules bench":
		b := &c.Bench
		return a.RulesBench(ctx, app.RulesBenchOptions{RulesOptions: b.options(false), Paths: b.Paths, Warm: b.Warm, Alone: b.Alone, Top: b.Top})
	case "rules test":
		return a.RulesTest(ctx, c.Test.options(false), c.Test.Folders)
	}
	if verb == "rules fit" {
		f := &c.Fit
		command := "postern rules fit"
		if f.Most != 0.002 {
			command += fmt.Sprintf(" --most %g", f.Most)
		}
		for _, corpus := range f.Corpora {
			command += " " + filepath.Base(corpus)
		}
		return a.RulesFit(ctx, app.RulesFitOptions{Files: f.Files, Corpora: f.Corpora, Out: f.Out, Most: f.Most, Command: command})
	}
	return fmt.Errorf("postern: no command %q", verb)
}
