package eval

import (
	"errors"
	"fmt"
)

// ErrAbsent is why a function can't be called of which is known that it is not here.
var ErrAbsent = errors.New("eval")

// netFunctions are those that ask somebody: shared databases of digests, and the classifier that learns. Rules that call them are
// known, and none of them hits: for most there are filters. Rules about DNS lists are no eval functions here: package rules asks the
// DNS itself.
var netFunctions = []Function{
	absent("check_hashbl_emails", noHashes), absent("check_hashbl_uris", noHashes), absent("check_hashbl_bodyre", noHashes),
	absent("check_hashbl_tag", noHashes), absent("check_hashbl_attachments", noHashes),
	absent("check_pyzor", "Pyzor"+notAsked), absent("check_razor2", "Razor"+notAsked), absent("check_razor2_range", "Razor"+notAsked),
	absent("check_dcc", "DCC"+notAsked), absent("check_dcc_reputation_range", "DCC"+notAsked),
	absent("check_bayes", "the learner's word comes from the filter bayes, behind the rules, by whose hits it goes; its findings have weights of their own"),
}

const (
	noHashes = "no list of hashes is asked"
	notAsked = " is not asked"
)

// absent makes a function of which is known that it is not here, and why.
func absent(name, why string) Function {
	return Function{name, func(*Settings, []string) (Check, error) { return nil, fmt.Errorf("%w: %s", ErrAbsent, why) }}
}
