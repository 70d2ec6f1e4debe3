package dnsbl

import (
	"maps"
	"slices"
)

// Zones gives the zones of the lists of addresses that the filter's options name, sorted: for those who look whether lists
// answer.
func Zones(decode func(any) error) ([]string, error) {
	c := defaults()
	if err := decode(&c); err != nil {
		return nil, err
	}
	lists, _, err := compile(c)
	if err != nil {
		return nil, err
	}
	zones := map[string]bool{}
	for _, l := range lists {
		if slices.Contains(l.of, ofClient) {
			zones[l.zone] = true
		}
	}
	return slices.Sorted(maps.Keys(zones)), nil
}
