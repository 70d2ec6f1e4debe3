package rules

import (
	"embed"
	"fmt"
)

//go:embed default/*.cf
var defaults embed.FS

// folder holds the files of our own rules.
const folder = "default/"

// Default gives the rules that come with the program.
func Default() []Source {
	entries, err := defaults.ReadDir("default")
	if err != nil {
		panic(fmt.Sprintf("rules: %v", err)) // they are linked in
	}
	var all []Source
	for _, e := range entries {
		octets, err := defaults.ReadFile(folder + e.Name())
		if err != nil {
			panic(fmt.Sprintf("rules: %v", err))
		}
		all = append(all, Source{Name: folder + e.Name(), Octets: octets, own: true})
	}
	return all
}
