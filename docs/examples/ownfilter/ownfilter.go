// Package ownfilter is an example of a filter of one's own: it marks mail whose subject shouts, and holds what comes at
// night for a mailbox that nobody reads then. It does nothing else.
package ownfilter

import (
	"context"
	"strings"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/mail"
)

// Factory makes the filter. A program of one's own has it with postern.Main(postern.With(ownfilter.Factory)).
var Factory = filter.Factory{Kind: "ownfilter", New: func(env filter.Env, decode func(any) error) (filter.Spec, filter.Filter, error) {
	options := struct {
		Letters int    `yaml:"letters"` // that a subject has at least which shouts
		Closed  string `yaml:"closed"`  // the mailbox
	}{Letters: 8}
	if err := decode(&options); err != nil {
		return filter.Spec{}, nil, err
	}
	spec := filter.Spec{
		Name:    env.Name,
		Phases:  filter.In(filter.Data),
		Symbols: []filter.Symbol{{Name: "SUBJECT_SHOUTS", Weight: 1.5, Description: "the subject is in capitals"}},
	}
	return spec, filter.Func(func(_ context.Context, in *filter.Input) (filter.Result, error) {
		var r filter.Result
		subject := mail.DecodeWords(in.Content.Header().Get("Subject"))
		if len(subject) >= options.Letters && subject == strings.ToUpper(subject) && subject != strings.ToLower(subject) {
			r.Findings = append(r.Findings, filter.Finding{Symbol: "SUBJECT_SHOUTS", Strength: 1, Detail: subject})
		}
		for _, to := range in.Transaction.Recipients {
			if h := time.Now().Hour(); to.Mailbox() == options.Closed && (h < 6 || h >= 22) {
				r.Propose = filter.Quarantine
			}
		}
		return r, in.Content.Err() // what could not be read is not clean
	}), nil
}}
