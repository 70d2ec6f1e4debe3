package app

import (
	"slices"
	"strings"

	"github.com/postern-mail/postern/internal/config"
	"github.com/postern-mail/postern/pipeline"
)

// instance is a stage that runs for some policies, with the options that one of them has for it.
type instance struct {
	stage  pipeline.Stage
	policy string
	served []bool // of the stage's Uses: whether some policy has what they go by
}

// inVain tells which filters can do nothing for any policy, and which options do nothing without what no other filter gives. What stands in
// the file is to have an effect.
func inVain(cfg *config.Config, base []pipeline.Stage, j *judge) (faults config.Errors) {
	for i, f := range cfg.Filters {
		var all []instance
		for k := range cfg.Policies {
			p := &cfg.Policies[k]
			if off, _ := p.Overlays(f.Name); off {
				continue
			}
			stage, policy := base[i], config.DefaultPolicy
			if own, ok := j.policies[p.Name].own[f.Name]; ok {
				stage, policy = own, p.Name
			}
			at := slices.IndexFunc(all, func(x instance) bool { return x.stage.Instance == stage.Instance })
			if at < 0 {
				at, all = len(all), append(all, instance{stage, policy, make([]bool, len(stage.Uses))})
			}
			for u, use := range stage.Uses {
				all[at].served[u] = all[at].served[u] || j.policies[p.Name].plan.Provides(use.Fact)
			}
		}
		if len(all) > 0 && !slices.ContainsFunc(all, func(x instance) bool { return x.stage.Idle == "" }) {
			faults = append(faults, f.ErrorAt(all[0].policy, nil, "%s has nothing to do: %s", f.Name, all[0].stage.Idle))
		}
		for _, x := range all {
			for u, use := range x.stage.Uses {
				if !x.served[u] {
					faults = append(faults, f.ErrorAt(x.policy, use.Path, "%s: %s does nothing where no filter of the kind %s runs", f.Name, strings.Join(use.Path, "."), use.Giver))
				}
			}
		}
	}
	return faults
}
