// Package postern is the thin public face of the gateway: a program with filters of one's own is
//
//	func main() { postern.Main(postern.With(myfilter.Factory)) }
//
// Filters are written against packages filter and mail. Nothing else is meant to be imported.
package postern

import (
	"context"
	"io"
	"log"
	"os"

	"github.com/postern-mail/postern/filter"
)

// Option changes the program that Main runs.
type Option func(*program)

// With adds filters beside the built-in ones. The configuration names them by their Kind.
func With(factories ...filter.Factory) Option {
	return func(p *program) { p.factories = append(p.factories, factories...) }
}

// Main runs the command line and ends the process with its exit code.
func Main(options ...Option) {
	log.SetOutput(io.Discard) // libraries talk there, between the lines of our own log; what we have to know of it they give as errors
	p := &program{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}
	for _, o := range options {
		o(p)
	}
	os.Exit(p.run(context.Background(), os.Args[1:]))
}
