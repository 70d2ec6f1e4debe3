package pipeline

import (
	"slices"
	"strings"

	"github.com/postern-mail/postern/filter"
)

// providersOf gives, for each fact, the index of the stage whose word counts: the enforced one, or the
// first in the configuration where all of them observe. A stage that observes may so be tried beside the
// enforced one of its kind. Two enforced ones would speak for each other.
func providersOf(stages []Stage) (map[string]int, error) {
	provider := make(map[string]int)
	for i := range stages {
		for _, fact := range stages[i].Provides {
			j, taken := provider[fact]
			switch {
			case !taken:
				provider[fact] = i
			case j == i, stages[i].Observe:
			case stages[j].Observe:
				provider[fact] = i
			default:
				return nil, stageErrorf(stages[i].Name, "%s and %s both provide %s", stages[j].Name, stages[i].Name, fact)
			}
		}
	}
	return provider, nil
}

// dependencies gives, for each stage, the indices of those that come before it.
//
// A need ties always: without the fact the stage could not tell. A want ties only stages that meet in
// some phase; elsewhere the phases themselves are the order, and a tie would make cycles of nothing.
func dependencies(stages []Stage, provider map[string]int) ([][]int, error) {
	before := make([][]int, len(stages))
	for i := range stages {
		s := &stages[i]
		for _, fact := range s.Needs {
			j, ok := provider[fact]
			if !ok {
				return nil, stageErrorf(s.Name, "%s needs %s, which no filter of the list provides", s.Name, fact)
			}
			if err := checkNeed(s, &stages[j], fact); err != nil {
				return nil, err
			}
			before[i] = append(before[i], j)
		}
		for _, fact := range s.Wants {
			if j, ok := provider[fact]; ok && j != i && stages[j].Phases&s.Phases != 0 {
				before[i] = append(before[i], j)
			}
		}
		slices.Sort(before[i])
		before[i] = slices.Compact(before[i])
	}
	return before, nil
}

// checkNeed makes sure that in each phase of s the fact can have been found.
func checkNeed(s, provider *Stage, fact string) error {
	if s.Name == provider.Name {
		return stageErrorf(s.Name, "%s needs %s, which it is to provide itself", s.Name, fact)
	}
	for _, ph := range filter.AllPhases() {
		if !s.Phases.Has(ph) || reaches(provider.Phases, ph) {
			continue
		}
		if provider.Phases.First() > ph {
			return stageErrorf(s.Name, "%s needs %s in the %s phase, which %s does not provide before the %s phase",
				s.Name, fact, ph, provider.Name, provider.Phases.First())
		}
		return stageErrorf(s.Name, "%s needs %s in the %s phase, which %s provides for single recipients only",
			s.Name, fact, ph, provider.Name)
	}
	return nil
}

// reaches reports whether what is found in one of the phases is known in phase at. A recipient's facts
// are known in no later phase.
func reaches(from filter.Phases, at filter.Phase) bool {
	for ph := filter.Connect; ph <= at; ph++ {
		if from.Has(ph) && (ph != filter.Rcpt || at == filter.Rcpt) {
			return true
		}
	}
	return false
}

// sorted gives the indices of the stages in plan order: of those whose predecessors are all placed, the
// first in the configuration comes next.
func sorted(stages []Stage, before [][]int) ([]int, error) {
	order := make([]int, 0, len(stages))
	placed := make([]bool, len(stages))
	for len(order) < len(stages) {
		next := -1
		for i := range stages {
			if !placed[i] && !slices.ContainsFunc(before[i], func(j int) bool { return !placed[j] }) {
				next = i
				break
			}
		}
		if next < 0 {
			return nil, cycleError(stages, before, placed)
		}
		placed[next] = true
		order = append(order, next)
	}
	return order, nil
}

// cycleError names one cycle among the stages that could not be placed. Each of them has a predecessor
// that could not be placed either, so that going back from any of them ends in a cycle.
func cycleError(stages []Stage, before [][]int, placed []bool) error {
	at := slices.Index(placed, false)
	var path []int
	for !slices.Contains(path, at) {
		path = append(path, at)
		at = before[at][slices.IndexFunc(before[at], func(j int) bool { return !placed[j] })]
	}
	var names []string
	for _, i := range append(path[slices.Index(path, at):], at) {
		names = append(names, stages[i].Name)
	}
	return stageErrorf(names[0], "stages wait for each other in a circle: %s", strings.Join(names, " after "))
}

// scheduleOf lays out one phase: a stage runs in the first wave that comes after those of its
// predecessors.
func scheduleOf(ph filter.Phase, stages []Stage, order []int, before [][]int) schedule {
	var s schedule
	wave := make(map[int]int, len(order))
	for at, i := range order {
		if !stages[i].Phases.Has(ph) {
			continue
		}
		w := 0
		for _, j := range before[i] {
			if v, ok := wave[j]; ok {
				w = max(w, v+1)
			}
		}
		wave[i] = w
		for len(s.waves) <= w {
			s.waves = append(s.waves, nil)
		}
		s.waves[w] = append(s.waves[w], len(s.stages))
		s.stages = append(s.stages, at)
	}
	return s
}
