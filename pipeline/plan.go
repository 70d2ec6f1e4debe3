package pipeline

import (
	"fmt"
	"maps"
	"math"
	"strings"
	"time"

	"github.com/postern-mail/postern/filter"
)

// Stage is a configured filter.
type Stage struct {
	filter.Spec
	Filter  filter.Filter
	Timeout time.Duration // of one call; 0 is 20 s
	OnError OnError
	Observe bool // its findings, proposals, edits and errors are recorded and change nothing; its facts count where no enforced stage provides them
	// Instance is that of all plans that have this stage in common; nil: what it says is shared with none (Runs).
	Instance *Instance
}

const defaultTimeout = 20 * time.Second

func (s *Stage) timeout() time.Duration {
	if s.Timeout == 0 {
		return defaultTimeout
	}
	return s.Timeout
}

// StageError says why stages do not make a plan. Compile's errors are of this type.
type StageError struct {
	Stage string // name of the stage at fault
	Msg   string // one sentence that names the stage
}

// Error gives the sentence.
func (e *StageError) Error() string { return "pipeline: " + e.Msg }

func stageErrorf(stage, format string, args ...any) error {
	return &StageError{Stage: stage, Msg: fmt.Sprintf(format, args...)}
}

// Hook is told of each run of a stage, and of each that was skipped, in plan order when its wave has ended. It is called by the
// goroutine that called Run and by several sessions at once, so that it must be quick and safe for
// concurrent use.
type Hook func(Report)

const phases = int(filter.Data) + 1

// Plan is an order of stages. It never changes once it is in use, and is safe for concurrent use. A nil
// Plan has no stages.
type Plan struct {
	stages    []Stage
	providers map[string]string // by fact: the name of the stage whose word counts
	symbols   map[string]filter.Symbol
	phases    [phases]schedule
	waives    bool // an enforced stage provides auth.Waivers
	hook      Hook
	late      *lateness // nil for a plan of which no phase before rcpt runs late
}

// schedule says what runs in one phase.
type schedule struct {
	stages []int   // indices into Plan.stages, ascending: plan order
	waves  [][]int // indices into schedule.stages, ascending within a wave
	waiver int     // the wave after which it is known what is waived; 0 where no stage of the phase waives
}

// Compile makes a plan of stages that are given in configuration order. A stage comes after those that
// provide what it needs or wants; apart from that the configuration's order stands. The first thing that
// does not fit is returned as a *StageError.
//
// One enforced stage may provide a fact. Stages that observe may provide it as well, and are not heard:
// what they say of it, or that they could not tell, is dropped. Where all of them observe, the first in
// the configuration is heard.
func Compile(stages []Stage) (*Plan, error) {
	if err := checkStages(stages); err != nil {
		return nil, err
	}
	symbols, err := collectSymbols(stages)
	if err != nil {
		return nil, err
	}
	provider, err := providersOf(stages)
	if err != nil {
		return nil, err
	}
	before, err := dependencies(stages, provider)
	if err != nil {
		return nil, err
	}
	order, err := sorted(stages, before)
	if err != nil {
		return nil, err
	}
	p := &Plan{providers: make(map[string]string, len(provider)), symbols: symbols}
	for fact, i := range provider {
		p.providers[fact] = stages[i].Name
	}
	for _, i := range order {
		p.stages = append(p.stages, stages[i])
	}
	for _, ph := range filter.AllPhases() {
		p.phases[ph] = scheduleOf(ph, stages, order, before)
	}
	p.findWaiver()
	return p, nil
}

// SetHook sets who is told of each run of a stage. It is to be called before the first Run.
func (p *Plan) SetHook(h Hook) { p.hook = h }

// Has reports whether a stage runs in the phase.
func (p *Plan) Has(ph filter.Phase) bool {
	return p != nil && int(ph) < phases && len(p.phases[ph].stages) > 0
}

// Empty reports whether there are no stages at all.
func (p *Plan) Empty() bool { return p == nil || len(p.stages) == 0 }

// Provides reports whether a stage gives the fact.
func (p *Plan) Provides(fact string) bool { return p != nil && p.providers[fact] != "" }

// Symbols gives every symbol that a stage may report, by name.
func (p *Plan) Symbols() map[string]filter.Symbol {
	if p == nil {
		return nil
	}
	return maps.Clone(p.symbols)
}

func checkStages(stages []Stage) error {
	seen := make(map[string]bool, len(stages))
	for i := range stages {
		s := &stages[i]
		switch {
		case s.Name == "":
			return stageErrorf("", "stage %d has no name", i+1)
		case !isStageName(s.Name):
			return stageErrorf(s.Name, "%q is not a name: want at most 64 of a-z A-Z 0-9 . _ -", s.Name)
		case s.Name == intakeStage:
			return stageErrorf(s.Name, "%s is the name of what comes before the filters: another name is needed", s.Name)
		case seen[s.Name]:
			return stageErrorf(s.Name, "%s is the name of two stages", s.Name)
		case s.Filter == nil:
			return stageErrorf(s.Name, "%s has no filter", s.Name)
		case s.Timeout < 0:
			return stageErrorf(s.Name, "%s has a negative timeout", s.Name)
		case s.OnError >= onErrorCount:
			return stageErrorf(s.Name, "%s has an unknown on_error", s.Name)
		case s.Phases == 0:
			return stageErrorf(s.Name, "%s runs in no phase", s.Name)
		case s.Phases&^filter.In(filter.AllPhases()...) != 0:
			return stageErrorf(s.Name, "%s runs in a phase that does not exist", s.Name)
		}
		seen[s.Name] = true
	}
	return nil
}

func isStageName(s string) bool {
	return len(s) <= 64 && strings.IndexFunc(s, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("._-", r))
	}) < 0
}

func collectSymbols(stages []Stage) (map[string]filter.Symbol, error) {
	all := make(map[string]filter.Symbol)
	owner := make(map[string]string)
	for i := range stages {
		s := &stages[i]
		for _, sym := range s.Symbols {
			if !isSymbolName(sym.Name) {
				return nil, stageErrorf(s.Name, "%s declares %q, which is not a symbol: want at most 64 of A-Z 0-9 _, a letter first", s.Name, sym.Name)
			}
			if math.IsNaN(sym.Weight) || math.IsInf(sym.Weight, 0) {
				return nil, stageErrorf(s.Name, "%s declares %s without a finite weight", s.Name, sym.Name)
			}
			if old, ok := all[sym.Name]; !ok {
				all[sym.Name], owner[sym.Name] = sym, s.Name
			} else if old.Weight != sym.Weight {
				return nil, stageErrorf(s.Name, "%s declares %s with weight %s, %s with %s",
					s.Name, sym.Name, number(sym.Weight), owner[sym.Name], number(old.Weight))
			}
		}
	}
	return all, nil
}

func isSymbolName(s string) bool {
	if s == "" || len(s) > 64 || s[0] < 'A' || s[0] > 'Z' {
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool {
		return !('A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '_')
	}) < 0
}
