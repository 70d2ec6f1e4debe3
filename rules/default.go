package rules

import (
	"embed"
	"fmt"
)

//go:embed default/*.cf
var defaults embed.FS

// Default gives the rules that come with the program.
func Default() []Source {
	entries, err := defaults.ReadDir("default")
	if err != nil {
		panic(fmt.Sprintf("rules: %v", err)) // they are linked in
	}
	var all []Source
	for _, e := range entries {
		octets, err := defaults.ReadFile("default/" + e.Name())
		if err != nil {
			panic(fmt.Sprintf("rules: %v", err))
		}
		all = append(all, Source{Name: "default/" + e.Name(), Octets: octets})
	}
	return all
}
