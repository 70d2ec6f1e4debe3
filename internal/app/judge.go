package app

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/rules"
	"github.com/postern-mail/postern/internal/config"
	"github.com/postern-mail/postern/internal/metrics"
	"github.com/postern-mail/postern/pipeline"
	"github.com/postern-mail/postern/upstream"
)

// judge is what a configuration says about judging messages: the plan that every session starts with, and
// for each policy its own plan and its thresholds. Serving and scanning use the same.
type judge struct {
	base     *pipeline.Plan
	certs    bool     // a filter goes by certificates of clients
	lists    []string // names of the DNS lists that are asked
	asked    []metrics.Asked
	policies map[string]judgePolicy
}

type judgePolicy struct {
	plan   *pipeline.Plan
	policy *pipeline.Policy
	certs  bool                      // one of its filters goes by certificates of clients
	lists  []string                  // names of the DNS lists that are asked
	own    map[string]pipeline.Stage // for which it has options of its own
}

// surroundings are what filters may use of the gateway.
type surroundings struct {
	factories []filter.Factory
	ours      func(domain string) bool
	dns       filter.Resolver
	state     filter.State // nil: nothing is remembered
	log       *slog.Logger
	hook      pipeline.Hook
}

// newJudge makes filters and plans. Errors are *config.Error where the configuration is at fault.
func newJudge(cfg *config.Config, s surroundings) (*judge, error) {
	if s.state == nil {
		s.state = filter.NoState{}
	}
	j := &judge{policies: map[string]judgePolicy{}}
	base := make([]pipeline.Stage, len(cfg.Filters))
	var faults config.Errors
	for _, i := range makingOrder(cfg.Filters) {
		f := cfg.Filters[i]
		// Of the phases before RCPT no route is known: there the default policy's options count.
		stage, err := s.stage(cfg, f, base, func(v any) error { return f.DecodeFor(config.DefaultPolicy, v) })
		if err != nil {
			faults = append(faults, asConfigErrors(err, f, config.DefaultPolicy)...)
			continue
		}
		base[i] = stage
		j.lists = append(j.lists, stage.Lists...)
		j.certs = j.certs || stage.Certificates
	}
	if len(faults) > 0 {
		return nil, faults
	}
	var err error
	if j.base, err = s.compile(cfg, base); err != nil {
		return nil, err
	}
	for i := range cfg.Policies {
		p := &cfg.Policies[i]
		jp, err := s.policy(cfg, p, base, j)
		if err != nil {
			faults = append(faults, asConfigErrors(err, nil, "")...)
			continue
		}
		j.policies[p.Name] = jp
		j.certs = j.certs || jp.certs
		for _, list := range jp.lists {
			if !slices.Contains(j.lists, list) {
				j.lists = append(j.lists, list)
			}
		}
	}
	if len(faults) > 0 {
		return nil, faults
	}
	if faults := inVain(cfg, base, j); len(faults) > 0 {
		return nil, faults
	}
	j.asked = programs(base, j.policies)
	return j, nil
}

// programs gives the stages that ask programs outside. Where policies have their own of one name, it tells of all of them.
func programs(base []pipeline.Stage, policies map[string]judgePolicy) (all []metrics.Asked) {
	for i := range base {
		name := base[i].Name
		var of []func() filter.Health
		if base[i].Health != nil {
			of = append(of, base[i].Health)
		}
		for _, p := range slices.Sorted(maps.Keys(policies)) {
			if own := policies[p].own[name]; own.Health != nil {
				of = append(of, own.Health)
			}
		}
		switch len(of) {
		case 0:
		case 1:
			all = append(all, metrics.Asked{Filter: name, Health: of[0]})
		default:
			all = append(all, metrics.Asked{Filter: name, Health: func() filter.Health { return worst(of) }})
		}
	}
	return all
}

// worst tells how the programs are that several stages ask: as the one is that is worst, since it is the only one that its policy has.
func worst(of []func() filter.Health) (all filter.Health) {
	states := upstream.Breakers() // the best first
	rank := func(word string) int {
		return slices.IndexFunc(states, func(s upstream.Breaker) bool { return s.String() == word })
	}
	for i, health := range of {
		h := health()
		if i == 0 || rank(h.Breaker) > rank(all.Breaker) {
			all.Breaker = h.Breaker
		}
		all.Servers = append(all.Servers, h.Servers...)
		if !h.Signatures.IsZero() && (all.Signatures.IsZero() || h.Signatures.Before(all.Signatures)) {
			all.Signatures = h.Signatures
		}
	}
	return all
}

// asConfigErrors gives err as errors with a place in the file: its own, else that of the option that it is about, else that of the filter,
// whose options are those for the policy.
func asConfigErrors(err error, f *config.Filter, policy string) config.Errors {
	var many config.Errors
	if errors.As(err, &many) {
		return many
	}
	var one *config.Error
	if errors.As(err, &one) {
		return config.Errors{one}
	}
	if f != nil {
		var path []string
		if option := (*filter.OptionError)(nil); errors.As(err, &option) {
			path = option.Path
		}
		return config.Errors{f.ErrorAt(policy, path, "%s", err)}
	}
	return config.Errors{{Msg: err.Error()}}
}

// makingOrder gives the places of filters in the order in which they are made: rules last, for their symbols have names that any file
// may give, and give way to those of others.
func makingOrder(filters []*config.Filter) (order []int) {
	for _, late := range []bool{false, true} {
		for i, f := range filters {
			if late == (f.Kind == rules.Factory.Kind) {
				order = append(order, i)
			}
		}
	}
	return order
}

// symbolsBut gives what the stages that there are declare, one excepted.
func symbolsBut(name string, stages []pipeline.Stage) map[string]filter.Symbol {
	all := map[string]filter.Symbol{}
	for i := range stages {
		if stages[i].Name == name {
			continue
		}
		for _, symbol := range stages[i].Symbols {
			all[symbol.Name] = symbol
		}
	}
	return all
}

// stage makes one stage; decode gives the filter its options.
func (s *surroundings) stage(cfg *config.Config, f *config.Filter, others []pipeline.Stage, decode func(any) error) (pipeline.Stage, error) {
	i := slices.IndexFunc(s.factories, func(x filter.Factory) bool { return x.Kind == f.Kind })
	if i < 0 {
		return pipeline.Stage{}, f.ErrorAt("", nil, "unknown filter %q", f.Kind)
	}
	onError, err := pipeline.ParseOnError(f.OnError)
	if err != nil {
		return pipeline.Stage{}, err
	}
	spec, made, err := s.factories[i].New(filter.Env{
		Name:       f.Name,
		Hostname:   cfg.Hostname,
		Postmaster: cfg.Postmaster,
		Stages:     stageNames(cfg),
		Kinds:      stageKinds(cfg),
		Symbols:    symbolsBut(f.Name, others),
		Ours:       s.ours,
		DNS:        s.dns,
		State:      s.state,
		Log:        s.log.With("filter", f.Name),
	}, decode)
	if err != nil {
		return pipeline.Stage{}, err
	}
	if spec.Name == "" {
		spec.Name = f.Name
	}
	return pipeline.Stage{Spec: spec, Filter: made, Timeout: f.Timeout, OnError: onError, Observe: f.Observe, Instance: new(pipeline.Instance)}, nil
}

func stageNames(cfg *config.Config) []string {
	names := make([]string, len(cfg.Filters))
	for i, f := range cfg.Filters {
		names[i] = f.Name
	}
	return names
}

func stageKinds(cfg *config.Config) []string {
	kinds := make([]string, len(cfg.Filters))
	for i, f := range cfg.Filters {
		kinds[i] = f.Kind
	}
	return kinds
}

func (s *surroundings) compile(cfg *config.Config, stages []pipeline.Stage) (*pipeline.Plan, error) {
	plan, err := pipeline.Compile(stages)
	if err != nil {
		var fault *pipeline.StageError
		if errors.As(err, &fault) {
			if f := cfg.Filter(fault.Stage); f != nil && f.Pos != (config.Pos{}) {
				return nil, config.Errors{f.ErrorAt("", nil, "%s", fault.Msg)}
			}
		}
		return nil, config.Errors{cfg.Errorf("filters", "%s", err)}
	}
	plan.SetHook(s.hook)
	return plan, nil
}

// policy makes the plan and the thresholds of one policy. Stages for which the policy has no options of its
// own are shared with the base plan, which sessions start with, and others with policies before it that have the same.
func (s *surroundings) policy(cfg *config.Config, p *config.Policy, base []pipeline.Stage, j *judge) (judgePolicy, error) {
	out := &pipeline.Policy{
		Name: p.Name, Tag: p.Tag, Quarantine: p.Quarantine, Reject: p.Reject,
		Weights: map[string]float64{}, Off: map[string]bool{}, Observe: p.Observe || cfg.Observe, Subject: p.Subject,
	}
	var stages []pipeline.Stage
	own := map[string]pipeline.Stage{}
	for i, f := range cfg.Filters {
		off, _ := p.Overlays(f.Name)
		switch {
		case off:
			out.Off[f.Name] = true
		case p.OverlaySets(f.Name, "") && !f.SameFor(p.Name, config.DefaultPolicy):
			stage, err := s.ownStage(cfg, p, f, base, j)
			if err != nil {
				return judgePolicy{}, err
			}
			stages, own[f.Name] = append(stages, stage), stage
		default:
			if faults := fixed(cfg, p, &base[i]); len(faults) > 0 && p.Name != config.DefaultPolicy {
				return judgePolicy{}, faults
			}
			stages = append(stages, base[i])
		}
	}
	if faults := missing(cfg, p, base, stages); len(faults) > 0 {
		return judgePolicy{}, faults
	}
	plan, err := s.compile(cfg, stages)
	if err != nil {
		return judgePolicy{}, err
	}
	plan.Follow(j.base, slices.Collect(maps.Keys(own)))
	known := plan.Symbols()
	for _, stage := range base { // weights of a filter that is off here are no mistake
		for _, symbol := range stage.Symbols {
			known[symbol.Name] = symbol
		}
	}
	for name, symbol := range known {
		out.Weights[name] = symbol.Weight
	}
	var unknown config.Errors
	for _, name := range slices.Sorted(maps.Keys(p.Weights)) {
		if _, ok := known[name]; !ok {
			unknown = append(unknown, cfg.Errorf("policies."+p.Name+".weights."+name, "unknown symbol %s, which no filter of the list has%s",
				name, config.Suggest(name, slices.Sorted(maps.Keys(known)))))
		}
		out.Weights[name] = p.Weights[name]
	}
	if len(unknown) > 0 {
		return judgePolicy{}, unknown
	}
	jp := judgePolicy{plan: plan, policy: out, own: own}
	for _, stage := range stages {
		jp.certs, jp.lists = jp.certs || stage.Certificates, append(jp.lists, stage.Lists...)
	}
	return jp, nil
}

// ownStage gives the stage of a filter for which a policy has options that are not those of the default policy.
func (s *surroundings) ownStage(cfg *config.Config, p *config.Policy, f *config.Filter, base []pipeline.Stage, j *judge) (pipeline.Stage, error) {
	for name, other := range j.policies {
		if stage, ok := other.own[f.Name]; ok && f.SameFor(p.Name, name) {
			return stage, nil
		}
	}
	stage, err := s.stage(cfg, f, base, func(v any) error { return f.DecodeFor(p.Name, v) })
	if err != nil {
		return pipeline.Stage{}, asConfigErrors(err, f, p.Name)
	}
	if faults := fixed(cfg, p, &stage); len(faults) > 0 {
		return pipeline.Stage{}, faults
	}
	return stage, nil
}

// fixed tells which options a policy has of its own that count once for all.
func fixed(cfg *config.Config, p *config.Policy, s *pipeline.Stage) (faults config.Errors) {
	for _, path := range s.Fixed {
		if !p.OverlaySets(s.Name, path) {
			continue
		}
		counts := "counts before RCPT, when no policy is known, and for all policies together"
		if s.Phases.First() >= filter.Rcpt {
			counts = "counts for all policies together"
		}
		fault := cfg.Errorf("policies."+p.Name+".filters."+s.Name+"."+path, "%s of %s %s: it is set where the filter is listed", path, s.Name, counts)
		fault.Allowed = s.Free
		faults = append(faults, fault)
	}
	return faults
}

// missing tells which filters that a policy turns off have results that others need: these would have to be turned off, too.
// DMARC with SPF or DKIM alone would refuse honest mail that proves itself by the other.
func missing(cfg *config.Config, p *config.Policy, base, stages []pipeline.Stage) (faults config.Errors) {
	for _, gone := range base {
		if off, _ := p.Overlays(gone.Name); !off {
			continue
		}
		var needy []string
		for _, s := range stages {
			needs := func(fact string) bool { return slices.Contains(s.Needs, fact) && !provided(stages, fact) }
			if slices.ContainsFunc(gone.Provides, needs) {
				needy = append(needy, s.Name)
			}
		}
		if len(needy) > 0 {
			all := strings.Join(needy, " and ")
			fault := cfg.Errorf("policies."+p.Name+".filters."+gone.Name, "the policy %s turns off %s, whose results %s can't do without", p.Name, gone.Name, all)
			fault.Allowed = []string{strings.Join(needy, ": off and ") + ": off as well", gone.Name + " with or without options of its own"}
			faults = append(faults, fault)
		}
	}
	return faults
}

// provided reports whether one of the stages provides the fact.
func provided(stages []pipeline.Stage, fact string) bool {
	return slices.ContainsFunc(stages, func(s pipeline.Stage) bool { return slices.Contains(s.Provides, fact) })
}

// kinds lists the filters that this program has.
func kinds(factories []filter.Factory) ([]string, error) {
	var names []string
	for _, f := range factories {
		if f.Kind == "" || f.New == nil {
			return nil, errors.New("app: a filter factory without a kind or New")
		}
		if slices.Contains(names, f.Kind) {
			return nil, fmt.Errorf("app: two filters of kind %q", f.Kind)
		}
		names = append(names, f.Kind)
	}
	return names, nil
}
